"""Bad events over HTTP: refused at once, with every fault and its place; nothing of the request is kept."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable

import requests as http

from e2e.bad_input import NOTHING, Case
from e2e.bad_input.hall import SCANNED, Hall, RawAnswer, new_id, raw
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


REPEAT = '"a":0,'
INVALID = (400, "invalid-event")
NOT_ACCEPTED = (422, "event-not-accepted")
UNSUPPORTED = (415, "unsupported-media-type")
TOO_LARGE = (413, "too-large")

CASES = [
    # The request
    refused(
        "JSON that is cut off",
        structured('{"specversion": "1.0", '),
        *INVALID,
        at="",
        says="EOF while parsing",
    ),
    refused("an empty body", structured(""), *INVALID, at="", says="EOF while parsing"),
    refused(
        "an array where one event belongs",
        structured("[]"),
        *INVALID,
        at="",
        says="must be a CloudEvent as a JSON object",
    ),
    refused(
        "content type `application/json`, no `ce-*` headers",
        structured("{}", "application/json"),
        *UNSUPPORTED,
        says="this content type without ce-* headers is not taken; send application/cloudevents+json",
    ),
    refused(
        "no content type and no `ce-*` headers",
        lambda hall: post(hall, b"{}", {}),
        *UNSUPPORTED,
        says="a request without Content-Type and without ce-* headers",
    ),
    refused(
        "another encoding: `application/cloudevents+avro`",
        structured("x", "application/cloudevents+avro"),
        *UNSUPPORTED,
        says="this encoding of CloudEvents is not taken",
    ),
    refused(
        "JSON said to be UTF-16",
        structured("{}", f"{STRUCTURED}; charset=utf-16"),
        *UNSUPPORTED,
        says="JSON in a charset other than UTF-8",
    ),
    refused(
        "two `Content-Type` headers",
        wire_response(b"ce-id: 1", b"Content-Type: text/plain"),
        400,
        "malformed-request",
        says="more than one Content-Type header",
    ),
    refused(
        "a gzip body",
        structured(gzip.compress(b"{}"), **{"Content-Encoding": "gzip"}),
        *UNSUPPORTED,
        says="send it without Content-Encoding",
    ),
    refused("a body of 2 MiB", structured(b" " * (2 * MIB)), *TOO_LARGE, limit="event_bytes"),
    refused(
        "data of 1 MiB and a byte", binary(b"x" * (MIB + 1), "text/plain"), *TOO_LARGE, limit="data_bytes"
    ),
    refused(
        "data of 1 MiB and a byte in a small enough body",
        event(data="x" * (MIB - 1)),
        *TOO_LARGE,
        at="/data",
        limit="data_bytes",
    ),
    refused(
        "a batch of 8 MiB and a byte",
        structured(b" " * (8 * MIB + 1), BATCH),
        *TOO_LARGE,
        limit="batch_bytes",
    ),
    refused("chunks without end", endless_chunks, *TOO_LARGE, limit="event_bytes"),
    refused(
        "a body that stops coming",
        lambda hall: as_response(slow("mute")(hall)),
        408,
        "request-timeout",
        says="did not arrive within 30 s",
    ),
    refused(
        "chunks that stop coming",
        lambda hall: as_response(slow("chunked")(hall)),
        408,
        "request-timeout",
        says="did not arrive within 30 s",
    ),
    refused(
        "a dozen bodies of 8 MiB each that stop coming",
        many_large,
        408,
        "request-timeout",
        says="did not arrive within 30 s",
    ),
    cut_off("headers that stop coming", slow("headless"), 0, "the connection is closed after 30 s"),
    refused(
        "a body shorter than its `Content-Length`",
        lambda hall: as_response(
            over_the_wire(f"Content-Type: {STRUCTURED}", "Content-Length: 99", body=b"{}", finish=True)(hall)
        ),
        400,
        "malformed-request",
        says="the body broke off",
    ),
    cut_off(
        "two lengths: `Content-Length` twice",
        over_the_wire(f"Content-Type: {STRUCTURED}", "Content-Length: 2", "Content-Length: 3", body=b"{}}"),
        400,
        "the connection is closed",
    ),
    cut_off(
        "a broken chunk size",
        over_the_wire(
            f"Content-Type: {STRUCTURED}",
            "Transfer-Encoding: chunked",
            "Connection: close",
            body=b"zz\r\n{}\r\n0\r\n\r\n",
        ),
        400,
        "the connection is closed",
    ),
    cut_off(
        "a header name with a space before the colon",
        over_the_wire("Content-Type : x", "Content-Length: 0"),
        400,
        "the connection is closed",
    ),
    cut_off(
        "a header folded onto a second line",
        over_the_wire("Content-Type: x", " y", "Content-Length: 0"),
        400,
        "the connection is closed",
    ),
    cut_off(
        "a header with a NUL",
        over_the_wire("ce-subject: a\0b", "Content-Length: 0"),
        400,
        "the connection is closed",
    ),
    cut_off(
        "201 headers",
        over_the_wire(*(f"x-{number}: 1" for number in range(201))),
        431,
        "the connection is closed",
    ),
    cut_off(
        "headers of more than 128 KiB",
        over_the_wire("x: " + "x" * 300 * KIB),
        431,
        "the connection is closed",
    ),
    cut_off(
        "bytes that are no HTTP",
        lambda hall: raw(hall.hub, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
        400,
        "the connection is closed",
    ),
    # Binary mode
    refused(
        "`ce-subject: %zz`",
        binary(ce_subject="%zz"),
        *INVALID,
        at="/subject",
        says="write %25 for the character itself",
    ),
    refused(
        "a `ce-*` header that is not UTF-8 once decoded",
        binary(ce_subject="%ff"),
        *INVALID,
        at="/subject",
        says="is not UTF-8 after percent-decoding",
    ),
    refused(
        "a `ce-*` header in raw UTF-8",
        wire_response(b"ce-id: 1", "ce-subject: Köln".encode()),
        *INVALID,
        at="/subject",
        says="percent-encode them as UTF-8",
    ),
    refused(
        "a `ce-*` header with a quote that is never closed",
        binary(ce_subject='"open'),
        *INVALID,
        at="/subject",
        says="opens a quote that is not closed",
    ),
    refused(
        "`ce-id` twice", wire_response(b"ce-id: 1", b"CE-ID: 2"), *INVALID, at="/id", says="is given twice"
    ),
    refused(
        "an attribute name with a hyphen: `ce-order-id`",
        binary(**{"ce-order-id": "1"}),
        *INVALID,
        at="/order-id",
        says="expected 1 to 64 lower-case letters and digits",
    ),
    refused(
        "a `ce-data` header",
        binary(ce_data="{}"),
        *INVALID,
        at="/data",
        says="a name that CloudEvents keeps for itself",
    ),
    refused(
        "binary mode without the required attributes",
        lambda hall: post(hall, b"{}", {"ce-id": "1", "Content-Type": "application/json"}),
        *INVALID,
        at=("/specversion", "/source", "/type"),
        says="is missing",
    ),
    refused(
        "binary mode, data that is not the JSON it says it is",
        binary(b"{'a': 1}"),
        *INVALID,
        at="/data",
        says="is not well-formed JSON",
    ),
    accepted(
        "structured mode with `ce-*` headers beside it",
        both_modes,
        "the content type decides, the headers mean nothing",
        "the event of the body",
    ),
    # Attributes
    refused(
        "no `id`, `source`, `type`, `specversion`",
        structured("{}"),
        *INVALID,
        at=("/specversion", "/id", "/source", "/type"),
        says="is missing",
    ),
    refused("an empty `id`", event(id=""), *INVALID, at="/id", says="must not be empty"),
    refused("an `id` that is a number", event(id=7), *INVALID, at="/id", says="must be a string"),
    refused("an `id` of 256 bytes", event(id="x" * 256), *INVALID, at="/id", says="is longer than 255 bytes"),
    accepted(
        "an `id` of 255 bytes, a `subject` of 1,024",
        arrives({"subject": "ß" * 512, "partitionkey": "x" * 255}),
        "at the limit",
        "the event",
    ),
    refused(
        "a NUL in the `id`", event(id="a\0b"), *INVALID, at="/id", says="must not contain control characters"
    ),
    refused(
        "a line break in the `subject`",
        event(subject="a\nb"),
        *INVALID,
        at="/subject",
        says="must not contain control characters",
    ),
    refused(
        "a `subject` of 1,025 bytes",
        event(subject="x" * 1025),
        *INVALID,
        at="/subject",
        says="is longer than 1024 bytes",
    ),
    refused(
        "a `source` with a blank",
        event(source="our shop"),
        *INVALID,
        at="/source",
        says="must be a URI reference, such as /erp",
    ),
    refused(
        "a `type` without a version",
        event(type="parcel.scanned"),
        403,
        "event-forbidden",
        at="/type",
        says='does not list "parcel.scanned" under publishes',
    ),
    refused(
        "a `time` that is none",
        event(time="yesterday"),
        *INVALID,
        at="/time",
        says="must be an RFC 3339 time, such as 2026-01-31T12:00:00Z",
    ),
    refused(
        "the 30th of February",
        event(time="2026-02-30T12:00:00Z"),
        *INVALID,
        at="/time",
        says="must be an RFC 3339 time",
    ),
    refused(
        "a `time` without an offset",
        event(time="2026-02-03T12:00:00"),
        *INVALID,
        at="/time",
        says="must be an RFC 3339 time",
    ),
    refused("a `time` as a number", event(time=1790000000), *INVALID, at="/time", says="must be a string"),
    refused(
        "a `time` that in UTC falls into the year 10000",
        event(time="9999-12-31T23:00:00-02:00"),
        *INVALID,
        at="/time",
        says="must be an RFC 3339 time",
    ),
    accepted("a leap second", arrives({"time": "2016-12-31T23:59:60Z"}), "it is a time", "the event"),
    refused("`specversion` 0.3", event(specversion="0.3"), *INVALID, at="/specversion", says='must be "1.0"'),
    refused(
        "40 KiB of attributes",
        event(**{f"x{number}": "x" * KIB for number in range(40)}),
        *TOO_LARGE,
        at="",
        limit="attributes_bytes",
    ),
    refused(
        "101 extension attributes",
        event(**{f"x{number}": 1 for number in range(101)}),
        *INVALID,
        at="",
        says="has 101 extension attributes, expected at most 100",
    ),
    refused(
        "100,000 attributes",
        lambda hall: structured("{" + ",".join(f'"A{n}":1' for n in range(100_000)) + "}")(hall),
        *INVALID,
        at="",
        says="has 100000 extension attributes",
    ),
    refused(
        "an attribute with a capital: `orderId`",
        event(orderId="1"),
        *INVALID,
        at="/orderId",
        says="expected 1 to 64 lower-case letters and digits",
    ),
    refused(
        "an attribute that is an object",
        event(extra={"a": 1}),
        *INVALID,
        at="/extra",
        says="must be a string, a boolean or a whole number of 32 bits",
    ),
    refused(
        "an attribute beyond 32 bits",
        event(extra=1 << 31),
        *INVALID,
        at="/extra",
        says="must be a string, a boolean or a whole number of 32 bits",
    ),
    refused(
        "a `traceparent` that is none",
        event(traceparent="00-abc"),
        *INVALID,
        at="/traceparent",
        says="must be a W3C traceparent",
    ),
    refused(
        "`aliases` without a system",
        event(aliases="4711"),
        *INVALID,
        at="/aliases",
        says="must be 1 to 100 system:id",
    ),
    refused(
        "101 aliases",
        event(aliases=" ".join(f"erp:{n}" for n in range(101))),
        *INVALID,
        at="/aliases",
        says="must be 1 to 100 system:id",
    ),
    refused(
        "an `expirytime` that is none",
        event(expirytime="soon"),
        *INVALID,
        at="/expirytime",
        says="must be an RFC 3339 time",
    ),
    refused(
        "an empty `partitionkey`",
        event(partitionkey=""),
        *INVALID,
        at="/partitionkey",
        says="must not be empty",
    ),
    refused(
        "a relative `dataschema`",
        event(dataschema="/schemas/1"),
        *INVALID,
        at="/dataschema",
        says="must be an absolute URI",
    ),
    refused(
        "a `datacontenttype` that is no media type",
        event(datacontenttype="json"),
        *INVALID,
        at="/datacontenttype",
        says="must be a media type, such as application/json",
    ),
    refused(
        "a `datacontenttype` of 256 bytes",
        event(datacontenttype="application/json; v=" + "1" * 236),
        *INVALID,
        at="/datacontenttype",
        says="is longer than 255 bytes",
    ),
    # Data
    refused(
        "`data` and `data_base64`",
        event(data_base64="e30="),
        *INVALID,
        at="/data_base64",
        says="cannot stand beside data",
    ),
    refused(
        "base64 that is broken",
        event(data=None, data_base64="e30"),
        *INVALID,
        at="/data_base64",
        says="must be a string in base64",
    ),
    refused(
        "base64 of what is not the JSON it says it is",
        event(data=None, data_base64=base64.b64encode(b"{").decode()),
        *INVALID,
        at="/data",
        says="is not well-formed JSON",
    ),
    refused(
        "text said, an object given",
        event(datacontenttype="text/plain"),
        *INVALID,
        at="/data",
        says="must be a JSON string, because datacontenttype is not JSON",
    ),
    refused(
        "10,000 levels of nesting",
        data(deep(10_000)),
        *INVALID,
        at="/data" + "/0" * 120,
        says="nests deeper than 121 levels",
    ),
    refused(
        "a key twice",
        data('{"a": {"b": 1, "b": 2}}'),
        *INVALID,
        at="/data/a/b",
        says="stands twice in the same object",
    ),
    refused(
        "a key twice, once written with an escape",
        data('{"a": 1, "\\u0061": 2}'),
        *INVALID,
        at="/data/a",
        says="stands twice in the same object",
    ),
    refused(
        "100,000 repeats of a key, below one of 500 KiB",
        lambda hall: data(f'{{"{"k" * 500 * KIB}": {{{REPEAT * 100_000}"a": 0}}}}')(hall),
        *INVALID,
        at=("/data", ""),
        says="has more than 100 keys that stand twice",
    ),
    refused("bytes that are not UTF-8", data(b'"\xff\xfe"'), *INVALID, at="/data", says="is not UTF-8"),
    refused("a lone surrogate", data('"\\ud800"'), *INVALID, at="/data", says="half of a surrogate pair"),
    refused(
        "a byte order mark",
        lambda hall: structured(b"\xef\xbb\xbf" + json.dumps(parcel("/rogue")).encode())(hall),
        *INVALID,
        at="",
        says="begins with a byte order mark",
    ),
    refused(
        "a number beyond all bounds: `1e999`",
        data("[1e999]"),
        *INVALID,
        at="/data/0",
        says="number out of range",
    ),
    refused(
        "a number of a million digits",
        lambda hall: data("1" * 1_000_000)(hall),
        *INVALID,
        at="/data",
        says="number out of range",
    ),
    accepted(
        "a whole number of 30 digits, a price of `1.10`",
        arrives(body=b"[123456789012345678901234567890, 1.10]"),
        "digits are kept as they came",
        "the event, to the byte",
    ),
    refused("`NaN`", data("NaN"), *INVALID, at="/data", says="is not well-formed JSON"),
    refused("a comma too many", data("[1,]"), *INVALID, at="/data/1", says="trailing comma"),
    refused(
        "a raw control character in a string",
        data(b'"a\x01b"'),
        *INVALID,
        at="/data",
        says="control character",
    ),
    refused(
        "two events, one after the other",
        lambda hall: structured(json.dumps(parcel("/rogue")) * 2)(hall),
        *INVALID,
        at="",
        says="trailing characters",
    ),
    # Batches
    accepted(
        "a batch of none", batch(), "`accepted` is 0", NOTHING, lambda _, got: got.json() == {"accepted": 0}
    ),
    refused(
        "a batch of 1,001",
        lambda hall: structured(b"[" + b"{}," * 1000 + b"{}]", BATCH)(hall),
        *TOO_LARGE,
        limit="batch_events",
    ),
    refused(
        "a batch that is an object",
        structured("{}", BATCH),
        *INVALID,
        at="",
        says="must be an array of structured CloudEvents",
    ),
    refused(
        "one bad event among good ones", mixed_batch, *INVALID, at="/1/time", says="must be an RFC 3339 time"
    ),
    refused(
        "numbers where events belong",
        structured("[1, 2]", BATCH),
        *INVALID,
        at=("/0", "/1"),
        says="must be a CloudEvent as a JSON object",
    ),
    accepted("an event twice in a batch", twice, "`accepted` is 2", "one event and one duplicate"),
    # Rules of the hub
    refused(
        "an order without its total",
        one(order(total=None)),
        *NOT_ACCEPTED,
        at="/data/total",
        says="the value is not of type",
    ),
    refused(
        "money as a decimal text",
        one(order(total={"amount": "12.50", "currency": "GBP"})),
        *NOT_ACCEPTED,
        at="/data/total/amount",
        says='the value is not of type "integer"',
    ),
    refused(
        "an order without data",
        event(type="order.placed.v1", data=None, datacontenttype=None),
        *NOT_ACCEPTED,
        at="/data",
        says="is missing",
    ),
    refused(
        "an order as text",
        event(type="order.placed.v1", data="x", datacontenttype="text/plain"),
        *NOT_ACCEPTED,
        at="/data",
        says="is not JSON according to datacontenttype",
    ),
    refused(
        "an order of a thousand wrong lines",
        one(order(lines=[0] * 1000)),
        *NOT_ACCEPTED,
        at=("/data/lines/0", "/data/lines/99", "/data"),
        says="has 900 more faults",
    ),
    refused(
        "an order of 300,000 wrong lines",
        one(order(lines=[0] * 300_000)),
        *NOT_ACCEPTED,
        at=("/data/lines/0", "/data"),
        says="beyond 65536 bytes only the first is named",
    ),
    refused(
        "a batch of eight orders of nothing but faults, 1 MiB each",
        batch(*[order(lines=[0] * 340_000)] * 7),
        *NOT_ACCEPTED,
        at=("/0/data/lines/0", "/6/data/lines/0"),
        says="beyond 65536 bytes only the first is named",
    ),
    refused(
        "another's `source`",
        event(source="/corner"),
        403,
        "event-forbidden",
        at="/source",
        says='may only use the source "/rogue"',
    ),
    refused(
        "a type that is not in its manifest",
        event(type="parcel.weighed.v1"),
        403,
        "event-forbidden",
        at="/type",
        says='does not list "parcel.weighed.v1" under publishes',
    ),
]
