"""Stops and targets really cover what is held: placed after the fill, verified, replaced, and gone when it is over."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal as D
from functools import partial
from typing import Any

import pytest
from django.db import connections
from django.utils import timezone

from exchange.bingx import BingX
from exchange.connection import connect
from exchange.models import Account
from exchange.types import Market, PositionMode
from market.instruments import refresh
from operations import execution, protection, reconcile, tasks, transitions
from operations.lifecycle import AlarmFacts, carry_out, close_by_hand, standing_of
from operations.models import Lane, Notice, Operation, Order
from operations.states import UNFINISHED, OrderStatus
from pelusa import doorbell
from pelusa.testing import DATABASES, PaperExchange, list_instruments, make_account, make_strategy
from strategies.models import Leg, Strategy
from strategies.reasons import explain
from strategies.rules import Verdict
from strategies.validation import problems

pytestmark = pytest.mark.django_db(databases=DATABASES)

OPEN = Verdict("open", "entry", {"leg": "long"})
CLOSE = Verdict("close", "exit", {"leg": "long"})
STOP = {"stop_loss_per_order": D(2)}
BOTH = STOP | {"take_profit_per_order": D(4)}
REFUSED = {"code": 110406, "msg": "too many stops"}


@pytest.fixture
def account(paper: PaperExchange) -> Account:
    list_instruments()
    return make_account()


@pytest.fixture
def make(account: Account) -> Callable[..., Strategy]:
    """Make a strategy whose leg has the given columns."""

    def make_one(
        name: str = "Stochastic 5m", *, half: str = "long", when_unprotected: str = "close", **leg: Any
    ) -> Strategy:
        return make_strategy(account, leg=leg | {"name": half}, name=name, when_unprotected=when_unprotected)

    return make_one


def enter(strategy: Strategy, *, alarm_id: int = 1, leg: str = "long") -> Operation:
    """Enter and return the operation as it then is; nothing protects it yet."""
    decision = carry_out(strategy, AlarmFacts(alarm_id, leg, timezone.now()), OPEN)
    run(strategy)
    return again(decision.operation)


def run(strategy: Strategy) -> None:
    execution.run_lane(Lane.objects.select_related("account").get(account=strategy.account, symbol=strategy.symbol))


def again(operation: Operation | None) -> Operation:
    assert operation
    return Operation.objects.select_related("account", "strategy").get(pk=operation.pk)


def cover(strategy: Strategy, **options: Any) -> Operation:
    """Enter and protect, as the bell after the fill does."""
    operation = enter(strategy, **options)
    protection.protect(operation)
    return again(operation)


def sweep(account: Account) -> None:
    """Do what every sweep does for an account."""
    protection.look_after(Account.objects.get(pk=account.pk))


def working(paper: PaperExchange) -> list[tuple[str, str, str, str]]:
    """Return the stops and targets that stand at the exchange, oldest first."""
    rows = [row for row in paper.ledger() if row["type"] not in ("MARKET", "LIMIT")]
    return [
        (row["type"], row["side"], row["quantity"], row["stop_price"])
        for row in rows
        if row["status"] in ("NEW", "PENDING", "PARTIALLY_FILLED")
    ]


def placed(paper: PaperExchange) -> int:
    """Return how many stops and targets the exchange ever took."""
    return sum(row["type"] not in ("MARKET", "LIMIT") for row in paper.ledger())


def live(**where: Any) -> list[Order]:
    """Return our stops and targets that have not ended."""
    orders = Order.objects.filter(role__in=protection.PROTECTIVE, status__in=UNFINISHED, **where)
    return list(orders.select_related("lane__account", "operation__strategy", "entry", "decision").order_by("id"))


def pass_time(seconds: float) -> None:
    """Let time pass for every order, and for what is known to be uncovered, by moving their past back."""
    earlier = timedelta(seconds=seconds)
    for name in ("created_at", "submitted_at", "closed_at", "missed_at", "answered_at"):
        for order in Order.objects.filter(**{f"{name}__isnull": False}):
            Order.objects.filter(pk=order.pk).update(**{name: getattr(order, name) - earlier})
    for operation in Operation.objects.filter(uncovered_since__isnull=False):
        assert operation.uncovered_since
        Operation.objects.filter(pk=operation.pk).update(uncovered_since=operation.uncovered_since - earlier)


def settle_all() -> None:
    """Do what the sweep of orders in flight does."""
    asked = Order.objects.filter(status__in=UNFINISHED - {OrderStatus.CREATED}).exclude(
        role__in=protection.PROTECTIVE, status__in=protection.STANDING
    )
    for order in asked.select_related("lane__account", "operation__strategy", "decision"):
        reconcile.settle(order)


def notices() -> list[str]:
    return list(Notice.objects.filter(ended_at__isnull=True).order_by("id").values_list("kind", flat=True))


# Placing


def test_after_a_fill_a_stop_and_a_target_stand_at_the_exchange(
    make: Callable[..., Strategy], paper: PaperExchange
) -> None:
    operation = cover(make(**BOTH))
    assert working(paper) == [
        ("STOP_MARKET", "SELL", "0.01", "49000"),
        ("TAKE_PROFIT_MARKET", "SELL", "0.01", "52000"),
    ]
    assert {order.entry_id for order in live()} == {operation.orders.get(role="ENTRY").pk}
    assert {order.status for order in live()} == {OrderStatus.ACCEPTED}
    assert operation.uncovered_since is None


def test_a_short_leg_is_covered_by_buying(make: Callable[..., Strategy], paper: PaperExchange) -> None:
    cover(make(half="short", **BOTH), leg="short")
    assert working(paper) == [
        ("STOP_MARKET", "BUY", "0.01", "51000"),
        ("TAKE_PROFIT_MARKET", "BUY", "0.01", "48000"),
    ]
    assert {order.position_side for order in live()} == {"SHORT"}


def test_a_leg_that_asks_for_no_protection_gets_none(make: Callable[..., Strategy], paper: PaperExchange) -> None:
    operation = cover(make())
    assert working(paper) == []
    assert operation.uncovered_since is None
    assert not protection.watched().exists()


def test_protecting_again_places_nothing_more(
    make: Callable[..., Strategy], account: Account, paper: PaperExchange
) -> None:
    operation = cover(make(**BOTH))
    protection.protect(operation)
    sweep(account)
    sweep(account)
    assert placed(paper) == 2


def test_a_lost_bell_costs_one_sweep(make: Callable[..., Strategy], account: Account, paper: PaperExchange) -> None:
    enter(make(**STOP))
    sweep(account)
    assert len(working(paper)) == 1


def test_every_entry_has_its_own_cover_at_its_own_price(make: Callable[..., Strategy], paper: PaperExchange) -> None:
    strategy = make(**STOP, pyramiding=2)
    cover(strategy)
    paper.control("prices", **{"BTC-USDT": "60000"})
    cover(strategy, alarm_id=2)
    assert working(paper) == [("STOP_MARKET", "SELL", "0.01", "49000"), ("STOP_MARKET", "SELL", "0.01", "58800")]


def test_a_second_entry_moves_the_general_triggers_of_all(make: Callable[..., Strategy], paper: PaperExchange) -> None:
    strategy = make(stop_loss_general=D(10), take_profit_general=D(20), pyramiding=2)
    cover(strategy)
    assert [row[3] for row in working(paper)] == ["45000", "60000"]
    paper.control("prices", **{"BTC-USDT": "55000"})
    operation = cover(strategy, alarm_id=2)
    assert sorted(working(paper)) == [
        ("STOP_MARKET", "SELL", "0.01", "47250"),
        ("STOP_MARKET", "SELL", "0.01", "47250"),
        ("TAKE_PROFIT_MARKET", "SELL", "0.01", "63000"),
        ("TAKE_PROFIT_MARKET", "SELL", "0.01", "63000"),
    ]
    assert len(live()) == 4
    assert operation.uncovered_since is None


def test_a_percent_changed_while_it_is_held_replaces_what_stands(
    make: Callable[..., Strategy], account: Account, paper: PaperExchange
) -> None:
    cover(make(**STOP))
    Leg.objects.update(stop_loss_per_order=D(3), take_profit_general=D(5))
    sweep(account)
    assert sorted(row[3] for row in working(paper)) == ["48500", "52500"]
    Leg.objects.update(stop_loss_per_order=None, take_profit_general=None)
    sweep(account)
    assert working(paper) == []


def test_a_partial_fill_is_covered_and_the_cover_grows_with_it(
    make: Callable[..., Strategy], paper: PaperExchange
) -> None:
    paper.control("faults", partial_fills={"slices": 2, "every_ms": 600_000})
    strategy = make(**STOP)
    operation = cover(strategy)
    assert operation.orders.get(role="ENTRY").status == OrderStatus.PARTIALLY_FILLED
    assert working(paper) == [("STOP_MARKET", "SELL", "0.005", "49000")]
    # A market order cannot be cancelled in part here; the rest fills as a second entry would
    entry = Order.objects.select_related("lane__account").get(role="ENTRY")
    connect(entry.lane.account).cancel_order(Market.USDTM, "BTC-USDT", exchange_order_id=entry.exchange_order_id)
    reconcile.settle(Order.objects.select_related("lane__account", "operation__strategy", "decision").get(pk=entry.pk))
    protection.protect(operation)
    assert again(operation).held_quantity == D("0.005")
    assert working(paper) == [("STOP_MARKET", "SELL", "0.005", "49000")]


def test_what_fills_later_is_covered_later(
    make: Callable[..., Strategy], account: Account, paper: PaperExchange
) -> None:
    paper.control("faults", partial_fills={"slices": 2, "every_ms": 300})
    operation = cover(make(**STOP))
    assert working(paper)[0][2] == "0.005"
    entry = Order.objects.select_related("lane__account", "operation__strategy", "decision").get(role="ENTRY")
    while entry.status != OrderStatus.FILLED:
        reconcile.settle(entry)
    protection.protect(operation)
    assert working(paper) == [("STOP_MARKET", "SELL", "0.01", "49000")]
    assert len(live()) == 1


def test_on_a_one_way_account_stops_only_reduce(paper: PaperExchange) -> None:
    list_instruments()
    account = make_account()
    connect(account).set_position_mode(PositionMode.ONE_WAY)
    cover(make_strategy(account, leg=BOTH))
    rows = [row for row in paper.ledger() if row["type"] != "MARKET"]
    assert [(row["position_side"], row["reduce_only"]) for row in rows] == [("BOTH", True), ("BOTH", True)]


def test_contracts_of_a_coin_margined_perpetual_are_covered_too(paper: PaperExchange) -> None:
    refresh(Market.COINM)
    paper.control("prices", **{"BTC-USD": "50000"})
    leg = {"size": D(5), "stop_loss_general": D(2), "take_profit_per_order": D(4)}
    strategy = make_strategy(
        make_account(), leg=leg, market="coinm", ticker="BTCUSD.P", symbol="BTC-USD", pair="BTCUSD"
    )
    operation = enter(strategy)
    # The echo of a COIN-M order says nothing of its fill: it is asked for
    settle_all()
    protection.protect(operation)
    assert working(paper) == [("STOP_MARKET", "SELL", "5", "49000"), ("TAKE_PROFIT_MARKET", "SELL", "5", "52000")]
    paper.control("prices", **{"BTC-USD": "48900"})
    sweep(strategy.account)
    assert again(operation).status == Operation.Status.CLOSED
    assert working(paper) == []


# Spot


@pytest.fixture
def spot(paper: PaperExchange) -> Strategy:
    refresh(Market.SPOT)
    return make_strategy(
        make_account(), leg=STOP | {"size": D("0.01")}, market="spot", ticker="BTCUSDT", symbol="BTC-USDT"
    )


def enter_spot(spot: Strategy) -> Operation:
    operation = enter(spot)
    protection.protect(operation)
    assert again(operation).uncovered_since, "how much is held is known from the fills only"
    reconcile.collect_fills(Order.objects.select_related("lane__account", "operation").get(role="ENTRY"))
    protection.protect(operation)
    return again(operation)


def test_on_spot_what_the_fee_left_is_covered_down_to_the_step(spot: Strategy, paper: PaperExchange) -> None:
    operation = enter_spot(spot)
    assert working(paper) == [("TAKE_STOP_MARKET", "SELL", "0.00999", "49000")]
    assert operation.uncovered_since is None
    paper.control("prices", **{"BTC-USDT": "48900"})
    sweep(spot.account)
    assert again(operation).status == Operation.Status.CLOSED
    assert standing_of(spot, "long").is_live is False


def test_a_spot_stop_frees_its_coins_for_the_exit(spot: Strategy, paper: PaperExchange) -> None:
    operation = enter_spot(spot)
    close_by_hand(operation, "tester")
    run(spot)
    assert working(paper) == []
    assert Order.objects.get(role="EXIT").status == OrderStatus.FILLED


def test_a_spot_stop_that_the_market_has_passed_is_not_left_to_wait_above(spot: Strategy, paper: PaperExchange) -> None:
    operation = enter(spot)
    reconcile.collect_fills(Order.objects.select_related("lane__account", "operation").get(role="ENTRY"))
    paper.control("prices", **{"BTC-USDT": "48000"})
    protection.protect(operation)
    assert placed(paper) == 0
    assert again(operation).status == Operation.Status.CLOSING
    assert notices() == ["closed_past_trigger"]


def test_a_stop_and_a_target_together_are_refused_for_spot(spot: Strategy) -> None:
    leg = spot.legs.get()
    assert problems(spot, [leg]) == {}
    leg.take_profit_general = D(5)
    found = problems(spot, [leg])
    assert list(found) == ["long.take_profit_general"]
    assert "on spot" in found["long.take_profit_general"][0]


# Bells


@pytest.fixture
def rings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Collect the bells that are rung instead of ringing them."""
    rung: list[tuple[str, int]] = []
    monkeypatch.setattr(doorbell._doorbell, "ring", lambda task, row_id, group="": rung.append((task, row_id)))
    return rung


def test_a_fill_rings_for_no_protection_where_its_leg_asks_for_none(
    make: Callable[..., Strategy],
    paper: PaperExchange,
    rings: list[tuple[str, int]],
    django_capture_on_commit_callbacks: Callable[..., Any],
) -> None:
    strategy = make()
    carry_out(strategy, AlarmFacts(1, "long", timezone.now()), OPEN)
    with django_capture_on_commit_callbacks(execute=True):
        tasks.run_lane(Lane.objects.get().pk)
    tasks_rung = [task for task, _ in rings]
    assert "operations.tasks.collect_fills" in tasks_rung
    assert "operations.tasks.protect_operation" not in tasks_rung
    strategy.legs.update(take_profit_general=D(5))
    assert Operation.objects.get() in protection.watched(), "the sweep takes it up once the leg asks"


def test_a_fill_rings_for_protection_at_once(
    make: Callable[..., Strategy],
    paper: PaperExchange,
    rings: list[tuple[str, int]],
    django_capture_on_commit_callbacks: Callable[..., Any],
) -> None:
    strategy = make(**STOP)
    decision = carry_out(strategy, AlarmFacts(1, "long", timezone.now()), OPEN)
    assert decision.operation_id
    with django_capture_on_commit_callbacks(execute=True):
        tasks.run_lane(Lane.objects.get().pk)
    assert ("operations.tasks.protect_operation", decision.operation_id) in rings
    tasks.protect_operation(decision.operation_id)
    assert len(working(paper)) == 1
    rings.clear()
    with django_capture_on_commit_callbacks(execute=True):
        tasks.run_lane(Lane.objects.get().pk)
    assert "operations.tasks.protect_operation" not in [task for task, _ in rings], "nothing new was filled"


def test_a_fill_that_is_learned_by_asking_rings_too(
    make: Callable[..., Strategy],
    paper: PaperExchange,
    rings: list[tuple[str, int]],
    django_capture_on_commit_callbacks: Callable[..., Any],
) -> None:
    paper.control("faults", orders={"reset_after": 1})
    operation = enter(make(**STOP))
    with django_capture_on_commit_callbacks(execute=True):
        tasks.settle_order(operation.orders.get().pk)
    assert ("operations.tasks.protect_operation", operation.pk) in rings


def test_the_sweep_looks_after_every_account_that_needs_it_and_no_other(
    make: Callable[..., Strategy],
    account: Account,
    rings: list[tuple[str, int]],
    django_capture_on_commit_callbacks: Callable[..., Any],
) -> None:
    enter(make(**STOP))
    idle = make_account("idle")
    enter(make_strategy(idle, name="no stops"))
    with django_capture_on_commit_callbacks(execute=True):
        tasks.sweep_protection()
    assert rings == [("operations.tasks.look_after_account", account.pk)]
    tasks.look_after_account(account.pk)
    assert [order.status for order in live()] == [OrderStatus.ACCEPTED]


def test_stops_that_only_wait_are_not_asked_for_one_by_one(
    make: Callable[..., Strategy],
    rings: list[tuple[str, int]],
    django_capture_on_commit_callbacks: Callable[..., Any],
) -> None:
    cover(make(**BOTH))
    pass_time(10)
    with django_capture_on_commit_callbacks(execute=True):
        tasks.sweep_in_flight()
    assert rings == []


# Firing


def test_a_stop_that_fires_closes_the_operation_and_takes_its_target_away(
    make: Callable[..., Strategy], account: Account, paper: PaperExchange
) -> None:
    strategy = make(**BOTH)
    operation = cover(strategy)
    paper.control("prices", **{"BTC-USDT": "48900"})
    sweep(account)
    assert working(paper) == []
    for order in Order.objects.filter(filled_quantity__gt=0).select_related("lane__account", "operation"):
        assert reconcile.collect_fills(order)
    operation = again(operation)
    assert (operation.status, operation.held_quantity, operation.stack_key) == ("closed", D(0), None)
    assert (operation.avg_exit_price, operation.realised_pnl) == (D(48900), D(-11))
    assert operation.uncovered_since is None
    assert {order.role: order.status for order in operation.orders.all()} == {
        "ENTRY": "filled",
        "STOP_LOSS": "filled",
        "TAKE_PROFIT": "canceled",
    }
    assert standing_of(strategy, "long").is_live is False


def test_a_target_that_fires_takes_its_stop_away(
    make: Callable[..., Strategy], account: Account, paper: PaperExchange
) -> None:
    operation = cover(make(**BOTH))
    paper.control("prices", **{"BTC-USDT": "52100"})
    sweep(account)
    assert working(paper) == []
    assert again(operation).status == Operation.Status.CLOSED


def test_a_stop_that_fires_for_one_entry_leaves_the_other_covered(
    make: Callable[..., Strategy], account: Account, paper: PaperExchange
) -> None:
    strategy = make(**BOTH, pyramiding=2)
    cover(strategy)
    paper.control("prices", **{"BTC-USDT": "51000"})
    operation = cover(strategy, alarm_id=2)
    assert standing_of(strategy, "long").entries == 2
    paper.control("prices", **{"BTC-USDT": "49900"})
    sweep(account)
    operation = again(operation)
    assert (operation.status, operation.held_quantity) == (Operation.Status.OPEN, D("0.01"))
    assert working(paper) == [
        ("STOP_MARKET", "SELL", "0.01", "49000"),
        ("TAKE_PROFIT_MARKET", "SELL", "0.01", "52000"),
    ]
    assert standing_of(strategy, "long").entries == 1, "the place of what was sold is free"


def test_closing_one_strategy_leaves_the_others_stops_untouched(
    make: Callable[..., Strategy], account: Account, paper: PaperExchange
) -> None:
    one, other = make(**BOTH), make("other", **BOTH)
    for strategy in (one, other):
        cover(strategy)
    theirs = live(operation__strategy=other)
    carry_out(one, AlarmFacts(2, "long", timezone.now()), CLOSE)
    run(one)
    sweep(account)
    assert live() == theirs
    assert [order.exchange_order_id for order in theirs] == [
        row["order_id"] for row in paper.ledger() if row["type"] != "MARKET" and row["status"] == "NEW"
    ]
    assert Operation.objects.get(strategy=other).held_quantity == D("0.01")


# Seeing that it is there


def cancel_as_a_human(order: Order) -> None:
    connect(order.lane.account).cancel_order(
        Market(order.lane.market), order.lane.symbol, exchange_order_id=order.exchange_order_id
    )


def test_a_stop_that_a_human_cancels_stands_again_after_one_sweep(
    make: Callable[..., Strategy], account: Account, paper: PaperExchange
) -> None:
    operation = cover(make(**BOTH))
    cancel_as_a_human(live()[0])
    sweep(account)
    assert sorted(row[0] for row in working(paper)) == ["STOP_MARKET", "TAKE_PROFIT_MARKET"]
    assert placed(paper) == 3
    assert again(operation).uncovered_since is None


def test_a_stop_that_is_not_as_our_books_say_is_replaced(
    make: Callable[..., Strategy], account: Account, paper: PaperExchange
) -> None:
    operation = cover(make(**STOP))
    Leg.objects.update(stop_loss_per_order=D(3))
    Order.objects.filter(role="STOP_LOSS").update(trigger_price=D(48500))
    sweep(account)
    assert working(paper) == [("STOP_MARKET", "SELL", "0.01", "48500")]
    assert again(operation).uncovered_since is None


def test_an_account_above_the_ceiling_is_sent_nothing(
    make: Callable[..., Strategy], account: Account, paper: PaperExchange, settings: Any
) -> None:
    operation = enter(make(**STOP))
    Account.objects.update(environment="live")
    settings.BINGX_URLS = settings.BINGX_URLS | {"live": paper.url}
    sweep(account)
    protection.protect(again(operation))
    pass_time(6)
    sweep(account)
    assert placed(paper) == 0
    assert notices() == ["unprotected"]


def test_an_account_that_is_switched_off_is_protected_on(
    make: Callable[..., Strategy], account: Account, paper: PaperExchange
) -> None:
    cover(make(**STOP))
    Account.objects.update(is_active=False)
    cancel_as_a_human(live()[0])
    sweep(account)
    assert len(working(paper)) == 1


def test_what_is_not_ours_is_left_alone(make: Callable[..., Strategy], account: Account, paper: PaperExchange) -> None:
    strategy = make(**STOP)
    operation = cover(strategy)
    enter(make("no stop"), alarm_id=1)
    theirs = execution.request_of(live()[0])
    report = connect(account).place_order(
        type(theirs)(
            market=theirs.market,
            symbol=theirs.symbol,
            side=theirs.side,
            position_side=theirs.position_side,
            order_type=theirs.order_type,
            quantity=D("0.005"),
            client_order_id="human",
            signed_at=timezone.now(),
            trigger_price=D(48000),
        )
    )
    sweep(account)
    carry_out(strategy, AlarmFacts(2, "long", timezone.now()), CLOSE)
    run(strategy)
    sweep(account)
    assert again(operation).status == Operation.Status.CLOSED
    assert working(paper) == [("STOP_MARKET", "SELL", "0.005", "48000")]
    assert report.exchange_order_id


def test_an_unreachable_exchange_changes_nothing_but_the_human_is_told(
    make: Callable[..., Strategy], account: Account, paper: PaperExchange, settings: Any
) -> None:
    covered, naked = cover(make(**BOTH)), enter(make("other", **STOP))
    real, settings.BINGX_URLS = settings.BINGX_URLS, settings.BINGX_URLS | {"paper": "http://127.0.0.1:9"}
    protection.protect(naked)
    orders = list(Order.objects.order_by("id").values_list("role", "status", "reason"))
    assert orders[-1] == ("STOP_LOSS", "rejected", "not_sent")
    for _ in range(2):
        sweep(account)
        pass_time(40)
    sweep(account)
    assert list(Order.objects.order_by("id").values_list("role", "status", "reason")) == orders
    assert again(covered).uncovered_since is None
    assert again(naked).status == Operation.Status.OPEN
    assert notices() == ["unprotected"]
    settings.BINGX_URLS = real
    sweep(account)
    assert len(working(paper)) == 3
    assert again(naked).uncovered_since is None
    assert notices() == []


def test_what_could_not_be_sent_was_not_refused(make: Callable[..., Strategy], settings: Any) -> None:
    operation = enter(make(**STOP))
    settings.BINGX_URLS = settings.BINGX_URLS | {"paper": "http://127.0.0.1:9"}
    for seconds in (2, 4, 8):
        protection.protect(operation)
        pass_time(seconds)
    assert Order.objects.filter(reason="not_sent").count() == 3
    assert again(operation).status == Operation.Status.OPEN


def test_a_list_that_cannot_be_read_is_replaced_by_asking_for_each(
    make: Callable[..., Strategy], account: Account, paper: PaperExchange
) -> None:
    operation = cover(make(**BOTH))
    cancel_as_a_human(live()[0])
    # Of the five answers that this seed draws, the three of the list are garbage and the two of the orders are not
    paper.control("faults", seed=41, lookups={"garbage_after": 0.5})
    sweep(account)
    assert len(working(paper)) == 2
    assert placed(paper) == 3
    assert again(operation).uncovered_since is None


def test_a_list_that_lags_concludes_nothing(
    make: Callable[..., Strategy], account: Account, paper: PaperExchange
) -> None:
    operation = cover(make(**STOP))
    paper.control("faults", lookup_lag_ms=60_000, lag_everywhere=True)
    sweep(account)
    assert [order.status for order in live()] == [OrderStatus.ACCEPTED]
    assert placed(paper) == 1
    assert again(operation).uncovered_since, "it was seen nowhere"
    paper.control("faults", lookup_lag_ms=0, lag_everywhere=False)
    sweep(account)
    assert again(operation).uncovered_since is None
    assert placed(paper) == 1


def test_one_accounts_failure_does_not_stop_anothers(
    make: Callable[..., Strategy], account: Account, paper: PaperExchange, settings: Any
) -> None:
    enter(make(**STOP))
    broken = make_account("broken")
    enter(make_strategy(broken, leg=STOP, name="broken"))
    Account.objects.filter(pk=broken.pk).update(api_secret="wrong")
    for each in (broken, account):
        sweep(each)
    assert [order.operation.account_id for order in live()] == [account.pk]


# Refusals


def test_a_refused_stop_is_tried_again_and_then_the_operation_is_closed(
    make: Callable[..., Strategy], account: Account, paper: PaperExchange
) -> None:
    strategy = make(**STOP)
    paper.control("faults", reject_stops=REFUSED)
    operation = cover(strategy)
    assert operation.uncovered_since
    sweep(account)
    assert Order.objects.filter(status="rejected").count() == 1, "it waits longer after each refusal"
    for seconds in (2, 4):
        assert again(operation).status == Operation.Status.OPEN
        pass_time(seconds)
        sweep(account)
    assert Order.objects.filter(status="rejected").count() == 3
    assert again(operation).status == Operation.Status.CLOSING
    assert notices() == ["closed_unprotected"]
    said = Notice.objects.get(kind="closed_unprotected")
    assert "stop loss at 49000 for 0.01 could not be placed" in explain(said.kind, said.facts)
    assert "too many stops" in explain(said.kind, said.facts)
    run(strategy)
    sweep(account)
    assert again(operation).status == Operation.Status.CLOSED
    assert notices() == []


def test_a_refusal_that_passes_in_a_moment_closes_nothing_before_its_time(
    make: Callable[..., Strategy], account: Account, paper: PaperExchange
) -> None:
    paper.control("faults", reject_stops={"code": 101214, "msg": "funding is being settled"})
    operation = cover(make(**STOP))
    for seconds in (2, 4, 8):
        pass_time(seconds)
        sweep(account)
    assert Order.objects.filter(status="rejected").count() == 4
    assert again(operation).status == Operation.Status.OPEN
    pass_time(17)
    sweep(account)
    assert again(operation).status == Operation.Status.CLOSING, "30 s are over"


def test_a_strategy_that_says_tell_keeps_its_operation_and_keeps_telling(
    make: Callable[..., Strategy], account: Account, paper: PaperExchange
) -> None:
    paper.control("faults", reject_stops=REFUSED)
    operation = cover(make(when_unprotected="tell", **STOP))
    assert notices() == [], "it is given a moment"
    for seconds in (2, 4, 8, 16, 32):
        pass_time(seconds)
        sweep(account)
    assert again(operation).status == Operation.Status.OPEN
    assert notices() == ["unprotected"]
    paper.control("faults", reject_stops=None)
    pass_time(64)
    sweep(account)
    assert (again(operation).uncovered_since, notices()) == (None, [])
    assert len(working(paper)) == 1


def test_a_stop_that_would_fire_at_once_closes_the_operation_now(
    make: Callable[..., Strategy], paper: PaperExchange
) -> None:
    strategy = make(when_unprotected="tell", **STOP)
    operation = enter(strategy)
    paper.control("prices", **{"BTC-USDT": "48000"})
    protection.protect(operation)
    assert again(operation).status == Operation.Status.CLOSING
    said = Notice.objects.get()
    assert explain(said.kind, said.facts) == (
        "Stochastic 5m, BTC-USDT long: closed at once, because the market was beyond the stop loss at 49000 already."
    )
    run(strategy)
    assert again(operation).status == Operation.Status.CLOSED


def test_a_target_for_one_of_two_entries_that_was_passed_does_not_close_both(
    make: Callable[..., Strategy], account: Account, paper: PaperExchange
) -> None:
    strategy = make(take_profit_per_order=D(4), pyramiding=2, when_unprotected="tell")
    enter(strategy)
    paper.control("prices", **{"BTC-USDT": "53000"})
    operation = cover(strategy, alarm_id=2)
    assert operation.status == Operation.Status.OPEN
    assert working(paper) == [("TAKE_PROFIT_MARKET", "SELL", "0.01", "55120")]
    paper.control("prices", **{"BTC-USDT": "51000"})
    pass_time(2)
    sweep(account)
    assert sorted(row[3] for row in working(paper)) == ["52000", "55120"]


def test_a_rate_limit_pauses_the_account_and_nothing_is_concluded(
    make: Callable[..., Strategy], account: Account, paper: PaperExchange
) -> None:
    operation = cover(make(**STOP))
    paper.control("faults", lookups={"rate_limit": 1}, rate_limit_ms=1)
    sweep(account)
    assert Lane.objects.get().paused_until
    Lane.objects.update(paused_until=timezone.now() + timedelta(minutes=1))
    paper.control("faults", lookups=None)
    cancel_as_a_human(live()[0])
    Leg.objects.update(take_profit_general=D(9))
    sweep(account)
    protection.protect(operation)
    assert placed(paper) == 1, "the account is paused"
    Leg.objects.update(take_profit_general=None)
    Lane.objects.update(paused_until=None)
    sweep(account)
    assert placed(paper) == 2
    assert again(operation).uncovered_since is None


def test_a_rate_limit_while_placing_leaves_the_rest_for_later(
    make: Callable[..., Strategy], account: Account, paper: PaperExchange
) -> None:
    operation = enter(make(**BOTH))
    paper.control("faults", orders={"rate_limit": 1}, rate_limit_ms=1)
    protection.protect(operation)
    assert {order.status for order in live()} <= {OrderStatus.SUBMITTED, OrderStatus.CREATED}
    assert placed(paper) == 0
    assert again(operation).status == Operation.Status.OPEN
    paper.control("faults", orders=None)
    for seconds in (11, 3):
        pass_time(seconds)
        settle_all()
    Lane.objects.update(paused_until=None)
    sweep(account)
    assert len(working(paper)) == 2
    assert placed(paper) == 2


# Crashes and lost answers


def test_a_crash_between_the_row_and_the_wire_leaves_one_order_to_send(
    make: Callable[..., Strategy], account: Account, paper: PaperExchange
) -> None:
    operation = enter(make(**BOTH))
    protection._arrange(operation, set())
    protection._arrange(operation, set())
    assert [order.status for order in live()] == ["created", "created"]
    sweep(account)
    assert len(working(paper)) == 2
    assert placed(paper) == 2


def test_what_was_never_sent_and_is_not_wanted_any_more_is_denied(
    make: Callable[..., Strategy], account: Account, paper: PaperExchange
) -> None:
    operation = enter(make(**STOP))
    protection._arrange(operation, set())
    Leg.objects.update(stop_loss_per_order=D(3))
    sweep(account)
    assert Order.objects.get(status="denied").reason == "cover_changed"
    assert working(paper) == [("STOP_MARKET", "SELL", "0.01", "48500")]


@pytest.mark.parametrize("fault", ["reset_after", "gateway_after", "garbage_after", "busy_after"])
def test_a_stop_whose_answer_was_lost_is_found_by_likeness_and_not_placed_twice(
    make: Callable[..., Strategy], account: Account, paper: PaperExchange, fault: str
) -> None:
    operation = enter(make(**STOP))
    paper.control("faults", orders={fault: 1})
    protection.protect(operation)
    assert [order.status for order in live()] == [OrderStatus.SUBMITTED]
    paper.control("faults", orders=None)
    sweep(account)
    settle_all()
    sweep(account)
    assert [order.status for order in live()] == [OrderStatus.ACCEPTED]
    assert placed(paper) == 1
    assert again(operation).uncovered_since is None


def test_a_stop_that_never_arrived_is_sent_again_only_behind_the_fence(
    make: Callable[..., Strategy], account: Account, paper: PaperExchange
) -> None:
    operation = enter(make(**STOP))
    paper.control("faults", orders={"reset_before": 1})
    protection.protect(operation)
    paper.control("faults", orders=None)
    settle_all()
    sweep(account)
    assert placed(paper) == 0
    pass_time(11)
    settle_all()
    pass_time(3)
    settle_all()
    sweep(account)
    assert len(working(paper)) == 1
    assert placed(paper) == 1
    assert again(operation).status == Operation.Status.OPEN
    assert again(operation).uncovered_since is None


def test_of_two_stops_that_are_alike_only_one_is_on_its_way(
    make: Callable[..., Strategy], account: Account, paper: PaperExchange
) -> None:
    """Else the one that arrived could be taken for the other, and one share would go naked unseen."""
    one, other = enter(make(**STOP)), enter(make("other", **STOP))
    paper.control("faults", orders={"reset_before": 1})
    protection.protect(one)
    paper.control("faults", orders=None)
    protection.protect(other)
    assert placed(paper) == 0
    pass_time(11)
    settle_all()
    pass_time(3)
    settle_all()
    sweep(account)
    assert len(working(paper)) == 2
    assert len({order.exchange_order_id for order in live()}) == 2
    assert {order.operation_id for order in live()} == {one.pk, other.pk}


def test_a_cancel_whose_answer_was_lost_is_settled_before_the_new_stop_is_placed(
    make: Callable[..., Strategy], account: Account, paper: PaperExchange
) -> None:
    cover(make(**STOP))
    Leg.objects.update(stop_loss_per_order=D(3))
    paper.control("faults", cancels={"reset_after": 1})
    sweep(account)
    assert [order.status for order in live()] == [OrderStatus.PENDING_CANCEL]
    assert placed(paper) == 1
    paper.control("faults", cancels=None)
    settle_all()
    sweep(account)
    assert working(paper) == [("STOP_MARKET", "SELL", "0.01", "48500")]


def test_a_stop_that_stays_unknown_for_too_long_closes_the_operation(
    make: Callable[..., Strategy], account: Account, paper: PaperExchange
) -> None:
    paper_faults = {"reset_before": 1}
    operation = enter(make(**STOP))
    paper.control("faults", orders=paper_faults)
    protection.protect(operation)
    pass_time(20)
    sweep(account)
    assert again(operation).status == Operation.Status.OPEN
    pass_time(11)
    sweep(account)
    assert again(operation).status == Operation.Status.CLOSING


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it, and what was not committed is rolled back."""


# Each names a call on the way of placing or replacing; the process dies before it or right after it
STEPS: dict[str, tuple[Any, str]] = {
    "the lock": (protection, "lock_lane"),
    "the row": (protection, "_create"),
    "the denial": (protection, "compare"),
    "the sending": (protection, "submit_protection"),
    "the claim": (execution, "_to_submitted"),
    "the wire": (BingX, "place_order"),
    "the answer": (execution, "apply_report"),
    "the move": (transitions, "check_transition"),
    "the operation's share": (transitions, "refresh_share"),
    "the cancel": (protection, "cancel"),
    "the cancel on the wire": (BingX, "cancel_order"),
    "what became of the cancelled": (BingX, "order"),
    "the list": (BingX, "open_orders"),
    "the settling": (reconcile, "_find_by_likeness"),
    "the judgement": (protection, "_judge"),
}


def kill_once(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, *, after: bool) -> list[str]:
    """Let the first call of a step be the process's last, before it or after it; return where deaths are noted."""
    real: Callable[..., Any] = getattr(owner, name)
    deaths: list[str] = []

    def step(*args: Any, **kwargs: Any) -> Any:
        result = real(*args, **kwargs) if deaths or after else None
        if not deaths:
            deaths.append(name)
            raise Killed
        return result

    monkeypatch.setattr(owner, name, step)
    return deaths


def sweep_until_rest(account: Account) -> None:
    """Sweep again and again, as beat does, surviving deaths, while time passes."""
    acts: list[Callable[[], None]] = [partial(sweep, account), settle_all]
    for _ in range(5):
        for act in acts:
            with suppress(Killed):
                act()
        pass_time(5)


@pytest.mark.django_db(databases=DATABASES, transaction=True)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_killed_at_a_step_the_cover_still_stands_once(
    make: Callable[..., Strategy],
    account: Account,
    paper: PaperExchange,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    after: bool,
) -> None:
    operation = enter(make(**BOTH))
    if step == "the settling":
        paper.control("faults", orders={"reset_after": 1})
    deaths = kill_once(monkeypatch, *STEPS[step], after=after)
    sweep_until_rest(account)
    paper.control("faults", orders=None)
    Leg.objects.update(stop_loss_per_order=D(3))
    more_deaths = kill_once(monkeypatch, *STEPS[step], after=after)
    sweep_until_rest(account)
    assert deaths + more_deaths, f"nothing ever reached {step}"
    assert sorted(working(paper)) == [
        ("STOP_MARKET", "SELL", "0.01", "48500"),
        ("TAKE_PROFIT_MARKET", "SELL", "0.01", "52000"),
    ]
    assert placed(paper) == 3
    assert len(live()) == 2
    assert (again(operation).status, again(operation).uncovered_since) == (Operation.Status.OPEN, None)


def in_threads(count: int, work: Callable[[], None]) -> None:
    """Run `work` in so many threads at once; raise what any of them raised."""

    def run_one() -> None:
        try:
            work()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(count) as pool:
        for done in [pool.submit(run_one) for _ in range(count)]:
            done.result()


@pytest.mark.django_db(databases=DATABASES, transaction=True)
def test_many_processes_that_protect_at_once_place_one_stop_and_one_target(
    make: Callable[..., Strategy], account: Account, paper: PaperExchange
) -> None:
    strategy = make(**BOTH)
    operation = enter(strategy)
    in_threads(6, lambda: protection.protect(operation))
    assert placed(paper) == 2
    Leg.objects.update(stop_loss_per_order=D(3))
    in_threads(6, lambda: sweep(account))
    sweep(account)
    assert sorted(working(paper)) == [
        ("STOP_MARKET", "SELL", "0.01", "48500"),
        ("TAKE_PROFIT_MARKET", "SELL", "0.01", "52000"),
    ]
    assert placed(paper) == 3


@pytest.mark.django_db(databases=DATABASES, transaction=True)
def test_an_operation_that_is_closed_while_it_is_protected_ends_without_protection(
    make: Callable[..., Strategy], account: Account, paper: PaperExchange
) -> None:
    strategy = make(**BOTH)
    for number in range(1, 6):
        operation = enter(strategy, alarm_id=2 * number)

        def close(operation: Operation = operation) -> None:
            close_by_hand(operation, "tester")
            run(strategy)

        with ThreadPoolExecutor(4) as pool:
            works = [lambda: protection.protect(operation)] * 3 + [close]  # noqa: B023
            for done in [pool.submit(in_threads, 1, work) for work in works]:
                done.result()
        for _ in range(3):
            run(strategy)
            sweep(account)
        assert again(operation).status == Operation.Status.CLOSED
        assert working(paper) == []


# The end


def test_an_operation_whose_exit_is_on_its_way_is_not_protected_again(
    make: Callable[..., Strategy], account: Account, paper: PaperExchange
) -> None:
    strategy = make(**BOTH)
    operation = cover(strategy)
    paper.control("faults", orders={"reset_before": 1})
    close_by_hand(operation, "tester")
    sweep(account)
    assert len(working(paper)) == 2, "what stands goes right before the exit"
    run(strategy)
    sweep(account)
    protection.protect(operation)
    assert working(paper) == []
    assert again(operation).status == Operation.Status.CLOSING


def test_no_protection_stands_after_the_end(
    make: Callable[..., Strategy], account: Account, paper: PaperExchange
) -> None:
    strategy = make(**BOTH)
    operation = cover(strategy)
    carry_out(strategy, AlarmFacts(2, "long", timezone.now()), CLOSE)
    run(strategy)
    assert again(operation).status == Operation.Status.CLOSED
    assert working(paper) == []
    assert live() == []
    assert not protection.watched().exists()


def test_a_target_left_behind_by_its_stop_is_taken_away_by_the_sweep_alone(
    make: Callable[..., Strategy], account: Account, paper: PaperExchange
) -> None:
    operation = cover(make(**BOTH))
    paper.control("prices", **{"BTC-USDT": "48900"})
    stop = live()[0]
    reconcile.settle(stop)
    assert again(operation).status == Operation.Status.CLOSED
    assert len(working(paper)) == 1
    sweep(account)
    assert working(paper) == []
    assert live() == []
