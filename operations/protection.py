"""Keep stops and targets at the exchange for all that is held, and see that they are really there.

A row before each order, as everywhere: a crash leaves a CREATED row that the next round sends or denies, or an order in
flight that reconcile settles. Stops carry no name of ours on the perpetuals, so of two that are alike only one is on
its way at a time: what is found by likeness is then nobody else's. Nothing is cancelled or concluded on an answer that
did not come.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from itertools import takewhile
from typing import Any

from django.db import OperationalError, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone
from loguru import logger

from exchange.bingx import BingX
from exchange.connection import connect
from exchange.errors import ExchangeError, OrderNotFound, OutcomeUnknown, RateLimited, Refused, RetrySoon
from exchange.models import Account
from exchange.refusals import REFUSALS
from exchange.rounding import plain
from exchange.types import Market, OrderReport, OrderType, ReportStatus
from operations.cover import Cover, Distances, Held, Placed, Role, compare, plan
from operations.execution import cancel, is_paused, operation_now, pause, submit_protection
from operations.kept import Kept
from operations.lifecycle import NothingToClose, close_by_hand, left_of, lock_lane
from operations.limits import above_ceiling
from operations.models import Lane, Notice, Operation, Order
from operations.notices import end_notice, raise_notice
from operations.preparation import instrument_at, leg_of, nets
from operations.reconcile import settle
from operations.states import NEVER_TRADED, UNFINISHED, OrderStatus
from operations.transitions import apply_report, move
from strategies.models import Leg, Strategy

PROTECTIVE = (Order.Role.STOP_LOSS, Order.Role.TAKE_PROFIT)
STANDING = (OrderStatus.ACCEPTED, OrderStatus.PARTIALLY_FILLED)
# A human is told when something is uncovered for longer than the first, and it is closed, or not, after the second
GRACE = timedelta(seconds=5)
LONGEST_UNCOVERED = timedelta(seconds=30)
MOST_REFUSALS = 3
# How long an order may be in flight before it counts as an attempt that came to nothing
PATIENCE = timedelta(seconds=15)
# BingX blocks an endpoint after twenty equal refusals in eight minutes
FIRST_RETRY = timedelta(seconds=2)
LONGEST_RETRY = timedelta(minutes=5)
# The trigger lies beyond the market already: as an order it would have fired at once
WRONG_SIDE = frozenset({"110411", "110412", "110413", "110414"})
NOTICES = ("unprotected", "closed_unprotected", "closed_past_trigger")

_TYPES = {Role.STOP_LOSS: OrderType.STOP_MARKET, Role.TAKE_PROFIT: OrderType.TAKE_PROFIT_MARKET}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What should stand for an operation; `is_complete` is False while of some entry it is not known yet."""

    covers: list[Cover]
    is_complete: bool = True


def watched() -> QuerySet[Operation]:
    """Return the operations to look after: they want cover, were noted to lack it, have orders out, or were told of."""
    asks = asks_for_cover("strategy", "leg")
    holding = Operation.objects.filter(asks, status__in=Operation.LIVE, held_quantity__gt=0)
    standing = Order.objects.filter(role__in=PROTECTIVE, status__in=UNFINISHED)
    told = Notice.objects.filter(ended_at__isnull=True, kind__in=NOTICES, operation__isnull=False)
    noted = Operation.objects.filter(uncovered_since__isnull=False)
    ids = {
        *holding.order_by().values_list("pk", flat=True),
        *noted.order_by().values_list("pk", flat=True),
        *standing.order_by().values_list("operation_id", flat=True),
        *told.order_by().values_list("operation_id", flat=True),
    }
    return Operation.objects.filter(pk__in=ids).select_related("account", "strategy").order_by("id")


def asks_for_cover(strategy: str, leg: str) -> Exists:
    """Return the condition that a leg asks for a stop or target; the paths lead from the outer query to its names."""
    percents = [f"{kind}_{reach}" for kind in ("stop_loss", "take_profit") for reach in ("per_order", "general")]
    asks = Q(*[(f"{name}__isnull", False) for name in percents], _connector=Q.OR)
    return Exists(Leg.objects.filter(asks, strategy=OuterRef(strategy), name=OuterRef(leg)))


def look_after(account: Account) -> None:
    """Verify and restore the protection of all that the account holds. The sweep's work: no bell is needed for it.

    An exchange that cannot be asked changes nothing; a human is told all the same.
    """
    operations = list(watched().filter(account=account))
    for market in sorted({operation.market for operation in operations}):
        uncertain = _verify_or_doubt(account, Market(market))
        for operation in operations:
            if operation.market == market:
                _protect_apart(operation, is_certain=uncertain is not None and operation.pk not in uncertain)


def _protect_apart(operation: Operation, *, is_certain: bool) -> None:
    """Protect one of many: a deadlock that it loses costs it this round and the others nothing."""
    try:
        protect(operation, is_certain=is_certain)
    except OperationalError as error:
        logger.warning("operation {}: protection waits for the next sweep: {}", operation.pk, error)


def protect(operation: Operation, *, is_certain: bool = True) -> None:
    """Bring what stands at the exchange up to what the leg asks for, and watch how long it is not.

    May run in two processes at once and be cut off anywhere. `is_certain` False: nothing is sent, only watched.
    """
    try:
        is_done = is_certain and _restore(operation)
    except RateLimited as limit:
        pause(operation.account, limit)
        is_done = False
    except ExchangeError as error:
        logger.warning("operation {}: protection waits: {}", operation.pk, error)
        is_done = False
    _judge(operation, may_close=is_done)


def wanted_covers(operation: Operation) -> Wanted | None:
    """Return what should stand for an operation as its rows are now; None when its leg or instrument is gone.

    An operation that is being closed wants nothing new, since what stands goes right before its exit; but after an
    exit that came to nothing, and until the next one, it wants all of it again.
    """
    if operation.status not in Operation.STACKABLE and not is_left_open(operation):
        return Wanted([])
    leg, instrument = leg_of(operation), instrument_at(operation.market, operation.symbol)
    if leg is None or instrument is None:
        return None
    distances = Distances(
        leg.stop_loss_per_order, leg.stop_loss_general, leg.take_profit_per_order, leg.take_profit_general
    )
    filled = _FILLED.all(operation.pk)
    entries = [order for order in filled if order.role == Order.Role.ENTRY]
    known = [entry for entry in entries if _is_known(entry, operation.market)]
    covers = plan(
        _held(known, filled),
        distances,
        operation.leg,
        Market(operation.market),
        tick=instrument.tick_size,
        step=instrument.step_size,
    )
    return Wanted(covers, is_complete=len(known) == len(entries))


_FILLED = Kept[Order](
    lambda operation_id: Order.objects.filter(operation=operation_id, filled_quantity__gt=0).order_by("id"), int
)


def _held(entries: list[Order], filled: list[Order]) -> list[Held]:
    """Return what is left of each entry; what an exit took in part is taken from the oldest first."""
    exits = (order.filled_quantity for order in filled if order.role == Order.Role.EXIT)
    taken, held = sum(exits, Decimal(0)), []
    for entry in entries:
        left = left_of(entry, filled)
        share = min(left, taken)
        taken -= share
        held.append(Held(entry.pk, entry.avg_price or Decimal(0), entry.received_quantity, left - share))
    return held


def is_left_open(operation: Operation) -> bool:
    """Tell whether an operation that is closing still holds its share after an exit that was refused or never left."""
    if operation.status != Operation.Status.CLOSING or not operation.held_quantity:
        return False
    last = operation.orders.filter(role=Order.Role.EXIT).order_by("-id").first()
    return last is not None and last.status in NEVER_TRADED


def _is_leaving(operation: Operation) -> bool:
    return operation.status == Operation.Status.CLOSING and not is_left_open(operation)


def _is_known(entry: Order, market: str) -> bool:
    """Tell whether an entry's price and quantity are known: on spot the fills tell what the fee has left of it."""
    return bool(entry.avg_price) and (market != Market.SPOT or entry.has_all_fills)


def cover_of(order: Order) -> Cover:
    """Return what a stop or target of ours still covers."""
    quantity = (order.quantity or Decimal(0)) - order.filled_quantity
    return Cover(order.entry_id or 0, Role(order.role), quantity, order.trigger_price or Decimal(0))


# Restore


def _restore(operation: Operation) -> bool:
    """Place what is missing and replace what is outdated, one at a time; return whether all was tried."""
    lane = Lane.objects.filter(account=operation.account, market=operation.market, symbol=operation.symbol).first()
    if lane is None or above_ceiling(operation.account):
        return False
    client, tried, given_up = connect(operation.account), set[tuple[int, Role]](), set[int]()
    while not is_paused(lane):
        waiting, outdated = _arrange(operation, tried)
        for order in waiting:
            if is_paused(lane):
                return False
            tried.add(cover_of(order).slot)
            _place(order, client)
        replaced = next((order for order in outdated if order.pk not in given_up), None)
        if replaced:
            given_up.add(replaced.pk)
            cancel(replaced, client)
        elif not waiting:
            return True
    return False


def _arrange(operation: Operation, tried: set[tuple[int, Role]]) -> tuple[list[Order], list[Order]]:
    """Bring the rows up to the plan under the lane's lock; return the orders to send, and those to cancel.

    What was never sent is denied instead. Orders whose slot was `tried` in this round are left for the next.
    """
    if not _differs(operation):
        return [], []
    with transaction.atomic():
        lane = lock_lane(operation.account_id, operation.market, operation.symbol)
        current = Operation.objects.select_related("strategy").get(pk=operation.pk)
        wanted = wanted_covers(current)
        if wanted is None or _is_leaving(current):
            return [], []
        for order in _outdated(current, wanted):
            if order.status == OrderStatus.CREATED:
                move(order, OrderStatus.DENIED, source="us", reason="cover_changed")
        missing, _ = compare(wanted.covers, _placed(current))
        for cover in missing:
            if cover.slot not in tried and _is_due(cover):
                _create(lane, current, cover)
        created = [each for each in _unfinished(current) if each.status == OrderStatus.CREATED]
        outdated = [each for each in _outdated(current, wanted) if each.status in STANDING]
    return [each for each in created if cover_of(each).slot not in tried], outdated


def _differs(operation: Operation) -> bool:
    """Look without the lane's lock whether there is anything to do: mostly there is not."""
    current = operation_now(operation.pk)
    wanted = wanted_covers(current)
    if wanted is None or _is_leaving(current):
        return False
    unfinished = _UNFINISHED.all(current.pk)
    missing, outdated = compare(wanted.covers, _as_placed(unfinished))
    return bool(missing or outdated) or any(order.status == OrderStatus.CREATED for order in unfinished)


_UNFINISHED = Kept[Order](
    lambda operation_id: Order.objects.filter(
        operation=operation_id, role__in=PROTECTIVE, status__in=UNFINISHED
    ).order_by("id"),
    int,
)


def _unfinished(operation: Operation) -> QuerySet[Order]:
    found = operation.orders.filter(role__in=PROTECTIVE, status__in=UNFINISHED)
    return found.select_related("lane__account", "operation__strategy").order_by("id")


def _placed(operation: Operation) -> list[Placed]:
    return _as_placed(_UNFINISHED.all(operation.pk))


def _as_placed(orders: Iterable[Order]) -> list[Placed]:
    return [Placed(order.pk, cover_of(order)) for order in orders]


def _outdated(operation: Operation, wanted: Wanted) -> list[Order]:
    _, outdated = compare(wanted.covers, _placed(operation))
    return list(_unfinished(operation).filter(pk__in=[each.order_id for each in outdated]))


def _create(lane: Lane, operation: Operation, cover: Cover) -> Order | None:
    """Create the row of a stop or target; while one that is alike is on its way in the lane it waits for that."""
    is_net = nets(lane.account, lane.market)
    columns: dict[str, Any] = {
        "side": "SELL" if operation.leg == Leg.Name.LONG else "BUY",
        "position_side": "BOTH" if is_net or lane.market == Market.SPOT else operation.position_side,
        "order_type": _TYPES[cover.role].value,
        "quantity": cover.quantity,
        "trigger_price": cover.trigger_price,
    }
    on_its_way = lane.orders.filter(status__in=(OrderStatus.CREATED, OrderStatus.SUBMITTED), exchange_order_id="")
    if lane.market != Market.SPOT and on_its_way.filter(**columns).exists():
        return None
    order = Order.objects.create(
        lane=lane, operation=operation, entry_id=cover.entry_id, role=cover.role.value, reduce_only=is_net, **columns
    )
    order.events.create(at=timezone.now(), status=OrderStatus.CREATED, source="us")
    return order


def _is_due(cover: Cover) -> bool:
    """Tell whether a cover may be tried (again): after each refusal it waits twice as long."""
    failed = _failures(cover)
    if not failed or failed[0].closed_at is None:
        return True
    wait = min(FIRST_RETRY * 2 ** (len(failed) - 1), LONGEST_RETRY)
    return bool(timezone.now() - failed[0].closed_at >= wait)


def _failures(cover: Cover) -> list[Order]:
    """Return the attempts at a cover that failed since it last stood, newest first, ten at most."""
    attempts = Order.objects.filter(entry_id=cover.entry_id, role=cover.role.value).order_by("-id")
    attempts = attempts.exclude(status=OrderStatus.DENIED, reason="cover_changed")
    return list(takewhile(_has_failed, attempts[:10]))


def _has_failed(order: Order) -> bool:
    return order.status == OrderStatus.REJECTED or order.reason == "trigger_passed"


def _is_refusal(order: Order) -> bool:
    """Tell whether the exchange said no for good; not sent, or a refusal that passes in a moment, is none."""
    known = REFUSALS.get(order.code)
    return order.reason in ("refused", "trigger_passed") and not (known and issubclass(known.error, RetrySoon))


def _place(order: Order, client: BingX) -> None:
    """Send a stop or target; close the operation instead when the market is beyond its trigger already."""
    if order.lane.market == Market.SPOT and _has_passed(order, client.price(Market.SPOT, order.lane.symbol)):
        # Spot takes any trigger, and one on the wrong side would wait for the price to come back
        move(order, OrderStatus.DENIED, source="us", said="trigger_passed", reason="trigger_passed")
    else:
        submit_protection(order)
    if order.reason == "trigger_passed" or (order.status == OrderStatus.REJECTED and order.code in WRONG_SIDE):
        _act_as_fired(order)


def _has_passed(order: Order, price: Decimal) -> bool:
    trigger = order.trigger_price or Decimal(0)
    is_below = (order.role == Order.Role.STOP_LOSS) == (order.side == "SELL")
    return price <= trigger if is_below else price >= trigger


def _act_as_fired(order: Order) -> None:
    """Close the operation in place of a stop that would have fired at once, or of a target for all that is held."""
    held = Operation.objects.values_list("held_quantity", flat=True).get(pk=order.operation_id)
    if order.role == Order.Role.STOP_LOSS or cover_of(order).quantity >= held:
        facts = {"role": order.get_role_display().lower(), "trigger": plain(order.trigger_price or Decimal(0))}
        _close(order.operation, "closed_past_trigger", Notice.Level.WARNING, **facts)


# Verify


def _verify_or_doubt(account: Account, market: Market) -> set[int] | None:
    """Verify; return the ids of the operations of which nothing certain was learned, None when of none."""
    paused = account.lanes.filter(paused_until__gt=timezone.now())
    if above_ceiling(account) or paused.exists():
        return None
    try:
        return verify(account, market)
    except RateLimited as limit:
        pause(account, limit)
    except ExchangeError as error:
        logger.warning("account {}: its {} stops cannot be verified: {}", account.name, market, error)
    return None


def verify(account: Account, market: Market) -> set[int]:
    """Compare the stops and targets that stand by our books with the exchange's; return operations left in doubt.

    One list for all lanes of the account; what it lacks is asked for by id, since lists lag. Only what our rows name
    is ever touched. Raises an exchange's error when it cannot be asked: nothing is concluded then.
    """
    client = connect(account)
    # Our rows before their list: what is placed meanwhile must not look as if it were missing there
    orders = list(_standing(account, market))
    listed = _list(client, market)
    doubtful = set()
    for order in orders:
        try:
            _verify_order(order, listed.get(order.exchange_order_id), client)
        except (RateLimited, OutcomeUnknown):
            raise
        except Refused as refusal:
            logger.warning("order {} could not be verified: {}", order.client_order_id, refusal)
            doubtful.add(order.operation_id)
    return doubtful


def _standing(account: Account, market: Market) -> QuerySet[Order]:
    found = Order.objects.filter(lane__account=account, lane__market=market, role__in=PROTECTIVE, status__in=STANDING)
    return found.select_related("lane__account", "operation__strategy", "decision").order_by("id")


def _list(client: BingX, market: Market) -> dict[str, OrderReport]:
    try:
        return {report.exchange_order_id: report for report in client.open_orders(market)}
    except OutcomeUnknown as error:
        # One unreadable row of another's order must not blind us: each of ours is asked for by id
        logger.warning("the list of open {} orders cannot be read: {}", market, error)
        return {}


def _verify_order(order: Order, listed: OrderReport | None, client: BingX) -> None:
    try:
        report = listed or client.order(
            Market(order.lane.market), order.lane.symbol, exchange_order_id=order.exchange_order_id
        )
    except OrderNotFound:
        settle(order)
        _mark(order, is_missing=order.status in STANDING)
        return
    apply_report(order, report, source="query")
    _mark(order, is_missing=False)
    if report.status is ReportStatus.ACCEPTED and not _is_as_placed(order, report):
        logger.warning("order {} was changed at the exchange: it is replaced", order.client_order_id)
        cancel(order, client)


def _is_as_placed(order: Order, report: OrderReport) -> bool:
    """Compare what was said; a report that leaves something out contradicts nothing."""
    return report.quantity in (Decimal(0), order.quantity) and report.trigger_price in (None, order.trigger_price)


def _mark(order: Order, *, is_missing: bool) -> None:
    """Remember that an order which stands by our books was found nowhere: it covers nothing."""
    if is_missing and order.missed_at is None:
        logger.error("order {} stands by our books and is nowhere at the exchange", order.client_order_id)
        Order.objects.filter(pk=order.pk).update(missed_at=timezone.now())
    elif not is_missing and (order.missed_at or order.settle_misses):
        Order.objects.filter(pk=order.pk).update(missed_at=None, settle_misses=0)


# Judge


def _judge(operation: Operation, *, may_close: bool) -> None:
    """Note since when an operation lacks cover, tell a human, and close it when its strategy wants that."""
    current = operation_now(operation.pk)
    wanted = wanted_covers(current)
    if wanted is None or _is_leaving(current):
        return
    lacking = list(_lacking(current, wanted))
    if not lacking and wanted.is_complete:
        _note_covered(current)
        return
    _note_uncovered(current)
    wants_out = (
        current.strategy.when_unprotected == Strategy.Unprotected.CLOSE and current.status in Operation.STACKABLE
    )
    if may_close and wants_out and _is_hopeless(current, lacking):
        _close(current, "closed_unprotected", Notice.Level.CRITICAL, **_facts(lacking))
    elif _uncovered_for(current) >= GRACE:
        raise_notice(
            f"operation:{current.pk}",
            "unprotected",
            account=current.account,
            operation=current,
            **_naming(current),
            **_facts(lacking),
        )


def _lacking(operation: Operation, wanted: Wanted) -> Iterator[Cover]:
    """Yield the wanted covers that do not stand at the exchange, as far as it was last asked."""
    in_place = {cover_of(order) for order in _IN_PLACE.all(operation.pk)}
    return (cover for cover in wanted.covers if cover not in in_place)


_IN_PLACE = Kept[Order](
    lambda operation_id: Order.objects.filter(
        operation=operation_id, role__in=PROTECTIVE, status__in=STANDING, missed_at__isnull=True
    ),
    int,
)


def _note_covered(operation: Operation) -> None:
    if operation.uncovered_since:
        Operation.objects.filter(pk=operation.pk).update(uncovered_since=None)
        logger.info("operation {} is covered again, or has ended", operation.pk)
    key = f"operation:{operation.pk}"
    if Notice.objects.filter(current_key__in=[f"{kind}:{key}" for kind in NOTICES]).exists():
        for kind in NOTICES:
            end_notice(key, kind)


def _note_uncovered(operation: Operation) -> None:
    if operation.uncovered_since is None:
        operation.uncovered_since = timezone.now()
        Operation.objects.filter(pk=operation.pk, uncovered_since=None).update(
            uncovered_since=operation.uncovered_since
        )


def _uncovered_for(operation: Operation) -> timedelta:
    return timezone.now() - operation.uncovered_since if operation.uncovered_since else timedelta(0)


def _is_hopeless(operation: Operation, lacking: list[Cover]) -> bool:
    """Tell whether placing was refused too often, or came to nothing for too long."""
    if any(sum(map(_is_refusal, _failures(cover))) >= MOST_REFUSALS for cover in lacking):
        return True
    return _uncovered_for(operation) >= LONGEST_UNCOVERED and any(map(_came_to_nothing, lacking))


def _came_to_nothing(cover: Cover) -> bool:
    newest = Order.objects.filter(entry_id=cover.entry_id, role=cover.role.value).order_by("-id").first()
    if newest is None:
        return False
    is_stuck = newest.status in UNFINISHED and timezone.now() - newest.created_at >= PATIENCE
    return _has_failed(newest) or is_stuck


def _close(operation: Operation, kind: str, level: str, **facts: str) -> None:
    """Order the close of an operation's share in place of protection, and tell a human why."""
    _note_uncovered(operation)
    try:
        close_by_hand(operation, "protection")
    except NothingToClose:
        return
    raise_notice(
        f"operation:{operation.pk}",
        kind,
        level,
        account=operation.account,
        operation=operation,
        **_naming(operation),
        **facts,
    )


def _naming(operation: Operation) -> dict[str, str]:
    return {"strategy": operation.strategy.name, "symbol": operation.symbol, "leg": operation.leg}


def _facts(lacking: list[Cover]) -> dict[str, str]:
    """Return what is lacking, and the exchange's last words about it."""
    failed = [order for cover in lacking for order in _failures(cover)[:1]]
    words = max(failed, key=lambda order: order.pk).detail if failed else ""
    shown = [
        f"{cover.role.value.replace('_', ' ').lower()} at {plain(cover.trigger_price)} for {plain(cover.quantity)}"
        for cover in lacking
    ]
    return {"lacking": "; ".join(shown) or "the fills that tell how much is held", "detail": words}
