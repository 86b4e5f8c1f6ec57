"""Doors from the queue: fetch, call one function, and leave the rest to the row and the sweeps."""

from datetime import datetime, timedelta
from typing import Any

from celery import shared_task
from django.db.models import QuerySet
from django.utils import timezone
from loguru import logger

from exchange.backoffice import without_secrets
from exchange.encryption import WrongKey
from exchange.errors import ExchangeError, RateLimited
from exchange.key_rights import read_rights
from exchange.models import Account
from exchange.types import Market
from operations import comparison, execution, protection, reconcile, resume
from operations.kept import Kept
from operations.models import Lane, Notice, Operation, Order
from operations.notices import end_notice, raise_notice
from operations.overlap import alone
from operations.states import CLOSED, IN_FLIGHT, WORKING, OrderStatus
from pelusa.doorbell import ring_on_commit

# An answer is usually here within a second; asking earlier only costs requests
BEFORE_ASKING = timedelta(seconds=1)
BEFORE_SWEEPING = timedelta(seconds=1)
A_SWEEP = 200


@shared_task
def run_lane(lane_id: int) -> None:
    """Send what waits in a lane; settle first what is in flight there."""
    began = timezone.now()
    lane, has_old_exits = resume.look_at(lane_id)
    try:
        if has_old_exits:
            resume.take_up_exits(lane)
        execution.run_lane(lane, may_enter=resume.may_enter(lane))
    except ExchangeError as error:
        logger.warning("lane {}: nothing sent, tried again by the sweep: {}", lane, error)
    except WrongKey:
        execution.deny_without_key(lane_id)
    _ring_after_fills(lane, began)


def _ring_after_fills(lane: Lane, began: datetime) -> None:
    """Have fetched and protected what was filled just now; what is older is the sweeps' work."""
    filled = _FILLED.all(lane.pk, began)
    for order in filled:
        ring_on_commit("operations.tasks.collect_fills", order.pk, using="default")
    for operation_id in {order.operation_id for order in filled if order.role == Order.Role.ENTRY and order.asks}:
        ring_on_commit("operations.tasks.protect_operation", operation_id, using="default")


# Where no stop or target is asked for there is nothing to look at in a hurry
_FILLED = Kept[Any](
    lambda lane_id, began: (
        Order.objects.filter(lane=lane_id, filled_quantity__gt=0, answered_at__gte=began)
        .annotate(asks=protection.asks_for_cover("operation__strategy", "operation__leg"))
        .only("operation_id", "role")
        .order_by("id")
    ),
    int,
    datetime,
)


@shared_task
def settle_order(order_id: int) -> None:
    """Ask what became of an order, then let its lane go on."""
    order = execution.in_full(order_id)
    if order.status in CLOSED or order.status == OrderStatus.CREATED:
        return
    try:
        reconcile.settle(order)
    except RateLimited as limit:
        execution.pause(order.lane.account, limit)
        return
    except ExchangeError as error:
        logger.warning("order {} could not be settled: {}", order.client_order_id, error)
        return
    ring_on_commit("operations.tasks.run_lane", order.lane_id, using="default")
    if order.filled_quantity or order.role in protection.PROTECTIVE:
        ring_on_commit("operations.tasks.protect_operation", order.operation_id, using="default")


@shared_task
def collect_fills(order_id: int) -> None:
    """Fetch an order's fills."""
    order = execution.in_full(order_id)
    if order.has_all_fills:
        return
    try:
        is_complete = reconcile.collect_fills(order)
    except ExchangeError as error:
        logger.warning("fills of order {} could not be fetched: {}", order_id, error)
        return
    if is_complete and order.lane.market == Market.SPOT:
        # Only the fills tell how much is there to protect, or to sell
        ring_on_commit("operations.tasks.protect_operation", order.operation_id, using="default")
        ring_on_commit("operations.tasks.run_lane", order.lane_id, using="default")


@shared_task
def protect_operation(operation_id: int) -> None:
    """Place the stops and targets that an operation lacks."""
    protection.protect(Operation.objects.select_related("account", "strategy").get(pk=operation_id))


@shared_task
def look_after_account(account_id: int) -> None:
    """Verify and restore the protection of all that an account holds, unless that is being done here already."""
    with alone("look after", account_id) as is_first:
        if is_first:
            protection.look_after(Account.objects.get(pk=account_id))


@shared_task
def sweep_lanes() -> None:
    """Run every lane in which an order waits, whatever became of its bell."""
    waiting = Order.objects.filter(status=OrderStatus.CREATED, created_at__lt=timezone.now() - BEFORE_SWEEPING)
    for lane_id in waiting.order_by().values_list("lane_id", flat=True).distinct()[:A_SWEEP]:
        ring_on_commit("operations.tasks.run_lane", lane_id, using="default")


@shared_task
def sweep_in_flight() -> None:
    """Ask about every order that was sent and has not ended."""
    asked = Order.objects.filter(status__in=IN_FLIGHT | WORKING, submitted_at__lt=timezone.now() - BEFORE_ASKING)
    asked = asked.exclude(lane__paused_until__gt=timezone.now())
    # Stops that only wait are verified by one list for each account, see `sweep_protection`
    asked = asked.exclude(role__in=protection.PROTECTIVE, status__in=protection.STANDING)
    for order_id in asked.order_by("submitted_at").values_list("pk", flat=True)[:A_SWEEP]:
        ring_on_commit("operations.tasks.settle_order", order_id, using="default")
    _watch_lanes(asked)


def _watch_lanes(asked: QuerySet[Order]) -> None:
    """Freeze and thaw: lanes whose orders have not ended, whose exits cannot leave, and those that are frozen."""
    waiting = Order.objects.filter(status=OrderStatus.CREATED, created_at__lt=timezone.now() - BEFORE_ASKING)
    lanes = {*asked.order_by().values_list("lane_id", flat=True), *waiting.order_by().values_list("lane_id", flat=True)}
    lanes |= set(Lane.objects.filter(frozen_reason=reconcile.UNSETTLED).order_by().values_list("pk", flat=True))
    for lane in Lane.objects.filter(pk__in=lanes).select_related("account"):
        reconcile.watch_lane(lane)


@shared_task
def sweep_protection() -> None:
    """Look after every account that holds something to protect, each in a task of its own: none waits for another."""
    for account_id in set(protection.watched().order_by().values_list("account_id", flat=True)):
        ring_on_commit("operations.tasks.look_after_account", account_id, using="default")


@shared_task
def sweep_fills() -> None:
    """Fetch the fills of every order that lacks some."""
    lacking = Order.objects.filter(has_all_fills=False, filled_quantity__gt=0, status__in=CLOSED)
    for order_id in lacking.order_by("id").values_list("pk", flat=True)[:A_SWEEP]:
        ring_on_commit("operations.tasks.collect_fills", order_id, using="default")


@shared_task
def sweep_closing() -> None:
    """Order the exit again for operations that are closing and still hold something."""
    closing = Operation.objects.filter(status=Operation.Status.CLOSING, held_quantity__gt=0).select_related("account")
    for operation in closing[:A_SWEEP]:
        reconcile.finish_closing(operation)
    reconcile.end_exit_notices()


@shared_task
def check_keys() -> None:
    """Ask what the key of every active account may do, and tell a human of one that may withdraw money."""
    for account_id in Account.objects.filter(is_active=True).values_list("pk", flat=True):
        _check_key(account_id)


def _check_key(account_id: int) -> None:
    about = f"account:{account_id}"
    try:
        account = Account.objects.get(pk=account_id)
        may_withdraw = read_rights(account)
    except (ExchangeError, WrongKey) as error:
        _tell_unread(account_id, error)
        return
    for kind in ("key_not_checked", "key_unread", "key_unreadable"):
        end_notice(about, kind)
    if may_withdraw:
        raise_notice(about, "key_may_withdraw", account=account)
    else:
        end_notice(about, "key_may_withdraw")


def _tell_unread(account_id: int, error: Exception) -> None:
    """Tell a human of a key whose rights were never read; what was read once is still believed."""
    account = Account.objects.defer(*without_secrets()).get(pk=account_id)
    logger.warning("account {}: what its key may do cannot be read: {}", account.name, error)
    about = f"account:{account_id}"
    if isinstance(error, WrongKey):
        raise_notice(about, "key_unreadable", account=account)
    elif account.is_key_unproven:
        raise_notice(about, "key_not_checked", account=account)
    elif account.environment == Account.Environment.VST and account.rights_read_at is None:
        raise_notice(about, "key_unread", Notice.Level.WARNING, account=account)


@shared_task
def compare_books() -> None:
    """Have the books of every active account compared, each in a task of its own."""
    for account_id in Account.objects.filter(is_active=True).values_list("pk", flat=True):
        ring_on_commit("operations.tasks.compare_account", account_id, using="default")


@shared_task
def compare_account(account_id: int) -> None:
    """Compare an account's books with the exchange's positions, unless that is being done here already."""
    with alone("compare", account_id) as is_first:
        if is_first:
            comparison.compare_positions(Account.objects.get(pk=account_id))
