"""Walk through stored candles page by page: by their key, so that the last page is as quick as the first.

Newest first within a series, and one series after the other: that is the order of the primary key, read backwards in
each series, so no page sorts and none reads more rows than it tells.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from django.db.models import QuerySet

from market.models import Kline, Series
from market.moments import read_start
from market.spans import Span
from market.writing import WrittenWithSeries, milliseconds

Way = Literal["older", "newer"]
_CURSOR = re.compile(r"(older|newer)\.([0-9]{1,5})\.([0-9]{1,13})")


class Cursor(NamedTuple):
    """What lies on one side of a candle that was told; as text `older.3.1700000000000`."""

    way: Way
    series: int
    open_time: datetime

    def __str__(self) -> str:
        return f"{self.way}.{self.series}.{milliseconds(self.open_time)}"


class KlinePage(NamedTuple):
    """Candles as written JSON, newest first within each series, and the way on to both sides."""

    rows: list[str]
    older: Cursor | None
    newer: Cursor | None


def read_cursor(text: str) -> Cursor:
    """Return the cursor. Raises ValueError for a text that is none of ours."""
    match = _CURSOR.fullmatch(text)
    if match is None:
        raise ValueError("no cursor of ours")
    way: Way = "older" if match[1] == "older" else "newer"
    return Cursor(way, int(match[2]), read_start(match[3].rjust(12, "0")))


def read_page(found: Sequence[Series], span: Span, limit: int, cursor: Cursor | None = None) -> KlinePage:
    """Return a page of the candles that these series have in the span; the series in ascending order of their ids."""
    is_back = cursor is not None and cursor.way == "newer"
    rows = _rows(found, span, limit + 1, cursor)
    has_more = len(rows) > limit
    rows = rows[:limit][::-1] if is_back else rows[:limit]
    if not rows:
        return KlinePage([], None, None)
    older = _beside("older", rows[-1]) if is_back or has_more else None
    newer = _beside("newer", rows[0]) if (has_more if is_back else cursor) else None
    return KlinePage(rows, older, newer)


def _rows(found: Sequence[Series], span: Span, most: int, cursor: Cursor | None) -> list[str]:
    """Return at most so many rows, in the direction of the cursor, series after series."""
    is_back = cursor is not None and cursor.way == "newer"
    rows: list[str] = []
    for series in found[::-1] if is_back else found:
        if len(rows) == most:
            break
        if _has_any(series, span) and _is_ahead(series, cursor):
            rows += _candles(series, span, cursor)[: most - len(rows)]
    return rows


def _has_any(series: Series, span: Span) -> bool:
    """Tell from the series' row whether it can have a candle in the span; a row that says nothing may have any."""
    first, last = series.first_open_time, series.last_open_time
    return first is None or last is None or (first < span.stop and last >= span.start)


def _is_ahead(series: Series, cursor: Cursor | None) -> bool:
    if cursor is None:
        return True
    return series.pk >= cursor.series if cursor.way == "older" else series.pk <= cursor.series


def _candles(series: Series, span: Span, cursor: Cursor | None) -> QuerySet[Kline, str]:
    """Return the series' candles of the span that the cursor has before it, nearest first."""
    rows = Kline.objects.filter(series=series, open_time__gte=span.start, open_time__lt=span.stop)
    if cursor and cursor.series == series.pk:
        beyond = {"open_time__lt" if cursor.way == "older" else "open_time__gt": cursor.open_time}
        rows = rows.filter(**beyond)
    order = "open_time" if cursor and cursor.way == "newer" else "-open_time"
    return rows.order_by(order).values_list(WrittenWithSeries(), flat=True)


def _beside(way: Way, row: str) -> Cursor:
    """Return the cursor that begins beside a written candle."""
    told = json.loads(row)
    return Cursor(way, told["series"], datetime.fromisoformat(told["open_time"]))
