"""Compare a subject with its floor, pair by pair in one run: a machine drifts, a ratio within a minute hardly does."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Goal:
    """What a ratio should be: at most, or at least, a number."""

    number: float
    is_most: bool = True

    def __str__(self) -> str:
        return f"{'≤' if self.is_most else '≥'} {self.number:g}"

    def is_met(self, ratio: float) -> bool:
        return ratio <= self.number if self.is_most else ratio >= self.number


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: medians over the rounds, and the ratio's median, smallest and largest."""

    name: str
    unit: str
    subject: float
    floor: float | None
    ratio: float
    spread: tuple[float, float]
    goal: Goal | None = None
    rows_stored: int = 0
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        if self.goal is None:
            return "-"
        return "met" if self.goal.is_met(self.ratio) else "MISSED"

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"goal": str(self.goal) if self.goal else None, "verdict": self.verdict}


def compare(
    name: str,
    unit: str,
    floor: Callable[[], float],
    subject: Callable[[], float],
    goal: Goal | None = None,
    *,
    rounds: int = ROUNDS,
    rows_stored: int = 0,
) -> Row:
    """Measure floor and subject `rounds` times in turn, each first in every other round; return the row."""
    pairs = [_pair(floor, subject, number % 2 == 0) for number in range(rounds)]
    return of_pairs(name, unit, pairs, goal, rows_stored=rows_stored)


def _pair(floor: Callable[[], float], subject: Callable[[], float], floor_first: bool) -> tuple[float, float]:
    if floor_first:
        below = floor()
        return below, subject()
    above = subject()
    return floor(), above


def of_pairs(
    name: str, unit: str, pairs: Sequence[tuple[float, float]], goal: Goal | None = None, **columns: Any
) -> Row:
    """Return the row of pairs (floor, subject) that were measured in turn."""
    ratios = [subject / floor for floor, subject in pairs]
    return Row(
        name,
        unit,
        subject=median(subject for _, subject in pairs),
        floor=median(floor for floor, _ in pairs),
        ratio=median(ratios),
        spread=(min(ratios), max(ratios)),
        goal=goal,
        **columns,
    )


def of_value(name: str, unit: str, value: float, goal: Goal | None = None, **columns: Any) -> Row:
    """Return the row of a figure that has no floor: its goal is a bound on the figure itself."""
    return Row(name, unit, subject=value, floor=None, ratio=value, spread=(value, value), goal=goal, **columns)


def growth(rows: Sequence[Row]) -> str:
    """Return, as plain text, how each row that was measured at two sizes grew from the smaller to the larger."""
    at_sizes: dict[str, list[Row]] = {}
    for row in rows:
        at_sizes.setdefault(row.name, []).append(row)
    lines: list[tuple[str, ...]] = [("what", "stored", "measured", "ten times as much", "growth", "its floor's growth")]
    for name, sizes in at_sizes.items():
        if len(sizes) > 1:
            lines.append(_growth_line(name, sizes[0], sizes[-1]))
    return _columns(lines)


def _growth_line(name: str, small: Row, large: Row) -> tuple[str, ...]:
    floor = f"{large.floor / small.floor:.2f}" if small.floor and large.floor else "-"
    stored = f"{small.rows_stored:,} to {large.rows_stored:,}"
    figures = f"{small.subject:,.2f} {small.unit}", f"{large.subject:,.2f} {large.unit}"
    # Of nothing left behind there is no multiple
    subject = f"{large.subject / small.subject:.2f}" if small.subject else "-"
    return name, stored, *figures, subject, floor


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest of `values` that is not below `percent` of them."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(percent / 100 * len(ordered)))]


def table(rows: Sequence[Row]) -> str:
    """Return the rows as plain text, in columns."""
    head = ("what", "stored", "measured", "floor", "ratio", "from to", "goal", "")
    return _columns([head, *(_line(row) for row in rows)])


def remarks(rows: Sequence[Row]) -> str:
    """Return what was noted of the rows beside their figures, a line each."""
    return "\n".join(f"  {row.name}: {name} {value}" for row in rows for name, value in row.notes.items())


def _columns(lines: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(line.rstrip() for line in padded)


def _line(row: Row) -> tuple[str, ...]:
    floor, ratio, spread = "-", "-", "-"
    if row.floor is not None:
        floor, ratio, spread = f"{row.floor:,.2f}", f"{row.ratio:.2f}", f"{row.spread[0]:.2f} {row.spread[1]:.2f}"
    stored = f"{row.rows_stored:,}" if row.rows_stored else "-"
    return (
        row.name,
        stored,
        f"{row.subject:,.2f} {row.unit}",
        floor,
        ratio,
        spread,
        str(row.goal or "-"),
        row.verdict,
    )
