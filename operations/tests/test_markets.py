"""COIN-M and spot through the same engine: contracts and coins, fees in the coin, spot without shorts or borrowing."""

from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from django.utils import timezone

from exchange.connection import connect
from exchange.models import Account
from exchange.types import Market
from market.instruments import refresh
from market.models import Instrument
from operations import execution, reconcile
from operations.comparison import take_stock
from operations.lifecycle import AlarmFacts, carry_out
from operations.models import Decision, Fill, Lane, Operation, Order
from operations.states import OrderStatus
from pelusa.testing import DATABASES, PaperExchange, make_account, make_strategy
from strategies.models import Strategy
from strategies.rules import Verdict

pytestmark = pytest.mark.django_db(databases=DATABASES)

OPEN = Verdict("open", "entry", {"leg": "long"})
CLOSE = Verdict("close", "exit", {"leg": "long"})


@pytest.fixture
def account(paper: PaperExchange) -> Account:
    paper.control("prices", **{"BTC-USD": "50000"})
    for market in Market:
        refresh(market)
    return make_account()


def coinm(account: Account, **leg: Any) -> Strategy:
    """Make a strategy of 3 contracts of 100 USD."""
    return make_strategy(
        account, ticker="BTCUSD.P", market="coinm", symbol="BTC-USD", pair="BTCUSD", leg={"size": D(3)} | leg
    )


def spot(account: Account, name: str = "spot", **leg: Any) -> Strategy:
    return make_strategy(account, name=name, ticker="BTCUSDT", market="spot", leg={"size": D("0.01")} | leg)


def decide(
    strategy: Strategy, verdict: Verdict, *, alarm_id: int = 1, leg: str = "long", quantity: D | None = None
) -> Decision:
    return carry_out(strategy, AlarmFacts(alarm_id, leg, timezone.now(), D(50000), quantity), verdict)


def act(strategy: Strategy, verdict: Verdict, **alarm: Any) -> Order:
    """Decide, let the engine work until it has nothing more to do, and return the decision's order."""
    decision = decide(strategy, verdict, **alarm)
    work(strategy)
    return decision.orders.get()


def work(strategy: Strategy) -> None:
    """Send, settle and fetch fills until nothing changes, as the sweeps do."""
    lane = Lane.objects.get(account=strategy.account, market=strategy.market, symbol=strategy.symbol)
    orders = lane.orders.select_related("lane__account", "operation__strategy", "decision")
    before = None
    while before != (now := list(orders.values_list("status", "filled_quantity", "has_all_fills"))):
        before = now
        execution.run_lane(lane)
        for order in orders.filter(status__in=["submitted", "accepted", "partially_filled"]):
            reconcile.settle(order)
        for order in orders.filter(filled_quantity__gt=0, has_all_fills=False):
            reconcile.collect_fills(order)


def operation_of(strategy: Strategy) -> Operation:
    return Operation.objects.filter(strategy=strategy).latest("id")


def coins_of(account: Account, asset: str = "BTC") -> D:
    return next(each.balance for each in connect(account).balances(Market.SPOT) if each.asset == asset)


# COIN-M


def test_a_coinm_entry_is_in_contracts(account: Account, paper: PaperExchange) -> None:
    order = act(coinm(account), OPEN)
    assert (order.status, order.filled_quantity, order.avg_price) == (OrderStatus.FILLED, D(3), D(50000))
    assert (order.side, order.position_side, order.reduce_only) == ("BUY", "LONG", False)
    assert [(row["market"], row["quantity"]) for row in paper.ledger()] == [("coinm", "3")]


def test_a_coinm_answer_without_a_status_is_asked_for_at_once(account: Account) -> None:
    order = decide(coinm(account), OPEN).orders.get()
    execution.run_lane(order.lane)
    order.refresh_from_db()
    assert order.status == OrderStatus.FILLED
    assert [event.status for event in order.events.all()] == ["created", "submitted", "accepted", "filled"]


def test_a_coinm_order_that_cannot_be_asked_for_waits_for_the_sweep(account: Account, paper: PaperExchange) -> None:
    strategy = coinm(account)
    order = decide(strategy, OPEN).orders.get()
    paper.control("faults", lookups={"gateway_after": 1})
    execution.run_lane(order.lane)
    order.refresh_from_db()
    assert order.status == OrderStatus.ACCEPTED
    paper.control("faults", lookups=None)
    work(strategy)
    order.refresh_from_db()
    assert order.status == OrderStatus.FILLED


def test_a_coinm_round_trip_is_booked_in_the_coin(account: Account, paper: PaperExchange) -> None:
    strategy = coinm(account)
    act(strategy, OPEN)
    paper.control("prices", **{"BTC-USD": "60000"})
    act(strategy, CLOSE, alarm_id=2)
    operation = operation_of(strategy)
    assert operation.status == Operation.Status.CLOSED
    assert (operation.avg_entry_price, operation.avg_exit_price) == (D(50000), D(60000))
    # 300 USD were 0.006 coins and are 0.005; the fee is 0.05 % of each
    assert operation.realised_pnl == D("0.001")
    assert operation.fees == D("0.0000055")
    assert {fill.fee_asset for order in operation.orders.all() for fill in order.fills.all()} == {"BTC"}


def test_a_coinm_short_earns_coins_when_the_price_falls(account: Account, paper: PaperExchange) -> None:
    strategy = coinm(account, name="short")
    act(strategy, OPEN, leg="short")
    paper.control("prices", **{"BTC-USD": "40000"})
    act(strategy, CLOSE, alarm_id=2, leg="short")
    assert operation_of(strategy).realised_pnl == D("0.0015")


def test_the_wallet_changed_by_what_the_books_say(account: Account, paper: PaperExchange) -> None:
    strategy = coinm(account)
    act(strategy, OPEN)
    paper.control("prices", **{"BTC-USD": "60000"})
    act(strategy, CLOSE, alarm_id=2)
    operation = operation_of(strategy)
    (wallet,) = [each for each in connect(account).balances(Market.COINM) if each.asset == "BTC"]
    assert wallet.balance == D(10) + operation.realised_pnl - operation.fees


def test_half_a_contract_is_rounded_down_and_less_than_one_is_denied(account: Account) -> None:
    assert act(coinm(account, sizing="alarm", size=None), OPEN, quantity=D("2.5")).quantity == D(2)
    other = make_strategy(
        account,
        name="half",
        market="coinm",
        symbol="BTC-USD",
        pair="BTCUSD",
        leg={"sizing": "alarm", "size": None},
    )
    denied = act(other, OPEN, alarm_id=2, quantity=D("0.5"))
    assert (denied.status, denied.reason) == (OrderStatus.DENIED, "below_min_quantity")


@pytest.mark.parametrize(
    ("leg", "contracts"),
    [
        # 1250 USD
        ({"sizing": "notional", "size": D(1250)}, 12),
        # 1 % of 10 coins at 50000 is 5000 USD, at five-fold leverage 25000
        ({"sizing": "equity_percent", "size": D(1), "leverage": 5}, 250),
        # 1 % of 500000 USD may be lost at a stop 2 % away
        ({"sizing": "risk_percent", "size": D(1), "stop_loss_per_order": D(2), "leverage": 10}, 2500),
    ],
)
def test_coinm_sizes_are_of_the_coins_worth(account: Account, leg: dict[str, Any], contracts: int) -> None:
    assert act(coinm(account, **leg), OPEN).quantity == contracts


def test_coinm_equity_is_that_of_its_own_coin(account: Account, paper: PaperExchange) -> None:
    paper.control("prices", **{"ETH-USD": "2500"})
    strategy = make_strategy(
        account,
        market="coinm",
        symbol="ETH-USD",
        pair="ETHUSD",
        leg={"sizing": "equity_percent", "size": D(1)},
    )
    # 1 % of 100 ETH at 2500 is 2500 USD: 250 contracts of 10
    assert act(strategy, OPEN).quantity == D(250)


def test_coinm_leverage_and_margin_mode_are_set_before_the_entry(account: Account) -> None:
    act(coinm(account, leverage=7, margin_mode="ISOLATED"), OPEN)
    client = connect(account)
    assert client.leverage(Market.COINM, "BTC-USD").long_leverage == 7
    assert client.margin_mode(Market.COINM, "BTC-USD") == "ISOLATED"


def test_two_coinm_strategies_share_a_position(account: Account) -> None:
    one = coinm(account)
    other = make_strategy(account, name="other", market="coinm", symbol="BTC-USD", pair="BTCUSD", leg={"size": D(5)})
    act(one, OPEN)
    act(other, OPEN)
    act(one, CLOSE, alarm_id=2)
    (position,) = connect(account).positions(Market.COINM)
    assert (position.quantity, operation_of(other).held_quantity) == (D(5), D(5))


def test_a_lost_coinm_answer_is_settled_and_never_doubled(account: Account, paper: PaperExchange) -> None:
    paper.control("faults", orders={"reset_after": 1})
    strategy = coinm(account)
    order = decide(strategy, OPEN).orders.get()
    execution.run_lane(order.lane)
    order.refresh_from_db()
    assert order.status == OrderStatus.SUBMITTED
    paper.control("faults", orders=None)
    work(strategy)
    assert operation_of(strategy).held_quantity == D(3)
    assert len(paper.ledger()) == 1


@pytest.mark.parametrize("make", [coinm, spot])
def test_an_order_that_the_look_up_hides_is_found_in_history(account: Account, paper: PaperExchange, make: Any) -> None:
    paper.control("faults", orders={"reset_after": 1}, lookup_lag_ms=60_000)
    order = decide(make(account), OPEN).orders.get()
    execution.run_lane(order.lane)
    Order.objects.update(submitted_at=timezone.now() - timedelta(seconds=11))
    reconcile.settle(Order.objects.select_related("lane__account", "operation__strategy", "decision").get())
    order.refresh_from_db()
    assert order.status == OrderStatus.FILLED


@pytest.mark.parametrize("make", [coinm, spot])
def test_an_order_that_never_arrived_is_sent_again_with_the_same_id(
    account: Account, paper: PaperExchange, make: Any
) -> None:
    paper.control("faults", orders={"reset_before": 1})
    strategy = make(account)
    order = decide(strategy, OPEN).orders.get()
    execution.run_lane(order.lane)
    paper.control("faults", orders=None)
    for _ in range(2):
        long_ago = timezone.now() - timedelta(seconds=11)
        Order.objects.update(submitted_at=long_ago)
        Order.objects.filter(missed_at__isnull=False).update(missed_at=long_ago)
        reconcile.settle(Order.objects.select_related("lane__account", "operation__strategy", "decision").get())
    work(strategy)
    assert [row["client_order_id"] for row in paper.ledger()] == [order.client_order_id]
    assert operation_of(strategy).status == Operation.Status.OPEN


def test_a_round_trip_within_one_second_is_booked_right_whichever_fill_came_first(
    account: Account, paper: PaperExchange
) -> None:
    strategy = coinm(account)
    entry = act(strategy, OPEN)
    paper.control("prices", **{"BTC-USD": "60000"})
    act(strategy, CLOSE, alarm_id=2)
    entry.fills.all().delete()
    Fill.objects.update(filled_at=entry.closed_at)
    reconcile.collect_fills(Order.objects.select_related("lane__account", "operation").get(pk=entry.pk))
    Fill.objects.update(filled_at=entry.closed_at)
    reconcile.collect_fills(Order.objects.select_related("lane__account", "operation").get(pk=entry.pk))
    assert operation_of(strategy).realised_pnl == D("0.001")


# Spot


def test_a_spot_entry_buys_by_base_quantity_and_holds_what_the_fee_left(account: Account) -> None:
    strategy = spot(account)
    order = act(strategy, OPEN)
    assert (order.side, order.position_side, order.reduce_only) == ("BUY", "BOTH", False)
    assert (order.filled_quantity, order.avg_price, order.base_fee) == (D("0.01"), D(50000), D("0.00001"))
    operation = operation_of(strategy)
    assert (operation.quantity, operation.held_quantity) == (D("0.00999"), D("0.00999"))
    assert coins_of(account) == D("1.00999")


def test_spot_averages_and_fees_are_in_quote(account: Account, paper: PaperExchange) -> None:
    strategy = spot(account)
    act(strategy, OPEN)
    paper.control("prices", **{"BTC-USDT": "60000"})
    act(strategy, CLOSE, alarm_id=2)
    operation = operation_of(strategy)
    assert operation.status == Operation.Status.CLOSED
    assert (operation.avg_entry_price, operation.avg_exit_price) == (D(50000), D(60000))
    assert operation.realised_pnl == D("99.9")
    # 0.00001 coins at 50000, and 0.1 % of 599.4
    assert operation.fees == D("0.5") + D("0.5994")


def test_the_spot_wallet_changed_by_what_the_books_say(account: Account, paper: PaperExchange) -> None:
    strategy = spot(account)
    act(strategy, OPEN)
    paper.control("prices", **{"BTC-USDT": "60000"})
    act(strategy, CLOSE, alarm_id=2)
    operation = operation_of(strategy)
    assert coins_of(account) == 1
    # The fee in coins was paid with quote money: its price is in the fees
    assert coins_of(account, "USDT") == D(100_000) + operation.realised_pnl - operation.fees


def test_an_exit_waits_for_the_fills_that_tell_the_fee(account: Account, paper: PaperExchange) -> None:
    strategy = spot(account)
    entry = decide(strategy, OPEN).orders.get()
    decide(strategy, CLOSE, alarm_id=2)
    execution.run_lane(entry.lane)
    assert [row["side"] for row in paper.ledger()] == ["BUY"]
    work(strategy)
    assert [(row["side"], row["quantity"]) for row in paper.ledger()] == [("BUY", "0.01"), ("SELL", "0.00999")]
    assert operation_of(strategy).status == Operation.Status.CLOSED


def test_crumbs_below_the_step_end_the_operation(account: Account) -> None:
    # 0.00123 less 0.1 % is 0.00122877; the step is 0.00001
    strategy = spot(account, size=D("0.00123"))
    act(strategy, OPEN)
    order = act(strategy, CLOSE, alarm_id=2)
    assert order.filled_quantity == D("0.00122")
    operation = operation_of(strategy)
    assert (operation.status, operation.held_quantity) == (Operation.Status.CLOSED, D("0.00000877"))
    assert coins_of(account) == D("1.00000877")


def test_a_share_that_the_fee_left_below_one_step_ends_when_it_is_closed(
    account: Account, paper: PaperExchange
) -> None:
    Instrument.objects.filter(market="spot", symbol="BTC-USDT").update(step_size=D(1), min_quantity=D(1))
    strategy = spot(account, size=D(1))
    act(strategy, OPEN)
    order = act(strategy, CLOSE, alarm_id=2)
    assert (order.status, order.reason) == (OrderStatus.DENIED, "nothing_left_to_close")
    assert operation_of(strategy).status == Operation.Status.CLOSED
    assert len(paper.ledger()) == 1


def test_fills_in_parts_leave_the_same_share(account: Account, paper: PaperExchange) -> None:
    paper.control("faults", partial_fills={"slices": 7})
    strategy = spot(account)
    order = act(strategy, OPEN)
    assert order.fills.count() > 1
    assert (order.base_fee, operation_of(strategy).held_quantity) == (D("0.00001"), D("0.00999"))
    act(strategy, CLOSE, alarm_id=2)
    assert operation_of(strategy).status == Operation.Status.CLOSED


def test_fetching_spot_fills_again_takes_the_fee_once(account: Account) -> None:
    strategy = spot(account)
    order = act(strategy, OPEN)
    reconcile.collect_fills(Order.objects.select_related("lane__account", "operation").get(pk=order.pk))
    order.refresh_from_db()
    assert (order.base_fee, operation_of(strategy).held_quantity) == (D("0.00001"), D("0.00999"))


def test_two_spot_strategies_share_the_coins_without_touching_each_others(account: Account) -> None:
    one, other = spot(account, "one", size=D("0.00123")), spot(account, "other", size=D("0.00777"))
    for strategy in (one, other):
        act(strategy, OPEN)
    share = operation_of(other).held_quantity
    act(one, CLOSE, alarm_id=2)
    assert operation_of(other).held_quantity == share == D("0.00776223")
    assert coins_of(account) == D(1) + share + operation_of(one).held_quantity
    act(other, CLOSE, alarm_id=3)
    assert [each.status for each in Operation.objects.all()] == [Operation.Status.CLOSED] * 2
    assert coins_of(account) >= 1, "the trader's own coin was not sold"
    assert all(line.is_equal for line in take_stock(account, Market.SPOT))


def test_stacked_spot_entries_are_sold_together(account: Account, paper: PaperExchange) -> None:
    strategy = spot(account, pyramiding=3)
    for number in (1, 2, 3):
        act(strategy, OPEN, alarm_id=number)
    act(strategy, CLOSE, alarm_id=4)
    assert [row["quantity"] for row in paper.ledger()] == ["0.01", "0.01", "0.01", "0.02997"]


@pytest.mark.parametrize(
    ("leg", "quantity"),
    [
        ({"sizing": "notional", "size": D(1234)}, "0.02468"),
        ({"sizing": "equity_percent", "size": D(5)}, "0.1"),
        ({"sizing": "risk_percent", "size": D(1), "stop_loss_per_order": D(4)}, "0.5"),
    ],
)
def test_spot_sizes_are_of_the_quote_money(account: Account, leg: dict[str, Any], quantity: str) -> None:
    assert act(spot(account, **leg), OPEN).quantity == D(quantity)


def test_a_spot_entry_without_the_money_is_refused_with_what_to_do(account: Account) -> None:
    order = act(spot(account, size=D(50)), OPEN)
    assert (order.status, order.reason, order.code) == (OrderStatus.REJECTED, "refused", "100202")
    assert "Not enough money" in order.detail


def test_spot_asks_for_neither_leverage_nor_a_position_mode(account: Account, paper: PaperExchange) -> None:
    paper.control("faults", account={"gateway_after": 1})
    assert act(spot(account), OPEN).status == OrderStatus.FILLED


def test_a_lost_spot_answer_is_settled_and_never_doubled(account: Account, paper: PaperExchange) -> None:
    paper.control("faults", orders={"reset_after": 1})
    strategy = spot(account)
    order = decide(strategy, OPEN).orders.get()
    execution.run_lane(order.lane)
    paper.control("faults", orders=None)
    work(strategy)
    assert operation_of(strategy).held_quantity == D("0.00999")
    assert len(paper.ledger()) == 1


def test_one_symbol_on_spot_and_on_the_perpetual_is_two_lanes(account: Account) -> None:
    on_spot, on_swap = spot(account), make_strategy(account, name="swap")
    act(on_spot, OPEN)
    act(on_swap, OPEN)
    act(on_spot, CLOSE, alarm_id=2)
    assert operation_of(on_swap).held_quantity == D("0.01")
    assert connect(account).positions(Market.USDTM)[0].quantity == D("0.01")
