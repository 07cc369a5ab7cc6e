"""Bad events over AMQP. RabbitMQ has confirmed them before anybody looks, so what is wrong goes to quarantine with
every reason, whole, to be sent again once the cause is mended; nobody gets it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pika
import pika.exceptions

from e2e.bad_input import Case
from e2e.bad_input.hall import Hall, new_id
from harness.amqp import INGRESS, binary, channel, publish, structured, user_of
from harness.events import parcel
from harness.wait import eventually

KIB, MIB = 1 << 10, 1 << 20
QUARANTINE = "the message in quarantine"
CHAIN_MAX = 32


@dataclass
class Sent:
    """A message of the rogue's: an event, and what is changed about its properties and body."""

    event: dict = field(default_factory=dict)
    mode: Callable = binary
    properties: dict = field(default_factory=dict)
    headers: dict = field(default_factory=dict)
    body: bytes | None = None
    drop: tuple[str, ...] = ()


def send(hall: Hall, sent: Sent) -> str:
    """Publishes it, with a header by which it is found again in quarantine; gives its event's id."""
    url = hall.amqp()
    made = {**parcel("/rogue", subject="bad"), **sent.event}
    properties, body = sent.mode(made)
    marked = {**(properties.headers or {}), "case": new_id(), **sent.headers}
    properties.headers = {name: value for name, value in marked.items() if name not in sent.drop}
    properties.user_id = user_of(url)
    for name, value in sent.properties.items():
        setattr(properties, name, value)
    with channel(url) as own:
        own.basic_publish(INGRESS, "bad", body if sent.body is None else sent.body, properties)
    return properties.headers["case"] if "case" in properties.headers else made["id"]


def quarantined(hall: Hall, mark: str, *, before: set[int]) -> dict:
    """The one message in quarantine that was not there before and carries the mark."""

    def find() -> dict | None:
        for kept in hall.hub.get("/v1/quarantine", limit=200)["quarantined"]:
            if kept["id"] in before:
                return None
            whole = hall.hub.get(f"/v1/quarantine/{kept['id']}")
            if whole["headers"].get("case") == mark:
                return whole
        return None

    return eventually(f"{mark} is quarantined", find)


def kept_already(hall: Hall) -> set[int]:
    return {kept["id"] for kept in hall.hub.get("/v1/quarantine", limit=200)["quarantined"]}


def refused(title: str, make: Callable[[], Sent], at: str | tuple[str, ...], says: str) -> Case:
    """A message that is quarantined, with these places and words among its reasons."""
    places = (at,) if isinstance(at, str) else at

    def run(hall: Hall) -> None:
        before = kept_already(hall)
        whole = quarantined(hall, send(hall, make()), before=before)
        reasons = whole["reasons"]
        assert set(places) <= {reason["pointer"] for reason in reasons}, reasons
        assert any(says in reason["message"] for reason in reasons), reasons
        assert len(json.dumps(reasons)) < 128 * KIB

    shown = ", ".join(f"`{place}`" if place else "the whole" for place in places)
    return Case(title, f"quarantined at {shown}: “{says}”", run, QUARANTINE)


def refused_by_rabbitmq(title: str, publishing: Callable[[Hall], None], code: int, answer: str) -> Case:
    def run(hall: Hall) -> None:
        try:
            publishing(hall)
        except (pika.exceptions.ChannelClosedByBroker, pika.exceptions.ConnectionClosedByBroker) as closed:
            assert closed.reply_code == code, closed
        else:
            raise AssertionError("RabbitMQ took it")

    return Case(title, f"RabbitMQ closes the channel with {code}: {answer}", run)


def accepted(title: str, make: Callable[[], Sent], answer: str, kept: str = "the event", check=None) -> Case:
    """An odd message that is all right, and is delivered."""

    def run(hall: Hall) -> None:
        sent = make()
        sent.event = {"id": new_id(), **sent.event}
        send(hall, sent)
        hall.good.add(sent.event["id"])
        [delivery] = hall.depot.wait_for(sent.event["id"])
        if check:
            check(delivery)

    return Case(title, f"accepted: {answer}", run, kept)


def only_the_event(delivery) -> None:
    own = {name for name in delivery.headers if not name.startswith("cloudEvents_")}
    assert own <= {"crossdock-attempt", "crossdock-publish", "x-delivery-count"}, own
    kept = {"content_type", "delivery_mode", "message_id"}
    assert set(delivery.properties) <= kept, delivery.properties


def nested(levels: int):
    table: dict = {"end": 1}
    for _ in range(levels):
        table = {"n": table}
    return table


def without(*names: str):
    return Sent(drop=tuple(f"cloudEvents_{name}" for name in names))


def attribute(name: str, value) -> Sent:
    return Sent(headers={f"cloudEvents_{name}": value})


def as_json(body: bytes, content_type: str = "application/cloudevents+json") -> Sent:
    return Sent(mode=structured, body=body, properties={"content_type": content_type})


def oversized(hall: Hall) -> None:
    with channel(hall.amqp()) as own:
        publish(own, hall.amqp(), parcel("/rogue", data="x" * (2 * MIB)))


def forged(hall: Hall) -> None:
    with channel(hall.amqp()) as own:
        publish(own, hall.amqp(), parcel("/rogue"), user_id=user_of(hall.amqp("corner")))


def elsewhere(exchange: str):
    def publishing(hall: Hall) -> None:
        with channel(hall.amqp()) as own:
            own.basic_publish(exchange, "crossdock.adapter.depot", b"{}")

    return publishing


class Player(threading.Thread):
    """One of two adapters that answer each event with another, for ever."""

    def __init__(self, hall: Hall, name: str, answers: str) -> None:
        super().__init__(daemon=True)
        self.url, self.adapter, self.answers, self.stop = hall.amqp(name), name, answers, threading.Event()
        self.sent = 0

    def run(self) -> None:
        with channel(self.url) as publishing, channel(self.url, confirms=False) as own:
            for method, properties, _ in own.consume(
                f"crossdock.adapter.{self.adapter}", inactivity_timeout=0.1
            ):
                if method is not None:
                    cause = properties.headers["cloudEvents_id"]
                    answer = parcel(
                        f"/{self.adapter}", type=self.answers, causationid=cause, subject="ball", data={}
                    )
                    publish(publishing, self.url, answer)
                    self.sent += 1
                    own.basic_ack(method.delivery_tag)
                if self.stop.is_set():
                    return


def circle(hall: Hall) -> None:
    players = [Player(hall, "ping", "ball.pinged.v1"), Player(hall, "pong", "ball.ponged.v1")]
    before = kept_already(hall)
    for player in players:
        player.start()
    hall.hub.must_accept(
        parcel("/ping", type="ball.pinged.v1", data={}, subject="ball"), key=hall.key("ping")
    )

    def ended() -> dict | None:
        for kept in hall.hub.get("/v1/quarantine", limit=200)["quarantined"]:
            if kept["id"] not in before and kept["producer"] in ("ping", "pong"):
                return kept
        return None

    try:
        kept = eventually("the circle is broken", ended, 60)
    finally:
        for player in players:
            player.stop.set()
            player.join(timeout=20)
    assert kept["reasons"][0]["pointer"] == "/causationid", kept
    assert "answer each other in a circle" in kept["reasons"][0]["message"]
    assert sum(player.sent for player in players) == CHAIN_MAX + 1
    hall.good |= {view["event"]["id"] for view in hall.hub.all_events(type="ball.*.v1")}


def again(hall: Hall) -> None:
    made = parcel("/rogue", subject="again")
    before = hall.hub.ledger()["duplicates"]
    hall.good.add(made["id"])
    with channel(hall.amqp()) as own:
        publish(own, hall.amqp(), made)
        publish(own, hall.amqp(), made)
    hall.depot.wait_for(made["id"])
    eventually("it counts as a duplicate", lambda: hall.hub.ledger()["duplicates"] > before)


CASES = [
    # Who sends it
    refused(
        "no `user_id`", lambda: Sent(properties={"user_id": None}), "", "the property user_id is missing"
    ),
    refused_by_rabbitmq("another's `user_id`", forged, 406, "it vouches for the sender"),
    refused_by_rabbitmq(
        "a message to the exchange of deliveries",
        elsewhere("crossdock.deliver"),
        403,
        "adapters write to ingress and receipts only",
    ),
    refused_by_rabbitmq(
        "a message to the exchange of failures",
        elsewhere("crossdock.dead"),
        403,
        "adapters write to ingress and receipts only",
    ),
    refused(
        "another's `source`",
        lambda: Sent({"source": "/corner"}),
        "/source",
        'may only use the source "/rogue"',
    ),
    refused(
        "a type that is not in its manifest",
        lambda: Sent({"type": "parcel.weighed.v1"}),
        "/type",
        'does not list "parcel.weighed.v1" under publishes',
    ),
    # What steers RabbitMQ or the hub
    refused(
        "`CC` and `BCC` headers",
        lambda: Sent(headers={"CC": ["crossdock.adapter.depot"], "BCC": ["crossdock.adapter.depot"]}),
        "",
        'the header "CC" may only be set by RabbitMQ or the hub',
    ),
    refused(
        "an `x-death` of its own",
        lambda: Sent(headers={"x-death": [{"queue": "crossdock.adapter.depot", "count": 9}]}),
        "",
        'the header "x-death" may only be set by RabbitMQ or the hub',
    ),
    refused(
        "`crossdock-producer`, `crossdock-attempt`",
        lambda: Sent(headers={"crossdock-producer": "corner", "crossdock-attempt": 7}),
        "",
        'the header "crossdock-producer" may only be set by RabbitMQ or the hub',
    ),
    accepted(
        "`expiration`, `priority`, `reply_to`, headers of its own",
        lambda: Sent(
            properties={"expiration": "600000", "priority": 9, "reply_to": "x", "app_id": "x", "type": "x"},
            headers={"x-delay": 0, "mine": 1},
            drop=("x-delay",),
        ),
        "only the event is passed on",
        check=only_the_event,
    ),
    # The message
    refused(
        "no headers and no content type",
        lambda: Sent(
            body=b"hello",
            properties={"content_type": None},
            drop=(
                "cloudEvents_specversion",
                "cloudEvents_id",
                "cloudEvents_source",
                "cloudEvents_type",
                "cloudEvents_subject",
                "cloudEvents_time",
            ),
        ),
        "",
        "the message has no cloudEvents_… headers",
    ),
    refused(
        "no body, for a type with a schema",
        lambda: Sent({"type": "order.placed.v1"}, body=b""),
        "/data",
        "is missing",
    ),
    accepted("no body, for a type without one", lambda: Sent(body=b""), "an event need not have data"),
    accepted(
        "no content type", lambda: Sent(properties={"content_type": None}), "the data is taken for JSON"
    ),
    refused(
        "no content type, and a body that is no JSON",
        lambda: Sent(properties={"content_type": None}, body=b"hello"),
        "/data",
        "is not well-formed JSON",
    ),
    refused(
        "JSON that is cut off",
        lambda: as_json(b'{"specversion": "1.0", '),
        "",
        "is not well-formed JSON: EOF",
    ),
    refused(
        "a batch",
        lambda: as_json(b"[]", "application/cloudevents-batch+json"),
        "",
        "a batch is not accepted over AMQP: send each event as its own message",
    ),
    refused(
        "another encoding: `application/cloudevents+avro`",
        lambda: as_json(b"x", "application/cloudevents+avro"),
        "",
        "the only structured format accepted is application/cloudevents+json",
    ),
    refused(
        "`content_encoding` gzip",
        lambda: Sent(properties={"content_encoding": "gzip"}),
        "",
        "content_encoding is set: send the body unencoded",
    ),
    refused_by_rabbitmq("a message of more than 2 MiB", oversized, 406, "`max_message_size`"),
    refused(
        "data of 1 MiB and a byte",
        lambda: Sent(properties={"content_type": "text/plain"}, body=b"x" * (MIB + 1)),
        "/data",
        "is larger than 1048576 bytes",
    ),
    # Attributes
    refused(
        "no `id`, `type`, `specversion`",
        lambda: without("id", "type", "specversion"),
        ("/id", "/type", "/specversion"),
        "is missing",
    ),
    refused("an empty `id`", lambda: attribute("id", ""), "/id", "must not be empty"),
    refused("an `id` of 256 bytes", lambda: attribute("id", "x" * 256), "/id", "is longer than 255 bytes"),
    refused(
        "a NUL in the `id`", lambda: attribute("id", "a\0b"), "/id", "must not contain control characters"
    ),
    refused("`specversion` 2.0", lambda: attribute("specversion", "2.0"), "/specversion", 'must be "1.0"'),
    refused(
        "a `time` that is none", lambda: attribute("time", "yesterday"), "/time", "must be an RFC 3339 time"
    ),
    refused("an `id` that is a number", lambda: attribute("id", 7), "/id", "must be a string"),
    refused(
        "an attribute that is a list",
        lambda: attribute("extra", [1, 2]),
        "/extra",
        "must be a string, an integer, a boolean or a timestamp",
    ),
    refused(
        "an attribute that is a table in a table in a table",
        lambda: attribute("extra", nested(3)),
        "/extra",
        "must be a string, an integer, a boolean or a timestamp",
    ),
    refused(
        "an attribute beyond 32 bits",
        lambda: attribute("extra", 1 << 40),
        "/extra",
        "is beyond the 32 bits of an integer attribute",
    ),
    refused(
        "an attribute that is not UTF-8",
        lambda: attribute("subject", b"\xff\xfe"),
        "/subject",
        "is a string that is not UTF-8",
    ),
    refused(
        "an attribute with a capital: `orderId`",
        lambda: attribute("orderId", "1"),
        "/orderId",
        "expected 1 to 64 lower-case letters and digits",
    ),
    refused(
        "an attribute under both prefixes",
        lambda: Sent(headers={"cloudEvents:type": "parcel.scanned.v1"}),
        "/type",
        "is given twice, once under each header prefix",
    ),
    refused(
        "40 KiB of attributes",
        lambda: Sent(headers={f"cloudEvents_x{n}": "x" * KIB for n in range(40)}),
        "",
        "has more than 32768 bytes of context attributes",
    ),
    refused(
        "101 extension attributes",
        lambda: Sent(headers={f"cloudEvents_x{n}": 1 for n in range(101)}),
        "",
        "has 101 extension attributes, expected at most 100",
    ),
    accepted(
        "a header of 400 tables in one another",
        lambda: Sent(headers={"mine": nested(400)}),
        "it means nothing here, and is not passed on",
        check=only_the_event,
    ),
    # Data
    refused(
        "10,000 levels of nesting",
        lambda: Sent(body=b"[" * 10_000 + b"]" * 10_000),
        "/data" + "/0" * 120,
        "nests deeper than 120 levels",
    ),
    refused(
        "a key twice", lambda: Sent(body=b'{"a": 1, "a": 2}'), "/data/a", "stands twice in the same object"
    ),
    refused("bytes that are not UTF-8", lambda: Sent(body=b'"\xff"'), "/data", "is not UTF-8"),
    refused("a lone surrogate", lambda: Sent(body=b'"\\ud800"'), "/data", "half of a surrogate pair"),
    refused("a number beyond all bounds", lambda: Sent(body=b"[1e999]"), "/data/0", "number out of range"),
    refused(
        "an order that breaks its schema",
        lambda: Sent({"type": "order.placed.v1", "data": {"total": 3}}),
        ("/data", "/data/total"),
        '"order" is a required property',
    ),
    refused(
        "an order of 300,000 wrong lines",
        lambda: Sent(
            {
                "type": "order.placed.v1",
                "data": {"order": "1", "lines": [0] * 300_000, "total": {"amount": 1, "currency": "GBP"}},
            }
        ),
        ("/data/lines/0", "/data"),
        "beyond 65536 bytes only the first is named",
    ),
    # Among events
    Case(
        "two adapters that answer each other's events",
        f"the event after {CHAIN_MAX} is quarantined at `/causationid`: “adapters seem to answer each other in a circle”",
        circle,
        f"{CHAIN_MAX + 1} events, and the last one in quarantine",
    ),
    Case("the same event again", "counted as a duplicate", again, "the first"),
]
