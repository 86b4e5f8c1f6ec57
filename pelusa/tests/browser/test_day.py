"""A trader's day in a real browser: a strategy, an alarm that trades, and one that does not; and where things stand."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from pelusa.tests.browser.office import Office, Person, person
from pelusa.tests.browser.scenery import play, say

pytestmark = pytest.mark.browser

# Each width and each language, in light and in dark
WALKS = (("desktop", "en", False), ("desktop", "es", True), ("phone", "en", True), ("phone", "es", False))
# A page asks every three seconds, and a busy machine takes its time
PATIENCE = 20_000


@pytest.fixture(params=WALKS, ids=lambda walk: "-".join([*walk[:2], "dark" if walk[2] else "light"]))
def walker(request: pytest.FixtureRequest, office: Office, chromium: Browser) -> Iterator[tuple[Person, str]]:
    """Somebody who begins a day, and the name of what he will trade by."""
    width, language, is_dark = request.param
    with person(office, chromium, width, language, dark=is_dark) as somebody:
        assert ("dark" in (somebody.page.locator("html").get_attribute("class") or "").split()) is is_dark
        yield somebody, f"Day_{width}_{language}"


def alarm_page(number: int) -> str:
    return f"/admin/alarms/alarm/{number}/change/"


def create_strategy(page: Page, name: str) -> None:
    """Fill the form in by its fields' names; the long leg stacks two entries."""
    for field, value in (("name", name), ("alarm_name", name), ("ticker", "ETHUSDT.P")):
        page.fill(f"[name={field}]", value)
    page.select_option("[name=account]", index=1)
    for field in ("entry_interval", "close_interval"):
        page.select_option(f"[name=legs-0-{field}]", "5m")
    page.fill("[name=legs-0-size]", "0.01")
    page.fill("[name=legs-0-pyramiding]", "2")
    page.click("button[name=_save]")
    page.wait_for_url("**/admin/strategies/strategy/**")


def pull_kill_switch(page: Page, because: str) -> None:
    page.click(".pelusa-card a.pelusa-danger")
    page.fill("[name=reason]", because)
    page.click("button.pelusa-danger")
    page.wait_for_url("**/admin/operations/killswitch/")


def test_a_day_from_a_new_strategy_to_a_denied_alarm(office: Office, walker: tuple[Person, str]) -> None:
    somebody, name = walker
    page = somebody.page
    somebody.visit("/admin/strategies/strategy/add/")
    assert not somebody.is_too_wide()
    create_strategy(page, name)

    somebody.visit("/admin/")
    page.evaluate("window.sameAsBefore = true")
    number = office.post_alarm("order open long", name)
    arrived = page.locator(f"li:has(a[href='{alarm_page(number)}'])")
    expect(arrived).to_be_visible(timeout=PATIENCE)
    assert page.evaluate("window.sameAsBefore"), "the page was loaded again"

    arrived.locator("a").first.click()
    expect(page.locator(".pelusa-order .pelusa-step.pelusa-good").first).to_be_visible(timeout=PATIENCE)
    assert name in page.locator("pre").first.inner_text()
    assert page.locator(".pelusa-compared tbody tr").count() >= 3
    assert not somebody.is_too_wide()

    page.click(f"a[href='/admin/chart/?alarm={number}']")
    marker = page.locator(f"#chart-marks a[href='{alarm_page(number)}']")
    expect(marker).to_be_visible(timeout=PATIENCE)
    assert not somebody.is_too_wide()

    somebody.visit("/admin/")
    try:
        pull_kill_switch(page, f"{name} saw the news")
        somebody.visit("/admin/")
        # Its own card, and the notice of it
        expect(page.locator(".pelusa-alert", has_text=f"{name} saw the news").first).to_be_visible()
        denied = office.post_alarm("order open long", name)
        why = page.locator(f"li:has(a[href='{alarm_page(denied)}']) .pelusa-outcome")
        expect(why).to_contain_text(f"{name} saw the news", timeout=PATIENCE)
    finally:
        office.api.post("/kill-switch/release/", reason="The test is over")
    say(office, "order close long", name)


@pytest.mark.parametrize("width", ["desktop", "phone"])
def test_four_questions_are_answered_within_three_clicks(office: Office, chromium: Browser, width: str) -> None:
    if not any(each["name"] == "Scalper" for each in office.api.all("/strategies/")):
        play(office)
    denied = say(office, "order open long", "Scalp_v1")
    with person(office, chromium, width, "en") as somebody:
        page = somebody.page
        somebody.visit("/admin/")
        # What do I hold, and what did I make today: no click
        expect(page.locator(".pelusa-holding").first).to_be_visible()
        expect(page.locator(".pelusa-worth .pelusa-amount").first).to_be_visible()
        expect(page.locator(".pelusa-worth .pelusa-gain, .pelusa-worth .pelusa-loss").first).to_be_visible()
        # Why did the last alarm not trade: no click for the sentence, one for all of it, one for how often
        last = page.locator(f"li:has(a[href='{alarm_page(denied)}'])")
        expect(last.locator(".pelusa-outcome")).to_contain_text("at most 200", timeout=PATIENCE)
        last.locator("a").first.click()
        expect(page.locator(".pelusa-compared tbody tr")).to_contain_text(["worth of the entry"])
        page.go_back()
        page.click(".pelusa-card a[href='/admin/why/']")
        expect(page.locator(".pelusa-count").first).to_be_visible()
        page.locator(".pelusa-count a[href*='order_too_large']").first.click()
        expect(page.locator("#result_list")).to_contain_text("at most 200")
        # Is everything healthy: what needs a person stands on top, one click says how each part is
        somebody.visit("/admin/")
        expect(page.locator(".pelusa-alert", has_text="Wild one")).to_be_visible()
        page.click(".pelusa-card a[href='/admin/health/']")
        expect(page.locator(".pelusa-card").first).to_be_visible()
        assert not somebody.is_too_wide()
