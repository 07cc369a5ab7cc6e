"""Webhook adapters against a receiver that verifies: what is sent and how, whom it is sent to, and what each answer leads
to. Every test has an adapter and a type of its own, applied to a hub that runs."""

from __future__ import annotations

import json
import time
import uuid
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest

from harness.endpoint import Place
from harness.events import event
from harness.node import node_says
from harness.receiver import SECRET, Answer, Authority, Endless, Held, Receiver
from harness.wait import eventually

# ── what is sent ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_event_is_posted_and_what_the_receiver_says_is_evidence(places):
    hall = places("signed", publishes=("signed.answered.v1",))
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


def test_a_webhook_adapter_has_an_api_key_and_no_rabbitmq_user(places):
    hall = places("keyed", publishes=("keyed.answered.v1",))
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


def test_the_library_for_node_verifies_it_too(places):
    hall = places("noded")
    odd = ["plain", "größe → 漢字 🙂", 'quotes " \\ and \u2028 and \x7f']
    sent = [hall.event(data={"text": text, "huge": 12345678901234567890.12345}) for text in odd]
    hall.send(*sent)
    got = hall.receiver.wait_for(*(one["id"] for one in sent))
    lines = [json.dumps({"headers": one.headers, "body": one.body.decode()}) for one in got]
    verified = node_says("verify.cjs", SECRET, stdin="\n".join(lines))
    assert sorted(verified.split()) == sorted(one.id for one in got)


def test_a_secret_that_cannot_be_had_is_said_and_its_events_wait(places):
    hall = places("secretive", secret='file = "secrets/shop"')
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


def test_an_event_that_is_out_of_date_is_not_sent(places):
    hall = places("dated")
    past = (datetime.now(timezone.utc) - timedelta(minutes=1)).isoformat().replace("+00:00", "Z")
    late, good = hall.event(expirytime=past), hall.event()
    hall.send(late, good)
    hall.receiver.wait_for(good["id"])
    word = hall.outcome(late["id"])
    assert word["outcome"] == "dead"
    assert "expirytime" in word["detail"]
    assert late["id"] not in hall.receiver.ids()


# ── what an answer leads to ──────────────────────────────────────────────────────────────────────────────────────


def test_410_disables_the_endpoint_until_it_is_resumed_or_moves(places):
    gone = True
    hall = places(
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
    hall.apply(url=f"{hall.receiver.url}?moved", max_in_flight=1)
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


def test_429_pauses_the_endpoint_as_long_as_it_says(places):
    hall = places("asking", max_in_flight=1)
    word = overloaded(hall, 3, {"Retry-After": "3"})
    assert (word["outcome"], word["detail"]) == ("retry", "HTTP 429")


def test_429_may_say_it_with_a_date(places):
    hall = places("dating", max_in_flight=1)
    until = datetime.now(timezone.utc) + timedelta(seconds=6)
    headers = {"Retry-After": format_datetime(until, usegmt=True)}
    overloaded(hall, 2, headers)


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "soon"}], ids=["nothing", "nonsense"])
def test_429_without_a_time_pauses_the_endpoint_for_a_moment(places, headers):
    overloaded(places("hasty", max_in_flight=1), 0.95, headers)


@pytest.mark.parametrize("status", [301, 302, 307])
def test_a_redirect_is_a_failure_and_is_not_followed(places, status):
    elsewhere = Receiver().start()
    hall = places("moved", Receiver(lambda _: Answer(status, {"Location": elsewhere.url})))
    sent = hall.event()
    hall.send(sent)
    word = hall.outcome(sent["id"])
    assert word["outcome"] == "retry"
    assert word["detail"] == f"HTTP {status} (redirects are not followed)"
    elsewhere.stop()
    assert elsewhere.requests() == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 500, 503])
def test_other_failures_are_tried_again_and_leave_their_reason(places, status):
    hall = places("failing", Receiver(lambda _: Answer(status, body=b"no\r\n\r\nsuch \x1b[31msku")))
    sent = hall.event()
    hall.send(sent)
    word = hall.outcome(sent["id"])
    assert (word["outcome"], word["detail"]) == ("retry", f"HTTP {status}: no such [31msku")


@pytest.mark.parametrize(("status", "outcome"), [(200, "done"), (500, "retry")])
def test_the_status_decides_whatever_the_body_does(places, status, outcome):
    hall = places("endless", Receiver(lambda _: Endless(status)), timeout_s=20)
    sent = hall.event()
    began = time.monotonic()
    hall.send(sent)
    word = hall.outcome(sent["id"])
    assert word["outcome"] == outcome
    assert time.monotonic() - began < 15, "nobody waits for its end"
    assert len(word["detail"]) < 300


def test_a_head_that_does_not_end_is_a_time_out(places):
    held = Held()
    hall = places("slow", Receiver(lambda _: held), timeout_s=2)
    sent = hall.event()
    hall.send(sent)
    word = hall.outcome(sent["id"])
    held.let_go.set()
    assert (word["outcome"], word["detail"]) == ("retry", "no answer within 2 s")
    assert 1_900 <= word["duration_ms"] < 6_000
    assert hall.counted("time_out") >= 1


# ── whom it is sent to ───────────────────────────────────────────────────────────────────────────────────────────


def test_tls_with_a_certificate_that_is_vouched_for(places, authority):
    receiver = Receiver(tls=authority.server("localhost"), host="localhost")
    hall = places("trusted", receiver)
    sent = hall.event()
    hall.send(sent)
    hall.receiver.wait_for(sent["id"])
    assert hall.outcome(sent["id"])["outcome"] == "done"


@pytest.mark.parametrize("fault", ["self-signed", "wrong name", "expired"])
def test_a_tls_fault_is_a_failure_and_nothing_is_sent(places, authority, tmp_path, fault):
    long_ago = datetime(2020, 1, 1, tzinfo=timezone.utc)
    context = {
        "self-signed": lambda: Authority(tmp_path).server("localhost"),
        "wrong name": lambda: authority.server("elsewhere.example"),
        "expired": lambda: authority.server(
            "localhost", not_before=long_ago, not_after=long_ago + timedelta(days=9)
        ),
    }[fault]()
    hall = places("distrusted", Receiver(tls=context, host="localhost"))
    sent = hall.event()
    hall.send(sent)
    word = hall.outcome(sent["id"])
    assert word["outcome"] == "retry"
    assert word["detail"].startswith("TLS: "), word["detail"]
    assert hall.receiver.requests() == []
    assert hall.counted("tls") >= 1
    assert hall.becomes("slowed")["endpoint"]["trouble"].startswith("TLS: ")


def test_inner_addresses_are_refused_unless_they_are_allowed(halls, broker, places):
    closed = halls.hub({}, broker=broker, environment={"WEBHOOK_SECRET": SECRET}).start()
    for adapter, host, scheme in (
        ("literal", "127.0.0.1", "https"),
        ("named", "localhost", "https"),
        ("plain", "127.0.0.1", "http"),
        ("odd", "0x7f.1", "http"),
    ):
        receiver = Receiver()
        receiver.url = f"{scheme}://{host}:{receiver.port}/in"
        hall = places(adapter, receiver, on=closed)
        sent = hall.event()
        hall.send(sent)
        word = hall.outcome(sent["id"])
        assert word["outcome"] == "retry"
        assert "is not called: it is loopback" in word["detail"], word["detail"]
        assert receiver.requests() == []
    partly = Receiver()
    partly.url = f"http://[::1]:{partly.port}/in"
    hall = places("other", partly)
    sent = hall.event()
    hall.send(sent)
    assert "::1 is not called" in hall.outcome(sent["id"])["detail"], "only what is allowed"
