"""How requests are sent, right and wrong, and how a refusal is looked at."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import requests as http

from e2e.bad_input import Case
from e2e.bad_input.hall import SCANNED, Hall, RawAnswer, everything, new_id, raw
from harness.events import parcel

KIB, MIB = 1 << 10, 1 << 20
STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
BINARY = {"ce-specversion": "1.0", "ce-source": "/rogue", "ce-type": SCANNED}


# ── what is expected ─────────────────────────────────────────────────────────────────────────────────────────────


def refused(
    title: str,
    send: Callable[[Hall], http.Response],
    status: int,
    problem: str,
    *,
    at: str | tuple[str, ...] = (),
    says: str = "",
    limit: str = "",
) -> Case:
    """A request that is answered with a problem: its status and type, the places it names, words of it."""
    places = (at,) if isinstance(at, str) else at
    answer = f"`{status}` `{problem}`"
    if limit:
        answer += f", limit `{limit}`"
    if places:
        answer += " at " + ", ".join(f"`{place}`" if place else "the whole" for place in places)
    if says:
        answer += f": “{says}”"

    def run(hall: Hall) -> None:
        got = send(hall)
        assert got.status_code == status, f"{got.status_code} {got.text[:500]}"
        assert got.headers["content-type"] == "application/problem+json"
        body = got.json()
        assert body["type"] == f"/problems/{problem}", body
        assert len(got.content) < 256 * KIB, f"an answer of {len(got.content)} bytes"
        pointers = [fault["pointer"] for fault in body.get("faults", [])]
        assert set(places) <= set(pointers) and bool(places) == bool(pointers), pointers
        said = [body["detail"], *(fault["message"] for fault in body.get("faults", []))]
        assert any(says in text for text in said), said
        assert not limit or body["limit"]["name"] == limit, body

    return Case(title, answer, run)


def accepted(title: str, send: Callable[[Hall], http.Response], answer: str, kept: str, check=None) -> Case:
    """A request that is odd and all right."""

    def run(hall: Hall) -> None:
        got = send(hall)
        assert got.status_code == 202, f"{got.status_code} {got.text[:500]}"
        if check:
            check(hall, got)

    return Case(title, f"`202`: {answer}", run, kept)


def cut_off(title: str, send: Callable[[Hall], RawAnswer], status: int, answer: str) -> Case:
    """What is no request: the connection's end, with a bare status or without one."""

    def run(hall: Hall) -> None:
        got = send(hall)
        assert got.status == status, got
        assert not got.body or b"problem" in got.body

    shown = f"`{status}`, " if status else ""
    return Case(title, f"{shown}{answer}", run)


# ── how it is sent ───────────────────────────────────────────────────────────────────────────────────────────────


def post(hall: Hall, body: bytes | None, headers: dict[str, str]) -> http.Response:
    return hall.hub.request("POST", "/v1/events", key=hall.key("rogue"), headers=headers, data=body)


def structured(body: bytes | str, content_type: str = STRUCTURED, **headers: str):
    data = body.encode() if isinstance(body, str) else body
    return lambda hall: post(hall, data, {"Content-Type": content_type, **headers})


def event(source: str = "/rogue", **changes):
    """One structured event of the rogue's, changed; a change to None leaves the attribute out."""
    return lambda hall: structured(json.dumps(parcel(source, **changes)))(hall)


def with_text(old: str, new: str | bytes):
    """One structured event in which a text stands for another: what no JSON writer would write."""

    def send(hall: Hall) -> http.Response:
        body = json.dumps(parcel("/rogue", data={"here": 1})).encode()
        changed = body.replace(old.encode(), new if isinstance(new, bytes) else new.encode())
        assert changed != body
        return structured(changed)(hall)

    return send


def data(text: str | bytes):
    """One structured event with this JSON as its data, to the letter."""
    return with_text('{"here": 1}', text)


def batch(*members: dict | Callable[[], dict]):
    return lambda hall: structured(
        json.dumps([member() if callable(member) else member for member in members]), BATCH
    )(hall)


def binary(body: bytes = b"{}", content_type: str | None = "application/json", **more: str):
    def send(hall: Hall) -> http.Response:
        named = {name.replace("_", "-"): value for name, value in more.items()}
        headers = {**BINARY, "ce-id": new_id(), **named}
        if content_type:
            headers["Content-Type"] = content_type
        return post(hall, body, headers)

    return send


def head(hall: Hall, *lines: str, key: bool = True) -> bytes:
    """A request line and headers as they go over the wire, without the empty line at the end."""
    authorization = [f"Authorization: Bearer {hall.key('rogue')}"] if key else []
    all_lines = ["POST /v1/events HTTP/1.1", "Host: hub", *authorization, *lines]
    return "".join(line + "\r\n" for line in all_lines).encode("latin1")


def over_the_wire(*lines: str, body: bytes = b"", finish: bool = False):
    return lambda hall: raw(hall.hub, head(hall, *lines) + b"\r\n" + body, finish=finish)


def wire_response(*lines: bytes, body: bytes = b"{}"):
    """As `binary`, with header lines that an HTTP library would not send; the answer like a library's."""

    def send(hall: Hall) -> http.Response:
        binary_lines = [f"{name}: {value}" for name, value in BINARY.items()]
        length = f"Content-Length: {len(body)}"
        whole = head(hall, *binary_lines, length, "Content-Type: application/json", "Connection: close")
        whole += b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body
        return as_response(raw(hall.hub, whole))

    return send


def as_response(answer: RawAnswer) -> http.Response:
    made = http.Response()
    made.status_code = answer.status
    made.headers.update(answer.headers)
    made._content = answer.body
    return made


def endless_chunks(hall: Hall) -> http.Response:
    """Sends far more than any limit, in chunks, without saying how much."""

    def chunks():
        yield b'{"specversion": "'
        for _ in range(64):
            yield b"x" * (256 * KIB)

    try:
        return post(hall, chunks(), {"Content-Type": STRUCTURED})
    except http.ConnectionError:
        # The hub has answered and closed; the library does not read an answer after a broken pipe.
        opening = head(hall, f"Content-Type: {STRUCTURED}", "Transfer-Encoding: chunked") + b"\r\n"
        return as_response(raw(hall.hub, opening, b"200000\r\n" + b"x" * 0x200000 + b"\r\n"))


def smuggled(hall: Hall) -> None:
    """One message for who goes by the length, two for who goes by the chunks."""
    hidden = b"GET /v1/events HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n"
    lines = (
        f"Content-Type: {STRUCTURED}",
        f"Content-Length: {5 + len(hidden)}",
        "Transfer-Encoding: chunked",
    )
    whole = head(hall, *lines) + b"\r\n0\r\n\r\n" + hidden
    statuses = re.findall(rb"HTTP/1\.1 (\d+)", everything(hall.hub, whole))
    assert statuses == [b"400"], statuses


def slow(name: str):
    return lambda hall: hall.slow[name].result(timeout=60)


def begin_slow(hall: Hall) -> None:
    """Requests that take as long as the hub lets them, begun together: each of the large ones would have kept all
    others out if room were kept for what has not come."""

    def trickle(*lines: str, body: bytes):
        return lambda: raw(hall.hub, head(hall, *lines) + b"\r\n" + body)

    sends = {
        "mute": trickle(f"Content-Type: {STRUCTURED}", "Content-Length: 100", body=b'{"specversion"'),
        "chunked": trickle(f"Content-Type: {BATCH}", "Transfer-Encoding: chunked", body=b"1\r\n[\r\n"),
        "headless": lambda: raw(hall.hub, head(hall)),
    }
    for name, send in sends.items():
        hall.slow[name] = hall.pool.submit(send)
    large = trickle(f"Content-Type: {BATCH}", f"Content-Length: {8 * MIB}", body=b"[")
    for number in range(12):
        hall.slow[f"large {number}"] = hall.pool.submit(large)


def many_large(hall: Hall) -> http.Response:
    answers = [as_response(hall.slow[f"large {number}"].result(timeout=60)) for number in range(12)]
    assert {answer.status_code for answer in answers} == {408}
    return answers[0]


def deep(levels: int) -> str:
    return "[" * levels + "]" * levels


def wrong_lines(number: int) -> dict:
    return {"order": "1", "lines": [0] * number, "total": {"amount": 1, "currency": "GBP"}}


def order(**data_changes) -> Callable[[], dict]:
    good = {
        "order": "R-1",
        "lines": [{"sku": "A", "quantity": 1, "price": {"amount": 1, "currency": "GBP"}}],
        "total": {"amount": 1, "currency": "GBP"},
    }
    return lambda: parcel("/rogue", type="order.placed.v1", data={**good, **data_changes})


def one(make: Callable[[], dict]):
    return lambda hall: structured(json.dumps(make()))(hall)


def arrives(attributes: dict | None = None, body: bytes | None = None):
    """Sends one good event in structured mode, which has to come out as it went in."""

    def send(hall: Hall) -> http.Response:
        made = parcel("/rogue", **(attributes or {}))
        text = json.dumps(made) if body is None else json.dumps({**made, "data": "here"})
        if body is not None:
            text = text.replace('"here"', body.decode())
        hall.good.add(made["id"])
        got = structured(text)(hall)
        [delivery] = hall.depot.wait_for(made["id"])
        for name in attributes or {}:
            assert delivery.headers[f"cloudEvents_{name}"] == made[name]
        assert body is None or delivery.body == body
        return got

    return send


def both_modes(hall: Hall) -> http.Response:
    made = parcel("/rogue")
    hall.good.add(made["id"])
    got = structured(json.dumps(made), **{"ce-id": new_id(), "ce-type": "no type"})(hall)
    hall.depot.wait_for(made["id"])
    return got


def twice(hall: Hall) -> http.Response:
    made = parcel("/rogue", subject="twice")
    hall.good.add(made["id"])
    got = batch(made, made)(hall)
    hall.depot.wait_for(made["id"])
    return got


def mixed_batch(hall: Hall) -> http.Response:
    good = parcel("/rogue")
    got = batch(good, {**parcel("/rogue"), "time": "yesterday"})(hall)
    assert hall.hub.request("GET", f"/v1/events/{good['id']}").status_code == 404
    return got
