"""How many statements stand between an alarm and its order at the exchange: upper bounds, so that none is added unseen.

Each costs a worker some 0.4 ms, most of it Django's. Where one is really needed more, raise the bound and say why.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from alarms import routing
from alarms.intake import record_alarm
from alarms.models import Alarm
from alarms.tasks import route_alarm
from exchange.bingx import BingX
from operations import tasks
from operations.comparison import compare_positions
from operations.models import Decision, Lane, Limits, Order
from pelusa.testing import DATABASES, PaperExchange, alarm_body, list_instruments, make_account, make_strategy
from strategies.models import Strategy

pytestmark = pytest.mark.django_db(databases=DATABASES)

# A transaction's begin and end do not count: the test's own transaction makes savepoints of them
STATEMENTS = ("SELECT", "INSERT", "UPDATE", "DELETE")


@pytest.fixture
def strategy(paper: PaperExchange) -> Strategy:
    """A strategy that has traded: its lane is there and compared, its leverage set, its mode known."""
    list_instruments()
    strategy = make_strategy(make_account(), leg={"pyramiding": 99})
    for order in ("order open long", "order close long"):
        trade(order)
    compare_positions(strategy.account)
    Lane.objects.update(compared_at=timezone.now())
    return strategy


def trade(order: str) -> None:
    route(order)
    tasks.run_lane(Lane.objects.get().pk)


def route(order: str) -> None:
    record_alarm(alarm_body(order), "127.0.0.1")
    routing.route_pair("BTCUSDT")


class Count:
    """The statements so far, on all three databases."""

    def __init__(self, captured: list[CaptureQueriesContext]) -> None:
        self.captured = captured

    def __int__(self) -> int:
        texts = (query["sql"] for each in self.captured for query in each.captured_queries)
        return sum(text.lstrip().startswith(STATEMENTS) for text in texts)


@contextmanager
def counted() -> Iterator[Count]:
    with ExitStack() as stack:
        yield Count([stack.enter_context(CaptureQueriesContext(connections[alias])) for alias in DATABASES])


@pytest.fixture
def before_the_wire(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[int]]:
    """Run the lane, and return how many statements came before each order was on the wire."""
    place_order = BingX.place_order

    def run() -> list[int]:
        sent, lane = list[int](), Lane.objects.get()
        with counted() as count, monkeypatch.context() as patch:

            def place(client: BingX, *args: Any, **how: Any) -> Any:
                sent.append(int(count))
                return place_order(client, *args, **how)

            patch.setattr(BingX, "place_order", place)
            tasks.run_lane(lane.pk)
        return sent

    return run


def test_an_entry_is_on_the_wire_after_seventeen_statements(
    strategy: Strategy, before_the_wire: Callable[[], list[int]]
) -> None:
    route("order open long")
    (statements,) = before_the_wire()
    assert statements <= 17


def test_an_exit_is_on_the_wire_after_ten_statements(
    strategy: Strategy, before_the_wire: Callable[[], list[int]]
) -> None:
    trade("order open long")
    route("order close long")
    (statements,) = before_the_wire()
    assert statements <= 10


def test_limits_that_are_set_cost_an_entry_a_statement_each_at_most(
    strategy: Strategy, before_the_wire: Callable[[], list[int]]
) -> None:
    Limits.objects.create(
        scope=f"account:{strategy.account_id}",
        account=strategy.account,
        max_order_notional=10**6,
        max_open_notional=10**6,
        max_open_operations=9,
        max_orders_per_day=10**6,
        max_price_deviation=50,
        schedule="mon-sun 00:00-24:00",
    )
    record_alarm(alarm_body("order open long", Price_Alert="50000"), "127.0.0.1")
    routing.route_pair("BTCUSDT")
    (statements,) = before_the_wire()
    assert statements <= 17 + 3


def test_what_waits_behind_an_order_costs_it_no_statement(
    strategy: Strategy, before_the_wire: Callable[[], list[int]]
) -> None:
    route("order open long")
    (alone, *_) = before_the_wire()
    for _ in range(5):
        route("order open long")
    first, *others = before_the_wire()
    assert first == alone
    assert len(others) == 4


@pytest.mark.parametrize("order", ["order open long", "order close long"])
def test_an_alarm_becomes_an_order_in_fifteen_statements(strategy: Strategy, order: str) -> None:
    if order == "order close long":
        trade("order open long")
    record_alarm(alarm_body(order), "127.0.0.1")
    orders, alarm = Order.objects.count(), Alarm.objects.latest("id")
    with counted() as count:
        route_alarm(alarm.pk)
        statements = int(count)
    assert Order.objects.count() == orders + 1, Decision.objects.latest("id").reason
    assert statements <= 15


@pytest.mark.parametrize(("order", "most"), [("order open long", 48), ("order close long", 41)])
def test_an_alarm_is_a_filled_and_booked_order_in_so_many_statements(strategy: Strategy, order: str, most: int) -> None:
    if order == "order close long":
        trade("order open long")
    record_alarm(alarm_body(order), "127.0.0.1")
    with counted() as count:
        route_alarm(Alarm.objects.latest("id").pk)
        tasks.run_lane(Lane.objects.get().pk)
        newest = Order.objects.latest("id")
        tasks.collect_fills(newest.pk)
        # The test's own three look-ups
        statements = int(count) - 3
    assert Order.objects.get(pk=newest.pk).has_all_fills
    assert statements <= most


def test_a_look_at_an_operation_that_is_covered_takes_fourteen_statements(strategy: Strategy) -> None:
    strategy.legs.update(stop_loss_general=5)
    trade("order open long")
    operation_id = Order.objects.latest("id").operation_id
    tasks.protect_operation(operation_id)
    assert Order.objects.filter(role=Order.Role.STOP_LOSS, operation=operation_id).exists()
    with counted() as count:
        tasks.protect_operation(operation_id)
        statements = int(count)
    assert statements <= 14
