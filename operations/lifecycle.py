"""Open and close operations: rows only, one commit, nothing is sent.

A crash here has sent nothing; the sweeps find the rows and go on.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from loguru import logger

from exchange.acts import tell_act_after
from exchange.types import Market, PositionMode
from market.models import Instrument
from operations.kept import Kept
from operations.models import Decision, Lane, Operation, Order
from operations.notices import raise_notice
from operations.states import UNFINISHED, OrderStatus
from operations.transitions import hold_account
from pelusa.doorbell import ring_on_commit
from strategies.models import Strategy
from strategies.reasons import explain
from strategies.rules import Standing, Verdict


class NothingToClose(Exception):
    """The operation holds nothing, or is being closed already."""


@dataclass(frozen=True, slots=True)
class AlarmFacts:
    """What a decision keeps of its alarm, since no foreign key reaches another database."""

    alarm_id: int
    leg: str
    received_at: datetime
    price: Decimal | None = None
    quantity: Decimal | None = None
    happened_at: datetime | None = None


def standing_of(strategy: Strategy, leg: str) -> Standing:
    """Return what the strategy holds on a leg, for the rules."""
    # An operation and its first order are one commit, so its orders tell of it: one query
    orders = _STACKED.all(_stack_key(strategy, leg))
    if not orders:
        return Standing()
    entries = [order for order in orders if order.role == Order.Role.ENTRY]
    operation = orders[0].operation
    least = _least_sellable(operation)
    stacked = sum(entry.status in UNFINISHED or 0 < left_of(entry, orders) >= least for entry in entries)
    return Standing(is_live=True, entries=stacked, since=operation.created_at)


_STACKED = Kept[Order](
    lambda stack_key: Order.objects.filter(operation__stack_key=stack_key).select_related("operation"), str
)


def left_of(entry: Order, orders: Iterable[Order]) -> Decimal:
    """Return what an entry still holds: what it received, less what its stops and targets among `orders` have sold."""
    sold = sum((order.filled_quantity for order in orders if order.entry_id == entry.pk), Decimal(0))
    return max(entry.received_quantity - sold, Decimal(0))


def _least_sellable(operation: Operation) -> Decimal:
    """Return the smallest share that can be sold: on spot a fee leaves crumbs below it, which count as gone."""
    if operation.market != Market.SPOT:
        return Decimal(0)
    steps = Instrument.objects.filter(market=operation.market, symbol=operation.symbol)
    return steps.values_list("step_size", flat=True).first() or Decimal(0)


def carry_out(strategy: Strategy, alarm: AlarmFacts, verdict: Verdict) -> Decision:
    """Write the decision, and the operation and order that it calls for, in one commit; return it.

    A second call for the same alarm and strategy returns the first decision and changes nothing.
    """
    with transaction.atomic():
        lane = lock_lane(strategy.account_id, strategy.market, strategy.symbol)
        decided = _DECIDED.first(alarm.alarm_id, strategy.pk)
        if decided:
            return decided
        operation = _operation_for(strategy, alarm.leg, verdict)
        decision = _write_decision(strategy, alarm, verdict, operation)
        if operation:
            _order_for(lane, operation, decision)
    _log(decision)
    return decision


_DECIDED = Kept[Decision](lambda alarm, strategy: Decision.objects.filter(alarm_id=alarm, strategy=strategy), int, int)


def tell_of_ignored_close(decision: Decision) -> None:
    """Tell a human that an alarm to close was not heeded although the strategy holds something on its leg."""
    operation = Operation.objects.filter(stack_key=_stack_key(decision.strategy, decision.leg)).first()
    if operation is None:
        return
    raise_notice(
        f"operation:{operation.pk}",
        "close_ignored",
        account=operation.account,
        operation=operation,
        strategy=decision.strategy.name,
        symbol=operation.symbol,
        leg=operation.leg,
        alarm=decision.alarm_id,
        why=explain(decision.reason, decision.facts),
    )


def lock_lane(account_id: int, market: str, symbol: str) -> Lane:
    """Return the lane, locked until the transaction ends: ids of its orders are then in arrival order.

    The account is locked first, as when an order is submitted: a new operation's row locks it for reading.
    """
    account = hold_account(account_id)
    lane = _LANE.first(account_id, market, symbol)
    if lane is None:
        lane, _created = Lane.objects.select_for_update().get_or_create(account=account, market=market, symbol=symbol)
    lane.account = account
    return lane


_LANE = Kept[Lane](
    lambda account, market, symbol: Lane.objects.select_for_update().filter(
        account=account, market=market, symbol=symbol
    ),
    int,
    str,
    str,
)


def close_by_hand(operation: Operation, user: object) -> Order:
    """Order the close of an operation's share for `user`; raise `NothingToClose` when there is none."""
    with transaction.atomic():
        lane = lock_lane(operation.account_id, operation.market, operation.symbol)
        current = Operation.objects.select_for_update().get(pk=operation.pk)
        if current.status not in Operation.STACKABLE:
            raise NothingToClose(_("the operation is %(status)s") % {"status": current.status})
        _begin_closing(current)
        order = create_exit(lane, current, None)
        tell_act_after("closed", current, who=user, note=order.client_order_id)
    logger.info("operation {} closed by hand by {}: order {}", operation.pk, user, order.client_order_id)
    return order


def create_exit(lane: Lane, operation: Operation, decision: Decision | None) -> Order:
    """Create the market order that closes the operation's share; its quantity is known when it is its turn."""
    return _create_order(lane, operation, decision, Order.Role.EXIT)


def _stackable(strategy: Strategy, leg: str) -> Operation | None:
    return _STACKABLE.first(_stack_key(strategy, leg))


_STACKABLE = Kept[Operation](lambda key: Operation.objects.select_for_update().filter(stack_key=key), str)


def _stack_key(strategy: Strategy, leg: str) -> str:
    return f"{strategy.pk}:{leg}"


def _operation_for(strategy: Strategy, leg: str, verdict: Verdict) -> Operation | None:
    if verdict.outcome == Decision.Outcome.OPEN:
        return _stackable(strategy, leg) or _new_operation(strategy, leg)
    if verdict.outcome == Decision.Outcome.CLOSE:
        operation = _stackable(strategy, leg)
        if operation:
            _begin_closing(operation)
        return operation
    return None


def _new_operation(strategy: Strategy, leg: str) -> Operation:
    return Operation.objects.create(
        strategy=strategy,
        account_id=strategy.account_id,
        market=strategy.market,
        symbol=strategy.symbol,
        leg=leg,
        stack_key=_stack_key(strategy, leg),
    )


def _begin_closing(operation: Operation) -> None:
    operation.status = Operation.Status.CLOSING
    operation.stack_key = None
    operation.save(update_fields=["status", "stack_key"])


def _write_decision(strategy: Strategy, alarm: AlarmFacts, verdict: Verdict, operation: Operation | None) -> Decision:
    return Decision.objects.create(
        alarm_id=alarm.alarm_id,
        strategy=strategy,
        strategy_version=strategy.version or None,
        leg=alarm.leg,
        outcome=verdict.outcome,
        reason=verdict.reason,
        facts=verdict.facts,
        operation=operation,
        alarm_received_at=alarm.received_at,
        alarm_happened_at=alarm.happened_at or alarm.received_at,
        alarm_price=alarm.price,
        alarm_quantity=alarm.quantity,
    )


def _order_for(lane: Lane, operation: Operation, decision: Decision) -> Order:
    role = Order.Role.ENTRY if decision.outcome == Decision.Outcome.OPEN else Order.Role.EXIT
    return _create_order(lane, operation, decision, role)


def _create_order(lane: Lane, operation: Operation, decision: Decision | None, role: Order.Role) -> Order:
    enters = role == Order.Role.ENTRY
    order = Order.objects.create(
        lane=lane,
        operation=operation,
        decision=decision,
        role=role,
        side="BUY" if (operation.leg == "long") == enters else "SELL",
        position_side=_position_side(lane, operation),
        reduce_only=not enters and _nets(lane),
    )
    order.events.create(at=timezone.now(), status=OrderStatus.CREATED, source="us")
    ring_on_commit("operations.tasks.run_lane", lane.pk, using="default")
    return order


def _nets(lane: Lane) -> bool:
    return lane.market != Market.SPOT and lane.account.position_mode == PositionMode.ONE_WAY


def _position_side(lane: Lane, operation: Operation) -> str:
    if lane.market == Market.SPOT or _nets(lane):
        return "BOTH"
    return operation.position_side


def _log(decision: Decision) -> None:
    logger.info(
        "alarm {} strategy {}: {} ({})", decision.alarm_id, decision.strategy_id, decision.outcome, decision.reason
    )
