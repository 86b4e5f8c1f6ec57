"""Pages of candles as BingX serves them: newest first, at most 1,000, the rows nearest the end of the range."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import NamedTuple

from exchange.paper.instruments import LAUNCHED_MS
from exchange.paper.prices import SECONDS_OF_LEVEL, Path, merge
from exchange.paper.walks import Candle

CAP = 1000
HOUR = 3600
# Level of the path and how many of its candles make one.
GROUPS = {
    "1m": (6, 1),
    "3m": (6, 3),
    "5m": (5, 1),
    "15m": (4, 1),
    "30m": (3, 1),
    "1h": (2, 1),
    "2h": (1, 1),
    "4h": (1, 2),
    "6h": (1, 3),
    "8h": (1, 4),
    "12h": (1, 6),
    "1d": (0, 1),
    "3d": (0, 3),
    "1w": (0, 7),
    "1M": (0, 0),
}
# 1970-01-01 was a Thursday: weeks open on Mondays, three days later than the epoch's own count would have it.
WEEK_ANCHOR = 4 * 86_400


class Bar(NamedTuple):
    """One candle with its first and last second (excluded)."""

    start: int
    stop: int
    candle: Candle


def _month(index: int, zone: int) -> int:
    year, month = divmod(index, 12)
    return int(datetime(1970 + year, month + 1, 1, tzinfo=UTC).timestamp()) - zone


def open_of(interval: str, index: int, zone: int = 0) -> int:
    """Return the second in which candle number `index` of an interval opens; `zone` shifts days, in seconds."""
    level, count = GROUPS[interval]
    if interval == "1M":
        return _month(index, zone)
    size = SECONDS_OF_LEVEL[level] * count
    anchor = WEEK_ANCHOR if interval == "1w" else 0
    return index * size + anchor - (zone if size >= 12 * HOUR else 0)


def _edges(interval: str, first: int, stop: int, zone: int) -> Sequence[int]:
    """Return the opening seconds of the candles `first` to `stop`, this one included."""
    level, count = GROUPS[interval]
    if interval == "1M":
        return [open_of(interval, index, zone) for index in range(first, stop + 1)]
    size = SECONDS_OF_LEVEL[level] * count
    start = open_of(interval, first, zone)
    return range(start, start + (stop - first + 1) * size, size)


def index_at(interval: str, second: int, zone: int = 0) -> int:
    """Return the number of the candle of an interval that contains a second."""
    level, count = GROUPS[interval]
    if interval == "1M":
        moment = datetime.fromtimestamp(second + zone, UTC)
        return (moment.year - 1970) * 12 + moment.month - 1
    return (second - open_of(interval, 0, zone)) // (SECONDS_OF_LEVEL[level] * count)


def _closed(path: Path, interval: str, edges: Sequence[int]) -> list[Candle]:
    """Return the finished candles between these edges, oldest first."""
    level = GROUPS[interval][0]
    # Shifted days are no days of the path: build them from its two-hour candles.
    if level == 0 and edges[0] % 86_400:
        level = 1
    size = SECONDS_OF_LEVEL[level]
    base = edges[0] // size
    parts = path.candles(level, base, edges[-1] // size)
    if len(parts) == len(edges) - 1:
        return parts
    cuts = [edge // size - base for edge in edges]
    return [merge(parts[start:stop]) for start, stop in pairwise(cuts)]


def page(
    path: Path, interval: str, begin_ms: int | None, end_ms: int | None, limit: int, now_ms: int, zone: int = 0
) -> list[Bar]:
    """Return the bars that open in [begin_ms, end_ms), newest first, the running one included."""
    now = now_ms // 1000
    end_ms = None if end_ms is None else min(end_ms, now_ms + 1)
    begin_ms = min(begin_ms or 0, now_ms + 1)
    current = index_at(interval, now, zone)
    last = current if end_ms is None else min(current, index_at(interval, (end_ms - 1) // 1000, zone))
    first = index_at(interval, (max(LAUNCHED_MS, begin_ms) - 1) // 1000, zone) + 1
    first = max(first, last - min(limit, CAP) + 1)
    if first > last:
        return []
    edges = _edges(interval, first, last + 1, zone)
    candles = _closed(path, interval, edges if last < current else edges[:-1]) if first < current else []
    if last == current:
        candles = [*candles, path.running(edges[-2], now)]
    bars: list[Bar] = [tuple.__new__(Bar, bar) for bar in zip(edges, edges[1:], candles, strict=False)]
    bars.reverse()
    return bars


def close_at(bars: list[Bar], pinned: int | None, now_ms: int) -> list[Bar]:
    """Let the running bar, if the page has it, close at a pinned price: the ticker and the newest candle agree.

    Closed bars stay those of the path, whatever was pinned while they ran.
    """
    if pinned is None or not bars or bars[0].stop * 1000 <= now_ms:
        return bars
    start, stop, candle = bars[0]
    high, low = max(candle.high, pinned), min(candle.low, pinned)
    return [Bar(start, stop, candle._replace(high=high, low=low, close=pinned)), *bars[1:]]
