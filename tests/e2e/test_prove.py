"""`prove` can fail: what leaves a queue without a trace is named, exactly."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

from harness.amqp import channel
from harness.events import manifest, parcel
from harness.wait import eventually

MANIFESTS = {
    "depot": manifest("depot", subscribes=("parcel.scanned.v1",)),
    "office": manifest("office", subscribes=("parcel.scanned.v1",)),
}
PURGED = 100


def test_prove_names_exactly_the_purged_events(halls, broker, database):
    hub = halls.hub(MANIFESTS, broker=broker, database=database).start()
    depot = halls.collector(hub, "depot")
    office = halls.collector(hub, "office", receipts=False)
    before = [parcel("/anyone") for _ in range(50)]
    hub.must_accept(*before)
    depot.wait_for(*(event["id"] for event in before))
    assert hub.command("prove").returncode == 0

    depot.kill()
    lost = [parcel("/anyone") for _ in range(PURGED)]
    hub.must_accept(*lost)
    office.wait_for(*(event["id"] for event in lost))
    queue = "crossdock.adapter.depot"
    vhost = quote(hub.vhost, safe="")
    eventually(
        "all of them wait in the queue",
        lambda: broker.api("GET", f"/queues/{vhost}/{queue}").json().get("messages") == PURGED,
    )
    with channel(hub.credentials("depot")["CROSSDOCK_AMQP_URL"]) as own:
        own.queue_purge(queue)
    depot = halls.collector(hub, "depot")
    after = [parcel("/anyone") for _ in range(50)]
    hub.must_accept(*after)
    depot.wait_for(*(event["id"] for event in after))

    with ThreadPoolExecutor() as pool:
        as_json, human = pool.map(lambda options: hub.command("prove", *options), (["--json"], []))
    assert as_json.returncode == human.returncode == 1
    rows = {row["adapter"]: row for row in json.loads(as_json.stdout)["adapters"]}
    assert rows["office"]["unaccounted"] == 0, "an adapter without receipts is taken at its word"
    assert rows["depot"]["in_flight"] == 0
    assert rows["depot"]["unaccounted"] == PURGED
    purged = {event["id"] for event in lost}
    assert {missing["id"] for missing in rows["depot"]["missing"]} == purged
    assert "depot" in human.stdout
    assert {event_id for event_id in purged if event_id in human.stdout} == purged
    assert not [event["id"] for event in before + after if event["id"] in human.stdout]
