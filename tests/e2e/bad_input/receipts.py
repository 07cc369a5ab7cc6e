"""Bad receipts: what makes no sense goes to quarantine and holds up nothing behind it; what is about nobody's event
has no effect."""

from __future__ import annotations

import json
from collections.abc import Callable

import pika

from e2e.bad_input import Case
from e2e.bad_input.hall import Hall, new_id
from e2e.bad_input.messages import QUARANTINE, kept_already, quarantined
from harness.amqp import RECEIPTS, channel, user_of
from harness.events import parcel
from harness.wait import eventually

MIB = 1 << 20
DONE = {"outcome": "done"}


def send(hall: Hall, body: bytes, adapter: str = "rogue", user: bool = True) -> str:
    url, mark = hall.amqp(adapter), new_id()
    properties = pika.BasicProperties(
        content_type="application/json",
        delivery_mode=2,
        user_id=user_of(url) if user else None,
        headers={"case": mark},
    )
    with channel(url) as own:
        own.basic_publish(RECEIPTS, "", body, properties)
    return mark


def refused(title: str, body: bytes | Callable[[], bytes], at: str, says: str, user: bool = True) -> Case:
    def run(hall: Hall) -> None:
        before = kept_already(hall)
        mark = send(hall, body() if callable(body) else body, user=user)
        whole = quarantined(hall, mark, before=before)
        reasons = whole["reasons"]
        assert at in {reason["pointer"] for reason in reasons}, reasons
        assert any(says in reason["message"] for reason in reasons), reasons
        again = hall.hub.request("POST", f"/v1/quarantine/{whole['id']}/resend")
        assert again.status_code == 409, "only its adapter can repeat a receipt"

    shown = f"`{at}`" if at else "the whole"
    return Case(title, f"quarantined at {shown}: “{says}”", run, QUARANTINE)


def receipt(**members) -> bytes:
    return json.dumps({"event": "e-1", "outcome": "done", **members}).encode()


def delivered(hall: Hall) -> dict:
    """A good event in the depot's hands."""
    made = parcel("/rogue", subject="receipts")
    hall.good.add(made["id"])
    hall.hub.must_accept(made, key=hall.key("rogue"))
    hall.depot.wait_for(made["id"])
    return made


def states(hall: Hall, event_id: str) -> dict[str, str]:
    return {row["adapter"]: row["state"] for row in hall.hub.get(f"/v1/events/{event_id}")["deliveries"]}


def anothers(hall: Hall) -> None:
    made = delivered(hall)
    eventually("depot has confirmed it", lambda: states(hall, made["id"])["depot"] == "confirmed")
    send(hall, receipt(event=made["id"], outcome="dead"))
    in_order(hall)
    assert states(hall, made["id"]) == {"depot": "confirmed"}


def unknown(hall: Hall) -> None:
    nobodys = new_id()
    send(hall, receipt(event=nobodys))
    in_order(hall)
    assert hall.hub.request("GET", f"/v1/events/{nobodys}").status_code == 404


def one_bad(hall: Hall) -> None:
    """The depot's own receipts come beside this one; both say done."""
    made = delivered(hall)
    before = kept_already(hall)
    body = [{"event": made["id"], **DONE}, {"event": "", **DONE}]
    whole = quarantined(hall, send(hall, json.dumps(body).encode(), adapter="depot"), before=before)
    assert [reason["pointer"] for reason in whole["reasons"]] == ["/1/event"]
    assert states(hall, made["id"]) == {"depot": "confirmed"}


def in_order(hall: Hall) -> None:
    """Receipts are read one after the other: once a later bad one is in quarantine, the earlier ones are read."""
    before = kept_already(hall)
    quarantined(hall, send(hall, b"later"), before=before)


CASES = [
    refused("bytes that are no JSON", b"done", "", "this is no JSON at line 1, column 1"),
    refused("an empty body", b"", "", "this is no JSON"),
    refused("no `user_id`", receipt(), "", "a receipt needs the property user_id", user=False),
    refused("neither an object nor an array", b'"done"', "", "expected a receipt: a JSON object"),
    refused("no `event`", b'{"outcome": "done"}', "/event", "expected the id of an event"),
    refused("an `event` of 256 bytes", receipt(event="x" * 256), "/event", "expected the id of an event"),
    refused(
        "an `outcome` that is none", receipt(outcome="ok"), "/outcome", 'expected "done", "retry" or "dead"'
    ),
    refused(
        "an `outcome` twice",
        b'{"event": "e-1", "outcome": "done", "outcome": "dead"}',
        "/outcome",
        "stands twice in the same object",
    ),
    refused(
        "a negative `retry_after_s`",
        receipt(retry_after_s=-1),
        "/retry_after_s",
        "expected a number from 0 to 4294967295",
    ),
    refused("a `duration_ms` as text", receipt(duration_ms="12"), "/duration_ms", "expected a number from 0"),
    refused("a NUL in the `source`", receipt(source="/a\0"), "/source", "expected the source of an event"),
    refused(
        "a member that is unknown",
        receipt(retryAfter=1),
        "",
        "1 unknown members; a receipt has event, source, outcome",
    ),
    refused(
        "1,001 receipts in one message",
        lambda: json.dumps([{"event": "e", **DONE}] * 1001).encode(),
        "",
        "1001 receipts in one message, expected at most 1000",
    ),
    refused(
        "more than 1 MiB of receipts",
        lambda: receipt(detail="x" * MIB),
        "",
        "receipts of more than 1048576 bytes in one message",
    ),
    refused("10,000 levels of nesting", lambda: b"[" * 10_000 + b"]" * 10_000, "", "this is no JSON"),
    Case(
        "a bad one among good ones",
        "quarantined at `/1/event`; the good ones count",
        one_bad,
        "the good ones, and the message in quarantine",
    ),
    Case(
        "a receipt for another's delivery",
        "no effect: it counts for the sender's own deliveries only",
        anothers,
        "the delivery as it was",
    ),
    Case(
        "a receipt for an event that never was",
        "no effect: it waits for its event, as one that came early would",
        unknown,
        "the last 10,000 of an adapter",
    ),
]
