"""The first page in a real browser: it answers what a trader asks in the morning, and stays true while it is read."""

import re

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from pelusa.tests.browser.legible import too_dim
from pelusa.tests.browser.office import WIDTHS, Office, Person, person
from pelusa.tests.browser.scenery import say
from pelusa.tests.browser.test_acts import STRATEGY

pytestmark = pytest.mark.browser

PATIENCE = 20_000
# Until every process has shown itself, and the exchange's clock was measured
JUST_STARTED = 60_000
MOST_CLICKS = 3
MONEY = re.compile(r"[+-]\d+\.\d\d USDT")
# A line of the page more or less, above what is looked at
A_LINE = 100


class Finger:
    """Begins at the overview and counts what it clicks."""

    def __init__(self, somebody: Person) -> None:
        self.page, self.clicks = somebody.page, 0
        somebody.visit("/admin/")

    def click(self, what: Locator) -> Page:
        what.click(timeout=PATIENCE)
        self.clicks += 1
        assert self.clicks <= MOST_CLICKS
        return self.page


def ask_what_is_held(somebody: Person, operation: int) -> None:
    finger = Finger(somebody)
    page = finger.click(finger.page.locator(f".pelusa-holding a[href*='/operation/{operation}/']"))
    expect(page.locator(".pelusa-figures")).to_contain_text(re.compile(r"\d ETH"))


def ask_what_was_made_today(somebody: Person) -> None:
    finger = Finger(somebody)
    page = finger.click(finger.page.locator(".pelusa-worth").first)
    today = page.locator("[data-live$='/now/'] .pelusa-figures")
    expect(today).to_contain_text("Closed today", timeout=PATIENCE)
    expect(today).to_contain_text(MONEY)


def ask_why_it_did_not_trade(somebody: Person, alarm: int) -> None:
    finger = Finger(somebody)
    page = finger.click(finger.page.locator(f"li a[href$='/alarm/{alarm}/change/']"))
    expect(page.locator(".pelusa-step").last).to_contain_text("1h")
    expect(page.locator(".pelusa-compared tbody")).to_contain_text("interval")


def ask_whether_all_is_healthy(somebody: Person) -> None:
    finger = Finger(somebody)
    page = finger.click(finger.page.locator(".pelusa-card a[href='/admin/health/']"))
    expect(page.locator(".pelusa-card").first).to_contain_text("Ready to trade", timeout=JUST_STARTED)
    page = finger.click(page.locator("a.pelusa-button[href='/admin/doctor/']"))
    expect(page.locator(".pelusa-card").first).to_contain_text("Trading is safe", timeout=PATIENCE)


@pytest.mark.parametrize("width", WIDTHS)
def test_each_of_four_questions_takes_three_clicks_at_most(office: Office, chromium: Browser, width: str) -> None:
    [strategy] = [each for each in office.api.all("/strategies/") if each["name"] == STRATEGY]
    name = strategy["alarm_name"]
    say(office, "order close long", name)
    opened = say(office, "order open long", name)
    [operation] = [each["operation"] for each in office.api.all("/decisions/", alarm=str(opened))]
    try:
        silent = say(office, "order open long", name, interval="60")
        with person(office, chromium, width, "en") as somebody:
            ask_what_is_held(somebody, operation)
            ask_what_was_made_today(somebody)
            ask_why_it_did_not_trade(somebody, silent)
            ask_whether_all_is_healthy(somebody)
    finally:
        say(office, "order close long", name)


def test_a_refresh_takes_away_neither_what_is_typed_nor_the_place_nor_the_focus(office: Office, trader: Person) -> None:
    page = trader.page
    trader.visit("/admin/")
    expect(page.locator("a[href='/admin/why/'].pelusa-last")).to_be_visible(timeout=PATIENCE)
    page.evaluate("document.querySelector('input[name=s]').value = 'half a wo'")
    page.locator("a[href='/admin/why/'].pelusa-last").focus()
    page.evaluate("scrollTo(0, 300)")
    before = page.evaluate("scrollY")
    number = office.post_alarm("order open long", "Nobody listens")
    arrived = page.locator(f"li a[href$='/alarm/{number}/change/']")
    expect(arrived).to_have_count(1, timeout=PATIENCE)
    assert page.evaluate("document.querySelector('input[name=s]').value") == "half a wo"
    assert page.evaluate("document.activeElement.getAttribute('href')") == "/admin/why/"
    assert abs(page.evaluate("scrollY") - before) < A_LINE


def test_a_lost_connection_is_said_until_it_is_back(office: Office, chromium: Browser) -> None:
    with person(office, chromium, "phone", "es", dark=True) as somebody:
        page = somebody.page
        somebody.visit("/admin/")
        page.wait_for_load_state("networkidle")
        page.context.set_offline(True)
        lost = page.locator("#pelusa-lost")
        expect(lost).to_contain_text(re.compile(r"Sin conexión.* \d\d:\d\d:\d\d UTC"), timeout=PATIENCE)
        assert not somebody.is_too_wide()
        assert not too_dim(page)
        page.context.set_offline(False)
        expect(lost).to_be_hidden(timeout=PATIENCE)
        # The browser itself notes that nobody answered
        somebody.complaints.clear()


def test_the_line_of_health_says_when_it_was_looked_at(trader: Person) -> None:
    trader.visit("/admin/")
    line = trader.page.locator(".pelusa-card", has=trader.page.locator("a[href='/admin/health/']")).first
    expect(line).to_contain_text(re.compile(r"looked at \d\d:\d\d:\d\d UTC"), timeout=PATIENCE)
