"""What an adapter rejects comes back by its schedule, over crashes of everything, and ends as a dead letter."""

from __future__ import annotations

import json

import pytest

from chaos.crash import CrashRun, Kills
from harness.collector import Delivery, fails
from harness.events import manifest, parcel
from harness.load import MANIFESTS
from harness.wait import eventually

DEADLINE_S = 120
SHARE = 0.1
SCHEDULE = 'retry = { schedule = ["1s", "1s", "2s"] }'
RETRYING = {**MANIFESTS, "depot": manifest("depot", subscribes=("parcel.scanned.v1",), more=SCHEDULE)}


def succeeded(deliveries: list[Delivery], failed_attempts: int = 1) -> set[str]:
    return {
        delivery.id
        for delivery in deliveries
        if not fails(delivery.id, delivery.attempt, SHARE, failed_attempts)
    }


def test_kill_9_of_everything_while_one_in_ten_is_tried_again(halls):
    hub = halls.hub(RETRYING, broker=halls.broker().start()).start()
    depot = halls.collector(hub, "depot", fail_share=SHARE, failed_attempts=2)
    run = CrashRun(hub, depot, seed=3, kills=Kills(hub=3, rabbitmq=1, adapter=2))
    run.run(2_000, DEADLINE_S)
    accepted = {view["event"]["id"] for view in hub.all_events(type="parcel.scanned.v1")}
    assert len(accepted) == run.report.accepted
    eventually("every event has succeeded", lambda: accepted <= succeeded(depot.deliveries(), 2), DEADLINE_S)
    hub.wait_until_balanced(DEADLINE_S)
    assert hub.command("prove").returncode == 0
    assert hub.get("/v1/dead-letters")["dead_letters"] == []
    attempts = {delivery.attempt for delivery in depot.deliveries()}
    assert {1, 2, 3} <= attempts, attempts


@pytest.mark.parametrize("place", ["failed-after-publish", "due-before-publish"])
def test_a_panic_between_two_steps_of_a_retry_loses_nothing(halls, broker, place):
    panics = "->".join(["1*panic->1*off"] * 2 + ["off"])
    hub = halls.hub(RETRYING, broker=broker).start(environment={"FAILPOINTS": f"{place}={panics}"})
    depot = halls.collector(hub, "depot", fail_share=1.0)
    events = [parcel("/anyone", subject=f"parcel/{n}") for n in range(50)]
    for start in range(0, len(events), 10):
        hub.must_accept(*events[start : start + 10])
    ids = {event["id"] for event in events}

    def all_came_twice() -> bool:
        second = {delivery.id for delivery in depot.deliveries() if delivery.attempt > 1}
        return ids <= second

    eventually("every event came a second time", all_came_twice, DEADLINE_S)
    assert "panic" in hub.log(), "the fail points were not built in: build with --features fault-injection"
    hub.wait_until_balanced(60)
    assert hub.command("prove").returncode == 0


def test_an_operator_mends_and_redrives(halls, broker):
    hub = halls.hub(RETRYING, broker=broker).start()
    depot = halls.collector(hub, "depot", fail_share=1.0, failed_attempts=4)
    sent = parcel("/anyone", subject="parcel/unlucky")
    hub.must_accept(sent)

    def dead() -> dict | None:
        return next(iter(json.loads(hub.must("dead-letter", "list", "--json"))["dead_letters"]), None)

    letter = eventually("it is a dead letter", dead, 30)
    assert letter["event_id"] == sent["id"]
    assert letter["attempts"] == 4
    assert letter["detail"] == "not this time"
    listed = hub.must("dead-letter", "list")
    assert letter["id"] in listed
    assert "not this time" in listed
    shown = hub.must("dead-letter", "show", letter["id"])
    assert "4." in shown
    assert '"dock": 7' in shown
    assert "dead-letter list" in hub.must("status")

    assert "attempt 5" in hub.must("dead-letter", "redrive", letter["id"])
    eventually("the fifth attempt is there", lambda: any(d.attempt == 5 for d in depot.deliveries()), 20)
    eventually("it is done", lambda: hub.adapter_ledger("depot")["confirmed"] == 1, 20)
    assert "no dead letters" in hub.must("dead-letter", "list")
    again = hub.command("dead-letter", "redrive", letter["id"])
    assert again.returncode == 1
    assert "no dead letter" in again.stderr
    wrong = hub.command("dead-letter", "show", "erp")
    assert wrong.returncode == 1
    assert "1042.erp" in wrong.stderr
