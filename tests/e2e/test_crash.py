"""Nothing accepted is lost and order per key holds, whatever is killed. The full size: `tests/run crash`."""

from __future__ import annotations

import pytest

from chaos.crash import CrashRun, Kills
from harness.load import MANIFESTS, Load, out_of_order
from harness.wait import eventually

EVENTS = 3_000
DEADLINE_S = 120


def test_kill_9_of_hub_rabbitmq_and_adapter(halls, database):
    hub = halls.hub(MANIFESTS, broker=halls.broker().start(), database=database).start()
    depot = halls.collector(hub, "depot")
    report = CrashRun(hub, depot, seed=1, kills=Kills(hub=2, rabbitmq=1, adapter=2)).run(EVENTS, DEADLINE_S)
    print(report)
    assert report.accepted == EVENTS
    assert report.missing == 0
    assert report.out_of_order == []
    assert report.prove_exit == 0


def test_a_private_node_that_dies_is_started_again_with_everything_in_it(halls):
    hub = halls.hub(MANIFESTS).start()
    depot = halls.collector(hub, "depot")
    report = CrashRun(hub, depot, seed=2, kills=Kills(hub=1, rabbitmq=1, adapter=0)).run(1_500, DEADLINE_S)
    print(report)
    assert report.missing == 0
    assert report.out_of_order == []
    assert report.prove_exit == 0


def test_order_holds_over_an_orderly_stop(halls, broker, database):
    hub = halls.hub(MANIFESTS, broker=broker, database=database).start()
    depot = halls.collector(hub, "depot")
    load = Load(hub, EVENTS).start()
    for share in (0.2, 0.5):
        eventually(
            f"{share:.0%} are accepted",
            lambda share=share: load.accepted() >= EVENTS * share and load.running() is not None,
            DEADLINE_S,
        )
        assert hub.stop() == 0
        hub.start()
    load.wait(DEADLINE_S)
    deliveries = depot.wait_for(*load.accepted_ids(), within_s=DEADLINE_S)
    assert out_of_order(deliveries) == []
    hub.wait_until_balanced()


@pytest.mark.parametrize("place", ["gate-before-publish", "gate-after-confirm", "gate-after-record"])
def test_order_holds_over_a_panic_in_the_gate(halls, broker, database, place):
    panics = "->".join(["5*off->1*panic"] * 3 + ["off"])
    hub = halls.hub(MANIFESTS, broker=broker, database=database).start(
        environment={"FAILPOINTS": f"{place}={panics}"}
    )
    depot = halls.collector(hub, "depot")
    load = Load(hub, EVENTS).start()
    try:
        load.wait(DEADLINE_S)
    finally:
        load.end()
    deliveries = depot.wait_for(*load.accepted_ids(), within_s=DEADLINE_S)
    assert "panic" in hub.log(), "the fail points were not built in: build with --features fault-injection"
    assert out_of_order(deliveries) == []
    hub.wait_until_balanced()
    assert hub.command("prove").returncode == 0
