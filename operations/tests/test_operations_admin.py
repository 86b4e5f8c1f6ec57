"""Operations in the back office: money is read, never typed; closing asks first and leaves a trace."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.admin.models import LogEntry
from django.urls import reverse

from operations.models import Decision, Fill, Operation, Order
from pelusa.testing import DATABASES
from pelusa.tests.browsing import browser_of, page, queries_of
from pelusa.tests.making import (
    AT,
    make_alarm,
    make_decision,
    make_fill,
    make_history,
    make_operation,
    make_order,
    make_strategy,
)

pytestmark = pytest.mark.django_db(databases=DATABASES)

LIST = reverse("admin:operations_operation_changelist")


def close_page(operation: Operation) -> str:
    return reverse("admin:operations_operation_close", args=[operation.pk])


def operation_page(operation: Operation) -> str:
    return reverse("admin:operations_operation_change", args=[operation.pk])


def test_a_link_does_not_trade() -> None:
    operation = make_operation(make_strategy())
    text = page(browser_of("trader"), close_page(operation))
    assert "cannot be taken back" in text
    operation.refresh_from_db()
    assert operation.status == "open"
    assert not Order.objects.exists()


def test_a_confirmed_close_orders_an_exit_and_is_audited() -> None:
    operation = make_operation(make_strategy())
    browser = browser_of("trader")
    assert browser.post(close_page(operation), {"confirmed": "yes"}).status_code == 302
    operation.refresh_from_db()
    order = Order.objects.get()
    assert (operation.status, order.role, order.status, order.side) == ("closing", "EXIT", "created", "SELL")
    assert order.client_order_id in LogEntry.objects.get().change_message


def test_closing_twice_orders_once_and_says_so() -> None:
    operation = make_operation(make_strategy())
    browser = browser_of("trader")
    browser.post(close_page(operation), {"confirmed": "yes"})
    answer = browser.post(close_page(operation), {"confirmed": "yes"}, follow=True)
    assert "the operation is closing" in answer.content.decode()
    assert Order.objects.count() == 1
    assert LogEntry.objects.count() == 1


def test_closing_from_the_list_asks_first() -> None:
    strategy = make_strategy()
    held, over = make_operation(strategy), make_operation(strategy, status="closed", held_quantity=0)
    browser = browser_of("trader")
    chosen = {"action": "close_selected", "_selected_action": [held.pk, over.pk]}
    asked = browser.post(LIST, chosen)
    assert asked.status_code == 200
    assert "nothing will be done" in asked.content.decode()
    assert not Order.objects.exists()
    answer = browser.post(LIST, chosen | {"confirmed": "yes"}, follow=True)
    assert f"Operation {held.pk} is being closed" in answer.content.decode()
    assert [order.operation_id for order in Order.objects.all()] == [held.pk]


def test_a_viewer_closes_nothing() -> None:
    operation = make_operation(make_strategy())
    browser = browser_of("viewer")
    assert close_page(operation) not in page(browser, operation_page(operation))
    for answer in (browser.get(close_page(operation)), browser.post(close_page(operation), {"confirmed": "yes"})):
        assert answer.status_code == 403
    browser.post(LIST, {"action": "close_selected", "_selected_action": [operation.pk], "confirmed": "yes"})
    assert not Order.objects.exists()


def test_only_what_can_be_closed_offers_it() -> None:
    strategy = make_strategy()
    held, over = make_operation(strategy), make_operation(strategy, status="closed", held_quantity=0)
    browser = browser_of("trader")
    assert close_page(held) in page(browser, operation_page(held))
    assert close_page(over) not in page(browser, operation_page(over))


def test_live_operations_come_first() -> None:
    strategy = make_strategy()
    opened = make_operation(strategy)
    closed = make_operation(strategy, status="closed", held_quantity=0)
    text = page(browser_of("viewer"), LIST)
    assert text.index(operation_page(opened)) < text.index(operation_page(closed))


def test_the_page_tells_orders_what_was_said_and_fills() -> None:
    strategy, alarm = make_strategy(), make_alarm()
    operation = make_operation(strategy, realised_pnl=Decimal("1.5"), fees=Decimal("0.25"))
    order = make_order(operation, decision=make_decision(alarm, strategy, operation=operation))
    order.events.create(at=alarm.received_at + timedelta(milliseconds=40), status="submitted", source="us")
    order.events.create(
        at=alarm.received_at + timedelta(milliseconds=90), status="filled", source="answer", detail="they said so"
    )
    make_fill(order, price="50000.10", filled_at=alarm.received_at + timedelta(milliseconds=80))
    text = page(browser_of("viewer"), operation_page(operation))
    shown = [
        "+1.25",
        f"alarm {alarm.pk}",
        "+40 ms",
        "Sent to the exchange",
        "+90 ms",
        "they said so",
        "+80 ms",
        "Filled 0.01 at 50000.1",
    ]
    places = [text.index(words) for words in shown]
    assert places == sorted(places)


def test_a_refusal_is_told_in_the_exchanges_words() -> None:
    operation = make_operation(make_strategy())
    refused = {"status": "rejected", "reason": "refused", "code": "101204", "detail": "Insufficient margin."}
    order = make_order(operation, filled_quantity=0, avg_price=None, **refused)
    order.events.create(at=AT, status="rejected", source="answer", detail="101204")
    for url in (
        operation_page(operation),
        reverse("admin:operations_order_change", args=[order.pk]),
        reverse("admin:operations_order_changelist"),
    ):
        assert "The exchange refused it (101204): Insufficient margin." in page(browser_of("viewer"), url)


def test_the_page_costs_the_same_with_more_orders() -> None:
    operation = make_operation(make_strategy())
    make_fill(make_order(operation))
    browser = browser_of()
    few = queries_of(lambda: browser.get(operation_page(operation)))
    for _ in range(4):
        order = make_order(operation)
        order.events.create(at=AT, status="filled", source="answer")
        make_fill(order)
    assert queries_of(lambda: browser.get(operation_page(operation))) == few <= 14


@pytest.mark.parametrize(
    ("model", "query"),
    [
        (Operation, {"status__exact": "open"}),
        (Operation, {"q": "BTC-USDT"}),
        (Operation, {"account": "1", "strategy": "1", "since": "day"}),
        (Decision, {"outcome": "open", "reason": "entry"}),
        (Decision, {"q": "entry"}),
        (Order, {"status__exact": "filled", "role__exact": "ENTRY", "side__exact": "BUY"}),
        (Order, {"market__exact": "usdtm", "strategy": "1", "since": "week"}),
        (Order, {"q": "BTC"}),
        (Fill, {"side__exact": "BUY", "role__exact": "ENTRY", "since": "month"}),
        (Fill, {"q": "BTC-USDT"}),
        (Operation, {"since": "nonsense"}),
    ],
)
def test_every_filter_and_search_answers(model: type[Operation], query: dict[str, str]) -> None:
    make_history()
    page(browser_of("viewer"), reverse(f"admin:operations_{model._meta.model_name}_changelist"), **query)


def test_fills_are_filtered_by_the_side_of_their_order() -> None:
    make_history()
    browser = browser_of("viewer")
    for side, rows in (("BUY", 1), ("SELL", 0)):
        answer = browser.get(reverse("admin:operations_fill_changelist"), {"side__exact": side})
        assert answer.context["cl"].result_count == rows


def test_a_search_for_an_order_id_finds_its_operation() -> None:
    make_history(alarms=2)
    order = Order.objects.all()[0]
    text = page(browser_of("viewer"), LIST, q=order.client_order_id)
    assert text.count("BTC-USDT LONG") == 1
