"""One-way accounts: one net position, exits that only reduce, and a mode that may change between two orders."""

from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from django.utils import timezone

from exchange.connection import connect
from exchange.models import Account
from exchange.types import Market, PositionMode
from market.instruments import refresh
from operations import execution, reconcile
from operations.comparison import take_stock
from operations.lifecycle import AlarmFacts, carry_out
from operations.models import Lane, Operation, Order
from operations.states import OrderStatus
from pelusa.testing import DATABASES, PaperExchange, make_account, make_strategy
from strategies.models import Leg, Strategy
from strategies.rules import Verdict

pytestmark = pytest.mark.django_db(databases=DATABASES)

OPEN = Verdict("open", "entry", {})
CLOSE = Verdict("close", "exit", {})
MARKETS = [Market.USDTM, Market.COINM]
SYMBOLS = {Market.USDTM: "BTC-USDT", Market.COINM: "BTC-USD"}
SIZES = {Market.USDTM: D("0.01"), Market.COINM: D(3)}


@pytest.fixture
def hedge(paper: PaperExchange) -> Account:
    paper.control("prices", **{"BTC-USD": "50000"})
    for market in Market:
        refresh(market)
    return make_account()


@pytest.fixture
def account(hedge: Account) -> Account:
    """An account that the trader has switched to one-way mode at the exchange; ours still says hedge."""
    connect(hedge).set_position_mode(PositionMode.ONE_WAY)
    return hedge


def both_legs(account: Account, market: Market = Market.USDTM, name: str = "both", **leg: Any) -> Strategy:
    symbol = SYMBOLS[market]
    names = {"name": name, "market": market, "symbol": symbol, "pair": symbol.replace("-", "")}
    strategy = make_strategy(account, **names, leg={"size": SIZES[market]} | leg)
    Leg.objects.create(
        strategy=strategy, name="short", entry_interval="5m", close_interval="5m", size=SIZES[market], **leg
    )
    return strategy


def decide(strategy: Strategy, verdict: Verdict, leg: str, alarm_id: int) -> Order:
    return carry_out(strategy, AlarmFacts(alarm_id, leg, timezone.now(), D(50000)), verdict).orders.get()


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


def act(strategy: Strategy, verdict: Verdict, leg: str = "long", alarm_id: int = 1) -> Order:
    order = decide(strategy, verdict, leg, alarm_id)
    work(strategy)
    order.refresh_from_db()
    return order


def sent(paper: PaperExchange) -> list[tuple[str, str, bool]]:
    return [(row["side"], row["position_side"], row["reduce_only"]) for row in paper.ledger()]


@pytest.mark.parametrize("market", MARKETS)
@pytest.mark.parametrize(("leg", "sides"), [("long", ("BUY", "SELL")), ("short", ("SELL", "BUY"))])
def test_an_entry_says_both_and_an_exit_only_reduces(
    account: Account, paper: PaperExchange, market: Market, leg: str, sides: tuple[str, str]
) -> None:
    strategy = both_legs(account, market)
    act(strategy, OPEN, leg)
    act(strategy, CLOSE, leg, 2)
    assert sent(paper) == [(sides[0], "BOTH", False), (sides[1], "BOTH", True)]
    assert Operation.objects.get().status == Operation.Status.CLOSED
    assert connect(account).positions(market) == []


@pytest.mark.parametrize("market", MARKETS)
def test_the_same_in_hedge_mode_names_the_leg_and_never_says_reduce_only(
    hedge: Account, paper: PaperExchange, market: Market
) -> None:
    strategy = both_legs(hedge, market)
    act(strategy, OPEN, "short")
    act(strategy, CLOSE, "short", 2)
    assert sent(paper) == [("SELL", "SHORT", False), ("BUY", "SHORT", False)]


def test_in_hedge_mode_both_legs_are_held_at_once(hedge: Account) -> None:
    strategy = both_legs(hedge)
    act(strategy, OPEN, "long")
    act(strategy, OPEN, "short", 2)
    assert sorted(each.position_side for each in connect(hedge).positions(Market.USDTM)) == ["LONG", "SHORT"]


@pytest.mark.parametrize("market", MARKETS)
def test_an_entry_against_the_other_live_leg_is_denied(account: Account, paper: PaperExchange, market: Market) -> None:
    act(both_legs(account, market), OPEN, "long")
    denied = act(both_legs(account, market, "other"), OPEN, "short", 2)
    assert (denied.status, denied.reason) == (OrderStatus.DENIED, "one_way_conflict")
    assert denied.decision
    assert denied.decision.facts == {"leg": "short", "other": "long"}
    assert len(paper.ledger()) == 1


def test_two_strategies_on_the_same_leg_share_the_net_position(account: Account) -> None:
    one, other = both_legs(account, name="one"), both_legs(account, name="other")
    act(one, OPEN, "short")
    act(other, OPEN, "short")
    act(one, CLOSE, "short", 2)
    assert connect(account).positions(Market.USDTM)[0].quantity == D("0.01")
    assert Operation.objects.get(strategy=other).held_quantity == D("0.01")
    assert all(line.is_equal for line in take_stock(account, Market.USDTM))


@pytest.mark.parametrize("market", MARKETS)
def test_a_flip_closes_and_then_opens(account: Account, paper: PaperExchange, market: Market) -> None:
    strategy = both_legs(account, market)
    act(strategy, OPEN, "long")
    decide(strategy, CLOSE, "long", 2)
    decide(strategy, OPEN, "short", 3)
    work(strategy)
    assert sent(paper) == [("BUY", "BOTH", False), ("SELL", "BOTH", True), ("SELL", "BOTH", False)]
    (line,) = [each for each in take_stock(account, market) if each.side == "BOTH"]
    assert line.ours == line.theirs == -SIZES[market]


def test_a_flip_whose_exit_is_refused_does_not_open(account: Account, paper: PaperExchange) -> None:
    strategy = both_legs(account)
    act(strategy, OPEN, "long")
    paper.control("faults", reject_exits={"code": 101415, "msg": "suspended"})
    decide(strategy, CLOSE, "long", 2)
    entry = decide(strategy, OPEN, "short", 3)
    work(strategy)
    entry.refresh_from_db()
    assert entry.status == OrderStatus.CREATED
    Order.objects.filter(pk=entry.pk).update(created_at=timezone.now() - execution.LONGEST_FLIP)
    work(strategy)
    entry.refresh_from_db()
    assert (entry.status, entry.reason) == (OrderStatus.DENIED, "exit_not_filled")


@pytest.mark.parametrize("market", MARKETS)
def test_leverage_is_set_for_both_directions(account: Account, market: Market) -> None:
    act(both_legs(account, market, leverage=9), OPEN, "short")
    leverage = connect(account).leverage(market, SYMBOLS[market])
    assert (leverage.long_leverage, leverage.short_leverage) == (9, 9)


# The mode changes at the exchange


def test_the_mode_is_read_before_the_first_order(account: Account) -> None:
    assert account.position_mode == Account.Mode.HEDGE
    act(both_legs(account), OPEN)
    account.refresh_from_db()
    assert account.position_mode == Account.Mode.ONE_WAY


def test_a_mode_changed_between_orders_is_noticed_after_five_minutes(hedge: Account, paper: PaperExchange) -> None:
    strategy = both_legs(hedge)
    act(strategy, OPEN)
    act(strategy, CLOSE, alarm_id=2)
    connect(hedge).set_position_mode(PositionMode.ONE_WAY)
    Account.objects.update(position_mode_read_at=timezone.now() - timedelta(minutes=5))
    assert act(strategy, OPEN, alarm_id=3).status == OrderStatus.FILLED
    assert sent(paper)[-1] == ("BUY", "BOTH", False)


def test_an_order_refused_for_its_mode_has_the_next_one_read_it_at_once(hedge: Account, paper: PaperExchange) -> None:
    strategy = both_legs(hedge)
    act(strategy, OPEN)
    act(strategy, CLOSE, alarm_id=2)
    connect(hedge).set_position_mode(PositionMode.ONE_WAY)
    refused = act(strategy, OPEN, alarm_id=3)
    assert (refused.status, refused.code) == (OrderStatus.REJECTED, "109400")
    assert act(strategy, OPEN, alarm_id=4).status == OrderStatus.FILLED
    assert sent(paper)[-1] == ("BUY", "BOTH", False)


def test_back_to_hedge_is_noticed_too(account: Account, paper: PaperExchange) -> None:
    strategy = both_legs(account)
    act(strategy, OPEN)
    act(strategy, CLOSE, alarm_id=2)
    connect(account).set_position_mode(PositionMode.HEDGE)
    assert act(strategy, OPEN, "short", 3).status == OrderStatus.REJECTED
    assert act(strategy, OPEN, "short", 4).status == OrderStatus.FILLED
    assert sent(paper)[-1] == ("SELL", "SHORT", False)


def test_leverage_refused_for_its_mode_has_the_next_order_read_it_at_once(hedge: Account) -> None:
    strategy = both_legs(hedge, leverage=5)
    act(strategy, OPEN, "long")
    act(strategy, CLOSE, "long", 2)
    connect(hedge).set_position_mode(PositionMode.ONE_WAY)
    denied = act(strategy, OPEN, "short", 3)
    assert (denied.status, denied.reason) == (OrderStatus.DENIED, "leverage_refused")
    assert act(strategy, OPEN, "short", 4).status == OrderStatus.FILLED


def test_leverage_is_set_anew_after_the_mode_changed(hedge: Account) -> None:
    """Each mode has leverages of its own: what we remember of one must not pass for the other's."""
    strategy = both_legs(hedge, leverage=5)
    act(strategy, OPEN)
    act(strategy, CLOSE, alarm_id=2)
    connect(hedge).set_position_mode(PositionMode.ONE_WAY)
    Account.objects.update(position_mode_read_at=None)
    act(strategy, OPEN, alarm_id=3)
    assert connect(hedge).leverage(Market.USDTM, "BTC-USDT").long_leverage == 5


def test_an_exit_created_in_one_mode_is_sent_in_the_other(account: Account, paper: PaperExchange) -> None:
    """What the row said when it was made does not count: the mode is the one at the moment of sending."""
    strategy = both_legs(account)
    entry = decide(strategy, OPEN, "long", 1)
    assert entry.position_side == "LONG"
    work(strategy)
    exit_order = act(strategy, CLOSE, alarm_id=2)
    assert (exit_order.position_side, exit_order.reduce_only) == ("BOTH", True)
