"""What finished operations came to together. Pure: Decimal in, Decimal out."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from operations.books import ZERO


@dataclass(frozen=True, slots=True)
class Result:
    """One finished operation: what it brought after fees, in the asset in which it is counted."""

    closed_at: datetime
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Record:
    """Many results in figures; `curve` is their running sum after each, oldest first.

    `largest_loss` is the worst single result, at most zero. `drawdown` is how far the sum ever fell from the highest
    that it had reached before, counted from zero; never negative.
    """

    closed: int
    won: int
    profit: Decimal
    largest_loss: Decimal
    drawdown: Decimal
    curve: tuple[tuple[datetime, Decimal], ...]

    @property
    def success_rate(self) -> Decimal | None:
        """Return the part that brought more than nothing, in percent; none of none."""
        return Decimal(100 * self.won) / self.closed if self.closed else None

    @property
    def average(self) -> Decimal | None:
        """Return what an operation brought on average; none of none."""
        return self.profit / self.closed if self.closed else None


def record_of(results: Iterable[Result]) -> Record:
    """Return the record of results of one asset, in whatever order they come."""
    ordered = sorted(results, key=lambda each: each.closed_at)
    total = highest = drawdown = ZERO
    curve = []
    for each in ordered:
        total += each.amount
        highest = max(highest, total)
        drawdown = max(drawdown, highest - total)
        curve.append((each.closed_at, total))
    return Record(
        closed=len(ordered),
        won=sum(each.amount > 0 for each in ordered),
        profit=total,
        largest_loss=min((each.amount for each in ordered), default=ZERO).min(ZERO),
        drawdown=drawdown,
        curve=tuple(curve),
    )
