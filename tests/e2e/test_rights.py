"""Rights, tried with a real client and real credentials: whatever is not an adapter's own is refused by RabbitMQ or
the hub, or quarantined; it is logged, and nobody is delivered anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import pika
import pika.exceptions
import pytest
import requests
from pika.adapters.blocking_connection import BlockingChannel

from harness.amqp import INGRESS, binary, channel, parameters, partition_key, publish, structured, user_of
from harness.collector import Collector
from harness.events import manifest, parcel
from harness.hub import Hub
from harness.wait import eventually

MANIFESTS = {
    "rogue": manifest("rogue", publishes=("parcel.scanned.v1",), subscribes=("parcel.weighed.v1",)),
    "till": manifest("till", publishes=("parcel.scanned.v1", "parcel.weighed.v1")),
    "depot": manifest("depot", subscribes=("parcel.*.v1", "order.*.v1")),
}
ACCESS_REFUSED, PRECONDITION_FAILED = 403, 406


@dataclass
class Hall:
    """One hub with everybody in it."""

    hub: Hub
    depot: Collector

    @property
    def rogue(self) -> str:
        return self.hub.credentials("rogue")["CROSSDOCK_AMQP_URL"]

    def nothing_came_of(self, event_id: str) -> None:
        """A later event of the same key is here, and this one is neither delivered nor recorded."""
        sentinel = parcel("/rogue", subject="same-key")
        with channel(self.rogue) as own:
            publish(own, self.rogue, sentinel)
        self.depot.wait_for(sentinel["id"])
        assert event_id not in {delivery.id for delivery in self.depot.deliveries()}
        assert self.hub.request("GET", f"/v1/events/{event_id}").status_code == 404

    def quarantined(self, event_id: str) -> dict:
        """The one message in quarantine whose body or headers carry this id, with its reasons."""

        def find() -> dict | None:
            for kept in self.hub.get("/v1/quarantine", limit=200)["quarantined"]:
                whole = self.hub.get(f"/v1/quarantine/{kept['id']}")
                if whole["headers"].get("cloudEvents_id") == event_id:
                    return whole
            return None

        return eventually(f"{event_id} is quarantined", find)


@pytest.fixture(scope="module")
def hall(shared_halls, broker, database) -> Hall:
    hub = shared_halls.hub(MANIFESTS, broker=broker, database=database).start()
    return Hall(hub, shared_halls.collector(hub, "depot"))


# ── what RabbitMQ refuses ────────────────────────────────────────────────────────────────────────────────────────

OTHERS_QUEUES = (
    "crossdock.adapter.depot",
    "crossdock.delay.5s",
    "crossdock.due",
    "crossdock.failed",
    "crossdock.ingress.0",
    "crossdock.state",
    "crossdock.undeliverable",
)
OTHER_EXCHANGES = (
    "crossdock.deliver",
    "crossdock.dead",
    "crossdock.realtime",
    "amq.topic",
    "amq.direct",
    "amq.fanout",
    "",
)


def declare_exchange(own: BlockingChannel) -> None:
    own.exchange_declare("rogue", "fanout")


def delete_exchange(own: BlockingChannel) -> None:
    own.exchange_delete(INGRESS)


REFUSED: dict[str, Callable[[BlockingChannel], object]] = {
    **{f"consume {name}": lambda own, name=name: own.basic_consume(name, print) for name in OTHERS_QUEUES},
    **{f"get {name}": lambda own, name=name: own.basic_get(name) for name in OTHERS_QUEUES},
    **{f"purge {name}": lambda own, name=name: own.queue_purge(name) for name in OTHERS_QUEUES},
    **{f"delete {name}": lambda own, name=name: own.queue_delete(name) for name in OTHERS_QUEUES},
    **{
        f"publish to {name or 'the default exchange'}": lambda own, name=name: own.basic_publish(
            name, "crossdock.adapter.depot", b"{}"
        )
        for name in OTHER_EXCHANGES
    },
    "delete its own queue": lambda own: own.queue_delete("crossdock.adapter.rogue"),
    "declare a queue": lambda own: own.queue_declare("rogue"),
    "declare a queue in the hub's name": lambda own: own.queue_declare("crossdock.adapter.rogue2"),
    "declare a queue that the server names": lambda own: own.queue_declare("", exclusive=True),
    "declare an exchange": declare_exchange,
    "delete an exchange": delete_exchange,
    "bind its own queue": lambda own: own.queue_bind("crossdock.adapter.rogue", INGRESS, "1"),
    "bind its own queue to changed states": lambda own: own.queue_bind(
        "crossdock.adapter.rogue", "crossdock.realtime", ""
    ),
    "bind another's queue": lambda own: own.queue_bind("crossdock.adapter.depot", "crossdock.deliver", "x"),
    "unbind": lambda own: own.queue_unbind("crossdock.ingress.0", INGRESS, "1"),
    "bind exchanges": lambda own: own.exchange_bind("crossdock.receipts", INGRESS, "1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_rabbitmq_refuses(hall, case):
    with channel(hall.rogue) as own, pytest.raises(pika.exceptions.ChannelClosedByBroker) as refused:
        REFUSED[case](own)
    assert refused.value.reply_code == ACCESS_REFUSED, refused.value.reply_text


def test_rabbitmq_refuses_a_forged_user(hall):
    forged = parcel("/till", subject="same-key")
    till = user_of(hall.hub.credentials("till")["CROSSDOCK_AMQP_URL"])
    with channel(hall.rogue) as own, pytest.raises(pika.exceptions.ChannelClosedByBroker) as refused:
        publish(own, hall.rogue, forged, user_id=till)
    assert refused.value.reply_code == PRECONDITION_FAILED
    hall.nothing_came_of(forged["id"])


def test_rabbitmq_refuses_a_wrong_password_and_another_vhost(hall):
    wrong = parameters(hall.rogue)
    wrong.credentials = pika.PlainCredentials(user_of(hall.rogue), "guessed")
    with pytest.raises(pika.exceptions.AMQPConnectionError):
        pika.BlockingConnection(wrong)
    elsewhere = parameters(hall.rogue)
    elsewhere.virtual_host = "/"
    with pytest.raises(pika.exceptions.AMQPConnectionError):
        pika.BlockingConnection(elsewhere)


def test_the_management_api_is_not_for_adapters(hall):
    url = urlsplit(hall.rogue)
    answer = requests.get(
        f"{hall.hub.broker.management_url}/api/users", auth=(url.username, url.password), timeout=10
    )
    assert answer.status_code == 401


# ── what the gate quarantines ────────────────────────────────────────────────────────────────────────────────────

SAME_KEY = {"subject": "same-key"}


@dataclass
class Bad:
    """A message that RabbitMQ takes and the gate does not."""

    made: dict
    says: str
    pointer: str | None = None
    changes: dict | None = None
    producer: str | None = "rogue"


QUARANTINED: dict[str, Callable[[], Bad]] = {
    "a type not in the manifest": lambda: Bad(
        parcel("/rogue", type="parcel.weighed.v1", **SAME_KEY), "publishes", "/type"
    ),
    "another's source": lambda: Bad(parcel("/till", **SAME_KEY), "source", "/source"),
    "nobody's source": lambda: Bad(parcel("/unknown", **SAME_KEY), "source", "/source"),
    "no user": lambda: Bad(parcel("/rogue", **SAME_KEY), "user_id", changes={"user_id": None}, producer=None),
    "CC": lambda: Bad(
        parcel("/rogue", **SAME_KEY), "CC", changes={"headers": {"CC": ["crossdock.adapter.depot"]}}
    ),
    "x-death": lambda: Bad(
        parcel("/rogue", **SAME_KEY),
        "x-death",
        changes={
            "headers": {"x-death": [{"queue": "crossdock.adapter.depot", "reason": "rejected", "count": 99}]}
        },
    ),
    "a producer of its own choice": lambda: Bad(
        parcel("/rogue", **SAME_KEY),
        "crossdock-producer",
        changes={"headers": {"crossdock-producer": "till"}},
    ),
    "an attempt of its own choice": lambda: Bad(
        parcel("/rogue", **SAME_KEY), "crossdock-attempt", changes={"headers": {"crossdock-attempt": 7}}
    ),
    "another specversion": lambda: Bad(
        parcel("/rogue", **SAME_KEY, specversion="0.3"), "1.0", "/specversion"
    ),
    "an order that breaks its schema": lambda: Bad(
        parcel("/rogue", type="order.placed.v1", **SAME_KEY, data={"total": 3}), "", "/data"
    ),
}


@pytest.mark.parametrize("case", QUARANTINED)
def test_the_gate_quarantines(hall, case):
    bad = QUARANTINED[case]()
    with channel(hall.rogue) as own:
        publish(own, hall.rogue, bad.made, **(bad.changes or {}))
    kept = hall.quarantined(bad.made["id"])
    assert kept["producer"] == bad.producer
    assert any(
        bad.says in reason["message"] and (bad.pointer is None or reason["pointer"].startswith(bad.pointer))
        for reason in kept["reasons"]
    ), kept["reasons"]
    hall.nothing_came_of(bad.made["id"])
    eventually("it is logged", lambda: "quarantine" in hall.hub.log())


def test_several_faults_are_all_named(hall):
    bad = parcel("/till", type="parcel.weighed.v1", **SAME_KEY, time="yesterday")
    with channel(hall.rogue) as own:
        publish(own, hall.rogue, bad)
    pointers = {reason["pointer"] for reason in hall.quarantined(bad["id"])["reasons"]}
    assert "/time" in pointers
    judged = parcel("/till", type="parcel.weighed.v1", **SAME_KEY)
    with channel(hall.rogue) as own:
        publish(own, hall.rogue, judged)
    pointers = {reason["pointer"] for reason in hall.quarantined(judged["id"])["reasons"]}
    assert {"/source", "/type"} <= pointers


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"[" * 50_000, b'{"specversion":"1.0"}'], ids=len)
def test_what_is_no_event_is_quarantined_and_stops_nobody(hall, body):
    before = hall.hub.ledger()["quarantined"]
    properties, _ = structured({})
    properties.user_id = user_of(hall.rogue)
    with channel(hall.rogue) as own:
        own.basic_publish(INGRESS, "same-key", body, properties)
    eventually("it is quarantined", lambda: hall.hub.ledger()["quarantined"] == before + 1)


def test_bcc_expiration_and_priority_reach_nobody(hall):
    """RabbitMQ itself takes BCC away; the event is good, and arrives once, with none of it."""
    sent = parcel("/rogue", subject="same-key")
    properties, body = binary(sent)
    properties.user_id = user_of(hall.rogue)
    properties.headers["BCC"] = ["crossdock.adapter.depot", "crossdock.adapter.rogue"]
    properties.headers["colour"] = "red"
    properties.expiration, properties.priority, properties.reply_to = "60000", 9, "rogue"
    properties.app_id, properties.cluster_id, properties.type = "rogue", "rogue", "rogue"
    with channel(hall.rogue) as own:
        own.basic_publish(INGRESS, partition_key(sent), body, properties)
    hall.depot.wait_for(sent["id"])
    hall.hub.wait_until_balanced()
    [delivery] = hall.depot.wait_for(sent["id"])
    allowed = ("cloudEvents_", "crossdock-")
    assert all(name.startswith(allowed) for name in delivery.headers), delivery.headers
    assert set(delivery.properties) <= {"content_type", "delivery_mode", "message_id"}, delivery.properties


def test_a_receipt_for_anothers_delivery_counts_for_nothing(hall):
    hall.depot.kill()
    sent = parcel("/till", subject="same-key")
    hall.hub.must_accept(sent, key=hall.hub.credentials("till")["CROSSDOCK_API_KEY"])
    eventually(
        "it is recorded", lambda: hall.hub.request("GET", f"/v1/events/{sent['id']}").status_code == 200
    )
    with channel(hall.rogue) as own:
        own.basic_publish(
            "crossdock.receipts",
            "",
            f'{{"event":"{sent["id"]}","outcome":"done"}}'.encode(),
            pika.BasicProperties(delivery_mode=2, user_id=user_of(hall.rogue)),
        )
    with channel(hall.rogue) as own:
        own.basic_publish(
            "crossdock.receipts", "", b"no receipt at all", pika.BasicProperties(delivery_mode=2)
        )
    queue = "crossdock.failed"
    eventually(
        "the receipts are read",
        lambda: (
            next(row for row in hall.hub.get("/v1/queues")["queues"] if row["name"] == queue)["ready"] == 0
        ),
    )
    [row] = hall.hub.get(f"/v1/events/{sent['id']}")["deliveries"]
    assert row["state"] == "pending"
    hall.depot.start()
    hall.depot.wait_for(sent["id"])


# ── what HTTP refuses ────────────────────────────────────────────────────────────────────────────────────────────


def refused(answer: requests.Response, status: int) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")


@pytest.mark.parametrize(
    "route",
    ["/v1/events", "/v1/ledger", "/v1/adapters", "/v1/api-keys", "/v1/stream", "/v1/live", "/v1/status"],
)
def test_no_key_and_wrong_keys_are_refused(hall, route):
    key = hall.hub.admin_key
    for wrong in ("", "nonsense", key[:-1], key + "x", "cdk_unknown_secret"):
        refused(hall.hub.request("GET", route, key=wrong), 401)
    for header in (f"bearer{key}", f"Basic {key}", key):
        refused(hall.hub.request("GET", route, key="", headers={"Authorization": header}), 401)
    refused(hall.hub.request("GET", route, key="", params={"api_key": key, "access_token": key}), 401)


def scoped(hall: Hall, *scopes: str) -> str:
    answer = hall.hub.request("POST", "/v1/api-keys", json={"name": "narrow", "scopes": list(scopes)})
    assert answer.status_code == 201, answer.text
    return answer.json()["key"]


SCOPED_REQUESTS = {
    ("GET", "/v1/events"): "events:read",
    ("GET", "/v1/events/histogram"): "events:read",
    ("GET", "/v1/stream"): "events:read",
    ("GET", "/v1/live?topics=events"): "events:read",
    ("GET", "/v1/live?topics=overview"): "adapters:read",
    ("GET", "/v1/overview"): "adapters:read",
    ("GET", "/v1/quarantine"): "events:read",
    ("GET", "/v1/dead-letters"): "events:read",
    ("GET", "/v1/dead-letters/1.depot"): "events:read",
    ("POST", "/v1/dead-letters/1.depot/redrive"): "dead-letters:write",
    ("GET", "/v1/journeys/x"): "events:read",
    ("POST", "/v1/events"): "events:write",
    ("GET", "/v1/adapters"): "adapters:read",
    ("GET", "/v1/queues"): "adapters:read",
    ("GET", "/v1/ledger"): "adapters:read",
    ("POST", "/v1/adapters/till/rotate"): "adapters:write",
    ("POST", "/v1/adapters/till/resume"): "adapters:write",
    ("GET", "/v1/api-keys"): "admin",
    ("POST", "/v1/api-keys"): "admin",
    ("POST", "/v1/revisions"): "admin",
    ("POST", "/v1/browser-tokens"): "browser-tokens:write",
    ("DELETE", "/v1/browser-tokens?subject=x"): "browser-tokens:write",
    ("DELETE", "/v1/browser-tokens/x"): "browser-tokens:write",
    ("POST", "/v1/browser-tokens/rotation"): "admin",
}


def test_a_key_does_only_what_its_scopes_say(hall):
    every = {"events:read", "events:write", "adapters:read", "adapters:write", "dead-letters:write"}
    for (method, path), needed in SCOPED_REQUESTS.items():
        key = scoped(hall, *sorted(every - {needed}))
        body = {} if method == "POST" else None
        refused(hall.hub.request(method, path, key=key, json=body), 403)


def test_a_key_without_scopes_does_nothing(hall):
    answer = hall.hub.request("POST", "/v1/api-keys", json={"name": "idle", "scopes": []})
    if answer.status_code == 201:
        key = answer.json()["key"]
        for method, path in SCOPED_REQUESTS:
            refused(hall.hub.request(method, path, key=key, json={}), 403)
    else:
        refused(answer, 422)


def test_an_adapters_key_sends_only_its_own(hall):
    key = hall.hub.credentials("rogue")["CROSSDOCK_API_KEY"]
    for bad, pointer in (
        (parcel("/till", subject="same-key"), "/source"),
        (parcel("/rogue", type="parcel.weighed.v1", subject="same-key"), "/type"),
    ):
        answer = hall.hub.send(bad, key=key)
        refused(answer, 403)
        assert pointer in {fault["pointer"] for fault in answer.json()["faults"]}
        hall.nothing_came_of(bad["id"])
    mixed = [parcel("/rogue", subject="same-key"), parcel("/till", subject="same-key")]
    refused(hall.hub.send(*mixed, key=key), 403)
    hall.nothing_came_of(mixed[0]["id"])
    hall.hub.must_accept(parcel("/rogue", subject="same-key"), key=key)


def test_a_persons_key_may_not_use_an_adapters_source(hall):
    borrowed = parcel("/till", subject="same-key")
    refused(hall.hub.send(borrowed, key=scoped(hall, "events:write")), 403)
    hall.nothing_came_of(borrowed["id"])


def test_an_expired_key_is_refused(hall):
    body = {"name": "old", "scopes": ["events:read"], "expires": "2020-01-01T00:00:00Z"}
    answer = hall.hub.request("POST", "/v1/api-keys", json=body)
    if answer.status_code == 201:
        refused(hall.hub.request("GET", "/v1/events", key=answer.json()["key"]), 401)
    else:
        refused(answer, 422)


def test_refusals_are_logged_and_secrets_are_not(hall):
    marked = parcel("/till", subject="same-key", data={"email": "ada@example.com"})
    with channel(hall.rogue) as own:
        publish(own, hall.rogue, marked)
    hall.quarantined(marked["id"])
    refused(hall.hub.request("GET", "/v1/events", key="cdk_unknown_hush-hush"), 401)
    log = hall.hub.log()
    assert "rogue" in log
    assert "401" in log
    secrets = [hall.hub.admin_key, "hush-hush", "ada@example.com", hall.hub.broker.password]
    for adapter in MANIFESTS:
        credentials = hall.hub.credentials(adapter)
        secrets += [
            credentials["CROSSDOCK_API_KEY"],
            urlsplit(credentials["CROSSDOCK_AMQP_URL"]).password or "?",
        ]
    for secret in secrets:
        assert secret not in log
        assert secret not in (hall.hub.folder / "hub.log").read_text(errors="replace")
    record = hall.hub.record()
    assert marked["id"].encode() in record
    for secret in secrets[4:]:
        assert secret.encode() not in record
        assert secret.encode().hex().encode() not in record, "bytes are dumped as hexadecimal digits"
    if hall.hub.database is not None:
        assert urlsplit(hall.hub.database_url).password not in log
