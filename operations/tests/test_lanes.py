"""What may pass what in a lane: exits are held up by nothing but their own operation, entries by all before them."""

from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from django.utils import timezone

from exchange.errors import ExchangeError, RateLimited
from exchange.models import Account
from exchange.types import Market
from market.instruments import refresh
from operations import execution, reconcile
from operations.lifecycle import AlarmFacts, carry_out
from operations.models import Lane, Operation, Order
from operations.overlap import alone
from operations.protection import protect
from operations.states import OrderStatus
from operations.tests.oracle import Books, check_flips
from pelusa.testing import DATABASES, PaperExchange, list_instruments, make_account, make_strategy
from strategies.models import Strategy
from strategies.rules import Verdict

pytestmark = pytest.mark.django_db(databases=DATABASES)

OPEN = Verdict("open", "entry", {"leg": "long"})
CLOSE = Verdict("close", "exit", {"leg": "long"})
UNREACHABLE = {"gateway_after": 1}
SUSPENDED = {"code": 101415, "msg": "suspended"}


@pytest.fixture
def account(paper: PaperExchange) -> Account:
    list_instruments()
    return make_account()


@pytest.fixture
def strategy(account: Account) -> Strategy:
    return make_strategy(account, leg={"pyramiding": 3})


@pytest.fixture
def other(account: Account) -> Strategy:
    return make_strategy(account, name="other")


def decide(strategy: Strategy, verdict: Verdict = OPEN, *, alarm_id: int = 1) -> Order:
    return carry_out(strategy, AlarmFacts(alarm_id, "long", timezone.now()), verdict).orders.get()


def run(strategy: Strategy) -> None:
    execution.run_lane(lane_of(strategy))


def lane_of(strategy: Strategy) -> Lane:
    return Lane.objects.get(account=strategy.account, market=strategy.market, symbol=strategy.symbol)


def hold(*strategies: Strategy) -> None:
    """Let each of them hold its share."""
    for strategy in strategies:
        decide(strategy)
        run(strategy)
    assert set(Operation.objects.values_list("status", flat=True)) == {Operation.Status.OPEN}


def again(order: Order) -> Order:
    return Order.objects.select_related("lane__account", "operation__strategy", "decision").get(pk=order.pk)


def freeze(strategy: Strategy) -> None:
    """Let what was sent in the lane be unresolved for so long that it freezes."""
    Order.objects.filter(status="submitted").update(submitted_at=timezone.now() - timedelta(seconds=11))
    reconcile.watch_lane(lane_of(strategy))
    assert lane_of(strategy).frozen_reason == "unsettled"


# Frozen


def test_a_lane_that_an_unresolved_stop_froze_takes_no_entries(
    account: Account, other: Strategy, paper: PaperExchange
) -> None:
    stopped = make_strategy(account, name="stopped", leg={"stop_loss_per_order": D(1)})
    hold(stopped)
    paper.control("faults", orders={"reset_before": 1})
    protect(Operation.objects.select_related("account", "strategy").get())
    paper.control("faults", orders=None)
    freeze(stopped)
    entry = decide(other, alarm_id=2)
    run(other)
    assert again(entry).status == OrderStatus.CREATED


def test_an_exit_leaves_a_frozen_lane_although_an_entry_of_its_own_waits_there(
    strategy: Strategy, other: Strategy, paper: PaperExchange
) -> None:
    hold(strategy)
    paper.control("faults", orders={"reset_after": 1})
    unresolved = decide(other, alarm_id=2)
    run(other)
    paper.control("faults", orders=None)
    freeze(strategy)
    entry, leaving = decide(strategy, alarm_id=3), decide(strategy, CLOSE, alarm_id=4)
    run(strategy)
    assert again(leaving).status == OrderStatus.FILLED
    reconcile.settle(again(unresolved))
    reconcile.watch_lane(lane_of(strategy))
    run(strategy)
    assert again(entry).reason == "operation_is_closing"
    assert again(leaving).operation.status == Operation.Status.CLOSED


# What cannot be prepared


def test_an_entry_that_cannot_be_prepared_does_not_hold_up_an_exit(
    strategy: Strategy, other: Strategy, paper: PaperExchange
) -> None:
    hold(strategy)
    entry, leaving = decide(other, alarm_id=2), decide(strategy, CLOSE, alarm_id=3)
    paper.control("faults", market=UNREACHABLE)
    with pytest.raises(ExchangeError):
        run(strategy)
    assert (again(entry).status, again(leaving).status) == (OrderStatus.CREATED, OrderStatus.FILLED)


def test_what_passed_an_entry_and_is_in_flight_holds_that_entry(
    strategy: Strategy, other: Strategy, paper: PaperExchange
) -> None:
    hold(strategy)
    entry, leaving = decide(other, alarm_id=2), decide(strategy, CLOSE, alarm_id=3)
    paper.control("faults", market=UNREACHABLE, orders={"reset_after": 1})
    with pytest.raises(ExchangeError):
        run(strategy)
    paper.control("faults", market=None, orders=None)
    run(strategy)
    assert (again(entry).status, again(leaving).status) == (OrderStatus.CREATED, OrderStatus.SUBMITTED)


def test_an_exit_whose_stops_are_not_known_to_be_gone_does_not_hold_up_another(
    account: Account, other: Strategy, paper: PaperExchange
) -> None:
    stopped = make_strategy(account, name="stopped", leg={"stop_loss_per_order": D(1)})
    hold(stopped, other)
    protect(Operation.objects.select_related("account", "strategy").get(strategy=stopped))
    waiting, free = decide(stopped, CLOSE, alarm_id=2), decide(other, CLOSE, alarm_id=3)
    paper.control("faults", cancels=UNREACHABLE, lookups=UNREACHABLE)
    run(other)
    assert (again(waiting).status, again(free).status) == (OrderStatus.CREATED, OrderStatus.FILLED)


def test_an_exit_goes_out_although_asking_for_the_position_mode_times_out(
    strategy: Strategy, paper: PaperExchange
) -> None:
    hold(strategy)
    Account.objects.update(position_mode_read_at=timezone.now() - timedelta(hours=1))
    leaving = decide(Strategy.objects.get(), CLOSE, alarm_id=2)
    paper.control("faults", account=UNREACHABLE)
    run(strategy)
    assert again(leaving).status == OrderStatus.FILLED


@pytest.fixture
def spot(account: Account, paper: PaperExchange) -> Strategy:
    refresh(Market.SPOT)
    paper.control("prices", **{"BTC-USDT": "50000"})
    return make_strategy(account, name="spot", market="spot", leg={"stop_loss_per_order": D(2), "pyramiding": 3})


def test_a_spot_exit_goes_out_although_there_is_no_price(spot: Strategy, paper: PaperExchange) -> None:
    hold(spot)
    reconcile.collect_fills(again(Order.objects.get()))
    leaving = decide(spot, CLOSE, alarm_id=2)
    paper.control("faults", market=UNREACHABLE)
    run(spot)
    assert again(leaving).status == OrderStatus.FILLED


def test_a_spot_exit_that_waits_for_fills_leaves_its_stop_standing(spot: Strategy) -> None:
    hold(spot)
    reconcile.collect_fills(again(Order.objects.get()))
    protect(Operation.objects.select_related("account", "strategy").get())
    decide(spot, alarm_id=2)
    run(spot)
    leaving = decide(spot, CLOSE, alarm_id=3)
    run(spot)
    assert again(leaving).status == OrderStatus.CREATED
    assert Order.objects.get(role="STOP_LOSS").status == OrderStatus.ACCEPTED
    reconcile.collect_fills(again(Order.objects.filter(role="ENTRY").order_by("id").last()))  # type: ignore[arg-type]
    run(spot)
    assert again(leaving).status == OrderStatus.FILLED


# Flips


def test_a_flip_waits_for_an_exit_that_is_tried_again(strategy: Strategy, paper: PaperExchange) -> None:
    hold(strategy)
    paper.control("faults", reject_exits=SUSPENDED)
    refused, entry = decide(strategy, CLOSE, alarm_id=2), decide(strategy, alarm_id=3)
    run(strategy)
    assert (again(refused).status, again(entry).status) == (OrderStatus.REJECTED, OrderStatus.CREATED)
    paper.control("faults", reject_exits=None)
    Order.objects.filter(pk=refused.pk).update(closed_at=timezone.now() - timedelta(minutes=1))
    assert reconcile.finish_closing(again(refused).operation)
    run(strategy)
    assert again(entry).operation.status == Operation.Status.OPENING
    run(strategy)
    assert again(entry).status == OrderStatus.FILLED
    assert [row["side"] for row in paper.ledger()] == ["BUY", "SELL", "BUY"]


def test_without_that_wait_a_flip_enters_before_it_has_left(
    strategy: Strategy, paper: PaperExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "_exit_denial", lambda *args: None)
    hold(strategy)
    paper.control("faults", reject_exits=SUSPENDED)
    refused = decide(strategy, CLOSE, alarm_id=2)
    decide(strategy, alarm_id=3)
    run(strategy)
    paper.control("faults", reject_exits=None)
    Order.objects.filter(pk=refused.pk).update(closed_at=timezone.now() - timedelta(minutes=1))
    reconcile.finish_closing(again(refused).operation)
    run(strategy)
    with pytest.raises(AssertionError, match="before operation"):
        check_flips(Books(paper))


def test_a_flip_whose_exit_is_refused_for_long_is_missed(strategy: Strategy, paper: PaperExchange) -> None:
    hold(strategy)
    paper.control("faults", reject_exits=SUSPENDED)
    decide(strategy, CLOSE, alarm_id=2)
    entry = decide(strategy, alarm_id=3)
    Order.objects.filter(pk=entry.pk).update(created_at=timezone.now() - execution.LONGEST_FLIP)
    run(strategy)
    assert (again(entry).status, again(entry).reason) == (OrderStatus.DENIED, "exit_not_filled")


# Pauses and second sendings


def test_a_limit_that_an_entry_met_does_not_hold_up_an_exit(
    strategy: Strategy, other: Strategy, paper: PaperExchange
) -> None:
    hold(strategy)
    entry, leaving = decide(other, alarm_id=2), decide(strategy, CLOSE, alarm_id=3)
    paper.control("faults", market={"rate_limit": 1}, rate_limit_ms=60_000)
    run(strategy)
    assert execution.is_paused(lane_of(strategy))
    assert (again(entry).status, again(leaving).status) == (OrderStatus.CREATED, OrderStatus.FILLED)


def test_an_exit_goes_out_while_its_account_is_paused(strategy: Strategy, other: Strategy) -> None:
    hold(strategy)
    entry, leaving = decide(other, alarm_id=2), decide(strategy, CLOSE, alarm_id=3)
    execution.pause(strategy.account, RateLimited("slow down"))
    run(strategy)
    assert (again(entry).status, again(leaving).status) == (OrderStatus.CREATED, OrderStatus.FILLED)


def test_an_exit_that_passed_is_sent_though_the_pause_ends_meanwhile(
    strategy: Strategy, other: Strategy, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(strategy)
    entry, leaving = decide(other, alarm_id=2), decide(strategy, CLOSE, alarm_id=3)
    execution.pause(strategy.account, RateLimited("slow down"))
    next_order = execution.next_order

    def end_the_pause(*lane: Lane, **how: Any) -> Order | None:
        head = next_order(*lane, **how)
        if head:
            head.lane.paused_until = timezone.now()
        Lane.objects.update(paused_until=timezone.now())
        return head

    monkeypatch.setattr(execution, "next_order", end_the_pause)
    run(strategy)
    assert again(leaving).status == OrderStatus.FILLED
    assert again(leaving).submitted_at < again(entry).submitted_at


def test_an_entry_is_not_claimed_in_a_pause_that_began_meanwhile(
    strategy: Strategy, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry, in_full = decide(strategy), execution.in_full

    def begin_a_pause(order_id: int) -> Order:
        execution.pause(strategy.account, RateLimited("slow down"))
        return in_full(order_id)

    monkeypatch.setattr(execution, "in_full", begin_a_pause)
    run(strategy)
    assert again(entry).status == OrderStatus.CREATED


def test_a_limit_that_names_no_time_does_not_shorten_a_pause(strategy: Strategy) -> None:
    decide(strategy)
    until = timezone.now() + timedelta(minutes=5)
    execution.pause(strategy.account, RateLimited("blocked", retry_at=until))
    execution.pause(strategy.account, RateLimited("slow down"))
    assert lane_of(strategy).paused_until == until


def test_an_entry_is_not_sent_again_for_a_strategy_that_was_switched_off_meanwhile(
    strategy: Strategy, paper: PaperExchange
) -> None:
    paper.control("faults", orders={"reset_before": 1})
    entry = decide(strategy)
    run(strategy)
    paper.control("faults", orders=None)
    asked = again(entry)
    Strategy.objects.update(is_active=False)
    execution.resend(asked)
    assert (again(entry).status, paper.ledger()) == (OrderStatus.REJECTED, [])


def test_a_stop_is_not_sent_again_for_more_than_is_held(account: Account, paper: PaperExchange) -> None:
    strategy = make_strategy(account, leg={"stop_loss_per_order": D(1)})
    hold(strategy)
    paper.control("faults", orders={"reset_before": 1})
    protect(Operation.objects.select_related("account", "strategy").get())
    paper.control("faults", orders=None)
    stop = again(Order.objects.get(role="STOP_LOSS"))
    assert stop.status == OrderStatus.SUBMITTED
    Operation.objects.update(held_quantity=D("0.005"))
    execution.resend(stop)
    assert again(stop).status == OrderStatus.REJECTED
    assert [row["type"] for row in paper.ledger()] == ["MARKET"]


def test_an_exit_that_our_own_ceiling_refuses_is_tried_again_later_and_later(
    strategy: Strategy, settings: object
) -> None:
    hold(strategy)
    operation = Operation.objects.get()
    Operation.objects.update(status=Operation.Status.CLOSING, stack_key=None)
    Account.objects.update(environment="live")
    for _ in range(4):
        order = reconcile.finish_closing(Operation.objects.select_related("account").get())
        assert order
        run(strategy)
        assert again(order).reason == "above_ceiling"
        Order.objects.filter(pk=order.pk).update(closed_at=timezone.now() - timedelta(minutes=5))
    Order.objects.update(closed_at=timezone.now() - timedelta(seconds=20))
    assert reconcile.finish_closing(operation) is None


def test_one_process_does_a_deed_for_a_row_once_at_a_time() -> None:
    with alone("compare", 1) as first, alone("compare", 1) as again_, alone("compare", 2) as other:
        assert (first, again_, other) == (True, False, True)
    with alone("compare", 1) as later:
        assert later
