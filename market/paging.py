"""Ask the exchange for closed candles, page by page, backwards as BingX requires it.

BingX keeps the newest 1,000 of a wide range, so the oldest candle of one answer is the end of the next question. That
skips what the exchange does not have, however long, and continues a page that came back shorter than it should.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from queue import Empty, Full, Queue
from typing import NamedTuple

from django.conf import settings
from django.utils import timezone

from exchange import clock
from exchange.bingx import MOST_KLINES
from exchange.connection import connect_for_market_data
from exchange.models import ExchangeClock
from exchange.types import KlineText, Market
from market.intervals import floor
from market.models import Series
from market.sheets import Sheet, write_sheet
from market.spans import Span

# BingX may count a candle on either side of the range among the thousand
MOST_A_PAGE = MOST_KLINES - 2
# A clock that was compared longer ago has to be compared again before we say that a candle has closed
COMPARED_LATELY = timedelta(minutes=5)
# How exactly clocks can be compared over a network
UNCERTAINTY = timedelta(seconds=1)


class Page(NamedTuple):
    """One answer: everything that the exchange has in `span`, checked; `stamp` is for `market.ingest`."""

    span: Span
    sheet: Sheet
    stamp: int


def exchange_now() -> datetime:
    """Return the exchange's time; compares the clocks when nobody did lately.

    Raises an exchange's error when it had to be asked and did not answer.
    """
    environment, now = settings.PELUSA_TRADING, timezone.now()
    lately = ExchangeClock.objects.filter(environment=environment, measured_at__gte=now - COMPARED_LATELY)
    offset_ms = lately.values_list("offset_ms", flat=True).first()
    offset = clock.measure(environment) if offset_ms is None else timedelta(milliseconds=offset_ms)
    return timezone.now() + offset


def probable_now() -> datetime:
    """Return the exchange's time as far as we know it without asking."""
    return timezone.now() + clock.known_offset(settings.PELUSA_TRADING)


def closed_before(interval: str, now: datetime) -> datetime:
    """Return the first open time whose candle may still change at this moment of the exchange's clock."""
    return floor(now - UNCERTAINTY, interval)


def ask(series: Series, span: Span) -> list[KlineText]:
    """Return the newest page of the span; may raise an exchange's error."""
    client = connect_for_market_data()
    return client.kline_texts(Market(series.market), series.symbol, series.interval, start=span.start, end=span.stop)


def pages(series: Series, span: Span, stamp: Callable[[], int]) -> Iterator[Page]:
    """Yield all that the exchange has in the span, newest page first; together they answer for the whole span.

    The span must have closed. Raises an exchange's error, or UnfitCandle.
    """
    stop = span.stop
    while stop > span.start:
        asked_at = stamp()
        # "Nothing" ends the paging, so it is heard twice before it is believed
        rows = ask(series, Span(span.start, stop)) or ask(series, Span(span.start, stop))
        sheet = write_sheet(rows, series.interval, span.stop)
        bottom = sheet.start if rows else span.start
        yield Page(Span(bottom, stop), sheet, asked_at)
        stop = bottom


@contextmanager
def ahead(found: Iterator[Page], most: int) -> Iterator[Iterator[Page]]:
    """Turn pages in a thread of their own, at most `most` ahead, while the block stores those that came before.

    An error of the exchange comes out where the pages are taken, after those that arrived. Leaving the block ends the
    thread once the page that it waits for is there.
    """
    taken: Queue[Page | BaseException | None] = Queue(maxsize=most)
    is_over = threading.Event()
    thread = threading.Thread(target=_turn, args=(found, taken, is_over), name="candles", daemon=True)
    thread.start()
    try:
        yield _arriving(taken)
    finally:
        is_over.set()
        thread.join()


def _turn(found: Iterator[Page], taken: Queue[Page | BaseException | None], is_over: threading.Event) -> None:
    last: BaseException | None = None
    try:
        for page in found:
            if not _put(page, taken, is_over):
                return
    except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that waits for the pages
        last = error
    _put(last, taken, is_over)


def _put(
    item: Page | BaseException | None, taken: Queue[Page | BaseException | None], is_over: threading.Event
) -> bool:
    """Hand an item over; False when nobody will take it any more."""
    while not is_over.is_set():
        try:
            taken.put(item, timeout=0.1)
        except Full:
            continue
        return True
    return False


def _arriving(taken: Queue[Page | BaseException | None]) -> Iterator[Page]:
    while True:
        try:
            # With a time-out, so that Ctrl-C is heard between two pages
            item = taken.get(timeout=1)
        except Empty:
            continue
        if item is None:
            return
        if isinstance(item, BaseException):
            raise item
        yield item
