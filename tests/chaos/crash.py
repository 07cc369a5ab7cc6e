"""Crashes under load: kill -9 of hub, RabbitMQ, adapter and PostgreSQL while events come in by HTTP and AMQP.

The moments are drawn from the seed, as shares of the events accepted so far. Afterwards every accepted event must be
at the adapter, in order per key, and `crossdock prove` must exit 0. By itself it prints what it saw as JSON and exits
1 if anything is missing:

    tests/run crash --events 20000 --seed 1
    tests/run crash --database postgres
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from harness.broker import Broker
from harness.collector import Collector
from harness.hub import Hub
from harness.load import MANIFESTS, Load, out_of_order, repeats
from harness.postgres import Postgres
from harness.processes import end, processes_in
from harness.wait import Overdue, eventually

EARLIEST_SHARE, LATEST_SHARE = 0.05, 0.9


@dataclass(frozen=True)
class Kills:
    """How often each is killed."""

    hub: int = 3
    rabbitmq: int = 2
    adapter: int = 2
    postgresql: int = 1


@dataclass
class Report:
    """What was seen."""

    events: int = 0
    seed: int = 0
    kills: list[str] = field(default_factory=list)
    accepted: int = 0
    missing: int = 0
    delivered_again: int = 0
    out_of_order: list[str] = field(default_factory=list)
    producer_errors: int = 0
    ledger: dict = field(default_factory=dict)
    prove_exit: int = -1
    load_s: float = 0.0
    drain_s: float = 0.0

    def good(self) -> bool:
        return self.missing == 0 and self.prove_exit == 0 and not self.out_of_order


class CrashRun:
    """One run over a hub that is already up, with the adapter that consumes and whoever brings the broker."""

    def __init__(self, hub: Hub, adapter: Collector, seed: int, kills: Kills) -> None:
        self.hub, self.adapter = hub, adapter
        self.random = random.Random(seed)
        self.report = Report(seed=seed)
        self.plan = self._draw(kills)

    def _draw(self, kills: Kills) -> list[tuple[float, str, Callable[[], None]]]:
        victims: list[tuple[str, Callable[[], None]]] = [
            *[("hub", self.kill_hub)] * kills.hub,
            *[("rabbitmq", self.kill_rabbitmq)] * kills.rabbitmq,
            *[("adapter", self.kill_adapter)] * kills.adapter,
            *[("postgresql", self.kill_postgresql)] * (kills.postgresql if self.hub.database else 0),
        ]
        drawn = [(self.random.uniform(EARLIEST_SHARE, LATEST_SHARE), *victim) for victim in victims]
        return sorted(drawn, key=lambda kill: kill[0])

    def kill_hub(self) -> None:
        self.hub.kill()
        self.hub.start(ready=False)

    def kill_rabbitmq(self) -> None:
        """The hub's private node it restarts by itself; the operator's broker the operator restarts."""
        if self.hub.broker is not None:
            self.hub.broker.kill()
            self.hub.broker.start()
            return
        nodes = eventually("RabbitMQ runs", lambda: processes_in(self.hub.data, "beam.smp"), 60)
        for pid in nodes:
            end(pid)

    def kill_adapter(self) -> None:
        self.adapter.kill()
        self.adapter.start()

    def kill_postgresql(self) -> None:
        assert self.hub.database is not None
        self.hub.database.kill()
        self.hub.database.start()

    def run(self, events: int, within_s: float) -> Report:
        report, began = self.report, time.monotonic()
        report.events = events
        load = Load(self.hub, events).start()
        try:
            for share, name, kill in self.plan:
                self._wait_for_share(load, share, within_s)
                report.kills.append(f"{name} at {load.accepted()} accepted")
                kill()
            load.wait(within_s)
        finally:
            load.end()
        report.load_s = round(time.monotonic() - began, 1)
        self._look(load, within_s)
        return report

    def _wait_for_share(self, load: Load, share: float, within_s: float) -> None:
        wanted = int(load.total * share)

        def reached() -> bool:
            load.check()
            assert load.accepted() >= wanted, load.standing()
            return True

        try:
            eventually(f"{wanted} events are accepted", reached, within_s)
        except Overdue as overdue:
            raise Overdue(f"{overdue}; queues: {self._queues()}") from overdue

    def _queues(self) -> object:
        """What RabbitMQ says of its queues, for whoever must find out why nothing moves."""
        if self.hub.broker is None:
            return "of the hub's own node"
        queues = self.hub.broker.api("GET", "/api/queues").json()
        return [
            [queue.get(name) for name in ("name", "state", "leader", "messages", "consumers")]
            for queue in queues
        ]

    def _look(self, load: Load, within_s: float) -> None:
        report, began = self.report, time.monotonic()
        self.hub.wait_until_ready()
        accepted = load.accepted_ids()
        report.accepted = len(accepted)
        report.producer_errors = sum(producer.errors for producer in load.producers)
        try:
            self.adapter.wait_for(*accepted, within_s=within_s)
        except AssertionError as overdue:
            print(overdue, file=sys.stderr)
        deliveries = self.adapter.deliveries()
        report.drain_s = round(time.monotonic() - began, 1)
        report.missing = len(accepted - {delivery.id for delivery in deliveries})
        report.delivered_again = repeats(deliveries)
        report.out_of_order = out_of_order(deliveries)[:20]
        report.prove_exit = self.hub.command("prove").returncode
        ledger = self.hub.ledger()
        report.ledger = {name: ledger[name] for name in ("received", "accepted", "duplicates", "redelivered")}


def main() -> int:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--events", type=int, default=20_000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--hub", type=int, default=Kills.hub, help="kills of the hub")
    options.add_argument("--rabbitmq", type=int, default=Kills.rabbitmq, help="kills of RabbitMQ")
    options.add_argument("--adapter", type=int, default=Kills.adapter, help="kills of the adapter")
    options.add_argument(
        "--database",
        choices=["sqlite", "postgres"],
        default="sqlite",
        help="where the hub keeps its record",
    )
    options.add_argument("--postgresql", type=int, default=Kills.postgresql, help="kills of PostgreSQL")
    options.add_argument(
        "--private-node", action="store_true", help="the hub's own RabbitMQ, which dies with it"
    )
    options.add_argument("--within-s", type=float, default=600)
    given = options.parse_args()

    folder = Path(tempfile.mkdtemp(prefix="crossdock-crash-"))
    folder.chmod(0o755)  # PostgreSQL runs as a user of its own where this runs as root.
    broker = None if given.private_node else Broker(folder / "broker")
    database = Postgres(folder / "postgres") if given.database == "postgres" else None
    hub = adapter = None
    try:
        for server in (broker, database):
            if server is not None:
                server.start()
        hub = Hub(MANIFESTS, broker=broker, database=database).start()
        adapter = Collector(hub, "depot").start()
        of_postgresql = given.postgresql if database is not None else 0
        kills = Kills(given.hub, given.rabbitmq, given.adapter, of_postgresql)
        report = CrashRun(hub, adapter, given.seed, kills).run(given.events, given.within_s)
    finally:
        if adapter is not None:
            adapter.kill()
        if hub is not None:
            hub.end()
        for server in (broker, database):
            if server is not None:
                server.kill()
    print(json.dumps(asdict(report), indent=2))
    print(f"logs: {hub.folder}", file=sys.stderr)
    return 0 if report.good() else 1


if __name__ == "__main__":
    sys.exit(main())
