"""Send and cancel orders: the one module that changes anything at the exchange.

An order is SUBMITTED and committed before the wire, with the very time stamp that will be signed; what came of it is
written after. The order in flight is the lane's lock: while one is SUBMITTED no other of its lane is sent, so a crash
anywhere here leaves either nothing sent, or one order that reconcile settles by asking.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone
from loguru import logger

from exchange.bingx import BingX
from exchange.connection import connect
from exchange.errors import AlreadyFinal, Duplicate, ExchangeError, NotSent, OutcomeUnknown, RateLimited, Refused
from exchange.models import Account
from exchange.refusals import ClockSkew
from exchange.types import MarginMode, Market, OrderRequest, OrderType, PositionSide, Side
from operations.kept import Kept
from operations.limits import Denial, check_again, check_claim
from operations.models import Decision, Lane, Operation, Order
from operations.notices import raise_notice
from operations.preparation import NotYet, Prepared, crumbs, doubt_position_mode, exit_quantity, nets, prepare
from operations.states import CLOSED, UNFINISHED, WORKING, OrderStatus
from operations.transitions import apply_report, hold_account, hold_lane, move, move_held
from strategies.models import Leg

IN_TURN = (Order.Role.ENTRY, Order.Role.EXIT)
SENT = UNFINISHED - {OrderStatus.CREATED}
# What an order's turn depends on
TURN = ("role", "status", "operation_id", "lane__paused_until", "lane__frozen_reason")
# How long nothing is sent after a rate limit that names no time
SHORT_PAUSE = timedelta(seconds=5)
# How long an entry waits for an exit of its strategy that is tried again
LONGEST_FLIP = timedelta(seconds=30)
# A moment further away than this was misread
LONGEST_PAUSE = timedelta(minutes=15)


def run_lane(lane: Lane, *, may_enter: bool = True) -> None:
    """Send the lane's waiting orders one after the other, up to one whose outcome is unknown.

    Where it may not be entered, and while the account is paused, entries wait and exits pass them. One that cannot be
    prepared is passed by the exits of other operations too. Raises the first exchange's error that preparing met: that
    order was not sent, and the next sweep tries again.
    """
    held_back, failures = set[int](), list[ExchangeError]()
    while head := next_order(lane, may_enter=may_enter, held_back=held_back):
        order = in_full(head.pk)
        try:
            # An exit that passed passes still, should what held the entry end before the claim: its stops are gone then
            submit(order, may_enter=_enters(order), held_back=held_back)
        except NotYet as reason:
            logger.info("order {} waits: {}", order.client_order_id, reason)
            held_back.add(order.pk)
        except RateLimited as limit:
            pause(order.lane.account, limit)
            held_back.add(order.pk)
        except ExchangeError as error:
            failures.append(error)
            held_back.add(order.pk)
        else:
            if order.status not in CLOSED:
                break
    if failures:
        raise failures[0]


def is_paused(lane: Lane) -> bool:
    """Tell whether the exchange asked for silence on this lane's account; asks the row, however old `lane` is."""
    return _pauses(Lane.objects.only("paused_until").get(pk=lane.pk))


def _pauses(lane: Lane) -> bool:
    return lane.paused_until is not None and lane.paused_until > timezone.now()


def pause(account: Account, limit: RateLimited) -> None:
    """Send no entry and no stop for this account until the exchange takes requests again; other accounts go on.

    Exits try: a limit is mostly an endpoint's, and pacing keeps from the wire what would meet one. A pause is never
    shortened: a limit that names no time says nothing of one that did.
    """
    now = timezone.now()
    until = min(limit.retry_at or now + SHORT_PAUSE, now + LONGEST_PAUSE)
    account.lanes.filter(Q(paused_until=None) | Q(paused_until__lt=until)).update(paused_until=until)
    logger.warning("account {}: rate limited until {:%H:%M:%S}", account.name, until)


def next_order(lane: Lane, *, may_enter: bool = True, held_back: Collection[int] = ()) -> Order | None:
    """Return the oldest order of the lane that waits, unless one that was sent has not ended.

    A flip waits for the exit's fill. Where an unresolved order froze the lane, past entries that must wait (all of them
    during a pause), and past what is `held_back` because it cannot be prepared now, only exits may go. All is read
    anew: `lane` only names the lane. Of the order itself no more is read than its turn depends on, see `in_full`.
    """
    head = _OLDEST.first(lane.pk)
    if head is None:
        return None
    is_frozen = head.lane.frozen_reason == "unsettled"
    if head.is_one_sent and not is_frozen:
        return None
    must_wait = head.pk in held_back or (_enters(head) and (not may_enter or _pauses(head.lane)))
    return _passing_exit(_UNFINISHED.all(lane.pk), held_back) if is_frozen or must_wait else head


def _unfinished(lane_id: int) -> QuerySet[Any, Any]:
    """Return what waits for its turn in a lane or has not ended, oldest first."""
    in_turn = Order.objects.filter(role__in=IN_TURN)
    # What was sent need not be the oldest: an exit may have passed entries that had to wait
    sent = Exists(in_turn.filter(status__in=SENT, lane=OuterRef("lane")))
    unfinished = in_turn.filter(status__in=UNFINISHED, lane=lane_id).annotate(is_one_sent=sent)
    return unfinished.select_related("lane").only(*TURN).order_by("id")


_UNFINISHED = Kept[Any](_unfinished, int)
_OLDEST = Kept[Any](lambda lane_id: _unfinished(lane_id)[:1], int)
_IN_FULL = Kept[Order](
    lambda pk: Order.objects.select_related("lane__account", "operation__strategy", "decision").filter(pk=pk), int
)


def in_full(order_id: int) -> Order:
    """Return the order as its rows are now, with all that preparing and claiming ask of them.

    By its key, so that the server has no plan to search: joined to the look for whose turn it is, it costs twice that.
    """
    return _IN_FULL.get(order_id)


def _passing_exit(unfinished: list[Order], held_back: Collection[int]) -> Order | None:
    """Return the oldest exit that may go before others: one of an operation of which nothing is on its way."""
    sent = {order.operation_id for order in unfinished if order.status != OrderStatus.CREATED}
    exits = (order for order in unfinished if not _enters(order) and order.status == OrderStatus.CREATED)
    return next((order for order in exits if order.operation_id not in sent and order.pk not in held_back), None)


def _enters(order: Order) -> bool:
    return order.role == Order.Role.ENTRY


def submit(order: Order, *, may_enter: bool = True, held_back: Collection[int] = ()) -> None:
    """Prepare the order, commit that it is submitted (or denied), send it, write the outcome.

    Does nothing when another process was first. Raises `NotYet` for an exit whose stops are not known to be gone and
    for an entry whose strategy's exit is tried again, and `RateLimited` for an order whose turn does not come soon: it
    is not submitted then, and its stops still stand.
    """
    client = connect(order.lane.account)
    prepared = prepare(order, client)
    if not prepared.denial:
        _await_turn(order, client)
    if prepared.leg:
        prepared = _set_up(order, prepared, prepared.leg, client)
    elif not prepared.denial:
        _clear_the_way(order, client)
    if _claim(order, prepared, may_enter=may_enter, held_back=held_back):
        _send(order, client)


def _clear_the_way(order: Order, client: BingX) -> None:
    """Take an exit's stops and targets away, or raise `NotYet`; what must wait for its size leaves them standing."""
    exit_quantity(order)
    if not release_protection(order, client):
        raise NotYet("a stop or target of its operation is not known to be gone")


def submit_protection(order: Order) -> None:
    """Send a stop or target; it waits for no other order, since it covers what is held already."""
    client = connect(order.lane.account)
    _await_turn(order, client)
    with transaction.atomic():
        hold_lane(order.lane_id)
        is_ours = _to_submitted(order, order.quantity)
    if is_ours:
        _send(order, client)


def resend(order: Order) -> None:
    """Send an order that provably never arrived once more: same id, a new committed time stamp.

    Only reconcile calls it, after the fence of the earlier attempt. Does nothing when another process was first.
    """
    client = connect(order.lane.account)
    _await_turn(order, client)
    with transaction.atomic():
        _lock(order)
        # Asking took seconds: the brakes count as they are now
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
    _send(order, client)


def _await_turn(order: Order, client: BingX) -> None:
    """Wait for a place under the exchange's rate limits, before any commit says that the order may be on its way."""
    client.await_turn(Market(order.lane.market), opens=_enters(order))


def _lock(order: Order) -> None:
    """Lock the account, over all whose lanes the limits count, and then the lane; read anew what else may change.

    From then on the order's account, lane, operation and strategy are as they stay until the commit, or at most are
    switched off meanwhile.
    """
    account = hold_account(order.lane.account_id)
    order.lane = _HELD_LANE.get(order.lane_id)
    order.lane.account = account
    order.operation = operation_now(order.operation_id)


_HELD_LANE = Kept[Lane](lambda pk: Lane.objects.select_for_update().filter(pk=pk), int)
_OPERATION = Kept[Operation](lambda pk: Operation.objects.select_related("strategy").filter(pk=pk), int)


def operation_now(operation_id: int) -> Operation:
    """Return the operation as its row is now, with its strategy."""
    return _OPERATION.get(operation_id)


def _unwanted(order: Order) -> Denial | None:
    """Return why an order that never arrived is not sent again: an exit always is."""
    if order.role == Order.Role.EXIT:
        return None
    if order.operation.status not in Operation.STACKABLE:
        return Denial("operation_is_closing")
    if _enters(order):
        return check_again(order, timezone.now())
    # In hedge mode a stop for more than is held would close another strategy's share
    return Denial("cover_changed") if (order.quantity or 0) > order.operation.held_quantity else None


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
    standing = _STANDING.all(order.operation_id)
    for each in standing:
        if each.status == OrderStatus.CREATED:
            move(each, OrderStatus.DENIED, source="us", reason="operation_is_closing")
    for each in standing:
        if each.status in WORKING:
            cancel(each, client)
    return not standing or not _STANDING.all(order.operation_id)


_STANDING = Kept[Order](
    lambda operation_id: (
        Order.objects.exclude(role__in=IN_TURN)
        .filter(operation=operation_id, status__in=UNFINISHED)
        .select_related("lane__account")
        .order_by("id")
    ),
    int,
)


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


def _claim(order: Order, prepared: Prepared, *, may_enter: bool = True, held_back: Collection[int] = ()) -> bool:
    """Commit the order as SUBMITTED (or DENIED) under the account's lock; return whether it may be sent now."""
    with transaction.atomic():
        _lock(order)
        head = next_order(order.lane, may_enter=may_enter, held_back=held_back)
        if head is None or head.pk != order.pk:
            return False
        quantity = prepared.quantity if _enters(order) else exit_quantity(order)
        denial = prepared.denial or _last_denial(order, quantity, prepared)
        if denial:
            _deny(order, denial)
            return False
        return _to_submitted(order, quantity, market_price=prepared.price, **_position(order))


def _last_denial(order: Order, quantity: Decimal | None, prepared: Prepared) -> Denial | None:
    if not quantity:
        return Denial("nothing_left_to_close")
    if not _enters(order):
        return crumbs(order, quantity, prepared.price) if prepared.price else None
    now = timezone.now()
    denial = _exit_denial(order, now)
    return denial or check_claim(order, quantity, prepared.price, now, priced_at=prepared.priced_at)


def _exit_denial(entry: Order, now: datetime) -> Denial | None:
    """Deny an entry that its own exit has passed, or whose flip lacks the exit; for that raise `NotYet` for a while.

    An exit that was refused is tried again with a younger order, which would otherwise come after the entry.
    """
    sent = Order.objects.filter(role=Order.Role.EXIT).exclude(status=OrderStatus.CREATED)
    # What can still be stacked upon has no exit: an operation begins to close in the commit that makes one
    may_have_exit = entry.operation.status not in Operation.STACKABLE
    if may_have_exit and sent.filter(operation=entry.operation_id).exists():
        return Denial("operation_is_closing")
    ids = _LEAVING.all(entry.operation.strategy_id)
    if not ids or not sent.filter(operation__in=ids, lane=entry.lane_id, pk__lt=entry.pk).exists():
        return None
    if now - entry.created_at < LONGEST_FLIP:
        raise NotYet("an exit of its strategy is not filled yet")
    return Denial("exit_not_filled", {"symbol": entry.lane.symbol})


_LEAVING = Kept[int](
    lambda strategy_id: Operation.objects.filter(
        strategy=strategy_id, status=Operation.Status.CLOSING, held_quantity__gt=0
    ).values_list("pk", flat=True),
    int,
)


def _position(order: Order) -> dict[str, Any]:
    """Return the columns that the account's position mode decides, as it is now."""
    lane = order.lane
    is_net = nets(lane.account, lane.market)
    is_one = is_net or lane.market == Market.SPOT
    return {
        "position_side": "BOTH" if is_one else order.operation.position_side,
        "reduce_only": is_net and not _enters(order),
    }


def deny_waiting(order: Order, denial: Denial) -> None:
    """Deny an order that was not sent yet; does nothing when another process was first."""
    with transaction.atomic():
        _lock(order)
        if Order.objects.filter(pk=order.pk, status=OrderStatus.CREATED).exists():
            _deny(order, denial)


def deny_without_key(lane_id: int) -> None:
    """Deny the waiting entries of an account whose key cannot be opened, and tell a human: its exits cannot be sent."""
    account = Account.objects.defer("api_key", "api_secret").get(lanes=lane_id)
    raise_notice(f"account:{account.pk}", "key_unreadable", account=account)
    entries = Order.objects.filter(lane=lane_id, role=Order.Role.ENTRY, status=OrderStatus.CREATED)
    for order in entries.select_related("lane", "decision").order_by("id"):
        deny_waiting(order, Denial("key_unreadable", {"account": account.name}))


def _to_submitted(order: Order, quantity: Decimal | None, **columns: Any) -> bool:
    submitted_at = _to_the_millisecond(timezone.now())
    return move_held(order, OrderStatus.SUBMITTED, source="us", quantity=quantity, submitted_at=submitted_at, **columns)


def _deny(order: Order, denial: Denial) -> None:
    move_held(order, OrderStatus.DENIED, source="us", said=denial.reason, reason=denial.reason)
    if order.decision:
        decision = Decision.objects.filter(pk=order.decision.pk)
        decision.update(outcome=Decision.Outcome.DENIED, reason=denial.reason, facts=denial.facts)


def _to_the_millisecond(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _send(order: Order, client: BingX) -> None:
    """Put the order on the wire; whatever proves nothing leaves it SUBMITTED for reconcile."""
    try:
        report = client.place_order(request_of(order), has_turn=True)
    except NotSent as error:
        _reject(order, "not_sent", "", error.message)
    except RateLimited as error:
        # Some gateways say so after they passed the order on: it is asked for before anything else
        pause(order.lane.account, error)
        note(order, f"rate limited: {error}")
    except (Duplicate, OutcomeUnknown, ClockSkew) as error:
        # A duplicate says that an earlier attempt exists, a time stamp that was refused is signed anew after the fence
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
