"""The first page: what is held and what it brings, what each account made today, what is wrong, what alarms became."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from exchange.quotes import quotes
from operations.killswitch import pull
from operations.notices import end_notice, raise_notice
from pelusa.office.worth import polyline, result_since, thinned
from pelusa.testing import DATABASES
from pelusa.tests.browsing import browser_of, page
from pelusa.tests.making import make_account, make_equity, make_history, make_operation, make_strategy

pytestmark = pytest.mark.django_db(databases=DATABASES)

MIDNIGHT = datetime(2026, 11, 26, tzinfo=UTC)
D = Decimal


@pytest.fixture(autouse=True)
def prices(monkeypatch: pytest.MonkeyPatch) -> dict[str, Decimal]:
    known = {"BTC-USDT": D(51000)}
    monkeypatch.setattr(quotes, "prices", lambda environment, market: known)
    return known


def part(name: str, browser: Client | None = None) -> str:
    return page(browser or browser_of(), reverse(f"overview_{name}"))


def test_what_is_held_says_what_it_would_bring_now() -> None:
    make_operation(make_strategy(make_account()))
    for text in (page(browser_of(), reverse("admin:index")), part("now")):
        assert "BTC-USDT LONG" in text
        assert "0.01 BTC @ 50000.1 → 51000" in text
        assert "+10.00 USDT" in text
        assert "+2.00 %" in text


def test_without_a_price_no_profit_is_guessed(prices: dict[str, Decimal]) -> None:
    prices.clear()
    make_operation(make_strategy(make_account()))
    text = part("now")
    assert "0.01 BTC @ 50000.1 → –" in text
    assert "USDT <small>" not in text


def test_what_lacks_its_stop_says_so() -> None:
    make_operation(make_strategy(make_account()), uncovered_since=timezone.now())
    assert "no stop" in part("now")


def test_an_account_says_what_it_is_worth_and_what_it_made_today() -> None:
    account, now = make_account(), timezone.now()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    for at, equity in ((midnight - timedelta(minutes=5), "1000"), (midnight, "1001"), (now, "1013.5")):
        make_equity(account, at, equity)
    made = {"status": "closed", "closed_at": now, "held_quantity": 0, "realised_pnl": D("12"), "fees": D("0.5")}
    make_operation(make_strategy(account), **made)
    text = part("accounts")
    assert "1013.50" in text
    assert "+12.50 USDT" in text
    assert "+11.50 USDT" in text
    assert "<polyline" in text


def test_what_ended_yesterday_is_not_todays() -> None:
    yesterday = timezone.now() - timedelta(days=1, hours=1)
    closed = {"status": "closed", "closed_at": yesterday, "held_quantity": 0, "realised_pnl": D(9)}
    make_operation(make_strategy(make_account()), **closed)
    assert "nothing closed today" in part("accounts")


def test_the_kill_switch_and_what_needs_a_person_stand_on_top_until_they_are_over() -> None:
    pull(None, "maria", "news at eight")
    raise_notice("lane:1", "exit_refused", symbol="BTC-USDT", tries=3, detail="x")
    browser = browser_of()
    for text in (page(browser, reverse("admin:index")), part("now", browser)):
        assert "news at eight" in text
        assert "This needs you" in text
    end_notice("lane:1", "exit_refused")
    end_notice("all", "kill_switch_on")
    assert "This needs you" not in part("now", browser)


def test_the_last_alarms_say_what_became_of_them() -> None:
    [strategy] = make_history()
    text = part("alarms")
    assert strategy.name in text
    assert "order open long" in text
    assert "every condition held" in text


def test_the_first_page_is_honest_when_there_is_nothing() -> None:
    assert "No alarm has arrived yet" in part("alarms")
    text = page(browser_of(), reverse("admin:index"))
    assert "Nothing is held" in text
    assert "There is no active account yet" in text


def test_who_may_see_nothing_is_told_nothing() -> None:
    make_history()
    browser = browser_of("")
    for name in ("now", "accounts", "alarms"):
        assert "Stochastic_v1" not in part(name, browser)
        assert "BTC" not in part(name, browser)


def test_a_part_takes_no_stranger() -> None:
    for name in ("now", "accounts", "alarms"):
        assert Client().get(reverse(f"overview_{name}")).status_code == 302


def test_today_begins_with_the_last_worth_before_midnight() -> None:
    points = [(MIDNIGHT - timedelta(hours=1), D(90)), (MIDNIGHT, D(100)), (MIDNIGHT + timedelta(hours=9), D(97))]
    assert result_since(points, MIDNIGHT) == D(-3)
    assert result_since(points[:1], MIDNIGHT) == 0
    assert result_since([], MIDNIGHT) is None


def test_a_curve_fills_its_box_and_lies_in_the_middle_when_nothing_moved() -> None:
    points = [(MIDNIGHT + timedelta(hours=hour), D(equity)) for hour, equity in ((0, 10), (1, 30), (2, 20))]
    assert polyline(points, 100, 10) == "0.0,10.0 50.0,0.0 100.0,5.0"
    assert polyline([points[0], (MIDNIGHT + timedelta(hours=1), D(10))], 100, 10) == "0.0,5.0 100.0,5.0"
    assert polyline(points[:1]) == ""


def test_thinning_keeps_the_newest() -> None:
    points = [(MIDNIGHT + timedelta(minutes=minute), D(minute)) for minute in range(301)]
    kept = thinned(points, 100)
    assert len(kept) <= 101
    assert kept[-1] == points[-1]
