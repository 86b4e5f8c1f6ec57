"""Interleavings that a review found: late refusals, forgotten stops, blocked exits, entries that nobody wants now."""

from datetime import timedelta
from decimal import Decimal as D

import pytest
from django.utils import timezone

from alarms import routing
from alarms.intake import record_alarm
from alarms.models import Alarm
from alarms.tasks import sweep_alarms
from exchange import clock
from exchange.bingx import BingX
from exchange.errors import Refused
from exchange.models import Account, ExchangeClock
from exchange.types import Market, OrderReport, ReportStatus
from market.instruments import refresh
from operations import execution, killswitch, reconcile
from operations.lifecycle import AlarmFacts, carry_out
from operations.models import Lane, Notice, Operation, Order
from operations.protection import protect
from operations.states import OrderStatus
from operations.tasks import sweep_closing
from operations.transitions import apply_report
from pelusa.testing import DATABASES, PaperExchange, alarm_body, list_instruments, make_account, make_strategy
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
    return make_strategy(account, leg={"stop_loss_per_order": D(2)})


def order_of(strategy: Strategy, verdict: Verdict = OPEN, alarm_id: int = 1) -> Order:
    decision = carry_out(strategy, AlarmFacts(alarm_id, "long", timezone.now()), verdict)
    run(strategy)
    return again(decision.orders.get())


def run(strategy: Strategy) -> None:
    execution.run_lane(Lane.objects.get(account=strategy.account, symbol=strategy.symbol))


def again(order: Order) -> Order:
    return Order.objects.select_related("lane__account", "operation__strategy", "decision").get(pk=order.pk)


def move_back(order: Order, seconds: float) -> Order:
    """Let time pass for an order by moving its past back."""
    earlier = timedelta(seconds=seconds)
    for name in ("submitted_at", "missed_at", "closed_at", "created_at"):
        moment = getattr(order, name)
        if moment:
            Order.objects.filter(pk=order.pk).update(**{name: moment - earlier})
    return again(order)


def settle_twice_behind_the_fence(order: Order) -> Order:
    order = move_back(order, 11)
    for _ in range(2):
        reconcile.settle(order)
        order = move_back(again(order), 3)
    return order


def the_stop(operation: Operation) -> Order:
    protect(operation)
    return again(operation.orders.get(role=Order.Role.STOP_LOSS))


def test_a_late_refusal_of_an_earlier_sending_leaves_the_later_one_alone(
    strategy: Strategy, paper: PaperExchange
) -> None:
    paper.control("faults", orders={"reset_before": 1})
    stale = order_of(strategy)
    Order.objects.filter(pk=stale.pk).update(submitted_at=timezone.now())
    execution._reject(stale, "refused", "100421", "timestamp is invalid")
    assert again(stale).status == OrderStatus.SUBMITTED


def test_an_entry_of_an_operation_that_is_closing_is_not_sent_again(strategy: Strategy, paper: PaperExchange) -> None:
    paper.control("faults", orders={"reset_before": 1})
    entry = order_of(strategy)
    order_of(strategy, CLOSE, alarm_id=2)
    paper.control("faults", orders=None)
    entry = settle_twice_behind_the_fence(entry)
    assert (entry.status, entry.reason) == (OrderStatus.REJECTED, "never_arrived")
    run(strategy)
    assert paper.ledger() == []
    assert Operation.objects.get().status == Operation.Status.ABORTED


def test_an_entry_is_not_sent_again_under_a_pulled_kill_switch(strategy: Strategy, paper: PaperExchange) -> None:
    paper.control("faults", orders={"reset_before": 1})
    entry = order_of(strategy)
    killswitch.pull(None, "tester", "enough")
    paper.control("faults", orders=None)
    assert settle_twice_behind_the_fence(entry).status == OrderStatus.REJECTED
    assert paper.ledger() == []


def test_a_refused_exit_is_told_to_a_human_until_it_is_flat(strategy: Strategy, paper: PaperExchange) -> None:
    order_of(strategy)
    paper.control("faults", reject_exits={"code": 101415, "msg": "suspended"})
    move_back(order_of(strategy, CLOSE, alarm_id=2), 60)
    sweep_closing()
    notice = Notice.objects.get(kind="exit_refused")
    assert notice.facts["held"].startswith("0.01")
    paper.control("faults", reject_exits=None)
    run(strategy)
    sweep_closing()
    notice.refresh_from_db()
    assert notice.ended_at is not None


def test_between_refused_exits_the_stop_stands_again(strategy: Strategy, paper: PaperExchange) -> None:
    order_of(strategy)
    operation = Operation.objects.get()
    the_stop(operation)
    paper.control("faults", reject_exits={"code": 101415, "msg": "suspended"})
    order_of(strategy, CLOSE, alarm_id=2)
    assert not operation.orders.filter(role="STOP_LOSS", status="accepted").exists()
    protect(Operation.objects.select_related("account", "strategy").get())
    assert operation.orders.filter(role="STOP_LOSS", status="accepted").count() == 1
    paper.control("faults", reject_exits=None)
    move_back(again(operation.orders.filter(role="EXIT").get()), 60)
    sweep_closing()
    run(strategy)
    operation.refresh_from_db()
    assert operation.status == Operation.Status.CLOSED
    assert [row["status"] for row in paper.ledger() if row["type"] == "STOP_MARKET"] == ["CANCELLED", "CANCELLED"]


def test_exits_that_were_never_sent_do_not_make_the_next_wait_longer(strategy: Strategy) -> None:
    order_of(strategy)
    lane, operation = Lane.objects.get(), Operation.objects.get()
    Operation.objects.update(status=Operation.Status.CLOSING, stack_key=None)
    for _ in range(6):
        exit_order = reconcile.create_exit(lane, operation, None)
        sent = {"quantity": D("0.01"), "submitted_at": timezone.now(), "closed_at": timezone.now()}
        Order.objects.filter(pk=exit_order.pk).update(status="rejected", reason="not_sent", **sent)
    assert reconcile.finish_closing(operation) is None
    Order.objects.filter(reason="not_sent").update(closed_at=timezone.now() - timedelta(seconds=4))
    assert reconcile.finish_closing(operation) is not None


def report(order: Order, status: ReportStatus, filled: D = D(0)) -> OrderReport:
    return OrderReport(
        market=order.lane.market,  # type: ignore[arg-type]
        symbol=order.lane.symbol,
        exchange_order_id=order.exchange_order_id,
        client_order_id="",
        status=status,
        side=order.side,  # type: ignore[arg-type]
        position_side=order.position_side,  # type: ignore[arg-type]
        order_type=order.order_type,
        quantity=order.quantity or D(0),
        filled_quantity=filled,
        avg_price=None,
    )


def test_a_stop_that_failed_there_while_we_cancel_it_has_ended(strategy: Strategy) -> None:
    order_of(strategy)
    stop = the_stop(Operation.objects.get())
    Order.objects.filter(pk=stop.pk).update(status="pending_cancel")
    stop = again(stop)
    assert apply_report(stop, report(stop, ReportStatus.REJECTED), source="query")
    assert again(stop).status == OrderStatus.EXPIRED


@pytest.mark.parametrize("status", list(ReportStatus))
@pytest.mark.parametrize("known", list(OrderStatus))
def test_no_report_ever_breaks_a_sweep(strategy: Strategy, known: OrderStatus, status: ReportStatus) -> None:
    order = order_of(strategy)
    Order.objects.filter(pk=order.pk).update(status=known.value, filled_quantity=0)
    apply_report(again(order), report(order, status), source="query")


def test_a_stop_that_the_exchange_forgot_does_not_block_the_exit(strategy: Strategy, paper: PaperExchange) -> None:
    order_of(strategy)
    stop = the_stop(Operation.objects.get())
    Order.objects.filter(pk=stop.pk).update(exchange_order_id="1", submitted_at=timezone.now() - timedelta(hours=1))
    exit_order = order_of(strategy, CLOSE, alarm_id=2)
    assert exit_order.status == OrderStatus.CREATED
    for _ in range(2):
        reconcile.settle(again(stop))
        stop = move_back(again(stop), 3)
    assert (stop.status, stop.reason) == (OrderStatus.CANCELED, "gone_at_exchange")
    run(strategy)
    assert again(exit_order).status == OrderStatus.FILLED


def test_an_order_that_stays_accepted_freezes_its_lane_and_is_told(strategy: Strategy) -> None:
    order = order_of(strategy)
    Order.objects.filter(pk=order.pk).update(
        status="accepted", filled_quantity=0, submitted_at=timezone.now() - timedelta(minutes=1)
    )
    lane = Lane.objects.get()
    reconcile.watch_lane(lane)
    assert lane.frozen_reason == "unsettled"
    assert Notice.objects.filter(kind="unsettled_order", ended_at=None).exists()
    Order.objects.filter(pk=order.pk).update(status="filled")
    reconcile.watch_lane(lane)
    assert lane.frozen_reason == ""
    assert not Notice.objects.filter(kind="unsettled_order", ended_at=None).exists()


def test_an_exit_goes_out_although_the_position_mode_cannot_be_read(
    strategy: Strategy, monkeypatch: pytest.MonkeyPatch
) -> None:
    order_of(strategy)
    Account.objects.update(position_mode_read_at=timezone.now() - timedelta(hours=1))

    def refuse(client: BingX) -> None:
        raise Refused("incorrect apiKey", code="100413")

    monkeypatch.setattr(BingX, "position_mode", refuse)
    strategy = Strategy.objects.select_related("account").get()
    assert order_of(strategy, CLOSE, alarm_id=2).status == OrderStatus.FILLED


def test_a_poisoned_alarm_stops_neither_its_pair_nor_the_sweep(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_strategy(account)
    poison = record_alarm(alarm_body(ticker="ETHUSDT.P"), "127.0.0.1").alarm_id
    honest = record_alarm(alarm_body(), "127.0.0.1").alarm_id
    route = routing._route

    def break_one(alarm: Alarm) -> None:
        if alarm.pk == poison:
            raise ValueError("nobody foresaw this")
        route(alarm)

    monkeypatch.setattr(routing, "_route", break_one)
    Alarm.objects.update(received_at=timezone.now() - timedelta(seconds=5))
    for _ in range(routing.MOST_ATTEMPTS):
        sweep_alarms()
    assert Alarm.objects.get(pk=honest).status == "processed"
    assert Alarm.objects.get(pk=poison).reason == "quarantined"


def test_no_entry_is_sent_while_the_clocks_are_apart(strategy: Strategy, paper: PaperExchange) -> None:
    ExchangeClock.objects.create(environment="paper", offset_ms=-1500, measured_at=timezone.now())
    assert order_of(strategy).reason == "clock_off"
    assert paper.ledger() == []


def test_the_clock_is_measured_against_the_exchange(strategy: Strategy) -> None:
    clock.measure("paper")
    assert abs(clock.known_offset("paper")) < clock.TOLERANCE
    assert order_of(strategy).status == OrderStatus.FILLED


def test_the_fence_stands_further_away_when_the_clocks_are_apart(strategy: Strategy) -> None:
    order = order_of(strategy)
    near = reconcile.fence_of(order)
    ExchangeClock.objects.create(environment="paper", offset_ms=-7000, measured_at=timezone.now())
    assert reconcile.fence_of(order) - near == timedelta(seconds=7)


def test_what_a_spot_share_is_too_small_to_sell_ends_the_operation_as_crumbs(
    account: Account, paper: PaperExchange
) -> None:
    refresh(Market.SPOT)
    paper.control("prices", **{"BTC-USDT": "50000"})
    strategy = make_strategy(account, market="spot", leg={"size": D("0.0002")})
    entry = order_of(strategy)
    reconcile.collect_fills(entry)
    paper.control("prices", **{"BTC-USDT": "1000"})
    exit_order = order_of(strategy, CLOSE, alarm_id=2)
    assert (exit_order.status, exit_order.reason) == (OrderStatus.DENIED, "crumbs")
    assert Operation.objects.get().status == Operation.Status.CLOSED
