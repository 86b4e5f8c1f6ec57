"""Above a strategy's form: how its gates stand, what it holds, what it made, and what it answered."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from exchange.quotes import quotes
from operations.models import Decision, Limits, Operation
from pelusa.office import record
from pelusa.office.gateboard import Board, boards_of
from pelusa.testing import DATABASES
from pelusa.tests.browsing import browser_of, page, queries_of
from pelusa.tests.making import make_account, make_alarm, make_decision, make_operation, make_strategy
from strategies.models import Leg, Strategy

pytestmark = pytest.mark.django_db(databases=DATABASES)

D = Decimal
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
GATE = {"entry_confirmation_interval": "1h", "close_confirmation_interval": "4h"}


@pytest.fixture(autouse=True)
def prices(monkeypatch: pytest.MonkeyPatch) -> dict[str, Decimal]:
    known = {"BTC-USDT": D(51000)}
    monkeypatch.setattr(quotes, "prices", lambda environment, market: known)
    return known


@pytest.fixture
def strategy() -> Strategy:
    return make_strategy(leg=GATE)


def confirm(action: str, interval: str, at: datetime = NOW, **columns: Any) -> int:
    seen = {"kind": "indicator", "action": action, "interval": interval, "status": "processed"}
    return make_alarm(**seen, alarm_time=at, received_at=at, **columns).pk


def board(strategy: Strategy) -> Board:
    return boards_of(strategy, NOW)[0]


def part(strategy: Strategy, name: str, browser: Client | None = None) -> str:
    return page(browser or browser_of("viewer"), reverse(f"strategy_{name}", args=[strategy.pk]))


def close(strategy: Strategy, profit: str, **columns: Any) -> Operation:
    made = {"status": "closed", "closed_at": timezone.now(), "held_quantity": 0, "realised_pnl": D(profit)}
    return make_operation(strategy, **made | columns)


def test_a_leg_without_a_gate_waits_for_nothing() -> None:
    found = board(make_strategy())
    assert (found.state, found.awaited, found.turned_by) == ("absent", (), None)
    assert "enters at once" in found.rule


def test_a_gate_that_was_never_opened_says_what_it_waits_for(strategy: Strategy) -> None:
    found = board(strategy)
    assert (found.state, found.turned_by) == ("never_opened", None)
    assert [(each.words, each.interval, each.newest) for each in found.awaited] == [
        ("indicator open long", "1h", None),
        ("indicator close long", "4h", None),
    ]
    assert "never seen" in part(strategy, "now")


def test_an_open_gate_says_since_when_and_by_which_alarm(strategy: Strategy) -> None:
    number = confirm("open", "1h")
    found = board(strategy)
    assert (found.state, found.turned_by and found.turned_by.alarm_id) == ("open", number)
    text = part(strategy, "now")
    assert reverse("admin:alarms_alarm_change", args=[number]) in text
    assert "since 2026-11-26 12:00:00" in text


def test_the_board_tells_what_routing_would_do(strategy: Strategy) -> None:
    confirm("open", "1h", NOW - timedelta(hours=1))
    number = confirm("close", "4h", NOW)
    # Neither another interval nor what is not processed yet counts
    confirm("open", "5m", NOW)
    confirm("open", "1h", NOW + timedelta(seconds=1), strategy="Another")
    found = board(strategy)
    assert (found.state, found.turned_by and found.turned_by.alarm_id) == ("shut", number)


def test_a_gate_that_nobody_confirmed_for_long_is_stale_and_still_open(strategy: Strategy) -> None:
    confirm("open", "1h", NOW - timedelta(hours=20))
    assert board(strategy).state == "open"
    Leg.objects.update(entry_confirmation_interval="15m")
    confirm("open", "15m", NOW - timedelta(hours=6))
    found = board(Strategy.objects.get())
    assert found.state == "stale"
    assert "still counts" in found.rule


def test_the_page_shows_what_this_strategy_holds_and_nobody_elses(strategy: Strategy) -> None:
    other = make_strategy(make_account("other"), name="other")
    make_operation(strategy)
    make_operation(other, quantity=D(3), held_quantity=D(3))
    text = part(strategy, "now")
    assert "0.01 BTC @ 50000.1 → 51000" in text
    assert "+10.00 USDT" in text
    assert "3 BTC @" not in text


def test_the_limits_that_bind_it_are_linked(strategy: Strategy) -> None:
    everybody = Limits.objects.create(scope="all", max_open_operations=3)
    own = Limits.objects.create(scope=f"strategy:{strategy.pk}", strategy=strategy)
    stranger = Limits.objects.create(scope="account:0", account=make_account("other"))
    text = part(strategy, "now")
    links = [reverse("admin:operations_limits_change", args=[each.pk]) in text for each in (everybody, own, stranger)]
    assert links == [True, True, False]


def test_its_figures_are_of_its_closed_operations_after_fees(strategy: Strategy) -> None:
    for profit, fees in (("10", "1"), ("-4", "1"), ("3", "1")):
        close(strategy, profit, fees=D(fees))
    close(make_strategy(make_account("other"), name="other"), "1000")
    make_operation(strategy, realised_pnl=D(500))
    [found] = record.figures_of(strategy)
    assert (found.record.closed, found.profit, found.success_rate) == (3, "+6.00 USDT", "66.7 %")
    assert (found.average, found.largest_loss, found.drawdown) == ("+2.00 USDT", "-5.00 USDT", "-5.00 USDT")
    text = part(strategy, "record")
    assert "+6.00 USDT" in text
    assert "<polyline" in text


def test_results_in_coins_are_not_added_to_results_in_dollars(strategy: Strategy) -> None:
    close(strategy, "10")
    close(strategy, "0.002", market="coinm", symbol="BTC-USD")
    assert {each.profit for each in record.figures_of(strategy)} == {"+10.00 USDT", "+0.002 BTC"}


def test_of_many_operations_the_newest_are_reckoned_and_the_page_says_so(
    strategy: Strategy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "MOST_OPERATIONS", 2)
    monkeypatch.setattr("pelusa.office.strategy_page.MOST_OPERATIONS", 2)
    close(strategy, "100")
    close(strategy, "1", leg="short")
    close(strategy, "2")
    assert record.figures_of(strategy)[0].profit == "+3.00 USDT"
    assert "newest 2 closed operations" in part(strategy, "record")


def test_its_last_answers_come_with_their_reasons_counted_for_a_day(strategy: Strategy) -> None:
    for _ in range(2):
        make_decision(make_alarm(), strategy, outcome="ignored", reason="nothing_to_close")
    old = make_decision(make_alarm(), strategy, outcome="ignored", reason="closing")
    Decision.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(days=2))
    make_decision(make_alarm(), strategy)
    make_decision(make_alarm(), strategy, outcome="ignored", reason="nothing_to_close")
    found = record.reasons_since(strategy, timezone.now() - timedelta(days=1))
    # Rows come in their order of time: what lies behind one that is too old is not looked at
    assert [(each.reason, each.count) for each in found] == [("nothing_to_close", 1), ("entry", 1)]
    text = part(strategy, "record")
    assert "holds nothing on its long leg" in text
    assert "1 ×" in text


def test_a_new_strategy_says_what_is_missing(strategy: Strategy) -> None:
    text = part(strategy, "record")
    assert "closed no operation yet" in text
    assert reverse("composer", args=[strategy.pk]) in text


def test_the_parts_cost_the_same_however_much_there_is(strategy: Strategy) -> None:
    browser = browser_of("viewer")
    Leg.objects.create(strategy=strategy, name="short", entry_interval="5m", close_interval="5m", size=1, **GATE)
    make_operation(strategy)
    make_decision(make_alarm(), strategy)
    close(strategy, "1")
    costs = [queries_of(lambda name=name: part(strategy, name, browser)) for name in ("now", "record")]
    for _ in range(5):
        make_operation(strategy)
        make_decision(make_alarm(), strategy)
        close(strategy, "1")
        confirm("open", "1h")
    assert [queries_of(lambda name=name: part(strategy, name, browser)) for name in ("now", "record")] == costs
    assert costs[0] <= 12
    assert costs[1] <= 13


def test_only_who_may_see_strategies_sees_the_parts(strategy: Strategy) -> None:
    for name in ("now", "record"):
        url = reverse(f"strategy_{name}", args=[strategy.pk])
        assert Client().get(url).status_code == 302
        assert browser_of("").get(url).status_code == 403
        assert browser_of("viewer").post(url).status_code == 405
        assert browser_of("viewer").get(reverse(f"strategy_{name}", args=[404])).status_code == 404


def test_the_strategys_page_links_all_that_belongs_to_it(strategy: Strategy) -> None:
    text = page(browser_of("viewer"), reverse("admin:strategies_strategy_change", args=[strategy.pk]))
    for name in ("strategy_now", "strategy_record", "composer", "admin:strategies_strategy_versions"):
        assert reverse(name, args=[strategy.pk]) in text
    assert f"{reverse('chart_page')}?strategy={strategy.pk}" in text
