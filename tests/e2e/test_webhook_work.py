"""Webhook adapters at work: limits, order, crashes, outages, and changes of the configuration. Nothing is lost, and a repeat
is known by its id."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter

import pytest

from harness.endpoint import ENVIRONMENT
from harness.receiver import Answer, Got, Receiver
from harness.wait import eventually

OUTAGE_S = 30.0


# ── how much at once, and in which order ─────────────────────────────────────────────────────────────────────────


def test_no_more_requests_are_under_way_than_the_manifest_says(places):
    def work(_) -> Answer:
        time.sleep(0.1)
        return Answer()

    hall = places("narrow", Receiver(work), max_in_flight=4)
    events = [hall.event() for _ in range(60)]
    hall.send(*events)
    hall.receiver.wait_for(*(one["id"] for one in events))
    assert hall.receiver.most_at_once == 4


def test_no_more_requests_begin_in_a_second_than_the_manifest_says(places):
    hall = places("paced", max_in_flight=50, rate_per_s=20)
    events = [hall.event() for _ in range(70)]
    hall.send(*events)
    times = sorted(got.at for got in hall.receiver.wait_for(*(one["id"] for one in events)))
    assert times[-1] - times[0] >= 69 / 20 - 0.3
    for n, begin in enumerate(times):
        in_a_second = sum(1 for at in times[n:] if at < begin + 1)
        assert in_a_second <= 20 + 3, "as seen from here, where requests may catch up on the way"


def test_events_of_a_key_come_one_after_the_other(places):
    at_work: Counter[str] = Counter()
    together: list[str] = []
    lock = threading.Lock()

    def work(got) -> Answer:
        key = got.event["subject"]
        with lock:
            at_work[key] += 1
            if at_work[key] > 1:
                together.append(key)
        time.sleep(random.uniform(0, 0.02))
        with lock:
            at_work[key] -= 1
        return Answer()

    hall = places("ordered", Receiver(work), more='order = "key"', max_in_flight=20)
    events = [
        hall.event(subject=f"key-{key}", data={"sequence": sequence})
        for sequence in range(20)
        for key in range(12)
    ]
    hall.send(*events)
    got = hall.receiver.wait_for(*(one["id"] for one in events), within_s=60)
    assert together == []
    assert hall.receiver.most_at_once > 4, "other keys do not wait"
    assert len(got) == len(events)
    in_order(got)


def in_order(got: list[Got]) -> None:
    """No event came for the first time before an earlier one of its key."""
    latest: dict[str, int] = {}
    for one in got:
        key, sequence = one.event["subject"], one.event["data"]["sequence"]
        assert sequence <= latest.get(key, -1) + 1, f"{key}: {sequence} after {latest.get(key)}"
        latest[key] = max(sequence, latest.get(key, -1))


# ── crashes and outages ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_hub_killed_with_requests_under_way_loses_nothing(halls, broker, places):
    def work(_) -> Answer:
        time.sleep(0.15)
        return Answer()

    hub = halls.hub({}, broker=broker, environment=ENVIRONMENT).start()
    hall = places("crashing", Receiver(work), on=hub, max_in_flight=10, more='order = "key"')
    events = [
        hall.event(subject=f"key-{key}", data={"sequence": sequence})
        for sequence in range(15)
        for key in range(12)
    ]
    hall.send(*events)
    for share in (20, 60, 100):
        eventually(f"{share} are posted", lambda share=share: len(set(hall.receiver.ids())) >= share)
        hub.kill()
        hub.start()
    got = hall.receiver.wait_for(*(one["id"] for one in events), within_s=90)
    ids: dict[str, set[str]] = {}
    for one in got:
        ids.setdefault(one.id, set()).add(one.webhook_id)
    assert all(len(found) == 1 for found in ids.values()), "a repeat is known by its id"
    assert len({found.copy().pop() for found in ids.values()}) == len(events)
    assert len(got) > len(events), "requests were under way"
    in_order(got)
    ledger = hub.wait_until_balanced(60)
    [row] = [row for row in ledger["adapters"] if row["adapter"] == hall.adapter]
    assert (row["confirmed"], row["unaccounted"]) == (len(events), 0)
    assert hub.command("prove").returncode == 0


def test_limits_hold_over_two_hubs_and_one_takes_over_from_the_other(halls, broker, places):
    def work(_) -> Answer:
        time.sleep(0.05)
        return Answer()

    first = halls.hub({}, broker=broker, environment=ENVIRONMENT).start()
    shared = {name: value for name, value in first.environment.items() if "RABBITMQ" in name}
    shared["CROSSDOCK_DATABASE__URL"] = f"sqlite://{first.data}/crossdock.db"
    second = halls.hub({}, environment=ENVIRONMENT | shared).start()
    hall = places("doubled", Receiver(work), on=first, max_in_flight=3)
    eventually("both hubs know it", lambda: second.get("/v1/status")["revision"] == 2)
    events = [hall.event() for _ in range(120)]
    hall.send(*events)
    eventually("some are posted", lambda: len(hall.receiver.requests()) >= 30)
    assert hall.receiver.most_at_once <= 3, "as many as the manifest says, whatever the number of hubs"
    first.kill()
    hall.receiver.wait_for(*(one["id"] for one in events), within_s=60)
    second.wait_until_balanced()
    assert len({got.webhook_id for got in hall.receiver.requests()}) == len(events)


@pytest.mark.parametrize("where", ["webhook-before-record", "webhook-after-record"])
def test_a_sender_that_fails_starts_again_and_repeats_what_it_held(halls, broker, places, where):
    panics = "->".join(["5*off->1*panic"] * 3 + ["off"])
    hub = halls.hub({}, broker=broker, environment=ENVIRONMENT | {"FAILPOINTS": f"{where}={panics}"}).start()
    hall = places("stumbling", on=hub, max_in_flight=5, more='order = "key"')
    events = [hall.event(subject=f"key-{n % 7}", data={"sequence": n // 7}) for n in range(200)]
    hall.send(*events)
    got = hall.receiver.wait_for(*(one["id"] for one in events), within_s=60)
    assert "panic" in hub.log(), "the fail points were not built in: build with --features fault-injection"
    assert len({(one.id, one.webhook_id) for one in got}) == len(events)
    assert len(got) > len(events)
    in_order(got)
    hub.wait_until_balanced()
    assert hub.command("prove").returncode == 0


def test_a_stop_waits_for_the_requests_under_way(halls, broker, places):
    let_go = threading.Event()

    def work(_) -> Answer:
        let_go.wait(20)
        return Answer()

    hub = halls.hub({}, broker=broker, environment=ENVIRONMENT).start()
    hall = places("draining", Receiver(work), on=hub, max_in_flight=3, timeout_s=60)
    events = [hall.event() for _ in range(6)]
    hall.send(*events)
    eventually("three are under way", lambda: len(hall.receiver.requests()) == 3)
    releasing = threading.Timer(2, let_go.set)
    releasing.start()
    assert hub.stop() == 0
    releasing.join()
    assert len(hall.receiver.requests()) == 3, "nothing new was begun"
    hub.start()
    hall.receiver.wait_for(*(one["id"] for one in events))
    counts = Counter(hall.receiver.ids())
    assert set(counts.values()) == {1}, "what was under way was finished and is not repeated"


def test_an_endpoint_that_is_away_costs_few_attempts_and_loses_nothing(places):
    hall = places("absent", max_in_flight=10)
    first = hall.event()
    hall.send(first)
    hall.receiver.wait_for(first["id"])
    hall.receiver.stop()
    began = time.monotonic()
    events = [hall.event() for _ in range(100)]
    hall.send(*events)
    hall.becomes("slowed")
    said = eventually("status says so", hall.attention, 30)
    assert any("takes no events for now: no connection" in line for line in said), said
    eventually("the outage has lasted", lambda: time.monotonic() - began > OUTAGE_S, OUTAGE_S + 10)
    tried = {one["id"] for one in events if hall.delivery(one["id"])}
    assert len(tried) <= 10 + 2 * 5, "those under way when it vanished, and one or two at each try"
    hall.receiver.start()
    untried = [one["id"] for one in events if one["id"] not in tried]
    got = hall.receiver.wait_for(*untried, within_s=90)
    assert Counter(one.id for one in got).most_common(1)[0][1] == 1
    for event_id in untried[:3]:
        assert hall.outcome(event_id)["number"] == 1
    hall.becomes("live")
    eventually("it is over", lambda: not any("for now" in line for line in hall.attention()))
    assert all(hall.delivery(event_id) for event_id in tried), "every failure is on record"


# ── following the configuration ──────────────────────────────────────────────────────────────────────────────────


def test_another_address_is_used_from_the_next_event_on(places):
    hall = places("moving")
    before = hall.event()
    hall.send(before)
    hall.receiver.wait_for(before["id"])
    other = Receiver().start()
    hall.apply(url=other.url, max_in_flight=2)
    after = hall.event()
    hall.send(after)
    other.wait_for(after["id"])
    assert hall.receiver.ids() == [before["id"]]

    (hall.hub.config.parent / "adapters" / f"{hall.adapter}.toml").unlink()
    hall.hub.must("apply", "--config", str(hall.hub.config))
    path = f"/queues/{hall.hub.vhost}/crossdock.adapter.{hall.adapter}"
    eventually(
        "nobody takes from its queue", lambda: hall.hub.broker.api("GET", path).json().get("consumers") == 0
    )
    other.stop()
    assert other.faults == []
