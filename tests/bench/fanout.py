"""The gateway against mosquitto: messages to many subscribers, and clients that do nothing. Both are measured in one run,
in turns, by the same load generator, which shares the machine's processors with whom it measures. Prints medians and
ratios as JSON, each beside its limit.

Mosquitto runs without its own limits on queues and messages on their way and sends at once, as the gateway does, so that
neither loses anything; flat out, the load has at most so many messages on their way (`--window`). The gateway is the
hub's, built for release, with everybody allowed in.

    tests/run bench fanout --rounds 3 --seconds 5
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from harness.mqtt import Load, Mosquitto, OpenGateway, Server

SUBSCRIBERS = (100, 1_000, 5_000)
QOS = (0, 1)
PAYLOAD_BYTES = 256
IDLE_TCP = 5_000
IDLE_WEBSOCKET = 10_000
SERVERS: tuple[type[Server], ...] = (Mosquitto, OpenGateway)
# Ratios to mosquitto: of what is delivered at least these, of the latency at most this.
DELIVERED_RATIO_MIN = {0: 3.0, 1: 1.0}
P99_RATIO_MAX = 1.0
RSS_PER_IDLE_CLIENT_MAX = 4_096


@contextmanager
def fresh(kind: type[Server]) -> Iterator[Server]:
    """Each measurement meets a server without a past."""
    server = kind()
    try:
        yield server.start()
    finally:
        server.end()


class Bench:
    """The measurements, each the median of some rounds in which the servers take turns."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given, self.load = given, Load()

    def fanout(self, subscribers: int, qos: int, rate: float | None) -> dict[str, dict]:
        """By server; flat out without a rate, which is messages published a second."""
        rounds: dict[str, list[dict]] = {kind.name: [] for kind in SERVERS}
        plan = {"subscribers": subscribers, "qos": qos, "bytes": PAYLOAD_BYTES, "seconds": self.given.seconds}
        plan |= {"window": self.given.window} if rate is None else {"rate": rate}
        for _ in range(self.given.rounds):
            for kind in SERVERS:
                with fresh(kind) as server:
                    rounds[kind.name].append(self.load.fanout(server, **plan))
        return {name: summary(reports) for name, reports in rounds.items()}

    def fanouts(self) -> Iterator[dict]:
        for subscribers in SUBSCRIBERS:
            for qos in QOS:
                flat_out = self.fanout(subscribers, qos, None)
                half = flat_out[Mosquitto.name]["delivered_per_s"] / 2
                at_half = self.fanout(subscribers, qos, half / subscribers)
                delivered = ratio(flat_out, "delivered_per_s")
                p99 = ratio(at_half, "p99_ms")
                seen = {
                    "subscribers": subscribers,
                    "qos": qos,
                    "flat_out": flat_out,
                    "delivered_ratio": {
                        "seen": delivered,
                        "min": DELIVERED_RATIO_MIN[qos],
                        "met": delivered >= DELIVERED_RATIO_MIN[qos],
                    },
                    "at_half_of_mosquittos": {"delivered_per_s": round(half), **at_half},
                    "p99_ratio": {"seen": p99, "max": P99_RATIO_MAX, "met": p99 <= P99_RATIO_MAX},
                }
                note(
                    f"{subscribers} subscribers, QoS {qos}: delivered {delivered} times, p99 at half {p99} times"
                )
                yield seen

    def idle(self, kind: type[Server], clients: int, *, websocket: bool = False) -> dict:
        with fresh(kind) as server:
            return self.load.idle(server, websocket=websocket, clients=clients)

    def idles(self) -> dict:
        tcp = {kind.name: self.idle(kind, IDLE_TCP) for kind in SERVERS}
        bytes_each = tcp[OpenGateway.name]["rss_bytes_per_client"]
        # Mosquitto is not asked for these: it takes minutes to let so many in.
        websocket = self.idle(OpenGateway, IDLE_WEBSOCKET, websocket=True)
        held = websocket["held"]
        note(f"{bytes_each:.0f} bytes for each of {IDLE_TCP} idle TCP clients; {held} WebSocket clients held")
        return {
            "tcp": tcp,
            "rss_bytes_per_idle_client": {
                "seen": bytes_each,
                "max": RSS_PER_IDLE_CLIENT_MAX,
                "met": bytes_each <= RSS_PER_IDLE_CLIENT_MAX,
            },
            "websocket": websocket,
            "websocket_clients_held": {"seen": held, "min": IDLE_WEBSOCKET, "met": held >= IDLE_WEBSOCKET},
        }


def summary(reports: list[dict]) -> dict:
    """Medians of what varies; of what must not happen, all of it."""
    median = {
        name: round(statistics.median(report[name] for report in reports), 3)
        for name in ("delivered_per_s", "p50_ms", "p99_ms", "connects_per_s", "broker_processor_share")
    }
    total = {
        name: sum(report[name] for report in reports) for name in ("lost", "out_of_order", "ended_by_broker")
    }
    return median | total | {"all_delivered_per_s": [report["delivered_per_s"] for report in reports]}


def ratio(by_server: dict[str, dict], name: str) -> float:
    return round(by_server[OpenGateway.name][name] / by_server[Mosquitto.name][name], 2)


def note(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--rounds", type=int, default=3, help="of each measurement")
    options.add_argument("--seconds", type=float, default=5, help="each of them, after a second to warm up")
    options.add_argument("--window", type=int, default=32, help="messages on their way, flat out")
    given = options.parse_args()
    bench = Bench(given)
    seen = {"payload_bytes": PAYLOAD_BYTES, "rounds": given.rounds, "window": given.window}
    seen["idle"] = bench.idles()
    seen["fanout"] = list(bench.fanouts())
    print(json.dumps(seen, indent=2))


if __name__ == "__main__":
    main()
