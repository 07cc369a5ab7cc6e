"""People sign in at a live hub: the cookie, failures that have to wait, what each role may do on every route, sessions
that end, requests of other sites' pages, and nothing secret in the log."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
import requests

from harness.events import manifest, parcel
from harness.hub import REPOSITORY, Hub
from harness.wait import eventually

MANIFESTS = {"depot": manifest("depot", subscribes=("parcel.*.v1",))}
ROLES = ("viewer", "operator", "admin")
COOKIE = "crossdock_session"
WEEK_S = 7 * 24 * 3600
FLOODERS = 40
JSON = "application/json"


@dataclass
class Person:
    """Somebody with a browser of their own."""

    hub: Hub
    name: str
    password: str
    browser: requests.Session = field(default_factory=requests.Session)

    def sign_in(self, **options) -> requests.Response:
        body = {"name": self.name, "password": self.password}
        return self.ask("POST", "/v1/session", json=body, **options)

    def ask(self, method: str, path: str, **options) -> requests.Response:
        """As the hub's own page does it."""
        headers = {"Sec-Fetch-Site": "same-origin"} | options.pop("headers", {})
        options.setdefault("timeout", 30)
        return self.browser.request(method, self.hub.url + path, headers=headers, **options)

    def is_in(self) -> bool:
        answer = self.ask("GET", "/v1/session")
        assert answer.status_code in (200, 401), answer.text
        return answer.status_code == 200

    def again(self) -> Person:
        """The same person in another browser."""
        other = Person(self.hub, self.name, self.password)
        assert other.sign_in().status_code == 200
        return other


@pytest.fixture(scope="module")
def hub(shared_halls, broker, database) -> Hub:
    return shared_halls.hub(MANIFESTS, broker=broker, database=database).start()


def person(hub: Hub, role: str) -> Person:
    """Somebody new of this role, not signed in yet."""
    name = f"{role}-{secrets.token_hex(4)}"
    made = json.loads(hub.must("--json", "user", "add", name, "--role", role))
    return Person(hub, name, made["password"])


def present(hub: Hub, role: str) -> Person:
    made = person(hub, role)
    assert made.sign_in().status_code == 200
    return made


def slug(answer: requests.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].removeprefix("/problems/")


# ── the first administrator ──────────────────────────────────────────────────────────────────────────────────────


def test_the_first_administrator_has_a_password_in_a_file_and_nowhere_else(hub):
    file = hub.data / "admin.password"
    assert file.stat().st_mode & 0o777 == 0o600
    password = file.read_text().strip()
    admin = Person(hub, "admin", password)
    assert admin.sign_in().json()["role"] == "admin"
    assert str(file) in hub.log()
    assert password not in hub.log()
    assert password.encode() not in hub.record()


def test_a_hub_that_starts_again_makes_nobody(halls, broker):
    hub = halls.hub(MANIFESTS, broker=broker).start()
    first = (hub.data / "admin.password").read_text()
    hub.stop()
    (hub.data / "admin.password").unlink()
    hub.start()
    assert not (hub.data / "admin.password").exists()
    assert Person(hub, "admin", first.strip()).sign_in().status_code == 200
    assert [user["name"] for user in hub.get("/v1/users")["users"]] == ["admin"]


def test_several_hubs_that_start_at_once_make_one_administrator(halls, broker, postgres):
    one = halls.hub(MANIFESTS, broker=broker, database=postgres)
    other = halls.hub(MANIFESTS, broker=broker)
    for name in ("CROSSDOCK_DATABASE__URL", "CROSSDOCK_RABBITMQ__URL"):
        other.environment[name] = one.environment[name]
    for hub in (one, other):
        hub.start(ready=False)
    for hub in (one, other):
        hub.wait_until_ready()
    kept = [hub.data / "admin.password" for hub in (one, other)]
    kept = [file.read_text().strip() for file in kept if file.exists()]
    assert len(kept) == 1
    visitor = Person(one, "admin", kept[0])
    assert visitor.sign_in().status_code == 200
    elsewhere = Person(other, "admin", kept[0], visitor.browser)
    assert elsewhere.is_in()
    # What ends at one hub ends at the other within five seconds.
    assert visitor.ask("DELETE", "/v1/session").status_code == 204
    ended = time.monotonic()
    copy = Person(other, "admin", kept[0])
    copy.browser.cookies.update(visitor.browser.cookies)
    eventually("the session is over at the other hub, too", lambda: not copy.is_in(), 6)
    assert time.monotonic() - ended < 6


# ── the cookie ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_cookie_is_kept_from_scripts_and_other_sites(hub):
    visitor = person(hub, "viewer")
    answer = visitor.sign_in()
    pair, *attributes = answer.headers["Set-Cookie"].split("; ")
    assert pair.startswith(f"{COOKIE}=cds_")
    assert attributes == ["Path=/", "HttpOnly", "SameSite=Strict", f"Max-Age={WEEK_S}"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json()["name"] == visitor.name
    assert visitor.ask("GET", "/v1/session").headers["Cache-Control"] == "no-store"


def test_under_tls_the_cookie_is_the_hosts_alone(halls, broker):
    hub = halls.hub(MANIFESTS, broker=broker, settings='[http]\npublic_url = "https://hub.example"\n').start()
    answer = Person(hub, "admin", (hub.data / "admin.password").read_text().strip()).sign_in()
    pair, *attributes = answer.headers["Set-Cookie"].split("; ")
    assert pair.startswith(f"__Host-{COOKIE}=cds_")
    assert attributes == ["Path=/", "HttpOnly", "SameSite=Strict", f"Max-Age={WEEK_S}", "Secure"]
    for name, expected in ((f"__Host-{COOKIE}", 200), (COOKIE, 401)):
        token = pair.partition("=")[2]
        shown = requests.get(f"{hub.url}/v1/session", headers={"Cookie": f"{name}={token}"}, timeout=30)
        assert shown.status_code == expected, name


# ── failures ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_failures_have_to_wait_and_the_owner_gets_in_after(hub):
    owner, other = person(hub, "viewer"), person(hub, "viewer")
    guess = Person(hub, owner.name, "a guess of twelve")
    while (answer := guess.sign_in()).status_code == 401:
        assert slug(answer) == (401, "sign-in-refused")
    assert slug(answer) == (429, "too-many-sign-ins")
    wait_s = int(answer.headers["Retry-After"])
    assert 1 <= wait_s <= 60
    assert owner.sign_in().status_code == 429
    assert other.sign_in().status_code == 200
    eventually("the owner is let in", lambda: owner.sign_in().status_code == 200, wait_s + 5)


def test_a_flood_from_an_ipv6_site_holds_up_nobody_elsewhere(halls, broker):
    settings = '[http]\ntrusted_proxies = ["127.0.0.1"]\n'
    hub = halls.hub(MANIFESTS, broker=broker, settings=settings).start()
    admin = Person(hub, "admin", (hub.data / "admin.password").read_text().strip())
    over = threading.Event()

    def flood(thread: int) -> list[int]:
        answers = []
        while not over.is_set():
            address = f"2001:db8:1:{thread:x}::{len(answers):x}"
            guess = Person(hub, f"name-{thread}-{len(answers)}", "a guess of twelve")
            answers.append(guess.sign_in(headers={"X-Forwarded-For": address}).status_code)
        return answers

    with ThreadPoolExecutor(FLOODERS) as pool:
        floods = [pool.submit(flood, thread) for thread in range(FLOODERS)]
        took = []
        try:
            for number in range(1, 11):
                began = time.monotonic()
                answer = admin.sign_in(headers={"X-Forwarded-For": f"2001:db8:2:{number}::1"})
                took.append(time.monotonic() - began)
                assert answer.status_code == 200, answer.text
        finally:
            over.set()
        answers = [answer for one in floods for answer in one.result()]
    assert max(took) < 2, took
    assert answers and set(answers) <= {401, 429, 503}, Counter(answers)


def test_an_unknown_name_looks_like_a_wrong_password_also_by_the_clock(hub):
    def times(name: str) -> list[float]:
        took = []
        for _ in range(4):
            began = time.monotonic()
            answer = Person(hub, name, "a guess of twelve").sign_in()
            took.append(time.monotonic() - began)
            answers.add(answer.text)
        return took

    answers: set[str] = set()
    known = times(person(hub, "viewer").name)
    unknown = times(f"nobody-{secrets.token_hex(4)}")
    assert len(answers) == 1
    # A hash takes some hundredths of a second; a look-up alone is far from that.
    assert min(unknown) > min(known) / 3, (known, unknown)


# ── sessions that end ────────────────────────────────────────────────────────────────────────────────────────────


def test_signing_out_everywhere_ends_every_session_at_once(hub):
    here = present(hub, "operator")
    there = here.again()
    assert here.is_in() and there.is_in()
    assert here.ask("DELETE", "/v1/session", params={"everywhere": "true"}).status_code == 204
    assert not there.is_in()
    assert COOKIE not in here.browser.cookies


def test_a_new_password_ends_the_other_sessions(hub):
    here = present(hub, "viewer")
    there = here.again()
    body = {"current": here.password, "new": "staple in the stable"}
    assert here.ask("PUT", "/v1/session/password", json=body).status_code == 204
    assert here.is_in() and not there.is_in()
    assert there.sign_in().status_code == 401
    here.password = body["new"]
    assert here.again().is_in()


def test_a_stream_works_with_a_session_and_ends_with_it(hub):
    visitor = present(hub, "viewer")
    event = parcel("/anyone")
    with visitor.ask("GET", "/v1/stream", stream=True, headers={"Accept": "text/event-stream"}) as stream:
        assert stream.status_code == 200
        lines = stream.iter_lines(decode_unicode=True)
        hub.must_accept(event)
        assert any(event["id"] in line for line in lines if line.startswith("data:"))
        hub.must("user", "remove", visitor.name)
        began = time.monotonic()
        for _ in lines:
            pass
        assert time.monotonic() - began < 15
    assert not visitor.is_in()


def test_the_commands_manage_people(hub):
    visitor = present(hub, "viewer")
    hub.must("user", "role", visitor.name, "operator")
    assert visitor.ask("GET", "/v1/session").json()["role"] == "operator"
    listed = json.loads(hub.must("--json", "user", "list"))["users"]
    mine = next(user for user in listed if user["name"] == visitor.name)
    assert mine["role"] == "operator" and mine["last_sign_in"]
    assert visitor.name in hub.must("user", "list")

    made = json.loads(hub.must("--json", "user", "password", visitor.name))["password"]
    assert not visitor.is_in()
    assert Person(hub, visitor.name, made).sign_in().status_code == 200
    hub.must("user", "password", visitor.name, "--stdin", stdin="staple in the stable\n")
    assert Person(hub, visitor.name, "staple in the stable").sign_in().status_code == 200
    refused = hub.command("user", "password", visitor.name, "--stdin", stdin="short\n")
    assert refused.returncode == 1 and "12 characters" in refused.stderr
    hub.must("user", "remove", visitor.name)
    assert hub.command("user", "remove", visitor.name).returncode == 1


# ── requests of other sites' pages ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "null"},
    ],
    ids=str,
)
def test_another_sites_page_changes_nothing(hub, headers):
    visitor = present(hub, "admin")
    cookie = {"Cookie": f"{COOKIE}={visitor.browser.cookies[COOKIE]}"}
    for method, path in (("DELETE", "/v1/session"), ("POST", "/v1/api-keys"), ("POST", "/v1/events")):
        answer = requests.request(method, hub.url + path, headers=headers | cookie, json={}, timeout=30)
        assert slug(answer) == (403, "cross-origin"), (method, path)
    assert visitor.is_in()
    own = requests.post(f"{hub.url}/v1/api-keys", headers={"Origin": hub.url} | cookie, json={}, timeout=30)
    assert slug(own) == (400, "malformed-request")


# ── every route, every role ──────────────────────────────────────────────────────────────────────────────────────

ANYBODY, NOBODY = "anybody", "nobody"
# Who of the roles may use a route at least; ANYBODY needs no session, PERSON any.
PERSON = "viewer"
ROUTES = {
    "GET /v1/adapters": "viewer",
    "GET /v1/adapters/{name}": "viewer",
    "POST /v1/adapters/{name}/resume": "operator",
    "POST /v1/adapters/{name}/rotate": "operator",
    "POST /v1/adapters/{name}/rotate/finish": "operator",
    "GET /v1/api-keys": "admin",
    "POST /v1/api-keys": "admin",
    "DELETE /v1/api-keys/{id}": "admin",
    "POST /v1/browser-tokens": "admin",
    "DELETE /v1/browser-tokens": "admin",
    "DELETE /v1/browser-tokens/{id}": "admin",
    "POST /v1/browser-tokens/rotation": "admin",
    "GET /v1/dead-letters": "viewer",
    "GET /v1/dead-letters/{id}": "viewer",
    "POST /v1/dead-letters/{id}/redrive": "operator",
    "GET /v1/events": "viewer",
    "POST /v1/events": "operator",
    "GET /v1/events/histogram": "viewer",
    "GET /v1/events/{id}": "viewer",
    "GET /v1/journeys/{key}": "viewer",
    "GET /v1/ledger": "viewer",
    "GET /v1/live": "viewer",
    "GET /v1/overview": "viewer",
    "GET /v1/quarantine": "viewer",
    "GET /v1/quarantine/{id}": "viewer",
    "POST /v1/quarantine/{id}/resend": "operator",
    "GET /v1/queues": "viewer",
    "GET /v1/revisions": "viewer",
    "POST /v1/revisions": "admin",
    "GET /v1/revisions/current": "viewer",
    "GET /v1/revisions/{number}": "viewer",
    "POST /v1/session": ANYBODY,
    "GET /v1/session": PERSON,
    "DELETE /v1/session": PERSON,
    "PUT /v1/session/password": PERSON,
    "GET /v1/state/{topic}": "viewer",
    "GET /v1/status": "viewer",
    "GET /v1/stream": "viewer",
    "GET /v1/users": "admin",
    "POST /v1/users": "admin",
    "PATCH /v1/users/{name}": "admin",
    "DELETE /v1/users/{name}": "admin",
}


def described_routes() -> set[str]:
    description = json.loads((REPOSITORY / "docs" / "openapi.json").read_text())
    routes = (
        (method.upper(), path)
        for path, item in description["paths"].items()
        for method in item
        if path.startswith("/v1/")
    )
    return {f"{method} {path}" for method, path in routes}


def test_every_route_has_its_row():
    assert described_routes() == set(ROUTES)


@pytest.mark.parametrize("who", [NOBODY, *ROLES])
def test_each_role_may_do_what_it_may_on_every_route(hub, who):
    visitor = Person(hub, "", "") if who == NOBODY else person(hub, who)
    for route, needed in ROUTES.items():
        method, path = route.split()
        for name in ("name", "id", "key", "number", "topic"):
            path = path.replace(f"{{{name}}}", "999999")
        if who != NOBODY:
            # One route of the table signs out.
            assert visitor.is_in() or visitor.sign_in().status_code == 200
        with visitor.ask(method, path, data=b"", headers={"Content-Type": JSON}, stream=True) as answer:
            status = answer.status_code
            seen = answer.text if status >= 400 else ""
        if needed == ANYBODY or (who != NOBODY and ROLES.index(who) >= ROLES.index(needed)):
            assert status not in (401, 403), f"{who} may {route}: {status} {seen}"
        elif who == NOBODY:
            assert status == 401, f"{route} is open: {status} {seen}"
        else:
            assert status == 403, f"{who} may not {route}: {status} {seen}"
            assert json.loads(seen)["type"] == "/problems/scope-missing"


def test_a_person_sends_under_their_own_name_and_no_adapters(hub):
    visitor = present(hub, "operator")
    event = parcel("/anyone")
    headers = {"Content-Type": "application/cloudevents+json"}
    sent = visitor.ask("POST", "/v1/events", data=json.dumps(event), headers=headers)
    assert sent.status_code == 202, sent.text
    found = eventually(
        "the event is recorded",
        lambda: (
            (answer := hub.request("GET", f"/v1/events/{event['id']}")).status_code == 200 and answer.json()
        ),
    )
    assert found["producer"] == f"user:{visitor.name}"
    forged = visitor.ask("POST", "/v1/events", data=json.dumps(parcel("/depot")), headers=headers)
    assert slug(forged) == (403, "event-forbidden")


# ── the log ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_log_says_who_and_tells_no_secret(hub):
    visitor = present(hub, "viewer")
    token = visitor.browser.cookies[COOKIE]
    assert visitor.ask("GET", "/v1/status").status_code == 200
    typed = f"password-in-the-wrong-field-{secrets.token_hex(4)}"
    Person(hub, typed, "a guess of twelve").sign_in()
    eventually("the log names the person", lambda: f"user:{visitor.name}" in hub.log())
    log = hub.log()
    for secret in (visitor.password, token, typed, "a guess of twelve", "$argon2id$"):
        assert secret not in log, secret
    record = hub.record()
    for secret in (visitor.password, token):
        assert secret.encode() not in record, secret
