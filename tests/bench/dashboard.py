"""How quick and how lean the dashboard is, in a real browser at a hub with a large record: the first view on a processor
slowed six times, the search of events with everything stored, and the page's memory after few and after many live
updates. Prints what it saw as JSON, beside the limits; it judges nothing.

    tests/run bench dashboard --stored 50000 --updates 10000
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from harness.broker import Broker
from harness.browser import Browser, Visit, scripts
from harness.collector import Collector
from harness.events import parcel
from harness.hub import Hub
from harness.load import MANIFESTS, Load

VIEWS = 5
SLOWED = 6
FEW = 1_000
# Pages of older events that are fetched one after the other, and how often each search is made.
OLDER_PAGES = 10
SEARCHES = 3
# Each of them has to find something in what the load has sent.
FILTERS = {
    "none": "",
    "type": "&type=parcel.*.v1",
    "source": "&source=/web",
    "subject": "&subject=web-0-7",
    "adapter": "&adapter=depot",
    "source_and_subject": "&source=/till&subject=till-3-7",
}
LOAD_DEADLINE_S = 900
LIMITS = {"first_view_ms": 1_000, "heap_ratio": 1.1, "scripts_gzip_bytes": 150_000}


def first_views(browser: Browser, hub: Hub, path: str, shown: str) -> list[float]:
    """Signed in, with nothing kept from before: milliseconds, sorted."""
    taken = []
    for _ in range(VIEWS):
        at = browser.visit(hub)
        at.sign_in("viewer")
        with at.slowed(SLOWED):
            taken.append(round(at.first_view_ms(path, shown)))
        at.end()
    return sorted(taken)


def searches(at: Visit) -> dict[str, float]:
    """The events page with each filter over the last week, histogram and rows: milliseconds from the start of the
    navigation, medians, on a processor that is not slowed."""
    shown = "main:has(figure rect[height]:not([height='0'])) tbody tr"
    taken = {}
    for name, query in FILTERS.items():
        views = [at.first_view_ms(f"/events?range=7d{query}", shown) for _ in range(SEARCHES)]
        taken[name] = round(statistics.median(views))
    return taken


def older_pages(at: Visit) -> list[int]:
    """Milliseconds from the press on "Older events" until its rows stand there, page after page."""
    page = at.open("/events?range=all")
    rows = page.locator("tbody tr")
    rows.first.wait_for()
    taken = []
    for _ in range(OLDER_PAGES):
        before = rows.count()
        began = time.monotonic()
        page.get_by_role("button", name="Older events").click()
        rows.nth(before).wait_for()
        taken.append(round((time.monotonic() - began) * 1000))
    return taken


def heap_after(at: Visit, hub: Hub, updates: int) -> int:
    """Bytes once so many more events were shown to the page as they were accepted."""
    Load(hub, updates).start().wait(LOAD_DEADLINE_S)
    last = parcel("/anyone", subject=f"last-of-{updates}")
    hub.must_accept(last)
    at.page.locator("tbody tr", has_text=last["subject"]).wait_for(timeout=LOAD_DEADLINE_S * 1000)
    return at.heap_bytes()


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument(
        "--stored", type=int, default=50_000, help="events in the record before the first view"
    )
    options.add_argument("--updates", type=int, default=10_000, help="events accepted while a page is open")
    given = options.parse_args()

    broker = Broker(Path(tempfile.mkdtemp(prefix="crossdock-bench-"))).start()
    hub = Hub(MANIFESTS, broker=broker).start()
    depot = Collector(hub, "depot").start()
    browser = Browser()
    try:
        began = time.monotonic()
        Load(hub, given.stored).start().wait(LOAD_DEADLINE_S)
        hub.wait_until_balanced(LOAD_DEADLINE_S)
        seen = {"stored": given.stored, "stored_in_s": round(time.monotonic() - began, 1), "limits": LIMITS}
        seen["scripts_gzip_bytes"] = sum(scripts(hub).values())
        for name, path, shown in [
            ("overview", "/", ".numbers"),
            ("queues", "/queues", "tbody tr"),
            ("events", "/events?range=all", "tbody tr"),
            ("adapters", "/adapters", "tbody tr"),
        ]:
            views = first_views(browser, hub, path, shown)
            seen[f"first_view_ms_{name}"] = {"median": statistics.median(views), "all": views}
            print(f"{name}: {views} ms", file=sys.stderr)
        at = browser.visit(hub)
        at.sign_in("viewer")
        seen["search_ms"] = searches(at)
        seen["older_page_ms"] = older_pages(at)
        at.end()
        at = browser.visit(hub)
        at.sign_in("viewer")
        at.open("/events?range=all").wait_for_selector("tbody tr")
        few = heap_after(at, hub, FEW)
        many = heap_after(at, hub, given.updates - FEW)
        seen["heap_bytes"] = {f"{FEW}": few, f"{given.updates}": many, "ratio": round(many / few, 3)}
        print(json.dumps(seen, indent=2))
    finally:
        browser.end()
        depot.kill()
        hub.end()
        broker.kill()


if __name__ == "__main__":
    main()
