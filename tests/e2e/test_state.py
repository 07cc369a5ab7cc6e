"""Live state: what events make of topics, whatever is late, comes again, is killed or goes away meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import requests

from harness.events import event, manifest
from harness.hub import REPOSITORY, Hub
from harness.wait import eventually

SHIPPED = (REPOSITORY / "config" / "state.toml").read_text()
# The warehouse has a queue of its own besides, so that one message goes to both.
MANIFESTS = {"depot": manifest("depot", subscribes=("stock.level.v1",))}
DEADLINE_S = 120
TOPICS, ROUNDS, BATCH = 60, 25, 100


def stock(sku: str, second: int, on_hand: int, **changes) -> dict:
    """A count of a product at a moment of its own."""
    data = {"sku": sku, "location": "LDN1", "on_hand": on_hand}
    time = f"2026-01-01T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}Z"
    return event("stock.level.v1", "/counter", time=time, subject=sku, data=data, **changes)


def order(kind: str, reference: str, second: int, **data) -> dict:
    return event(
        f"order.{kind}.v1",
        "/anyone",
        time=f"2026-01-01T00:00:{second:02}Z",
        subject=reference,
        data={"order": reference, **data},
    )


def placed(reference: str, second: int) -> dict:
    price = {"amount": 2400, "currency": "GBP"}
    line = {"sku": "CARD", "description": "Cards", "quantity": 1, "price": price}
    return order("placed", reference, second, lines=[line], total=price)


def state(hub: Hub, topic: str, **options) -> requests.Response:
    return hub.request("GET", f"/v1/state/{topic}", **options)


def becomes(hub: Hub, topic: str, within_s: float = 20, **data) -> dict:
    """The state once its data has these members."""

    def look() -> dict | None:
        answer = state(hub, topic)
        assert answer.status_code == 200, answer.text
        found = answer.json()
        seen = {name: found["data"].get(name) for name in data}
        assert seen == data
        return found

    return eventually(f"{topic} has {data}", look, within_s)


@pytest.fixture(scope="module")
def hub(shared_halls, broker, database) -> Hub:
    made = shared_halls.hub(MANIFESTS, broker=broker, database=database)
    made.write_state(SHIPPED)
    return made.start()


def test_an_event_becomes_the_state_of_its_topic(hub):
    hub.must_accept(stock("MUG 1", 10, 7))
    assert becomes(hub, "stock/LDN1/MUG%201", on_hand=7) == {
        "topic": "stock/LDN1/MUG 1",
        "version": 1,
        "time": "2026-01-01T00:00:10Z",
        "data": {"sku": "MUG 1", "location": "LDN1", "on_hand": 7},
    }
    missing = state(hub, "stock/LDN1/NONE")
    assert missing.status_code == 404
    assert missing.json()["type"] == "/problems/no-state"


def test_a_state_that_is_known_is_not_sent_again(hub):
    hub.must_accept(stock("TAG", 10, 7))
    version = becomes(hub, "stock/LDN1/TAG", on_hand=7)["version"]
    answer = state(hub, "stock/LDN1/TAG")
    tag = answer.headers["etag"]
    assert (tag, answer.headers["cache-control"]) == (f'"{version}"', "no-store")
    known = state(hub, "stock/LDN1/TAG", headers={"If-None-Match": f'"0", {tag}'})
    assert (known.status_code, known.text, known.headers["etag"]) == (304, "", tag)
    hub.must_accept(stock("TAG", 11, 6))
    becomes(hub, "stock/LDN1/TAG", on_hand=6)
    assert state(hub, "stock/LDN1/TAG", headers={"If-None-Match": tag}).status_code == 200


def test_a_suspicion_is_not_for_the_suspect(hub):
    known = order("rejected", "R-known", 10, reason="payment_failed")
    hub.must_accept(known, order("rejected", "R-suspect", 10, reason="fraud_suspected"))
    assert becomes(hub, "state/order/R-known", status="rejected")["data"]["reason"] == "payment_failed"
    assert "fraud" not in str(becomes(hub, "state/order/R-suspect", status="rejected"))


def test_what_is_late_or_comes_again_takes_nothing_back(hub):
    first, second, late = stock("LATE", 20, 5), stock("LATE", 30, 4), stock("LATE", 25, 99)
    hub.must_accept(first, second)
    assert becomes(hub, "stock/LDN1/LATE", on_hand=4)["version"] == 2
    hub.must_accept(first, second, late)
    hub.must_accept(stock("LATE", 40, 3))
    assert becomes(hub, "stock/LDN1/LATE", on_hand=3)["version"] == 3


@pytest.mark.parametrize("turn", range(3))
def test_an_order_tells_what_all_of_its_events_have_said(hub, turn):
    """Whatever comes first: the storefront watches from the moment of placing, the number comes when it comes."""
    reference = f"R-{turn}"
    events = [
        placed(reference, 1),
        order("numbered", reference, 2, number="10042"),
        order("accepted", reference, 3, promised="2026-01-05"),
    ]
    for one in events[turn:] + events[:turn]:
        hub.must_accept(one)
    total = {"amount": 2400, "currency": "GBP"}
    whole = {"status": "accepted", "number": "10042", "promised": "2026-01-05", "total": total}
    found = becomes(hub, f"state/order/{reference}", **whole)
    assert (found["version"], found["time"]) == (3, "2026-01-01T00:00:03Z")


def test_a_value_that_would_make_another_topic_is_refused_and_said(hub):
    bad = placed("2026/7", 1)
    hub.must_accept(bad, placed("2026-7", 1))
    becomes(hub, "state/order/2026-7", status="placed")
    assert state(hub, "state/order/2026/7").status_code == 404

    def said() -> str | None:
        sentences = hub.get("/v1/status")["attention"]
        return next((one for one in sentences if "state rule 2" in one), None)

    sentence = eventually("the operator is told", said)
    assert bad["id"] in sentence and ".data.order holds a /" in sentence
    assert "2026/7" not in sentence
    assert ".data.order holds a /" in hub.log()


def test_only_who_may_reads_states(hub):
    def ask(*scopes: str) -> requests.Response:
        made = hub.request("POST", "/v1/api-keys", json={"name": "reader", "scopes": list(scopes)})
        return state(hub, "stock/LDN1/RIGHTS", key=made.json()["key"])

    hub.must_accept(stock("RIGHTS", 10, 1))
    becomes(hub, "stock/LDN1/RIGHTS", on_hand=1)
    assert ask("state:read").status_code == 200
    assert ask("admin").status_code == 200
    refused = ask("events:read", "events:write", "adapters:read", "devices:write")
    assert (refused.status_code, refused.json()["scope"]) == (403, "state:read")
    assert state(hub, "stock/LDN1/RIGHTS", key="").status_code == 401


def test_rules_that_are_applied_make_states_of_what_comes_then(halls, broker):
    hub = halls.hub({}, broker=broker).start()
    hub.must_accept(stock("A", 1, 1))
    rule = '[[state]]\ntypes = ["stock.level.v1"]\ntopic = "stock/{.data.sku}"\ndata = ".data.on_hand"\n'
    hub.write_state(rule)
    assert "rules of live state" in hub.must("apply", "--config", str(hub.config))
    hub.must_accept(stock("B", 1, 2))
    found = eventually(
        "there is a state", lambda: state(hub, "stock/B").status_code == 200 and state(hub, "stock/B")
    )
    assert found.json()["data"] == 2
    assert state(hub, "stock/A").status_code == 404
    hub.write_state(rule.replace(".data.on_hand", ".data.reserved // -1"))
    hub.must("apply", "--config", str(hub.config))
    hub.must_accept(stock("B", 2, 3))
    eventually("the other rule is in force", lambda: state(hub, "stock/B").json()["data"] == -1)


# ── whatever happens meanwhile ───────────────────────────────────────────────────────────────────────────────────


class Counts(threading.Thread):
    """Counts every product again and again, and repeats what is not accepted. One round is several seconds long by
    the events' own clock, and every batch is sent twice."""

    def __init__(self, hub: Hub) -> None:
        super().__init__(daemon=True)
        self.hub = hub
        self.sent = 0
        self.fault: BaseException | None = None

    def batches(self) -> Iterator[list[dict]]:
        counts = (
            stock(f"P{product}", round_, round_)
            for round_ in range(1, ROUNDS + 1)
            for product in range(TOPICS)
        )
        batch: list[dict] = []
        for count in counts:
            batch.append(count)
            if len(batch) == BATCH:
                yield batch
                batch = []
        if batch:
            yield batch

    def run(self) -> None:
        try:
            for batch in self.batches():
                eventually("a batch is accepted", lambda batch=batch: self.takes(batch), DEADLINE_S)
                self.sent += len(batch)
        except BaseException as fault:
            self.fault = fault

    def takes(self, batch: list[dict]) -> bool:
        try:
            return self.hub.send(*batch).status_code == 202
        except requests.RequestException:
            return False

    def share(self) -> float:
        assert self.fault is None, self.fault
        return self.sent / (TOPICS * ROUNDS)


class Watcher(threading.Thread):
    """Reads states all the time: neither version nor count ever goes back."""

    def __init__(self, hub: Hub) -> None:
        super().__init__(daemon=True)
        self.hub = hub
        self.seen: dict[str, tuple[int, int]] = {}
        self.looks = 0
        self.backwards: list[str] = []
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.is_set():
            for product in range(0, TOPICS, 7):
                self.look(f"stock/LDN1/P{product}")

    def look(self, topic: str) -> None:
        try:
            answer = state(self.hub, topic)
            found = answer.json() if answer.status_code == 200 else None
        except (requests.RequestException, ValueError):
            return
        if found is None:
            return
        self.looks += 1
        now = (found["version"], found["data"]["on_hand"])
        before = self.seen.get(topic, (0, 0))
        if now[0] < before[0] or now[1] < before[1] or (now[0] == before[0] and now[1] != before[1]):
            self.backwards.append(f"{topic}: {now} after {before}")
        self.seen[topic] = now

    def end(self) -> None:
        self.over.set()
        self.join()


def run_through(hub: Hub, troubles) -> None:
    """Counts while troubles come, each at its share of the way; then every state is the last one."""
    counts, watcher = Counts(hub), Watcher(hub)
    counts.start()
    watcher.start()
    try:
        for share, trouble in troubles:
            eventually(f"{share:.0%} are accepted", lambda share=share: counts.share() >= share, DEADLINE_S)
            trouble()
        eventually("all are accepted", lambda: counts.share() == 1, DEADLINE_S)
        versions = [
            becomes(hub, f"stock/LDN1/P{product}", DEADLINE_S, on_hand=ROUNDS)["version"]
            for product in range(TOPICS)
        ]
    finally:
        watcher.end()
    assert watcher.backwards == []
    assert watcher.looks > 0
    # Each count made one version at most, however often it came.
    assert max(versions) <= ROUNDS
    hub.wait_until_balanced(DEADLINE_S)
    assert hub.command("prove").returncode == 0


def kill(hub: Hub):
    def killed() -> None:
        hub.kill()
        hub.start()

    return killed


def hall_with(halls, **options) -> Hub:
    hub = halls.hub(MANIFESTS, **options)
    hub.write_state(SHIPPED)
    halls.collector(hub.start(), "depot")
    return hub


def test_kill_9_of_the_hub_loses_no_state_and_takes_none_back(halls, broker, database):
    hub = hall_with(halls, broker=broker, database=database)
    run_through(hub, [(share, kill(hub)) for share in (0.2, 0.5, 0.8)])


@pytest.mark.parametrize("place", ["state-before-announcement", "state-before-ack"])
def test_a_panic_of_the_projector_repeats_and_loses_nothing(halls, broker, place):
    hub = halls.hub(MANIFESTS, broker=broker)
    hub.write_state(SHIPPED)
    hub.start(environment={"FAILPOINTS": f"{place}=2*off->1*panic->2*off->1*panic->off"})
    halls.collector(hub, "depot")
    run_through(hub, [])
    assert "panic" in hub.log(), "the fail points were not built in: build with --features fault-injection"


def test_a_restart_of_rabbitmq_loses_no_state(halls, database):
    node = halls.broker().start()
    hub = hall_with(halls, broker=node, database=database)

    def restart() -> None:
        node.kill()
        node.start()
        hub.wait_until_ready()

    run_through(hub, [(0.3, restart)])


def test_an_outage_of_the_database_makes_states_wait(halls, broker):
    server = halls.postgres().start()
    hub = hall_with(halls, broker=broker, database=server)

    def outage() -> None:
        server.stop()
        [refused] = eventually("it says so", lambda: unavailable(hub), 60)
        assert int(refused.headers["retry-after"]) > 0
        server.start()

    run_through(hub, [(0.3, outage)])


def unavailable(hub: Hub) -> list[requests.Response]:
    answer = state(hub, "stock/LDN1/P0", timeout=60)
    return [answer] if answer.status_code == 503 else []
