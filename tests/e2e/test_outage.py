"""RabbitMQ goes away, hangs, is full or is tampered with: the hub says so, and carries on without a hand."""

from __future__ import annotations

import os
import time
from urllib.parse import quote, urlsplit

import pytest
import requests

from harness.events import parcel
from harness.load import MANIFESTS, Load, out_of_order
from harness.wait import eventually

OUTAGE_S = float(os.environ.get("CROSSDOCK_TEST_OUTAGE_S", "6"))
DEADLINE_S = 120
UNKNOWN_TOTALS = "\u2013 events accepted (newest \u2013), \u2013 in quarantine, \u2013 parked"


def first_refusal(hub, within_s: float = 40) -> requests.Response:
    """Sends until an event is not taken."""

    def refused() -> list[requests.Response]:
        answer = hub.send(parcel("/anyone"))
        return [answer] if answer.status_code != 202 else []

    [answer] = eventually("an event is not taken", refused, within_s)
    return answer


def assert_repeat_later(answer: requests.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["retry-after"]) > 0
    assert answer.headers["content-type"].startswith("application/problem+json")


def test_an_outage_under_load_is_answered_503_and_loses_nothing(halls, database):
    broker = halls.broker().start()
    hub = halls.hub(MANIFESTS, broker=broker, database=database).start()
    depot = halls.collector(hub, "depot")
    events = 2_000
    load = Load(hub, events).start()
    try:
        eventually("load is on", lambda: load.accepted() > events / 10, DEADLINE_S)
        broker.stop()
        stopped = time.monotonic()
        answer = first_refusal(hub)
        assert_repeat_later(answer)
        not_ready = requests.get(f"{hub.url}/readyz", timeout=5)
        assert not_ready.status_code == 503
        assert "rabbitmq" in not_ready.text.lower()
        assert requests.get(f"{hub.url}/healthz", timeout=5).status_code == 200
        eventually("the outage has lasted", lambda: time.monotonic() - stopped > OUTAGE_S, OUTAGE_S + 5)
        assert hub.running()
        broker.start()
        load.wait(DEADLINE_S)
    finally:
        load.end()
    assert load.refusals(), "the load itself was answered 503"
    for refusal in load.refusals():
        assert_repeat_later(refusal)
    deliveries = depot.wait_for(*load.accepted_ids(), within_s=DEADLINE_S)
    assert out_of_order(deliveries) == []
    assert hub.command("prove").returncode == 0


def test_an_outage_of_postgresql_makes_the_gate_wait_and_no_producer(halls, broker):
    server = halls.postgres().start()
    hub = halls.hub(MANIFESTS, broker=broker, database=server).start()
    depot = halls.collector(hub, "depot")
    events = 3_000
    load = Load(hub, events).start()
    try:
        eventually("load is on", lambda: load.accepted() > events / 10, DEADLINE_S)
        server.stop()
        stopped, before = time.monotonic(), load.accepted()
        not_ready = eventually("it says so", lambda: refused_by("database", hub), 30)
        assert requests.get(f"{hub.url}/healthz", timeout=5).status_code == 200
        assert_repeat_later(hub.request("GET", "/v1/ledger", timeout=60))
        wanted = min(events, before + 200)
        eventually("producers go on", lambda: load.accepted() >= wanted, DEADLINE_S)
        eventually("the outage has lasted", lambda: time.monotonic() - stopped > OUTAGE_S, OUTAGE_S + 60)
        # What the gate had taken when the database went may still arrive: far fewer than have come since.
        assert depot.count() < wanted, "the gate must not pass on what it cannot record"
        assert hub.running()
        server.start()
        load.wait(DEADLINE_S)
    finally:
        load.end()
    assert not load.refusals(), load.refusals()[0].text
    assert not_ready
    deliveries = depot.wait_for(*load.accepted_ids(), within_s=DEADLINE_S)
    assert out_of_order(deliveries) == []
    hub.wait_until_ready()
    ledger = hub.wait_until_balanced()
    assert ledger["accepted"] == events
    assert hub.command("prove").returncode == 0


@pytest.mark.parametrize("outage", ["stop", "freeze"])
def test_status_answers_soon_without_its_database_and_says_what_is_unknown(halls, broker, outage):
    server = halls.postgres().start()
    hub = halls.hub(MANIFESTS, broker=broker, database=server).start()
    hub.must_accept(parcel("/anyone"))
    place = f"PostgreSQL at 127.0.0.1:{server.port}/"
    eventually("status knows it", lambda: "1 event accepted" in hub.must("status"), DEADLINE_S)
    assert place in hub.must("status")
    assert urlsplit(hub.environment["CROSSDOCK_DATABASE__URL"]).password not in hub.must("--json", "status")
    getattr(server, outage)()
    took = []
    for _ in range(3):
        began = time.monotonic()
        said = hub.must("status")
        took.append(time.monotonic() - began)
        assert place in said and "The database does not answer" in said, said
        assert UNKNOWN_TOTALS in said, said
        assert "adapters: unknown while the database does not answer" in said, said
    assert max(took) < 10, took
    unknown = hub.get("/v1/status")
    assert not {"accepted", "quarantined", "parked", "adapters"} & unknown.keys()
    if outage == "freeze":
        server.thaw()


def refused_by(part: str, hub) -> bool:
    """Whether the hub is not ready, and names this part of it."""
    answer = requests.get(f"{hub.url}/readyz", timeout=10)
    return answer.status_code == 503 and part in answer.text.lower()


def test_a_hub_starts_before_its_database(halls, broker):
    server = halls.postgres().start()
    hub = halls.hub(MANIFESTS, broker=broker, database=server)
    server.kill()
    hub.start(ready=False)
    eventually("it says what it waits for", lambda: "the database" in first_text(hub))
    assert hub.running()
    server.start()
    hub.wait_until_ready()
    depot = halls.collector(hub, "depot")
    event = parcel("/anyone")
    hub.must_accept(event)
    depot.wait_for(event["id"])

    server.freeze()
    try:
        frozen = parcel("/anyone")
        hub.must_accept(frozen)
        eventually("it is seen to hang", lambda: refused_by("database", hub), 40)
    finally:
        server.thaw()
    depot.wait_for(frozen["id"], within_s=90)
    hub.wait_until_ready()
    hub.wait_until_balanced()


def first_text(hub) -> str:
    return " ".join(answer.text for answer in readiness(hub))


def test_a_hub_waits_for_a_database_that_dies_while_it_starts(halls, broker):
    server = halls.postgres().start()
    hub = halls.hub(MANIFESTS, broker=broker, database=server).start()
    for after_s in (0.1, 0.2, 0.3, 0.4, 0.5, 0.7):
        hub.kill()
        hub.start(ready=False)
        time.sleep(after_s)  # Somewhere in the start: each moment must do.
        server.kill()
        server.start()
        hub.wait_until_ready()
    hub.must_accept(parcel("/anyone"))


def test_a_hub_starts_before_its_broker(halls):
    broker = halls.broker().start()
    hub = halls.hub(MANIFESTS, broker=broker)
    broker.stop()
    hub.start(ready=False)
    [answer] = eventually("it says what it waits for", lambda: readiness(hub))
    assert answer.status_code == 503
    eventually("it names RabbitMQ", lambda: "rabbitmq" in readiness(hub)[0].text.lower())
    assert hub.running()
    broker.start()
    hub.wait_until_ready()
    depot = halls.collector(hub, "depot")
    event = parcel("/anyone", type="parcel.scanned.v1")
    hub.must_accept(event)
    depot.wait_for(event["id"])

    broker.freeze()
    try:
        assert_repeat_later(first_refusal(hub))
    finally:
        broker.thaw()
    hub.wait_until_ready()
    after = parcel("/anyone")
    eventually("events are taken again", lambda: hub.send(after).status_code == 202, 60)
    depot.wait_for(after["id"], within_s=60)


def readiness(hub) -> list[requests.Response]:
    """What the hub says of itself, if it answers at all."""
    try:
        return [requests.get(f"{hub.url}/readyz", timeout=5)]
    except requests.ConnectionError:
        return []


def test_closed_connections_and_a_deleted_queue_are_mended(halls, broker, database):
    hub = halls.hub(MANIFESTS, broker=broker, database=database).start()
    vhost = quote(hub.vhost, safe="")
    depot = halls.collector(hub, "depot")

    def connections() -> list[str]:
        return [row["name"] for row in broker.api("GET", f"/vhosts/{vhost}/connections").json()]

    for name in eventually("the hub is connected", connections):
        broker.api("DELETE", f"/connections/{quote(name, safe='')}")
    event = parcel("/anyone")
    eventually("events are taken again", lambda: hub.send(event).status_code == 202, 40)
    depot.wait_for(event["id"], within_s=40)

    queue = f"/queues/{vhost}/crossdock.adapter.depot"
    depot.kill()
    assert broker.api("DELETE", queue).ok
    eventually("the queue is back", lambda: broker.api("GET", queue).ok, 60)
    depot = halls.collector(hub, "depot")
    later = parcel("/anyone")
    hub.must_accept(later)
    depot.wait_for(later["id"], within_s=40)

    partition = f"/queues/{vhost}/crossdock.ingress.0"
    assert broker.api("DELETE", partition).ok
    eventually(
        "the partition is back, with its consumer",
        lambda: (found := broker.api("GET", partition)).ok and found.json().get("consumers", 0) > 0,
        60,
    )
    many = [parcel("/anyone") for _ in range(40)]
    eventually("a batch over all partitions is taken", lambda: hub.send(*many).status_code == 202, 40)
    depot.wait_for(*(event["id"] for event in many), within_s=40)
