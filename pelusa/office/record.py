"""What one strategy made so far and what it answered lately; every read is bounded, whatever its age."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any

from django.db.models import QuerySet

from exchange.backoffice import NOTHING
from market.units import settled_in
from operations.admin import OPERATION_COLOURS, OUTCOME_COLOURS, DecisionLine, line_of
from operations.models import Decision, Operation
from operations.results import Record, Result, record_of
from pelusa.office.holdings import asset_of, signed, tone_of
from pelusa.office.worth import POINTS_DRAWN, polyline, thinned
from strategies.models import Leg, Strategy
from strategies.reasons import explain

MOST_OPERATIONS = 5_000
MOST_DECISIONS = 5_000
LINES_SHOWN = 8
SPAN = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Figures:
    """The record in one asset, as it is shown."""

    record: Record
    profit: str
    tone: str
    success_rate: str
    average: str
    largest_loss: str
    drawdown: str
    since: datetime
    line: str


@dataclass(frozen=True, slots=True)
class OperationLine:
    """An operation as one line, with its result after fees."""

    operation: Operation
    colour: str
    result: str
    tone: str


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason of the last day, how often it was given, and the sentence of the last time."""

    outcome: str
    label: Any
    colour: str
    reason: str
    count: int
    sentence: str


def figures_of(strategy: Strategy) -> list[Figures]:
    """Return the figures of the newest closed operations, by asset; a strategy that was moved may have two."""
    by_asset: dict[str, list[Result]] = defaultdict(list)
    for market, symbol, closed_at, profit, fees in _closed(strategy):
        by_asset[settled_in(market, symbol)].append(Result(closed_at, profit - fees))
    return [_figures(record_of(results), asset) for asset, results in by_asset.items()]


def _closed(strategy: Strategy) -> list[tuple[Any, ...]]:
    """Read the newest closed operations, a leg at a time: so the index ends where the limit does."""
    closed = Operation.objects.filter(strategy=strategy, status=Operation.Status.CLOSED, closed_at__isnull=False)
    columns = ("pk", "market", "symbol", "closed_at", "realised_pnl", "fees")
    rows: list[tuple[Any, ...]] = []
    for leg in Leg.Name.values:
        rows += closed.filter(leg=leg).order_by("-id").values_list(*columns)[:MOST_OPERATIONS]
    return [row[1:] for row in sorted(rows, reverse=True)[:MOST_OPERATIONS]]


def _figures(record: Record, asset: str) -> Figures:
    return Figures(
        record,
        signed(record.profit, asset),
        tone_of(record.profit),
        f"{record.success_rate:.1f} %",
        signed(record.average or record.profit, asset),
        signed(record.largest_loss, asset) if record.largest_loss else NOTHING,
        signed(-record.drawdown, asset) if record.drawdown else NOTHING,
        record.curve[0][0],
        polyline(thinned(record.curve, POINTS_DRAWN)),
    )


def last_operations(strategy: Strategy) -> list[OperationLine]:
    """Return the newest operations: one query."""
    return [_line(each) for each in strategy_rows(Operation.objects.all(), strategy)[:LINES_SHOWN]]


def _line(operation: Operation) -> OperationLine:
    result = operation.realised_pnl - operation.fees
    has_any = operation.status != Operation.Status.ABORTED and (operation.realised_pnl or operation.fees)
    shown = signed(result, asset_of(operation)) if has_any else ""
    return OperationLine(operation, OPERATION_COLOURS[operation.status], shown, tone_of(result))


def last_decisions(strategy: Strategy) -> list[DecisionLine]:
    """Return the newest decisions with their sentences and orders: two queries."""
    decisions = strategy_rows(Decision.objects.prefetch_related("orders"), strategy)
    return [line_of(each) for each in decisions[:LINES_SHOWN]]


def reasons_since(strategy: Strategy, moment: datetime) -> list[Reason]:
    """Return each reason given since the moment, most frequent first, among the newest 5,000 decisions."""
    newest = strategy_rows(Decision.objects.all(), strategy).values_list("created_at", "outcome", "reason", "pk")
    counts: Counter[tuple[str, str]] = Counter()
    last: dict[tuple[str, str], int] = {}
    # Times have no index: read on from the newest until one is too old
    for _at, outcome, reason, pk in takewhile(lambda row: row[0] >= moment, newest[:MOST_DECISIONS].iterator(500)):
        counts[outcome, reason] += 1
        last.setdefault((outcome, reason), pk)
    examples = Decision.objects.in_bulk(last.values())
    return [_reason(examples[last[key]], count) for key, count in counts.most_common()]


def _reason(example: Decision, count: int) -> Reason:
    label, colour = example.get_outcome_display(), OUTCOME_COLOURS[example.outcome]
    return Reason(example.outcome, label, colour, example.reason, count, explain(example.reason, example.facts))


def strategy_rows(rows: QuerySet[Any], strategy: Strategy) -> QuerySet[Any]:
    """Return the strategy's rows, newest first."""
    return rows.filter(strategy=strategy).order_by("-id")
