"""Bad keys and bad questions: who asks, and what for."""

from __future__ import annotations

from collections.abc import Callable

import requests as http

from e2e.bad_input import Case
from e2e.bad_input.hall import Hall, raw
from e2e.bad_input.over_http import as_response

MIB = 1 << 20


def refused(
    title: str,
    ask: Callable[[Hall], http.Response],
    status: int,
    problem: str,
    says: str,
    kept: str = "nothing",
) -> Case:
    def run(hall: Hall) -> None:
        got = ask(hall)
        assert got.status_code == status, f"{got.status_code} {got.text[:300]}"
        assert got.headers["content-type"] == "application/problem+json"
        assert got.json()["type"] == f"/problems/{problem}", got.text
        assert says in got.json()["detail"], got.text

    words = f": “{says}”" if says else ""
    return Case(title, f"`{status}` `{problem}`{words}", run, kept)


def answered(title: str, ask: Callable[[Hall], http.Response], empty: dict, answer: str) -> Case:
    def run(hall: Hall) -> None:
        got = ask(hall)
        assert got.status_code == 200, f"{got.status_code} {got.text[:300]}"
        assert got.json() == empty

    return Case(title, f"`200`: {answer}", run)


def asked(path: str, method: str = "GET", **options):
    return lambda hall: hall.hub.request(method, path, **options)


def with_header(*lines: str):
    """A question with these header lines, to the letter."""
    head = "".join(
        f"{line}\r\n" for line in ("GET /v1/events HTTP/1.1", "Host: hub", "Connection: close", *lines)
    )
    return lambda hall: as_response(raw(hall.hub, head.encode("latin1") + b"\r\n"))


def scoped(path: str, *scopes: str):
    def ask(hall: Hall) -> http.Response:
        made = hall.hub.request("POST", "/v1/api-keys", json={"name": "bad", "scopes": list(scopes)})
        return hall.hub.request("GET", path, key=made.json()["key"])

    return ask


def revoked(hall: Hall) -> http.Response:
    made = hall.hub.request("POST", "/v1/api-keys", json={"name": "bad", "scopes": ["events:read"]}).json()
    assert hall.hub.request("DELETE", f"/v1/api-keys/{made['id']}").status_code == 204
    return hall.hub.request("GET", "/v1/events", key=made["key"])


def key_with(**body):
    return asked("/v1/api-keys", "POST", json=body)


def sign_in(**body):
    return asked("/v1/session", "POST", key="", json=body)


def with_cookie(cookie: str):
    return asked("/v1/events", key="", headers={"Cookie": cookie})


def token_of(change: dict, topics: tuple[str, ...] = ("state/order/#",)):
    """A browser token asked for with a key that has these topics: a good one but for the change."""

    def ask(hall: Hall) -> http.Response:
        body = {"name": "pages", "scopes": ["browser-tokens:write"], "topics": list(topics)}
        key = hall.hub.request("POST", "/v1/api-keys", json=body).json()["key"]
        wanted = {"topics": ["state/order/1"], "subject": "customer-42"} | change
        return hall.hub.request("POST", "/v1/browser-tokens", key=key, json=wanted)

    return ask


def read_with(token: str | Callable[[Hall], str], topic: str = "state/order/1"):
    """A topic read with a browser token, or what is shown in its place."""

    def ask(hall: Hall) -> http.Response:
        shown = token if isinstance(token, str) else token(hall)
        return hall.hub.request("GET", f"/v1/state/{topic}", key=shown)

    return ask


def good_token(hall: Hall) -> str:
    return token_of({})(hall).json()["token"]


NONE = {"events": [], "next": None}

CASES = [
    refused(
        "no key",
        asked("/v1/events", key=""),
        401,
        "api-key-missing",
        "the request has no Authorization header",
    ),
    refused(
        "a name and a password",
        with_header("Authorization: Basic YTpi"),
        401,
        "api-key-missing",
        "the Authorization header is not `Bearer <api key>`",
    ),
    refused(
        "two keys",
        with_header("Authorization: Bearer a", "Authorization: Bearer b"),
        401,
        "api-key-missing",
        "more than one Authorization header",
    ),
    refused(
        "a key of 64 KiB",
        with_header("Authorization: Bearer " + "x" * 65536),
        401,
        "api-key-missing",
        "the Authorization header is not `Bearer <api key>`",
    ),
    refused(
        "a key in other than ASCII",
        with_header("Authorization: Bearer \xfc\xff"),
        401,
        "api-key-missing",
        "the Authorization header is not `Bearer <api key>`",
    ),
    refused(
        "a key that nobody has", asked("/v1/events", key="cdk_0000_0000"), 401, "api-key-unknown", "unknown"
    ),
    refused("a key that was revoked", revoked, 401, "api-key-revoked", "this API key was revoked"),
    refused(
        "a key without the scope",
        scoped("/v1/adapters", "events:read"),
        403,
        "scope-missing",
        "this needs the scope adapters:read",
    ),
    refused(
        "a topic with wildcards",
        asked("/v1/state/stock/+/MUG-330"),
        400,
        "malformed-request",
        "the topic has a wildcard, expected the name of one topic",
    ),
    refused(
        "a topic without a state",
        asked("/v1/state/stock/LDN1/NONE"),
        404,
        "no-state",
        'the topic "stock/LDN1/NONE" has no state',
    ),
    refused(
        "a topic with U+0000",
        asked("/v1/state/stock/%00"),
        400,
        "malformed-request",
        "the topic holds the character U+0000 at byte 6",
    ),
    refused(
        "a topic of 65 levels",
        asked("/v1/state/" + "/".join("a" * 65)),
        400,
        "malformed-request",
        "the topic has 65 levels, expected at most 64",
    ),
    refused(
        "a name that nobody has", sign_in(name="nobody", password="x" * 12), 401, "sign-in-refused", "wrong"
    ),
    refused(
        "a name of 64 KiB", sign_in(name="x" * 65536, password="x" * 12), 401, "sign-in-refused", "wrong"
    ),
    refused(
        "a password of 1 MiB", sign_in(name="admin", password="x" * MIB), 401, "sign-in-refused", "wrong"
    ),
    refused(
        "a sign-in without a password",
        sign_in(name="admin"),
        400,
        "malformed-request",
        "missing field `password`",
    ),
    refused(
        "a sign-in that another site's page asks for",
        asked("/v1/session", "POST", key="", json={}, headers={"Sec-Fetch-Site": "cross-site"}),
        403,
        "cross-origin",
        "another site's page",
    ),
    refused(
        "a session that nobody has",
        with_cookie("crossdock_session=cds_x"),
        401,
        "session-ended",
        "it is over",
    ),
    refused(
        "two sessions",
        with_cookie("crossdock_session=cds_x; crossdock_session=cds_y"),
        401,
        "api-key-missing",
        "the request has no Authorization header",
    ),
    refused(
        "a change with a session and no word of where it comes from",
        asked("/v1/events", "POST", key="", headers={"Cookie": "crossdock_session=cds_x"}),
        403,
        "cross-origin",
        "neither Sec-Fetch-Site nor Origin",
    ),
    refused(
        "a person whose name has a space",
        asked("/v1/users", "POST", json={"name": "a b", "role": "viewer"}),
        422,
        "invalid-request",
        "1 to 64 letters",
    ),
    refused(
        "a password of eleven characters",
        asked("/v1/users", "POST", json={"name": "a", "role": "viewer", "password": "x" * 11}),
        422,
        "invalid-request",
        "at least 12 characters",
    ),
    refused(
        "the last administrator removed",
        asked("/v1/users/admin", "DELETE"),
        409,
        "conflict",
        "the last person of a role that must not be empty",
    ),
    refused(
        "a scope that is none",
        key_with(name="x", scopes=["everything"]),
        400,
        "malformed-request",
        "the body is not what this route takes",
    ),
    refused(
        "a key that has ended before it begins",
        key_with(name="x", scopes=["admin"], expires="2001-01-01T00:00:00Z"),
        422,
        "invalid-request",
        "expires lies in the past",
    ),
    refused(
        "a name of a key with a line break",
        key_with(name="a\nb", scopes=["events:read"]),
        422,
        "invalid-request",
        "a key's name has 1 to 100 printable characters",
    ),
    refused(
        "a name of a key of 1 MiB",
        key_with(name="x" * MIB, scopes=["events:read"]),
        422,
        "invalid-request",
        "a key's name has 1 to 100 printable characters",
    ),
    refused(
        "JSON that is cut off",
        asked("/v1/api-keys", "POST", data=b'{"name":', headers={"Content-Type": "application/json"}),
        400,
        "malformed-request",
        "EOF while parsing",
    ),
    refused(
        "10,000 levels of nesting",
        asked(
            "/v1/revisions",
            "POST",
            data=b'{"files":' + b"[" * 10_000,
            headers={"Content-Type": "application/json"},
        ),
        400,
        "malformed-request",
        "the body is not what this route takes",
    ),
    refused(
        "a form where JSON belongs",
        asked("/v1/api-keys", "POST", data={"name": "x"}),
        415,
        "unsupported-media-type",
        "the body must be application/json in UTF-8",
    ),
    refused(
        "a body of 5 MiB",
        asked("/v1/revisions", "POST", data=b" " * 5 * MIB, headers={"Content-Type": "application/json"}),
        413,
        "too-large",
        "over the limit body_bytes",
    ),
    refused("a path that leads nowhere", asked("/v1/../etc/passwd"), 404, "not-found", "there is no route"),
    refused(
        "a method that the route does not take",
        asked("/v1/events", "PUT"),
        405,
        "method-not-allowed",
        "the route does not take PUT",
    ),
    refused(
        "a parameter that is unknown",
        asked("/v1/events?typ=order.placed.v1"),
        400,
        "malformed-request",
        "typ",
    ),
    refused(
        "a page of no events",
        asked("/v1/events?limit=0"),
        400,
        "malformed-request",
        "limit is 0; expected 1 to 200",
    ),
    refused(
        "a page of a billion events",
        asked("/v1/events?limit=1000000000"),
        400,
        "malformed-request",
        "limit is 1000000000; expected 1 to 200",
    ),
    refused(
        "a time that is none",
        asked("/v1/events?since=yesterday"),
        400,
        "malformed-request",
        "since: expected an RFC 3339 time, such as 2026-01-31T12:00:00Z",
    ),
    refused(
        "a pattern that no type matches",
        asked("/v1/events?type=order.*"),
        422,
        "invalid-request",
        'type: "order.*" can match no event type',
    ),
    refused(
        "a cursor of one's own making",
        asked("/v1/events?cursor=abc"),
        422,
        "invalid-request",
        "cursor: expected the value of `next` of the page before",
    ),
    refused(
        "an id that is not UTF-8", asked("/v1/events/%FF"), 400, "malformed-request", "Invalid UTF-8 in `id`"
    ),
    refused("an id with a NUL", asked("/v1/events/a%00b"), 404, "not-found", "no event can have this id"),
    refused(
        "an id of 32 KiB", asked("/v1/events/" + "x" * 32768), 404, "not-found", "no event can have this id"
    ),
    answered(
        "SQL where a source belongs",
        asked("/v1/events", params={"source": "' OR 1=1 --"}),
        NONE,
        "no events: it is a source like any other",
    ),
    answered("a NUL where a source belongs", asked("/v1/events?source=a%00b"), NONE, "no events"),
    refused(
        "a stream from a place that is none",
        asked("/v1/stream", headers={"Last-Event-ID": "abc"}),
        400,
        "malformed-request",
        "Last-Event-ID is not the id of a message of this stream",
    ),
    refused(
        "a key that may mint browser tokens, and for no topics",
        key_with(name="x", scopes=["browser-tokens:write"]),
        422,
        "invalid-request",
        "a key with the scope browser-tokens:write needs topics",
    ),
    refused(
        "topics of a key that may not mint browser tokens",
        key_with(name="x", scopes=["events:read"], topics=["state/#"]),
        422,
        "invalid-request",
        "a key with topics needs the scope browser-tokens:write",
    ),
    refused(
        "a topic of a key that is no filter",
        key_with(name="x", scopes=["browser-tokens:write"], topics=["state/#/x"]),
        422,
        "invalid-request",
        'the topic filter "state/#/x" holds a wildcard in level 2 (from 1)',
    ),
    refused(
        "51 topics of a key",
        key_with(name="x", scopes=["browser-tokens:write"], topics=["a"] * 51),
        422,
        "invalid-request",
        "a key has 51 topics, expected at most 50",
    ),
    refused(
        "a browser token for a topic that the key may not grant",
        token_of({"topics": ["state/+/1"]}),
        403,
        "topics-not-granted",
        'the topic filter "state/+/1" is not granted: this API key may grant what lies wholly within state/order/#',
    ),
    refused(
        "a browser token of somebody without topics",
        asked("/v1/browser-tokens", "POST", json={"topics": ["state/order/1"], "subject": "a"}),
        403,
        "topics-not-granted",
        "the caller may grant no topics",
    ),
    refused(
        "a browser token for the server's own topics",
        token_of({"topics": ["$SYS/#"]}, topics=("#",)),
        422,
        "invalid-request",
        'the topic filter "$SYS/#" begins with $',
    ),
    refused(
        "a browser token for a shared subscription",
        token_of({"topics": ["$share/all/state/order/1"]}),
        422,
        "invalid-request",
        "begins with $",
    ),
    refused(
        "a browser token for a filter that is none",
        token_of({"topics": ["state/order#"]}),
        422,
        "invalid-request",
        "+ and # stand alone in a level",
    ),
    refused(
        "a browser token for nothing",
        token_of({"topics": []}),
        422,
        "invalid-request",
        "has 0 topic filters, expected 1 to 50",
    ),
    refused(
        "a browser token for 51 filters",
        token_of({"topics": ["state/order/1"] * 51}),
        422,
        "invalid-request",
        "has 51 topic filters, expected 1 to 50",
    ),
    refused(
        "a browser token for a filter of 64 KiB",
        token_of({"topics": ["state/order/" + "x" * 65536]}),
        422,
        "invalid-request",
        "expected at most 65535",
    ),
    refused(
        "a browser token that would be too long",
        token_of({"topics": [f"state/order/{'x' * 1000}/{number}" for number in range(9)]}),
        422,
        "invalid-request",
        "expected at most 8192",
    ),
    refused(
        "a browser token for nobody",
        token_of({"subject": ""}),
        422,
        "invalid-request",
        "/subject: has to be 1 to 255 bytes without control characters",
    ),
    refused(
        "a browser token for a day",
        token_of({"expires_in_s": 86_400}),
        422,
        "invalid-request",
        "/expires_in_s: has to be from 1 to 3600",
    ),
    refused(
        "a browser token that may publish",
        token_of({"publish": ["state/order/1"]}),
        400,
        "malformed-request",
        "unknown field `publish`",
    ),
    refused(
        "the end of nobody's browser tokens",
        asked("/v1/browser-tokens?subject=", "DELETE"),
        422,
        "invalid-request",
        "no token has such an id or subject",
    ),
    refused(
        "a browser token that is none",
        read_with("a.b.c"),
        401,
        "browser-token-refused",
        "this browser token opens nothing",
    ),
    refused(
        "a browser token whose claims were changed",
        read_with(lambda hall: good_token(hall).replace(".", ".A", 1)),
        401,
        "browser-token-refused",
        "this browser token opens nothing",
    ),
    refused(
        "a browser token of 9 KiB",
        read_with("a.b." + "c" * 9216),
        401,
        "api-key-missing",
        "the Authorization header is not `Bearer <api key>`",
    ),
    refused(
        "a topic that the browser token does not open",
        read_with(good_token, "state/order/2"),
        403,
        "topic-forbidden",
        "the browser token does not open this topic",
    ),
    refused(
        "a browser token where an API key belongs",
        lambda hall: hall.hub.request("GET", "/v1/events", key=good_token(hall)),
        401,
        "api-key-missing",
        "the Authorization header is not `Bearer <api key>`",
    ),
]
