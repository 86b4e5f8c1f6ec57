"""A strategy in a real browser: it is checked while it is typed, saved, and its gate turns before the trader's eyes."""

import pytest

from pelusa.tests.browser.office import Office, Person

pytestmark = pytest.mark.browser


def choose(somebody: Person, name: str, value: str) -> None:
    somebody.page.select_option(f"[name='{name}']", value)


def test_a_strategy_is_checked_while_typed_and_its_gate_turns_without_a_reload(office: Office, trader: Person) -> None:
    page = trader.page
    name = "Gate in a browser"
    trader.visit("/admin/strategies/strategy/add/")
    page.wait_for_selector("#strategy-check:not(:empty)")
    assert page.locator(".pelusa-check .pelusa-loss").count() == 0

    page.fill("[name=ticker]", "NOSUCHUSDT.P")
    page.wait_for_selector("#check-ticker .pelusa-loss")
    page.fill("[name=ticker]", "ETHUSDT.P")
    page.wait_for_function("() => document.getElementById('check-ticker').textContent.includes('ETH-USDT')")
    assert page.locator("#check-ticker .pelusa-loss").count() == 0

    page.fill("[name=name]", name)
    page.fill("[name=alarm_name]", name)
    page.select_option("[name=account]", index=1)
    for column in ("entry_interval", "close_interval"):
        choose(trader, f"legs-0-{column}", "5m")
    choose(trader, "legs-0-entry_confirmation_interval", "15m")
    page.fill("[name='legs-0-size']", "0.0000001")
    page.wait_for_selector("#check-legs-0-size .pelusa-loss")
    page.fill("[name='legs-0-size']", "0.1")
    page.wait_for_function("() => document.getElementById('check-legs-0-size').textContent.includes('0.1 ETH')")
    page.wait_for_selector("#strategy-check.pelusa-good")
    page.fill("[name='legs-0-leverage']", "50")
    page.fill("[name='legs-0-stop_loss_per_order']", "5")
    page.wait_for_selector("#check-legs-0-stop_loss_per_order .pelusa-warning")
    assert not trader.is_too_wide()

    page.click("[name=_continue]")
    page.wait_for_selector("[data-gate='long']")
    assert not trader.is_too_wide()
    before = page.locator("[data-gate='long']").text_content()
    page.evaluate("window.stayed = true")
    number = office.post_alarm("indicator open long", name, interval="15")
    page.wait_for_selector(f"[data-gate='long'] a[href$='/{number}/change/']", timeout=20_000)
    assert page.locator("[data-gate='long']").text_content() != before
    assert page.evaluate("window.stayed")
