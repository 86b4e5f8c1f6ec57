"""R27. Limits hold together: 64 claims at the same moment on a real server, and the sum is the limit exactly."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal as D
from itertools import count
from typing import Any

import pytest
from django.db import connections, transaction
from django.db.models import Max
from django.utils import timezone

from exchange.models import Account
from operations import execution, throttle
from operations.killswitch import scope_of
from operations.lifecycle import AlarmFacts, carry_out
from operations.models import Decision, Limits, Notice, Operation, Order
from operations.preparation import Prepared
from operations.states import OrderStatus
from operations.transitions import move
from pelusa.testing import DATABASES
from pelusa.tests.making import make_account, make_instrument, make_operation, make_order, make_strategy
from strategies.models import Strategy
from strategies.rules import Verdict

pytestmark = [
    pytest.mark.servers,
    pytest.mark.timeout(300),
    pytest.mark.django_db(transaction=True, databases=DATABASES),
]

CLAIMS = 64
# Each entry is worth 500
SIZED = Prepared(quantity=D("0.01"), price=D(50000))


def limit(account: Account | None = None, **columns: Any) -> Limits:
    return Limits.objects.create(account=account, scope=scope_of(account.pk if account else None), **columns)


@transaction.atomic
def strategies_on(accounts: int) -> list[Strategy]:
    """Make 64 strategies, each in a lane of its own, spread over accounts."""
    owners = [make_account(f"desk {number}") for number in range(accounts)]
    found = []
    for number in range(CLAIMS):
        symbol = f"C{number:02}-USDT"
        make_instrument(symbol)
        owner = owners[number % accounts]
        found.append(make_strategy(owner, name=f"strategy {number}", symbol=symbol, pair=symbol.replace("-", "")))
    return found


def decide(strategy: Strategy) -> Order:
    number = (Decision.objects.aggregate(newest=Max("alarm_id"))["newest"] or 0) + 1
    alarm = AlarmFacts(number, "long", timezone.now(), D(50000))
    return carry_out(strategy, alarm, Verdict("open", "entry", {"leg": "long"})).orders.get()


@transaction.atomic
def decide_all(strategies: list[Strategy]) -> list[Order]:
    return [decide(each) for each in strategies]


def again(order: Order) -> Order:
    return Order.objects.select_related("lane__account", "operation__strategy", "decision").get(pk=order.pk)


def at_once(orders: list[Order], before: Callable[[int], None] = lambda number: None) -> list[bool]:
    """Claim all orders at the same moment, each in a thread and a connection of its own; return who may be sent."""
    start = threading.Barrier(len(orders))

    def claim(number: int) -> bool:
        try:
            order = again(orders[number])
            start.wait(60)
            before(number)
            return execution._claim(order, SIZED)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(orders)) as pool:
        return list(pool.map(claim, range(len(orders))))


def reasons() -> Counter[str]:
    return Counter(Order.objects.filter(status=OrderStatus.DENIED).values_list("reason", flat=True))


LIMITS = [
    ({"max_open_notional": D(3500)}, "too_much_open", 7),
    ({"max_open_notional": D("3999.99")}, "too_much_open", 7),
    ({"max_open_operations": 7}, "too_many_operations", 7),
    ({"max_orders_per_day": 7}, "too_many_today", 7),
]


@pytest.mark.parametrize("accounts", [1, 8], ids=["one account", "everything over 8 accounts"])
@pytest.mark.parametrize(("columns", "reason", "most"), LIMITS, ids=["notional", "notional-", "operations", "a day"])
def test_r27_of_64_claims_exactly_as_many_pass_as_the_limit_allows(
    accounts: int, columns: dict[str, Any], reason: str, most: int
) -> None:
    strategies = strategies_on(accounts)
    limit(strategies[0].account if accounts == 1 else None, **columns)
    assert at_once(decide_all(strategies)).count(True) == most
    assert Order.objects.filter(status=OrderStatus.SUBMITTED).count() == most
    assert reasons() == {reason: CLAIMS - most}


def test_r27_what_ends_unfilled_frees_its_part_and_nothing_leaks() -> None:
    strategies = strategies_on(4)
    limit(None, max_open_notional=D(3500), max_open_operations=7)
    for _ in range(3):
        assert at_once(decide_all(strategies)).count(True) == 7
        for order in Order.objects.filter(status=OrderStatus.SUBMITTED):
            assert move(order, OrderStatus.REJECTED, source="answer", reason="refused")


def test_r27_limits_of_each_account_and_of_everything_hold_at_once() -> None:
    strategies = strategies_on(4)
    for account in Account.objects.all():
        limit(account, max_open_operations=3)
    limit(None, max_open_notional=D(5000))
    assert at_once(decide_all(strategies)).count(True) == 10
    sent = Order.objects.filter(status=OrderStatus.SUBMITTED)
    by_account = Counter(sent.values_list("lane__account_id", flat=True))
    assert max(by_account.values()) <= 3
    assert sum(by_account.values()) == 10


def test_r27_once_the_loss_is_committed_no_claim_passes() -> None:
    strategies = strategies_on(2)
    limit(None, max_daily_loss=D(10))
    losing = losing_exit(strategies[0])
    # A loss of 10 and fees, learned in the midst of the claims
    is_booked = threading.Event()
    began_after: set[int] = set()

    def before(number: int) -> None:
        if number == CLAIMS // 2:
            done: dict[str, Any] = {"filled_quantity": D("0.01"), "avg_price": D(49000), "answered_at": timezone.now()}
            assert move(losing, OrderStatus.FILLED, source="answer", **done)
            is_booked.set()
        elif is_booked.is_set():
            began_after.add(number)

    passed = at_once(decide_all(strategies), before)
    assert not [number for number in began_after if passed[number]]
    assert reasons() == {"daily_loss": passed.count(False)}
    assert at_once(decide_all(strategies[:4])).count(True) == 0


def losing_exit(strategy: Strategy) -> Order:
    """Return the exit of an operation that bought at 50000, on its way."""
    operation = make_operation(strategy, symbol="LOST-USDT", status=Operation.Status.CLOSING)
    now = timezone.now()
    make_order(operation, submitted_at=now, answered_at=now, avg_price=D(50000))
    unfilled: dict[str, Any] = {"filled_quantity": D(0), "avg_price": None}
    order: Order = make_order(operation, role="EXIT", side="SELL", status="submitted", submitted_at=now, **unfilled)
    return order


def test_r28_a_strategy_that_runs_wild_in_many_threads_sends_exactly_as_many_as_it_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(throttle, "MOST_ENTRIES", 10)
    account = make_account("desk")
    make_instrument("BTC-USDT")
    wild = make_strategy(account, name="wild")
    assert at_once(decide_apart(wild)).count(True) == 10
    assert reasons() == {"too_many_entries": 1, "strategy_off": CLAIMS - 11}
    assert Notice.objects.filter(kind="strategy_stopped", ended_at=None).count() == 1
    assert at_once([decide(make_strategy(account, name="tame"))]) == [True]


@transaction.atomic
def decide_apart(strategy: Strategy) -> list[Order]:
    """Decide 64 times, in a lane and an operation of its own each, so that nothing but the throttle holds them up."""
    orders = []
    for number in range(CLAIMS):
        strategy.symbol = f"W{number:02}-USDT"
        orders.append(decide(strategy))
        Operation.objects.filter(pk=orders[-1].operation_id).update(stack_key=None)
    return orders


def test_deciding_and_claiming_in_one_lane_at_the_same_time_never_deadlock() -> None:
    make_instrument("BTC-USDT")
    account = make_account("desk")
    strategies = [make_strategy(account, name=f"strategy {number}") for number in range(4)]

    def decide_often(number: int) -> None:
        for _ in range(20):
            carry_out(strategies[number], AlarmFacts(next(alarms), "long", timezone.now()), Verdict("open", "entry"))
            # Each in a new operation, whose foreign keys lock the account and the strategy
            Operation.objects.filter(strategy=strategies[number]).update(stack_key=None)

    def claim_often(number: int) -> None:
        for _ in range(30):
            order = Order.objects.filter(status=OrderStatus.CREATED).order_by("id").first()
            if order and execution._claim(again(order), SIZED):
                Order.objects.filter(pk=order.pk).update(status="filled")

    def work(number: int) -> None:
        try:
            (decide_often if number < len(strategies) else claim_often)(number)
        finally:
            connections.close_all()

    alarms = count(1)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert Order.objects.count() == 4 * 20
