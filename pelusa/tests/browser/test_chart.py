"""The chart in a real browser: candles come, older ones while scrolling, and what happened is marked."""

import pytest

from pelusa.tests.browser.office import Office, Person

pytestmark = pytest.mark.browser


def numbers_of(somebody: Person) -> tuple[int, int]:
    data = somebody.page.locator("#chart").evaluate("box => ({...box.dataset})")
    return int(data.get("candles", 0)), int(data.get("marks", 0))


def wait_for(somebody: Person, name: str, more_than: int) -> None:
    somebody.page.wait_for_function(f"() => Number(document.getElementById('chart').dataset.{name}) > {more_than}")


def test_a_chart_opens_from_an_operation_with_its_candles_and_marks(office: Office, anybody: Person) -> None:
    operation = office.api.all("/operations/")[-1]
    anybody.visit(f"/admin/operations/operation/{operation['id']}/change/")
    anybody.page.click("a[href^='/admin/chart/?operation=']")
    wait_for(anybody, "marks", 2)
    assert numbers_of(anybody)[0] >= 100
    assert anybody.page.locator("#chart-marks a").count() == numbers_of(anybody)[1]
    assert not anybody.is_too_wide()


def test_older_candles_come_while_scrolling_back(trader: Person) -> None:
    trader.visit("/admin/chart/?market=usdtm&symbol=ETH-USDT&interval=1m")
    wait_for(trader, "candles", 500)
    there, _ = numbers_of(trader)
    box = trader.page.locator("#chart").bounding_box()
    assert box
    middle = box["y"] + box["height"] / 2
    for _ in range(12):
        trader.page.mouse.move(box["x"] + 100, middle)
        trader.page.mouse.down()
        trader.page.mouse.move(box["x"] + box["width"] - 150, middle, steps=8)
        trader.page.mouse.up()
    wait_for(trader, "candles", there)


def test_a_symbol_that_nobody_lists_is_said_to_be_unknown(office: Office, trader: Person) -> None:
    trader.visit("/admin/chart/?market=usdtm&symbol=NOSUCH-USDT&interval=1m")
    trader.page.wait_for_function("() => document.getElementById('chart-trouble').textContent.includes('NOSUCH')")
    # The browser itself notes that an answer was 400
    trader.complaints.clear()
