"""MQTT clients that mean harm or do not care: garbage, sockets without a word, thousands of idle clients, subscribers
that never read, floods of messages, of giant packets, of logins and of topics, and whoever has the server keep things.

While each goes on, well-behaved clients are served: at most twice as slowly as in calm, by the same process, whose memory
stays within its bound. Calm and attack are measured in turns in one run. Prints what it saw as JSON and exits 1 if
something is not as it must be:

    tests/run abuse --scale 10 --seconds 10
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass, field
from pathlib import Path

from chaos.mqtt_attacks import KINDS
from chaos.mqtt_hoards import HOARDS
from harness.mqtt import Load, OpenGateway, Server, serves

# What each kind does at scale 1; what holds nothing does it over and over.
SIZES = {
    "garbage": 50,
    "half_open": 500,
    "idle": 5_000,
    "never_reading": 20,
    "flood": 5,
    "giants": 20,
    "logins": 100,
    "topics": 50_000,
    "websocket_pings": 30,
    "websocket_fragments": 4_000,
    "aliases": 400,
    "deep_filters": 100,
    "repeated_filter": 50,
    "user_properties": 1_000,
    "away": 500,
}
# The most memory that the server may use under any of them, and under some that would take long to get there.
RSS_MAX_BYTES = 384 * 1024 * 1024
LESS_RSS_MAX_BYTES = {
    "websocket_pings": 64 * 1024 * 1024,
    "websocket_fragments": 192 * 1024 * 1024,
    "aliases": 128 * 1024 * 1024,
    "repeated_filter": 64 * 1024 * 1024,
}
SLOWER_MAX = 2.0
# Faster than this is fast enough, however fast it is in calm: attacker, load and server share the processors.
P99_FLOOR_MS = 25.0
# The well-behaved: few subscribers of one topic, messages with acknowledgements at a steady rate.
PROBE = {"subscribers": 20, "qos": 1, "rate": 50, "warm_up": 0.5}
SAMPLE_S = 0.05
BEGIN_DEADLINE_S = 60
TESTS = Path(__file__).resolve().parents[1]


@dataclass
class Seen:
    """What one kind did."""

    kind: str
    size: int
    calm_p99_ms: float
    p99_ms: float
    lost: int
    rss_before_bytes: int
    rss_most_bytes: int
    same_process: bool
    still_serves: bool
    faults: list[str] = field(default_factory=list)

    def judge(self) -> Seen:
        """Names what must not be. How fast the others are is only worth a word on a machine without other work."""
        if self.lost:
            self.faults.append(f"others lost {self.lost} messages")
        most = LESS_RSS_MAX_BYTES.get(self.kind, RSS_MAX_BYTES)
        if self.rss_most_bytes > most:
            self.faults.append(f"{self.rss_most_bytes} bytes of memory, at most {most} are allowed")
        if not self.same_process:
            self.faults.append("the server has ended")
        elif not self.still_serves:
            self.faults.append("nobody is served any more")
        return self

    def judge_pace(self) -> Seen:
        p99_max_ms = max(SLOWER_MAX * self.calm_p99_ms, P99_FLOOR_MS)
        if self.p99_ms > p99_max_ms:
            self.faults.append(f"p99 of others {self.p99_ms} ms, at most {p99_max_ms} ms are allowed")
        return self


class Memory(threading.Thread):
    """Watches how much memory the server uses."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self.server, self.most, self._enough = server, server.resident_bytes(), threading.Event()
        self.start()

    def run(self) -> None:
        while not self._enough.wait(SAMPLE_S) and self.server.running():
            self.most = max(self.most, self.server.resident_bytes())

    def stop(self) -> int:
        self._enough.set()
        self.join()
        return self.most


def abuse(server: Server, kind: str, *, scale: float, seconds: float, seed: int) -> Seen:
    """Calm, then the attack, measured alike."""
    load, size, pid = Load(), max(1, round(SIZES[kind] * scale)), server.pid
    calm = load.fanout(server, seconds=seconds, client_id="calm", **PROBE)
    before, memory = server.resident_bytes(), Memory(server)
    ports = (str(server.port), str(server.websocket_port))
    attacker = subprocess.Popen(
        [sys.executable, "-m", "chaos.mqtt_attacks", kind, *ports, str(size), str(seed)],
        cwd=TESTS,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert attacker.stdout is not None
        begun = threading.Thread(target=attacker.stdout.readline, daemon=True)
        begun.start()
        begun.join(BEGIN_DEADLINE_S)
        assert attacker.poll() is None, f"the attacker gave up with {attacker.returncode}"
        stormy = load.fanout(server, seconds=seconds, client_id="stormy", **PROBE)
        assert attacker.poll() is None, f"the attacker gave up with {attacker.returncode}"
    finally:
        attacker.kill()
        attacker.wait()
    most = memory.stop()
    alive = server.running() and server.pid == pid
    return Seen(
        kind,
        size,
        calm["p99_ms"],
        stormy["p99_ms"],
        stormy["lost"] + stormy["ended_by_broker"],
        before,
        most,
        alive,
        alive and serves(server),
    ).judge()


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("kinds", nargs="*", metavar="KIND", help=f"some of {', '.join(KINDS)}; default all")
    options.add_argument("--scale", type=float, default=1.0, help="times the usual sizes")
    options.add_argument("--seconds", type=float, default=5.0, help="how long each measurement takes")
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    server = OpenGateway().start()
    try:
        seen = []
        for kind in given.kinds or KINDS:
            if kind in HOARDS and seen:
                # What the one before left behind is not this one's.
                server.end()
                server = OpenGateway().start()
            one = abuse(server, kind, scale=given.scale, seconds=given.seconds, seed=given.seed)
            seen.append(one.judge_pace())
            print(f"{kind}: {seen[-1].faults or 'good'}", file=sys.stderr, flush=True)
        report = {"rss_max_bytes": RSS_MAX_BYTES, "seen": [asdict(one) for one in seen], "log": server.log()}
        print(json.dumps(report, indent=2))
        sys.exit(any(one.faults for one in seen))
    finally:
        server.end()


if __name__ == "__main__":
    main()
