"""A real month of orders: imported by the hub, counted at a pika consumer and in the archive, against figures that
a script of the tests computes from the same files."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest
import requests

from e2e.conftest import Halls
from harness.events import manifest, webhook
from harness.hub import REPOSITORY, Hub
from harness.receiver import SECRET, Receiver
from harness.wait import eventually
from retail.figures import LARGE_ORDER_PENCE, Figures, count

DATA = "commerce/uci-online-retail-by-day"
MAPPING = REPOSITORY / "tests" / "retail" / "retail.jq"
PLACED, CANCELLED = "order.placed.v1", "order.cancelled.v1"
MANIFESTS = {"ledgers": manifest("ledgers", subscribes=(PLACED, CANCELLED))}
LARGE = f".data.total.amount >= {LARGE_ORDER_PENCE}"
BRIEF = "{ order: .data.order, pence: .data.total.amount, lines: (.data.lines | length), placed: .time }"
SUBSCRIPTION = {"subscribes": (PLACED,), "filter": LARGE, "transform": BRIEF}
DEADLINE_S = 120


@pytest.fixture(scope="module")
def files(sample_data) -> list[Path]:
    return sorted(sample_data(DATA).glob("*.csv"))


@pytest.fixture(scope="module")
def figures(files) -> Figures:
    return count(files)


def totals(events: list[tuple[str, dict]], event_type: str) -> dict[str, int]:
    """Pence by invoice of the events of one type."""
    return {data["order"]: data["total"]["amount"] for found, data in events if found == event_type}


def test_a_month_of_orders_agrees_to_the_penny(shared_halls, broker, database, files, figures):
    hub = shared_halls.hub(MANIFESTS, broker=broker, database=database).start()
    ledgers = shared_halls.collector(hub, "ledgers", prefetch=200)
    rejects = hub.folder / "rejects.jsonl"
    arguments = ["import", *map(str, files), "--map", str(MAPPING), "--group-by", "InvoiceNo", "--distinct"]
    hub.must(*arguments, "--rejects", str(rejects))

    expected = len(figures.orders) + len(figures.cancellations)
    eventually("all are delivered", lambda: ledgers.count() >= expected, DEADLINE_S)
    delivered = [(delivery.type, delivery.data) for delivery in ledgers.deliveries()]
    archived = [(view["event"]["type"], view["event"]["data"]) for view in hub.all_events()]
    for seen in (delivered, archived):
        assert len(seen) == expected
        assert totals(seen, PLACED) == figures.orders
        assert totals(seen, CANCELLED) == figures.cancellations
        assert Counter({data["order"]: len(data["lines"]) for _, data in seen}) == figures.lines

    refused = [json.loads(line) for line in rejects.read_text().splitlines()]
    assert len(refused) == figures.refused.total()
    reasons = Counter(line["reject"] for line in refused)
    assert len(reasons) == len(figures.refused)
    assert sorted(reasons.values()) == sorted(figures.refused.values())
    assert all(line["row"]["InvoiceNo"] for line in refused)

    before = hub.wait_until_balanced()
    again = hub.must(*arguments, "--rejects", str(rejects))
    after = hub.wait_until_balanced()
    assert after["accepted"] == before["accepted"] == expected, again
    assert ledgers.count() == expected
    assert len(rejects.read_text().splitlines()) == figures.refused.total()
    assert hub.command("prove").returncode == 0


class OverAmqp:
    """The adapter as a process with a queue."""

    def __init__(self, halls: Halls, broker) -> None:
        self.hub = halls.hub({"brief": manifest("brief", **SUBSCRIPTION)}, broker=broker).start()
        self._collector = halls.collector(self.hub, "brief", prefetch=200)

    def received(self) -> list[dict]:
        return [delivery.data for delivery in self._collector.deliveries()]

    def end(self) -> None:
        """The halls end the collector."""


class ByWebhook:
    """The adapter as an endpoint, which verifies what is posted to it."""

    def __init__(self, halls: Halls, broker) -> None:
        self._receiver = Receiver().start()
        text = webhook("brief", self._receiver.url, **SUBSCRIPTION)
        environment = {"CROSSDOCK_OUTBOUND__ALLOW": "127.0.0.1", "WEBHOOK_SECRET": SECRET}
        self.hub = halls.hub({"brief": text}, broker=broker, environment=environment).start()

    def received(self) -> list[dict]:
        assert not self._receiver.faults
        return [got.event["data"] for got in self._receiver.requests()]

    def end(self) -> None:
        self._receiver.stop()


def mapping_runs(hub: Hub) -> dict[str, int]:
    """What the hub's metrics count, by mapping and outcome."""
    text = requests.get(f"{hub.url}/metrics", timeout=10).text
    line = re.compile(r'crossdock_mapping_runs_total{adapter="brief",mapping="(\w+)",outcome="(\w+)"} (\d+)')
    return {f"{mapping} {outcome}": int(count) for mapping, outcome, count in line.findall(text)}


@pytest.mark.parametrize("side", [OverAmqp, ByWebhook])
def test_a_month_of_large_orders_in_brief_agrees_to_the_penny(shared_halls, broker, files, figures, side):
    adapter = side(shared_halls, broker)
    hub = adapter.hub
    hub.must("import", *map(str, files), "--map", str(MAPPING), "--group-by", "InvoiceNo", "--distinct")

    large = figures.large_orders()
    assert 0 < len(large) < len(figures.orders)
    eventually("all large orders are there", lambda: len(adapter.received()) >= len(large), DEADLINE_S)
    balanced = hub.wait_until_balanced()
    assert balanced["accepted"] == len(figures.orders) + len(figures.cancellations)
    orders = adapter.received()
    assert {order["order"]: order["pence"] for order in orders} == large
    assert len(orders) == len(large)
    assert sum(order["pence"] for order in orders) == sum(large.values())
    assert Counter({order["order"]: order["lines"] for order in orders}) == Counter(
        {order: lines for order, lines in figures.lines.items() if order in large}
    )
    assert all(set(order) == {"order", "pence", "lines", "placed"} for order in orders)
    assert hub.adapter_ledger("brief")["matched"] == len(large)
    assert mapping_runs(hub) == {"filter done": len(figures.orders), "transform done": len(large)}
    assert hub.command("prove").returncode == 0
    adapter.end()


def test_times_are_london_times_in_utc(shared_halls, broker, files):
    hub = shared_halls.hub(MANIFESTS, broker=broker).start()
    winter, summer = files[0], files[-1]
    assert (winter.stem, summer.stem) == ("2010-12-01", "2011-04-18")
    for file in (winter, summer):
        hub.must("import", str(file), "--map", str(MAPPING), "--group-by", "InvoiceNo", "--distinct")
    times = {}

    def all_there() -> bool:
        times.update({view["event"]["data"]["order"]: view["event"]["time"] for view in hub.all_events()})
        return "550520" in times and "536365" in times

    first_of_summer = summer.read_text().splitlines()[1].split(",")
    eventually("both days are there", lambda: all_there() or first_of_summer[0] in times)
    assert times["536365"] == "2010-12-01T08:26:00Z"
    local = first_of_summer[4]
    hour = int(local[11:13])
    assert times[first_of_summer[0]] == f"2011-04-18T{hour - 1:02}:{local[14:16]}:00Z"
