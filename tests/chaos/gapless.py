"""Many pages while connections, hubs and RabbitMQ go: each watches a topic of its own with the client package, most in one
Node process behind a proxy that cuts connections, some in Chromium. At the end every page has its topic's last state,
none was ever told of an older one after a newer, and none of another page's. In full: `tests/run gapless`."""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import requests

from harness.broker import Broker
from harness.browser import Browser, Visit
from harness.events import event
from harness.hub import REPOSITORY, Hub
from harness.storefront import Backend, build_pages
from harness.wait import eventually

RUNNER = REPOSITORY / "crates" / "web" / "client" / "tests" / "gapless.mjs"
PAGE = REPOSITORY / "tests" / "node" / "gapless"
RULE = """
[[state]]
types = ["probe.moved.v1"]
topic = "state/preflight/{.data.file}"
data = '{ key: "state/preflight/\\(.data.file)", n: .data.n }'
order_by = ".data.n"
"""
FOLDER = "state/preflight/"
CUT_SHARE = 0.3
BATCH = 100
LIVE_DEADLINE_S = 120
END_DEADLINE_S = 180
JOIN_DEADLINE_S = 150
BACKOFF = {"minBackoffMs": 200, "maxBackoffMs": 5_000}


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    pages: int
    in_chromium: int
    cuts: int
    hub_restarts: int
    rabbitmq_restarts: int
    seconds: float


class Tabs:
    """Pages in Chromium, each in a profile of its own."""

    def __init__(self, browser: Browser, backend: Backend, hub: Hub, topics: list[str]) -> None:
        self.topics = topics
        self._visits: list[Visit] = [browser.visit() for _ in topics]
        for topic, visit in zip(topics, self._visits, strict=True):
            visit.page.goto(f"{backend.url}/gapless/?hub={hub.url}&topic={topic}")

    def are_live(self) -> bool:
        return all(visit.page.evaluate("isLive()") for visit in self._visits)

    def cut(self) -> None:
        for visit in self._visits:
            visit.page.evaluate("cut()")

    def have_arrived(self, last: int) -> bool:
        ends = [visit.page.evaluate("told.at(-1)") for visit in self._visits]
        return all(end and end.get("n") == last and not end["stale"] for end in ends)

    def faults(self) -> list[str]:
        found = []
        for topic, visit in zip(self.topics, self._visits, strict=True):
            told = visit.page.evaluate("told")
            found += [f"{topic}: {one}" for one in told if one.get("key") != topic]
            for name in ("version", "n"):
                values = [one.get(name, 0) for one in told]
                found += [f"{topic} in Chromium: {name} went back"] * (values != sorted(values))
        return found


class Gapless:
    """One run at a hub that may be killed, with a broker that may be killed."""

    def __init__(self, hub: Hub, size: Size, browser: Browser, backend: Backend, seed: int = 1) -> None:
        self.hub, self.size, self.random = hub, size, random.Random(seed)
        self.topics = [f"{FOLDER}f-{number}" for number in range(size.pages + size.in_chromium)]
        self.numbers = dict.fromkeys(self.topics, 0)
        self.sent = 0
        self.live = 0
        self.result: dict | None = None
        self._browser, self._backend = browser, backend
        self._stop = threading.Event()
        self._runner: subprocess.Popen[str] | None = None

    def run(self) -> dict:
        """What the pages say of themselves when it is over; `faults` and `late` are empty when all is well."""
        self._begin_pages()
        try:
            self._backend.works_with(self.hub, f"{FOLDER}#")
            self._tabs = Tabs(self._browser, self._backend, self.hub, self.topics[self.size.pages :])
            eventually("all pages are live", lambda: self.live == self.size.pages, LIVE_DEADLINE_S)
            eventually("those in Chromium too", self._tabs.are_live, LIVE_DEADLINE_S)
            sender = threading.Thread(target=self._send, daemon=True)
            sender.start()
            self._disturb()
            self._stop.set()
            sender.join(JOIN_DEADLINE_S)
            last = self._send_last()
            self._tell({"end": last})
            eventually("the tabs arrive", lambda: self._tabs.have_arrived(last), END_DEADLINE_S)
            result = eventually("the pages arrive", lambda: self.result, END_DEADLINE_S)
            result["faults"] += self._tabs.faults()
            return {"events": self.sent, **result}
        finally:
            self._stop.set()
            assert self._runner is not None
            self._runner.kill()

    def _begin_pages(self) -> None:
        body = {"name": "pages", "scopes": ["browser-tokens:write"], "topics": ["state/preflight/#"]}
        key = self.hub.request("POST", "/v1/api-keys", json=body).json()["key"]
        self._runner = subprocess.Popen(
            ["node", str(RUNNER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        topics = self.topics[: self.size.pages]
        self._tell({"hub": self.hub.url, "key": key, "topics": topics, "backoff": BACKOFF})
        threading.Thread(target=self._listen, daemon=True).start()

    def _tell(self, what: dict) -> None:
        assert self._runner is not None and self._runner.stdin is not None
        self._runner.stdin.write(json.dumps(what) + "\n")
        self._runner.stdin.flush()

    def _listen(self) -> None:
        assert self._runner is not None and self._runner.stdout is not None
        for line in self._runner.stdout:
            said = json.loads(line)
            if "live" in said:
                self.live = said["live"]
            else:
                self.result = said

    # ── what changes ─────────────────────────────────────────────────────────────────────────────────────────

    def _send(self) -> None:
        """Every topic moves again and again, a batch at a time; a batch that was not confirmed is sent again as it was."""
        while not self._stop.is_set():
            moved = self.random.sample(self.topics, min(BATCH, len(self.topics)))
            for topic in moved:
                self.numbers[topic] += 1
            self._must_send([self._move(topic) for topic in moved])

    def _send_last(self) -> int:
        """The number with which every topic ends."""
        last = max(self.numbers.values()) + 1
        for topic in self.topics:
            self.numbers[topic] = last
        for first in range(0, len(self.topics), BATCH):
            self._must_send([self._move(topic) for topic in self.topics[first : first + BATCH]])
        return last

    def _move(self, topic: str) -> dict:
        file, n = topic.removeprefix(FOLDER), self.numbers[topic]
        data = {"file": file, "n": n}
        return event("probe.moved.v1", "/probe", id=f"{file}-{n}", subject=file, data=data)

    def _must_send(self, batch: list[dict]) -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                if self.hub.send(*batch).status_code == 202:
                    self.sent += len(batch)
                    return
            except requests.RequestException:
                pass
            time.sleep(0.2)
        raise AssertionError("events were not accepted for two minutes")

    # ── what goes wrong ──────────────────────────────────────────────────────────────────────────────────────

    def _disturb(self) -> None:
        size = self.size
        events = [self._cut] * size.cuts + [self._restart_hub] * size.hub_restarts
        events += [self._restart_rabbitmq] * size.rabbitmq_restarts
        self.random.shuffle(events)
        pause = size.seconds / max(1, len(events))
        for disturb in events:
            time.sleep(pause)
            disturb()
        time.sleep(pause)

    def _cut(self) -> None:
        self._tell({"cut": max(1, int(self.size.pages * CUT_SHARE))})
        self._tabs.cut()

    def _restart_hub(self) -> None:
        self.hub.kill()
        self.hub.start()

    def _restart_rabbitmq(self) -> None:
        assert self.hub.broker is not None
        self.hub.broker.kill()
        self.hub.broker.start()
        self.hub.wait_until_ready()


def backend_for(folder: Path) -> Backend:
    """A shop's backend with the page that is opened in Chromium."""
    shutil.copytree(PAGE, folder / PAGE.name)
    return Backend(build_pages(folder))


def prepare(hub: Hub) -> Hub:
    """One rule: a topic is where its probe was last."""
    hub.write_state(RULE)
    return hub.start()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=2_000)
    parser.add_argument("--in-chromium", type=int, default=5)
    parser.add_argument("--cuts", type=int, default=100)
    parser.add_argument("--hub-restarts", type=int, default=3)
    parser.add_argument("--rabbitmq-restarts", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=120, help="how long things go wrong")
    parser.add_argument("--seed", type=int, default=1)
    given = vars(parser.parse_args())
    seed = given.pop("seed")
    broker = Broker(Path(tempfile.mkdtemp(prefix="crossdock-broker-"))).start()
    backend = backend_for(Path(tempfile.mkdtemp(prefix="crossdock-pages-")))
    hub = Hub({}, broker=broker, environment={"CROSSDOCK_HTTP__ALLOWED_ORIGINS": backend.url})
    browser = Browser()
    try:
        result = Gapless(prepare(hub), Size(**given), browser, backend, seed).run()
    finally:
        browser.end()
        hub.end()
        backend.end()
        broker.kill()
    print(json.dumps(result, indent=2))
    return 1 if result["late"] or result["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
