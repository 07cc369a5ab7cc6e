"""The way of one event: in over HTTP or AMQP, through the gate, to an adapter in another process, kept and found."""

from __future__ import annotations

import json
import threading

import pytest
import requests

from harness.amqp import binary, channel, publish, structured
from harness.collector import Collector
from harness.events import manifest, parcel
from harness.hub import Hub
from harness.wait import eventually

MANIFESTS = {
    "till": manifest("till", publishes=("parcel.scanned.v1", "order.placed.v1")),
    "depot": manifest("depot", subscribes=("parcel.scanned.v1",)),
    "office": manifest("office", subscribes=("parcel.*.v1",)),
}


@pytest.fixture(scope="module")
def hub(shared_halls, broker) -> Hub:
    return shared_halls.hub(MANIFESTS, broker=broker).start()


@pytest.fixture(scope="module")
def depot(shared_halls, hub) -> Collector:
    return shared_halls.collector(hub, "depot")


@pytest.fixture(scope="module")
def office(shared_halls, hub) -> Collector:
    return shared_halls.collector(hub, "office", receipts=False)


def settled(hub: Hub, event_id: str, adapter: str, state: str) -> dict:
    def look() -> dict | None:
        view = hub.get(f"/v1/events/{event_id}")
        delivery = next(row for row in view["deliveries"] if row["adapter"] == adapter)
        assert delivery["state"] == state
        return view

    return eventually(f"the delivery to {adapter} is {state}", look)


def test_a_structured_event_arrives_as_it_was_sent(hub, depot, office):
    sent = parcel(
        "/anyone",
        subject="parcel/1",
        correlationid="order-1",
        partitionkey="key-1",
        dataschema="https://shop.example/parcel",
        data={"dock": 7, "price": 12.10, "text": "Grüße ✓"},
    )
    hub.must_accept(sent)
    [delivery] = depot.wait_for(sent["id"])
    attributes = {name: value for name, value in sent.items() if name not in ("data", "datacontenttype")}
    assert {
        name.removeprefix("cloudEvents_"): value
        for name, value in delivery.headers.items()
        if name.startswith("cloudEvents_")
    } == attributes
    assert delivery.properties["content_type"] == "application/json"
    assert delivery.properties["delivery_mode"] == 2
    assert delivery.headers["crossdock-attempt"] == 1
    assert delivery.data == sent["data"]
    [through_pattern] = office.wait_for(sent["id"])
    assert through_pattern.data == sent["data"]


def test_data_is_kept_to_the_byte(hub, depot):
    body = b'{ "amount" : 1.10, "big": 12345678901234567890, "spaces":   [ ] }'
    event = parcel("/anyone", subject="parcel/bytes")
    headers = {
        f"ce-{name}": str(value) for name, value in event.items() if name not in ("data", "datacontenttype")
    }
    answer = hub.request(
        "POST", "/v1/events", headers={**headers, "Content-Type": "application/json"}, data=body
    )
    assert answer.status_code == 202, answer.text
    [delivery] = depot.wait_for(event["id"])
    assert delivery.body == body


def test_binary_data_that_is_not_json_arrives(hub, depot):
    body = bytes(range(256))
    event = parcel("/anyone", subject="Köln ✓")
    headers = {
        "ce-specversion": "1.0",
        "ce-id": event["id"],
        "ce-source": "/anyone",
        "ce-type": event["type"],
        "ce-subject": "K%C3%B6ln%20%E2%9C%93",
        "Content-Type": "application/octet-stream",
    }
    assert hub.request("POST", "/v1/events", headers=headers, data=body).status_code == 202
    [delivery] = depot.wait_for(event["id"])
    assert delivery.body == body
    assert delivery.subject == "Köln ✓"
    assert delivery.properties["content_type"] == "application/octet-stream"


def test_a_batch_arrives_in_order(hub, depot):
    batch = [parcel("/anyone", subject="parcel/batch", data={"sequence": n}) for n in range(50)]
    hub.must_accept(*batch)
    got = depot.wait_for(*(event["id"] for event in batch))
    assert [delivery.data["sequence"] for delivery in got] == list(range(50))


def test_one_bad_member_refuses_the_batch_and_says_every_fault(hub):
    good = parcel("/anyone")
    nameless = parcel("/anyone", id=None)
    wrong = parcel("/anyone", type="", time="yesterday")
    answer = hub.send(good, nameless, wrong)
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    problem = answer.json()
    assert problem["type"] == "/problems/invalid-event"
    pointers = {fault["pointer"] for fault in problem["faults"]}
    assert {"/1/id", "/2/type", "/2/time"} <= pointers, problem
    assert hub.request("GET", f"/v1/events/{good['id']}").status_code == 404


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Content-Type": "application/cloudevents+json"}, b"{", {400}),
        ({"Content-Type": "application/cloudevents+json"}, b"[]", {400}),
        ({"Content-Type": "application/cloudevents+json"}, b"\xff\xfe", {400}),
        ({"Content-Type": "application/cloudevents+json"}, b"[" * 100_000, {400}),
        ({"Content-Type": "application/cloudevents-batch+json"}, b"{}", {400}),
        ({"Content-Type": "application/cloudevents+xml"}, b"<event/>", {415}),
        ({"Content-Type": "application/cloudevents+json"}, b'{"a":"' + b"x" * 9_000_000 + b'"}', {413}),
    ],
)
def test_what_is_no_event_is_refused(hub, headers, body, status):
    answer = hub.request("POST", "/v1/events", headers=headers, data=body)
    assert answer.status_code in status, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")


def test_an_event_with_too_much_data_is_refused(hub):
    answer = hub.send(parcel("/anyone", data={"text": "x" * (1 << 20)}))
    assert answer.status_code == 413, answer.text


def test_an_order_that_breaks_its_schema_is_refused_with_the_place(hub):
    order = parcel("/anyone", type="order.placed.v1", data={"total": {"amount": "12.50", "currency": "GBP"}})
    answer = hub.send(order, parcel("/anyone", type="of no version"))
    assert answer.status_code == 422, answer.text
    assert "/1/type" in {fault["pointer"] for fault in answer.json()["faults"]}
    assert any(fault["pointer"].startswith("/0/data") for fault in answer.json()["faults"])


@pytest.mark.parametrize(
    "mode", [binary, structured, lambda event: binary(event, prefix="cloudEvents:")], ids=["_", "json", ":"]
)
def test_an_adapter_publishes_over_amqp(hub, depot, mode):
    url = hub.credentials("till")["CROSSDOCK_AMQP_URL"]
    event = parcel("/till", subject="parcel/amqp", correlationid="order-9")
    with channel(url) as own:
        publish(own, url, event, mode)
    [delivery] = depot.wait_for(event["id"])
    assert delivery.data == event["data"]
    view = settled(hub, event["id"], "depot", "confirmed")
    assert view["producer"] == "till"
    assert view["event"] == event


def test_a_receipt_confirms_and_an_ack_alone_does_not(hub, depot, office):
    event = parcel("/anyone")
    hub.must_accept(event)
    depot.wait_for(event["id"])
    office.wait_for(event["id"])
    view = settled(hub, event["id"], "depot", "confirmed")
    assert {row["adapter"]: row["state"] for row in view["deliveries"]} == {
        "depot": "confirmed",
        "office": "pending",
    }
    office_row = eventually(
        "office has taken it",
        lambda: (row := hub.adapter_ledger("office"))["in_flight"] == 0 and row,
    )
    assert office_row["taken"] > 0
    assert office_row["confirmed"] == 0


def test_the_same_id_again_is_a_duplicate(hub, depot):
    event = parcel("/anyone", subject="parcel/twice")
    before = hub.wait_until_balanced()["duplicates"]
    hub.must_accept(event)
    depot.wait_for(event["id"])
    eventually("it is recorded", lambda: hub.request("GET", f"/v1/events/{event['id']}").status_code == 200)
    hub.must_accept(event)
    after = parcel("/anyone", subject="parcel/twice")
    hub.must_accept(after)
    depot.wait_for(after["id"])
    assert hub.wait_until_balanced()["duplicates"] == before + 1
    assert [delivery.id for delivery in depot.deliveries()].count(event["id"]) == 1


def test_the_same_id_of_two_sources_is_two_events(hub, depot):
    first = parcel("/one")
    second = parcel("/two", id=first["id"])
    hub.must_accept(first, second)
    eventually("both are there", lambda: len(depot.wait_for(first["id"])) == 2)
    assert hub.request("GET", f"/v1/events/{first['id']}").status_code == 409
    assert hub.get(f"/v1/events/{first['id']}", source="/two")["event"]["source"] == "/two"


def test_a_journey_follows_correlation_and_aliases(hub, depot):
    def of(order: str, **more) -> dict:
        return parcel("/anyone", partitionkey="parcel/journey", correlationid=order, **more)

    placed = of("order-77", aliases="shop:1001")
    numbered = of("order-77", aliases="erp:A-5", causationid=placed["id"])
    elsewhere = of("parcel-4", aliases="erp:A-5")
    stranger = of("order-78")
    hub.must_accept(placed, numbered, elsewhere, stranger)
    depot.wait_for(*(event["id"] for event in (placed, numbered, elsewhere, stranger)))
    eventually("all recorded", lambda: hub.request("GET", f"/v1/events/{stranger['id']}").status_code == 200)
    for key in ("order-77", "shop:1001", "erp:A-5", "1001", "A-5"):
        journey = hub.get(f"/v1/journeys/{key}")
        found = [view["event"]["id"] for view in journey["events"]]
        assert found == [placed["id"], numbered["id"], elsewhere["id"]], key
    assert hub.request("GET", "/v1/journeys/order-none").status_code == 404

    hub.must_accept(other := of("order-79", aliases="till:1001"))
    depot.wait_for(other["id"])
    answer = hub.request("GET", "/v1/journeys/1001")
    assert answer.status_code == 409
    assert "shop:1001, till:1001" in answer.json()["detail"]


def test_events_are_searched_page_by_page(hub, depot):
    batch = [parcel("/searched", subject="parcel/pages", data={"sequence": n}) for n in range(25)]
    hub.must_accept(*batch)
    depot.wait_for(*(event["id"] for event in batch))
    eventually("all recorded", lambda: len(list(hub.all_events(source="/searched"))) == len(batch))
    seen, cursor = [], None
    while True:
        query = {"source": "/searched", "limit": 10, **({"cursor": cursor} if cursor else {})}
        page = hub.get("/v1/events", **query)
        assert len(page["events"]) <= 10
        seen += [view["event"]["id"] for view in page["events"]]
        cursor = page.get("next")
        if cursor is None:
            break
    assert sorted(seen) == sorted(event["id"] for event in batch)
    assert hub.get("/v1/events", type="order.placed.v1", source="/searched")["events"] == []
    assert hub.request("GET", "/v1/events", params={"limit": "many"}).status_code == 400


def test_a_bad_event_over_amqp_is_quarantined_and_resent_when_mended(halls, broker):
    hub = halls.hub(MANIFESTS, broker=broker).start()
    depot, _ = halls.collector(hub, "depot"), halls.collector(hub, "office")
    url = hub.credentials("till")["CROSSDOCK_AMQP_URL"]
    event = parcel("/till", type="parcel.weighed.v1", subject="parcel/late")
    with channel(url) as own:
        publish(own, url, event)
    [kept] = eventually("it is quarantined", lambda: hub.get("/v1/quarantine")["quarantined"])
    assert kept["producer"] == "till"
    assert kept["reasons"][0]["pointer"] == "/type"
    hub.write_manifest("till", manifest("till", publishes=("parcel.scanned.v1", "parcel.weighed.v1")))
    hub.write_manifest("depot", manifest("depot", subscribes=("parcel.*.v1",)))
    hub.must("apply")
    answer = hub.request("POST", f"/v1/quarantine/{kept['id']}/resend")
    assert answer.ok, answer.text
    [delivery] = depot.wait_for(event["id"])
    assert delivery.data == event["data"]
    hub.wait_until_balanced()


def test_the_stream_tells_of_new_events_and_carries_on_where_it_was(hub, depot):
    first, second, third = (parcel("/streamed", subject="parcel/streamed") for _ in range(3))
    seen: list[tuple[str, dict]] = []

    def follow(headers: dict[str, str], until: str) -> None:
        with hub.request("GET", "/v1/stream", headers=headers, stream=True) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            offset = ""
            for line in answer.iter_lines(decode_unicode=True):
                if line.startswith("id:"):
                    offset = line[3:].strip()
                elif line.startswith("data:"):
                    view = json.loads(line[5:])
                    seen.append((offset, view))
                    if view["event"]["id"] == until:
                        return

    hub.must_accept(first)
    depot.wait_for(first["id"])
    stored = eventually("recorded", lambda: list(hub.all_events(source="/streamed")))
    start = stored[0]["offset"]
    reader = threading.Thread(target=follow, args=({"Last-Event-ID": str(start)}, third["id"]))
    reader.start()
    hub.must_accept(second)
    hub.must_accept(third)
    reader.join(timeout=20)
    assert not reader.is_alive()
    ours = [view["event"]["id"] for _, view in seen if view["event"]["source"] == "/streamed"]
    assert ours == [second["id"], third["id"]]
    assert all(int(offset) == view["offset"] > start for offset, view in seen)


def test_what_operators_and_machines_look_at_is_there(hub):
    assert requests.get(f"{hub.url}/healthz", timeout=5).status_code == 200
    openapi = requests.get(f"{hub.url}/v1/openapi.json", timeout=5).json()
    assert openapi["openapi"].startswith("3.1")
    for path in ("/v1/events", "/v1/ledger", "/v1/adapters", "/v1/journeys/{key}", "/v1/stream"):
        assert path in openapi["paths"], path
    docs = requests.get(f"{hub.url}/docs", timeout=5)
    assert docs.status_code == 200
    assert docs.headers["content-type"].startswith("text/html")
    metrics = requests.get(f"{hub.url}/metrics", timeout=5)
    assert metrics.status_code == 200
    assert "crossdock_" in metrics.text
    names = {queue["name"] for queue in hub.get("/v1/queues")["queues"]}
    assert {"crossdock.adapter.depot", "crossdock.failed", "crossdock.ingress.0"} <= names
    assert {row["name"] for row in hub.get("/v1/adapters")["adapters"]} == set(MANIFESTS)
