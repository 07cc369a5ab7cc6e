"""The pages of the dashboard in a real browser, at a hub with work: what an operator sees and does there, with mouse and
with keys; what is shown is true; what comes from outside is text."""

from __future__ import annotations

import itertools
import os
import re
import time
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from harness.amqp import channel, publish
from harness.browser import Visit, add_person
from harness.events import manifest, parcel
from harness.hub import Hub
from harness.load import MANIFESTS, Load
from harness.wait import eventually

PATHS = ("/", "/queues", "/queues?hub=yes", "/events?range=all", "/dead-letters", "/adapters")
ONCE = "retry = { schedule = [] }"
WORKING = {**MANIFESTS, "desk": manifest("desk", subscribes=("desk.asked.v1",), more=ONCE)}
ATTACK = '<img src=x onerror="window.hacked = true">'
DEADLINE_S = 60
STORED = int(os.environ.get("CROSSDOCK_TEST_STORED", "1000"))
STORED_DEADLINE_S = 900


@pytest.fixture(scope="module")
def hub(shared_halls, broker) -> Hub:
    """One adapter that works, and one that fails each event once and has no second attempt."""
    hub = shared_halls.hub(WORKING, broker=broker).start()
    shared_halls.collector(hub, "depot")
    shared_halls.collector(hub, "desk", fail_share=1.0)
    hub.must_accept(*[parcel("/anyone", subject=f"parcel/{n}") for n in range(20)])
    return hub


@pytest.fixture(scope="module")
def empty_hub(shared_halls, broker) -> Hub:
    return shared_halls.hub({}, broker=broker).start()


def asked(subject: str, **changes) -> dict:
    return parcel("/anyone", type="desk.asked.v1", subject=subject, **changes)


def dead_letter(hub: Hub, event: dict) -> str:
    """Has the desk fail this event for good; gives the dead letter's id."""
    hub.must_accept(event)

    def found() -> str | None:
        letters = hub.get("/v1/dead-letters")["dead_letters"]
        return next((letter["id"] for letter in letters if letter["event_id"] == event["id"]), None)

    return eventually("it is a dead letter", found, DEADLINE_S)


def open_page(at: Visit, path: str) -> Page:
    """Opens a page and waits until it shows what the hub sent."""
    page = at.open(path)
    expect(page.get_by_role("button", name="● Live")).to_be_visible()
    return page


def sign_in_by_hand(at: Visit, name: str, password: str) -> None:
    page = at.open("/")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("button", name="● Live")).to_be_visible()


def test_a_person_signs_in_with_keys_alone_and_out_again(hub, visit):
    name, password = add_person(hub, "viewer")
    at = visit(hub)
    page = at.open("/queues")
    expect(page.get_by_label("Name")).to_be_focused()
    at.axe()
    page.keyboard.type(name)
    at.press("Tab")
    page.keyboard.type("wrong")
    at.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("Name or password is wrong.")
    at.tab_to(page.get_by_label("Password"))
    page.keyboard.type(password)
    at.press("Enter")
    expect(page.get_by_role("heading", name="Queues")).to_be_visible()
    cookie = at.context.cookies()[0]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    at.tab_to(page.get_by_role("button", name=name))
    at.press("Enter")
    page.get_by_role("button", name="Sign out", exact=True).click()
    expect(page.get_by_label("Name")).to_be_visible()
    # What else was under way may learn that the session has ended before the answer that takes the cookie is there.
    eventually("the cookie is gone", lambda: not at.context.cookies())
    at.no_console_errors(but="401")


@pytest.mark.parametrize("path", PATHS)
def test_each_page_shows_its_work_and_axe_finds_nothing(hub, visit, path):
    dead_letter(hub, asked("for the list"))
    at = visit(hub)
    at.sign_in()
    page = open_page(at, path)
    expect(page.locator("tbody tr, .numbers").first).to_be_visible()
    at.axe()
    at.no_console_errors()


def test_each_page_with_a_large_record_works_and_axe_finds_nothing(halls, broker, visit):
    """50,000 events by hand: CROSSDOCK_TEST_STORED=50000."""
    hub = halls.hub(WORKING, broker=broker).start()
    halls.collector(hub, "depot")
    halls.collector(hub, "desk", fail_share=1.0)
    Load(hub, STORED).start().wait(STORED_DEADLINE_S)
    hub.wait_until_balanced(STORED_DEADLINE_S)
    dead_letter(hub, asked("order-11", correlationid="order-11"))
    at = visit(hub)
    at.sign_in("operator")
    for path in (*PATHS, "/journeys/order-11", "/adapters/depot"):
        page = open_page(at, path)
        expect(page.locator("main").locator("tbody tr, .numbers, .facts, .verdict").first).to_be_visible()
        at.axe()

    page = open_page(at, "/")
    at.press("g", "e")
    page.wait_for_url("**/events")
    expect(page.get_by_role("row").nth(20)).to_be_visible()
    at.press("j", "j", "Enter")
    expect(page.get_by_role("complementary")).to_be_visible()
    at.press("Escape")
    at.press("g", "d")
    page.wait_for_url("**/dead-letters")
    expect(page.get_by_role("row").filter(has_text="order-11")).to_contain_text("not this time")
    at.press("j", "Enter")
    expect(page.get_by_role("button", name="Redrive")).to_be_visible()
    at.press("x")
    expect(page.get_by_role("button", name="Redrive it")).to_be_focused()
    at.press("Enter")
    expect(page.get_by_role("status")).to_have_text("● Attempt 2: done.")
    at.no_console_errors()


@pytest.mark.parametrize("path", PATHS)
def test_each_page_says_why_it_is_empty(empty_hub, visit, path):
    at = visit(empty_hub)
    at.sign_in("viewer")
    page = open_page(at, path)
    teaches = page.locator("main").get_by_text(
        re.compile("Nothing|No adapter has a queue|No event has come in|There is no adapter yet|crossdock.")
    )
    expect(teaches.first).to_be_visible()
    at.axe()
    at.no_console_errors()


def test_an_operator_finds_the_failing_adapter_and_mends_its_dead_letter(hub, visit):
    event = asked("order-9", correlationid="order-9")
    identifier = dead_letter(hub, event)
    at = visit(hub)
    at.sign_in("operator")
    page = open_page(at, "/")
    line = page.get_by_role("listitem").filter(has_text=re.compile(r"desk: .* failed for good"))
    line.get_by_role("link").click()
    page.wait_for_url("**/dead-letters?adapter=desk")
    page.get_by_role("row").filter(has_text="order-9").click()
    page.wait_for_url(f"**/dead-letters/{identifier}?adapter=desk")
    at.axe()
    page.get_by_role("button", name="Redrive").click()
    expect(page.get_by_role("group", name="Redrive")).to_contain_text(
        "desk is ● live, so it is taken at once."
    )
    page.get_by_role("button", name="Redrive it").click()
    onward = page.get_by_role("link", name="Follow its journey")
    expect(onward).to_be_focused()
    expect(page.get_by_role("status")).to_have_text("● Attempt 2: done.")
    expect(page.get_by_text(re.compile("^Attempt 1 had failed: "))).to_be_visible()
    expect(page.get_by_role("complementary").get_by_role("listitem")).to_have_text(
        [re.compile("attempt 1 ■ gave up"), re.compile("attempt 2 ● done")]
    )
    at.axe()
    onward.click()
    page.wait_for_url("**/journeys/order-9")
    expect(page.get_by_text(re.compile("All is done"))).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("→ desk .*confirmed"))).to_be_visible()
    at.axe()
    at.no_console_errors()


def test_everything_goes_by_keys(hub, visit):
    event = asked("order-10", correlationid="order-10")
    dead_letter(hub, event)
    at = visit(hub)
    at.sign_in("operator")
    page = open_page(at, "/")
    at.press("g", "d")
    page.wait_for_url("**/dead-letters")
    expect(page.get_by_role("row").nth(1)).to_be_visible()
    at.press("j", "j", "k", "Enter")
    expect(page.get_by_role("button", name="Redrive")).to_be_visible()
    at.press("x")
    expect(page.get_by_role("button", name="Redrive it")).to_be_focused()
    at.press("Escape")
    expect(page.get_by_role("complementary")).to_be_hidden()
    expect(page.get_by_role("row").nth(1)).to_be_focused()
    at.press("/")
    expect(page.get_by_role("searchbox", name="Search")).to_be_focused()
    page.keyboard.type("order-10")
    at.press("Enter")
    page.wait_for_url("**/journeys/order-10")
    at.press("Control+k")
    page.keyboard.type("queues")
    at.axe(themes=("light",))
    at.press("Enter")
    page.wait_for_url("**/queues")
    at.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    at.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    at.no_console_errors()


def test_a_pasted_id_jumps_to_its_journey(hub, visit):
    event = parcel("/anyone", subject="pasted", aliases="web:P-1")
    hub.must_accept(event)
    at = visit(hub)
    at.sign_in("viewer")
    page = open_page(at, "/adapters")
    page.get_by_role("searchbox", name="Search").focus()
    page.evaluate(
        """() => {
            const data = new DataTransfer();
            data.setData('text', 'web:P-1');
            document.activeElement.dispatchEvent(
                new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true }));
        }"""
    )
    page.wait_for_url("**/journeys/web%3AP-1")
    expect(page.get_by_role("heading", name="Journey of web:P-1")).to_be_visible()
    page.goto(f"{hub.url}/journeys/nobody-knows-it")
    expect(page.get_by_text("Nothing is known under “nobody-knows-it”.")).to_be_visible()


def test_a_viewer_sees_why_nothing_can_be_redriven(hub, visit):
    identifier = dead_letter(hub, asked("order-11"))
    at = visit(hub)
    at.sign_in("viewer")
    page = open_page(at, f"/dead-letters/{identifier}")
    expect(page.get_by_role("button", name="Redrive")).to_be_disabled()
    expect(page.get_by_text("Needs the role operator.")).to_be_visible()


def test_what_comes_from_outside_is_text(hub, visit):
    event = asked(ATTACK, correlationid=f"c{ATTACK}", aliases="web:xss", data={"note": ATTACK, ATTACK: 1})
    identifier = dead_letter(hub, event)
    at = visit(hub)
    at.sign_in("operator")
    journey = f"/journeys/{quote(event['id'])}"
    for path in ("/", "/events?range=all", f"/dead-letters/{identifier}", "/dead-letters", journey):
        page = open_page(at, path)
        if path != "/":
            expect(page.get_by_text(re.compile(r"<img|onerror")).first).to_be_visible()
        assert page.evaluate("window.hacked") is None, path
        assert page.locator("main img, aside img").count() == 0, path
    at.no_console_errors()


def test_new_events_come_by_themselves_and_move_nothing_under_the_pointer(hub, visit):
    at = visit(hub)
    at.sign_in("viewer")
    page = open_page(at, "/events?subject=moving&range=all")
    expect(page.get_by_text("No event fits these filters")).to_be_visible()
    hub.must_accept(parcel("/anyone", subject="moving"))
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(1)
    rows.first.hover()
    hub.must_accept(parcel("/anyone", subject="moving"))
    expect(page.get_by_role("button", name="1 new event")).to_be_visible()
    expect(rows).to_have_count(1)
    page.get_by_role("button", name="1 new event").click()
    expect(rows).to_have_count(2)
    page.get_by_role("button", name="● Live").click()
    expect(page.get_by_role("button", name=re.compile("Paused"))).to_be_visible()
    at.no_console_errors()


def test_what_the_pages_say_is_what_rabbitmq_and_the_record_say(halls, broker, visit):
    hub = halls.hub(
        {**MANIFESTS, "idle": manifest("idle", subscribes=("parcel.scanned.v1",))}, broker=broker
    ).start()
    halls.collector(hub, "depot")
    at = visit(hub)
    at.sign_in("viewer")
    page = open_page(at, "/queues")
    load = Load(hub, 1_000).start()
    load.wait(DEADLINE_S)
    eventually("depot is done", lambda: hub.adapter_ledger("depot")["confirmed"] == 1_000, DEADLINE_S)

    def cells(name: str) -> list[str]:
        return page.get_by_role("row").filter(has_text=name).get_by_role("cell").all_inner_texts()

    def is_told() -> bool:
        waiting = hub.broker.api("GET", f"/queues/{quote(hub.vhost, safe='')}/crossdock.adapter.idle").json()
        return cells("crossdock.adapter.idle")[2] == f"{waiting.get('messages_ready', 0):,}" == "1,000"

    eventually("the page has the depth that RabbitMQ has", is_told, DEADLINE_S)
    page.goto(f"{hub.url}/adapters")
    ledger = {line["adapter"]: line for line in hub.ledger()["adapters"]}
    expect(page.get_by_role("row").filter(has_text="depot")).to_be_visible()
    assert cells("idle")[3] == f"{ledger['idle']['in_flight']:,}" == "1,000"
    assert cells("depot")[3] == f"{ledger['depot']['in_flight']:,}" == "0"
    page.goto(f"{hub.url}/adapters/depot")
    confirmed = page.locator("dt", has_text="confirmed").locator("xpath=following-sibling::dd[1]")
    expect(confirmed).to_have_text(f"{ledger['depot']['confirmed']:,}")
    page.goto(f"{hub.url}/events?range=24h")
    expect(page.locator("figcaption")).to_contain_text("1,000 events")
    expect(page.locator("tbody tr")).to_have_count(50)
    page.get_by_role("button", name="Older events").click()
    expect(page.locator("tbody tr")).to_have_count(100)


def test_without_rabbitmq_the_last_figures_stay_and_say_so(halls, visit):
    hub = halls.hub(WORKING, broker=halls.broker().start()).start()
    hub.must_accept(parcel("/anyone", subject="before"))
    at = visit(hub)
    at.sign_in("viewer")
    page = open_page(at, "/")
    expect(page.get_by_text("/anyone")).to_be_visible()
    hub.broker.kill()
    attention = page.get_by_role("region", name="Needs attention")
    expect(attention.get_by_text(re.compile("RabbitMQ|rabbitmq")).first).to_be_visible(
        timeout=DEADLINE_S * 1000
    )
    expect(page.get_by_text("/anyone")).to_be_visible()
    at.axe()
    page.goto(f"{hub.url}/events?range=all")
    expect(page.locator("tbody tr")).to_have_count(1)
    hub.broker.start()
    page.goto(hub.url)
    eventually(
        "the page says that RabbitMQ is back",
        lambda: "RabbitMQ" not in attention.inner_text(),
        DEADLINE_S,
    )


def test_a_hub_that_is_gone_is_said_with_the_age_of_what_is_shown(halls, broker, visit):
    hub = halls.hub(WORKING, broker=broker).start()
    at = visit(hub)
    at.sign_in("viewer")
    page = open_page(at, "/adapters")
    expect(page.get_by_role("row").filter(has_text="depot")).to_be_visible()
    hub.kill()
    expect(page.get_by_role("button", name=re.compile("No connection"))).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="depot")).to_be_visible()
    hub.start()
    expect(page.get_by_role("button", name="● Live")).to_be_visible(timeout=DEADLINE_S * 1000)


def test_a_session_that_ends_elsewhere_leads_to_the_sign_in_page(hub, visit):
    at, other = visit(hub), visit(hub)
    name, password = add_person(hub, "viewer")
    for one in (at, other):
        sign_in_by_hand(one, name, password)
    other.page.get_by_role("button", name=name).click()
    began = time.monotonic()
    other.page.get_by_role("button", name="Sign out everywhere").click()
    expect(at.page.get_by_label("Name")).to_be_visible(timeout=DEADLINE_S * 1000)
    assert time.monotonic() - began < 20


def test_a_person_changes_their_password_with_keys_alone(hub, visit):
    at, other = visit(hub), visit(hub)
    name, password = add_person(hub, "viewer")
    new = "staple in the stable"
    for one in (at, other):
        sign_in_by_hand(one, name, password)
    page = at.page
    at.tab_to(page.get_by_role("button", name=name))
    at.press("Enter")
    at.tab_to(page.get_by_role("link", name="Account and password"))
    at.press("Enter")
    page.wait_for_url("**/account")
    expect(page.get_by_role("heading", name="Account")).to_be_visible()
    at.axe()

    def fill(current: str, wanted: str, again: str) -> None:
        for label, text in (
            ("Current password", current),
            ("New password", wanted),
            ("New password again", again),
        ):
            field = page.get_by_label(label, exact=True)
            at.tab_to(field)
            field.select_text()
            page.keyboard.type(text)
        at.press("Enter")

    trouble = page.get_by_role("region", name="Change the password").get_by_role("alert")
    fill(password, new, new + "!")
    expect(trouble).to_have_text("The two new passwords differ.")
    fill("a guess of twelve", new, new)
    expect(trouble).to_have_text("The current password is another.")
    at.axe()
    fill(password, new, new)
    expect(page.get_by_role("status")).to_have_text(
        "The password is changed; your other sessions have ended."
    )
    expect(other.page.get_by_label("Name")).to_be_visible(timeout=DEADLINE_S * 1000)
    sign_in_by_hand(other, name, new)
    at.tab_to(page.get_by_role("button", name="Sign out everywhere"))
    at.press("Enter")
    for one in (at, other):
        expect(one.page.get_by_label("Name")).to_be_visible(timeout=DEADLINE_S * 1000)
    at.no_console_errors(but="40[13]")


@pytest.mark.parametrize("ahead_s", [-600, 1_200])
def test_ages_and_ranges_go_by_the_clock_of_the_hub(hub, visit, ahead_s):
    event = parcel("/anyone", subject=f"clock/{ahead_s}")
    hub.must_accept(event)
    at = visit(hub)
    at.sign_in("viewer")
    at.page.clock.install(time=time.time() + ahead_s)
    page = open_page(at, f"/events?range=15m&subject=clock/{ahead_s}")
    assert abs(page.evaluate("Date.now()") / 1000 - time.time() - ahead_s) < 60
    expect(page.locator("tbody tr")).to_have_count(1)
    page = open_page(at, "/adapters")
    age = page.get_by_role("row").filter(has_text="depot").locator("time").first
    expect(age).to_have_text(re.compile(r"^(now|\d+ s|\d m( \d+ s)?)"))
    assert "No connection" not in page.get_by_role("banner").inner_text()
    at.no_console_errors()


def test_what_an_adapter_without_receipts_took_is_called_so_in_list_and_journey(halls, broker, visit):
    hub = halls.hub(WORKING, broker=broker).start()
    halls.collector(hub, "depot", receipts=False)
    event = parcel("/anyone", subject="silent", correlationid="silent-1")
    hub.must_accept(event)

    def states(path: str) -> list[str]:
        found = hub.get(path)
        events = found.get("events", [found])
        return [line["state"] for one in events for line in one["deliveries"] if line["adapter"] == "depot"]

    paths = ("/v1/journeys/silent-1", "/v1/events?subject=silent", f"/v1/events/{event['id']}")
    for path in paths:
        eventually(f"{path} says it was taken", lambda path=path: states(path) == ["taken"], DEADLINE_S)
    at = visit(hub)
    at.sign_in("viewer")
    page = open_page(at, "/events?range=all")
    expect(page.locator("tbody tr")).to_contain_text("taken")
    page.goto(f"{hub.url}/journeys/silent-1")
    expect(page.get_by_role("button", name=re.compile("→ depot .*taken"))).to_be_visible()
    expect(page.get_by_text(re.compile("^Nothing waits; depot took it"))).to_be_visible()


def test_each_line_of_attention_has_a_way_on(halls, broker, visit):
    hub = halls.hub(WORKING, broker=broker).start()
    depot = hub.credentials("depot")["CROSSDOCK_AMQP_URL"]
    with channel(depot) as own:
        publish(own, depot, parcel("/depot", specversion="0.3"))
    eventually("it is in quarantine", lambda: hub.get("/v1/quarantine")["quarantined"], DEADLINE_S)
    hub.write_manifest("office", manifest("office"))
    hub.stop()
    hub.start()
    at = visit(hub)
    at.sign_in("viewer")
    page = open_page(at, "/")
    attention = page.get_by_role("region", name="Needs attention")
    files = attention.get_by_role("listitem").filter(has_text="The configuration files on")
    expect(files.locator("code")).to_have_text("crossdock apply")
    at.context.grant_permissions(["clipboard-read", "clipboard-write"])
    files.get_by_role("button", name="Copy").click()
    assert page.evaluate("navigator.clipboard.readText()") == "crossdock apply"
    at.axe()
    attention.get_by_role("link", name="See the messages").click()
    page.wait_for_url("**/v1/quarantine")
    assert '"quarantined"' in page.inner_text("body")


def test_a_redrive_on_the_journey_shows_what_came_of_it(hub, visit):
    dead_letter(hub, asked("order-12", correlationid="order-12"))
    at = visit(hub)
    at.sign_in("operator")
    page = open_page(at, "/journeys/order-12")
    page.get_by_role("button", name="Redrive").click()
    page.get_by_role("button", name="Redrive it").click()
    expect(page.get_by_role("button", name=re.compile("→ desk .*confirmed"))).to_be_visible(timeout=20_000)
    expect(page.get_by_role("status")).to_have_text("Handed over again, as attempt 2.")
    at.no_console_errors()


def test_an_unknown_journey_is_asked_for_again_only_as_events_come(hub, visit):
    at = visit(hub)
    at.sign_in("viewer")
    asked_for = []
    at.page.on(
        "request", lambda request: "/v1/journeys/" in request.url and asked_for.append(time.monotonic())
    )
    page = open_page(at, "/journeys/later-1")
    expect(page.get_by_text("Nothing is known under “later-1”.")).to_be_visible()
    hub.must_accept(parcel("/anyone", subject="later", correlationid="later-1"))
    expect(page.get_by_text(re.compile(r"^began .*\d\d:\d\d:\d\d UTC$"))).to_be_visible(
        timeout=DEADLINE_S * 1000
    )
    apart = [later - one for one, later in itertools.pairwise(asked_for)]
    assert min(apart) > 4, apart


def test_an_adapter_with_dead_letters_says_so_wherever_it_stands(hub, visit):
    dead_letter(hub, asked("said everywhere"))
    at = visit(hub)
    at.sign_in("viewer")
    page = open_page(at, "/")
    expect(page.get_by_role("link", name=re.compile("[▲■] desk, (degraded|failing)"))).to_be_visible()
    page.get_by_role("link", name="Adapters", exact=False).first.click()
    row = page.get_by_role("row").filter(has_text="desk")
    expect(row).to_contain_text(re.compile("[▲■] (degraded|failing)"))
    row.get_by_role("cell").nth(2).click()
    page.wait_for_url("**/adapters/desk")
    attention = page.get_by_role("region", name="Needs attention")
    expect(attention).to_contain_text("failed for good")
    at.axe()
    attention.get_by_role("link", name="Open dead letters").click()
    page.wait_for_url("**/dead-letters?adapter=desk")
    at.no_console_errors()
