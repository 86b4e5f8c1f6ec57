"""Say of many series at once what is stored and what is missing, from small tables: no count over millions of candles.

What a finished backfill or the hourly check went through needs no counting: it is there, but for the holes that were
written down. Only what nobody went through is looked at, and only while it is short. `market.coverage` counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from market.coverage import A_PIECE, find_gaps, first_open_from
from market.intervals import next_open
from market.models import Backfill, KlineHole, Series
from market.paging import closed_before, probable_now
from market.spans import Span, common, count, merged, without


@dataclass(frozen=True)
class Summary:
    """What we have of a series; `unknown` is where nobody looked: its candles are neither counted nor missing."""

    span: Span
    candles: int
    missing: list[Span]
    missing_candles: int
    holes: list[Span]
    unknown: list[Span]

    @property
    def is_exact(self) -> bool:
        return not self.unknown

    @property
    def is_complete(self) -> bool:
        return self.is_exact and not self.missing


def summaries(found: Sequence[Series]) -> dict[int, Summary]:
    """Return each series' summary by its key: three queries, and two for each with a short stretch to look at."""
    now = probable_now()
    backfills, holes = _by_series(Backfill.objects.filter(series__in=found)), _holes(found)
    return {series.pk: _summary(series, now, backfills[series.pk], holes[series.pk]) for series in found}


def span_of(series: Series, now: datetime) -> Span:
    """Return from when to when a series should have every candle; one that nobody follows ends with its last one."""
    since = series.wanted_since or series.first_open_time
    if since is None:
        return Span(now, now)
    start, closed = first_open_from(since, series.interval), closed_before(series.interval, now)
    if not series.is_followed:
        closed = next_open(series.last_open_time, series.interval) if series.last_open_time else start
    return Span(min(start, closed), closed)


def _summary(series: Series, now: datetime, backfills: list[Backfill], holes: list[KlineHole]) -> Summary:
    span = span_of(series, now)
    unseen = without([span], _gone_through(series, span, backfills))
    is_short = sum(count(each, series.interval) for each in unseen) <= A_PIECE
    looked_at = [gap for each in unseen for gap in find_gaps(series, each)] if is_short else []
    unknown = [] if is_short else unseen
    lacking = without(common([span], [*looked_at, *(Span(hole.start, hole.stop) for hole in holes)]), unknown)
    believed = common(lacking, [Span(hole.start, hole.stop) for hole in holes if hole.confirmed_at])
    missing = without(lacking, believed)
    return Summary(
        span=span,
        candles=count(span, series.interval) - _candles(lacking, series) - _candles(unknown, series),
        missing=missing,
        missing_candles=_candles(missing, series),
        holes=believed,
        unknown=unknown,
    )


def _gone_through(series: Series, span: Span, backfills: list[Backfill]) -> list[Span]:
    """Return where every candle is stored but for the holes that were written down."""
    checked = [Span(span.start, series.complete_until)] if series.is_followed and series.complete_until else []
    return merged([*checked, *(Span(each.cursor, each.until) for each in backfills)])


def _candles(spans: Iterable[Span], series: Series) -> int:
    return sum(count(span, series.interval) for span in spans)


def _by_series(rows: Iterable[Backfill]) -> dict[int, list[Backfill]]:
    found: dict[int, list[Backfill]] = defaultdict(list)
    for row in rows:
        found[row.series_id].append(row)
    return found


def _holes(series: Sequence[Series]) -> dict[int, list[KlineHole]]:
    found: dict[int, list[KlineHole]] = defaultdict(list)
    for hole in KlineHole.objects.filter(series__in=series):
        found[hole.series_id].append(hole)
    return found
