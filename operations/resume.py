"""Let entries of a lane go only where it is known how the lane stands, after an absence of ours above all.

While nobody compared books with positions, stops fired, people traded by hand, databases were restored. So an entry
waits until its lane was compared, with certainty, within the last two minutes. The lane's own turn compares when beat
has not: no process need have told another that it started, and with any number of workers the row decides. A difference
that was seen once holds entries until the second look, which then denies them or lets them go.

An entry that waits is denied as soon as anything else denies it, its age at the latest. Exits never wait for this; one
that waited for long for another reason is asked for before it is sent, since a restored row may have been sent already.
"""

from typing import Any

from django.db.models import OuterRef, QuerySet
from django.utils import timezone
from loguru import logger

from exchange.connection import connect
from exchange.errors import ExchangeError, OrderNotFound, RateLimited
from exchange.types import Market, OrderReport
from operations.comparison import ABSENCE, compare_market, is_current
from operations.execution import deny_waiting, is_paused, pause
from operations.kept import Kept
from operations.limits import Denial, above_ceiling, check_entry
from operations.models import Lane, Operation, Order
from operations.preparation import instrument_of
from operations.states import OrderStatus
from operations.transitions import apply_report, move


def may_enter(lane: Lane) -> bool:
    """Tell whether the lane's entries may be sent now; compare it first where that was not done lately.

    Where they may not, entries that need wait no longer are denied. Pauses are heeded by `execution.next_order`.
    """
    if is_current(lane, timezone.now()):
        return True
    entries = lane.orders.filter(role=Order.Role.ENTRY, status=OrderStatus.CREATED)
    if not entries.exists():
        # One that comes a moment later must not slip through
        return False
    # Above the ceiling nothing is asked: whatever waits there is denied
    if above_ceiling(lane.account):
        return True
    if is_paused(lane):
        return False
    if _is_compared(lane):
        return True
    for order in entries.select_related("lane__account", "operation__strategy", "decision").order_by("id"):
        denial = _denial_of(order)
        if denial:
            deny_waiting(order, denial)
    return False


def take_up_exits(lane: Lane) -> None:
    """Learn of each exit that has waited for long whether it is at the exchange already; take it up as it stands there.

    Where that cannot be asked the exit goes its way: to stay in a position is the greater risk.
    """
    waiting = _waiting_exits().filter(lane=lane, created_at__lt=timezone.now() - ABSENCE)
    for order in waiting.select_related("lane__account", "operation__strategy", "decision").order_by("id"):
        try:
            client, market = connect(lane.account), Market(lane.market)
            report = client.order(market, lane.symbol, client_order_id=order.client_order_id)
        except OrderNotFound:
            continue
        except ExchangeError as error:
            logger.warning("order {} could not be asked for before it is sent: {}", order.client_order_id, error)
            continue
        _take_up(order, report)


def look_at(lane_id: int) -> tuple[Lane, bool]:
    """Return the lane as it is now, and whether exits have waited in it since before the comparison that counts."""
    lane = _LANE.get(lane_id)
    return lane, lane.oldest_exit is not None and lane.oldest_exit < timezone.now() - ABSENCE


def _waiting_exits() -> QuerySet[Order]:
    return Order.objects.filter(role=Order.Role.EXIT, status=OrderStatus.CREATED)


_LANE = Kept[Any](
    lambda lane_id: Lane.objects.filter(pk=lane_id).annotate(
        oldest_exit=_waiting_exits().filter(lane=OuterRef("pk")).order_by("created_at").values("created_at")[:1]
    ),
    int,
)


def _take_up(order: Order, report: OrderReport) -> None:
    """Write down that an order was sent which our books had as waiting."""
    logger.error("order {} was sent before: these books are older than it", order.client_order_id)
    said = "it was at the exchange before these books sent it"
    sent_at = order.created_at
    if move(order, OrderStatus.SUBMITTED, source="query", said=said, quantity=report.quantity, submitted_at=sent_at):
        apply_report(order, report, source="query")


def _is_compared(lane: Lane) -> bool:
    if is_current(lane, timezone.now()):
        return True
    try:
        compare_market(lane.account, Market(lane.market))
    except RateLimited as limit:
        pause(lane.account, limit)
        return False
    except ExchangeError as error:
        logger.warning("lane {}: entries wait, its books could not be compared: {}", lane, error)
        return False
    lane.refresh_from_db()
    return is_current(lane, timezone.now())


def _denial_of(order: Order) -> Denial | None:
    """Return why an entry that waits for its lane will not be sent at all, or None while it waits."""
    if order.operation.status not in Operation.STACKABLE:
        # Its exit is here, which must not wait for it
        return Denial("operation_is_closing")
    denial = check_entry(order, instrument_of(order), timezone.now())
    if denial and denial.reason == "alarm_too_old":
        return Denial("books_not_compared", denial.facts)
    return denial
