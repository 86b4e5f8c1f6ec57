"""What a trader does by hand, in a real browser: look at an account, test it, close everything, take a list along."""

import csv
from pathlib import Path
from typing import Any

import pytest

from pelusa.livesystem import wait_until
from pelusa.tests.browser.office import Office, Person

pytestmark = pytest.mark.browser

STRATEGY = "Demo breakout"


def account_of(office: Office) -> dict[str, Any]:
    return office.api.all("/accounts/")[0]


def visit_account(office: Office, somebody: Person) -> None:
    somebody.visit(f"/admin/exchange/account/{account_of(office)['id']}/change/")


def live(office: Office) -> list[dict[str, Any]]:
    return [each for each in office.api.all("/operations/") if each["status"] in ("opening", "open", "closing")]


def test_an_account_tells_what_it_has_and_fits(office: Office, anybody: Person) -> None:
    visit_account(office, anybody)
    anybody.page.wait_for_selector("[data-live$='/exchange/'] .pelusa-holding")
    anybody.page.wait_for_selector("[data-live$='/doctor/'] li")
    anybody.page.click("[data-span=day]")
    anybody.page.wait_for_selector("#equity[data-points]")
    assert "USDT" in anybody.page.locator("[data-live$='/exchange/']").inner_text()
    assert not anybody.is_too_wide()


def test_a_connection_is_tested_with_one_tap(office: Office, anybody: Person) -> None:
    visit_account(office, anybody)
    anybody.page.click("form[action$='/test/'] button")
    anybody.page.wait_for_url("**/test/")
    assert anybody.page.locator("h3 small").count() == 3
    assert all(text.endswith(" ms") for text in anybody.page.locator("h3 small").all_inner_texts())
    assert not anybody.is_too_wide()


def test_everything_of_a_strategy_is_closed_behind_its_brake(office: Office, trader: Person) -> None:
    [strategy] = [each for each in office.api.all("/strategies/") if each["name"] == STRATEGY]
    office.post_alarm("order open long", strategy["alarm_name"])
    wait_until(lambda: [each["status"] for each in live(office)] == ["open"], what="the operation opens")
    trader.visit(f"/admin/strategies/strategy/{strategy['id']}/close/")
    assert trader.page.locator("input[name=operation]").count() == 1
    assert trader.page.is_checked("input[name=brake]")
    trader.page.click("button.pelusa-danger")
    trader.page.wait_for_url("**/strategies/strategy/**")
    wait_until(lambda: not live(office), what="the operation closes")
    on = [switch for switch in office.api.get("/kill-switch/")["switches"] if switch["is_on"]]
    assert [switch["account"] for switch in on] == [account_of(office)["id"]]
    office.api.post("/kill-switch/release/", account=account_of(office)["id"], reason="the test is over")


def test_a_list_is_taken_along_as_a_file(trader: Person, tmp_path: Path) -> None:
    trader.visit("/admin/alarms/alarm/?status__exact=processed")
    with trader.page.expect_download() as coming:
        trader.page.click(".pelusa-export button[value=csv]")
    assert coming.value.suggested_filename.startswith("alarm-")
    coming.value.save_as(tmp_path / "alarms.csv")
    with (tmp_path / "alarms.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows
    assert {row["status"] for row in rows} == {"processed"}
