"""What happened on a chart: alarms with their answers, orders that were filled, and the prices that operations hung on.

Everything of one symbol within a stretch of time. The rows have no index on their times, but their ids grow with them:
where the stretch begins is found by halving the ids, so a chart of last year costs what today's does.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db.models import Q, QuerySet
from django.urls import reverse
from django.utils.translation import gettext as _

from alarms.models import Alarm
from alarms.timeline import words_of
from exchange.backoffice import first_id_from
from exchange.rounding import plain
from market.writing import milliseconds
from operations.models import Decision, Lane, Operation, Order
from strategies.models import Strategy
from strategies.reasons import explain

MOST = 300
_TONES = {
    Decision.Outcome.OPEN: "good",
    Decision.Outcome.CLOSE: "good",
    Decision.Outcome.IGNORED: "plain",
    Decision.Outcome.DENIED: "bad",
}
_KINDS = {Order.Role.STOP_LOSS: "stop", Order.Role.TAKE_PROFIT: "target"}


@dataclass(frozen=True, slots=True)
class Stretch:
    """A symbol between two moments; of one strategy alone where it is named."""

    market: str
    symbol: str
    since: datetime
    until: datetime
    strategy_id: int | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at `time` (milliseconds since 1970)."""

    time: int
    kind: str
    tone: str
    text: str
    sentence: str
    url: str


@dataclass(frozen=True, slots=True)
class PriceLine:
    """A price that counted from one time to another; `until` is None while it still does."""

    kind: str
    price: str
    since: int
    until: int | None
    text: str


def marks_of(stretch: Stretch) -> list[Mark]:
    """Return what happened in the stretch, oldest first: the newest 300 alarms and 300 filled orders of it."""
    strategies = list(_strategies(stretch).values_list("pk", flat=True))
    found = [*_alarm_marks(stretch, strategies), *_order_marks(stretch)]
    return sorted(found, key=lambda mark: mark.time)


def _strategies(stretch: Stretch) -> "QuerySet[Strategy]":
    named = Q(pk=stretch.strategy_id) if stretch.strategy_id else Q(market=stretch.market, symbol=stretch.symbol)
    return Strategy.objects.filter(named)


def _alarm_marks(stretch: Stretch, strategies: Sequence[int]) -> Iterator[Mark]:
    decisions = between(Decision.objects.filter(strategy__in=strategies), "created_at", stretch)
    rows = list(decisions.select_related("strategy")[:MOST])
    alarms = Alarm.objects.in_bulk([each.alarm_id for each in rows])
    for decision in rows:
        alarm = alarms.get(decision.alarm_id)
        yield Mark(
            milliseconds(decision.alarm_received_at),
            "alarm",
            _TONES[Decision.Outcome(decision.outcome)],
            words_of(alarm) if alarm else _("alarm {number}").format(number=decision.alarm_id),
            f"{decision.strategy.name}: {explain(decision.reason, decision.facts)}",
            reverse("admin:alarms_alarm_change", args=[decision.alarm_id]),
        )


def _order_marks(stretch: Stretch) -> Iterator[Mark]:
    lanes = list(Lane.objects.filter(market=stretch.market, symbol=stretch.symbol).values_list("pk", flat=True))
    orders = between(Order.objects.filter(lane__in=lanes, filled_quantity__gt=0), "created_at", stretch)
    if stretch.strategy_id:
        orders = orders.filter(operation__strategy=stretch.strategy_id)
    for order in orders.select_related("operation__strategy")[:MOST]:
        shown = f"{order.side} {plain(order.filled_quantity)}"
        yield Mark(
            milliseconds(order.answered_at or order.created_at),
            "buy" if order.side == "BUY" else "sell",
            "good",
            f"{shown} @ {plain(order.avg_price)}" if order.avg_price else shown,
            f"{order.operation.strategy.name}: {order.get_role_display()}",
            reverse("admin:operations_operation_change", args=[order.operation_id]),
        )


def between(rows: "QuerySet[Any]", column: str, stretch: Stretch) -> "QuerySet[Any]":
    """Return the rows of the stretch, newest first, found by their ids."""
    model = rows.model
    first = first_id_from(model, column, stretch.since)
    return rows.filter(pk__gte=first, pk__lt=first_id_from(model, column, stretch.until)).order_by("-pk")


def lines_of(operations: Sequence[Operation]) -> list[PriceLine]:
    """Return the average entry of each operation, and its stops and targets for as long as each stood: one query."""
    entered = [
        _line("average", each.avg_entry_price, each.opened_at, each.closed_at, _("entry"))
        for each in operations
        if each.avg_entry_price and each.opened_at
    ]
    protective = Order.objects.filter(operation__in=operations, role__in=_KINDS, trigger_price__isnull=False)
    standing = protective.filter(submitted_at__isnull=False).order_by("-id")[:MOST]
    return entered + [_protection(order) for order in standing]


def _protection(order: Order) -> PriceLine:
    role = Order.Role(order.role)
    assert order.trigger_price
    assert order.submitted_at
    return _line(_KINDS[role], order.trigger_price, order.submitted_at, order.closed_at, str(role.label))


def _line(kind: str, price: Decimal, since: datetime, until: datetime | None, word: str) -> PriceLine:
    return PriceLine(
        kind, plain(price), milliseconds(since), milliseconds(until) if until else None, f"{word} {plain(price)}"
    )


def as_json(marks: Iterable[Mark], lines: Iterable[PriceLine]) -> dict[str, Any]:
    """Return both as the page's script reads them."""
    return {"marks": [asdict(each) for each in marks], "lines": [asdict(each) for each in lines]}
