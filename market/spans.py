"""Stretches of time, half open: from a first open time to before another. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from market.intervals import MONTH, duration, next_open


class Span(NamedTuple):
    """From `start` to before `stop`; aware UTC, both on the grid of an interval."""

    start: datetime
    stop: datetime


def merged(spans: Iterable[Span]) -> list[Span]:
    """Return the same time in as few spans as can be, oldest first; empty ones vanish."""
    found: list[Span] = []
    for span in sorted(span for span in spans if span.start < span.stop):
        if found and span.start <= found[-1].stop:
            found[-1] = Span(found[-1].start, max(found[-1].stop, span.stop))
        else:
            found.append(span)
    return found


def common(spans: Iterable[Span], others: Iterable[Span]) -> list[Span]:
    """Return the time that lies in both, oldest first."""
    others = list(others)
    return merged(Span(max(a.start, b.start), min(a.stop, b.stop)) for a in spans for b in others)


def without(spans: Iterable[Span], others: Iterable[Span]) -> list[Span]:
    """Return the time of `spans` that lies in none of `others`, oldest first."""
    left = merged(spans)
    for other in merged(others):
        before = [Span(span.start, min(span.stop, other.start)) for span in left]
        after = [Span(max(span.start, other.stop), span.stop) for span in left]
        left = merged(before + after)
    return left


def count(span: Span, interval: str) -> int:
    """Return how many candles open in the span."""
    if interval != MONTH:
        return max((span.stop - span.start) // duration(interval), 0)
    months = (span.stop.year - span.start.year) * 12 + span.stop.month - span.start.month
    return max(months, 0)


def back(moment: datetime, interval: str, candles: int) -> datetime:
    """Return the open time that lies so many candles before this one."""
    if interval != MONTH:
        return moment - candles * duration(interval)
    years, month = divmod(moment.year * 12 + moment.month - 1 - candles, 12)
    return moment.replace(year=years, month=month + 1)


def questions(gaps: Iterable[Span], interval: str, most: int) -> list[Span]:
    """Return what to ask for so that every gap is covered, newest first: near gaps share one page of `most` candles.

    A gap longer than a page stays whole: it is asked for page by page.
    """
    asked: list[Span] = []
    for gap in reversed(merged(gaps)):
        if asked and count(Span(gap.start, asked[-1].stop), interval) <= most:
            asked[-1] = Span(gap.start, asked[-1].stop)
        else:
            asked.append(gap)
    return asked


def is_next(moment: datetime, following: datetime, interval: str) -> bool:
    """Tell whether no candle lies between these two open times."""
    return next_open(moment, interval) == following
