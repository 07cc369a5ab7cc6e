"""The retry schedule of a webhook adapter, end to end, with delays of seconds."""

from __future__ import annotations

import itertools

from harness.endpoint import Place
from harness.receiver import Answer, Got, Receiver
from harness.wait import eventually

DELAYS_S = (1, 2, 4)
SCHEDULE = '[retry]\nschedule = ["1s", "2s", "4s"]'
# What may come on top of a delay: its way through RabbitMQ, and a busy machine.
LATE_S = 4.0


def gaps(got: list[Got]) -> list[float]:
    times = [one.at for one in got]
    return [later - earlier for earlier, later in itertools.pairwise(times)]


def assert_kept(got: list[Got], delays_s: tuple[float, ...]) -> None:
    found = gaps(got)
    assert len(found) == len(delays_s), found
    for gap, delay in zip(found, delays_s, strict=True):
        assert delay * 0.9 <= gap < delay + LATE_S, f"{found} where {delays_s} were asked for"


def delivery(hall: Place, event_id: str, tries: int) -> dict:
    return eventually(
        f"{tries} attempts are on record",
        lambda: (row := hall.delivery(event_id)) and len(numbers(row)) == tries and row,
        30,
    )


def numbers(row: dict) -> list[int]:
    return sorted({attempt["number"] for attempt in row["tries"]})


def test_the_schedule_is_kept_and_the_id_stays(places):
    hall = places(
        "scheduled",
        Receiver(lambda got: Answer(200 if len(hall.receiver.requests()) > 3 else 500)),
        more=SCHEDULE,
    )
    sent = hall.event()
    hall.send(sent)
    got = eventually(
        "four attempts", lambda: (all_ := hall.receiver.requests()) and len(all_) == 4 and all_, 40
    )
    assert_kept(got, DELAYS_S)
    assert len({one.webhook_id for one in got}) == 1
    assert len({one.body for one in got}) == 1
    times = [int(one.headers["webhook-timestamp"]) for one in got]
    assert times == sorted(times) and times[-1] - times[0] >= sum(DELAYS_S) - 1, "signed anew each time"
    row = delivery(hall, sent["id"], 4)
    assert row["state"] == "confirmed"
    assert numbers(row) == [1, 2, 3, 4]
    outcomes = [attempt["outcome"] for attempt in row["tries"] if attempt["outcome"] in ("retry", "done")]
    assert outcomes == ["retry", "retry", "retry", "done"]


def test_after_the_schedule_it_is_a_dead_letter(places):
    hall = places("hopeless", Receiver(lambda _: Answer(500, body=b"broken")), more=SCHEDULE)
    sent = hall.event()
    hall.send(sent)
    row = delivery(hall, sent["id"], 4)
    row = eventually(
        "it is parked", lambda: (row := hall.delivery(sent["id"])) and row["state"] == "parked" and row
    )
    assert "broken" in row["detail"]
    assert_kept(hall.receiver.requests(), DELAYS_S)


def test_the_endpoint_may_ask_for_another_delay(places):
    hall = places(
        "wishing",
        Receiver(
            lambda _: Answer(200) if len(hall.receiver.requests()) > 1 else Answer(500, {"Retry-After": "3"})
        ),
        more=SCHEDULE,
    )
    sent = hall.event()
    hall.send(sent)
    got = eventually("two attempts", lambda: (all_ := hall.receiver.requests()) and len(all_) == 2 and all_)
    assert_kept(got, (3,))


def test_an_outage_that_is_shorter_than_the_schedule_loses_nothing(places):
    hall = places("recovering", more='[retry]\nschedule = ["2s", "4s", "8s", "16s"]', max_in_flight=10)
    hall.receiver.stop()
    events = [hall.event() for _ in range(100)]
    hall.send(*events)
    hall.becomes("slowed")
    hall.receiver.start()
    hall.receiver.wait_for(*(one["id"] for one in events), within_s=90)
    ledger = hall.hub.wait_until_balanced(60)
    [row] = [row for row in ledger["adapters"] if row["adapter"] == hall.adapter]
    assert (row["confirmed"], row["parked"]) == (100, 0)
