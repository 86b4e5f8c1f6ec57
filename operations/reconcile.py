"""Correct our books from the exchange: learn an order's fate by asking, fetch its fills, finish what was begun.

"Not found" proves nothing before the fence: the committed, signed time stamp plus the exchange's receive window plus
a margin. After it the exchange itself refuses the first request, so an order that is then missing twice, and absent
from open orders, history and fills, never arrived.
"""

from datetime import datetime, timedelta
from decimal import Decimal

from django.db import transaction
from django.db.models import Q, Sum
from django.utils import timezone
from loguru import logger

from exchange.bingx import BingX
from exchange.clock import known_offset
from exchange.connection import connect
from exchange.errors import OrderNotFound, OutcomeUnknown
from exchange.snowflakes import made_at
from exchange.types import FillReport, Market, OrderReport
from market.models import Instrument
from operations.books import Execution, book
from operations.execution import IN_TURN, note, resend
from operations.kept import Kept
from operations.lifecycle import create_exit, lock_lane
from operations.models import Fill, Lane, Notice, Operation, Order
from operations.notices import current_facts, end_notice, raise_notice
from operations.states import CLOSED, IN_FLIGHT, UNFINISHED, WORKING, OrderStatus
from operations.transitions import apply_report, hold_lane, hold_operation, move, refresh_share

RECEIVE_WINDOW = timedelta(milliseconds=5000)
CLOCK_SKEW = timedelta(seconds=2)
MARGIN = timedelta(seconds=3)
BETWEEN_MISSES = timedelta(seconds=2)
MISSES_THAT_PROVE = 2
AROUND = timedelta(minutes=2)
FIRST_RETRY = timedelta(seconds=3)
LONGEST_RETRY = timedelta(minutes=5)
FREEZE_AFTER = timedelta(seconds=10)
WAITS_TOO_LONG = timedelta(seconds=30)
# Why an exit came to nothing that will come to nothing again: the exchange said no, or PELUSA_TRADING does
REFUSED = ("refused", "above_ceiling")
EXIT_NOTICES = ("exit_refused", "close_ignored")
# Why a lane takes no entries
UNSETTLED, BOOKS_DIFFER = "unsettled", "books_differ"


def fence_of(order: Order) -> datetime:
    """Return the moment after which the exchange refuses the order's last request, should it still be on its way."""
    if order.submitted_at is None:
        raise ValueError(f"order {order.client_order_id} was never submitted")
    # Should our clock be ahead, the exchange takes the request for so much longer than our clock says
    return order.submitted_at + RECEIVE_WINDOW + CLOCK_SKEW + MARGIN + abs(known_offset(order.lane.account.environment))


def settle(order: Order) -> None:
    """Ask the exchange what became of an order that has not ended, and write it down.

    Raises an exchange's error when it cannot be asked: the order then stays as it is.
    """
    client = connect(order.lane.account)
    try:
        report = _ask(order, client)
    except OrderNotFound:
        _settle_missing(order, client)
    else:
        apply_report(order, report, source="query")


def _ask(order: Order, client: BingX) -> OrderReport:
    market, symbol = Market(order.lane.market), order.lane.symbol
    if order.exchange_order_id:
        return client.order(market, symbol, exchange_order_id=order.exchange_order_id)
    if is_nameless(order):
        raise OrderNotFound("a conditional order carries no client order id on the perpetuals")
    return client.order(market, symbol, client_order_id=order.client_order_id)


def is_nameless(order: Order) -> bool:
    """Tell whether the exchange knows the order by its own id only: stops and targets on the perpetuals."""
    return order.order_type not in ("MARKET", "LIMIT") and order.lane.market != Market.SPOT


def _settle_missing(order: Order, client: BingX) -> None:
    is_behind_fence = timezone.now() >= fence_of(order)
    if not is_behind_fence and not is_nameless(order):
        return
    report = _find_elsewhere(order, client)
    if report:
        apply_report(order, report, source="query")
    elif is_behind_fence and _count_miss(order):
        _conclude(order)


def _conclude(order: Order) -> None:
    """End what is provably nowhere: it never arrived, or it was there and the exchange has forgotten it."""
    if order.status == OrderStatus.SUBMITTED:
        resend(order)
    elif order.role not in IN_TURN:
        gone = OrderStatus.CANCELED if order.status == OrderStatus.PENDING_CANCEL else OrderStatus.EXPIRED
        move(order, gone, source="query", said="no longer at the exchange", reason="gone_at_exchange")


def _find_elsewhere(order: Order, client: BingX) -> OrderReport | None:
    """Look through open orders, history and fills, since the look-up by client id lags and is limited."""
    market, symbol = Market(order.lane.market), order.lane.symbol
    since, until = fence_of(order) - AROUND, timezone.now() + AROUND
    listed = client.open_orders(market, symbol) + client.past_orders(market, symbol, start=since, end=until)
    found = _pick(order, listed)
    if found:
        return found
    fills = client.fills(market, symbol, start=since, end=until)
    return _pick(order, _behind_fills(order, fills, listed, client))


def _pick(order: Order, reports: list[OrderReport]) -> OrderReport | None:
    if is_nameless(order) and not order.exchange_order_id:
        return _find_by_likeness(order, reports)
    return next((report for report in reports if _is_the_same(order, report)), None)


def _is_the_same(order: Order, report: OrderReport) -> bool:
    if order.exchange_order_id:
        return report.exchange_order_id == order.exchange_order_id
    return report.client_order_id == order.client_order_id


def _behind_fills(order: Order, fills: list[FillReport], listed: list[OrderReport], client: BingX) -> list[OrderReport]:
    """Return the orders behind fills that neither the lists nor our rows explain: fills carry no client order id.

    Raises `OutcomeUnknown` where such an order cannot be asked for: it may be this one, so nothing may be concluded.
    """
    ids = {each.exchange_order_id for each in fills if each.side == order.side}
    if order.exchange_order_id in ids:
        raise OutcomeUnknown("it was filled, and the exchange does not show it")
    ids -= {each.exchange_order_id for each in listed}
    ours = Order.objects.filter(lane=order.lane, exchange_order_id__in=list(ids))
    ids -= set(ours.values_list("exchange_order_id", flat=True))
    return [_order_behind(order, each, client) for each in sorted(ids) if _may_be_of(order, each)]


def _order_behind(order: Order, exchange_order_id: str, client: BingX) -> OrderReport:
    try:
        return client.order(Market(order.lane.market), order.lane.symbol, exchange_order_id=exchange_order_id)
    except OrderNotFound:
        raise OutcomeUnknown("a fill may be its own, and the exchange does not show that fill's order") from None


def _find_by_likeness(order: Order, reports: list[OrderReport]) -> OrderReport | None:
    """Return the order at the exchange that is ours in everything but a name, and that no row of ours has yet."""
    alike = {each.exchange_order_id: each for each in reports if _is_alike(order, each)}
    taken = Order.objects.filter(lane=order.lane, exchange_order_id__in=list(alike))
    free = alike.keys() - set(taken.values_list("exchange_order_id", flat=True))
    return alike[min(free)] if free else None


def _is_alike(order: Order, report: OrderReport) -> bool:
    ours = (order.side, order.position_side, order.order_type, order.quantity, order.trigger_price)
    theirs = (report.side, report.position_side, report.order_type, report.quantity, report.trigger_price)
    return not report.client_order_id and ours == theirs and _may_be_of(order, report.exchange_order_id)


def _may_be_of(order: Order, exchange_order_id: str) -> bool:
    """Tell whether an id was given out between the order's row and its fence: anything else is somebody else's."""
    made = made_at(exchange_order_id)
    fence = fence_of(order)
    earliest = order.created_at - (fence - (order.submitted_at or fence))
    return made is None or earliest <= made <= fence


def _count_miss(order: Order) -> bool:
    """Count that the order was nowhere; return whether it was missed often enough, far enough apart."""
    now = timezone.now()
    if order.missed_at and now - order.missed_at < BETWEEN_MISSES:
        return False
    guard = Order.objects.filter(pk=order.pk, settle_misses=order.settle_misses, submitted_at=order.submitted_at)
    if not guard.update(settle_misses=order.settle_misses + 1, missed_at=now):
        return False
    note(order, "not found anywhere", source="query")
    return order.settle_misses + 1 >= MISSES_THAT_PROVE


def collect_fills(order: Order) -> bool:
    """Fetch an order's fills and bring its operation's figures up to them; return whether the last came now."""
    client, market = connect(order.lane.account), Market(order.lane.market)
    since = (order.submitted_at or order.created_at) - AROUND
    reports = client.fills(
        market, order.lane.symbol, exchange_order_id=order.exchange_order_id, start=since, end=timezone.now() + AROUND
    )
    with transaction.atomic():
        hold_lane(order.lane_id)
        Fill.objects.bulk_create([_fill_of(order, report) for report in reports], ignore_conflicts=True)
        is_complete = _has_all(order)
        operation = hold_operation(order.operation_id)
        _take_base_fee(order)
        _refigure(operation)
    return is_complete


def _fill_of(order: Order, report: FillReport) -> Fill:
    return Fill(
        order=order,
        lane=order.lane,
        exchange_trade_id=report.exchange_trade_id,
        price=report.price,
        quantity=report.quantity,
        fee=report.fee,
        fee_asset=report.fee_asset,
        filled_at=report.filled_at,
    )


def _take_base_fee(order: Order) -> None:
    """On spot the fee of a buy is taken from the coins: so much less can be sold."""
    base_asset = order.lane.symbol.partition("-")[0]
    if order.lane.market != Market.SPOT or order.side != "BUY":
        return
    in_coins = order.fills.filter(fee_asset=base_asset).values_list("fee", flat=True)
    base_fee = sum(in_coins, Decimal(0))
    Order.objects.filter(pk=order.pk).update(base_fee=base_fee)
    refresh_share(order.operation_id, timezone.now())


def _has_all(order: Order) -> bool:
    known = order.fills.aggregate(total=Sum("quantity"))["total"] or Decimal(0)
    # Guarded by what was filled when we asked: more may have been filled since
    complete = Order.objects.filter(pk=order.pk, status__in=[each.value for each in CLOSED], filled_quantity=known)
    return bool(complete.filter(has_all_fills=False).update(has_all_fills=True))


def _refigure(operation: Operation) -> None:
    executions = [_execution_of(fill, operation) for fill in _FILLS.all(operation.pk)]
    figures = book(executions, operation.leg, _contract_size(operation))
    for name in ("avg_entry_price", "avg_exit_price", "realised_pnl", "fees"):
        setattr(operation, name, getattr(figures, name))
    operation.save(update_fields=["avg_entry_price", "avg_exit_price", "realised_pnl", "fees"])


# Their times may be cut to the second and they come in any order; an exit's row is younger than its entry's
_FILLS = Kept[Fill](
    lambda operation_id: (
        Fill.objects.filter(order__operation=operation_id)
        .select_related("order")
        .order_by("filled_at", "order_id", "id")
    ),
    int,
)


def _execution_of(fill: Fill, operation: Operation) -> Execution:
    """Return the fill as the books know it: a fee in coins counts at the fill's own price."""
    in_coins = operation.market == Market.SPOT and fill.fee_asset == operation.symbol.partition("-")[0]
    fee = fill.fee * fill.price if in_coins else fill.fee
    return Execution(fill.order.role == Order.Role.ENTRY, fill.price, fill.quantity, fee)


def _contract_size(operation: Operation) -> Decimal:
    if operation.market != Market.COINM:
        return Decimal(0)
    return Instrument.objects.get(market=operation.market, symbol=operation.symbol).contract_size


def finish_closing(operation: Operation) -> Order | None:
    """Order the exit once more when an operation that is closing still holds something and nothing is on its way.

    A refused exit is an open risk, so it is retried until flat, each time later, and a human is told.
    """
    with transaction.atomic():
        lane = lock_lane(operation.account_id, operation.market, operation.symbol)
        current = Operation.objects.select_for_update().get(pk=operation.pk)
        if current.status != Operation.Status.CLOSING or not current.held_quantity:
            return None
        exits = list(current.orders.filter(role=Order.Role.EXIT).order_by("id"))
        if not _is_due(exits):
            return None
        order = create_exit(lane, current, None)
    _tell_of_exits(current, exits)
    return order


def _is_due(exits: list[Order]) -> bool:
    """Tell whether the next exit may go out; only what somebody refused makes the wait longer."""
    if any(each.status in UNFINISHED for each in exits):
        return False
    refused = sum(each.reason in REFUSED for each in exits)
    wait = min(FIRST_RETRY * 2 ** min(refused, 10), LONGEST_RETRY)
    return not exits or exits[-1].closed_at is None or timezone.now() - exits[-1].closed_at >= wait


def _tell_of_exits(operation: Operation, exits: list[Order]) -> None:
    last = exits[-1] if exits else None
    raise_notice(
        f"operation:{operation.pk}",
        "exit_refused",
        account=operation.account,
        operation=operation,
        symbol=operation.symbol,
        held=f"{operation.held_quantity:f}",
        tries=len(exits),
        detail=last.detail or last.reason if last else "",
    )


def end_exit_notices() -> None:
    """End the notices of refused exits, and of alarms to close, whose operations have come to their end."""
    current = Notice.objects.filter(kind__in=EXIT_NOTICES, current_key__isnull=False)
    ended = current.exclude(operation__status__in=Operation.LIVE)
    for operation_id, kind in ended.values_list("operation_id", "kind"):
        end_notice(f"operation:{operation_id}", kind)


def watch_lane(lane: Lane) -> None:
    """Freeze a lane's entries while an order of it stays unresolved, tell a human, and thaw it when it is settled."""
    order, key = _stuck(lane), f"lane:{lane.pk}"
    if order and lane.frozen_reason != UNSETTLED:
        facts = {"order": order.client_order_id, "symbol": lane.symbol}
        raise_notice(key, "unsettled_order", account=lane.account, operation=order.operation, **facts)
        freeze(lane, UNSETTLED, facts | {"account": lane.account.name})
    elif order is None and lane.frozen_reason == UNSETTLED:
        # A lane may be both: that its books differ is kept by the notice, which only the comparison ends
        differing = current_facts(key, BOOKS_DIFFER)
        end_notice(key, "unsettled_order")
        freeze(lane, BOOKS_DIFFER if differing else "", differing or {})


def _stuck(lane: Lane) -> Order | None:
    """Return the order that has held its lane for too long: in flight or half done, or an exit that cannot leave."""
    now = timezone.now()
    sent = Q(status__in=IN_FLIGHT | WORKING, submitted_at__lt=now - FREEZE_AFTER, role__in=IN_TURN)
    in_flight = Q(status=OrderStatus.SUBMITTED, submitted_at__lt=now - FREEZE_AFTER)
    waiting = Q(status=OrderStatus.CREATED, role=Order.Role.EXIT, created_at__lt=now - WAITS_TOO_LONG)
    return lane.orders.filter(sent | in_flight | waiting).select_related("operation").order_by("id").first()


def freeze(lane: Lane, reason: str, facts: dict[str, str]) -> bool:
    """Set why the lane's entries are held back (empty: thaw it); return False when another process was first."""
    frozen_at = timezone.now() if reason else None
    guard = Lane.objects.filter(pk=lane.pk, frozen_reason=lane.frozen_reason)
    if not guard.update(frozen_reason=reason, frozen_facts=facts, frozen_at=frozen_at):
        return False
    lane.frozen_reason, lane.frozen_facts, lane.frozen_at = reason, facts, frozen_at
    logger.warning("lane {}: {}", lane, f"frozen, {reason}" if reason else "thawed")
    return True
