"""Move an order from one state to the next: the only code that does.

The move wins by a conditional UPDATE, so of two processes that learn the same thing one is a no-op.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.utils import timezone
from loguru import logger

from exchange.models import Account, MarketChoices
from exchange.tallies import add, observe
from exchange.types import OrderReport, ReportStatus
from market.models import Instrument
from operations.kept import Kept
from operations.models import Lane, Operation, Order, OrderEvent
from operations.states import CLOSED, TRANSITIONS, OrderStatus, check_transition

STATUS_OF_REPORT = {
    ReportStatus.ACCEPTED: OrderStatus.ACCEPTED,
    ReportStatus.PARTIALLY_FILLED: OrderStatus.PARTIALLY_FILLED,
    ReportStatus.FILLED: OrderStatus.FILLED,
    ReportStatus.CANCELED: OrderStatus.CANCELED,
    ReportStatus.EXPIRED: OrderStatus.EXPIRED,
    ReportStatus.REJECTED: OrderStatus.REJECTED,
}


def move(
    order: Order, new: OrderStatus, *, source: str, said: str = "", of_attempt: bool = False, **fields: Any
) -> bool:
    """Move the order and write the event in one commit; return False when another process moved it first.

    `of_attempt`: what was learned concerns this one sending of it, so nothing moves when it was sent again since.
    `fields` are further columns to set with the move. Raises `IllegalTransition` for a step that the table lacks.
    """
    with transaction.atomic():
        # Locks in the one order that everybody keeps: (account,) lane, order, operation
        hold_lane(order.lane_id)
        return move_held(order, new, source=source, said=said, of_attempt=of_attempt, **fields)


def hold_account(account_id: int) -> Account:
    """Return the account, locked until the transaction ends. Its keys stay unread: nothing is sent under the lock."""
    return _HELD_ACCOUNT.get(account_id)


def hold_operation(operation_id: int) -> Operation:
    """Return the operation, locked until the transaction ends."""
    return _HELD_OPERATION.get(operation_id)


def hold_lane(lane_id: int) -> None:
    """Lock the lane until the transaction ends, and read nothing of it."""
    _HELD_LANE.get(lane_id)


_HELD_ACCOUNT = Kept[Account](
    lambda pk: Account.objects.select_for_update().defer("api_key", "api_secret").filter(pk=pk), int
)
_HELD_OPERATION = Kept[Operation](lambda pk: Operation.objects.select_for_update().filter(pk=pk), int)
_HELD_LANE = Kept[int](lambda pk: Lane.objects.select_for_update().filter(pk=pk).values_list("pk", flat=True), int)


def move_held(
    order: Order, new: OrderStatus, *, source: str, said: str = "", of_attempt: bool = False, **fields: Any
) -> bool:
    """Move the order as `move` does, for a caller whose transaction holds the lane's lock already."""
    old = OrderStatus(order.status)
    check_transition(old, new)
    now = timezone.now()
    fields |= {"status": new.value} | (_ended(order, now, fields) if new in CLOSED else {})
    # filled_quantity is part of the guard: a partially filled order moves to itself
    guard = Order.objects.filter(pk=order.pk, status=old.value, filled_quantity=order.filled_quantity)
    if of_attempt:
        guard = guard.filter(submitted_at=order.submitted_at)
    if not guard.update(**fields):
        return False
    OrderEvent.objects.create(order=order, at=now, status=new.value, source=source, detail=said)
    is_more_filled = fields.get("filled_quantity", order.filled_quantity) != order.filled_quantity
    _carry(order, fields)
    # A step that neither ends an order nor fills it leaves its operation as it is
    if new in CLOSED or is_more_filled:
        refresh_share(order.operation_id, now)
    # A partial has no name for Django to give when it fails: the failure would come through
    transaction.on_commit(lambda: _tally(order, old, new, now), robust=True)
    logger.info("order {} ({} {}): {} → {} {}", order.client_order_id, order.role, order.side, old, new, said)
    return True


def _tally(order: Order, old: OrderStatus, new: OrderStatus, now: datetime) -> None:
    """Count the step once it is committed, and how long the alarm of an order that leaves has waited for it."""
    add("order_steps", status=new.value)
    if new in (OrderStatus.DENIED, OrderStatus.REJECTED):
        add("refusals", reason=order.reason or "unknown", code=order.code)
    # Whoever sends has read the decision with the order; nobody is asked for it here
    decision = order._state.fields_cache.get("decision") if old == OrderStatus.CREATED else None
    if decision and new == OrderStatus.SUBMITTED:
        observe("alarm_to_order_seconds", (now - decision.alarm_received_at).total_seconds(), role=order.role)


def _ended(order: Order, now: datetime, fields: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of an order that ends; one that was never filled has no fills to wait for."""
    filled = fields.get("filled_quantity", order.filled_quantity)
    return {"closed_at": now, "has_all_fills": not filled}


def apply_report(order: Order, report: OrderReport, *, source: str) -> bool:
    """Move the order to what the exchange reports; return whether anything changed.

    A report that says nothing new, or says less than we know already (they arrive late), changes nothing.
    """
    new = _step_to(order, STATUS_OF_REPORT[report.status])
    if report.filled_quantity < order.filled_quantity or (
        new == order.status and report.filled_quantity == order.filled_quantity
    ):
        return False
    if order.status in CLOSED and order.status != OrderStatus.CANCELED:
        return False
    if new not in TRANSITIONS[OrderStatus(order.status)]:
        logger.error("order {} is {}; the exchange calls it {}", order.client_order_id, order.status, new)
        return False
    return move(
        order,
        new,
        source=source,
        said=_said(report),
        exchange_order_id=report.exchange_order_id or order.exchange_order_id,
        filled_quantity=report.filled_quantity,
        avg_price=report.avg_price or order.avg_price,
        answered_at=timezone.now(),
    )


def _step_to(order: Order, reported: OrderStatus) -> OrderStatus:
    """Return the step that a reported status amounts to: one that worked and then failed there has expired."""
    has_worked = order.status in (OrderStatus.PARTIALLY_FILLED, OrderStatus.PENDING_CANCEL)
    return OrderStatus.EXPIRED if reported == OrderStatus.REJECTED and has_worked else reported


def _said(report: OrderReport) -> str:
    price = f" at {report.avg_price:f}" if report.avg_price else ""
    return f"{report.exchange_order_id}: {report.status}, {report.filled_quantity:f} of {report.quantity:f}{price}"


def _carry(order: Order, fields: dict[str, Any]) -> None:
    for name, value in fields.items():
        setattr(order, name, value)


def refresh_share(operation_id: int, now: datetime) -> None:
    """Recompute what an operation holds from its orders, and its status. Call it inside a transaction."""
    operation, orders = hold_operation(operation_id), _ORDERS.all(operation_id)
    operation.quantity = sum((each.received_quantity for each in orders if each.role == Order.Role.ENTRY), Decimal(0))
    left = sum((each.filled_quantity for each in orders if each.role != Order.Role.ENTRY), Decimal(0))
    if left > operation.quantity:
        logger.error("operation {}: {} left it, but only {} entered", operation.pk, left, operation.quantity)
    operation.held_quantity = max(operation.quantity - left, Decimal(0))
    _advance(operation, orders, now)
    operation.save(update_fields=["quantity", "held_quantity", "status", "stack_key", "opened_at", "closed_at"])


_ORDERS = Kept[Order](lambda operation_id: Order.objects.filter(operation=operation_id).order_by("id"), int)


def _advance(operation: Operation, orders: list[Order], now: datetime) -> None:
    if operation.quantity and operation.opened_at is None:
        operation.opened_at = now
        if operation.status == Operation.Status.OPENING:
            operation.status = Operation.Status.OPEN
    is_settled = all(each.status in CLOSED for each in orders if each.role in (Order.Role.ENTRY, Order.Role.EXIT))
    # What protects it may still stand at the exchange; it is taken away after the end
    if operation.status in Operation.LIVE and is_settled and _is_flat(operation, orders):
        operation.status = Operation.Status.CLOSED if operation.quantity else Operation.Status.ABORTED
        operation.stack_key = None
        operation.closed_at = now


def _is_flat(operation: Operation, orders: list[Order]) -> bool:
    """Tell whether nothing is held but, on spot, crumbs below the step or the smallest worth: they cannot be sold."""
    if operation.held_quantity == 0 or any(each.reason == "crumbs" for each in orders):
        return True
    if operation.market != MarketChoices.SPOT:
        return False
    step = Instrument.objects.values_list("step_size", flat=True).get(market=operation.market, symbol=operation.symbol)
    has_left = any(each.filled_quantity for each in orders if each.role != Order.Role.ENTRY)
    is_leaving = has_left or operation.status == Operation.Status.CLOSING
    return is_leaving and operation.held_quantity < step
