"""R24, R25, R28. Guards before money: each limit to its last digit, each refusal with its reason, exits pass."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from django.utils import timezone

from exchange.models import Account
from exchange.types import Market
from market.instruments import refresh
from operations import execution, reconcile, throttle
from operations.killswitch import pull, scope_of
from operations.lifecycle import AlarmFacts, carry_out
from operations.limits import PRICE_KEPT_FOR, check_again, check_claim, check_entry
from operations.models import Decision, Lane, Limits, Notice, Operation, Order
from operations.preparation import instrument_of
from operations.states import OrderStatus
from pelusa.testing import DATABASES, PaperExchange, list_instruments, make_account, make_strategy
from strategies.models import Strategy
from strategies.reasons import SENTENCES, explain
from strategies.rules import Verdict

pytestmark = pytest.mark.django_db(databases=DATABASES)

OPEN = Verdict("open", "entry", {"leg": "long"})
CLOSE = Verdict("close", "exit", {"leg": "long"})
SCOPES = ["everything", "account", "strategy"]
# Monday, noon
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def account(paper: PaperExchange) -> Account:
    list_instruments()
    return make_account()


@pytest.fixture
def strategy(account: Account) -> Strategy:
    return make_strategy(account)


def limit(of: Account | Strategy | None = None, **columns: Any) -> Limits:
    account = of if isinstance(of, Account) else None
    strategy = of if isinstance(of, Strategy) else None
    scope = scope_of(account.pk if account else None, strategy.pk if strategy else None)
    return Limits.objects.create(account=account, strategy=strategy, scope=scope, **columns)


def of_scope(scope: str, strategy: Strategy) -> Account | Strategy | None:
    return {"everything": None, "account": strategy.account, "strategy": strategy}[scope]


def decide(strategy: Strategy, verdict: Verdict = OPEN, price: D | None = D(50000), leg: str = "long") -> Decision:
    """Write a decision of the strategy on a new alarm."""
    number = Decision.objects.count() + 1
    return carry_out(strategy, AlarmFacts(number, leg, timezone.now(), price, None), verdict)


def trade(strategy: Strategy, verdict: Verdict = OPEN, price: D | None = D(50000), leg: str = "long") -> Order:
    """Decide, send, and return the order as it then stands."""
    order = decide(strategy, verdict, price, leg).orders.get()
    execution.run_lane(Lane.objects.get(account=strategy.account, market=strategy.market, symbol=strategy.symbol))
    return again(order)


def again(order: Order) -> Order:
    return Order.objects.select_related("lane__account", "operation__strategy", "decision").get(pk=order.pk)


def waiting(strategy: Strategy, price: D | None = D(50000)) -> Order:
    """Return an entry that waits for its turn."""
    return again(decide(strategy, price=price).orders.get())


def on_other_symbol(account: Account, **columns: Any) -> Strategy:
    """Return a strategy on ETH-USDT at 3000 whose entries are worth 600."""
    names = {"name": "other symbol", "symbol": "ETH-USDT", "pair": "ETHUSDT", "ticker": "ETHUSDT.P"}
    return make_strategy(account, **names | columns, leg={"size": D("0.2")})


def on_coinm(account: Account, paper: PaperExchange, contracts: int) -> Strategy:
    """Return a strategy on BTC-USD at 50000, of contracts worth 100 each."""
    paper.control("prices", **{"BTC-USD": "50000"})
    refresh(Market.COINM)
    names = {"market": "coinm", "symbol": "BTC-USD", "pair": "BTCUSD", "ticker": "BTCUSD.P"}
    return make_strategy(account, **names, leg={"size": D(contracts)})


def settled(order: Order) -> Order:
    """Ask what became of an order, for COIN-M answers only that it took it."""
    if order.status == OrderStatus.ACCEPTED:
        reconcile.settle(order)
    return again(order)


def facts_of(order: Order) -> dict[str, Any]:
    """Return what was compared, as the decision keeps it."""
    decision = again(order).decision
    assert decision
    return dict(decision.facts)


def why(order: Order) -> tuple[str, str]:
    """Return the status and the reason, which must have a sentence without a gap and stand in the decision too."""
    order = again(order)
    if order.status == OrderStatus.DENIED:
        assert order.decision
        assert (order.decision.outcome, order.decision.reason) == ("denied", order.reason)
        assert order.reason in SENTENCES
        assert "–" not in explain(order.reason, order.decision.facts)
    return order.status, order.reason


# Notional


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize(("most", "outcome"), [("500", ("filled", "")), ("499.99", ("denied", "order_too_large"))])
def test_an_entry_may_be_worth_what_the_limit_says_and_not_a_cent_more(
    strategy: Strategy, paper: PaperExchange, scope: str, most: str, outcome: tuple[str, str]
) -> None:
    limit(of_scope(scope, strategy), max_order_notional=D(most))
    order = trade(strategy)
    assert why(order) == outcome
    assert len(paper.ledger()) == (outcome[0] == "filled")


def test_limits_of_another_account_or_strategy_concern_nobody_else(account: Account, strategy: Strategy) -> None:
    limit(make_account("other"), max_order_notional=D(1))
    limit(make_strategy(account, name="other"), max_order_notional=D(1))
    assert why(trade(strategy)) == ("filled", "")


def test_the_narrowest_of_all_limits_counts(account: Account, strategy: Strategy) -> None:
    limit(None, max_order_notional=D(1000))
    limit(account, max_order_notional=D(501))
    limit(strategy, max_order_notional=D(499))
    order = trade(strategy)
    assert why(order) == ("denied", "order_too_large")
    assert facts_of(order) == {
        "scope": "Strategy Stochastic 5m",
        "notional": "500",
        "max_notional": "499",
    }


@pytest.mark.parametrize(("most", "outcome"), [("300", "filled"), ("299.99", "denied")])
def test_on_coinm_an_entry_is_worth_its_contracts_whatever_the_price(
    account: Account, paper: PaperExchange, most: str, outcome: str
) -> None:
    strategy = on_coinm(account, paper, contracts=3)
    limit(strategy, max_order_notional=D(most))
    assert settled(trade(strategy)).status == outcome


@pytest.mark.parametrize("scope", ["everything", "account"])
def test_what_is_held_and_what_comes_together_stay_within_the_limit(
    account: Account, strategy: Strategy, scope: str
) -> None:
    limit(of_scope(scope, strategy), max_open_notional=D(1100))
    other = on_other_symbol(account)
    assert why(trade(strategy)) == ("filled", "")
    assert why(trade(other)) == ("filled", "")
    third = make_strategy(account, name="third", leg={"size": D("0.0001")})
    order = trade(third)
    assert why(order) == ("denied", "too_much_open")
    assert facts_of(order)["held"] == "1100"
    trade(strategy, CLOSE)
    assert why(trade(third)) == ("filled", "")


def test_a_strategys_own_limit_does_not_count_what_others_hold(account: Account, strategy: Strategy) -> None:
    limit(strategy, max_open_notional=D(500))
    trade(make_strategy(account, name="other", leg={"size": D(1)}))
    assert why(trade(strategy)) == ("filled", "")
    assert why(trade(strategy)) == ("denied", "too_much_open")


def test_what_was_closed_in_part_counts_for_the_rest(strategy: Strategy) -> None:
    trade(strategy)
    exit_order = decide(strategy, CLOSE).orders.get()
    half = {"status": "canceled", "quantity": D("0.01"), "filled_quantity": D("0.005"), "avg_price": D(50000)}
    Order.objects.filter(pk=exit_order.pk).update(submitted_at=timezone.now(), **half)
    limit(strategy.account, max_open_notional=D("749.99"))
    # The strategy itself waits for the rest of its exit
    other = make_strategy(strategy.account, name="other")
    assert why(trade(other)) == ("denied", "too_much_open")
    Limits.objects.update(max_open_notional=D(750))
    assert why(trade(other)) == ("filled", "")


def test_an_order_whose_outcome_is_unknown_counts_as_held(
    account: Account, strategy: Strategy, paper: PaperExchange
) -> None:
    limit(account, max_open_notional=D("1099.99"))
    paper.control("faults", orders={"reset_after": 1})
    assert trade(strategy).status == OrderStatus.SUBMITTED
    paper.control("faults", orders=None)
    assert why(trade(on_other_symbol(account))) == ("denied", "too_much_open")


@pytest.mark.parametrize("named", [None, D(1)])
def test_what_is_in_flight_counts_at_the_markets_price_whatever_its_alarm_named(
    account: Account, strategy: Strategy, paper: PaperExchange, named: D | None
) -> None:
    limits = limit(account, max_open_notional=D("1099.99"))
    paper.control("faults", orders={"reset_after": 1})
    assert trade(strategy, price=named).status == OrderStatus.SUBMITTED
    paper.control("faults", orders=None)
    other = on_other_symbol(account)
    assert why(trade(other)) == ("denied", "too_much_open")
    limits.max_open_notional = D(1100)
    limits.save(update_fields=["max_open_notional"])
    assert why(trade(other)) == ("filled", "")


def test_what_was_sent_without_any_known_price_stops_entries_until_it_is_settled(
    account: Account, strategy: Strategy, paper: PaperExchange
) -> None:
    limit(account, max_open_notional=D(5000))
    paper.control("faults", orders={"reset_after": 1})
    unknown = trade(strategy, price=None)
    Order.objects.update(market_price=None)
    paper.control("faults", orders=None)
    other = on_other_symbol(account)
    assert why(trade(other)) == ("denied", "worth_unknown")
    reconcile.settle(again(unknown))
    assert why(trade(other)) == ("filled", "")


def test_a_refused_entry_frees_what_it_had_claimed(account: Account, strategy: Strategy) -> None:
    limit(account, max_open_notional=D(60_000_000), max_open_operations=1)
    assert trade(make_strategy(account, name="large", leg={"size": D(1000)})).status == OrderStatus.REJECTED
    assert why(trade(strategy)) == ("filled", "")


# Counts


def test_an_open_operation_takes_further_entries_where_another_may_not_open(
    account: Account, strategy: Strategy
) -> None:
    limit(account, max_open_operations=1)
    assert why(trade(strategy)) == ("filled", "")
    assert why(trade(strategy)) == ("filled", "")
    other = make_strategy(account, name="other")
    order = trade(other)
    assert why(order) == ("denied", "too_many_operations")
    assert facts_of(order) == {"scope": "Account desk", "open": 1, "max_operations": 1}
    trade(strategy, CLOSE)
    assert why(trade(other)) == ("filled", "")


def test_operations_that_only_wait_are_not_open(account: Account, strategy: Strategy) -> None:
    limit(None, max_open_operations=1)
    waiting(on_other_symbol(account))
    assert why(trade(strategy)) == ("filled", "")


def test_entries_are_counted_from_midnight_utc_and_exits_never(strategy: Strategy) -> None:
    limit(strategy, max_orders_per_day=1)
    first = trade(strategy)
    trade(strategy, CLOSE)
    assert why(trade(strategy)) == ("denied", "too_many_today")
    midnight = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    Order.objects.filter(pk=first.pk).update(submitted_at=midnight)
    assert why(trade(strategy)) == ("denied", "too_many_today")
    Order.objects.filter(pk=first.pk).update(submitted_at=midnight - timedelta(milliseconds=1))
    assert why(trade(strategy)) == ("filled", "")


# Losses


def lose(strategy: Strategy, paper: PaperExchange, at: str = "49000", book: bool = True) -> Operation:
    """Buy 0.01 at 50000 and sell it at `at`; 49000 loses 10 and 0.495 of fees."""
    trade(strategy)
    paper.control("prices", **{"BTC-USDT": at})
    order = trade(strategy, CLOSE)
    paper.control("prices", **{"BTC-USDT": "50000"})
    if book:
        for each in order.operation.orders.select_related("lane__account", "operation"):
            assert reconcile.collect_fills(each)
    return Operation.objects.get(pk=order.operation_id)


@pytest.mark.parametrize("book", [True, False], ids=["fills here", "fills not here yet"])
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize(("most", "outcome"), [("10.495", "denied"), ("10.496", "filled")])
def test_the_days_loss_stops_entries_when_it_is_reached_fees_included(
    strategy: Strategy, paper: PaperExchange, scope: str, most: str, outcome: str, book: bool
) -> None:
    limit(of_scope(scope, strategy), max_daily_loss=D(most))
    lose(strategy, paper, book=book)
    order = trade(strategy)
    assert order.status == outcome
    if outcome == "denied":
        assert why(order) == ("denied", "daily_loss")
        assert facts_of(order)["loss"] == "10.495"


def test_a_gain_makes_up_for_a_loss(strategy: Strategy, paper: PaperExchange) -> None:
    limit(strategy, max_daily_loss=D(10))
    lose(strategy, paper)
    assert why(trade(strategy)) == ("denied", "daily_loss")
    Limits.objects.update(max_daily_loss=None)
    lose(strategy, paper, at="52000")
    Limits.objects.update(max_daily_loss=D(10))
    assert why(trade(strategy)) == ("filled", "")


def test_yesterdays_loss_is_yesterdays(strategy: Strategy, paper: PaperExchange) -> None:
    limit(strategy, max_daily_loss=D(1))
    lose(strategy, paper)
    midnight = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    Order.objects.update(answered_at=midnight - timedelta(milliseconds=1))
    assert why(trade(strategy)) == ("filled", "")


def test_of_an_operation_that_lasted_over_midnight_todays_part_counts(strategy: Strategy, paper: PaperExchange) -> None:
    operation = lose(strategy, paper)
    entry = operation.orders.get(role=Order.Role.ENTRY)
    Order.objects.filter(pk=entry.pk).update(answered_at=timezone.now() - timedelta(days=1))
    # The entry's fee of 0.25 was yesterday's
    limit(strategy, max_daily_loss=D("10.2451"))
    assert why(trade(strategy)) == ("filled", "")
    Limits.objects.update(max_daily_loss=D("10.245"))
    Order.objects.filter(operation__status__in=Operation.LIVE).update(answered_at=timezone.now() - timedelta(days=1))
    assert why(trade(strategy)) == ("denied", "daily_loss")


@pytest.mark.parametrize("book", [True, False], ids=["fills here", "fills not here yet"])
def test_a_loss_in_coins_counts_in_quote_money(account: Account, paper: PaperExchange, book: bool) -> None:
    strategy = on_coinm(account, paper, contracts=10)
    settled(trade(strategy))
    paper.control("prices", **{"BTC-USD": "40000"})
    order = settled(trade(strategy, CLOSE))
    for each in order.operation.orders.select_related("lane__account", "operation"):
        assert not book or reconcile.collect_fills(each)
    # 1000 / 40000 - 1000 / 50000 = 0.005 coins, at 40000 worth 200; fees of 0.5 each way
    limit(account, max_daily_loss=D("200.99"))
    order = trade(strategy)
    assert why(order) == ("denied", "daily_loss")
    assert facts_of(order)["loss"] == "201"


def test_after_a_loss_entries_rest_until_the_second(strategy: Strategy, paper: PaperExchange) -> None:
    limit(strategy, cool_down_after_loss=600)
    operation = lose(strategy, paper)
    order = waiting(strategy)
    assert operation.closed_at
    early = operation.closed_at + timedelta(seconds=600) - timedelta(microseconds=1)
    Decision.objects.update(alarm_happened_at=early)
    denial = check_claim(again(order), D("0.01"), D(50000), early)
    assert denial
    assert (denial.reason, denial.facts["operation"]) == ("cooling_down", operation.pk)
    assert check_claim(again(order), D("0.01"), D(50000), early + timedelta(microseconds=1)) is None


def test_a_gain_asks_for_no_rest(strategy: Strategy, paper: PaperExchange) -> None:
    limit(strategy, cool_down_after_loss=600)
    lose(strategy, paper, at="51000")
    assert why(trade(strategy)) == ("filled", "")


def test_a_gain_that_the_fees_eat_is_a_loss(strategy: Strategy, paper: PaperExchange) -> None:
    limit(strategy, cool_down_after_loss=600)
    lose(strategy, paper, at="50050")
    assert why(trade(strategy)) == ("denied", "cooling_down")


# Price


@pytest.mark.parametrize(
    ("market", "outcome"),
    [
        ("50250", ("filled", "")),
        ("49750", ("filled", "")),
        ("50250.1", ("denied", "price_moved")),
        ("49749.9", ("denied", "price_moved")),
        ("500000", ("denied", "price_moved")),
        ("5000", ("denied", "price_moved")),
    ],
)
def test_r25_the_market_may_be_as_far_from_the_alarms_price_as_the_limit_says(
    strategy: Strategy, paper: PaperExchange, market: str, outcome: tuple[str, str]
) -> None:
    limit(strategy, max_price_deviation=D("0.5"))
    paper.control("prices", **{"BTC-USDT": market})
    assert why(trade(strategy)) == outcome


def test_r25_an_alarm_without_a_price_cannot_be_compared_and_is_refused(strategy: Strategy) -> None:
    limit(strategy, max_price_deviation=D("0.5"))
    assert why(trade(strategy, price=None)) == ("denied", "no_alarm_price")


@pytest.mark.parametrize("price", [None, D(0), D(-1), D("NaN"), D("Infinity")])
def test_r25_a_price_that_is_none_is_refused(strategy: Strategy, price: D | None) -> None:
    denial = check_claim(waiting(strategy), D("0.01"), price, timezone.now())
    assert denial
    assert denial.reason == "no_price"


def test_r25_a_price_that_was_read_too_long_ago_is_refused(strategy: Strategy) -> None:
    order, now = waiting(strategy), timezone.now()
    read_at = now - PRICE_KEPT_FOR
    assert check_claim(order, D("0.01"), D(50000), now, priced_at=read_at) is None
    denial = check_claim(order, D("0.01"), D(50000), now, priced_at=read_at - timedelta(milliseconds=1))
    assert denial
    assert (denial.reason, denial.facts) == ("price_stale", {"age": 10, "max_age": 10})


# Time


@pytest.mark.parametrize("scope", SCOPES)
def test_outside_its_windows_no_entry_is_sent(strategy: Strategy, scope: str) -> None:
    limit(of_scope(scope, strategy), schedule="mon-fri 08:00-20:00")
    order = waiting(strategy)
    Decision.objects.update(alarm_happened_at=NOON)
    order, instrument = again(order), instrument_of(order)
    evening = NOON.replace(hour=20)
    Decision.objects.update(alarm_happened_at=evening)
    late = again(order)
    assert check_entry(order, instrument, NOON) is None
    assert check_claim(order, D("0.01"), D(50000), NOON) is None
    for denial in (check_entry(late, instrument, evening), check_claim(late, D("0.01"), D(50000), evening)):
        assert denial
        assert (denial.reason, denial.facts["opens_at"]) == ("outside_schedule", "Tue 24 Nov 08:00")


def test_a_schedule_that_cannot_be_read_opens_at_no_time(strategy: Strategy) -> None:
    limit(strategy, schedule="whenever")
    assert why(trade(strategy)) == ("denied", "schedule_unreadable")


@pytest.mark.parametrize(("late", "reason"), [(timedelta(0), None), (timedelta(milliseconds=1), "alarm_too_old")])
def test_r24_an_alarm_may_be_as_old_as_the_strategy_says_right_before_the_wire(
    strategy: Strategy, late: timedelta, reason: str | None
) -> None:
    order = waiting(strategy)
    assert order.decision
    now = order.decision.alarm_happened_at + timedelta(seconds=strategy.max_alarm_age) + late
    for denial in (
        check_entry(order, instrument_of(order), now),
        check_claim(order, D("0.01"), D(50000), now),
        check_again(order, now),
    ):
        assert (denial and denial.reason) == reason


# Switched off


def test_what_waits_of_a_strategy_that_was_switched_off_is_denied(strategy: Strategy, paper: PaperExchange) -> None:
    order = waiting(strategy)
    Strategy.objects.update(is_active=False)
    execution.run_lane(order.lane)
    assert why(order) == ("denied", "strategy_off")
    assert paper.ledger() == []


def test_exits_pass_where_no_entry_does(account: Account, strategy: Strategy, paper: PaperExchange) -> None:
    trade(strategy)
    tight = {"max_order_notional": D(1), "max_open_notional": D(1), "max_daily_loss": D("0.01"), "schedule": "x"}
    limit(strategy, max_open_operations=0, max_orders_per_day=0, max_price_deviation=D("0.1"), **tight)
    pull(None, "ana", "panic")
    Strategy.objects.update(is_active=False)
    Account.objects.update(is_active=False)
    paper.control("prices", **{"BTC-USDT": "25000"})
    assert trade(Strategy.objects.get(), CLOSE).status == OrderStatus.FILLED
    assert why(trade(Strategy.objects.get()))[0] == "denied"


def test_what_never_arrived_is_not_sent_again_past_a_brake(account: Account, strategy: Strategy) -> None:
    order = waiting(strategy)
    assert check_again(order, timezone.now()) is None
    pull(account, "ana", "panic")
    denial = check_again(again(order), timezone.now())
    assert denial
    assert denial.reason == "kill_switch"


# Running wild


def test_r28_a_strategy_that_runs_wild_is_stopped_and_others_go_on(
    account: Account, strategy: Strategy, paper: PaperExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "MOST_ENTRIES", 10)
    orders = [decide(strategy).orders.get() for _ in range(30)]
    execution.run_lane(orders[0].lane)
    outcomes = [why(order) for order in orders]
    assert outcomes == [("filled", "")] * 10 + [("denied", "too_many_entries")] + [("denied", "strategy_off")] * 19
    assert not Strategy.objects.get(pk=strategy.pk).is_active
    assert len(paper.ledger()) == 10
    notice = Notice.objects.get()
    assert (notice.kind, notice.level, notice.account) == ("strategy_stopped", "critical", account)
    assert explain(notice.kind, notice.facts) == "Stochastic 5m was switched off: it sent 10 entries within 60 s."
    assert why(trade(make_strategy(account, name="other"))) == ("filled", "")
    assert trade(Strategy.objects.get(pk=strategy.pk), CLOSE).status == OrderStatus.FILLED


def test_r28_entries_that_the_exchange_refuses_count_as_running_wild(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "MOST_ENTRIES", 2)
    strategy = make_strategy(account, leg={"size": D(1000)})
    assert [trade(strategy).reason for _ in range(3)] == ["refused", "refused", "too_many_entries"]


def test_r28_ten_entries_in_a_little_more_than_a_minute_are_no_runaway(
    strategy: Strategy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "MOST_ENTRIES", 2)
    first = trade(strategy)
    trade(strategy)
    Order.objects.filter(pk=first.pk).update(submitted_at=timezone.now() - timedelta(seconds=61))
    assert why(trade(strategy)) == ("filled", "")


def test_a_strategy_that_trades_again_ends_its_notice(strategy: Strategy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "MOST_ENTRIES", 1)
    trade(strategy)
    assert why(trade(strategy)) == ("denied", "too_many_entries")
    Strategy.objects.update(is_active=True)
    Order.objects.filter(status="filled").update(submitted_at=timezone.now() - timedelta(minutes=5))
    assert why(trade(Strategy.objects.get())) == ("filled", "")
    assert Notice.objects.get().ended_at
