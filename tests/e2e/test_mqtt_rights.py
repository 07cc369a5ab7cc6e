"""Every row of mqtt_rights.json with real tokens, a real client and real messages, against the hub: what a browser may
subscribe to, receive, read, and that it may publish nothing. And tokens of an outside issuer, over HTTPS."""

from __future__ import annotations

import base64
import http.server
import json
import re
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import paho.mqtt.client as paho
import pytest
import requests
import trustme
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from harness.events import event
from harness.hub import Hub
from harness.processes import free_port
from harness.wait import eventually

TABLE = json.loads((Path(__file__).parent / "mqtt_rights.json").read_text(encoding="utf-8"))
TOKENS, CASES = TABLE["tokens"], TABLE["cases"]
HOST = "127.0.0.1"
DEADLINE_S = 15
NOT_AUTHORIZED, SHARING_IS_NOT_SUPPORTED = 0x87, 0x9E
# Topics that the rules of config/state.toml can make.
MAKEABLE = re.compile(r"(state|stock)(/[A-Za-z0-9]+)+")
READING = ("receive", "retained", "read")
PUBLISHING = ("publish", "alias")


@dataclass
class Visitor:
    """A browser, as far as MQTT goes."""

    hub: Hub
    token: str | None
    client_id: str
    will: str | None = None
    came: dict[str, list[dict | str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.connected = threading.Event()
        self.gone = threading.Event()
        self.answered = threading.Event()
        self.refusal: int | None = None
        self.answer: list[int] = []
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2, self.client_id, protocol=paho.MQTTv5, reconnect_on_failure=False
        )
        if self.token is not None:
            self.client.username_pw_set("browser", self.token)
        if self.will is not None:
            self.client.will_set(self.will, "a will", qos=1)
        self.client.on_connect = self._on_connect
        self.client.on_message = self._on_message
        self.client.on_disconnect = lambda *_: self.gone.set()
        self.client.on_subscribe = self._on_answer
        self.client.on_publish = lambda _, __, mid, reason, ___: self._on_answer(
            None, None, mid, [reason], None
        )
        self.client.connect(HOST, self.hub.mqtt_port)
        self.client.loop_start()
        eventually("it is let in or not", lambda: self.connected.is_set() or self.gone.is_set(), DEADLINE_S)

    def _on_connect(self, client, userdata, flags, reason, properties) -> None:
        if reason.is_failure:
            self.refusal = reason.value
            self.gone.set()
        else:
            self.connected.set()

    def _on_message(self, client, userdata, message) -> None:
        text = message.payload.decode()
        state = json.loads(text) if text.startswith("{") else text
        self.came.setdefault(message.topic, []).append(state)

    def _on_answer(self, client, userdata, mid, reasons, properties) -> None:
        self.answer = [reason.value for reason in reasons]
        self.answered.set()

    @property
    def is_in(self) -> bool:
        return self.connected.is_set() and not self.gone.is_set()

    def ask(self, question) -> int | None:
        """The reason code with which something is answered; none where the connection ends instead."""
        self.answered.clear()
        question()
        eventually("there is an answer", lambda: self.answered.is_set() or self.gone.is_set(), DEADLINE_S)
        return self.answer[0] if self.answered.is_set() else None

    def subscribe(self, text: str) -> int | None:
        return self.ask(lambda: self.client.subscribe(text, qos=1))

    def publish(self, topic: str, *, alias: bool = False) -> int | None:
        properties = None
        if alias:
            properties = Properties(PacketTypes.PUBLISH)
            properties.TopicAlias = 1
        return self.ask(lambda: self.client.publish(topic, "x", qos=1, properties=properties))

    def leave(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture(scope="module")
def hub(shared_halls, broker, database) -> Hub:
    made = shared_halls.hub({}, broker=broker, database=database)
    made.write_state("".join(rule(topic) for topic in made_topics()))
    return made.start()


def made_topics() -> list[str]:
    """Every topic of the table that can have a state."""
    return sorted({what for _, does, what, _ in CASES if does in READING and MAKEABLE.fullmatch(what)})


def type_of(topic: str) -> str:
    """An event type for each topic: case counts in one and not in the other, so there is a number."""
    return f"row.made{made_topics().index(topic)}.v1"


def rule(topic: str) -> str:
    return f'[[state]]\ntypes = ["{type_of(topic)}"]\ntopic = "{topic}"\ndata = "{{ row: .data.row }}"\n'


def api_key(hub: Hub, *topics: str) -> dict:
    body = {"name": "pages", "scopes": ["browser-tokens:write"], "topics": list(topics)}
    answer = hub.request("POST", "/v1/api-keys", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest.fixture(scope="module")
def states(hub) -> list[str]:
    """Every topic that can have a state has one."""
    for topic in made_topics():
        hub.must_accept(event(type_of(topic), "/table", subject="table", data={"row": topic}))

    def all_there() -> None:
        for topic in made_topics():
            assert hub.request("GET", f"/v1/state/{topic}").status_code == 200, topic

    eventually("every topic has a state", lambda: all_there() is None, 60)
    return made_topics()


def mint(hub: Hub, key: dict, topics: list[str], subject: str, expires_in_s: int = 900) -> dict:
    body = {"topics": topics, "subject": subject, "expires_in_s": expires_in_s}
    answer = hub.request("POST", "/v1/browser-tokens", key=key["key"], json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


class Held:
    """One token of the table: minted, and ended the way it says, before or after its holder has come."""

    def __init__(self, hub: Hub, name: str) -> None:
        self.hub, self.name = hub, name
        self.topics, self.how = TOKENS[name]["topics"], TOKENS[name].get("is", "")
        self.token: str | None = None
        self.key = api_key(hub, "#")
        if self.how != "none":
            life = {"expired": 1, "expires meanwhile": 4}.get(self.how, 900)
            self.minted = mint(hub, self.key, self.topics, name, life)
            self.token = self.minted["token"]
        if self.how == "garbled":
            head, claims, signature = self.token.split(".")
            self.token = f"{head}.{claims}.{signature[::-1]}"
        if self.how == "expired":
            eventually("it has expired", lambda: self.read("state/order/1") == 401, 20)
        if self.how in ("revoked", "subject revoked", "key revoked"):
            self.revoke()

    def revoke(self) -> None:
        key, path = None, f"/v1/browser-tokens/{self.minted['id']}"
        if self.how == "subject revoked":
            path = f"/v1/browser-tokens?subject={self.name}"
        elif self.how == "key revoked":
            path = f"/v1/api-keys/{self.key['id']}"
        else:
            key = self.key["key"]
        answer = self.hub.request("DELETE", path, key=key)
        assert answer.status_code == 204, answer.text

    def read(self, topic: str) -> int:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return requests.get(f"{self.hub.url}/v1/state/{topic}", headers=headers, timeout=30).status_code

    def come(self, will: str | None = None) -> Visitor:
        return Visitor(self.hub, self.token, f"{self.name}-{time.monotonic_ns()}", will)


def rows(name: str, *does: str) -> list[tuple[str, bool]]:
    return [(what, may) for token, did, what, may in CASES if token == name and did in does]


@pytest.mark.parametrize("name", TOKENS)
def test_a_token_opens_what_the_table_says(hub, states, name):
    held = Held(hub, name)
    visitor = held.come()
    if held.how.endswith("meanwhile"):
        assert visitor.is_in
        assert visitor.subscribe("state/order/1") == 1
        eventually("it has received", lambda: visitor.came, DEADLINE_S)
        gets_no_more(held, visitor)
        visitor = held.come()
    if held.how:
        assert not visitor.is_in, name
        assert visitor.refusal == NOT_AUTHORIZED
        assert not any(may for _, may in rows(name, "subscribe", "receive", "publish", "will"))
        for topic, _ in rows(name, "read"):
            assert held.read(topic) == 401
        return
    assert visitor.is_in
    reads(held, states)
    subscribes(held, visitor, states)
    publishes(held, visitor)
    visitor.leave()


def gets_no_more(held: Held, visitor: Visitor) -> None:
    """Ends the token of somebody who listens: what comes after that comes to others only."""
    topic = "state/order/1"
    witness = Held(held.hub, "everything").come()
    assert witness.subscribe(topic) == 1
    eventually("another has received", lambda: witness.came, DEADLINE_S)
    if held.how == "revoked meanwhile":
        # From here on, whether the connection has ended yet or not.
        held.revoke()
    else:
        eventually("the hub ends the connection", visitor.gone.is_set, DEADLINE_S)
    held.hub.must_accept(event(type_of(topic), "/table", subject="table", data={"row": f"after {held.name}"}))
    eventually(
        "what came later is with another",
        lambda: witness.came[topic][-1]["data"]["row"] == f"after {held.name}",
        30,
    )
    eventually("the hub ends the connection", visitor.gone.is_set, DEADLINE_S)
    witness.leave()
    assert [state["data"]["row"] == f"after {held.name}" for state in visitor.came[topic]] == [False]


def reads(held: Held, states: list[str]) -> None:
    for topic, may in rows(held.name, *READING):
        if topic.startswith("/"):
            continue
        allowed = (200,) if topic in states else (404,)
        assert held.read(topic) in (allowed if may else (403,)), f"{held.name} reads {topic}"


def subscribes(held: Held, visitor: Visitor, states: list[str]) -> None:
    granted = []
    for text, may in rows(held.name, "subscribe"):
        code = visitor.subscribe(text)
        if text.startswith("$share/"):
            assert code == SHARING_IS_NOT_SUPPORTED, f"{held.name} subscribes to {text}: {code}"
        elif not may:
            assert code is not None, f"{held.name} subscribes to {text}"
            assert code >= 0x80, f"{held.name} subscribes to {text}: {code}"
        else:
            assert code == 1, f"{held.name} subscribes to {text}: {code}"
            granted.append(text)
    assert granted
    may_come = {topic for topic in states if any(paho.topic_matches_sub(text, topic) for text in granted)}
    eventually(f"{held.name} has the states", lambda: set(visitor.came) >= may_come, DEADLINE_S)
    for topic in states:
        hub = held.hub
        hub.must_accept(event(type_of(topic), "/table", subject="table", data={"row": f"for {held.name}"}))
    eventually(
        f"{held.name} receives",
        lambda: all(visitor.came[topic][-1]["data"]["row"] == f"for {held.name}" for topic in may_come),
        30,
    )
    assert set(visitor.came) == may_come
    for topic, may in rows(held.name, "receive", "retained"):
        if topic in states:
            assert (topic in visitor.came) == may, f"{held.name} receives {topic}"


def publishes(held: Held, visitor: Visitor) -> None:
    listener = Held(held.hub, "everything").come()
    assert listener.subscribe("#") == 1
    eventually("it has the states", lambda: listener.came, DEADLINE_S)
    for does in PUBLISHING:
        for topic, _ in rows(held.name, does):
            code = visitor.publish(topic, alias=does == "alias")
            if code is None:
                visitor = held.come()
            else:
                assert code >= 0x80, f"{held.name} publishes to {topic}: {code}"
    for topic, _ in rows(held.name, "will"):
        assert held.come(will=topic).refusal == NOT_AUTHORIZED
    if rows(held.name, *PUBLISHING):
        sentinel = made_topics()[0]
        hub = held.hub
        hub.must_accept(event(type_of(sentinel), "/table", subject="table", data={"row": "sentinel"}))
        eventually(
            "what came later is here", lambda: listener.came[sentinel][-1]["data"]["row"] == "sentinel", 30
        )
    strays = [state for came in listener.came.values() for state in came if not isinstance(state, dict)]
    assert strays == []
    listener.leave()


def test_a_token_outlives_the_hub_that_minted_it(halls, broker, database):
    hub = halls.hub({}, broker=broker, database=database).start()
    key = api_key(hub, "state/#")
    alive, revoked = (mint(hub, key, ["state/order/1"], "customer-42") for _ in range(2))
    answer = hub.request("DELETE", f"/v1/browser-tokens/{revoked['id']}", key=key["key"])
    assert answer.status_code == 204, answer.text
    hub.kill()
    hub.start()
    visitor = Visitor(hub, alive["token"], alive["client_id"])
    assert visitor.subscribe("state/order/1") == 1
    assert Visitor(hub, revoked["token"], revoked["client_id"]).refusal == NOT_AUTHORIZED
    hub.must("browser-token", "rotate")
    assert visitor.is_in
    assert Visitor(hub, alive["token"], "second tab").is_in
    hub.must("browser-token", "rotate", "--end-tokens")
    eventually("the connection ends", visitor.gone.is_set, DEADLINE_S)
    assert Visitor(hub, alive["token"], alive["client_id"]).refusal == NOT_AUTHORIZED
    fresh = mint(hub, key, ["state/order/1"], "customer-42")
    assert Visitor(hub, fresh["token"], fresh["client_id"]).is_in
    log = hub.log()
    assert not any(token["token"][40:] in log for token in (alive, revoked, fresh)), "a token is in the log"
    assert key["key"] not in log


# ── tokens of an identity provider ───────────────────────────────────────────────────────────────────────────────


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Provider:
    """An identity provider: a key, and the set of its public keys over HTTPS."""

    def __init__(self, certificate: trustme.LeafCert) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        numbers = self.key.public_key().public_numbers()
        coordinates = {name: encoded(getattr(numbers, name).to_bytes(32, "big")) for name in "xy"}
        keys = [{"kty": "EC", "crv": "P-256", "kid": "k1", "use": "sig", "alg": "ES256", **coordinates}]
        body = json.dumps({"keys": keys}).encode()

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer((HOST, free_port()), Answer)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://localhost:{self.server.server_port}/keys"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def token(self, **changes) -> str:
        now = int(time.time())
        claims = {
            "iss": "https://accounts.test/",
            "aud": "the-hub",
            "sub": "42",
            "iat": now,
            "exp": now + 600,
        }
        head = {"alg": "ES256", "kid": "k1", "typ": "JWT"}
        message = ".".join(encoded(json.dumps(part).encode()) for part in (head, {**claims, **changes}))
        r, s = utils.decode_dss_signature(self.key.sign(message.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{message}.{encoded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


@pytest.fixture(scope="module")
def provider(tmp_path_factory) -> Iterator[tuple[Provider, Path]]:
    authority = trustme.CA()
    pem = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(pem)
    made = Provider(authority.issue_cert("localhost"))
    yield made, pem
    made.server.shutdown()


def test_an_identity_providers_tokens_open_what_the_settings_say(halls, broker, provider):
    accounts, pem = provider
    settings = (
        "[outbound]\nallow = ['127.0.0.1', '::1']\n[[mqtt.issuer]]\nname = 'accounts'\n"
        f"jwks_url = '{accounts.url}'\nissuer = 'https://accounts.test/'\naudience = 'the-hub'\n"
        "topics = ['state/customer/{sub}/#']\n"
    )
    hub = halls.hub({}, broker=broker, settings=settings, environment={"SSL_CERT_FILE": str(pem)}).start()
    visitor = Visitor(hub, accounts.token(), "own")
    assert visitor.subscribe("state/customer/42/#") == 1
    for text in ("state/customer/43/#", "state/customer/+/#", "#"):
        assert visitor.subscribe(text) == NOT_AUTHORIZED
    for claims in (
        {"sub": "+"},
        {"sub": "42/#"},
        {"aud": "another"},
        {"iss": "https://accounts.test"},
        {"exp": int(time.time()) + 7200},
        {"exp": int(time.time()) - 1},
    ):
        assert Visitor(hub, accounts.token(**claims), "other").refusal == NOT_AUTHORIZED, claims
    visitor.leave()
    log = hub.log()
    assert accounts.token().split(".")[0] not in log, "a token is in the log"
