"""What the dashboard shows is true: against RabbitMQ's management API and the record at the same moment; and it is
pushed as it changes, no more often than it should be, to those who may see it."""

from __future__ import annotations

import itertools
import sqlite3
import time
from datetime import datetime
from urllib.parse import quote

import pytest

from harness.events import manifest, parcel
from harness.live import Live
from harness.load import MANIFESTS, Load
from harness.wait import eventually

DEADLINE_S = 120
GAP_MIN_S = 0.4
RATES = {"in_per_s": "publish", "out_per_s": "deliver_get", "ack_per_s": "ack"}
EVERYTHING = ("overview", "queues", "adapters", "dead-letters", "events")


def told_by_rabbitmq(hub) -> dict[str, dict]:
    answer = hub.broker.api("GET", f"/queues/{quote(hub.vhost, safe='')}")
    return {queue["name"]: queue for queue in answer.json()}


def sql(hub, statement: str) -> list[list[str]]:
    """Rows of the record, as text."""
    if hub.database is not None:
        text = hub.database.sql(statement, hub.database_url.rpartition("/")[2])
        return [line.split("|") for line in text.splitlines() if line]
    with sqlite3.connect(f"file:{hub.data / 'crossdock.db'}?mode=ro", uri=True) as record:
        return [[str(value) for value in row] for row in record.execute(statement)]


def number(hub, statement: str) -> int:
    return int(sql(hub, statement)[0][0])


def seconds(time_text: str) -> float:
    return datetime.fromisoformat(time_text).timestamp()


def queues_held_against_rabbitmq(hub) -> tuple[dict[str, dict], set[str]]:
    """Read between two readings of RabbitMQ: of which queue they say the same, this one has to say it, too. Gives these
    queues' names as well."""

    def reading(queues: dict[str, dict]) -> dict[str, tuple]:
        def of(queue: dict) -> tuple:
            stats = queue.get("message_stats", {})
            rates = [stats.get(f"{name}_details", {}).get("rate") for name in RATES.values()]
            return (queue.get("messages_ready"), queue.get("messages_unacknowledged"), *rates)

        return {name: of(queue) for name, queue in queues.items()}

    before = reading(told_by_rabbitmq(hub))
    views = {view["name"]: view for view in hub.get("/v1/queues")["queues"]}
    after = reading(told_by_rabbitmq(hub))
    assert set(views) == set(before) == set(after)
    held = {name for name in before if before[name] == after[name]}
    for name in held:
        (ready, unacked, *rates), view = before[name], views[name]
        assert (view["ready"], view["unacked"]) == (ready, unacked), name
        assert [view.get(rate) for rate in RATES] == rates, name
    return views, held


def assert_overview_is_the_record(hub) -> dict:
    """Exact, so only when nothing moves any more."""
    overview = hub.get("/v1/overview")
    numbers = overview["numbers"]
    parked = number(hub, "SELECT count(*) FROM deliveries WHERE state = 'parked'")
    on_the_way = number(hub, "SELECT count(*) FROM deliveries WHERE state IN ('pending', 'retrying')")
    assert numbers["dead_letters"] == parked
    assert numbers["in_flight"] == on_the_way
    lately = "received >= (SELECT max(received) FROM events) - 600 * 1000000"
    sources = sql(hub, f"SELECT source, max(received) FROM events WHERE {lately} GROUP BY source")
    shown = {source["name"]: source.get("last") for source in overview["flow"]["sources"]}
    for name, last in sources:
        assert abs(seconds(shown[name]) - int(last) / 1e6) < 0.001, name
    return overview


def test_the_figures_are_those_of_rabbitmq_and_the_record(halls, broker, database):
    """Under load RabbitMQ's own figures move every five seconds, each queue's at a moment of its own: between two of its
    readings they agree. The load goes on until each queue was seen to."""
    manifests = {**MANIFESTS, "office": manifest("office", subscribes=("parcel.scanned.v1",))}
    hub = halls.hub(manifests, broker=broker, database=database).start()
    depot = halls.collector(hub, "depot", fail_share=0.0, prefetch=20)
    load = Load(hub, 100_000).start()
    try:
        eventually("load is on", lambda: load.accepted() > 400, DEADLINE_S)

        agreed, flowing = set(), set()

        def flows() -> bool:
            views, held = queues_held_against_rabbitmq(hub)
            agreed.update(held)
            flowing.update(name for name in held if views[name].get("in_per_s"))
            return agreed == set(views) and "crossdock.adapter.depot" in flowing

        eventually("queues agree while events flow", flows, DEADLINE_S)
        overview = hub.get("/v1/overview")
        assert overview["numbers"]["accepted_per_s"] > 0
        rates = [source["per_s"] for source in overview["flow"]["sources"]]
        assert sum(rates) == pytest.approx(overview["numbers"]["accepted_per_s"], abs=0.05)
    finally:
        load.end()
    load.check()
    accepted = load.accepted_ids()

    def still() -> dict:
        views, held = queues_held_against_rabbitmq(hub)
        assert held == set(views)
        assert views["crossdock.adapter.depot"]["ready"] == 0
        assert views["crossdock.adapter.office"]["ready"] == len(accepted)
        assert hub.adapter_ledger("depot")["confirmed"] == len(accepted)
        return views

    views = eventually("all is handed out and counted", still, DEADLINE_S)
    overview = eventually("the overview is the record", lambda: assert_overview_is_the_record(hub), 30)
    office = views["crossdock.adapter.office"]
    first = number(hub, "SELECT min(published) FROM deliveries WHERE adapter = 'office'")
    assert abs(seconds(office["oldest"]) - first / 1e6) < 0.001
    assert office["adapter"] == "office"
    assert overview["numbers"]["oldest_waiting"] == office["oldest"]
    assert office["depths"][-1]["messages"] <= len(accepted)
    flows = {flow["name"]: flow for flow in overview["flow"]["adapters"]}
    assert (flows["office"]["waiting"], flows["office"]["state"]) == (len(accepted), "waiting")
    assert flows["depot"]["waiting"] == 0

    asked = time.time()
    view = next(view for view in hub.get("/v1/adapters")["adapters"] if view["name"] == "depot")
    answered = time.time()

    def done_since(moment: float) -> int:
        since = int((moment - view["recent"]["window_s"]) * 1e6)
        return number(
            hub,
            f"SELECT count(*) FROM attempts WHERE adapter = 'depot' AND outcome = 'done' AND at >= {since}",
        )

    assert done_since(answered) <= view["recent"]["done"] <= done_since(asked)
    last = number(hub, "SELECT max(at) FROM attempts WHERE adapter = 'depot' AND outcome = 'done'")
    assert abs(seconds(view["last_done"]) - last / 1e6) < 0.001
    assert (
        "done"
        not in next(view for view in hub.get("/v1/adapters")["adapters"] if view["name"] == "office")[
            "recent"
        ]
    ), "who sends no receipts does not say what is done"
    depot.kill()

    histogram = hub.get("/v1/events/histogram", buckets=100, type="parcel.*.v1")
    assert sum(histogram["counts"]) == len(accepted)
    assert not histogram["truncated"]
    for source in ("/till", "/web"):
        counted = hub.get("/v1/events/histogram", source=source, adapter="depot")
        assert sum(counted["counts"]) == number(hub, f"SELECT count(*) FROM events WHERE source = '{source}'")


def test_changes_are_pushed_no_more_than_twice_a_second(halls, broker):
    hub = halls.hub(MANIFESTS, broker=broker).start()
    halls.collector(hub, "depot")
    live = Live(hub, *EVERYTHING)
    load = Load(hub, 2_000).start()
    try:
        load.wait(DEADLINE_S)
    finally:
        load.end()
    accepted = load.accepted_ids()
    eventually(
        "every event is shown or counted",
        lambda: len(live.shown_events()) + live.skipped() == len(accepted),
        30,
    )
    shown = live.shown_events()
    assert len(shown) == len(set(shown))
    assert set(shown) <= accepted
    for topic in EVERYTHING:
        times = [message.at for message in live.messages(topic)]
        assert times, topic
        # This process may be slow to read, which brings messages together but makes none.
        assert len(times) <= 2 + 2 * (times[-1] - times[0]), topic
    looks = [seconds(message.data["at"]) for message in live.messages("overview")]
    gaps = [later - earlier for earlier, later in itertools.pairwise(looks)]
    assert all(gap > GAP_MIN_S for gap in gaps), f"{min(gaps):.2f} s"
    for message in live.messages("events"):
        assert len(message.data["events"]) <= 50
    eventually("beats go on", lambda: len(live.messages("beat")) >= 2, 10)
    eventually(
        "what is pushed is what is asked for",
        lambda: live.last("adapters") == hub.get("/v1/adapters"),
        30,
    )
    assert live.last("dead-letters")["total"] == 0
    live.close()


def test_a_client_that_comes_back_misses_no_event(halls, broker):
    hub = halls.hub(MANIFESTS, broker=broker).start()
    first = Live(hub, "events")
    eventually("a beat says where it is", first.last_id)
    before = [parcel("/anyone") for _ in range(5)]
    hub.must_accept(*before)
    eventually("they are shown", lambda: len(first.shown_events()) == 5)
    first.close()
    while_away = [parcel("/anyone") for _ in range(120)]
    hub.must_accept(*while_away)
    eventually("they are recorded", lambda: len(list(hub.all_events())) == 125)
    second = Live(hub, "events", last_id=first.last_id())
    eventually("it goes on", lambda: len(second.shown_events()) + second.skipped() == 120)
    assert len(second.shown_events()) == 50
    after = parcel("/anyone")
    hub.must_accept(after)
    eventually("and on", lambda: second.shown_events()[-1:] == [after["id"]])
    recorded = [view["event"]["id"] for view in hub.all_events()][::-1]
    assert second.shown_events() == recorded[-51:], "the newest, newest last, none twice"
    beyond = Live(hub, "events", last_id="1000000")
    eventually("an id of another record is no gap", beyond.last_id)
    hub.must_accept(parcel("/anyone"))
    eventually("it goes on from here", lambda: len(beyond.shown_events()) == 1)
    for live in (second, beyond):
        live.close()


def test_who_may_not_look_any_more_sees_no_more(halls, broker):
    hub = halls.hub(MANIFESTS, broker=broker).start()
    body = {"name": "watcher", "scopes": ["adapters:read", "events:read"]}
    watcher = hub.request("POST", "/v1/api-keys", json=body).json()
    narrow = hub.request("POST", "/v1/api-keys", json={"name": "narrow", "scopes": ["adapters:read"]}).json()
    live = Live(hub, *EVERYTHING, key=watcher["key"])
    live.wait_for("overview")
    key_id = watcher["key"].split("_")[1]
    assert hub.request("DELETE", f"/v1/api-keys/{key_id}").status_code == 204
    revoked = time.monotonic()
    eventually("its stream ends", lambda: live.ended_at, 15)
    assert live.ended_at - revoked < 10

    for topic, status in [("overview", 200), ("events", 403), ("overview,dead-letters", 403)]:
        answer = hub.request("GET", f"/v1/live?topics={topic}", key=narrow["key"], stream=True)
        assert answer.status_code == status, topic
        answer.close()
    assert hub.request("GET", "/v1/live?topics=overview", key="").status_code == 401
    for wrong in ("/v1/live", "/v1/live?topics=", "/v1/live?topics=overview,nothing"):
        assert hub.request("GET", wrong).status_code == 400
    streams = [Live(hub, "overview") for _ in range(16)]
    assert {stream.answer.status_code for stream in streams} == {200}
    full = hub.request("GET", "/v1/live?topics=overview")
    assert full.status_code == 503
    assert full.json()["type"].endswith("too-many-streams")
    other = Live(hub, "overview", key=narrow["key"])
    assert other.answer.status_code == 200, "others find a place"
    for stream in (*streams, other):
        stream.close()


def test_what_is_away_is_named_and_the_last_figures_stay(halls):
    node = halls.broker().start()
    hub = halls.hub(MANIFESTS, broker=node).start()
    hub.must_accept(*(parcel("/anyone") for _ in range(7)))
    live = Live(hub, "overview", "queues", "adapters")

    def waiting(overview: dict | None) -> int | None:
        flows = (overview or {}).get("flow", {}).get("adapters", [])
        return next((flow.get("waiting") for flow in flows if flow["name"] == "depot"), None)

    eventually("all of it is shown", lambda: waiting(live.last("overview")) == 7, 30)
    no_consumer = live.last("overview")
    node.stop()

    def named() -> dict | None:
        shown = live.last("overview")
        return shown if any(one["subject"] == "broker" for one in shown["attention"]) else None

    shown = eventually("the outage is named", named, 30)
    [broker_line] = [one for one in shown["attention"] if one["subject"] == "broker"]
    assert broker_line["severity"] == "failed"
    assert broker_line["sentence"].startswith("RabbitMQ is unreachable for ")
    assert broker_line["action"] == {"label": "Search events", "href": "/events"}
    assert waiting(shown) == 7, "the last good figures stay"
    assert shown["numbers"]["in_flight"] == no_consumer["numbers"]["in_flight"]
    asked = hub.get("/v1/overview")
    assert seconds(asked["at"]) < seconds(broker_line["since"]) + 5, "and are as old as they say"
    assert hub.request("GET", "/v1/queues").status_code == 503
    node.start()
    hub.wait_until_ready()

    def well() -> bool:
        shown = live.last("overview")
        return all(one["subject"] != "broker" for one in shown["attention"]) and waiting(shown) == 7

    eventually("it is over", well, 60)
    assert live.ended_at is None, "the same stream, all the time"
    live.close()


def test_a_failing_adapter_is_named_with_what_to_do(halls, broker):
    schedule = 'retry = { schedule = ["1s"] }'
    depot = manifest("depot", subscribes=("parcel.scanned.v1",), more=schedule)
    hub = halls.hub({**MANIFESTS, "depot": depot}, broker=broker).start()
    halls.collector(hub, "depot", fail_share=1.0, failed_attempts=9)
    live = Live(hub, "overview", "dead-letters")
    hub.must_accept(*(parcel("/anyone") for _ in range(4)))

    def lines() -> dict[str, dict]:
        return {one["action"].get("href"): one for one in hub.get("/v1/overview")["attention"]}

    said = eventually("both are said", lambda: len(lines()) == 2 and lines(), 60)
    assert said["/dead-letters?adapter=depot"]["sentence"].startswith("depot: ")
    failing = said["/adapters/depot"]
    assert failing["severity"] == "failed"
    eventually(
        "each attempt is counted once",
        lambda: any(
            one["sentence"] == "depot: 8 of 8 attempts failed in the last 5 minutes"
            for one in hub.get("/v1/overview")["attention"]
        ),
    )
    eventually("they are pushed", lambda: live.last("dead-letters")["total"] == 4)
    letters = live.last("dead-letters")["dead_letters"]
    assert letters == hub.get("/v1/dead-letters")["dead_letters"]
    status = hub.get("/v1/status")["attention"]
    for one in hub.get("/v1/overview")["attention"]:
        assert any(line.startswith(one["sentence"]) for line in status), "one list, whoever asks"
    live.close()
