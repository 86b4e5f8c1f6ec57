"""Remember what the exchange itself does not have, so that it is not asked for again and again.

A hole is seen when an answer that covers it lacks it, and confirmed when that happens again a while later: a single
answer may be a fault of the moment. What was confirmed is asked for again from time to time, and given up as soon as
the exchange has it after all.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from market.coverage import find_gaps
from market.models import KlineHole, Series
from market.spans import Span, common, merged, without

BEFORE_CONFIRMING = timedelta(minutes=2)
BEFORE_ASKING_AGAIN = timedelta(days=1)


class Times(NamedTuple):
    """When a hole was first seen, last asked for, and confirmed."""

    seen_at: datetime
    asked_at: datetime
    confirmed_at: datetime | None


Piece = tuple[Span, Times]


def holes_in(series: Series, span: Span) -> list[KlineHole]:
    """Return the holes that overlap or touch the span."""
    return list(KlineHole.objects.filter(series=series, start__lte=span.stop, stop__gte=span.start))


def not_worth_asking(series: Series, span: Span, now: datetime) -> list[Span]:
    """Return the holes that we believe in and asked for not long ago."""
    return merged(span_of(hole) for hole in holes_in(series, span) if not _is_due(hole, now))


def due(series: Series, span: Span, now: datetime) -> list[Span]:
    """Return the holes that are to be asked for again by now."""
    return merged(span_of(hole) for hole in holes_in(series, span) if _is_due(hole, now))


def _is_due(hole: KlineHole, now: datetime) -> bool:
    return hole.confirmed_at is None or now >= hole.asked_at + BEFORE_ASKING_AGAIN


def remember(series: Series, asked: Iterable[Span], now: datetime) -> None:
    """Write down what the exchange was just asked for and did not have; call it in the transaction that stores.

    What was a hole before keeps the time when it was first seen, and is confirmed when that was long enough ago.
    """
    for span in merged(asked):
        gaps = find_gaps(series, span)
        known = holes_in(series, span)
        if gaps or known:
            _write(series, known, _after_asking(span, gaps, known, now))


def heal(series: Series, stored: Span) -> None:
    """Cut what was stored just now out of the holes that we believed in."""
    known = holes_in(series, stored)
    if known:
        left = [(gap, _times(hole)) for hole in known for gap in find_gaps(series, span_of(hole))]
        _write(series, known, left)


def _after_asking(asked: Span, gaps: list[Span], known: list[KlineHole], now: datetime) -> list[Piece]:
    """Return what is left of the known holes, and the new ones, after an answer that left these gaps."""
    left = [(span, _times(hole)) for hole in known for span in without([span_of(hole)], [asked])]
    for hole in known:
        is_old = now >= hole.seen_at + BEFORE_CONFIRMING
        times = Times(hole.seen_at, now, hole.confirmed_at or (now if is_old else None))
        left += [(span, times) for span in common([span_of(hole)], gaps)]
    return left + [(span, Times(now, now, None)) for span in without(gaps, map(span_of, known))]


def _write(series: Series, known: list[KlineHole], left: list[Piece]) -> None:
    KlineHole.objects.filter(pk__in=[hole.pk for hole in known]).delete()
    KlineHole.objects.bulk_create(
        KlineHole(series=series, start=span.start, stop=span.stop, **times._asdict()) for span, times in _joined(left)
    )


def _joined(pieces: list[Piece]) -> list[Piece]:
    """Join confirmed neighbours: a symbol that is no longer traded must not leave a row a minute."""
    found: list[Piece] = []
    for span, times in sorted(pieces, key=lambda piece: piece[0]):
        before, earlier = found[-1] if found else (None, times)
        if before and before.stop == span.start and earlier.confirmed_at and times.confirmed_at:
            found[-1] = (Span(before.start, span.stop), _earliest(earlier, times))
        else:
            found.append((span, times))
    return found


def _earliest(one: Times, other: Times) -> Times:
    confirmed = [moment for moment in (one.confirmed_at, other.confirmed_at) if moment]
    return Times(min(one.seen_at, other.seen_at), min(one.asked_at, other.asked_at), min(confirmed, default=None))


def _times(hole: KlineHole) -> Times:
    return Times(hole.seen_at, hole.asked_at, hole.confirmed_at)


def span_of(hole: KlineHole) -> Span:
    return Span(hole.start, hole.stop)
