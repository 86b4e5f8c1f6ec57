"""Bring a series level with the exchange: fetch new candles, and what is missing among the old ones.

Costs no request while no new candle has closed and nothing is missing, and one for each thousand missing candles:
near gaps share a page. Any number of repairs may run at once, and each may be killed anywhere: what was committed is
right, and the next one goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.utils import timezone

from market import holes
from market.coverage import find_gaps, first_open_from
from market.ingest import Ingest
from market.models import Series
from market.paging import MOST_A_PAGE, Page, closed_before, exchange_now, pages
from market.spans import Span, back, common, merged, questions, without

# The whole of a series is gone through so often; in between only what is new
BEFORE_CHECKING = timedelta(hours=1)
# So many stored candles are asked for again with every new one: exchanges correct late, and it costs no request
OVERLAP = 10
# What a series that says no more gets at first
FIRST_CANDLES = MOST_A_PAGE
A_CHUNK = 20


@dataclass
class Repaired:
    """What one repair did."""

    requests: int = 0
    candles: int = 0


Act = Callable[[Series], Repaired]


def repair(series: Series, *, thoroughly: bool = False, now: datetime | None = None) -> Repaired:
    """Fetch what a series lacks up to the newest closed candle; `thoroughly` doubts everything that we believe.

    That is: all of the range is gone through, and the exchange asked again for holes that were confirmed. `now` is the
    exchange's time. Raises an exchange's error or UnfitCandle; what was stored before it stays.
    """
    now = now or exchange_now()
    series.refresh_from_db()
    span = wanted(series, now)
    is_whole = thoroughly or _is_to_be_checked(series, span, now)
    looked_at = span if is_whole else Span(max(span.start, series.complete_until or span.start), span.stop)
    asked = _to_ask_for(series, span, looked_at, now, thoroughly)
    done = fetch(series, asked, now)
    _note(series, span.stop, now if is_whole else None)
    return done


def confirm(series: Series, *, now: datetime | None = None) -> Repaired:
    """Ask again for the holes of a series that are due, and for nothing else."""
    now = now or exchange_now()
    everything = Span(datetime.min.replace(tzinfo=UTC), now)
    return fetch(series, questions(holes.due(series, everything, now), series.interval, MOST_A_PAGE), now)


def wanted(series: Series, now: datetime) -> Span:
    """Return from when to when the series should be complete at this moment of the exchange's clock."""
    stop = closed_before(series.interval, now)
    since = series.wanted_since or series.first_open_time or back(stop, series.interval, FIRST_CANDLES)
    return Span(min(first_open_from(since, series.interval), stop), stop)


def _is_to_be_checked(series: Series, span: Span, now: datetime) -> bool:
    is_known = series.complete_until and series.complete_until > span.start
    return not is_known or series.checked_at is None or now >= series.checked_at + BEFORE_CHECKING


def _to_ask_for(series: Series, span: Span, looked_at: Span, now: datetime, thoroughly: bool) -> list[Span]:
    """Return the questions, newest first, each at most a page but for long gaps."""
    gaps = find_gaps(series, looked_at)
    if not thoroughly:
        gaps = without(gaps, holes.not_worth_asking(series, looked_at, now))
        gaps = merged(gaps + common(holes.due(series, span, now), [span]))
    return _with_overlap(questions(gaps, series.interval, MOST_A_PAGE), series, span)


def _with_overlap(asked: list[Span], series: Series, span: Span) -> list[Span]:
    """Let the question for the newest candles, if there is one, begin a few candles earlier."""
    if not asked or asked[0].stop != span.stop:
        return asked
    start = max(back(asked[0].start, series.interval, OVERLAP), span.start)
    return [Span(start, span.stop), *asked[1:]]


def fetch(series: Series, asked: list[Span], now: datetime) -> Repaired:
    """Ask for these spans, which must have closed, store what comes and remember what does not."""
    done, ingest = Repaired(), Ingest(series)
    for span in asked:
        chunk: list[Page] = []
        for page in pages(series, span, ingest.stamp):
            done.requests += 1
            chunk.append(page)
            if len(chunk) == A_CHUNK:
                done.candles += _store(ingest, chunk, now)
                chunk = []
        if chunk:
            done.candles += _store(ingest, chunk, now)
    return done


def _store(ingest: Ingest, chunk: list[Page], now: datetime) -> int:
    """Store a chunk, and what the answers did not have although they cover it."""
    answered = Span(chunk[-1].span.start, chunk[0].span.stop)
    return ingest.store(chunk, also=lambda: holes.remember(ingest.series, [answered], now))


def _note(series: Series, complete_until: datetime, checked_at: datetime | None) -> None:
    """Keep that nothing is missing now but what the exchange lacks; unless somebody wanted more meanwhile."""
    columns = {"repaired_at": timezone.now(), "last_error": ""} | ({"checked_at": checked_at} if checked_at else {})
    Series.objects.filter(pk=series.pk).update(**columns)
    same = Series.objects.filter(pk=series.pk, wanted_since=series.wanted_since)
    same.update(complete_until=complete_until)
