"""Where our books and the exchange's positions differ entries stop, and nothing is traded to make them agree."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from io import StringIO
from threading import Thread

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from exchange.connection import connect
from exchange.errors import RateLimited
from exchange.models import Account
from exchange.types import Market, OrderRequest, OrderType, PositionMode, PositionSide, Side
from market.instruments import refresh
from operations import execution, reconcile, tasks
from operations.comparison import (
    BETWEEN_SIGHTINGS,
    RECENTLY,
    Line,
    base_of,
    compare_positions,
    perpetual_lines,
    spot_lines,
    take_stock,
)
from operations.lifecycle import AlarmFacts, carry_out
from operations.models import Decision, Fill, Lane, Notice, Operation, Order, OrderEvent
from pelusa.testing import DATABASES, PaperExchange, make_account, make_strategy, wait_until
from strategies.models import Strategy
from strategies.rules import Verdict

trades = pytest.mark.django_db(databases=DATABASES)

OPEN = Verdict("open", "entry", {"leg": "long"})
CLOSE = Verdict("close", "exit", {"leg": "long"})
LONG, SHORT, BOTH = PositionSide.LONG, PositionSide.SHORT, PositionSide.BOTH


@pytest.fixture
def account(paper: PaperExchange) -> Account:
    for market in Market:
        refresh(market)
    return make_account()


@pytest.fixture
def strategy(account: Account) -> Strategy:
    return make_strategy(account)


def act(strategy: Strategy, verdict: Verdict, *, alarm_id: int = 1, leg: str = "long") -> Decision:
    decision = carry_out(strategy, AlarmFacts(alarm_id, leg, timezone.now(), D(50000)), verdict)
    run(strategy)
    return decision


def run(strategy: Strategy) -> None:
    """Send what waits, and learn what became of it, until nothing more happens."""
    lane = lane_of(strategy)
    execution.run_lane(lane)
    for order in lane.orders.filter(status__in=["submitted", "accepted", "partially_filled"]):
        reconcile.settle(again(order))
    for order in lane.orders.filter(filled_quantity__gt=0, has_all_fills=False):
        reconcile.collect_fills(again(order))


def lane_of(strategy: Strategy) -> Lane:
    return Lane.objects.select_related("account").get(
        account=strategy.account, market=strategy.market, symbol=strategy.symbol
    )


def again(order: Order) -> Order:
    return Order.objects.select_related("lane__account", "operation__strategy", "decision").get(pk=order.pk)


def by_hand(
    account: Account,
    side: Side,
    quantity: str,
    position_side: PositionSide = LONG,
    *,
    market: Market = Market.USDTM,
    symbol: str = "BTC-USDT",
) -> None:
    """Trade past Pelusa, as the owner of the account can at the exchange."""
    connect(account).place_order(
        OrderRequest(
            market,
            symbol,
            side,
            position_side,
            OrderType.MARKET,
            D(quantity),
            f"h{secrets.token_hex(8)}",
            datetime.now(UTC),
        )
    )


def pass_time(seconds: float = RECENTLY.total_seconds() + 1) -> None:
    """Let time pass by moving the past back: what happened, and what was seen."""
    earlier = timedelta(seconds=seconds)
    for event in OrderEvent.objects.all():
        OrderEvent.objects.filter(pk=event.pk).update(at=event.at - earlier)
    for lane in Lane.objects.all():
        if "seen_at" in lane.frozen_facts:
            lane.frozen_facts["seen_at"] = (datetime.fromisoformat(lane.frozen_facts["seen_at"]) - earlier).isoformat()
            lane.save(update_fields=["frozen_facts"])


def look_twice(account: Account) -> list[Line]:
    pass_time()
    compare_positions(account)
    pass_time()
    return compare_positions(account)


def books_differ(lane: Lane) -> bool:
    lane.refresh_from_db()
    return lane.frozen_reason == "books_differ"


# A position that is not ours, or not there


@trades
def test_equal_books_freeze_nothing(strategy: Strategy, account: Account) -> None:
    act(strategy, OPEN)
    assert look_twice(account) == []
    lane = lane_of(strategy)
    assert (lane.frozen_reason, lane.frozen_facts) == ("", {})


@trades
def test_a_position_closed_by_hand_stops_entries_and_says_both_numbers(strategy: Strategy, account: Account) -> None:
    act(strategy, OPEN)
    by_hand(account, Side.SELL, "0.004")
    assert look_twice(account) == [Line("usdtm", "BTC-USDT", "LONG", D("0.01"), D("0.006"))]
    lane = lane_of(strategy)
    facts = {"symbol": "BTC-USDT", "side": "LONG", "ours": "0.01", "theirs": "0.006"}
    assert (lane.frozen_reason, lane.frozen_facts) == ("books_differ", facts)
    assert lane.frozen_at
    notice = Notice.objects.get(ended_at=None)
    assert (notice.kind, notice.level, notice.account, notice.facts) == ("books_differ", "critical", account, facts)


@trades
def test_a_frozen_lane_denies_entries_and_lets_exits_go(strategy: Strategy, account: Account) -> None:
    act(strategy, OPEN)
    by_hand(account, Side.BUY, "0.02")
    look_twice(account)
    other = make_strategy(account, name="other")
    denied = act(other, OPEN, alarm_id=2)
    denied.refresh_from_db()
    assert (denied.outcome, denied.reason, denied.facts["theirs"]) == ("denied", "books_differ", "0.03")
    act(strategy, CLOSE, alarm_id=3)
    assert Operation.objects.get(strategy=strategy).status == Operation.Status.CLOSED


@trades
def test_nothing_is_traded_to_make_books_agree(strategy: Strategy, account: Account, paper: PaperExchange) -> None:
    act(strategy, OPEN)
    by_hand(account, Side.SELL, "0.01")
    before = len(paper.ledger())
    look_twice(account)
    assert len(paper.ledger()) == before
    assert Operation.objects.get().held_quantity == D("0.01")


@trades
def test_a_lane_thaws_by_itself_when_both_numbers_are_equal_again(strategy: Strategy, account: Account) -> None:
    act(strategy, OPEN)
    by_hand(account, Side.SELL, "0.004")
    look_twice(account)
    by_hand(account, Side.BUY, "0.004")
    pass_time()
    assert compare_positions(account) == []
    lane = lane_of(strategy)
    assert (lane.frozen_reason, lane.frozen_facts, lane.frozen_at) == ("", {}, None)
    assert Notice.objects.get().ended_at


@trades
def test_a_frozen_lane_tells_the_newest_numbers_and_raises_no_second_notice(
    strategy: Strategy, account: Account
) -> None:
    act(strategy, OPEN)
    by_hand(account, Side.SELL, "0.004")
    look_twice(account)
    by_hand(account, Side.SELL, "0.002")
    look_twice(account)
    assert lane_of(strategy).frozen_facts["theirs"] == "0.004"
    assert Notice.objects.count() == 1


@trades
def test_a_position_that_no_operation_explains_is_a_difference(strategy: Strategy, account: Account) -> None:
    by_hand(account, Side.BUY, "0.1", symbol="ETH-USDT")
    assert look_twice(account) == [Line("usdtm", "ETH-USDT", "LONG", D(0), D("0.1"))]
    assert books_differ(Lane.objects.get(symbol="ETH-USDT"))


@trades
def test_in_hedge_mode_each_side_is_compared_on_its_own(strategy: Strategy, account: Account) -> None:
    act(strategy, OPEN)
    by_hand(account, Side.SELL, "0.01", SHORT)
    assert look_twice(account) == [Line("usdtm", "BTC-USDT", "SHORT", D(0), D("0.01"))]


@trades
def test_shares_of_two_strategies_are_summed(strategy: Strategy, account: Account) -> None:
    act(strategy, OPEN)
    act(make_strategy(account, name="other", leg={"size": D("0.02")}), OPEN)
    assert look_twice(account) == []
    lines = take_stock(account, Market.USDTM)
    assert [(line.side, line.ours, line.theirs) for line in lines] == [
        ("LONG", D("0.03"), D("0.03")),
        ("SHORT", D(0), D(0)),
    ]


@trades
def test_in_one_way_mode_the_net_is_compared(account: Account) -> None:
    connect(account).set_position_mode(PositionMode.ONE_WAY)
    strategy = make_strategy(account, leg={"name": "short"})
    act(strategy, OPEN, leg="short")
    assert look_twice(account) == []
    by_hand(account, Side.BUY, "0.03", BOTH)
    assert look_twice(account) == [Line("usdtm", "BTC-USDT", "BOTH", D("-0.01"), D("0.02"))]


@trades
def test_coin_margined_positions_are_compared_in_contracts(account: Account, paper: PaperExchange) -> None:
    paper.control("prices", **{"BTC-USD": "50000"})
    strategy = make_strategy(account, market="coinm", symbol="BTC-USD", pair="BTCUSD", leg={"size": D(3)})
    act(strategy, OPEN)
    assert look_twice(account) == []
    by_hand(account, Side.SELL, "1", market=Market.COINM, symbol="BTC-USD")
    assert look_twice(account) == [Line("coinm", "BTC-USD", "LONG", D(3), D(2))]


# Spot: the wallet must have at least what we hold


@pytest.fixture
def spot(account: Account) -> Strategy:
    return make_strategy(account, name="spot", market="spot", ticker="BTCUSDT", leg={"size": D("0.01")})


@trades
def test_coins_that_are_the_traders_own_are_no_difference(spot: Strategy, account: Account) -> None:
    act(spot, OPEN)
    assert look_twice(account) == []
    (line,) = take_stock(account, Market.SPOT)
    assert (line.ours, line.theirs) == (D("0.00999"), D("1.00999"))


@trades
def test_coins_that_are_missing_stop_entries(spot: Strategy, account: Account) -> None:
    act(spot, OPEN)
    by_hand(account, Side.SELL, "1.005", BOTH, market=Market.SPOT)
    (line,) = look_twice(account)
    assert (line.side, line.ours, line.theirs) == ("BOTH", D("0.00999"), D("0.00499"))
    assert books_differ(lane_of(spot))


@trades
def test_a_buy_whose_fee_is_not_known_yet_is_uncertain(spot: Strategy, account: Account) -> None:
    by_hand(account, Side.SELL, "1", BOTH, market=Market.SPOT)
    carry_out(spot, AlarmFacts(1, "long", timezone.now()), OPEN)
    execution.run_lane(lane_of(spot))
    pass_time()
    (line,) = take_stock(account, Market.SPOT)
    assert (line.ours, line.theirs, line.is_certain) == (D("0.01"), D("0.00999"), False)


@trades
def test_a_coin_is_uncertain_while_any_lane_that_buys_it_is(spot: Strategy, account: Account) -> None:
    act(spot, OPEN)
    other = make_strategy(account, name="other", market="spot", symbol="BTC-USDC", pair="BTCUSDC")
    carry_out(other, AlarmFacts(2, "long", timezone.now()), OPEN)
    pass_time()
    assert all(line.is_certain for line in take_stock(account, Market.SPOT))
    Order.objects.filter(lane__symbol="BTC-USDC").update(
        status="submitted", quantity=D("0.01"), submitted_at=timezone.now()
    )
    assert not any(line.is_certain for line in take_stock(account, Market.SPOT))


# Uncertain is not different


@contextmanager
def while_it_is_asked(account: Account, paper: PaperExchange) -> Iterator[list[Line]]:
    """Run the block between the look at what is in flight and the exchange's answer; yield what the look will say."""
    paper.control("faults", account={"delay": 1, "delay_ms": [1500, 1500]})
    lines: list[Line] = []

    def look() -> None:
        lines.extend(take_stock(account, Market.USDTM))
        connections.close_all()

    looker = Thread(target=look)
    looker.start()
    wait_until(lambda: bool(paper.control("faults")["drawn"].get("delay")), what="for the question")
    yield lines
    looker.join()


@pytest.mark.django_db(databases=DATABASES, transaction=True)
def test_an_order_that_is_sent_while_the_exchange_is_asked_makes_its_lane_uncertain(
    strategy: Strategy, account: Account, paper: PaperExchange
) -> None:
    act(strategy, OPEN)
    pass_time()
    with while_it_is_asked(account, paper) as lines:
        act(strategy, CLOSE, alarm_id=2)
    assert [line.is_certain for line in lines] == [False, False]


@pytest.mark.django_db(databases=DATABASES, transaction=True)
def test_an_order_that_was_in_flight_when_the_look_began_makes_its_lane_uncertain(
    strategy: Strategy, account: Account, paper: PaperExchange
) -> None:
    """A process that was stopped in the middle writes down a moment that is long gone."""
    act(strategy, OPEN)
    paper.control("faults", orders={"reset_after": 1})
    exit_order = carry_out(strategy, AlarmFacts(2, "long", timezone.now()), CLOSE).orders.get()
    execution.run_lane(lane_of(strategy))
    with while_it_is_asked(account, paper) as lines:
        reconcile.settle(again(exit_order))
        pass_time()
    assert [line.is_certain for line in lines] == [False, False]


@trades
def test_one_sighting_freezes_nothing(strategy: Strategy, account: Account) -> None:
    act(strategy, OPEN)
    by_hand(account, Side.SELL, "0.01")
    pass_time()
    assert compare_positions(account), "it is told"
    assert not books_differ(lane_of(strategy))


@trades
def test_two_sightings_within_two_seconds_are_one(strategy: Strategy, account: Account) -> None:
    act(strategy, OPEN)
    by_hand(account, Side.SELL, "0.01")
    pass_time()
    compare_positions(account)
    pass_time(BETWEEN_SIGHTINGS.total_seconds() / 2)
    compare_positions(account)
    assert not books_differ(lane_of(strategy))


@trades
def test_a_difference_that_went_away_between_begins_anew(strategy: Strategy, account: Account) -> None:
    act(strategy, OPEN)
    for side in (Side.SELL, Side.BUY, Side.SELL):
        by_hand(account, side, "0.01")
        pass_time()
        compare_positions(account)
    assert not books_differ(lane_of(strategy))


@trades
def test_an_order_in_flight_makes_its_lane_uncertain(
    strategy: Strategy, account: Account, paper: PaperExchange
) -> None:
    paper.control("faults", orders={"reset_after": 1})
    carry_out(strategy, AlarmFacts(1, "long", timezone.now()), OPEN)
    execution.run_lane(lane_of(strategy))
    assert look_twice(account) == []
    assert [(line.theirs, line.is_certain) for line in take_stock(account, Market.USDTM)] == [
        (D("0.01"), False),
        (D(0), False),
    ]


@trades
def test_an_order_that_has_just_changed_makes_its_lane_uncertain(strategy: Strategy, account: Account) -> None:
    act(strategy, OPEN)
    by_hand(account, Side.SELL, "0.01")
    assert compare_positions(account) == []
    pass_time()
    assert compare_positions(account)


@trades
def test_an_uncertain_lane_does_not_hide_another(strategy: Strategy, account: Account, paper: PaperExchange) -> None:
    other = make_strategy(account, name="other", ticker="ETHUSDT.P", symbol="ETH-USDT", pair="ETHUSDT")
    act(other, OPEN)
    by_hand(account, Side.BUY, "1", symbol="ETH-USDT")
    paper.control("faults", orders={"reset_after": 1})
    carry_out(strategy, AlarmFacts(1, "long", timezone.now()), OPEN)
    execution.run_lane(lane_of(strategy))
    look_twice(account)
    assert books_differ(lane_of(other))
    assert not books_differ(lane_of(strategy))


@pytest.fixture
def stop(strategy: Strategy, account: Account, paper: PaperExchange) -> Order:
    """A stop of ours that stands at the exchange, 2 % below the entry."""
    act(strategy, OPEN)
    entry = Order.objects.get()
    order = Order.objects.create(
        lane=entry.lane,
        operation=entry.operation,
        entry=entry,
        role=Order.Role.STOP_LOSS,
        side="SELL",
        position_side="LONG",
        order_type="STOP_MARKET",
        quantity=D("0.01"),
        trigger_price=D(49000),
    )
    execution.submit_protection(again(order))
    order.refresh_from_db()
    assert order.status == "accepted"
    return order


@trades
def test_a_stop_that_has_just_fired_is_settled_first_and_is_no_difference(
    stop: Order, account: Account, paper: PaperExchange
) -> None:
    paper.control("prices", **{"BTC-USDT": "48900"})
    assert look_twice(account) == []
    assert again(stop).status == "filled"
    assert Operation.objects.get().held_quantity == 0
    assert not stop.lane.frozen_reason


@trades
def test_a_stop_that_cannot_be_asked_for_makes_its_lane_uncertain(
    stop: Order, account: Account, paper: PaperExchange
) -> None:
    paper.control("prices", **{"BTC-USDT": "48900"})
    paper.control("faults", lookups={"gateway_after": 1})
    assert look_twice(account) == []
    assert not books_differ(stop.lane)


@trades
def test_a_standing_stop_does_not_excuse_a_difference(stop: Order, account: Account) -> None:
    by_hand(account, Side.BUY, "0.03")
    look_twice(account)
    assert books_differ(stop.lane)


@trades
def test_an_exchange_that_does_not_answer_changes_nothing(
    strategy: Strategy, account: Account, paper: PaperExchange
) -> None:
    act(strategy, OPEN)
    by_hand(account, Side.SELL, "0.01")
    pass_time()
    compare_positions(account)
    pass_time()
    paper.control("faults", account={"gateway_after": 1})
    assert compare_positions(account) == []
    assert not books_differ(lane_of(strategy))
    assert lane_of(strategy).frozen_facts["seen_at"]


# A lane that is unsettled too


@trades
def test_an_unsettled_order_takes_the_freeze_over_and_gives_it_back(
    strategy: Strategy, account: Account, paper: PaperExchange
) -> None:
    act(strategy, OPEN)
    by_hand(account, Side.BUY, "0.004")
    look_twice(account)
    paper.control("faults", orders={"reset_after": 1})
    exit_order = carry_out(strategy, AlarmFacts(2, "long", timezone.now()), CLOSE).orders.get()
    execution.run_lane(lane_of(strategy))
    Order.objects.filter(pk=exit_order.pk).update(submitted_at=timezone.now() - timedelta(seconds=11))
    reconcile.watch_lane(lane_of(strategy))
    assert lane_of(strategy).frozen_reason == "unsettled"
    compare_positions(account)
    assert lane_of(strategy).frozen_reason == "unsettled"
    reconcile.settle(again(exit_order))
    reconcile.watch_lane(lane_of(strategy))
    lane = lane_of(strategy)
    assert (lane.frozen_reason, lane.frozen_facts["theirs"]) == ("books_differ", "0.014")


@trades
def test_an_unsettled_lane_whose_books_agree_thaws(strategy: Strategy, paper: PaperExchange) -> None:
    paper.control("faults", orders={"reset_after": 1})
    carry_out(strategy, AlarmFacts(1, "long", timezone.now()), OPEN)
    execution.run_lane(lane_of(strategy))
    Order.objects.update(submitted_at=timezone.now() - timedelta(seconds=11))
    reconcile.watch_lane(lane_of(strategy))
    assert lane_of(strategy).frozen_reason == "unsettled"
    assert Notice.objects.get(ended_at=None).kind == "unsettled_order"
    reconcile.settle(again(Order.objects.get()))
    reconcile.watch_lane(lane_of(strategy))
    assert lane_of(strategy).frozen_reason == ""
    assert not Notice.objects.filter(ended_at=None).exists()


# Doors


@trades
def test_every_active_account_is_compared_in_a_task_of_its_own(
    account: Account, django_capture_on_commit_callbacks: object
) -> None:
    make_account("second")
    make_account("off", is_active=False)
    with django_capture_on_commit_callbacks() as bells:  # type: ignore[operator]
        tasks.compare_books()
    assert len(bells) == 2


@trades
def test_one_products_error_does_not_stop_the_others(
    strategy: Strategy, spot: Strategy, account: Account, paper: PaperExchange
) -> None:
    act(strategy, OPEN)
    act(spot, OPEN, alarm_id=2)
    by_hand(account, Side.SELL, "1.005", BOTH, market=Market.SPOT)
    paper.control("faults", account={"rate_limit": 1}, rate_limit_ms=60_000)
    with pytest.raises(RateLimited):
        connect(account).positions(Market.USDTM)
    paper.control("faults", account=None)
    pass_time()
    assert [line.market for line in compare_positions(account)] == ["spot"]


@trades
def test_an_account_above_the_ceiling_is_not_asked(
    strategy: Strategy, account: Account, paper: PaperExchange, settings: object
) -> None:
    by_hand(account, Side.BUY, "0.01")
    settings.BINGX_URLS = settings.BINGX_URLS | {"live": paper.url}  # type: ignore[attr-defined]
    Account.objects.update(environment="live")
    tasks.compare_account(account.pk)
    assert not Lane.objects.exists()


def reconcile_command(*words: str) -> str:
    """Return what `manage.py reconcile` prints when nothing differs."""
    out = StringIO()
    call_command("reconcile", *words, stdout=out, stderr=out)
    return out.getvalue()


def failing_command(*words: str) -> str:
    """Return what it prints and its complaint at the end: exit status 1."""
    out = StringIO()
    with pytest.raises(CommandError) as caught:
        call_command("reconcile", *words, stdout=out, stderr=out)
    assert caught.value.returncode == 1
    return f"{out.getvalue()}{caught.value}"


@trades
def test_the_command_prints_both_numbers_of_every_lane(strategy: Strategy, account: Account) -> None:
    act(strategy, OPEN)
    pass_time()
    lines = [line.split() for line in reconcile_command().splitlines()]
    assert lines == [
        ["account", "market", "symbol", "side", "ours", "theirs"],
        ["desk", "usdtm", "BTC-USDT", "LONG", "0.01", "0.01", "equal"],
        ["desk", "usdtm", "BTC-USDT", "SHORT", "0", "0", "equal"],
    ]


@trades
def test_the_command_exits_with_1_when_anything_differs(strategy: Strategy, account: Account) -> None:
    act(strategy, OPEN)
    by_hand(account, Side.SELL, "0.004")
    pass_time()
    said = failing_command("--account", "desk")
    assert "0.006" in said
    assert "1 differences" in said


@trades
def test_the_command_settles_what_is_in_flight(strategy: Strategy, account: Account, paper: PaperExchange) -> None:
    paper.control("faults", orders={"reset_after": 1})
    carry_out(strategy, AlarmFacts(1, "long", timezone.now()), OPEN)
    execution.run_lane(lane_of(strategy))
    paper.control("faults", orders=None)
    said = reconcile_command()
    order = Order.objects.get()
    assert order.status == "filled"
    assert "in motion" in said
    assert order.has_all_fills


@trades
def test_the_command_exits_with_1_when_the_exchange_does_not_answer(
    strategy: Strategy, account: Account, paper: PaperExchange
) -> None:
    paper.control("faults", account={"gateway_after": 1})
    assert "1 questions without an answer" in failing_command()


def everything() -> list[object]:
    """Return what our books say, without the moments."""
    models = (Order, Operation, Fill, Lane, Notice)
    moments = {"frozen_at", "ended_at", "compared_at"}
    rows = [row for model in models for row in model.objects.order_by("pk").values()]
    return [{name: value for name, value in row.items() if name not in moments} for row in rows]


@trades
def test_after_what_happened_while_we_were_down_was_found_a_further_run_changes_nothing(
    stop: Order, strategy: Strategy, spot: Strategy, account: Account, paper: PaperExchange
) -> None:
    """An entry whose answer was lost, a stop that fired, coins sold and a position opened by hand, all at once."""
    paper.control("faults", orders={"reset_after": 1})
    carry_out(spot, AlarmFacts(2, "long", timezone.now()), OPEN)
    execution.run_lane(lane_of(spot))
    paper.control("faults", orders=None)
    paper.control("prices", **{"BTC-USDT": "48900"})
    by_hand(account, Side.SELL, "1.005", BOTH, market=Market.SPOT)
    by_hand(account, Side.SELL, "0.2", SHORT, symbol="ETH-USDT")
    for _ in range(3):
        call_command_and_wait()
    assert again(stop).status == "filled"
    assert {lane.symbol for lane in Lane.objects.filter(frozen_reason="books_differ")} == {"BTC-USDT", "ETH-USDT"}
    assert not books_differ(lane_of(strategy))
    before = everything()
    call_command_and_wait()
    assert everything() == before


def call_command_and_wait() -> None:
    with suppress(CommandError):
        call_command("reconcile", stdout=StringIO(), stderr=StringIO())
    pass_time()


def test_the_command_knows_no_unknown_account(db: None) -> None:
    assert "no account named nobody" in failing_command("--account", "nobody")


# The core


SYMBOLS = ["BTC-USDT", "BTC-USDC", "ETH-USDT", "1000PEPE-USDT"]
quantities = st.decimals(min_value=0, max_value="100", places=4)
holdings = st.dictionaries(st.tuples(st.sampled_from(SYMBOLS), st.sampled_from(["LONG", "SHORT"])), quantities)
long_holdings = st.dictionaries(st.tuples(st.sampled_from(SYMBOLS), st.just("LONG")), quantities)


@given(holdings, st.booleans())
def test_what_equals_itself_never_differs(held: dict[tuple[str, str], D], is_net: bool) -> None:
    assert not [line for line in perpetual_lines("usdtm", SYMBOLS, held, held, is_net=is_net) if line.differs]


@given(holdings, holdings)
def test_in_hedge_mode_a_side_differs_exactly_when_its_numbers_do(
    ours: dict[tuple[str, str], D], theirs: dict[tuple[str, str], D]
) -> None:
    lines = perpetual_lines("usdtm", SYMBOLS, ours, theirs, is_net=False)
    differing = {(line.symbol, line.side) for line in lines if line.differs}
    assert differing == {key for key in ours.keys() | theirs.keys() if ours.get(key, 0) != theirs.get(key, 0)}


@given(holdings, holdings)
def test_in_one_way_mode_only_the_net_matters(ours: dict[tuple[str, str], D], theirs: dict[tuple[str, str], D]) -> None:
    for line in perpetual_lines("usdtm", SYMBOLS, ours, theirs, is_net=True):
        net = [
            held.get((line.symbol, "LONG"), D(0)) - held.get((line.symbol, "SHORT"), D(0)) for held in (ours, theirs)
        ]
        assert [line.ours, line.theirs] == net
        assert line.differs == (net[0] != net[1])


@given(holdings, holdings)
def test_every_symbol_that_anybody_holds_has_its_lines(
    ours: dict[tuple[str, str], D], theirs: dict[tuple[str, str], D]
) -> None:
    lines = perpetual_lines("coinm", ["SOL-USD"], ours, theirs, is_net=False)
    assert {line.symbol for line in lines} == {"SOL-USD"} | {symbol for symbol, _ in ours.keys() | theirs.keys()}
    assert len(lines) == len({(line.symbol, line.side) for line in lines})


@given(long_holdings, st.dictionaries(st.sampled_from(["BTC", "ETH", "1000PEPE"]), quantities))
def test_on_spot_a_coin_differs_exactly_when_it_is_short(ours: dict[tuple[str, str], D], coins: dict[str, D]) -> None:
    for line in spot_lines(SYMBOLS, ours, coins):
        base = base_of(line.symbol)
        wanted = sum((quantity for (symbol, _), quantity in ours.items() if base_of(symbol) == base), D(0))
        assert (line.ours, line.theirs) == (wanted, coins.get(base, D(0)))
        assert line.differs == (coins.get(base, D(0)) < wanted)


@given(long_holdings, st.decimals(min_value=0, max_value=5, places=4))
def test_on_spot_more_than_ours_is_never_a_difference(ours: dict[tuple[str, str], D], more: D) -> None:
    coins: dict[str, D] = {}
    for (symbol, _), quantity in ours.items():
        coins[base_of(symbol)] = coins.get(base_of(symbol), more) + quantity
    assert not [line for line in spot_lines(SYMBOLS, ours, coins) if line.differs]


@given(holdings, holdings)
def test_the_uncertain_never_differs(ours: dict[tuple[str, str], D], theirs: dict[tuple[str, str], D]) -> None:
    for line in perpetual_lines("usdtm", [], ours, theirs, is_net=False):
        assert not Line(line.market, line.symbol, line.side, line.ours, line.theirs, is_certain=False).differs
