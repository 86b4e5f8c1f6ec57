"""Find where our books and the exchange's positions differ, and stop entries there; never trade to make them agree.

For each lane the sum of what its live operations hold is compared with the exchange: LONG and SHORT apart in hedge
mode, net (BOTH, long less short) in one-way mode. On spot the coins of the wallet, free and locked, must be at least
what all operations on that coin hold; what is more is the trader's own. On the perpetuals nothing may be more: a
position that no operation explains is a difference too, a human's own position in a symbol that we never traded
included, since stops, netting and liquidation do not tell it from ours.

Uncertain is not different. A lane is passed over while an order of it is on its way or changed within the last
seconds, while a stop that may just have fired cannot be asked for, and when the exchange does not answer. A difference
stops entries when two certain looks in a row saw it; the first is kept in `Lane.frozen_facts` with an empty reason.
Once both numbers are equal again, whoever made them so, the lane thaws by itself.

A freeze is a row and outlives every process. Each certain look is written down, with its moment, on the lane: where the
newest is too old no entry is sent before the next (`resume`). What a lane that was not looked at for that long became
at the exchange in between is looked through for orders of ours that these books lack (`strangers`).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Any

from django.db.models import Q
from django.utils import timezone
from loguru import logger

from exchange.connection import connect
from exchange.errors import ExchangeError
from exchange.models import Account
from exchange.rounding import plain
from exchange.types import BalanceReport, Market, PositionReport, Side
from operations.execution import IN_TURN
from operations.limits import above_ceiling
from operations.models import Lane, Operation, Order, OrderEvent
from operations.notices import end_notice, raise_notice
from operations.preparation import nets, read_position_mode
from operations.reconcile import BOOKS_DIFFER, collect_fills, freeze, settle
from operations.states import CLOSED, IN_FLIGHT, WORKING, OrderStatus
from operations.strangers import stop_where_orders_are_unknown

LONG, SHORT, BOTH = "LONG", "SHORT", "BOTH"
ZERO = Decimal(0)
# What changed later than this before a look may not be in the exchange's positions yet
RECENTLY = timedelta(seconds=5)
BETWEEN_SIGHTINGS = timedelta(seconds=2)
# Eight looks were missed, or saw the lane in motion
ABSENCE = timedelta(minutes=2)

# By symbol and LONG or SHORT; base units, contracts on COIN-M, never negative
Holdings = Mapping[tuple[str, str], Decimal]
# By asset, free and locked together
Coins = Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class Line:
    """Both numbers of one lane and side; on spot those of the lane's whole coin. BOTH is negative for a net short."""

    market: str
    symbol: str
    side: str
    ours: Decimal
    theirs: Decimal
    is_certain: bool = True

    @property
    def is_equal(self) -> bool:
        return self.theirs >= self.ours if self.market == Market.SPOT else self.theirs == self.ours

    @property
    def differs(self) -> bool:
        return self.is_certain and not self.is_equal

    @property
    def facts(self) -> dict[str, str]:
        return {
            "symbol": self.symbol,
            "side": self.side,
            "ours": plain(self.ours),
            "theirs": plain(self.theirs),
        }


def perpetual_lines(
    market: str, symbols: Collection[str], ours: Holdings, theirs: Holdings, *, is_net: bool
) -> list[Line]:
    """Return both numbers for every symbol that is listed or held by either, sorted by symbol. Pure."""
    named = {*symbols, *(symbol for symbol, _ in ours), *(symbol for symbol, _ in theirs)}
    sides = (BOTH,) if is_net else (LONG, SHORT)
    return [
        Line(market, symbol, side, _on_side(ours, symbol, side), _on_side(theirs, symbol, side))
        for symbol in sorted(named)
        for side in sides
    ]


def _on_side(holdings: Holdings, symbol: str, side: str) -> Decimal:
    if side == BOTH:
        return holdings.get((symbol, LONG), ZERO) - holdings.get((symbol, SHORT), ZERO)
    return holdings.get((symbol, side), ZERO)


def spot_lines(symbols: Collection[str], ours: Holdings, coins: Coins) -> list[Line]:
    """Return for every symbol what all operations on its coin hold, and what the wallet has of it. Pure."""
    held: dict[str, Decimal] = {}
    for (symbol, _), quantity in ours.items():
        held[base_of(symbol)] = held.get(base_of(symbol), ZERO) + quantity
    named = {*symbols, *(symbol for symbol, _ in ours)}
    return [
        Line(Market.SPOT, symbol, BOTH, held.get(base_of(symbol), ZERO), coins.get(base_of(symbol), ZERO))
        for symbol in sorted(named)
    ]


def base_of(symbol: str) -> str:
    """Return the coin of a spot symbol: BTC of BTC-USDT."""
    return symbol.rpartition("-")[0]


def compare_positions(account: Account) -> list[Line]:
    """Compare all live operations of an account with the exchange, freeze and thaw lanes, return the differences.

    A product that the exchange does not answer for is passed over this time.
    """
    if above_ceiling(account):
        return []
    differences: list[Line] = []
    for market in markets_of(account):
        try:
            lines = compare_market(account, market)
        except ExchangeError as error:
            logger.warning("books of {} on {} could not be compared: {}", account.name, market, error)
            continue
        differences += [line for line in lines if line.differs]
    return differences


def compare_market(account: Account, market: Market) -> list[Line]:
    """Compare one product's books, freeze and thaw its lanes, return both numbers of each.

    Raises an exchange's error when it cannot be asked: then no lane counts as compared.
    """
    began = timezone.now()
    lines = take_stock(account, market)
    _mark_compared(act_on(account, market, lines), began)
    return lines


def markets_of(account: Account) -> list[Market]:
    """Return the products on which the account trades or traded."""
    named = {*account.lanes.values_list("market", flat=True), *account.strategies.values_list("market", flat=True)}
    return [market for market in Market if market in named]


def take_stock(account: Account, market: Market) -> list[Line]:
    """Return both numbers for every lane of a product, and which of them are certain; freeze nothing.

    Raises an exchange's error when it cannot be asked for its positions.
    """
    began = timezone.now()
    moving = _moving(account, market, began)
    theirs = _theirs(account, market)
    lines = _lines(account, market, theirs, moving, began)
    suspects = {line.symbol for line in lines if line.differs}
    unasked = _settle_protection(account, market, suspects)
    return _lines(account, market, theirs, moving | unasked, began) if suspects else lines


def _theirs(account: Account, market: Market) -> Holdings | Coins:
    client = connect(account)
    read_position_mode(account, market, client)
    if market == Market.SPOT:
        return coins_of(client.balances(market))
    return holdings_of(client.positions(market))


def look(account: Account, market: Market, theirs: Holdings | Coins, began: datetime) -> list[Line]:
    """Return both numbers for every lane of a product, to be shown: nobody is asked and nothing is written.

    `theirs` is what the exchange told when it was asked at `began` or later.
    """
    return _lines(account, market, theirs, _moving(account, market, began), began)


def coins_of(balances: list[BalanceReport]) -> Coins:
    """Return what a wallet has of each asset, free and locked together. Pure."""
    return {balance.asset: balance.balance for balance in balances}


def holdings_of(positions: list[PositionReport]) -> Holdings:
    """Return what is held of each symbol and side. Pure."""
    held: dict[tuple[str, str], Decimal] = {}
    for each in positions:
        key = each.symbol, LONG if each.side == Side.BUY else SHORT
        held[key] = held.get(key, ZERO) + each.quantity
    return held


def _lines(account: Account, market: Market, theirs: Holdings | Coins, moving: set[str], began: datetime) -> list[Line]:
    symbols = list(account.lanes.filter(market=market).values_list("symbol", flat=True))
    ours = _ours(account, market)
    # After our books: an order that moved between the two queries makes its lane uncertain
    moving = moving | _moving(account, market, began)
    if market == Market.SPOT:
        lines = spot_lines(symbols, ours, theirs)  # type: ignore[arg-type]
        coins = {base_of(symbol) for symbol in moving}
        moving = {line.symbol for line in lines if base_of(line.symbol) in coins}
    else:
        lines = perpetual_lines(market, symbols, ours, theirs, is_net=nets(account, market))  # type: ignore[arg-type]
    return [replace(line, is_certain=line.symbol not in moving) for line in lines]


def _ours(account: Account, market: Market) -> Holdings:
    held: dict[tuple[str, str], Decimal] = {}
    live = Operation.objects.filter(account=account, market=market, status__in=Operation.LIVE)
    for symbol, leg, quantity in live.values_list("symbol", "leg", "held_quantity"):
        key = symbol, leg.upper()
        held[key] = held.get(key, ZERO) + quantity
    return held


def _moving(account: Account, market: Market, began: datetime) -> set[str]:
    """Return the symbols of which an order is on its way, or changed since shortly before `began`."""
    orders = Order.objects.filter(lane__account=account, lane__market=market)
    on_its_way = Q(status__in=IN_FLIGHT | {OrderStatus.PARTIALLY_FILLED})
    on_its_way |= Q(status=OrderStatus.ACCEPTED, role__in=IN_TURN)
    if market == Market.SPOT:
        # Until the fills are here, the fee that a buy paid in coins is unknown
        on_its_way |= Q(status__in=CLOSED, filled_quantity__gt=0, has_all_fills=False)
    changed = OrderEvent.objects.filter(order__lane__account=account, order__lane__market=market)
    changed = changed.filter(at__gte=began - RECENTLY).exclude(status=OrderStatus.CREATED)
    return {
        *orders.filter(on_its_way).values_list("lane__symbol", flat=True),
        *changed.values_list("order__lane__symbol", flat=True),
    }


def _settle_protection(account: Account, market: Market, symbols: Collection[str]) -> set[str]:
    """Learn whether a stop or target of these symbols has just fired; return where it could not be learnt."""
    protective = Order.objects.filter(lane__account=account, lane__market=market, lane__symbol__in=symbols)
    protective = protective.filter(status__in=WORKING).exclude(role__in=IN_TURN)
    unasked = set()
    for order in protective.select_related("lane__account", "operation__strategy", "decision"):
        try:
            settle(order)
        except ExchangeError as error:
            logger.warning("order {} could not be settled: {}", order.client_order_id, error)
            unasked.add(order.lane.symbol)
    return unasked


def act_on(account: Account, market: Market, lines: list[Line]) -> list[Lane]:
    """Freeze the lanes where a difference was seen twice in a row, thaw those that are equal; skip the uncertain.

    Returns the lanes of which it is known now how they stand.
    """
    lanes = {lane.symbol: lane for lane in account.lanes.filter(market=market).select_related("account")}
    known = []
    for symbol, group in groupby(lines, key=lambda line: line.symbol):
        of_lane = list(group)
        if not all(line.is_certain for line in of_lane):
            continue
        lane, differing = lanes.get(symbol), [line for line in of_lane if line.differs]
        if differing:
            lane = lane or Lane.objects.get_or_create(account=account, market=market, symbol=symbol)[0]
            _disagree(lane, differing)
        elif lane:
            _agree(lane)
        if lane and (not differing or lane.frozen_reason == BOOKS_DIFFER):
            known.append(lane)
    return known


def is_suspected(lane: Lane) -> bool:
    """Tell whether a difference was seen once and not yet a second time."""
    return bool(lane.frozen_facts) and not lane.frozen_reason


def is_current(lane: Lane, now: datetime) -> bool:
    """Tell whether it is known how the lane stands: compared lately, and no difference suspected. Pure."""
    return _was_seen(lane, now) and not is_suspected(lane)


def _was_seen(lane: Lane, now: datetime) -> bool:
    return lane.compared_at is not None and now - lane.compared_at <= ABSENCE


def _mark_compared(lanes: list[Lane], began: datetime) -> None:
    """Write down when the lanes were compared, all of them after none has orders that these books lack."""
    for lane in lanes:
        if not _was_seen(lane, began):
            stop_where_orders_are_unknown(lane, began)
    Lane.objects.filter(pk__in=[lane.pk for lane in lanes]).update(compared_at=began)


def _agree(lane: Lane) -> None:
    if lane.frozen_reason == BOOKS_DIFFER:
        end_notice(f"lane:{lane.pk}", BOOKS_DIFFER)
        freeze(lane, "", {})
    elif not lane.frozen_reason and lane.frozen_facts:
        _remember(lane, {})


def _disagree(lane: Lane, differing: list[Line]) -> None:
    facts = differing[0].facts
    if lane.frozen_reason == BOOKS_DIFFER:
        if lane.frozen_facts != facts:
            _remember(lane, facts)
        _tell(lane, facts)
    elif not lane.frozen_reason and _is_second_sighting(lane, facts) and freeze(lane, BOOKS_DIFFER, facts):
        _tell(lane, facts)


def _is_second_sighting(lane: Lane, facts: dict[str, str]) -> bool:
    seen_at, now = lane.frozen_facts.get("seen_at"), timezone.now()
    if seen_at is None:
        logger.warning("lane {}: our books say {ours} on {side}, the exchange says {theirs}", lane, **facts)
        _remember(lane, facts | {"seen_at": now.isoformat()})
        return False
    return now - datetime.fromisoformat(seen_at) >= BETWEEN_SIGHTINGS


def _remember(lane: Lane, facts: dict[str, str]) -> None:
    lane.frozen_facts = facts
    Lane.objects.filter(pk=lane.pk, frozen_reason=lane.frozen_reason).update(frozen_facts=facts)


def _tell(lane: Lane, facts: dict[str, Any]) -> None:
    raise_notice(f"lane:{lane.pk}", BOOKS_DIFFER, account=lane.account, **facts)


def settle_in_flight(account: Account) -> list[str]:
    """Ask once about every order of the account that was sent and has not ended, and fetch the fills that are missing.

    Returns a sentence for each order of which the exchange did not tell.
    """
    orders = Order.objects.filter(lane__account=account).order_by("id")
    orders = orders.select_related("lane__account", "operation__strategy", "decision")
    lacking = orders.filter(status__in=CLOSED, filled_quantity__gt=0, has_all_fills=False)
    unsettled = []
    for deed, wanted in ((settle, orders.filter(status__in=IN_FLIGHT | WORKING)), (collect_fills, lacking)):
        for order in wanted:
            try:
                deed(order)
            except ExchangeError as error:
                unsettled.append(f"order {order.client_order_id}: {error}")
    return unsettled
