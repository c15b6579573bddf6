"""The dashboard in a real browser: against a double of the API, and through the whole stack."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, StorageState, expect

from tests.e2e import chromium
from tests.stack.running import RunningStack
from tests.unit.dashboard.fake_api import FakeApi
from tests.unit.dashboard.fake_server import serve
from tests.unit.dashboard.fake_shapes import PASSWORD

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium.browser() as started:
        yield started


@pytest.fixture(scope="module")
def double() -> Iterator[tuple[FakeApi, str]]:
    api = FakeApi(interval_s=1.0)
    with serve(api, batch_every_s=0.5) as api_url, chromium.dashboard(api_url) as url:
        yield api, url


@pytest.fixture
def api(double: tuple[FakeApi, str]) -> FakeApi:
    return double[0]


@pytest.fixture
def url(double: tuple[FakeApi, str]) -> str:
    return double[1]


@pytest.fixture
def window(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1440, "height": 900}, timezone_id="Europe/Berlin")
    yield context
    context.close()


@pytest.fixture(scope="module")
def signed_in(browser: Browser, double: tuple[FakeApi, str]) -> StorageState:
    """What a browser keeps of an administrator who has signed in."""
    context = browser.new_context()
    chromium.sign_in(context.new_page(), double[1], "admin@example.org", PASSWORD)
    kept = context.storage_state()
    context.close()
    return kept


@pytest.fixture
def page(browser: Browser, signed_in: StorageState) -> Iterator[Page]:
    """An empty page of somebody who is signed in."""
    context = browser.new_context(
        viewport={"width": 1440, "height": 900}, timezone_id="Europe/Berlin", storage_state=signed_in
    )
    context.set_default_timeout(chromium.PATIENCE_MS)
    yield context.new_page()
    context.close()


@pytest.fixture
def fleet(page: Page, url: str) -> Page:
    """The same, with the fleet on it."""
    page.goto(url)
    expect(page.get_by_role("heading", name="Fleet")).to_be_visible(timeout=chromium.PATIENCE_MS)
    return page


def test_a_reload_stays_signed_in_and_no_script_can_read_how(fleet: Page, url: str) -> None:
    cookie = next(c for c in fleet.context.cookies() if c["name"] == "farwatch_session")
    assert cookie["httpOnly"] is True
    assert cookie["sameSite"] == "Strict"
    assert "farwatch_session" not in fleet.evaluate("document.cookie")
    fleet.reload()
    expect(fleet.get_by_role("heading", name="Fleet")).to_be_visible()
    assert "acc_" not in fleet.content()
    assert fleet.evaluate("JSON.stringify({...localStorage, ...sessionStorage})").count("acc_") == 0


def test_a_deep_link_survives_signing_in(window: BrowserContext, url: str) -> None:
    page = window.new_page()
    chromium.sign_in(page, f"{url}/host?id=host_003&range=1h", "viewer@example.org", PASSWORD)
    expect(page.get_by_role("heading", name="db-primary")).to_be_visible()
    assert "range=1h" in page.url


def test_a_link_to_a_page_that_takes_another_role_says_so(window: BrowserContext, url: str) -> None:
    page = window.new_page()
    chromium.sign_in(page, f"{url}/audit", "viewer@example.org", PASSWORD)
    expect(page.get_by_text("Your role does not include this page")).to_be_visible(
        timeout=chromium.PATIENCE_MS
    )
    expect(page.get_by_role("heading", name="Audit log")).to_be_visible()
    expect(page.get_by_role("link", name="Rules")).to_be_visible()
    expect(page.get_by_role("link", name="Audit log")).to_have_count(0)


def test_the_chart_moves_by_push_without_a_reload_or_a_request(page: Page, url: str, api: FakeApi) -> None:
    page.goto(f"{url}/host?id=host_002")
    charts = chromium.charts(page)
    loads: list[str] = []
    page.on("framenavigated", lambda frame: loads.append(frame.url))
    first = charts.get_attribute("data-drawn") or "0"
    requests = len([r for r in api.requests if r[1].endswith("/range")])
    line = page.locator(".js-plotly-plot .scatterlayer path.js-line").first
    shape = line.get_attribute("d")
    page.wait_for_function(
        "(old) => Number(document.querySelector('.fw-charts').dataset.drawn) > Number(old)", arg=first
    )
    page.wait_for_function(
        "(old) => document.querySelector('.js-plotly-plot .scatterlayer path.js-line').getAttribute('d') !== old",
        arg=shape,
    )
    assert loads == []
    assert len([r for r in api.requests if r[1].endswith("/range")]) == requests


def test_news_waits_for_a_page_that_is_still_loading(browser: Browser, url: str, api: FakeApi) -> None:
    context = browser.new_context()
    page = context.new_page()
    sent: list[str | bytes] = []

    def keep(frame: str | bytes) -> None:
        sent.append(frame)

    page.on("websocket", lambda socket: socket.on("framesent", keep) if "_stcore" in socket.url else None)
    chromium.sign_in(page, url, "admin@example.org", PASSWORD)
    page.locator(".fw-pulse[data-state=connected]").wait_for(timeout=chromium.PATIENCE_MS)
    api.held.add("/api/v1/anomalies")
    try:
        page.get_by_role("link", name="Anomalies").first.click()
        _wait(page, lambda: "/api/v1/anomalies" in api.waiting)
        before = len(sent)
        api.push("incidents", "incident.changed", {})
        _wait(page, lambda: len(sent) > before)
    finally:
        api.held.clear()
    expect(page.get_by_role("button", name="Look").first).to_be_visible(timeout=chromium.PATIENCE_MS)
    context.close()


def _wait(page: Page, come_true: Callable[[], bool]) -> None:
    until = time.monotonic() + chromium.PATIENCE_MS / 1000
    while not come_true():
        assert time.monotonic() < until, "it did not come true in time"
        page.wait_for_timeout(20)


def test_the_chart_is_in_the_viewers_timezone(page: Page, url: str) -> None:
    page.goto(f"{url}/host?id=host_002&from=1767225600000&to=1767229200000")  # 2026-01-01, 00:00 to 01:00 UTC
    chromium.charts(page)
    ticks = page.locator(".js-plotly-plot").first.locator(".xtick text").all_text_contents()
    assert any(tick.startswith("01:") for tick in ticks), ticks


def test_a_zoom_is_kept_in_the_address_and_leads_back(page: Page, url: str) -> None:
    page.goto(f"{url}/host?id=host_002&range=1h")
    chromium.charts(page)
    plot = page.locator(".js-plotly-plot .nsewdrag").first.bounding_box()
    assert plot is not None
    middle = plot["y"] + plot["height"] / 2
    page.mouse.move(plot["x"] + plot["width"] * 0.3, middle)
    page.mouse.down()
    page.mouse.move(plot["x"] + plot["width"] * 0.6, middle, steps=8)
    page.mouse.up()
    page.wait_for_url("**from=*")
    expect(page.get_by_text("standing still")).to_be_visible()
    page.get_by_role("button", name="Back to live").click()
    expect(page.get_by_text("moving live")).to_be_visible()
    assert "from=" not in page.url


def test_a_mark_on_a_hosts_chart_opens_the_anomaly_which_can_be_called_false(
    page: Page, url: str, api: FakeApi
) -> None:
    page.goto(f"{url}/host?id=host_002&range=1h")
    chromium.charts(page)
    mark = page.locator(".js-plotly-plot .scatterlayer path.point").first.bounding_box()
    assert mark is not None
    page.mouse.click(mark["x"] + mark["width"] / 2, mark["y"] + mark["height"] / 2)
    page.wait_for_url("**/anomalies?id=anom_000")
    expect(page.get_by_role("heading", name="cpu.percent on web-3")).to_be_visible()
    page.get_by_role("button", name="False alarm").click()
    page.get_by_role("button", name="Take it back").click()
    expect(page.get_by_role("button", name="Real")).to_be_visible()
    assert api.anomalies[0]["feedback"] is None
    page.get_by_role("link", name="What other detectors say").click()
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_text("Isolation forest: 2")).to_be_visible()


def test_a_click_in_the_fleet_opens_the_host_and_the_names_of_hosts_are_only_text(
    fleet: Page, api: FakeApi
) -> None:
    api.hosts[1]["name"] = "<img src=x onerror=window.pwned=1> :red[x] ![y](http://evil.example/y.png)"
    try:
        fleet.reload()
        link = fleet.locator(".fw-open", has_text="<img src=x")
        link.click()
        fleet.wait_for_url("**/host?id=host_001")
        expect(fleet.get_by_role("heading", name="<img src=x onerror=window.pwned=1>")).to_be_visible()
        assert fleet.evaluate("window.pwned") is None
        assert fleet.locator("img[src*=evil]").count() == 0
    finally:
        api.hosts[1]["name"] = "web-2"


def test_acknowledging_shows_in_a_second_window_by_itself(browser: Browser, fleet: Page, url: str) -> None:
    other = browser.new_context(viewport={"width": 1440, "height": 900})
    try:
        second = other.new_page()
        chromium.sign_in(second, url, "viewer@example.org", PASSWORD)
        entry = second.locator(".fw-strip a", has_text="web-3")
        expect(entry).not_to_contain_text("acknowledged")
        fleet.locator(".fw-strip a", has_text="web-3").click()
        fleet.get_by_role("button", name="Acknowledge").click()
        expect(fleet.get_by_text("Acknowledged", exact=True).first).to_be_visible()
        expect(entry).to_contain_text("acknowledged by")
    finally:
        other.close()


def test_a_cut_socket_is_said_polled_around_and_repaired(fleet: Page, url: str, api: FakeApi) -> None:
    pulse = fleet.locator(".fw-pulse")
    expect(pulse).to_contain_text("Connected")
    api.refuse_sockets = True
    try:
        api.cut()
        expect(pulse).to_have_attribute("data-state", "polling")
        expect(pulse).to_contain_text("Offline, polling")
        seen = fleet.locator(".fw-fleet-box").get_attribute("data-newest")
        fleet.wait_for_function(
            "(old) => document.querySelector('.fw-fleet-box').dataset.newest !== old", arg=seen
        )
    finally:
        api.refuse_sockets = False
    expect(pulse).to_contain_text("Connected")


def test_a_phone_shows_hosts_as_cards_within_its_width(browser: Browser, url: str) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    try:
        page = context.new_page()
        chromium.sign_in(page, url, "guest@example.org", PASSWORD)
        page.locator(".fw-fleet tbody tr").first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.locator(".fw-fleet thead").is_hidden()
    finally:
        context.close()


def test_the_interval_of_the_sidebar_reaches_the_api(fleet: Page, api: FakeApi) -> None:
    fleet.get_by_text("Check interval").click()
    slider = fleet.get_by_role("slider", name="Sample every host each")
    slider.focus()
    fleet.keyboard.press("ArrowRight")
    expect(fleet.get_by_text("Agents will sample every")).to_be_visible()
    assert api.default_interval_s != 1.0


def test_a_token_is_made_shown_once_and_gone_with_the_dialog(page: Page, url: str, api: FakeApi) -> None:
    page.goto(f"{url}/tokens")
    page.get_by_role("button", name="New token").click()
    page.get_by_role("textbox", name="Name").fill("grafana")
    page.get_by_role("button", name="metrics:read").click()
    page.get_by_role("button", name="Make it").click()
    shown = page.get_by_text("shown-once")
    shown.wait_for()
    assert api.changes[-1][0] == "POST /tokens"
    assert api.changes[-1][1]["scopes"] == ["metrics:read"]
    page.get_by_role("button", name="I have it").click()
    expect(shown).to_have_count(0)
    page.reload()
    page.get_by_role("heading", name="API tokens").wait_for()
    assert "shown-once" not in page.content()


@pytest.mark.stack
def test_samples_of_this_hosts_agent_are_drawn_as_they_come(browser: Browser, stack: RunningStack) -> None:
    """How soon is measured by ``./farwatch bench live``."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    try:
        page = context.new_page()
        chromium.sign_in(page, stack.dashboard_url, *stack.admin)
        page.locator(".fw-open", has_text=socket.gethostname()).first.click()
        assert len(chromium.delays(page, 3, patience_s=150)) == 3
    finally:
        context.close()


@pytest.mark.stack
def test_the_dashboard_is_back_on_its_feet_after_a_kill(browser: Browser, stack: RunningStack) -> None:
    before = stack.pid("dashboard")
    stack.kill("dashboard")
    stack.wait_until_back("dashboard", before)
    context = browser.new_context()
    try:
        page = context.new_page()
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                page.goto(stack.dashboard_url)
                break
            except Exception:  # noqa: BLE001 - refused until the new process listens
                page.wait_for_timeout(200)
        expect(page.get_by_role("heading", name="Sign in to Farwatch")).to_be_visible()
    finally:
        context.close()
