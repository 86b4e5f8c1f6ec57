"""Send and cancel orders: the one module that changes anything at the exchange.

An order is SUBMITTED and committed before the wire, with the very time stamp that will be signed; what came of it is
written after. The order in flight is the lane's lock: while one is SUBMITTED no other of its lane is sent, so a crash
anywhere here leaves either nothing sent, or one order that reconcile settles by asking.
"""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.utils import timezone
from loguru import logger

from exchange.bingx import BingX
from exchange.connection import connect
from exchange.errors import AlreadyFinal, Duplicate, ExchangeError, NotSent, OutcomeUnknown, RateLimited, Refused
from exchange.models import Account
from exchange.types import MarginMode, Market, OrderRequest, OrderType, PositionSide, Side
from operations.limits import Denial, check_again, check_claim
from operations.models import Decision, Lane, Operation, Order
from operations.preparation import NotYet, Prepared, crumbs, doubt_position_mode, exit_quantity, nets, prepare
from operations.states import CLOSED, UNFINISHED, WORKING, OrderStatus
from operations.transitions import apply_report, move
from strategies.models import Leg

IN_TURN = (Order.Role.ENTRY, Order.Role.EXIT)
# How long nothing is sent after a rate limit that names no time
SHORT_PAUSE = timedelta(seconds=5)
# A moment further away than this was misread
LONGEST_PAUSE = timedelta(minutes=15)


def run_lane(lane: Lane) -> None:
    """Send the lane's waiting orders one after the other, up to one whose outcome is unknown.

    Raises an exchange's error when preparing failed: nothing was sent then, and the next sweep tries again.
    """
    while not is_paused(lane) and (order := next_order(lane)):
        try:
            submit(order)
        except NotYet as reason:
            logger.info("order {} waits: {}", order.client_order_id, reason)
            break
        except RateLimited as limit:
            pause(order.lane.account, limit)
            break
        if order.status not in CLOSED:
            break


def is_paused(lane: Lane) -> bool:
    """Tell whether the exchange asked for silence on this lane's account."""
    paused_until = Lane.objects.values_list("paused_until", flat=True).get(pk=lane.pk)
    return paused_until is not None and paused_until > timezone.now()


def pause(account: Account, limit: RateLimited) -> None:
    """Send nothing for this account until the exchange takes requests again; other accounts go on."""
    now = timezone.now()
    until = min(limit.retry_at or now + SHORT_PAUSE, now + LONGEST_PAUSE)
    account.lanes.update(paused_until=until)
    logger.warning("account {}: rate limited until {:%H:%M:%S}", account.name, until)


def next_order(lane: Lane) -> Order | None:
    """Return the oldest order of the lane that waits, unless one before it has not ended.

    A flip waits for the exit's fill. Past an order that froze the lane only exits of other operations may go.
    """
    unfinished = (
        lane.orders.filter(status__in=UNFINISHED, role__in=IN_TURN)
        .select_related("lane__account", "operation__strategy", "decision")
        .order_by("id")
    )
    head = unfinished.first()
    if head is None or head.status == OrderStatus.CREATED:
        return head
    if head.lane.frozen_reason != "unsettled":
        return None
    held_up = {order.operation_id for order in unfinished if order.status != OrderStatus.CREATED or _enters(order)}
    exits = (order for order in unfinished if order.status == OrderStatus.CREATED and not _enters(order))
    return next((order for order in exits if order.operation_id not in held_up), None)


def _enters(order: Order) -> bool:
    return order.role == Order.Role.ENTRY


def submit(order: Order) -> None:
    """Prepare the order, commit that it is submitted (or denied), send it, write the outcome.

    Does nothing when another process was first. Raises `NotYet` for an exit whose stops are not known to be gone.
    """
    client = connect(order.lane.account)
    prepared = prepare(order, client)
    if prepared.leg:
        prepared = _set_up(order, prepared, prepared.leg, client)
    elif not prepared.denial and not release_protection(order, client):
        raise NotYet("a stop or target of its operation is not known to be gone")
    if _claim(order, prepared):
        _send(order, client)


def submit_protection(order: Order) -> None:
    """Send a stop or target; it waits for no turn, since it covers what is held already."""
    client = connect(order.lane.account)
    with transaction.atomic():
        Lane.objects.select_for_update().get(pk=order.lane_id)
        is_ours = _to_submitted(order, order.quantity)
    if is_ours:
        _send(order, client)


def resend(order: Order) -> None:
    """Send an order that provably never arrived once more: same id, a new committed time stamp.

    Only reconcile calls it, after the fence of the earlier attempt. Does nothing when another process was first.
    """
    with transaction.atomic():
        _lock(order)
        denial = _unwanted(order)
        if denial:
            _give_up(order, denial)
            return
        submitted_at = _to_the_millisecond(timezone.now())
        guard = Order.objects.filter(pk=order.pk, status=OrderStatus.SUBMITTED, submitted_at=order.submitted_at)
        if not guard.update(submitted_at=submitted_at, settle_misses=0, missed_at=None):
            return
        order.submitted_at = submitted_at
        note(order, "sent again: it never arrived", source="us")
    _send(order, connect(order.lane.account))


def _lock(order: Order) -> None:
    """Lock the account, over all whose lanes the limits count, and then the lane."""
    Account.objects.select_for_update().get(pk=order.lane.account_id)
    Lane.objects.select_for_update().get(pk=order.lane_id)


def _unwanted(order: Order) -> Denial | None:
    """Return why an order that never arrived is not sent again: an exit always is."""
    if order.role == Order.Role.EXIT:
        return None
    if Operation.objects.values_list("status", flat=True).get(pk=order.operation_id) not in Operation.STACKABLE:
        return Denial("operation_is_closing")
    return check_again(order, timezone.now()) if _enters(order) else None


def _give_up(order: Order, denial: Denial) -> None:
    said = f"never reached the exchange; not sent again: {denial.reason}"
    move(order, OrderStatus.REJECTED, source="query", said=said, of_attempt=True, reason="never_arrived")


def cancel(order: Order, client: BingX) -> None:
    """Cancel one of our own working orders; what is not certain leaves it PENDING_CANCEL for reconcile.

    A cancel may be repeated: the second finds nothing to do. Raises `RateLimited`: the caller pauses the account.
    """
    if order.status != OrderStatus.PENDING_CANCEL and not move(order, OrderStatus.PENDING_CANCEL, source="us"):
        return
    market, symbol = Market(order.lane.market), order.lane.symbol
    try:
        client.cancel_order(market, symbol, exchange_order_id=order.exchange_order_id)
    except RateLimited:
        raise
    except AlreadyFinal:
        note(order, "it had ended before the cancel")
    except ExchangeError as error:
        note(order, f"cancel: {error}")
        return
    # The answer to a cancel may be stale: only asking tells
    try:
        report = client.order(market, symbol, exchange_order_id=order.exchange_order_id)
    except ExchangeError as error:
        note(order, f"after the cancel: {error}")
    else:
        apply_report(order, report, source="query")


def release_protection(order: Order, client: BingX) -> bool:
    """Cancel the stops and targets of an exit's operation; return whether all are known to have ended.

    They go first: one that fired after the exit would close another strategy's share.
    """
    protective = order.operation.orders.exclude(role__in=IN_TURN).select_related("lane__account")
    for each in protective.filter(status=OrderStatus.CREATED):
        move(each, OrderStatus.DENIED, source="us", reason="operation_is_closing")
    for each in protective.filter(status__in=WORKING):
        cancel(each, client)
    return not protective.filter(status__in=UNFINISHED).exists()


def _set_up(order: Order, prepared: Prepared, leg: Leg, client: BingX) -> Prepared:
    """Set margin mode and leverage for an entry where they differ; a refusal denies the entry."""
    try:
        _set_leverage(order.lane, leg, client)
    except RateLimited:
        raise
    except Refused as refusal:
        doubt_position_mode(order.lane.account)
        return Prepared(denial=Denial("leverage_refused", {"detail": refusal.message}))
    return prepared


def _set_leverage(lane: Lane, leg: Leg, client: BingX) -> None:
    if lane.market == Market.SPOT:
        return
    market = Market(lane.market)
    if lane.margin_mode != leg.margin_mode:
        if client.margin_mode(market, lane.symbol) != leg.margin_mode:
            client.set_margin_mode(market, lane.symbol, MarginMode(leg.margin_mode))
        _remember(lane, margin_mode=leg.margin_mode)
    column = f"{leg.name}_leverage"
    if getattr(lane, column) != leg.leverage:
        is_net = nets(lane.account, lane.market)
        client.set_leverage(
            market, lane.symbol, PositionSide.BOTH if is_net else PositionSide(leg.name.upper()), leg.leverage
        )
        both = {"long_leverage": leg.leverage, "short_leverage": leg.leverage}
        _remember(lane, **(both if is_net else {column: leg.leverage}))


def _remember(lane: Lane, **fields: object) -> None:
    for name, value in fields.items():
        setattr(lane, name, value)
    lane.save(update_fields=list(fields))


def _claim(order: Order, prepared: Prepared) -> bool:
    """Commit the order as SUBMITTED (or DENIED) under the account's lock; return whether it may be sent now."""
    with transaction.atomic():
        _lock(order)
        current = next_order(order.lane)
        if current is None or current.pk != order.pk:
            return False
        quantity = prepared.quantity if _enters(order) else exit_quantity(current)
        denial = prepared.denial or _last_denial(current, quantity, prepared)
        if denial:
            _deny(order, denial)
            return False
        return _to_submitted(order, quantity, **_position(order))


def _last_denial(order: Order, quantity: Decimal | None, prepared: Prepared) -> Denial | None:
    if not quantity:
        return Denial("nothing_left_to_close")
    if _enters(order):
        return check_claim(order, quantity, prepared.price, timezone.now(), priced_at=prepared.priced_at)
    return crumbs(order, quantity, prepared.price) if prepared.price else None


def _position(order: Order) -> dict[str, Any]:
    """Return the columns that the account's position mode decides, as it is now."""
    lane = order.lane
    is_net = nets(lane.account, lane.market)
    is_one = is_net or lane.market == Market.SPOT
    return {
        "position_side": "BOTH" if is_one else order.operation.position_side,
        "reduce_only": is_net and not _enters(order),
    }


def _to_submitted(order: Order, quantity: Decimal | None, **columns: Any) -> bool:
    submitted_at = _to_the_millisecond(timezone.now())
    return move(order, OrderStatus.SUBMITTED, source="us", quantity=quantity, submitted_at=submitted_at, **columns)


def _deny(order: Order, denial: Denial) -> None:
    move(order, OrderStatus.DENIED, source="us", said=denial.reason, reason=denial.reason)
    if order.decision:
        decision = Decision.objects.filter(pk=order.decision.pk)
        decision.update(outcome=Decision.Outcome.DENIED, reason=denial.reason, facts=denial.facts)


def _to_the_millisecond(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _send(order: Order, client: BingX) -> None:
    """Put the order on the wire; whatever proves nothing leaves it SUBMITTED for reconcile."""
    try:
        report = client.place_order(request_of(order))
    except NotSent as error:
        _reject(order, "not_sent", "", error.message)
    except RateLimited as error:
        # Some gateways say so after they passed the order on: it is asked for before anything else
        pause(order.lane.account, error)
        note(order, f"rate limited: {error}")
    except (Duplicate, OutcomeUnknown) as error:
        # A duplicate says that an earlier attempt exists: either way only asking tells
        note(order, f"outcome unknown: {error}")
    except Refused as error:
        doubt_position_mode(order.lane.account)
        _reject(order, "refused", error.code, error.message)
    else:
        apply_report(order, report, source="answer")
        _ask_at_once(order, client)


def _ask_at_once(order: Order, client: BingX) -> None:
    """Ask for a market order that was only accepted: COIN-M's answer does not tell whether it was filled."""
    if order.order_type != "MARKET" or order.status in CLOSED:
        return
    try:
        report = client.order(Market(order.lane.market), order.lane.symbol, client_order_id=order.client_order_id)
    except ExchangeError as error:
        note(order, f"not known yet: {error}")
    else:
        apply_report(order, report, source="query")


def request_of(order: Order) -> OrderRequest:
    """Return the request for an order that was committed as SUBMITTED: same id, same time stamp, every time."""
    if order.quantity is None or order.submitted_at is None:
        raise ValueError(f"order {order.client_order_id} is not sized yet")
    return OrderRequest(
        market=Market(order.lane.market),
        symbol=order.lane.symbol,
        side=Side(order.side),
        position_side=PositionSide(order.position_side),
        order_type=OrderType(order.order_type),
        quantity=order.quantity,
        client_order_id=order.client_order_id,
        signed_at=order.submitted_at,
        reduce_only=order.reduce_only,
        trigger_price=order.trigger_price,
    )


def _reject(order: Order, reason: str, code: str, detail: str) -> None:
    said = f"{code} {detail}".strip()
    columns = {"reason": reason, "code": code, "detail": detail, "answered_at": timezone.now()}
    # A late refusal of an earlier sending says nothing of the one that came after it
    move(order, OrderStatus.REJECTED, source="answer", said=said, of_attempt=True, **columns)


def note(order: Order, detail: str, *, source: str = "answer") -> None:
    """Write down what was learned of an order that stays as it is: as it is now, whatever its rows said a while ago."""
    with transaction.atomic():
        status = Order.objects.select_for_update().values_list("status", flat=True).get(pk=order.pk)
        order.events.create(at=timezone.now(), status=status, source=source, detail=detail)
