"""The chart: where it opens, what happened within a stretch, and what that costs."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.backoffice import first_id_from
from market.writing import milliseconds
from operations.models import Decision, Operation, Order
from pelusa.testing import DATABASES
from pelusa.tests.browsing import browser_of, page, queries_of
from pelusa.tests.making import make_account, make_alarm, make_decision, make_history, make_operation, make_order
from pelusa.tests.making import make_strategy as make_stored
from strategies.models import Leg

pytestmark = pytest.mark.django_db(databases=DATABASES)

PAGE, MARKS = reverse("chart_page"), reverse("chart_marks")


def ask(**query: Any) -> Any:
    now = timezone.now()
    span = {"since": milliseconds(now - timedelta(hours=1)), "until": milliseconds(now + timedelta(hours=1))}
    answer = browser_of("viewer").get(MARKS, {"market": "usdtm", "symbol": "BTC-USDT"} | span | query)
    assert answer.status_code == 200, answer.content
    return answer.json()


def opened_at(**query: Any) -> dict[str, Any]:
    return dict(browser_of("viewer").get(PAGE, query).context["place"])


def test_alarms_and_fills_are_marked_with_their_reason_and_lead_to_their_pages() -> None:
    [strategy] = make_history()
    alarm, fill = sorted(ask()["marks"], key=lambda mark: mark["kind"])
    assert alarm["kind"] == "alarm"
    assert alarm["sentence"].startswith(f"{strategy.name}: An entry")
    assert alarm["url"] == reverse("admin:alarms_alarm_change", args=[Decision.objects.get().alarm_id])
    assert (fill["kind"], fill["text"]) == ("buy", "BUY 0.01 @ 50000.1")
    assert fill["url"] == reverse("admin:operations_operation_change", args=[Operation.objects.get().pk])


def test_another_symbol_and_another_hour_are_not_marked() -> None:
    make_history()
    assert ask(symbol="ETH-USDT")["marks"] == []
    long_ago = timezone.now() - timedelta(days=2)
    span = {"since": milliseconds(long_ago), "until": milliseconds(long_ago + timedelta(hours=1))}
    assert ask(**span)["marks"] == []


def test_one_strategy_alone_is_marked_when_it_is_named() -> None:
    one, _ = make_history(strategies=2)
    assert len(ask()["marks"]) == 4
    assert len(ask(strategy=one.pk)["marks"]) == 2


def test_an_operation_hangs_on_its_entry_its_stops_and_its_targets() -> None:
    operation = make_operation(make_stored(make_account()))
    entry = make_order(operation)
    for role, price in (("STOP_LOSS", "49000"), ("TAKE_PROFIT", "52000")):
        make_order(operation, role=role, side="SELL", entry=entry, trigger_price=Decimal(price), status="accepted")
    lines = {line["kind"]: line for line in ask(operation=operation.pk)["lines"]}
    assert {kind: line["price"] for kind, line in lines.items()} == {
        "average": "50000.1",
        "stop": "49000",
        "target": "52000",
    }
    assert {line["until"] for line in lines.values()} == {None}
    # Without one named, those of every live operation of the symbol
    assert len(ask()["lines"]) == 3


def test_it_opens_where_an_operation_an_alarm_or_a_strategy_points() -> None:
    strategy = make_stored(make_account(), leg={"entry_interval": "15m"})
    operation = make_operation(strategy)
    alarm = make_alarm(interval="15m")
    make_decision(alarm, strategy, operation=operation)
    common = {"market": "usdtm", "symbol": "BTC-USDT", "interval": "15m", "strategy": strategy.pk}
    assert operation.opened_at
    at_operation, at_alarm, at_strategy = (
        opened_at(operation=operation.pk),
        opened_at(alarm=alarm.pk),
        opened_at(strategy=strategy.pk),
    )
    assert at_operation.items() >= (common | {"at": milliseconds(operation.opened_at)}).items()
    assert at_alarm.items() >= (common | {"at": milliseconds(alarm.received_at), "operation": operation.pk}).items()
    assert at_strategy.items() >= (common | {"at": None}).items()
    assert Leg.objects.get().entry_interval == "15m"


def test_an_alarm_that_no_strategy_answered_opens_at_its_pair() -> None:
    assert opened_at(alarm=make_alarm(pair="ETHUSDT").pk)["symbol"] == "ETHUSDT"


def test_what_is_not_there_is_not_found_and_nonsense_is_refused() -> None:
    browser = browser_of("viewer")
    assert browser.get(PAGE, {"operation": 404}).status_code == 404
    assert browser.get(PAGE, {"operation": "x"}).status_code == 200
    assert browser.get(MARKS, {"market": "usdtm", "symbol": "BTC-USDT", "since": "x"}).status_code == 400
    assert browser.get(MARKS, {"market": "usdtm", "symbol": "X", "since": 0, "until": 10**15}).status_code == 400


def test_whoever_may_not_see_alarms_sees_no_chart() -> None:
    browser = browser_of("")
    assert browser.get(PAGE).status_code == browser.get(MARKS).status_code == 403


def test_pages_of_operations_and_alarms_lead_to_the_chart() -> None:
    make_history()
    operation, decision = Operation.objects.get(), Decision.objects.get()
    browser = browser_of("viewer")
    shown = page(browser, reverse("admin:operations_operation_change", args=[operation.pk]))
    assert f"{PAGE}?operation={operation.pk}" in shown
    shown = page(browser, reverse("admin:alarms_alarm_change", args=[decision.alarm_id]))
    assert f"{PAGE}?alarm={decision.alarm_id}" in shown


def test_marks_cost_the_same_however_much_happened() -> None:
    make_history()
    browser, now = browser_of(), timezone.now()
    span = {"since": milliseconds(now - timedelta(hours=1)), "until": milliseconds(now + timedelta(hours=1))}
    query = {"market": "usdtm", "symbol": "BTC-USDT"} | span
    few = queries_of(lambda: browser.get(MARKS, query))
    make_history(strategies=3, alarms=3)
    # A few more look-ups by key find where the stretch begins
    assert queries_of(lambda: browser.get(MARKS, query)) <= few + 8


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=12), st.integers(-1, 70))
def test_where_a_moment_begins_is_found_by_halving(steps: list[int], wanted: int) -> None:
    Order.objects.all().delete()
    operation = Operation.objects.first() or make_operation(make_stored(make_account()))
    began, minute = datetime(2026, 1, 1, tzinfo=UTC), 0
    for step in steps:
        minute += step
        order = make_order(operation)
        Order.objects.filter(pk=order.pk).update(created_at=began + timedelta(minutes=minute))
    moment = began + timedelta(minutes=wanted)
    expected = set(Order.objects.filter(created_at__gte=moment).values_list("pk", flat=True))
    first = first_id_from(Order, "created_at", moment)
    assert set(Order.objects.filter(pk__gte=first).values_list("pk", flat=True)) == expected
