"""R22, R35: after an absence entries wait until their lane was compared; exits never do; a restore needs a person."""

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import pytest
from django.db import connections
from django.utils import timezone

from exchange.connection import connect
from exchange.models import Account
from exchange.types import Market, OrderRequest, OrderType, PositionSide, Side
from operations import tasks
from operations.comparison import ABSENCE, RECENTLY, compare_positions
from operations.execution import is_paused
from operations.killswitch import pulled_switch, release
from operations.lifecycle import AlarmFacts, carry_out
from operations.models import Lane, Notice, Operation, Order, OrderEvent, new_client_order_id
from operations.reconcile import settle
from operations.strangers import FIRST_LOOK, FURTHEST_LOOK, MARGIN, since_of
from pelusa.testing import DATABASES, PaperExchange, list_instruments, make_account, make_strategy
from strategies.models import Strategy
from strategies.reasons import explain
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
    return make_strategy(account, leg={"pyramiding": 9})


@pytest.fixture
def silent(paper: PaperExchange) -> Iterator[None]:
    """The exchange takes orders and tells no positions."""
    paper.control("faults", account={"gateway_after": 1})
    yield
    paper.control("faults", account=None)


_alarms = iter(range(1, 10_000))


def decide(strategy: Strategy, verdict: Verdict = OPEN, *, ago: float = 0) -> Order:
    """Write the decision and its order, and send nothing."""
    at = timezone.now() - timedelta(seconds=ago)
    return carry_out(strategy, AlarmFacts(next(_alarms), "long", at, D(50000)), verdict).orders.get()


def run(order: Order) -> Order:
    """Do as the bell of the order's lane asks; return the order as it then stands."""
    tasks.run_lane(order.lane_id)
    return again(order)


def again(order: Order) -> Order:
    return Order.objects.select_related("lane__account", "operation__strategy", "decision").get(pk=order.pk)


def act(strategy: Strategy, verdict: Verdict = OPEN) -> Order:
    return run(decide(strategy, verdict))


def pass_time(seconds: float) -> None:
    """Move the past back: what happened, what was seen, and when books were compared."""
    earlier = timedelta(seconds=seconds)
    for event in OrderEvent.objects.all():
        OrderEvent.objects.filter(pk=event.pk).update(at=event.at - earlier)
    for lane in Lane.objects.all():
        if "seen_at" in lane.frozen_facts:
            lane.frozen_facts["seen_at"] = (datetime.fromisoformat(lane.frozen_facts["seen_at"]) - earlier).isoformat()
        if lane.compared_at:
            lane.compared_at -= earlier
        lane.save(update_fields=["frozen_facts", "compared_at"])


def be_absent() -> None:
    pass_time(ABSENCE.total_seconds() + 1)


def by_hand(account: Account, side: Side, quantity: str, *, client_order_id: str = "") -> None:
    """Trade past these books, as the account's owner can, or another Pelusa with an id of its own."""
    connect(account).place_order(
        OrderRequest(
            Market.USDTM,
            "BTC-USDT",
            side,
            PositionSide.LONG,
            OrderType.MARKET,
            D(quantity),
            client_order_id or f"h{secrets.token_hex(8)}",
            datetime.now(UTC),
        )
    )


# Waiting


def test_r22_the_first_entry_ever_has_its_lane_compared_and_is_sent_at_once(strategy: Strategy) -> None:
    order = act(strategy)
    assert order.status == "filled"
    assert order.lane.compared_at >= order.created_at


def test_r22_an_entry_after_an_absence_has_its_lane_compared_first_and_one_soon_after_does_not(
    strategy: Strategy, paper: PaperExchange
) -> None:
    first = act(strategy)
    seen = first.lane.compared_at
    paper.control("faults", account={"gateway_after": 1})
    assert act(strategy).status == "filled", "nothing is asked while the last look is young"
    paper.control("faults", account=None)
    be_absent()
    assert act(strategy).lane.compared_at > seen


def test_r22_while_positions_cannot_be_read_an_entry_waits_and_goes_when_they_can(
    strategy: Strategy, paper: PaperExchange
) -> None:
    act(strategy)
    be_absent()
    paper.control("faults", account={"gateway_after": 1})
    order = decide(strategy)
    for _ in range(3):
        assert run(order).status == "created"
    assert len(paper.ledger()) == 1
    paper.control("faults", account=None)
    assert run(order).status == "filled"


def test_r22_an_entry_waits_no_longer_than_its_alarm_may_be_old_and_says_why(strategy: Strategy, silent: None) -> None:
    Strategy.objects.update(max_alarm_age=60)
    young, old = decide(strategy, ago=30), decide(strategy, ago=61)
    assert run(old).reason == "books_not_compared"
    assert again(young).status == "created"
    decided = again(old).decision
    assert "61 s" in explain(decided.reason, decided.facts)


def test_r22_the_brake_is_felt_by_what_waits(strategy: Strategy, silent: None) -> None:
    order = decide(strategy)
    Strategy.objects.update(is_active=False)
    assert run(order).reason == "strategy_off"


def test_r22_exits_of_others_pass_an_entry_that_waits(
    strategy: Strategy, account: Account, paper: PaperExchange
) -> None:
    other = make_strategy(account, name="other")
    act(other)
    be_absent()
    paper.control("faults", account={"gateway_after": 1})
    waiting, leaving = decide(strategy), decide(other, CLOSE)
    run(waiting)
    assert (again(waiting).status, again(leaving).status) == ("created", "filled")


def test_r22_no_entry_is_sent_while_an_exit_that_passed_it_is_in_flight(
    strategy: Strategy, account: Account, paper: PaperExchange
) -> None:
    other = make_strategy(account, name="other")
    act(other)
    be_absent()
    paper.control("faults", account={"gateway_after": 1}, orders={"reset_after": 1})
    waiting, leaving = decide(strategy), decide(other, CLOSE)
    run(waiting)
    assert again(leaving).status == "submitted"
    paper.control("faults", account=None, orders=None)
    assert run(waiting).status == "created"
    settle(again(leaving))
    pass_time(RECENTLY.total_seconds() + 1)
    assert run(waiting).status == "filled"


def test_r22_an_entry_whose_operation_is_being_closed_is_denied_and_does_not_hold_up_the_exit(
    strategy: Strategy, paper: PaperExchange
) -> None:
    act(strategy)
    be_absent()
    paper.control("faults", account={"gateway_after": 1})
    entry, leaving = decide(strategy), decide(strategy, CLOSE)
    run(entry)
    assert again(entry).reason == "operation_is_closing"
    assert again(leaving).status == "filled"
    assert Operation.objects.get().status == "closed"


def test_r22_a_lane_in_motion_is_not_entered_before_it_was_quiet(strategy: Strategy) -> None:
    first = act(strategy)
    be_absent()
    OrderEvent.objects.filter(order=first).update(at=timezone.now())
    order = decide(strategy)
    assert run(order).status == "created"
    pass_time(RECENTLY.total_seconds() + 1)
    assert run(order).status == "filled"


def test_r22_a_difference_seen_once_holds_the_entry_and_the_second_look_denies_it(
    strategy: Strategy, account: Account, paper: PaperExchange
) -> None:
    act(strategy)
    be_absent()
    by_hand(account, Side.SELL, "0.01")
    order = decide(strategy)
    assert run(order).status == "created"
    pass_time(3)
    assert run(order).reason == "books_differ"
    assert Notice.objects.filter(kind="books_differ", ended_at=None).count() == 1
    assert [row["client_order_id"][0] for row in paper.ledger()] == ["p", "h"]


def test_r22_a_difference_that_was_seen_while_all_was_compared_lately_holds_entries_too(
    strategy: Strategy, account: Account, paper: PaperExchange
) -> None:
    act(strategy)
    by_hand(account, Side.SELL, "0.01")
    pass_time(RECENTLY.total_seconds() + 1)
    compare_positions(account)
    assert act(strategy).status == "created"
    assert len(paper.ledger()) == 2


def test_r22_a_difference_that_went_away_lets_the_entry_go(strategy: Strategy, account: Account) -> None:
    act(strategy)
    be_absent()
    by_hand(account, Side.BUY, "0.01")
    order = decide(strategy)
    assert run(order).status == "created"
    by_hand(account, Side.SELL, "0.01")
    assert run(order).status == "filled"


def test_r22_a_rate_limit_pauses_the_account_instead_of_asking_again_and_again(
    strategy: Strategy, paper: PaperExchange
) -> None:
    order = decide(strategy)
    paper.control("faults", account={"rate_limit": 1})
    assert run(order).status == "created"
    assert is_paused(order.lane)


@pytest.mark.django_db(databases=DATABASES, transaction=True)
def test_r22_eight_workers_that_come_up_at_once_send_it_once(strategy: Strategy, paper: PaperExchange) -> None:
    if connections["default"].vendor == "sqlite":
        pytest.skip("SQLite has one writer")
    act(strategy)
    be_absent()
    order = decide(strategy)

    def work() -> None:
        try:
            tasks.run_lane(order.lane_id)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(work) for _ in range(8)]:
            done.result()
    assert run(order).status == "filled"
    assert len(paper.ledger()) == 2


# Orders of ours that our books do not know


def test_r35_orders_of_ours_that_the_books_lack_pull_the_accounts_kill_switch(
    strategy: Strategy, account: Account, paper: PaperExchange
) -> None:
    """Bought and sold again after the dump: positions are equal, and only the orders tell."""
    act(strategy)
    for side in (Side.BUY, Side.SELL):
        by_hand(account, side, "0.02", client_order_id=new_client_order_id())
    be_absent()
    assert act(strategy).reason == "kill_switch"
    switch = pulled_switch(account.pk)
    assert switch
    assert "2 orders of Pelusa in BTC-USDT" in switch.reason
    assert Notice.objects.filter(kind="kill_switch_on", ended_at=None).count() == 1
    assert len(paper.ledger()) == 3


def test_r35_once_a_person_released_it_entries_go_and_the_same_orders_stop_nothing_again(
    strategy: Strategy, account: Account
) -> None:
    by_hand(account, Side.BUY, "0.02", client_order_id=new_client_order_id())
    by_hand(account, Side.SELL, "0.02")
    assert act(strategy).reason == "kill_switch"
    release(account, "anna", "compared by hand")
    assert act(strategy).status == "filled"
    compare_positions(account)
    assert pulled_switch(account.pk) is None


def test_r35_an_exit_passes_the_switch_that_was_pulled(strategy: Strategy, account: Account) -> None:
    act(strategy)
    for side in (Side.BUY, Side.SELL):
        by_hand(account, side, "0.02", client_order_id=new_client_order_id())
    be_absent()
    compare_positions(account)
    assert pulled_switch(account.pk)
    assert act(strategy, CLOSE).status == "filled"


def test_r35_an_entry_that_waits_here_and_is_there_already_is_not_sent_again(
    strategy: Strategy, account: Account, paper: PaperExchange
) -> None:
    paper.control("faults", dedupe="none")
    order = decide(strategy)
    by_hand(account, Side.BUY, "0.01", client_order_id=order.client_order_id)
    by_hand(account, Side.SELL, "0.01")
    assert run(order).reason == "kill_switch"
    assert len(paper.ledger()) == 2


def test_r35_an_exit_that_waits_here_and_is_there_already_is_taken_up_and_not_sent_again(
    strategy: Strategy, account: Account, paper: PaperExchange
) -> None:
    act(strategy)
    paper.control("faults", dedupe="none")
    order = decide(strategy, CLOSE)
    by_hand(account, Side.SELL, "0.01", client_order_id=order.client_order_id)
    Order.objects.filter(pk=order.pk).update(created_at=timezone.now() - timedelta(days=1))
    assert run(order).status == "filled"
    assert len(paper.ledger()) == 2
    assert Operation.objects.get().status == "closed"


def test_r35_an_exit_that_waited_for_long_goes_even_where_nobody_can_be_asked(
    strategy: Strategy, paper: PaperExchange
) -> None:
    act(strategy)
    order = decide(strategy, CLOSE)
    Order.objects.filter(pk=order.pk).update(created_at=timezone.now() - timedelta(days=1))
    paper.control("faults", lookups={"gateway_after": 1})
    assert run(order).status == "filled"


def test_r35_what_these_books_know_and_what_people_trade_by_hand_pulls_nothing(
    strategy: Strategy, account: Account
) -> None:
    act(strategy)
    act(strategy, CLOSE)
    by_hand(account, Side.BUY, "0.02")
    by_hand(account, Side.SELL, "0.02")
    be_absent()
    compare_positions(account)
    assert act(strategy).status == "filled"
    assert pulled_switch(account.pk) is None


def test_r35_while_orders_cannot_be_listed_the_lane_is_not_entered(strategy: Strategy, paper: PaperExchange) -> None:
    paper.control("faults", lookups={"gateway_after": 1})
    order = decide(strategy)
    assert run(order).status == "created"
    assert again(order).lane.compared_at is None
    paper.control("faults", lookups=None)
    assert run(order).status == "filled"


def test_r35_the_look_back_reaches_from_before_the_last_look_and_a_week_at_most(strategy: Strategy) -> None:
    lane, now = decide(strategy).lane, timezone.now()
    assert since_of(lane, now) == now - FIRST_LOOK
    lane.compared_at = now - timedelta(hours=3)
    assert since_of(lane, now) == lane.compared_at - MARGIN
    lane.compared_at = now - timedelta(days=30)
    assert since_of(lane, now) == now - FURTHEST_LOOK
