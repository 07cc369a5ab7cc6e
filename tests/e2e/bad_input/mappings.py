"""Mappings that `check` cannot see through: they fail when they work. Whoever else wants the event gets it."""

from __future__ import annotations

from e2e.bad_input import Case
from e2e.bad_input.files import MAPPING_CASES
from e2e.bad_input.hall import Hall
from harness.events import event
from harness.wait import eventually

PARKED = "the event, and a dead letter for this adapter"
"""More runs than a mapping is looked at before it is parked."""
RUNS = 30


def send(hall: Hall, name: str, number: int = 1) -> list[str]:
    events = [event(f"odd.{name}.v1", "/anyone", subject=f"{name}-{n}", data={"n": n}) for n in range(number)]
    hall.good |= {made["id"] for made in events}
    hall.hub.must_accept(*events)
    hall.depot.wait_for(*(made["id"] for made in events))
    return [made["id"] for made in events]


def delivery(hall: Hall, event_id: str, adapter: str) -> dict | None:
    view = hall.hub.get(f"/v1/events/{event_id}")
    row = next(row for row in view["deliveries"] if row["adapter"] == adapter)
    return row if row["state"] == "parked" else None


def parked(title: str, name: str, says: str) -> Case:
    """A mapping that fails on an event: the delivery is parked with the reason."""

    def run(hall: Hall) -> None:
        [sent] = send(hall, name)
        row = eventually("the delivery is parked", lambda: delivery(hall, sent, f"jq-{name}"))
        assert says in row["detail"], row

    return Case(title, f"parked: “{says}”", run, PARKED)


def slow(hall: Hall) -> None:
    sent = send(hall, "crawls", RUNS)
    eventually(
        "the mapping is parked",
        lambda: any(
            "is parked, and so are" in sentence for sentence in hall.hub.get("/v1/status")["attention"]
        ),
    )
    row = eventually("so is the last delivery", lambda: delivery(hall, sent[-1], "jq-crawls"))
    assert "it is parked" in row["detail"], row
    [alert] = eventually(
        "an alert is told", lambda: hall.hub.get("/v1/events", type="hub.alert_raised.v1")["events"]
    )
    hall.good.add(alert["event"]["id"])
    hall.depot.wait_for(alert["event"]["id"])


CASES = [
    *MAPPING_CASES,
    parked("a filter that raises an error", "raises", "the mapping raised an error: no such shop"),
    parked("a transform that explodes in size", "swells", "it does too much work or makes too much data"),
    parked("a transform that explodes in depth", "sinks", "a value nests too deeply"),
    parked("a transform that yields too much data", "spills", "the mapping went over its bounds"),
    parked(
        "a transform with two outputs",
        "doubles",
        "the mapping yields more than one where one output is expected",
    ),
    parked("a transform with none", "mutes", "the mapping yields none where one output is expected"),
    parked("a filter with a million steps", "toils", "it does too much work or makes too much data"),
    Case(
        "a filter that is slow again and again",
        "the mapping is parked, with an alert in `status` and as `hub.alert_raised.v1`; every delivery that depends on it is parked",
        slow,
        PARKED,
    ),
]
