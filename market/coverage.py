"""Say what is stored of a series and what is missing, without reading its candles into memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.db.models import F, Max, Min, Q, Window
from django.db.models.functions import Lead

from market.intervals import MONTH, duration, floor
from market.models import Kline, KlineHole, Series
from market.paging import closed_before, probable_now
from market.spans import Span, back, count, merged, without

# Gaps are looked for in pieces of so many candles: a window function over millions of rows would fill the disk
A_PIECE = 50_000


@dataclass(frozen=True)
class Coverage:
    """What we have of a series between two open times; `missing` are gaps, `holes` what the exchange itself lacks."""

    span: Span
    first: datetime | None
    last: datetime | None
    candles: int
    missing: list[Span]
    missing_candles: int
    holes: list[Span]

    @property
    def is_complete(self) -> bool:
        return not self.missing


def coverage(series: Series, *, since: datetime | None = None, until: datetime | None = None) -> Coverage:
    """Return what is stored of a series from when to when, how many candles, and which are missing.

    Without bounds: from where it is wanted, else from its oldest candle, to the newest one that has closed by now.
    """
    span = wanted_span(series, since=since, until=until)
    gaps = find_gaps(series, span)
    holes = confirmed_holes(series, span)
    missing = without(gaps, holes)
    stored = Kline.objects.filter(series=series, open_time__gte=span.start, open_time__lt=span.stop)
    ends = stored.aggregate(first=Min("open_time"), last=Max("open_time"))
    lacking = sum(count(gap, series.interval) for gap in gaps)
    return Coverage(
        span=span,
        first=ends["first"],
        last=ends["last"],
        candles=count(span, series.interval) - lacking,
        missing=missing,
        missing_candles=sum(count(gap, series.interval) for gap in missing),
        holes=holes,
    )


def wanted_span(series: Series, *, since: datetime | None = None, until: datetime | None = None) -> Span:
    """Return from when to when a series should have every candle, on its grid; nothing that has not closed."""
    closed = closed_before(series.interval, probable_now())
    stop = min(first_open_from(until, series.interval), closed) if until else closed
    since = since or series.wanted_since or series.first_open_time
    start = first_open_from(since, series.interval) if since else stop
    return Span(min(start, stop), stop)


def first_open_from(moment: datetime, interval: str) -> datetime:
    """Return the first open time that is not before this moment."""
    open_time = floor(moment, interval)
    return open_time if open_time == moment else back(open_time, interval, -1)


def find_gaps(series: Series, span: Span) -> list[Span]:
    """Return where candles are missing in the span, oldest first, be it by our fault or the exchange's."""
    return merged(gap for piece in _pieces(span, series.interval) for gap in _gaps_of_piece(series, piece))


def confirmed_holes(series: Series, span: Span) -> list[Span]:
    """Return what the exchange itself lacks in the span, as far as we believe it."""
    found = KlineHole.objects.filter(series=series, start__lt=span.stop, stop__gt=span.start)
    believed = found.filter(confirmed_at__isnull=False).values_list("start", "stop")
    return merged(Span(max(start, span.start), min(stop, span.stop)) for start, stop in believed)


def _pieces(span: Span, interval: str) -> Iterator[Span]:
    start = span.start
    while start < span.stop:
        stop = min(back(start, interval, -A_PIECE) if interval != MONTH else span.stop, span.stop)
        yield Span(start, stop)
        start = stop


def _gaps_of_piece(series: Series, piece: Span) -> list[Span]:
    """Count first: open times are unique and on the grid, so the right number of them leaves no room for a gap."""
    rows = Kline.objects.filter(series=series, open_time__gte=piece.start, open_time__lt=piece.stop)
    stored = rows.count()
    if stored == count(piece, series.interval):
        return []
    if not stored:
        return [piece]
    first = rows.aggregate(first=Min("open_time"))["first"]
    return [Span(piece.start, first), *_gaps_between(series, piece)]


def _gaps_between(series: Series, piece: Span) -> list[Span]:
    """Return the gaps that begin after a stored candle of the piece."""
    rows = Kline.objects.filter(series=series, open_time__gte=piece.start, open_time__lt=piece.stop)
    rows = rows.annotate(following=Window(Lead("open_time"), order_by="open_time"))
    if series.interval != MONTH:
        rows = rows.filter(Q(following=None) | ~Q(following=F("open_time") + duration(series.interval)))
    found = rows.order_by("open_time").values_list("open_time", "following")
    ends = ((back(open_time, series.interval, -1), following or piece.stop) for open_time, following in found)
    return [Span(start, stop) for start, stop in ends if start < stop]
