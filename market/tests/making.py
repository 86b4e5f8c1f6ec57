"""Makers of series and candles for tests; no exchange is asked."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from market.ingest import Ingest
from market.intervals import duration
from market.models import Backfill, KlineHole, Series
from market.paging import Page
from market.sheets import write_sheet
from market.spans import Span

HOUR = timedelta(hours=1)
T0 = datetime(2024, 1, 1, tzinfo=UTC)


def make_series(symbol: str = "BTC-USDT", interval: str = "1m", market: str = "usdtm", **columns: Any) -> Series:
    return Series.objects.create(market=market, symbol=symbol, interval=interval, **columns)


def make_klines(
    series: Series, candles: int, *, start: datetime = T0, volume: Callable[[int], str] = lambda place: "0.5"
) -> None:
    """Store so many candles in a row, the way that everything stores them."""
    step = duration(series.interval)
    times = [round((start + place * step).timestamp() * 1000) for place in range(candles)]
    rows = [(ms, "10", "12.5", "9", "11.00", volume(place)) for place, ms in enumerate(times)]
    span = Span(start, start + candles * step)
    ingest = Ingest(series)
    ingest.store([Page(span, write_sheet(rows, series.interval, span.stop), ingest.stamp())])
    series.refresh_from_db()


def make_backfills(*statuses: str, candles: int = 10) -> list[Backfill]:
    """Make a series of its own, with a backfill of each status, done unless it is said, over so many hours."""
    series = make_series(f"COIN{Series.objects.count()}-USDT", "1h")
    until = T0 + candles * HOUR
    return [
        Backfill.objects.create(
            series=series, since=T0, until=until, cursor=T0 if status == "done" else until, status=status
        )
        for status in statuses or ("done",)
    ]


def make_candles() -> Series:
    """Make a series that was backfilled, and lacks a candle that the exchange does not have."""
    [row] = make_backfills("done")
    series, later = row.series, T0 + 5 * HOUR
    make_klines(series, 4)
    make_klines(series, 5, start=later)
    KlineHole.objects.create(series=series, start=later - HOUR, stop=later, seen_at=T0, asked_at=T0, confirmed_at=T0)
    return series
