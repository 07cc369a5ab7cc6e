"""What the hub tells a client of MQTT 5 in words: why its login, a filter or a message was refused, and why its connection
ends. As paho-mqtt and MQTT.js show it."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from harness.hub import Hub
from harness.node import node_says
from harness.wait import eventually

HOST = "127.0.0.1"
DEADLINE_S = 30
# A token that is to end while its holder is there.
SHORT_LIFE_S = 5
NOT_AUTHORIZED, TOO_LARGE = 0x87, 0x95
TOO_MANY_BYTES = 300 * 1024
KEY = ("api-key", "add", "pages", "--scope", "browser-tokens:write", "--topics", "state/#,stock/#")
NOBODY_SIGNED = "the token is not taken: no key that is known here has signed it"
NOT_COVERED = '"state/order/+" is not within what this token may read: "state/order/1", "stock/#"'


class Page:
    """A client that keeps what it is told: the code, and the words that came with it."""

    def __init__(self, hub: Hub, token: str, client_id: str = "page", *, problems: int | None = None) -> None:
        self.answers: dict[str, tuple[int, str | None]] = {}
        self._there = threading.Condition()
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id, protocol=paho.MQTTv5, reconnect_on_failure=False
        )
        self.client.username_pw_set("page", token)
        self.client.on_connect = lambda _, __, ___, reason, said: self._keep("login", reason, said)
        self.client.on_subscribe = lambda _, __, ___, reasons, said: self._keep("filter", reasons[0], said)
        self.client.on_publish = lambda _, __, ___, reason, said: self._keep("publish", reason, said)
        self.client.on_disconnect = lambda _, __, ___, reason, said: self._keep("end", reason, said)
        properties = None
        if problems is not None:
            properties = Properties(PacketTypes.CONNECT)
            properties.RequestProblemInformation = problems
        self.client.connect(HOST, hub.mqtt_port, properties=properties)
        self.client.loop_start()

    def _keep(self, what: str, reason, said: Properties | None) -> None:
        with self._there:
            self.answers.setdefault(what, (reason.value, getattr(said, "ReasonString", None)))
            self._there.notify_all()

    def told(self, what: str) -> tuple[int, str | None]:
        with self._there:
            assert self._there.wait_for(lambda: what in self.answers, DEADLINE_S), f"no answer to its {what}"
            return self.answers[what]

    def ask_too_much(self) -> None:
        assert self.told("login") == (0, None)
        self.client.subscribe("state/order/+", qos=1)
        self.told("filter")
        self.client.publish("state/order/2", "x", qos=1)
        self.told("publish")
        self.client.publish("state/order/2", b"x" * TOO_MANY_BYTES)


@pytest.fixture(scope="module")
def hub(shared_halls, broker) -> Iterator[Hub]:
    yield shared_halls.hub({}, broker=broker).start()


@pytest.fixture(scope="module")
def key(hub) -> str:
    return hub.must(*KEY).splitlines()[0]


def mint(hub: Hub, key: str, life_s: int = 900) -> dict:
    asked = {"topics": ["state/order/1", "stock/#"], "subject": "a page", "expires_in_s": life_s}
    answer = hub.request("POST", "/v1/browser-tokens", key=key, json=asked)
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_what_is_refused_is_told_in_words(hub, key):
    page = Page(hub, mint(hub, key)["token"])
    page.ask_too_much()
    assert page.told("filter") == (NOT_AUTHORIZED, NOT_COVERED)
    assert page.told("publish") == (NOT_AUTHORIZED, 'this token may not publish to "state/order/2"')
    code, said = page.told("end")
    assert code == TOO_LARGE
    assert said == f"a packet of {TOO_MANY_BYTES + 20} bytes, expected at most {256 * 1024}"


def test_who_wants_codes_alone_gets_words_only_at_the_end(hub, key):
    page = Page(hub, mint(hub, key)["token"], problems=0)
    page.ask_too_much()
    assert page.told("filter") == page.told("publish") == (NOT_AUTHORIZED, None)
    assert page.told("end")[1].startswith("a packet of ")


def test_a_refused_login_is_told_why_and_nothing_that_helps_to_guess(hub, key):
    minted = mint(hub, key)
    head, claims, signature = minted["token"].split(".")
    other_head = head_of_another_hub(head)
    for token, expected in [
        ("", "no token was shown: it is the password"),
        ("secret", "the token is not taken: it is no JSON Web Token"),
        (f"{head}.{claims}.{signature[::-1]}", NOBODY_SIGNED),
        (f"{other_head}.{claims}.{signature}", NOBODY_SIGNED),
        (
            key,
            "the token is not taken: it is an API key, which opens no topic: "
            "exchange it for a token at POST /v1/browser-tokens",
        ),
    ]:
        assert Page(hub, token).told("login") == (NOT_AUTHORIZED, expected)
    answer = hub.request("DELETE", f"/v1/browser-tokens/{minted['id']}", key=key)
    assert answer.status_code == 204, answer.text
    assert Page(hub, minted["token"]).told("login") == (
        NOT_AUTHORIZED,
        "the token is not taken: it was revoked",
    )


def head_of_another_hub(head: str) -> str:
    """The head of a token whose key this hub has never heard of."""
    told = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    told["kid"] = "elsewhere"
    return base64.urlsafe_b64encode(json.dumps(told).encode()).decode().rstrip("=")


def test_whoever_has_to_go_is_told_why(hub, key):
    revoked = mint(hub, key)
    first = Page(hub, revoked["token"], "same")
    assert first.told("login") == (0, None)
    second = Page(hub, revoked["token"], "same")
    assert second.told("login") == (0, None)
    assert first.told("end")[1] == (
        "another connection with this client id and the same subject took the session over"
    )
    answer = hub.request("DELETE", f"/v1/browser-tokens/{revoked['id']}", key=key)
    assert answer.status_code == 204, answer.text
    assert second.told("end") == (NOT_AUTHORIZED, "the token was revoked")

    def stayed_to_its_end() -> tuple[str, tuple[int, str | None]] | None:
        token = mint(hub, key, SHORT_LIFE_S)["token"]
        short = Page(hub, token)
        # On a machine that stood still it was over before it began.
        return (token, short.told("end")) if short.told("login")[0] == 0 else None

    token, end = eventually("a token ends while it is held", stayed_to_its_end, 2 * DEADLINE_S)
    assert end == (NOT_AUTHORIZED, "the token has expired")
    assert Page(hub, token).told("login") == (NOT_AUTHORIZED, "the token is not taken: it has expired")


def test_mqtt_js_shows_the_words(hub, key):
    url, token = f"mqtt://{HOST}:{hub.mqtt_port}", mint(hub, key)["token"]
    seen = json.loads(node_says("reasons.js", url, token, "state/order/2"))
    assert seen["login"] == {"code": NOT_AUTHORIZED, "said": NOBODY_SIGNED}
    assert seen["filter"] == NOT_COVERED.replace("/+", "/2")
    assert seen["publish"] == 'this token may not publish to "state/order/2"'
    assert seen["goodbye"].startswith("a packet of ")
