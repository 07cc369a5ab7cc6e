"""The dashboard in a real browser, at a hub that runs. Here: what holds for every page before anybody has signed in."""

from __future__ import annotations

import pytest
import requests

from harness.browser import scripts
from harness.hub import Hub

SCRIPTS_MAX_BYTES = 150_000
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}
PAGES = [
    "/",
    "/queues",
    "/events?type=order.placed.v1",
    "/journeys/web%3AR-1001",
    "/dead-letters",
    "/dead-letters/7.erp",
    "/adapters",
    "/adapters/erp",
    "/account",
    "/sign-in",
]


@pytest.fixture(scope="module")
def hub(shared_halls, broker) -> Hub:
    return shared_halls.hub({}, broker=broker).start()


def get(hub: Hub, path: str, **headers: str) -> requests.Response:
    """As a browser without a past asks."""
    return requests.get(hub.url + path, headers=headers, timeout=30)


@pytest.mark.parametrize("path", PAGES)
def test_each_address_has_the_page_under_a_policy_without_inline(hub, path):
    answer = get(hub, path)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-cache"
    directives = (part.split(None, 1) for part in answer.headers["Content-Security-Policy"].split(";"))
    assert {name: value.strip() for name, value in directives} == POLICY
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert "camera=()" in answer.headers["Permissions-Policy"]
    assert get(hub, path, **{"If-None-Match": answer.headers["ETag"]}).status_code == 304


def test_what_a_page_loads_may_be_kept_for_good_and_comes_small(hub):
    sizes = scripts(hub)
    assert sum(sizes.values()) <= SCRIPTS_MAX_BYTES, sizes
    for path in sizes:
        for encoding in ("gzip", "br"):
            answer = requests.head(hub.url + path, headers={"Accept-Encoding": encoding}, timeout=30)
            assert answer.headers["Content-Encoding"] == encoding, path
            assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable", path
            assert answer.headers["X-Content-Type-Options"] == "nosniff", path


def test_what_is_no_page_keeps_the_answer_of_the_api(hub):
    for method, path in [
        ("GET", "/nothing"),
        ("GET", "/assets/none.js"),
        ("GET", "/queues/x"),
        ("POST", "/"),
    ]:
        answer = requests.request(method, hub.url + path, timeout=30)
        assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found"), path
    assert get(hub, "/healthz").json() == {"status": "alive"}
    assert get(hub, "/readyz").status_code == 200
    assert get(hub, "/v1/events").status_code == 401


def test_the_page_comes_up_and_complains_of_nothing(hub, visit):
    at = visit(hub)
    page = at.open("/")
    page.wait_for_selector("#app >> *")
    assert "Crossdock" in page.title()
    at.no_console_errors()
    at.axe()


def test_no_other_site_may_frame_it(hub, visit):
    at = visit()
    at.page.set_content(f'<iframe src="{hub.url}/" onload="window.loaded = true"></iframe>')
    at.page.wait_for_function("window.loaded")
    assert at.page.frames[1].url == "chrome-error://chromewebdata/"
    with pytest.raises(AssertionError, match="frame-ancestors"):
        at.no_console_errors()


# ── the tools themselves ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_tools_notice_what_is_wrong(visit):
    at = visit()
    at.page.set_content(
        """<!doctype html><html lang="en" style="color-scheme: light dark"><title>x</title><main><h1>x</h1>
        <img src="data:," id="picture"><p style="color: light-dark(#eee, #333)">text</p>
        <button style="outline: none">a</button><button>b</button></main>"""
    )
    faults = at.axe_faults()
    assert {fault.split()[0] for fault in faults} == {"image-alt", "color-contrast"}, faults
    with pytest.raises(AssertionError, match="light: image-alt"):
        at.axe()
    with at.page.expect_event("pageerror"):
        at.page.evaluate("setTimeout(() => { throw new Error('on purpose'); })")
    with pytest.raises(AssertionError, match="on purpose"):
        at.no_console_errors()
    at.no_console_errors(but="on purpose|data:,")


def test_the_keys_find_their_way_and_memory_is_measured(visit):
    at = visit()
    at.page.set_content(
        """<button style="outline: none">dim</button><button>clear</button>
        <script>window.held = Array.from({ length: 1e6 }, (_, at) => 'number ' + at);</script>"""
    )
    assert at.tab_to(at.page.get_by_role("button", name="clear")).inner_text() == "clear"
    with pytest.raises(AssertionError, match="nothing shows"):
        at.tab_to(at.page.get_by_role("button", name="dim"))
    with pytest.raises(AssertionError, match="cannot be reached"):
        at.tab_to(at.page.get_by_role("link", name="none"))
    before = at.heap_bytes()
    at.page.evaluate("window.held = null")
    assert at.heap_bytes() < before - 20_000_000
