"""Many pages while connections, hubs and RabbitMQ go: each watches a topic of its own with the client package, in one Node
process behind a proxy that cuts connections. At the end every page has its topic's last state, none was ever told of an
older one after a newer, and none of another page's. By itself: `tests/run gapless --pages 2000 --cuts 100`."""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import requests

from harness.broker import Broker
from harness.events import event
from harness.hub import REPOSITORY, Hub
from harness.wait import eventually

RUNNER = REPOSITORY / "crates" / "web" / "client" / "tests" / "gapless.mjs"
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
BACKOFF = {"minBackoffMs": 200, "maxBackoffMs": 5_000}


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    pages: int
    cuts: int
    hub_restarts: int
    rabbitmq_restarts: int
    seconds: float


class Gapless:
    """One run at a hub with a broker of its own."""

    def __init__(self, hub: Hub, size: Size, seed: int = 1) -> None:
        self.hub, self.size, self.random = hub, size, random.Random(seed)
        self.topics = [f"{FOLDER}f-{number}" for number in range(size.pages)]
        self.numbers = dict.fromkeys(self.topics, 0)
        self.sent = 0
        self.live = 0
        self.result: dict | None = None
        self._stop = threading.Event()
        self._runner: subprocess.Popen[str] | None = None

    def run(self) -> dict:
        self._begin_pages()
        try:
            eventually("all pages are live", lambda: self.live == self.size.pages, LIVE_DEADLINE_S)
            sender = threading.Thread(target=self._send, daemon=True)
            sender.start()
            self._disturb()
            self._stop.set()
            sender.join(60)
            self._send_last()
            self._tell({"end": max(self.numbers.values())})
            return eventually("the pages have ended", lambda: self.result, END_DEADLINE_S)
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
        self._tell({"hub": self.hub.url, "key": key, "topics": self.topics, "backoff": BACKOFF})
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

    def _send_last(self) -> None:
        last = max(self.numbers.values()) + 1
        for topic in self.topics:
            self.numbers[topic] = last
        for first in range(0, len(self.topics), BATCH):
            self._must_send([self._move(topic) for topic in self.topics[first : first + BATCH]])

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

    def _restart_hub(self) -> None:
        self.hub.kill()
        self.hub.start()

    def _restart_rabbitmq(self) -> None:
        assert self.hub.broker is not None
        self.hub.broker.kill()
        self.hub.broker.start()
        self.hub.wait_until_ready()


def hub_for(folder: Path, broker: Broker) -> Hub:
    """A hub with one rule: a topic is where its probe was last."""
    hub = Hub({}, broker=broker, folder=folder)
    (hub.config.parent / "state.toml").write_text(RULE)
    return hub.start()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=2_000)
    parser.add_argument("--cuts", type=int, default=100)
    parser.add_argument("--hub-restarts", type=int, default=3)
    parser.add_argument("--rabbitmq-restarts", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    size = Size(given.pages, given.cuts, given.hub_restarts, given.rabbitmq_restarts, given.seconds)
    broker = Broker(Path(tempfile.mkdtemp(prefix="crossdock-broker-"))).start()
    hub = hub_for(Path(tempfile.mkdtemp(prefix="crossdock-gapless-")), broker)
    try:
        run = Gapless(hub, size, given.seed)
        result = run.run()
    finally:
        hub.end()
        broker.kill()
    print(json.dumps({"events": run.sent, **result}, indent=2))
    return 0 if result["arrived"] == size.pages and result["faultCount"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
