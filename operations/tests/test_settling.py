"""Unknown is not failed: an order whose answer was lost is settled by asking, and sent again only behind the fence."""

from datetime import timedelta
from decimal import Decimal as D

import pytest
from django.utils import timezone

from exchange.bingx import BingX
from exchange.connection import connect
from exchange.errors import ExchangeError, OutcomeUnknown
from exchange.models import Account
from exchange.types import Market
from operations import execution, reconcile
from operations.lifecycle import AlarmFacts, NothingToClose, carry_out, close_by_hand
from operations.models import Lane, Operation, Order
from operations.protection import protect
from operations.states import OrderStatus
from operations.tests.perils import Perils
from pelusa.testing import DATABASES, PaperExchange, list_instruments, make_account, make_strategy
from strategies.models import Strategy
from strategies.rules import Verdict

pytestmark = pytest.mark.django_db(databases=DATABASES)

OPEN = Verdict("open", "entry", {"leg": "long"})
CLOSE = Verdict("close", "exit", {"leg": "long"})


@pytest.fixture
def account(paper: PaperExchange) -> Account:
    list_instruments()
    return make_account()


@pytest.fixture
def strategy(account: Account) -> Strategy:
    return make_strategy(account)


def order_of(strategy: Strategy, verdict: Verdict = OPEN, alarm_id: int = 1) -> Order:
    """Decide, send, and return the order as it then stands."""
    decision = carry_out(strategy, AlarmFacts(alarm_id, "long", timezone.now()), verdict)
    run(strategy)
    return again(decision.orders.get())


def run(strategy: Strategy) -> None:
    execution.run_lane(Lane.objects.get(account=strategy.account, symbol=strategy.symbol))


def again(order: Order) -> Order:
    return Order.objects.select_related("lane__account", "operation__strategy", "decision").get(pk=order.pk)


def pass_time(order: Order, seconds: float) -> Order:
    """Let `seconds` pass for an order by moving its past back; its alarm stays as young as it is."""
    earlier = timedelta(seconds=seconds)
    missed_at = order.missed_at - earlier if order.missed_at else None
    assert order.submitted_at
    Order.objects.filter(pk=order.pk).update(submitted_at=order.submitted_at - earlier, missed_at=missed_at)
    return again(order)


def settle(order: Order) -> Order:
    reconcile.settle(again(order))
    return again(order)


AMBIGUOUS = ["reset_after", "gateway_after", "garbage_after", "codeless_after", "busy_after"]


@pytest.mark.parametrize("fault", AMBIGUOUS)
def test_an_ambiguous_answer_leaves_the_order_in_flight_until_it_is_asked_for(
    strategy: Strategy, paper: PaperExchange, fault: str
) -> None:
    paper.control("faults", orders={fault: 1})
    order = order_of(strategy)
    assert order.status == OrderStatus.SUBMITTED
    order = settle(order)
    assert order.status == OrderStatus.FILLED
    assert len(paper.ledger()) == 1


def test_a_timeout_leaves_the_order_in_flight(strategy: Strategy, paper: PaperExchange) -> None:
    paper.control("faults", orders={"timeout_after": 1}, hold_ms=8000)
    order = order_of(strategy)
    assert order.status == OrderStatus.SUBMITTED
    assert settle(order).status == OrderStatus.FILLED
    assert len(paper.ledger()) == 1


def test_an_order_in_flight_holds_its_lane(strategy: Strategy, paper: PaperExchange) -> None:
    paper.control("faults", orders={"reset_after": 1})
    order = order_of(strategy)
    paper.control("faults", orders=None)
    second = order_of(strategy, CLOSE, alarm_id=2)
    assert second.status == OrderStatus.CREATED
    settle(order)
    run(strategy)
    assert again(second).status == OrderStatus.FILLED


def test_not_found_before_the_fence_proves_nothing(strategy: Strategy, paper: PaperExchange) -> None:
    paper.control("faults", orders={"reset_before": 1})
    order = pass_time(order_of(strategy), 9)
    for _ in range(3):
        order = settle(order)
    assert (order.status, order.settle_misses) == (OrderStatus.SUBMITTED, 0)


def test_one_miss_behind_the_fence_proves_nothing_either(strategy: Strategy, paper: PaperExchange) -> None:
    paper.control("faults", orders={"reset_before": 1})
    order = pass_time(order_of(strategy), 11)
    for _ in range(3):
        order = settle(order)
    assert (order.status, order.settle_misses) == (OrderStatus.SUBMITTED, 1)


def test_an_entry_that_never_arrived_is_sent_again_with_the_same_id(strategy: Strategy, paper: PaperExchange) -> None:
    paper.control("faults", orders={"reset_before": 1})
    order = settle(pass_time(order_of(strategy), 11))
    paper.control("faults", orders=None)
    order = settle(pass_time(order, 3))
    assert order.status == OrderStatus.FILLED
    assert [row["client_order_id"] for row in paper.ledger()] == [order.client_order_id]


def test_an_entry_that_never_arrived_and_is_too_old_ends_as_missed(strategy: Strategy, paper: PaperExchange) -> None:
    paper.control("faults", orders={"reset_before": 1})
    order = settle(pass_time(order_of(strategy), 11))
    order.decision.alarm_happened_at -= timedelta(minutes=2)
    order.decision.save(update_fields=["alarm_happened_at"])
    order = settle(pass_time(order, 3))
    assert (order.status, order.reason) == (OrderStatus.REJECTED, "never_arrived")
    assert order.operation.status == Operation.Status.ABORTED
    assert paper.ledger() == []


def test_an_exit_that_never_arrived_is_sent_again_however_old_its_alarm(
    strategy: Strategy, paper: PaperExchange
) -> None:
    order_of(strategy)
    paper.control("faults", orders={"reset_before": 1})
    order = settle(pass_time(order_of(strategy, CLOSE, alarm_id=2), 11))
    order.decision.alarm_happened_at -= timedelta(hours=2)
    order.decision.save(update_fields=["alarm_happened_at"])
    paper.control("faults", orders=None)
    assert settle(pass_time(order, 3)).status == OrderStatus.FILLED


def test_a_request_that_comes_late_is_refused_by_the_exchange_itself(strategy: Strategy, paper: PaperExchange) -> None:
    """The fence: a request delayed past its receive window must not execute, or sending again would double it."""
    paper.control("faults", orders={"delay": 1, "delay_ms": [6000, 6000]})
    order = order_of(strategy)
    assert order.status in (OrderStatus.SUBMITTED, OrderStatus.REJECTED)
    paper.control("faults", orders=None)
    assert paper.ledger() == []


def test_an_order_that_the_look_up_hides_is_found_in_history(strategy: Strategy, paper: PaperExchange) -> None:
    paper.control("faults", orders={"reset_after": 1}, lookup_lag_ms=60_000)
    order = settle(pass_time(order_of(strategy), 11))
    assert order.status == OrderStatus.FILLED


def test_when_the_exchange_cannot_be_asked_nothing_changes(strategy: Strategy, paper: PaperExchange) -> None:
    paper.control("faults", orders={"reset_after": 1}, lookups={"gateway_after": 1})
    order = pass_time(order_of(strategy), 30)
    with pytest.raises(ExchangeError):
        settle(order)
    assert (again(order).status, again(order).settle_misses) == (OrderStatus.SUBMITTED, 0)


def test_a_duplicate_id_means_that_an_earlier_attempt_exists(strategy: Strategy, paper: PaperExchange) -> None:
    paper.control("faults", orders={"reset_after": 1})
    order = order_of(strategy)
    paper.control("faults", orders=None)
    execution._send(order, execution.connect(order.lane.account))
    assert again(order).status == OrderStatus.SUBMITTED
    assert settle(order).status == OrderStatus.FILLED
    assert len(paper.ledger()) == 1


def test_a_refused_entry_is_not_tried_again(strategy: Strategy, paper: PaperExchange) -> None:
    paper.control("faults", reject_entries={"code": 101204, "msg": "Insufficient margin"})
    order = order_of(strategy)
    assert order.status == OrderStatus.REJECTED
    run(strategy)
    assert Order.objects.count() == 1


def test_a_refused_exit_is_tried_again_with_a_new_order_until_flat(strategy: Strategy, paper: PaperExchange) -> None:
    order_of(strategy)
    paper.control("faults", reject_exits={"code": 101415, "msg": "suspended"})
    refused = order_of(strategy, CLOSE, alarm_id=2)
    assert refused.status == OrderStatus.REJECTED
    operation = Operation.objects.get()
    assert operation.status == Operation.Status.CLOSING
    assert reconcile.finish_closing(operation) is None, "not before its back-off"
    Order.objects.filter(pk=refused.pk).update(closed_at=timezone.now() - timedelta(minutes=1))
    paper.control("faults", reject_exits=None)
    retry = reconcile.finish_closing(operation)
    assert retry
    assert retry.client_order_id != refused.client_order_id
    run(strategy)
    operation.refresh_from_db()
    assert operation.status == Operation.Status.CLOSED


def test_two_processes_that_settle_at_once_move_the_order_once(strategy: Strategy, paper: PaperExchange) -> None:
    paper.control("faults", orders={"reset_after": 1})
    order = order_of(strategy)
    one, other = again(order), again(order)
    reconcile.settle(one)
    reconcile.settle(other)
    assert again(order).events.filter(status="filled").count() == 1
    assert Operation.objects.get().held_quantity == order.quantity


@pytest.mark.django_db(databases=DATABASES, transaction=True)
def test_an_order_that_only_its_fills_show_is_found(
    strategy: Strategy, paper: PaperExchange, perils: Perils, monkeypatch: pytest.MonkeyPatch
) -> None:
    """History may lag like the look-up does; an order that was filled must not be sent again for it."""
    paper.control("faults", orders={"reset_after": 1}, lookup_lag_ms=60_000)
    monkeypatch.setattr(BingX, "past_orders", lambda client, *args, **how: [])
    order = order_of(strategy)
    perils.offset += timedelta(seconds=11)
    assert settle(order).status == OrderStatus.FILLED
    assert len(paper.ledger()) == 1


@pytest.mark.django_db(databases=DATABASES, transaction=True)
def test_a_fill_whose_order_cannot_be_asked_for_leaves_all_undecided(
    strategy: Strategy, paper: PaperExchange, perils: Perils, monkeypatch: pytest.MonkeyPatch
) -> None:
    paper.control("faults", orders={"reset_after": 1}, dedupe="none")
    order = order_of(strategy)
    [fill] = connect(strategy.account).fills(
        Market.USDTM, "BTC-USDT", start=timezone.now() - timedelta(hours=1), end=timezone.now() + timedelta(hours=1)
    )
    paper.control("faults", orders=None, lookup_lag_ms=60_000, lag_everywhere=True)
    monkeypatch.setattr(BingX, "fills", lambda client, *args, **how: [fill])
    perils.offset += timedelta(seconds=11)
    for _ in range(3):
        with pytest.raises(OutcomeUnknown):
            settle(order)
        perils.offset += timedelta(seconds=3)
    order = again(order)
    assert (order.status, order.settle_misses) == (OrderStatus.SUBMITTED, 0)
    assert len(paper.ledger()) == 1


def test_a_stop_that_was_filled_has_not_just_gone(
    account: Account, paper: PaperExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    strategy = make_strategy(account, name="stopped", leg={"stop_loss_per_order": D(1)})
    order_of(strategy)
    protect(Operation.objects.select_related("account", "strategy").get())
    paper.control("prices", **{"BTC-USDT": "49000"})
    fills = connect(account).fills(
        Market.USDTM, "BTC-USDT", start=timezone.now() - timedelta(hours=1), end=timezone.now() + timedelta(hours=1)
    )
    paper.control("faults", lookup_lag_ms=60_000, lag_everywhere=True)
    monkeypatch.setattr(BingX, "fills", lambda client, *args, **how: fills)
    stop = pass_time(again(Order.objects.get(role="STOP_LOSS")), 60)
    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            settle(stop)
        stop = pass_time(again(stop), 3)
    assert stop.status == OrderStatus.ACCEPTED


def test_a_stop_that_somebody_placed_before_ours_is_not_taken_for_it(account: Account, paper: PaperExchange) -> None:
    strategy = make_strategy(account, name="stopped", leg={"stop_loss_per_order": D(1)})
    order_of(strategy)
    paper.control("faults", orders={"reset_before": 1})
    protect(Operation.objects.select_related("account", "strategy").get())
    stop = again(Order.objects.get(role="STOP_LOSS"))
    paper.control("faults", orders=None)
    connect(account).place_order(execution.request_of(stop))
    # Ours was decided on and signed a while after that one was placed
    later = timezone.now() + timedelta(seconds=30)
    Order.objects.filter(pk=stop.pk).update(submitted_at=later, created_at=later)
    assert settle(stop).status == OrderStatus.SUBMITTED
    Order.objects.filter(pk=stop.pk).update(submitted_at=stop.submitted_at, created_at=stop.created_at)
    assert settle(stop).status == OrderStatus.ACCEPTED


def test_an_order_whose_time_stamp_was_refused_is_settled_and_signed_anew(
    strategy: Strategy, paper: PaperExchange
) -> None:
    paper.control("faults", clock_offset_ms=60_000)
    order = order_of(strategy)
    assert order.status == OrderStatus.SUBMITTED
    paper.control("faults", reset=True)
    assert settle(order).status == OrderStatus.SUBMITTED, "before the fence nothing is sent"
    for seconds in (30, 5):
        order = settle(pass_time(order, seconds))
    assert order.status == OrderStatus.FILLED
    assert len(paper.ledger()) == 1


def test_s29_closing_by_hand_while_an_order_is_in_flight_sends_nothing_before_it_is_settled(
    strategy: Strategy, paper: PaperExchange
) -> None:
    paper.control("faults", orders={"reset_after": 1})
    entry = order_of(strategy)
    paper.control("faults", orders=None)
    assert entry.status == OrderStatus.SUBMITTED
    close_by_hand(entry.operation, "ana")
    for _ in range(3):
        run(strategy)
    assert len(paper.ledger()) == 1
    reconcile.settle(again(entry))
    run(strategy)
    assert [row["side"] for row in paper.ledger()] == ["BUY", "SELL"]
    assert Operation.objects.get().status == Operation.Status.CLOSED
    assert paper.positions() == []


def test_s29_closing_by_hand_an_entry_that_never_arrived_does_not_send_it_after_the_fence(
    strategy: Strategy, paper: PaperExchange
) -> None:
    paper.control("faults", orders={"reset_before": 1})
    entry = order_of(strategy)
    paper.control("faults", orders=None)
    close_by_hand(entry.operation, "ana")
    with pytest.raises(NothingToClose):
        close_by_hand(entry.operation, "ana")
    for _ in range(3):
        reconcile.settle(pass_time(again(entry), 30))
        run(strategy)
    assert paper.ledger() == []
    assert paper.positions() == []
