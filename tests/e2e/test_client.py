"""The client package in Node at a real hub: what the hub refuses, ends and renews is told as it is."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator

import pytest

from harness.events import event
from harness.hub import REPOSITORY, Hub
from harness.wait import eventually

PROGRAM = REPOSITORY / "tests" / "node" / "watch.mjs"
CLIENT = REPOSITORY / "crates" / "web" / "client" / "dist" / "index.js"
TOPIC = "stock/LDN1/{}"


class Page:
    """A program that watches, and everything it was told."""

    def __init__(self, hub: Hub, *asked: str, life: int = 600, skew: int = 60_000) -> None:
        self.hub = hub
        self.told: list[dict] = []
        body = {"name": "pages", "scopes": ["browser-tokens:write"], "topics": ["stock/#", "state/#"]}
        self.key = hub.request("POST", "/v1/api-keys", json=body).json()["key"]
        self._process = subprocess.Popen(
            ["node", "--unhandled-rejections=strict", str(PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        threading.Thread(target=self._listen, daemon=True).start()
        self._tell(
            {
                "client": str(CLIENT),
                "hub": hub.url,
                "key": self.key,
                "asked": asked,
                "life": life,
                "skew": skew,
            }
        )

    def _tell(self, what: dict) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.told.append(json.loads(line))

    def watch(self, topic: str) -> None:
        self._tell({"watch": topic})

    def all(self, name: str) -> list:
        return [one[name] for one in self.told if one.get(name) is not None]

    def shows(self, on_hand: int) -> bool:
        data = self.all("data")
        return bool(data) and data[-1]["on_hand"] == on_hand

    def close(self) -> int:
        self._tell({"close": True})
        return self._process.wait(20)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="module")
def hub(shared_halls, broker) -> Hub:
    hub = shared_halls.hub({}, broker=broker)
    shutil.copy(REPOSITORY / "config" / "state.toml", hub.config.parent)
    return hub.start()


@pytest.fixture
def pages(hub) -> Iterator:
    made: list[Page] = []

    def begin(*asked: str, **options) -> Page:
        made.append(Page(hub, *asked, **options))
        return made[-1]

    yield begin
    for page in made:
        page.end()


def level(hub: Hub, sku: str, on_hand: int) -> None:
    data = {"sku": sku, "location": "LDN1", "on_hand": on_hand}
    hub.must_accept(event("stock.level.v1", "/warehouse", subject=f"LDN1/{sku}", data=data))


def test_what_is_and_what_comes(hub, pages):
    level(hub, "MUG", 7)
    page = pages("stock/LDN1/+")
    page.watch(TOPIC.format("MUG"))
    eventually("it shows what is", lambda: page.shows(7))
    level(hub, "MUG", 6)
    eventually("it shows what comes", lambda: page.shows(6))
    assert page.all("state") == ["connecting", "live"]
    assert page.close() == 0
    assert page.told[-1] == {"topic": TOPIC.format("MUG"), "complete": True}


def test_a_topic_that_the_token_does_not_cover_is_an_error_of_its_watch(hub, pages):
    level(hub, "CAP", 3)
    page = pages("stock/LDN1/CAP")
    page.watch(TOPIC.format("CAP"))
    page.watch("state/order/R-9")
    errors = eventually("it is told", lambda: page.all("error"))
    assert errors == ["state/order/R-9: the hub refuses it: Subscribe error: Not authorized"]
    eventually("the other goes on", lambda: page.shows(3))
    level(hub, "CAP", 2)
    eventually("and on", lambda: page.shows(2))
    assert page.all("state") == ["connecting", "live"]


def test_a_revoked_token_ends_the_connection_and_the_next_one_goes_on(hub, pages):
    level(hub, "BAG", 3)
    page = pages("stock/LDN1/BAG")
    page.watch(TOPIC.format("BAG"))
    eventually("it shows what is", lambda: page.shows(3))
    [token] = page.all("session")
    answer = hub.request("DELETE", f"/v1/browser-tokens/{token}", key=page.key)
    assert answer.status_code == 204
    reasons = eventually("it was ended, with a reason", lambda: page.all("reason"))
    assert reasons[0].startswith("the hub ended the connection: ")
    eventually("it is back", lambda: page.all("state")[-1] == "live" and len(page.all("session")) == 2)
    level(hub, "BAG", 2)
    eventually("and shows what comes", lambda: page.shows(2))
    assert page.all("error") == []


def test_tokens_of_a_few_seconds_are_renewed_without_anybody_noticing(hub, pages):
    level(hub, "PEN", 1_000)
    page = pages("stock/LDN1/PEN", life=10, skew=5_000)
    page.watch(TOPIC.format("PEN"))
    eventually("it shows what is", lambda: page.shows(1_000))
    left = 1_000
    while len(page.all("session")) < 5:
        left -= 1
        level(hub, "PEN", left)
        eventually("it shows what comes", lambda left=left: page.shows(left))
    assert page.all("state") == ["connecting", "live"]
    assert not any(one.get("stale") for one in page.told)
    versions = page.all("version")
    assert versions == sorted(versions)


def test_a_key_that_is_gone_is_named(hub, pages):
    level(hub, "CUP", 1)
    page = pages("stock/LDN1/CUP")
    page.watch(TOPIC.format("CUP"))
    eventually("it shows what is", lambda: page.shows(1))
    assert hub.request("DELETE", f"/v1/api-keys/{page.key.split('_')[1]}").status_code == 204
    gone = "no session: Error: browser-tokens answers 401"
    eventually("it says why there is no session", lambda: gone in page.all("reason"), 30)
    last = [one for one in page.told if "data" in one][-1]
    assert (last["data"]["on_hand"], last["stale"]) == (1, True)
