"""R21, R22 and R23: poisoned rows are set aside, divergent states are settled or flagged, fills are counted once."""

import secrets
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from alarms import routing
from alarms.intake import record_alarm
from alarms.models import Alarm
from alarms.tasks import sweep_alarms
from exchange.connection import connect
from exchange.models import Account
from exchange.types import Market, OrderRequest, OrderType, PositionSide, Side
from operations import execution, reconcile
from operations.comparison import compare_positions, settle_in_flight
from operations.lifecycle import AlarmFacts, carry_out
from operations.models import Fill, Lane, Notice, Operation, Order, OrderEvent
from operations.states import UNFINISHED
from operations.tasks import run_lane
from pelusa.testing import (
    DATABASES,
    PaperExchange,
    alarm_body,
    list_instruments,
    make_account,
    make_strategy,
    wait_until,
)
from pelusa.tests.experiments.rig import SCALE, scaled
from strategies.models import Strategy
from strategies.rules import Verdict

pytestmark = pytest.mark.django_db(databases=DATABASES, transaction=True)

OPEN = Verdict("open", "entry", {"leg": "long"})
PAIRS = ("BTC", "ETH", "SOL", "LTC", "ADA", "XRP", "BNB", "LINK")
SIZE = D(10)


@pytest.fixture
def account(paper: PaperExchange) -> Account:
    list_instruments()
    return make_account()


def strategy_on(account: Account, pair: str, name: str = "Stochastic_v1", **leg: Any) -> Strategy:
    return make_strategy(
        account,
        name=f"{name} {pair} {account.name}",
        alarm_name=name,
        ticker=f"{pair}USDT.P",
        symbol=f"{pair}-USDT",
        pair=f"{pair}USDT",
        leg={"size": SIZE, "pyramiding": 1000} | leg,
    )


def test_r21_poisoned_alarms_among_honest_ones_are_set_aside_and_stop_nobody(account: Account) -> None:
    """What is poison: a strategy whose account no key opens, a message that cannot be read, a strategy that is none."""
    broken = make_account("broken")
    for pair in PAIRS:
        strategy_on(account, pair)
        strategy_on(broken, pair, "Broken_v1")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE exchange_account SET api_secret = 'no ciphertext' WHERE id = %s", [broken.pk])
    kinds = Counter[str]()
    for number in range(scaled(100)):
        ticker, kind = f"{PAIRS[number % 8]}USDT.P", ("Broken_v1" if number % 10 == 3 else "Stochastic_v1")
        if number % 10 == 5:
            kinds[record_alarm(b'{"Ticker": "BTC', "127.0.0.1").status] += 1
        kinds[kind] += 1
        record_alarm(alarm_body(ticker=ticker, Strategy=kind), "127.0.0.1")
        record_alarm(alarm_body(ticker=ticker, Strategy="Nobody_v1"), "127.0.0.1")
    sweep_until_routed(routing.MOST_ATTEMPTS)
    for lane_id in Lane.objects.filter(account__name="broken").values_list("pk", flat=True):
        run_lane(lane_id)
    unsent = Order.objects.filter(operation__strategy__alarm_name="Broken_v1")
    assert Counter(unsent.values_list("status", "reason")) == {("denied", "key_unreadable"): kinds["Broken_v1"]}
    assert Notice.objects.get().kind == "key_unreadable"
    assert Alarm.objects.filter(strategy="Stochastic_v1", status="processed").count() == kinds["Stochastic_v1"]
    assert Order.objects.count() == kinds["Stochastic_v1"] + kinds["Broken_v1"]
    assert set(Alarm.objects.filter(strategy="Nobody_v1").values_list("reason", flat=True)) == {"no_strategy"}
    assert Alarm.objects.filter(status="invalid").count() == kinds["invalid"] > 0


def sweep_until_routed(most: int) -> None:
    """Sweep as beat does; every alarm must be done after so many sweeps."""
    Alarm.objects.update(received_at=timezone.now() - timedelta(seconds=5))
    for _ in range(most):
        sweep_alarms()
        if not Alarm.objects.filter(status="received").exists():
            return
    pytest.fail(f"{Alarm.objects.filter(status='received').count()} alarms still wait")


def order_on(strategy: Strategy, alarm_id: int) -> Order:
    """Decide to open and send, and return the order as it then stands."""
    decision = carry_out(strategy, AlarmFacts(alarm_id, "long", timezone.now(), D(1)), OPEN)
    execution.run_lane(Lane.objects.get(account=strategy.account, symbol=strategy.symbol))
    return decision.orders.get()


def by_hand(strategy: Strategy, side: Side, position_side: PositionSide) -> None:
    """Trade past us, as the owner of the account can at the exchange."""
    connect(strategy.account).place_order(
        OrderRequest(
            market=Market.USDTM,
            symbol=strategy.symbol,
            side=side,
            position_side=position_side,
            order_type=OrderType.MARKET,
            quantity=SIZE,
            client_order_id=f"h{secrets.token_hex(8)}",
            signed_at=datetime.now(UTC),
        )
    )


def let_time_pass(seconds: float) -> None:
    """Move the past back: what was sent, what happened, what was seen."""
    earlier = timedelta(seconds=seconds)
    for order in Order.objects.filter(submitted_at__isnull=False):
        missed_at = order.missed_at - earlier if order.missed_at else None
        Order.objects.filter(pk=order.pk).update(submitted_at=order.submitted_at - earlier, missed_at=missed_at)
    for event in OrderEvent.objects.all():
        OrderEvent.objects.filter(pk=event.pk).update(at=event.at - earlier)
    for lane in Lane.objects.all():
        if "seen_at" in lane.frozen_facts:
            seen_at = datetime.fromisoformat(lane.frozen_facts["seen_at"]) - earlier
            Lane.objects.filter(pk=lane.pk).update(frozen_facts=lane.frozen_facts | {"seen_at": seen_at.isoformat()})


def diverge(paper: PaperExchange, strategy: Strategy, state: str, alarm_id: int) -> None:
    """Bring our books and the exchange's apart in one lane, as if we had been down meanwhile."""
    faults = {"filled while down": "reset_after", "only here": "reset_before"}
    paper.control("faults", orders={faults[state]: 1} if state in faults else None)
    if state == "only there":
        by_hand(strategy, Side.BUY, PositionSide.LONG)
        return
    order_on(strategy, alarm_id)
    paper.control("faults", orders=None)
    if state in ("closed by hand", "flipped"):
        by_hand(strategy, Side.SELL, PositionSide.LONG)
    if state == "flipped":
        by_hand(strategy, Side.SELL, PositionSide.SHORT)


STATES = ("filled while down", "only here", "only there", "closed by hand", "flipped", "equal")
FLAGGED = {"only there", "closed by hand", "flipped"}


def test_r22_every_divergent_state_is_settled_or_flagged_and_a_second_run_changes_nothing(
    account: Account, paper: PaperExchange
) -> None:
    accounts = [account, *(make_account(f"desk {number}") for number in range(1, scaled(1)))]
    states = [
        (strategy_on(each, pair), state) for each in accounts for pair, state in zip(PAIRS[1:7], STATES, strict=True)
    ]
    for number, (strategy, state) in enumerate(states):
        diverge(paper, strategy, state, number + 1)
    reconcile_all(accounts)
    assert not Order.objects.filter(status__in=UNFINISHED).exists()
    frozen = set(Lane.objects.filter(frozen_reason="books_differ").values_list("account_id", "symbol"))
    assert frozen == {(each.account_id, each.symbol) for each, state in states if state in FLAGGED}
    assert Notice.objects.filter(kind="books_differ", ended_at=None).count() == len(FLAGGED) * len(accounts)
    for number, (strategy, state) in enumerate(states):
        status = order_on(strategy, number + 100_000).status
        assert status == ("denied" if state in FLAGGED else "filled"), strategy.name
    reconcile_all(accounts)
    before = snapshot(paper)
    reconcile_all(accounts)
    assert snapshot(paper) == before


def reconcile_all(accounts: list[Account]) -> None:
    """Run what a start runs, as often as the fence and the second sighting ask for."""
    for _ in range(4):
        let_time_pass(11)
        for account in accounts:
            settle_in_flight(account)
            compare_positions(account)


def snapshot(paper: PaperExchange) -> list[Any]:
    return [
        list(Order.objects.order_by("id").values_list("id", "status", "filled_quantity")),
        list(Operation.objects.order_by("id").values_list("id", "status", "held_quantity", "realised_pnl")),
        list(Lane.objects.order_by("id").values_list("id", "frozen_reason", "frozen_facts")),
        list(Fill.objects.order_by("id").values_list("id", "quantity")),
        [(row["order_id"], row["executed"]) for row in paper.ledger()],
    ]


def settle_and_collect(order: Order) -> bool:
    reconcile.settle(again(order))
    return reconcile.collect_fills(again(order))


def again(order: Order) -> Order:
    return Order.objects.select_related("lane__account", "operation__strategy", "decision").get(pk=order.pk)


@pytest.mark.parametrize("slices", range(1, 51) if SCALE > 1 else (1, 2, 7, 20))
def test_r23_partial_fills_that_trickle_in_are_counted_once_and_exactly(
    account: Account, paper: PaperExchange, slices: int
) -> None:
    """Fetched again and again while they come: every answer repeats earlier fills, and some come after their order."""
    strategy = strategy_on(account, "SOL", size=D(100))
    paper.control("faults", partial_fills={"slices": slices, "every_ms": 15})
    order = order_on(strategy, 1)
    wait_until(lambda: settle_and_collect(order), what="for the last fill")
    assert not reconcile.collect_fills(again(order)), "the last comes once"
    [row] = paper.ledger()
    ours = {fill.exchange_trade_id: fill for fill in Fill.objects.all()}
    # What is left of an even share below the step comes as one more
    assert len(ours) == len(row["fills"]) >= slices
    for fill in row["fills"]:
        mine = ours[fill["trade_id"]]
        assert (mine.quantity, mine.price) == (D(fill["quantity"]), D(fill["price"]))
    operation = Operation.objects.get()
    assert sum(fill.quantity for fill in ours.values()) == operation.held_quantity == D(row["executed"])
    assert operation.fees == sum(fill.fee for fill in ours.values())
