"""The demo's shop in a real browser: live stock, an order whose number comes by itself, and that nothing of it is lost by
a reload, a second tab, a dropped connection or a hub that dies; and that nobody else sees it."""

from __future__ import annotations

import re
from functools import partial

import pytest
import requests
from playwright.sync_api import expect

from harness.browser import THEMES, scripts
from harness.events import event
from harness.hub import Hub
from harness.shop import DEADLINE_MS, EXPECTED, NUMBER, PATH, Shop, with_demo
from harness.wait import eventually

SKU = "MUG-330"
PHONE = {"width": 390, "height": 844}
SCRIPTS_AT_ONCE_MAX_BYTES = 60_000


@pytest.fixture(scope="module")
def hub(shared_halls, broker) -> Hub:
    return with_demo(shared_halls.hub({}, broker=broker))


def numbers(hub: Hub, reference: str) -> list[str]:
    """What the ERP called the order, as the record has it."""
    found = hub.get("/v1/events", type="order.numbered.v1", correlation=f"order-{reference}")["events"]
    return [view["event"]["data"]["number"] for view in found]


def test_an_order_gets_its_number_by_itself(hub, visit):
    shop = Shop(visit(hub)).enter().is_live()
    requested = []
    shop.page.on("request", lambda request: requested.append((request.method, request.url)))
    reference = shop.order()
    number = shop.has_number()
    assert numbers(hub, reference) == [number]
    eventually("the stock follows", lambda: (shop.on_hand() or 99) < 40, 30)
    eventually(
        "it is the hub's", lambda: shop.on_hand() == hub.get(f"/v1/state/stock/LDN1/{SKU}")["data"]["on_hand"]
    )
    expect(shop.page.locator("li.done", has_text="Numbered")).to_be_visible()
    asked = [method for method, url in requested if f"/v1/state/state/order/{reference}" in url]
    assert len(asked) <= 1, "nothing is asked again and again"
    assert [method for method, _ in requested].count("PUT") == 1
    shop.visit.no_console_errors(but=EXPECTED)


def test_a_reload_and_a_second_tab_show_it_and_follow(hub, visit):
    at = visit(hub)
    shop = Shop(at).enter().is_live()
    first = shop.order()
    number = shop.has_number()
    shop.enter()
    assert (shop.has_number(), shop.reference) == (number, first)
    other = Shop(at, at.context.new_page()).enter().is_live()
    assert other.has_number() == number
    second = shop.order()
    assert second != first
    expect(other.page.locator(".reference .mono")).to_have_text(second, timeout=DEADLINE_MS)
    later = shop.has_number()
    expect(other.number).to_have_text(later, timeout=DEADLINE_MS)
    expect(other.page.get_by_role("main").get_by_text(number)).to_be_visible()
    other.enter()
    assert other.has_number() == later


def test_a_number_that_came_while_the_connection_was_down_is_there_afterwards(hub, visit):
    shop = Shop(visit(hub)).enter().is_live()
    shop.cut()
    reference = shop.order()
    expect(shop.page.get_by_role("heading", name="Order placed. Your number is on its way")).to_be_visible()
    number = eventually("the ERP has numbered it", lambda: numbers(hub, reference), 30)[0]
    expect(shop.number).to_have_count(0)
    shop.mend()
    shop.is_live()
    expect(shop.number).to_have_text(number, timeout=DEADLINE_MS)
    assert shop.connections == 2


def test_it_outlives_a_hub_that_is_killed(halls, broker, visit):
    hub = with_demo(halls.hub({}, broker=broker))
    shop = Shop(visit(hub)).enter().is_live()
    shop.order()
    number = shop.has_number()
    eventually("stock is known", shop.on_hand, 60)
    hub.kill()
    expect(shop.page.get_by_text("Reconnecting")).to_be_visible(timeout=DEADLINE_MS)
    expect(shop.number).to_have_text(number)
    assert shop.on_hand() is not None
    expect(shop.page.get_by_text("when we last heard")).to_be_visible()
    shop.page.get_by_role("button", name=re.compile("^Order for")).click()
    expect(shop.page.get_by_text("Nothing is ordered twice if you try again")).to_be_visible()
    hub.start("--demo")
    shop.is_live(90_000)
    second = shop.order()
    later = shop.has_number()
    assert later != number
    assert numbers(hub, second) == [later]
    expect(shop.page.get_by_role("main").get_by_text(number)).to_be_visible()


def test_another_browser_never_sees_it(hub, visit):
    mine, theirs = (Shop(visit(hub)).enter().is_live() for _ in range(2))
    reference = mine.order()
    number = mine.has_number()
    theirs.order()
    assert theirs.has_number() != number
    text = theirs.page.locator("body").inner_text()
    assert number not in text and reference not in text
    # Nor by asking for it: with the token that it has, or by ordering under the other's reference.
    session = theirs.page.evaluate(
        """async () => (await fetch('/shop/api/session', { method: 'POST' })).json()"""
    )
    assert reference not in session["orders"]
    answer = requests.get(
        f"{hub.url}/v1/state/state/order/{reference}",
        headers={"Authorization": f"Bearer {session['token']}"},
        timeout=30,
    )
    assert answer.status_code == 403
    status = theirs.page.evaluate(
        """async (reference) => (await fetch(`/shop/api/orders/${reference}`, {
            method: 'PUT',
            headers: { 'content-type': 'application/json' },
            body: JSON.stringify({ sku: 'MUG-330', quantity: 1 }),
        })).status""",
        reference,
    )
    assert status == 404


def test_an_order_that_is_asked_for_twice_is_one(hub, visit):
    shop = Shop(visit(hub)).enter().is_live()
    reference = shop.order()
    again = """async (reference) => (await fetch(`/shop/api/orders/${reference}`, {
        method: 'PUT',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ sku: 'MUG-330', quantity: 1 }),
    })).status"""
    assert shop.page.evaluate(again, reference) == 202
    number = shop.has_number()
    # In the order of its key, so that it is behind us when the stock is.
    assert numbers(hub, reference) == [number]
    placed = hub.get("/v1/events", type="order.placed.v1", subject=reference)["events"]
    assert len(placed) == 1


def test_an_order_that_is_rejected_gives_its_goods_back_once(hub):
    customer = requests.Session()
    reference = customer.post(f"{hub.url}/shop/api/session", timeout=30).json()["orders"][0]
    ordered = {"sku": SKU, "quantity": 2}
    assert customer.put(f"{hub.url}/shop/api/orders/{reference}", json=ordered, timeout=30).status_code == 202

    def said(event_type: str) -> list[dict]:
        found = hub.get("/v1/events", type=event_type, correlation=f"order-{reference}")["events"]
        return [view["event"] for view in found]

    def the_shop_has(event_id: str) -> bool:
        deliveries = hub.get(f"/v1/events/{event_id}")["deliveries"]
        return [one["state"] for one in deliveries if one["adapter"] == "shop"] == ["confirmed"]

    def moved() -> list[int]:
        return sorted(one["data"]["delta"] for one in said("stock.adjusted.v1"))

    eventually("it was taken", lambda: moved()[:1] == [-2] and the_shop_has(f"{reference}-stock"), 30)
    # Whatever the ERP decides, and whenever, the first whom the shop hears now that it knows what was taken gives it back.
    for source in ["/bank", "/desk"]:
        data = {"order": reference, "reason": "payment_failed"}
        rejected = event("order.rejected.v1", source, subject=reference, data=data)
        hub.must_accept(rejected)
        eventually("the shop knows", partial(the_shop_has, rejected["id"]), 30)
        eventually("it is back", lambda: moved() == [-2, 2], 30)


def test_its_backend_answers_behind_the_same_guards_as_the_hub(hub):
    for path in ["/shop/api/session", "/shop/api/nothing"]:
        answer = requests.post(hub.url + path, timeout=30)
        api = requests.post(f"{hub.url}/v1/nothing", timeout=30)
        for name in ["Content-Security-Policy", "X-Content-Type-Options", "X-Frame-Options", "Cache-Control"]:
            assert answer.headers[name] == api.headers[name], (path, name)
    counted = 'crossdock_http_requests_total{method="POST",route="/shop/api/session",status="200"}'
    eventually("it is counted", lambda: counted in hub.request("GET", "/metrics").text)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", "/shop/api/orders/WEB-0000000000000000-01", {"sku": SKU, "quantity": 1}, 404),
        ("GET", "/shop/api/orders/WEB-0000000000000000-01", None, 405),
        ("PUT", "/shop/api/orders", {"sku": SKU, "quantity": 1}, 404),
        ("POST", "/shop/api/nothing", {}, 404),
    ],
)
def test_the_backend_refuses_what_is_not_a_browsers_own(hub, method, path, body, status):
    assert requests.request(method, hub.url + path, json=body, timeout=30).status_code == status


def test_what_cannot_be_ordered_is_named(hub):
    customer = requests.Session()
    orders = customer.post(f"{hub.url}/shop/api/session", timeout=30).json()["orders"]
    for body in [
        {"sku": "BOAT", "quantity": 1},
        {"sku": SKU, "quantity": 0},
        {"sku": SKU, "quantity": 7},
        {"sku": SKU},
        [],
    ]:
        answer = customer.put(f"{hub.url}/shop/api/orders/{orders[0]}", json=body, timeout=30)
        assert answer.status_code == 422, body
        assert answer.json()["detail"]
    assert not hub.get("/v1/events", subject=orders[0])["events"]


def test_without_the_demo_there_is_no_shop(halls, broker):
    hub = halls.hub({}, broker=broker).start()
    for method, path in [("GET", PATH), ("POST", "/shop/api/session")]:
        assert requests.request(method, hub.url + path, timeout=30).status_code == 404


def test_a_start_without_the_demo_ends_its_key(halls, broker):
    hub = with_demo(halls.hub({}, broker=broker))

    def keys() -> list[bool]:
        listed = hub.get("/v1/api-keys")["api_keys"]
        return [key["revoked"] is not None for key in listed if key["name"] == "demo-shop"]

    assert keys() == [False]
    hub.stop()
    hub.start()
    assert keys() == [True]
    hub.stop()
    hub.start("--demo")
    assert sorted(keys()) == [False, True]
    assert requests.post(f"{hub.url}/shop/api/session", timeout=30).status_code == 200


def test_a_demo_that_others_reach_is_warned_of(halls, broker):
    hub = halls.hub({}, broker=broker)
    hub.environment["CROSSDOCK_HTTP__PUBLIC_URL"] = "https://hub.example.com"
    hub.start("--demo")
    assert "the demo's shop is open to everybody who reaches this hub" in hub.log()


def test_it_loads_little_at_once_and_the_rest_when_it_connects(hub):
    sizes = scripts(hub, PATH)
    at_once = {path: size for path, size in sizes.items() if "mqtt" not in path}
    assert sum(at_once.values()) <= SCRIPTS_AT_ONCE_MAX_BYTES, sizes
    assert len(sizes) > len(at_once), "MQTT.js is a script of its own"


@pytest.mark.parametrize("window", [None, PHONE], ids=["desk", "phone"])
def test_anyone_can_read_it_in_both_themes_at_any_width(hub, visit, window):
    at = visit(hub)
    if window:
        at.page.set_viewport_size(window)
    shop = Shop(at).enter().is_live()
    at.axe()
    shop.order()
    shop.has_number()
    at.axe(themes=THEMES)
    width = at.page.evaluate("document.documentElement.scrollWidth")
    assert width <= at.page.viewport_size["width"]
    shop.page.get_by_role("button", name="Drop the connection").click()
    expect(shop.page.get_by_text("Reconnecting")).to_be_visible()
    at.axe()
    assert NUMBER.fullmatch(shop.number.inner_text())


def test_it_can_be_used_with_keys_alone(hub, visit):
    at = visit(hub)
    shop = Shop(at).enter().is_live()
    at.tab_to(at.page.get_by_role("button", name="One more"))
    at.press("Enter")
    at.tab_to(at.page.get_by_role("button", name="Order for £23.98"))
    at.press("Enter")
    shop.has_number()
    at.tab_to(at.page.get_by_role("button", name="Drop the connection"))
