"""Serve a chart: what the store has of a span, and what it lacks from the exchange, stored on the way.

Whoever looks at a chart waits in a web process, whose threads belong to alarms. So a call asks for ten thousand candles
at most, a page at a time, and stops after some seconds; only a few ask at once, and an exchange that did not answer is
left alone for a moment. What was not fetched is said. Any number of callers may ask for the same: candles are stored by
`market.ingest`, where nobody harms anybody.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from threading import BoundedSemaphore
from typing import Any, Final, NamedTuple

from django.utils import timezone
from django.utils.text import format_lazy
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from exchange.errors import ExchangeError, RateLimited, Refused, RetrySoon
from exchange.survey import sentence_for, word_for
from exchange.types import Market
from market import instruments
from market.coverage import confirmed_holes, find_gaps, first_open_from
from market.following import UnknownSeries, find_series
from market.holes import not_worth_asking
from market.models import Instrument, Kline, Series
from market.paging import MOST_A_PAGE, closed_before, exchange_now, probable_now
from market.repair import fetch
from market.sentences import told
from market.sheets import UnfitCandle
from market.spans import Span, back, common, count, questions, without
from market.symbols import AmbiguousPair
from market.writing import Written

USUAL, MOST = 500, 10_000
# Seconds after which no further page is asked for
PATIENCE = 8.0
# Seconds for which an exchange that did not answer is left alone
REST = 5.0
MOST_AT_ONCE = 3
FINAL = ("exchange_refused", "exchange_unreadable")


class Trouble(NamedTuple):
    """Why candles were not fetched: a machine word, a sentence, and when asking again may help."""

    reason: str
    detail: Any
    retry_at: datetime | None = None


NOT_THERE: Final = Trouble("not_at_exchange", _("The exchange answered without them; they are asked for again."))
OVER_THE_LIMIT: Final = Trouble(
    "limit", format_lazy(_("More than {most} candles: ask for the rest by its dates."), most=MOST)
)
OUT_OF_TIME: Final = Trouble("out_of_time", _("The exchange was slow: ask again for the rest."))
CROWDED: Final = Trouble("crowded", _("Others are being served: ask again for what is missing."))


class Wish(NamedTuple):
    """From when on, before when, and how many candles; each may be left out."""

    start: datetime | None = None
    end: datetime | None = None
    limit: int | None = None


@dataclass(frozen=True)
class Chart:
    """Candles as written JSON, oldest first; what is missing of the span and why, and what the exchange lacks."""

    series: Series
    span: Span
    rows: list[str]
    missing: list[tuple[Span, Trouble]]
    holes: list[Span]
    trouble: Trouble | None


class Exchange:
    """The way to the exchange for this process's charts: few at once, and none for a moment after it failed."""

    def __init__(self) -> None:
        self.places = BoundedSemaphore(MOST_AT_ONCE)
        self._closed_until = 0.0
        self._because: Trouble | None = None

    def closed_because(self) -> Trouble | None:
        """Return why nobody is to be asked now; None when somebody may."""
        return self._because if time.monotonic() < self._closed_until else None

    def note(self, error: ExchangeError | UnfitCandle) -> Trouble:
        """Return an error as the caller is told; a silent exchange is left alone for a moment."""
        trouble = trouble_of(error)
        if not isinstance(error, UnfitCandle | Refused) or isinstance(error, RateLimited | RetrySoon):
            self._because, self._closed_until = trouble, time.monotonic() + REST
        return trouble


_exchange = Exchange()


def trouble_of(error: ExchangeError | UnfitCandle) -> Trouble:
    """Return an error as whoever asked for a chart is told."""
    if isinstance(error, UnfitCandle):
        return Trouble(
            "exchange_unreadable", _("What the exchange sent cannot be stored: %(error)s.") % {"error": error}
        )
    return Trouble(word_for(error), sentence_for(error), getattr(error, "retry_at", None))


def series_of(symbol: str, market: str, interval: str) -> Series:
    """Return the series of a symbol in BingX's or TradingView's spelling; made when it is new.

    Raises UnknownSeries, and an exchange's error when its list was never read and cannot be read now.
    """
    if not Instrument.objects.filter(market=market).exists():
        instruments.refresh(Market(market))
    try:
        listed = instruments.symbol_as_written(symbol, market)
    except AmbiguousPair as error:
        raise UnknownSeries(told(error.args[0], gettext)) from None
    if listed is None:
        raise UnknownSeries(
            _("%(market)s lists no %(symbol)s; write BTC-USDT or BTCUSDT.P") % {"market": market, "symbol": symbol}
        )
    return find_series(market, listed, interval)


def draw(series: Series, wish: Wish) -> Chart:
    """Return a chart of closed candles, after fetching what the store lacks; never fails because of the exchange."""
    now, trouble = _time()
    span, cut = span_of(wish, series.interval, now)
    gaps = find_gaps(series, span)
    if gaps:
        trouble = trouble or _fill(series, without(gaps, not_worth_asking(series, span, now)), now)
        gaps = find_gaps(series, span)
    holes = common(gaps, confirmed_holes(series, span)) if gaps else []
    missing = [(gap, trouble or NOT_THERE) for gap in without(gaps, holes)]
    missing += [(cut, OVER_THE_LIMIT)] if cut.start < cut.stop else []
    return Chart(series, span, written(series, span), missing, holes, trouble)


def span_of(wish: Wish, interval: str, now: datetime) -> tuple[Span, Span]:
    """Return what to answer, and what is wanted too but beyond what one answer holds.

    With a start: the oldest candles from it on. Without one: the newest up to the end. Never one that has not closed.
    """
    closed = closed_before(interval, now)
    stop = min(first_open_from(wish.end, interval), closed) if wish.end else closed
    if wish.start is None:
        return Span(back(stop, interval, wish.limit or USUAL), stop), Span(stop, stop)
    start = min(first_open_from(wish.start, interval), stop)
    most = wish.limit or (MOST if wish.end else USUAL)
    whole = Span(start, stop)
    told = Span(start, back(start, interval, -most)) if count(whole, interval) > most else whole
    is_cut = wish.limit is None and wish.end is not None
    return told, Span(told.stop, stop if is_cut else told.stop)


def written(series: Series, span: Span) -> list[str]:
    """Return the candles of a span as the database writes them, oldest first."""
    rows = Kline.objects.filter(series=series, open_time__gte=span.start, open_time__lt=span.stop)
    return list(rows.order_by("open_time").values_list(Written(), flat=True))


def _time() -> tuple[datetime, Trouble | None]:
    """Return the exchange's time, and why it could not be asked."""
    closed = _exchange.closed_because()
    if closed:
        return probable_now(), closed
    try:
        return exchange_now(), None
    except ExchangeError as error:
        return probable_now(), _exchange.note(error)


def _fill(series: Series, gaps: list[Span], now: datetime) -> Trouble | None:
    """Fetch what is missing; return why some of it was not."""
    if not gaps:
        return None
    if not _exchange.places.acquire(blocking=False):
        return CROWDED
    try:
        return _fetch(series, list(_pages(gaps, series.interval)), now)
    finally:
        _exchange.places.release()


def _fetch(series: Series, asked: list[Span], now: datetime) -> Trouble | None:
    deadline = time.monotonic() + PATIENCE
    for span in asked:
        if time.monotonic() >= deadline:
            return OUT_OF_TIME
        try:
            fetch(series, [span], now)
        except (ExchangeError, UnfitCandle) as error:
            return _exchange.note(error)
    return None


def _pages(gaps: list[Span], interval: str) -> Iterator[Span]:
    """Yield what to ask for, newest first, each no longer than a page: what came is stored before the next."""
    for start, stop in questions(gaps, interval, MOST_A_PAGE):
        while start < stop:
            bottom = max(start, back(stop, interval, MOST_A_PAGE))
            yield Span(bottom, stop)
            stop = bottom


def seconds_until(moment: datetime | None) -> float | None:
    """Return how long it is until then; None when nobody said when."""
    return max((moment - timezone.now()).total_seconds(), 1) if moment else None
