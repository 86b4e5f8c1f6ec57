"""What happened since it was last looked: notices raised and ended, orders filled, refused or run out.

The tables are read behind a watermark, so that nothing here stands in an order's path. It moves only once what was read
is written down, so that a crash loses nothing. One event is met again in later reads; whoever is told keeps its key.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db.models import Max, QuerySet

from alarms.models import Alarm
from exchange.backoffice import without_secrets
from operations.models import Notice, Operation, Order, OrderEvent
from operations.states import OrderStatus
from pelusa.notifications.models import Kind, Level, Watermark

# No transaction of ours stays open for longer: its statements would have timed out
UNCOMMITTED = timedelta(seconds=60)
A_PAGE = 500
Moves = list[Callable[[], object]]
# What is older when it is met (nothing ran for a day) is history and no news
NEWS = timedelta(days=1)

KIND_OF_NOTICE = {
    "unsettled_order": Kind.UNSETTLED,
    "unprotected": Kind.UNSETTLED,
    "closed_unprotected": Kind.UNSETTLED,
    "closed_past_trigger": Kind.UNSETTLED,
    "close_ignored": Kind.REFUSAL,
    "exit_refused": Kind.REFUSAL,
    "books_differ": Kind.FROZEN,
    "kill_switch_on": Kind.KILL_SWITCH,
    "strategy_stopped": Kind.KILL_SWITCH,
    "silence": Kind.SILENCE,
    "strategy_silent": Kind.SILENCE,
    "all_silent": Kind.SILENCE,
}
LEVEL_OF_ORDER = {
    OrderStatus.FILLED: Level.INFO,
    OrderStatus.DENIED: Level.WARNING,
    OrderStatus.REJECTED: Level.WARNING,
    OrderStatus.EXPIRED: Level.WARNING,
}


@dataclass(frozen=True, slots=True)
class Event:
    """One thing to tell: `key` names it once and for all."""

    key: str
    kind: Kind
    level: Level
    at: datetime
    account_id: int | None
    row: Notice | Order
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class _Look:
    """One look: when it is, what is history by then, and how the watermarks are moved if it succeeds."""

    now: datetime
    history_until: datetime
    moves: Moves


@contextmanager
def news(now: datetime, since: datetime) -> Iterator[list[Event]]:
    """Give what happened since the last time, some of it once more; if the block fails, all of it.

    What happened before `since`, or is older than news can be, may be left out.
    """
    moves: Moves = []
    look = _Look(now, max(since - UNCOMMITTED, now - NEWS), moves)
    events = (*_notices(look), *_orders(look), *_ended_notices(look))
    yield [event for event in events if event.at > now - NEWS]
    for move in moves:
        move()


def _notices(look: _Look) -> Iterator[Event]:
    rows = Notice.objects.select_related("account").defer(*without_secrets("account__"))
    for notice in _behind("notice", rows, "raised_at", look):
        yield _of_notice(notice)


def _ended_notices(look: _Look) -> Iterator[Event]:
    now, mark = look.now, _mark("notice_over", 0, look.now)
    ended = Notice.objects.filter(ended_at__gt=mark.horizon_at - UNCOMMITTED, ended_at__lte=now)
    for notice in ended.select_related("account").defer(*without_secrets("account__")):
        yield _of_notice(notice, is_over=True)
    look.moves.append(partial(Watermark.objects.filter(pk=mark.pk, horizon_at__lt=now).update, horizon_at=now))


def _of_notice(notice: Notice, *, is_over: bool = False) -> Event:
    return Event(
        key=f"notice:{notice.pk}{':over' if is_over else ''}",
        kind=KIND_OF_NOTICE.get(notice.kind, Kind.HEALTH),
        level=Level(notice.level),
        at=notice.ended_at if is_over and notice.ended_at else notice.raised_at,
        account_id=notice.account_id,
        row=notice,
        is_over=is_over,
    )


def _orders(look: _Look) -> Iterator[Event]:
    related = ("order__lane__account", "order__operation__strategy")
    told = OrderEvent.objects.filter(status__in=LEVEL_OF_ORDER).select_related(*related)
    rows = told.defer(*without_secrets("order__lane__account__"))
    for step in _behind("order_event", rows, "at", look):
        # As it is now: a fill that was reported in two steps is told once, whole
        status = OrderStatus(step.status)
        if not _is_own_undoing(step.order):
            yield Event(
                key=f"order:{step.order_id}:{status}",
                kind=Kind.FILL if status == OrderStatus.FILLED else Kind.REFUSAL,
                level=LEVEL_OF_ORDER[status],
                at=step.at,
                account_id=step.order.lane.account_id,
                row=step.order,
            )


def _is_own_undoing(order: Order) -> bool:
    """Tell whether the order was dropped because another took its place: nothing that a trader must know."""
    return order.reason in ("cover_changed", "nothing_left_to_close")


def _behind(source: str, rows: QuerySet[Any], column: str, look: _Look) -> Iterator[Any]:
    """Yield the rows behind the source's watermark, oldest first, and note how it is moved."""
    newest = rows.model._default_manager.aggregate(newest=Max("pk"))["newest"] or 0
    mark = Watermark.objects.filter(source=source).first()
    mark = mark or _mark(source, _end_of_history(rows, column, look), look.now)
    position = mark.position
    if newest - position > A_PAGE:
        # After a time without channels, or from a backup, it may be a year
        position = max(position, _end_of_history(rows, column, look))
    while page := list(rows.filter(pk__gt=position).order_by("pk")[:A_PAGE]):
        yield from page
        position = page[-1].pk
    if look.now - mark.horizon_at > UNCOMMITTED:
        # Only from where we began: another process may have moved it meanwhile
        same = Watermark.objects.filter(pk=mark.pk, position=mark.position, horizon=mark.horizon)
        look.moves.append(partial(same.update, position=mark.horizon, horizon=newest, horizon_at=look.now))


def _end_of_history(rows: QuerySet[Any], column: str, look: _Look) -> int:
    """Return the last row that is no news to anybody; of the rest each channel has its own start."""
    older = rows.filter(**{f"{column}__lt": look.history_until}).order_by(f"-{column}")
    return older.values_list("pk", flat=True).first() or 0


def _mark(source: str, position: int, now: datetime) -> Watermark:
    first = {"position": position, "horizon": position, "horizon_at": now}
    return Watermark.objects.get_or_create(source=source, defaults=first)[0]


def totals_of_day(since: datetime, until: datetime, account_ids: list[int]) -> dict[str, Any]:
    """Return what a daily summary tells: operations that closed, profit, fees, refusals and notices."""
    closed = Operation.objects.filter(status=Operation.Status.CLOSED, closed_at__gte=since, closed_at__lt=until)
    steps = OrderEvent.objects.filter(at__gte=since, at__lt=until)
    notices = Notice.objects.filter(raised_at__gte=since, raised_at__lt=until)
    if account_ids:
        closed = closed.filter(account_id__in=account_ids)
        steps = steps.filter(order__lane__account_id__in=account_ids)
        notices = notices.filter(account_id__in=account_ids)
    sums = list(closed.values_list("realised_pnl", "fees"))
    return {
        "closed": len(sums),
        "profit": sum(profit for profit, _ in sums),
        "fees": sum(fees for _, fees in sums),
        "filled": steps.filter(status=OrderStatus.FILLED).count(),
        "refusals": steps.filter(status__in=[OrderStatus.DENIED, OrderStatus.REJECTED]).count(),
        "notices": notices.count(),
        # Of all accounts: an alarm belongs to none
        "alarms": Alarm.objects.filter(received_at__gte=since, received_at__lt=until).count(),
    }
