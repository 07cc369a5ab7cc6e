"""Webhook adapters against a receiver that verifies: what is sent and how, what each answer leads to, and that nothing
is lost. Every test has an adapter and a type of its own, applied to a hub that runs."""

from __future__ import annotations

import json
import os
import random
import subprocess
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path

import pytest
import requests

from harness.events import event, webhook
from harness.hub import REPOSITORY, Hub
from harness.receiver import SECRET, Answer, Authority, Endless, Held, Receiver
from harness.wait import eventually

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
NODE_MODULES = Path(os.environ.get("CROSSDOCK_TEST_NODE_MODULES", TARGET / "test-node" / "node_modules"))
OUTAGE_S = 30.0
ENVIRONMENT = {"CROSSDOCK_OUTBOUND__ALLOW": "127.0.0.1", "WEBHOOK_SECRET": SECRET}


@dataclass
class Place:
    """A hub, a receiver of the test's own, and the adapter between them."""

    hub: Hub
    receiver: Receiver
    adapter: str

    @property
    def type(self) -> str:
        return f"{self.adapter}.sent.v1"

    def event(self, **changes) -> dict:
        return event(self.type, "/anyone", **{"data": {"price": 1.10}, **changes})

    def send(self, *events: dict) -> None:
        for start in range(0, len(events), 100):
            self.hub.must_accept(*events[start : start + 100])

    def delivery(self, event_id: str) -> dict | None:
        """What became of an event, once there is a word about it."""
        found = self.hub.request("GET", f"/v1/events/{event_id}")
        rows = found.json()["deliveries"] if found.status_code == 200 else []
        return next((row for row in rows if row["adapter"] == self.adapter and row["tries"]), None)

    def outcome(self, event_id: str) -> dict:
        """The first word about an event's delivery."""
        row = eventually(f"there is a word about {event_id}", lambda: self.delivery(event_id))
        return row["tries"][0]

    def view(self) -> dict:
        return self.hub.get(f"/v1/adapters/{self.adapter}")

    def becomes(self, state: str, within_s: float = 20) -> dict:
        """RabbitMQ counts consumers every few seconds."""
        return eventually(
            f"{self.adapter} is {state}",
            lambda: (view := self.view())["state"] == state and view,
            within_s,
        )

    def attention(self) -> list[str]:
        return [line for line in self.hub.get("/v1/status")["attention"] if line.startswith(self.adapter)]

    def counted(self, outcome: str) -> int:
        """What the hub's metrics say about this adapter's requests."""
        text = requests.get(f"{self.hub.url}/metrics", timeout=10).text
        for line in text.splitlines():
            if line.startswith("crossdock_webhook_requests_total{") and f'adapter="{self.adapter}"' in line:
                labels, _, value = line.partition("} ")
                if f'outcome="{outcome}"' in labels:
                    return int(value)
        return 0


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def hub(shared_halls, broker, authority) -> Hub:
    environment = ENVIRONMENT | {"SSL_CERT_FILE": str(authority.pem)}
    return shared_halls.hub({}, broker=broker, environment=environment).start()


Make = Callable[..., Place]


@pytest.fixture
def place(hub) -> Iterator[Make]:
    """Makes a place: its adapter is named after `adapter`, and `limits` are those of its manifest."""
    receivers: list[Receiver] = []

    def make(adapter: str, receiver: Receiver | None = None, on: Hub = hub, **manifest) -> Place:
        made = Place(on, receiver or Receiver(), f"{adapter}-{uuid.uuid4().hex[:6]}".replace("_", "-"))
        receivers.append(made.receiver.start())
        made.adapter = made.adapter.replace("-", "")
        apply(made, **manifest)
        return made

    yield make
    for receiver in receivers:
        receiver.stop()
        assert receiver.faults == [], "every request is signed as it should be"


def apply(place: Place, **manifest) -> None:
    """Puts the adapter's manifest in force."""
    url = manifest.pop("url", place.receiver.url)
    place.hub.write_manifest(place.adapter, webhook(place.adapter, url, subscribes=(place.type,), **manifest))
    place.hub.must("apply", "--config", str(place.hub.config))


# ── what is sent ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_event_is_posted_and_what_the_receiver_says_is_evidence(place):
    hall = place("signed", publishes=("signed.answered.v1",))
    sent = hall.event(subject="S-1", correlationid="order-1")
    hall.send(sent)
    [got] = hall.receiver.wait_for(sent["id"])
    assert got.event == sent
    assert b'"price":1.1' in got.body.replace(b" ", b"")
    assert got.headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    assert got.headers["user-agent"].startswith("Crossdock/")
    assert got.webhook_id == str(uuid.uuid5(uuid.NAMESPACE_URL, f"/anyone {sent['id']}"))
    assert abs(int(got.headers["webhook-timestamp"]) - time.time()) < 60
    assert not {"authorization", "cookie", "referer", "accept-encoding"} & got.headers.keys()

    word = hall.outcome(sent["id"])
    assert (word["number"], word["outcome"], word["detail"]) == (1, "done", "HTTP 200")
    view = hall.becomes("live")
    assert (view["delivery"], view["users"]) == ("webhook", [])
    assert view["endpoint"] == {
        "address": hall.receiver.url.removesuffix("/in"),
        "trouble": None,
        "disabled": None,
    }
    ledger = eventually("it is confirmed", lambda: (row := hall.view()["ledger"])["confirmed"] and row)
    assert (ledger["matched"], ledger["confirmed"], ledger["unaccounted"]) == (1, 1, 0)
    assert hall.counted("success") == 1
    shown = hall.hub.must("adapter", "show", hall.adapter)
    assert "webhook" in shown and hall.receiver.url.removesuffix("/in") in shown


def test_a_webhook_adapter_has_an_api_key_and_no_rabbitmq_user(place):
    hall = place("keyed", publishes=("keyed.answered.v1",))
    credentials = hall.hub.credentials(hall.adapter)
    assert set(credentials) == {"CROSSDOCK_ADAPTER", "CROSSDOCK_URL", "CROSSDOCK_API_KEY"}
    users = {user["name"] for user in hall.hub.broker.api("GET", "/users").json()}
    assert f"{hall.adapter}.1" not in users
    answer = event("keyed.answered.v1", f"/{hall.adapter}", data={})
    hall.hub.must_accept(answer, key=credentials["CROSSDOCK_API_KEY"])
    rotated = hall.hub.request("POST", f"/v1/adapters/{hall.adapter}/rotate").json()
    assert rotated["amqp_url"] is None
    assert rotated["api_key"] == hall.hub.credentials(hall.adapter)["CROSSDOCK_API_KEY"]
    assert "AMQP" not in hall.hub.must("adapter", "rotate", hall.adapter)
    assert hall.hub.command("adapter", "rotate", hall.adapter, "--finish").returncode == 0
    assert hall.hub.get("/v1/status")["checks"], "the hub is well"


def test_the_library_for_node_verifies_it_too(place):
    hall = place("noded")
    odd = ["plain", "größe → 漢字 🙂", 'quotes " \\ and \u2028 and \x7f']
    sent = [hall.event(data={"text": text, "huge": 12345678901234567890.12345}) for text in odd]
    hall.send(*sent)
    got = hall.receiver.wait_for(*(one["id"] for one in sent))
    lines = [json.dumps({"headers": one.headers, "body": one.body.decode()}) for one in got]
    done = subprocess.run(
        ["node", str(REPOSITORY / "tests" / "node" / "verify.cjs"), SECRET],
        input="\n".join(lines),
        env={**os.environ, "NODE_PATH": str(NODE_MODULES)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split()) == sorted(one.id for one in got)


def test_a_secret_that_cannot_be_had_is_said_and_its_events_wait(place):
    hall = place("secretive", secret='file = "secrets/shop"')
    sent = hall.event()
    hall.send(sent)
    eventually("status says so", lambda: any("secrets/shop" in line for line in hall.attention()))
    assert hall.receiver.requests() == []
    file = hall.hub.data / "secrets" / "shop"
    file.parent.mkdir()
    file.write_text("hunter2")
    eventually("status says so", lambda: any("whsec_" in line for line in hall.attention()))
    assert "hunter2" not in hall.hub.log() + "".join(hall.attention())
    old = "whsec_" + "A" * 32
    file.write_text(f"{old}\n{SECRET}\n")
    [got] = hall.receiver.wait_for(sent["id"])
    assert len(got.headers["webhook-signature"].split()) == 2, "signed with each of the keys"
    eventually("it is over", lambda: not any("secret" in line for line in hall.attention()))


def test_an_event_that_is_out_of_date_is_not_sent(place):
    hall = place("dated")
    past = (datetime.now(timezone.utc) - timedelta(minutes=1)).isoformat().replace("+00:00", "Z")
    late, good = hall.event(expirytime=past), hall.event()
    hall.send(late, good)
    hall.receiver.wait_for(good["id"])
    word = hall.outcome(late["id"])
    assert word["outcome"] == "dead"
    assert "expirytime" in word["detail"]
    assert late["id"] not in hall.receiver.ids()


# ── what an answer leads to ──────────────────────────────────────────────────────────────────────────────────────


def test_410_disables_the_endpoint_until_it_is_resumed_or_moves(place):
    gone = True
    hall = place(
        "gone", Receiver(lambda _: Answer(410 if gone else 200, body=b"moved away")), max_in_flight=1
    )
    first, *later = [hall.event() for _ in range(4)]
    hall.send(first)
    word = hall.outcome(first["id"])
    assert (word["outcome"], word["detail"]) == ("dead", "HTTP 410: moved away")
    view = hall.becomes("disabled")
    assert view["endpoint"]["disabled"] is not None
    hall.send(*later[:2])
    eventually("they wait", lambda: hall.view()["queue"]["ready"] == 2)
    said = eventually("status says so", hall.attention)
    assert any(f"crossdock adapter resume {hall.adapter}" in line for line in said), said
    assert "disabled" in hall.hub.must("adapter", "list")
    assert "resume" in hall.hub.must("adapter", "show", hall.adapter)
    assert hall.receiver.ids() == [first["id"]], "nothing is sent there"

    gone = False
    narrow = hall.hub.request("POST", "/v1/api-keys", json={"name": "reader", "scopes": ["adapters:read"]})
    path = f"/v1/adapters/{hall.adapter}/resume"
    assert hall.hub.request("POST", path, key=narrow.json()["key"]).status_code == 403
    assert hall.hub.request("POST", "/v1/adapters/nobody/resume").status_code == 404
    assert "again" in hall.hub.must("adapter", "resume", hall.adapter)
    hall.receiver.wait_for(*(one["id"] for one in later[:2]))
    assert json.loads(hall.hub.must("--json", "adapter", "resume", hall.adapter)) == {"resumed": False}

    gone = True
    hall.send(later[2])
    hall.becomes("disabled")
    gone = False
    moved = hall.event()
    hall.send(moved)
    apply(hall, url=f"{hall.receiver.url}?moved", max_in_flight=1)
    hall.receiver.wait_for(moved["id"])
    hall.becomes("live")


def overloaded(hall: Place, within_s: float, headers: dict[str, str] | None = None) -> dict:
    """Has an endpoint of one request at a time answer 429 once; gives the word about that event, and looks that the
    others were sent `within_s` later and lost no attempt."""
    events = [hall.event() for _ in range(5)]
    hall.receiver.answer = lambda _: (
        Answer(429, headers or {}) if len(hall.receiver.requests()) == 1 else Answer()
    )
    hall.send(*events)
    got = hall.receiver.wait_for(*(one["id"] for one in events))
    pause = got[1].at - got[0].at
    assert within_s <= pause < within_s + 4, f"the next request came after {pause:.1f} s"
    for one in got[1:5]:
        word = hall.outcome(one.id)
        assert (word["number"], word["outcome"]) == (1, "done")
    assert hall.counted("overloaded") == 1
    return hall.outcome(got[0].id)


def test_429_pauses_the_endpoint_as_long_as_it_says(place):
    hall = place("asking", max_in_flight=1)
    word = overloaded(hall, 3, {"Retry-After": "3"})
    assert (word["outcome"], word["detail"]) == ("retry", "HTTP 429")


def test_429_may_say_it_with_a_date(place):
    hall = place("dating", max_in_flight=1)
    until = datetime.now(timezone.utc) + timedelta(seconds=6)
    headers = {"Retry-After": format_datetime(until, usegmt=True)}
    overloaded(hall, 2, headers)


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "soon"}], ids=["nothing", "nonsense"])
def test_429_without_a_time_pauses_the_endpoint_for_a_moment(place, headers):
    overloaded(place("hasty", max_in_flight=1), 0.95, headers)


@pytest.mark.parametrize("status", [301, 302, 307])
def test_a_redirect_is_a_failure_and_is_not_followed(place, status):
    elsewhere = Receiver().start()
    hall = place("moved", Receiver(lambda _: Answer(status, {"Location": elsewhere.url})))
    sent = hall.event()
    hall.send(sent)
    word = hall.outcome(sent["id"])
    assert word["outcome"] == "retry"
    assert word["detail"] == f"HTTP {status} (redirects are not followed)"
    elsewhere.stop()
    assert elsewhere.requests() == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 500, 503])
def test_other_failures_are_tried_again_and_leave_their_reason(place, status):
    hall = place("failing", Receiver(lambda _: Answer(status, body=b"no\r\n\r\nsuch \x1b[31msku")))
    sent = hall.event()
    hall.send(sent)
    word = hall.outcome(sent["id"])
    assert (word["outcome"], word["detail"]) == ("retry", f"HTTP {status}: no such [31msku")


@pytest.mark.parametrize(("status", "outcome"), [(200, "done"), (500, "retry")])
def test_the_status_decides_whatever_the_body_does(place, status, outcome):
    hall = place("endless", Receiver(lambda _: Endless(status)), timeout_s=20)
    sent = hall.event()
    began = time.monotonic()
    hall.send(sent)
    word = hall.outcome(sent["id"])
    assert word["outcome"] == outcome
    assert time.monotonic() - began < 15, "nobody waits for its end"
    assert len(word["detail"]) < 300


def test_a_head_that_does_not_end_is_a_time_out(place):
    held = Held()
    hall = place("slow", Receiver(lambda _: held), timeout_s=2)
    sent = hall.event()
    hall.send(sent)
    word = hall.outcome(sent["id"])
    held.let_go.set()
    assert (word["outcome"], word["detail"]) == ("retry", "no answer within 2 s")
    assert 1_900 <= word["duration_ms"] < 6_000
    assert hall.counted("time_out") >= 1


# ── whom it is sent to ───────────────────────────────────────────────────────────────────────────────────────────


def test_tls_with_a_certificate_that_is_vouched_for(place, authority):
    receiver = Receiver(tls=authority.server("localhost"), host="localhost")
    hall = place("trusted", receiver)
    sent = hall.event()
    hall.send(sent)
    hall.receiver.wait_for(sent["id"])
    assert hall.outcome(sent["id"])["outcome"] == "done"


@pytest.mark.parametrize("fault", ["self-signed", "wrong name", "expired"])
def test_a_tls_fault_is_a_failure_and_nothing_is_sent(place, authority, tmp_path, fault):
    long_ago = datetime(2020, 1, 1, tzinfo=timezone.utc)
    context = {
        "self-signed": lambda: Authority(tmp_path).server("localhost"),
        "wrong name": lambda: authority.server("elsewhere.example"),
        "expired": lambda: authority.server(
            "localhost", not_before=long_ago, not_after=long_ago + timedelta(days=9)
        ),
    }[fault]()
    hall = place("distrusted", Receiver(tls=context, host="localhost"))
    sent = hall.event()
    hall.send(sent)
    word = hall.outcome(sent["id"])
    assert word["outcome"] == "retry"
    assert word["detail"].startswith("TLS: "), word["detail"]
    assert hall.receiver.requests() == []
    assert hall.counted("tls") >= 1
    assert hall.becomes("slowed")["endpoint"]["trouble"] == word["detail"]


def test_inner_addresses_are_refused_unless_they_are_allowed(halls, broker, place):
    closed = halls.hub({}, broker=broker, environment={"WEBHOOK_SECRET": SECRET}).start()
    for adapter, host, scheme in (
        ("literal", "127.0.0.1", "https"),
        ("named", "localhost", "https"),
        ("plain", "127.0.0.1", "http"),
        ("odd", "0x7f.1", "http"),
    ):
        receiver = Receiver()
        receiver.url = f"{scheme}://{host}:{receiver.port}/in"
        hall = place(adapter, receiver, on=closed)
        sent = hall.event()
        hall.send(sent)
        word = hall.outcome(sent["id"])
        assert word["outcome"] == "retry"
        assert "is not called: it is loopback" in word["detail"], word["detail"]
        assert receiver.requests() == []
    partly = Receiver()
    partly.url = f"http://[::1]:{partly.port}/in"
    hall = place("other", partly)
    sent = hall.event()
    hall.send(sent)
    assert "::1 is not called" in hall.outcome(sent["id"])["detail"], "only what is allowed"


# ── how much at once, and in which order ─────────────────────────────────────────────────────────────────────────


def test_no_more_requests_are_under_way_than_the_manifest_says(place):
    def work(_) -> Answer:
        time.sleep(0.1)
        return Answer()

    hall = place("narrow", Receiver(work), max_in_flight=4)
    events = [hall.event() for _ in range(60)]
    hall.send(*events)
    hall.receiver.wait_for(*(one["id"] for one in events))
    assert hall.receiver.most_at_once == 4


def test_no_more_requests_begin_in_a_second_than_the_manifest_says(place):
    hall = place("paced", max_in_flight=50, rate_per_s=20)
    events = [hall.event() for _ in range(70)]
    hall.send(*events)
    times = sorted(got.at for got in hall.receiver.wait_for(*(one["id"] for one in events)))
    assert times[-1] - times[0] >= 69 / 20 - 0.3
    for n, begin in enumerate(times):
        in_a_second = sum(1 for at in times[n:] if at < begin + 1)
        assert in_a_second <= 20 + 3, "as seen from here, where requests may catch up on the way"


def test_events_of_a_key_come_one_after_the_other(place):
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

    hall = place("ordered", Receiver(work), more='order = "key"', max_in_flight=20)
    events = [
        hall.event(subject=f"key-{key}", data={"sequence": sequence})
        for sequence in range(20)
        for key in range(12)
    ]
    hall.send(*events)
    got = hall.receiver.wait_for(*(one["id"] for one in events), within_s=60)
    assert together == []
    assert hall.receiver.most_at_once > 4, "other keys do not wait"
    latest: dict[str, int] = {}
    for one in got:
        key, sequence = one.event["subject"], one.event["data"]["sequence"]
        assert sequence == latest.get(key, -1) + 1, f"{key}: {sequence} after {latest.get(key)}"
        latest[key] = sequence


# ── crashes and outages ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_hub_killed_with_requests_under_way_loses_nothing(halls, broker, place):
    def work(_) -> Answer:
        time.sleep(0.15)
        return Answer()

    hub = halls.hub({}, broker=broker, environment=ENVIRONMENT).start()
    hall = place("crashing", Receiver(work), on=hub, max_in_flight=10, more='order = "key"')
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
    latest: dict[str, int] = {}
    for one in got:
        key, sequence = one.event["subject"], one.event["data"]["sequence"]
        assert sequence <= latest.get(key, -1) + 1, f"{key}: {sequence} after {latest.get(key)}"
        latest[key] = max(sequence, latest.get(key, -1))
    ledger = hub.wait_until_balanced(60)
    [row] = [row for row in ledger["adapters"] if row["adapter"] == hall.adapter]
    assert (row["confirmed"], row["unaccounted"]) == (len(events), 0)
    assert hub.command("prove").returncode == 0


def test_a_stop_waits_for_the_requests_under_way(halls, broker, place):
    let_go = threading.Event()

    def work(_) -> Answer:
        let_go.wait(20)
        return Answer()

    hub = halls.hub({}, broker=broker, environment=ENVIRONMENT).start()
    hall = place("draining", Receiver(work), on=hub, max_in_flight=3, timeout_s=60)
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


def test_an_endpoint_that_is_away_costs_few_attempts_and_loses_nothing(place):
    hall = place("absent", max_in_flight=10)
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
    assert len(tried) <= 10 + 5, "those under way when it vanished, and one at each try"
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


def test_another_address_is_used_from_the_next_event_on(place):
    hall = place("moving")
    before = hall.event()
    hall.send(before)
    hall.receiver.wait_for(before["id"])
    other = Receiver().start()
    apply(hall, url=other.url, max_in_flight=2)
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
