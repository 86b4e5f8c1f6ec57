"""Orders on their way: the row before the act, one order for one intention, and what each answer does to it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import pytest
from django.utils import timezone

from exchange.errors import ExchangeError
from exchange.models import Account
from operations import execution, reconcile, transitions
from operations.lifecycle import AlarmFacts, NothingToClose, carry_out, close_by_hand, standing_of
from operations.models import Decision, Lane, Operation, Order
from operations.states import OrderStatus
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


def act(
    strategy: Strategy, verdict: Verdict, *, alarm_id: int = 1, leg: str = "long", received_at: datetime | None = None
) -> Decision:
    facts = AlarmFacts(alarm_id, leg, received_at or timezone.now(), D(50000), D("0.02"))
    return carry_out(strategy, facts, verdict)


def run(strategy: Strategy) -> None:
    execution.run_lane(Lane.objects.get(account=strategy.account, symbol=strategy.symbol))


def the_order(**where: object) -> Order:
    return Order.objects.select_related("lane__account", "operation__strategy", "decision").get(**where)


@pytest.mark.django_db(databases=DATABASES, transaction=True)
def test_a_count_that_breaks_keeps_no_order_from_the_wire(
    strategy: Strategy, paper: PaperExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: object, **__: object) -> None:
        raise RuntimeError("no more to count with")

    monkeypatch.setattr(transitions, "add", break_down)
    act(strategy, OPEN)
    run(strategy)
    assert the_order().status == "filled"


def test_an_entry_is_filled_and_its_operation_opens(strategy: Strategy, paper: PaperExchange) -> None:
    act(strategy, OPEN)
    run(strategy)
    order = the_order()
    assert (order.status, order.side, order.position_side) == ("filled", "BUY", "LONG")
    assert (order.filled_quantity, order.avg_price) == (D("0.01"), D(50000))
    assert order.operation.status == Operation.Status.OPEN
    assert [row["client_order_id"] for row in paper.ledger()] == [order.client_order_id]


def test_every_step_of_an_order_leaves_an_event(strategy: Strategy) -> None:
    act(strategy, OPEN)
    run(strategy)
    assert [event.status for event in the_order().events.all()] == ["created", "submitted", "filled"]


def test_a_round_trip_is_booked_from_its_fills(strategy: Strategy, paper: PaperExchange) -> None:
    act(strategy, OPEN)
    run(strategy)
    paper.control("prices", **{"BTC-USDT": "51000"})
    act(strategy, CLOSE, alarm_id=2)
    run(strategy)
    for order in Order.objects.select_related("lane__account", "operation"):
        reconcile.collect_fills(order)
    operation = Operation.objects.get()
    assert operation.status == Operation.Status.CLOSED
    assert (operation.avg_entry_price, operation.avg_exit_price) == (D(50000), D(51000))
    assert (operation.realised_pnl, operation.fees) == (D(10), D("0.505"))
    assert (operation.quantity, operation.held_quantity) == (D("0.01"), D(0))
    assert operation.opened_at
    assert operation.closed_at


def test_fetching_fills_twice_counts_them_once(strategy: Strategy) -> None:
    act(strategy, OPEN)
    run(strategy)
    reconcile.collect_fills(the_order())
    reconcile.collect_fills(the_order())
    assert the_order().fills.count() == 1
    assert the_order().has_all_fills


def test_the_same_alarm_decided_twice_is_one_decision_and_one_order(strategy: Strategy) -> None:
    first = act(strategy, OPEN)
    assert act(strategy, OPEN).pk == first.pk
    assert Order.objects.count() == 1


def test_a_close_touches_the_strategys_own_share_only(
    account: Account, strategy: Strategy, paper: PaperExchange
) -> None:
    other = make_strategy(account, name="other", leg={"size": D("0.02")})
    act(strategy, OPEN)
    act(other, OPEN)
    run(strategy)
    act(strategy, CLOSE, alarm_id=2)
    run(strategy)
    assert Operation.objects.get(strategy=other).held_quantity == D("0.02")
    assert [row["quantity"] for row in paper.ledger()] == ["0.01", "0.02", "0.01"]


def test_a_close_that_waits_behind_its_entry_closes_what_the_entry_got(strategy: Strategy) -> None:
    act(strategy, OPEN)
    act(strategy, CLOSE, alarm_id=2)
    run(strategy)
    assert [order.status for order in Order.objects.order_by("id")] == ["filled", "filled"]
    assert Operation.objects.get().status == Operation.Status.CLOSED


def test_a_flip_sends_the_exit_before_the_next_entry(strategy: Strategy, paper: PaperExchange) -> None:
    for number, verdict in enumerate([OPEN, CLOSE, OPEN], start=1):
        act(strategy, verdict, alarm_id=number)
    run(strategy)
    assert [row["side"] for row in paper.ledger()] == ["BUY", "SELL", "BUY"]
    assert Operation.objects.count() == 2


def test_a_short_leg_sells_to_enter_and_buys_to_leave(account: Account, paper: PaperExchange) -> None:
    strategy = make_strategy(account, leg={"name": "short"})
    act(strategy, OPEN, leg="short")
    act(strategy, CLOSE, alarm_id=2, leg="short")
    run(strategy)
    assert [(row["side"], row["position_side"]) for row in paper.ledger()] == [("SELL", "SHORT"), ("BUY", "SHORT")]


def test_stacked_entries_are_one_operation(strategy: Strategy) -> None:
    act(strategy, OPEN)
    act(strategy, OPEN, alarm_id=2)
    assert standing_of(strategy, "long").entries == 2
    run(strategy)
    assert Operation.objects.get().held_quantity == D("0.02")


def test_leverage_and_margin_mode_are_set_before_the_entry_and_remembered(account: Account) -> None:
    strategy = make_strategy(account, leg={"leverage": 7, "margin_mode": "ISOLATED"})
    act(strategy, OPEN)
    run(strategy)
    lane = Lane.objects.get()
    assert (lane.long_leverage, lane.margin_mode) == (7, "ISOLATED")


def test_an_entry_below_the_minimum_is_denied_and_its_decision_says_so(account: Account, paper: PaperExchange) -> None:
    strategy = make_strategy(account, leg={"size": D("0.00001")})
    decision = act(strategy, OPEN)
    run(strategy)
    decision.refresh_from_db()
    assert (decision.outcome, decision.reason) == ("denied", "below_min_quantity")
    assert the_order().status == OrderStatus.DENIED
    assert Operation.objects.get().status == Operation.Status.ABORTED
    assert paper.ledger() == []


def test_an_entry_whose_turn_comes_too_late_is_denied(strategy: Strategy, paper: PaperExchange) -> None:
    act(strategy, OPEN, received_at=timezone.now() - timedelta(seconds=61))
    run(strategy)
    assert the_order().reason == "alarm_too_old"
    assert paper.ledger() == []


def test_an_exit_is_sent_however_late_it_is(strategy: Strategy) -> None:
    act(strategy, OPEN)
    run(strategy)
    act(strategy, CLOSE, alarm_id=2, received_at=timezone.now() - timedelta(days=1))
    run(strategy)
    assert Operation.objects.get().status == Operation.Status.CLOSED


def test_an_account_above_the_ceiling_sends_nothing(strategy: Strategy, paper: PaperExchange, settings: object) -> None:
    Account.objects.update(environment="live")
    settings.BINGX_URLS = settings.BINGX_URLS | {"live": paper.url}  # type: ignore[attr-defined]
    act(Strategy.objects.get(), OPEN)
    run(Strategy.objects.get())
    assert the_order().reason == "above_ceiling"
    assert paper.ledger() == []


def test_an_account_that_is_off_takes_exits_only(strategy: Strategy) -> None:
    act(strategy, OPEN)
    run(strategy)
    Account.objects.update(is_active=False)
    strategy = Strategy.objects.select_related("account").get()
    act(strategy, CLOSE, alarm_id=2)
    act(strategy, OPEN, alarm_id=3)
    run(strategy)
    assert [order.status for order in Order.objects.order_by("id")] == ["filled", "filled", "denied"]


def test_a_refusal_keeps_the_exchanges_code_and_what_to_do(account: Account) -> None:
    strategy = make_strategy(account, leg={"size": D(1000)})
    act(strategy, OPEN)
    run(strategy)
    order = the_order()
    assert (order.status, order.reason, order.code) == ("rejected", "refused", "101204")
    assert "Not enough money" in order.detail


def test_no_connection_means_not_sent(strategy: Strategy, settings: object) -> None:
    decision = act(strategy, OPEN)
    settings.BINGX_URLS = settings.BINGX_URLS | {"paper": "http://127.0.0.1:9"}  # type: ignore[attr-defined]
    with pytest.raises(ExchangeError):
        run(strategy)
    # Preparing asked for the price and failed: nothing was sent, the order waits for the sweep
    assert the_order(decision=decision).status == OrderStatus.CREATED


def test_close_by_hand_closes_once(strategy: Strategy) -> None:
    act(strategy, OPEN)
    run(strategy)
    operation = Operation.objects.get()
    close_by_hand(operation, "tester")
    with pytest.raises(NothingToClose):
        close_by_hand(operation, "tester")
    run(strategy)
    operation.refresh_from_db()
    assert operation.status == Operation.Status.CLOSED


def test_the_signed_time_stamp_is_the_committed_one(strategy: Strategy, paper: PaperExchange) -> None:
    act(strategy, OPEN)
    run(strategy)
    submitted_at = the_order().submitted_at
    assert submitted_at is not None
    assert submitted_at.microsecond % 1000 == 0
    assert execution.request_of(the_order()).signed_at == submitted_at
    assert submitted_at.tzinfo == UTC
