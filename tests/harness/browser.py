"""A real browser: Debian's Chromium, driven by Playwright, with a fresh profile for each visit. A visit knows what the
page said on its console, who is signed in, and how to hold the page against what it promises: accessibility in both
themes, keys, speed, memory, size."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from typing import Literal
from urllib.parse import urlsplit

import requests
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import BrowserContext, CDPSession, ConsoleMessage, Locator, Page, sync_playwright

from harness.hub import Hub
from harness.node import NODE_MODULES

PROGRAM = os.environ.get("CROSSDOCK_TEST_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
# Root has no sandbox to build; the rest keeps Chromium from asking servers of its maker's.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Exact figures of memory and time, and a collector that can be called.
    "--enable-precise-memory-info",
    "--js-flags=--expose-gc",
]
WINDOW = {"width": 1440, "height": 900}
DEADLINE_MS = 20_000
# Conformance to WCAG 2.2 AA, and what axe holds for good besides.
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
TAB_STOPS_MAX = 200

Theme = Literal["light", "dark"]
Role = Literal["viewer", "operator", "admin"]
THEMES: tuple[Theme, Theme] = ("light", "dark")


class Browser:
    """One Chromium for many visits."""

    def __init__(self) -> None:
        self._playwright = sync_playwright().start()
        try:
            self._chromium: Chromium = self._playwright.chromium.launch(
                executable_path=PROGRAM, headless=True, args=FLAGS
            )
        except BaseException:
            self._playwright.stop()
            raise

    def visit(self, hub: Hub | None = None, theme: Theme = "light") -> Visit:
        """A browser without a past."""
        context = self._chromium.new_context(
            base_url=hub.url if hub else None,
            viewport=WINDOW,
            color_scheme=theme,
            # Colours are read where they come to rest.
            reduced_motion="reduce",
        )
        context.set_default_timeout(DEADLINE_MS)
        return Visit(context, hub)

    def unguarded_page(self, url: str) -> Page:
        """A page whose policy does not keep a measurement's own scripts out."""
        page = self._chromium.new_context(bypass_csp=True).new_page()
        page.goto(url)
        return page

    def end(self) -> None:
        self._chromium.close()
        self._playwright.stop()


class Visit:
    """One browser profile with one page, at one hub."""

    def __init__(self, context: BrowserContext, hub: Hub | None) -> None:
        self.context = context
        self._hub = hub
        self.page: Page = context.new_page()
        self._said: list[str] = []
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self._said.append(f"thrown: {error}"))
        self._devtools: CDPSession | None = None

    @property
    def hub(self) -> Hub:
        assert self._hub is not None, "this visit has no hub"
        return self._hub

    def _note(self, message: ConsoleMessage) -> None:
        where = message.location.get("url", "")
        # Chromium itself notes each answer of 4xx and 5xx. That nobody is signed in is told by these two.
        asked_who = urlsplit(where).path in ("/v1/session", "/v1/live") and "401" in message.text
        if message.type in ("error", "warning") and not asked_who:
            self._said.append(f"{message.type}: {message.text} ({where})")

    def end(self) -> None:
        self.context.close()

    # ── getting there ────────────────────────────────────────────────────────────────────────────────────────

    def open(self, path: str = "/") -> Page:
        """Loads a page of the hub; the page's own requests go on after that."""
        self.page.goto(self.hub.url + path, wait_until="load")
        return self.page

    def sign_in(self, role: Role = "admin") -> str:
        """Signs a new person of this role in, without the sign-in page; gives the name."""
        name, password = add_person(self.hub, role)
        answer = self.context.request.post(
            f"{self.hub.url}/v1/session",
            data={"name": name, "password": password},
            headers={"Origin": self.hub.url},
        )
        assert answer.status == 200, f"{answer.status} {answer.text()}"
        return name

    def theme(self, theme: Theme) -> None:
        """What the system says it prefers."""
        self.page.emulate_media(color_scheme=theme, reduced_motion="reduce")

    # ── what the page said ───────────────────────────────────────────────────────────────────────────────────

    def no_console_errors(self, *, but: str | None = None) -> None:
        """Nothing was thrown and nothing complained of, by the page or by the browser about it. `but`: a pattern of what
        the test itself brought about."""
        said = [line for line in self._said if but is None or not re.search(but, line)]
        assert not said, "\n".join(["the console says:", *said])

    # ── accessibility ────────────────────────────────────────────────────────────────────────────────────────

    def axe(self, within: str | None = None, *, themes: tuple[Theme, ...] = THEMES) -> None:
        """axe finds nothing in the page as it is now, in either theme."""
        found = []
        for theme in themes:
            self.theme(theme)
            found += [f"{theme}: {fault}" for fault in self.axe_faults(within)]
        assert not found, "\n".join(["axe finds:", *found])

    def axe_faults(self, within: str | None = None) -> list[str]:
        """What axe finds in the present theme, a line for each place."""
        if not self.page.evaluate("typeof window.axe === 'object'"):
            # By way of the debugger, since the page lets no foreign script in.
            self.page.evaluate((NODE_MODULES / "axe-core" / "axe.min.js").read_text(encoding="utf-8"))
        result = self.page.evaluate(
            """([within, rules]) => axe.run(within ?? document, {
                runOnly: { type: 'tag', values: rules },
                resultTypes: ['violations'],
            })""",
            [within, RULES],
        )
        return [
            f"{rule['id']} ({rule['impact']}): {node['html'][:160]} — {' '.join(node['failureSummary'].split())}"
            for rule in result["violations"]
            for node in rule["nodes"]
        ]

    # ── keys ─────────────────────────────────────────────────────────────────────────────────────────────────

    def press(self, *keys: str) -> None:
        """Keys one after the other, as Playwright names them: `g`, `Enter`, `Control+k`."""
        for key in keys:
            self.page.keyboard.press(key)

    def focused(self) -> Locator:
        return self.page.locator(":focus")

    def tab_to(self, target: Locator) -> Locator:
        """Presses Tab until the target has the focus; it must come, and be seen to have it."""
        for _ in range(TAB_STOPS_MAX):
            if self._has_focus(target):
                assert self._shows_focus(target), f"nothing shows that {target} has the focus"
                return target
            self.page.keyboard.press("Tab")
        raise AssertionError(f"{target} cannot be reached with Tab")

    def _has_focus(self, target: Locator) -> bool:
        return target.count() > 0 and target.first.evaluate("element => element === document.activeElement")

    def _shows_focus(self, target: Locator) -> bool:
        return target.first.evaluate(
            """element => {
                const style = getComputedStyle(element);
                return style.outlineStyle !== 'none' || style.boxShadow !== 'none';
            }"""
        )

    # ── speed and memory ─────────────────────────────────────────────────────────────────────────────────────

    @property
    def devtools(self) -> CDPSession:
        """Chromium's own protocol, for what Playwright has no word for."""
        if self._devtools is None:
            self._devtools = self.context.new_cdp_session(self.page)
        return self._devtools

    @contextlib.contextmanager
    def slowed(self, times: float = 6) -> Iterator[None]:
        """The page's processor runs so many times slower."""
        self.devtools.send("Emulation.setCPUThrottlingRate", {"rate": times})
        try:
            yield
        finally:
            self.devtools.send("Emulation.setCPUThrottlingRate", {"rate": 1})

    def first_view_ms(self, path: str, shown: str) -> float:
        """Loads a page anew and gives the milliseconds from the start of the navigation until an element that fits the
        selector `shown` was painted, on the page's own clock."""
        self.page.add_init_script(FIRST_SEEN % (json.dumps(shown), DEADLINE_MS))
        self.page.goto(self.hub.url + path, wait_until="commit")
        return self.page.evaluate("window.firstSeen")

    def heap_bytes(self) -> int:
        """What the page's objects take, after everything that nobody holds was collected."""
        self.devtools.send("HeapProfiler.enable")
        # What only finalisers let go of goes in the next round.
        for _ in range(3):
            self.devtools.send("HeapProfiler.collectGarbage")
        return self.devtools.send("Runtime.getHeapUsage")["usedSize"]


# A promise of the time of the first frame in which the element has a size.
FIRST_SEEN = """
window.firstSeen = new Promise((resolve, reject) => {
    const [selector, deadline] = [%s, %d];
    const look = () => {
        const element = document.querySelector(selector);
        if (element && element.getBoundingClientRect().height > 0) {
            // This runs before the frame is painted, a task after it.
            setTimeout(() => resolve(performance.now()));
        } else if (performance.now() > deadline) {
            reject(new Error(`${selector} was not seen within ${deadline} ms`));
        } else {
            requestAnimationFrame(look);
        }
    };
    requestAnimationFrame(look);
});
"""


def add_person(hub: Hub, role: Role) -> tuple[str, str]:
    """Makes a user; gives the name and the password."""
    name, password = f"{role}-{secrets.token_hex(4)}", secrets.token_urlsafe(18)
    answer = hub.request("POST", "/v1/users", json={"name": name, "role": role, "password": password})
    assert answer.status_code in (200, 201), f"{answer.status_code} {answer.text}"
    return name, password


def scripts(hub: Hub, page: str = "/") -> dict[str, int]:
    """Every script that a page may load, at once or later, with the bytes that it takes on the wire with gzip: the
    document's own, and whatever they name."""
    sizes: dict[str, int] = {}
    waiting = re.findall(r'<script[^>]+src="([^"]+)"', requests.get(hub.url + page, timeout=30).text)
    assert waiting, "the page loads no script: it was not built into this hub"
    while waiting:
        path = waiting.pop()
        if path in sizes:
            continue
        answer = requests.get(hub.url + path, headers={"Accept-Encoding": "gzip"}, stream=True, timeout=30)
        if answer.status_code != 200:
            # What only looks like a script's name inside one.
            continue
        sizes[path] = len(answer.raw.read(decode_content=False))
        text = requests.get(hub.url + path, timeout=30).text
        folder = path.rpartition("/")[0]
        waiting += [f"{folder}/{name}" for name in re.findall(r"[\w.-]+\.js\b", text)]
    return sizes
