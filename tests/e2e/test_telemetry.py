"""Traces: one from the HTTP request through RabbitMQ to the adapter and what it publishes, in a collector that decodes
what it is sent; and a hub that does its work whatever the collector does."""

from __future__ import annotations

import json
import socket
import time
import uuid
from collections.abc import Iterator

import pytest
import requests

from harness.amqp import binary, channel, publish
from harness.collector import Collector
from harness.endpoint import ENVIRONMENT
from harness.events import manifest, parcel, webhook
from harness.hub import REPOSITORY, Hub, timed
from harness.otlp import OtlpCollector, Span, new_traceparent, step_of, trace_of
from harness.processes import free_port
from harness.receiver import Answer, Receiver
from harness.wait import eventually

REQUEST = "POST /v1/events"
IN, GATE, OUT = "send crossdock.ingress", "process crossdock.ingress", "send crossdock.deliver"
ERP = "process crossdock.deliver:crossdock.adapter.erp"
ORDER = json.loads((REPOSITORY / "crates/model/schemas/examples/order.placed.v1.json").read_text())
MANIFESTS = {
    "erp": (REPOSITORY / "config/adapters/erp.toml").read_text(),
    "till": manifest("till", publishes=("parcel.scanned.v1",)),
    "depot": manifest("depot", subscribes=("parcel.scanned.v1",)),
}
EVENTS_OF_A_LOAD = 300


@pytest.fixture(scope="module")
def otlp() -> Iterator[OtlpCollector]:
    collector = OtlpCollector()
    yield collector
    collector.stop()


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    made = Receiver().start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def hub(shared_halls, broker, otlp, receiver) -> Hub:
    """With the demo's ERP as the real adapter, since its is the only program that fits a manifest."""
    points = webhook(
        "points", receiver.url, subscribes=("points.earned.v1",), more='[retry]\nschedule = ["1s"]'
    )
    environment = ENVIRONMENT | {"CROSSDOCK_TELEMETRY__OTLP_ENDPOINT": otlp.url}
    made = shared_halls.hub(MANIFESTS | {"points": points}, broker=broker, environment=environment)
    return made.start("--demo")


@pytest.fixture(scope="module")
def depot(shared_halls, hub) -> Collector:
    return shared_halls.collector(hub, "depot")


def order() -> dict:
    changes = {"id": str(uuid.uuid4()), "source": "/anyone", "traceparent": None}
    return {name: value for name, value in {**ORDER, **changes}.items() if value is not None}


def post(hub: Hub, *events: dict, **headers: str) -> None:
    headers["Content-Type"] = "application/cloudevents-batch+json"
    answer = hub.request("POST", "/v1/events", headers=headers, data=json.dumps(events).encode())
    assert answer.status_code == 202, answer.text


def recorded(hub: Hub, event_id: str) -> dict:
    def look() -> dict | None:
        answer = hub.request("GET", f"/v1/events/{event_id}")
        return answer.json()["event"] if answer.status_code == 200 else None

    return eventually(f"{event_id} is recorded", look)


def test_one_trace_from_http_to_the_adapter_and_what_it_publishes(hub, otlp):
    mine = new_traceparent()
    placed = order()
    post(hub, placed, traceparent=mine)

    request = otlp.one(REQUEST, trace=trace_of(mine))
    sent = otlp.one(IN, event=placed["id"])
    gate = otlp.one(GATE, event=placed["id"])
    delivered = otlp.one(OUT, event=placed["id"])
    handled = otlp.one(ERP, event=placed["id"])
    chain = [request, sent, gate, delivered, handled]
    assert [span.parent for span in chain] == [step_of(mine)] + [span.id for span in chain[:-1]]
    assert [span.kind for span in chain] == ["server", "producer", "consumer", "producer", "consumer"]
    assert [span.service for span in chain] == ["crossdock"] * 4 + ["erp"]
    assert recorded(hub, placed["id"])["traceparent"] == f"00-{trace_of(mine)}-{sent.id}-01"

    answers = eventually(
        "the ERP's answers are through the gate",
        lambda: [
            span for span in otlp.spans(trace_of(mine)) if span.name == GATE and span.event != placed["id"]
        ],
    )
    for answer in answers:
        published = otlp.one(IN, event=answer.event)
        assert (published.service, published.parent) == ("erp", handled.id)
        assert (answer.service, answer.parent) == ("crossdock", published.id)
        assert recorded(hub, str(answer.event))["causationid"] == placed["id"]

    of_one_tree(otlp.spans(trace_of(mine)), root=request)
    assert not any(span.failed for span in otlp.spans(trace_of(mine)))


def of_one_tree(spans: list[Span], root: Span) -> None:
    """Every span but the root has its parent among them."""
    ids = {span.id for span in spans}
    assert len(ids) == len(spans)
    assert [span for span in spans if span.parent not in ids] == [root]


def test_spans_keep_to_the_conventions_and_name_nobody(hub, otlp):
    mine, placed = new_traceparent(), order()
    post(hub, placed, traceparent=mine)
    handled = otlp.one(ERP, event=placed["id"])
    assert handled.attributes == {
        "messaging.system": "rabbitmq",
        "messaging.operation.type": "process",
        "messaging.operation.name": "process",
        "messaging.destination.name": "crossdock.deliver:crossdock.adapter.erp",
        "messaging.message.id": placed["id"],
        "cloudevents.event_id": placed["id"],
        "cloudevents.event_source": "/anyone",
        "cloudevents.event_type": "order.placed.v1",
    }
    assert otlp.one(OUT, event=placed["id"]).attributes["crossdock.adapters"] == "erp"
    request = otlp.one(REQUEST, trace=trace_of(mine))
    assert request.attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/events",
        "http.response.status_code": 202,
    }
    said = " ".join(str(span.attributes) + span.name for span in otlp.spans(trace_of(mine)))
    for personal in (placed["subject"], "ada@example.com", "Ada Example"):
        assert personal not in said.replace(placed["id"], "")


def test_the_events_of_a_batch_share_a_trace_and_have_steps_of_their_own(hub, otlp, depot):
    batch = [parcel("/anyone") for _ in range(20)]
    own = parcel("/anyone", traceparent=new_traceparent())
    mine = new_traceparent()
    post(hub, *batch, own, traceparent=mine)
    depot.wait_for(*(made["id"] for made in [*batch, own]))
    request = otlp.one(REQUEST, trace=trace_of(mine))
    for made in batch:
        sent, gate = otlp.one(IN, event=made["id"]), otlp.one(GATE, event=made["id"])
        assert (sent.trace, sent.parent, gate.parent) == (trace_of(mine), request.id, sent.id)
        assert recorded(hub, made["id"])["traceparent"] == f"00-{sent.trace}-{sent.id}-01"

    # An event that is part of a trace stays there, to the letter.
    assert recorded(hub, own["id"])["traceparent"] == own["traceparent"]
    for name in (IN, GATE):
        span = otlp.one(name, event=own["id"])
        assert (span.trace, span.parent) == (trace_of(own["traceparent"]), step_of(own["traceparent"]))
    assert otlp.one(IN, event=own["id"]).links == [trace_of(mine)]


def test_without_a_step_that_can_be_read_a_request_begins_a_trace(hub, otlp):
    for header in ({}, {"traceparent": "00-abc"}, {"traceparent": new_traceparent()[:-2] + "0X"}):
        made = parcel("/anyone")
        post(hub, made, **header)
        sent = otlp.one(IN, event=made["id"])
        request = otlp.one(REQUEST, id=sent.parent)
        assert request.parent == "" and request.trace == sent.trace


def test_what_nobody_keeps_is_not_sent(hub, otlp, depot):
    unsampled, made, after = new_traceparent()[:-1] + "0", parcel("/anyone"), parcel("/anyone")
    post(hub, made, traceparent=unsampled)
    depot.wait_for(made["id"])
    # It is still part of the trace.
    traceparent = recorded(hub, made["id"])["traceparent"]
    assert trace_of(traceparent) == trace_of(unsampled) and traceparent.endswith("-00")
    post(hub, after)
    otlp.one(GATE, event=after["id"])
    assert otlp.spans(trace_of(unsampled)) == []


def test_an_event_over_amqp_is_part_of_the_gates_trace_unless_it_brings_its_own(hub, otlp, depot):
    bare, own = parcel("/till"), parcel("/till", traceparent=new_traceparent())
    url = hub.credentials("till")["CROSSDOCK_AMQP_URL"]
    with channel(url) as opened:
        publish(opened, url, bare, binary)
        publish(opened, url, own, binary)
    got = {delivery.id: delivery for delivery in depot.wait_for(bare["id"], own["id"])}

    gate = otlp.one(GATE, event=bare["id"])
    traceparent = f"00-{gate.trace}-{gate.id}-01"
    assert gate.parent == ""
    assert got[bare["id"]].headers["cloudEvents_traceparent"] == traceparent
    assert recorded(hub, bare["id"])["traceparent"] == traceparent

    assert got[own["id"]].headers["cloudEvents_traceparent"] == own["traceparent"]
    assert recorded(hub, own["id"])["traceparent"] == own["traceparent"]
    assert otlp.one(GATE, event=own["id"]).parent == step_of(own["traceparent"])
    for made in (bare, own):
        delivered = otlp.one(OUT, event=made["id"])
        assert got[made["id"]].headers["traceparent"] == f"00-{delivered.trace}-{delivered.id}-01"


def test_a_webhook_is_told_its_step_and_another_attempt_is_a_step_of_its_own(hub, otlp, receiver):
    made = parcel("/anyone", type="points.earned.v1")
    receiver.answer = lambda _: Answer(503 if len(receiver.requests()) == 1 else 200)
    post(hub, made)
    requests_made = eventually(
        "it was posted twice", lambda: len(receiver.requests()) == 2 and receiver.requests()
    )
    posted = [otlp.one("POST", id=step_of(got.headers["traceparent"])) for got in requests_made]
    assert [span.attributes["crossdock.attempt"] for span in posted] == [1, 2]
    assert [span.attributes["http.response.status_code"] for span in posted] == [503, 200]
    assert [span.failed for span in posted] == [True, False]
    assert {span.trace for span in posted} == {otlp.one(IN, event=made["id"]).trace}
    handed_over = [otlp.one(OUT, id=span.parent) for span in posted]
    assert handed_over[1].attributes["crossdock.attempt"] == 2
    assert "traceparent" in recorded(hub, made["id"])


def test_at_a_stop_the_last_spans_are_sent(halls, broker, otlp):
    hub = halls.hub(
        MANIFESTS, broker=broker, environment={"CROSSDOCK_TELEMETRY__OTLP_ENDPOINT": otlp.url}
    ).start()
    made = parcel("/anyone")
    post(hub, made)
    recorded(hub, made["id"])
    assert hub.stop() == 0
    # Nothing is waited for: they are here.
    assert [span.event for span in otlp.spans() if span.name == GATE].count(made["id"]) == 1


def test_without_telemetry_an_event_stays_as_it_is(halls, broker):
    hub = halls.hub(MANIFESTS, broker=broker).start()
    depot = halls.collector(hub, "depot")
    made = parcel("/anyone")
    post(hub, made, traceparent=new_traceparent())
    [delivery] = depot.wait_for(made["id"])
    assert not [name for name in delivery.headers if "traceparent" in name]
    assert recorded(hub, made["id"]) == made


@pytest.mark.parametrize("way", ["refuses", "is silent"])
def test_a_collector_that_is_away_costs_nobody_anything(halls, broker, way):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(1)
        port = silent.getsockname()[1] if way == "is silent" else free_port()
        environment = {"CROSSDOCK_TELEMETRY__OTLP_ENDPOINT": f"http://127.0.0.1:{port}"}
        hub = halls.hub(MANIFESTS, broker=broker, environment=environment).start()
        depot = halls.collector(hub, "depot")
        events = [parcel("/anyone") for _ in range(EVENTS_OF_A_LOAD)]
        began = time.monotonic()
        for start in range(0, len(events), 50):
            post(hub, *events[start : start + 50])
        depot.wait_for(*(made["id"] for made in events))
        assert time.monotonic() - began < 30
        lost = eventually("it is counted", lambda: spans_lost(hub))
        assert lost >= 1
        assert hub.log().count("takes no spans") == 1
        assert timed(hub.stop) < 20
        assert hub.process is not None and hub.process.returncode == 0


def spans_lost(hub: Hub) -> int:
    text = requests.get(f"{hub.url}/metrics", timeout=10).text
    lines = [line for line in text.splitlines() if line.startswith("crossdock_telemetry_spans_lost_total ")]
    return int(lines[0].split()[1]) if lines else 0


def test_an_endpoint_that_is_none_is_a_fault_of_the_settings(halls):
    hub = halls.hub({}, settings='[telemetry]\notlp_endpoint = "collector:4318"\n')
    done = hub.command("check", "--config", str(hub.config))
    assert (done.returncode, "crossdock.toml:2:17: " in done.stdout) == (1, True)
