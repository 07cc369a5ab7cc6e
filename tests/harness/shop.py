"""The demo's shop in a browser: a hub with its demo, and what a customer does and sees there."""

from __future__ import annotations

import re
import shutil

from playwright.sync_api import Locator, Page, expect

from harness.browser import Visit
from harness.hub import REPOSITORY, Hub
from harness.wait import eventually

PATH = "/shop"
DEADLINE_MS = 30_000
NUMBER = re.compile(r"SO-[0-9A-Z]{9}")
# Chromium notes every answer of 4xx: a topic that has no state yet is one, and the state is pushed when it comes. The rest
# is what a hub that was killed looks like.
EXPECTED = r"status of 404 .*/v1/state/|ERR_CONNECTION_REFUSED|WebSocket connection to|status of 503"
# How long the page's own cut lasts: as long as a test wants where the timer for that is held.
CUT_MS = 6_000
HOLD = """(held) => {
    const { setTimeout } = window;
    window.setTimeout = (call, ms, ...more) => (ms === held ? (window.mend = call) && 0 : setTimeout(call, ms, ...more));
}"""


def with_demo(hub: Hub, events_per_s: float = 5) -> Hub:
    """Starts the hub with what `config/` has, and its demo; it is ready when the first order is there."""
    shutil.copytree(REPOSITORY / "config", hub.folder / "config", dirs_exist_ok=True)
    hub.environment["SHOP_EVENTS_PER_SECOND"] = str(events_per_s)
    hub.start("--demo")
    eventually("the demo runs", lambda: hub.get("/v1/events", type="order.numbered.v1")["events"], 60)
    return hub


class Shop:
    """The page in one tab."""

    def __init__(self, visit: Visit, page: Page | None = None) -> None:
        self.visit = visit
        self.page = page or visit.page

    def enter(self) -> Shop:
        self.page.goto(self.visit.hub.url + PATH, wait_until="load")
        return self

    def is_live(self, within_ms: float = DEADLINE_MS) -> Shop:
        expect(self.page.locator("p.live")).to_be_visible(timeout=within_ms)
        return self

    @property
    def number(self) -> Locator:
        return self.page.get_by_test_id("number")

    @property
    def reference(self) -> str:
        return self.page.locator(".reference .mono").inner_text()

    @property
    def connections(self) -> int:
        return int(self.page.locator("dt", has_text="Connections so far").locator("+ dd").inner_text())

    def cut(self) -> None:
        """Drops the connection with the page's own button, until it is mended."""
        self.page.evaluate(HOLD, CUT_MS)
        self.page.get_by_role("button", name="Drop the connection").click()
        expect(self.page.get_by_text("Reconnecting")).to_be_visible()

    def mend(self) -> None:
        self.page.evaluate("window.mend()")

    def on_hand(self) -> int | None:
        found = re.search(r"\d+", self.page.get_by_test_id("stock").locator(".value").inner_text())
        return int(found[0]) if found else None

    def order(self) -> str:
        """Orders one; gives the reference. The page says at once that the number is on its way."""
        before = self.page.locator(".reference .mono")
        last = before.inner_text() if before.count() else None
        self.page.get_by_role("button", name=re.compile("^Order for")).click()
        expect(before).not_to_have_text(last or "-", timeout=DEADLINE_MS)
        return self.reference

    def has_number(self) -> str:
        """Waits for the number of the latest order, without touching the page. The ERP numbers what it rejects, too, which
        it does with one order in 25."""
        expect(self.number).to_have_text(NUMBER, timeout=DEADLINE_MS)
        return self.number.inner_text()
