"""Check candles and write them down as the database reads them: one line each, exact, thousands at a time. Pure.

Nothing that a column would round, cut or misread comes through. A candle's line is its open time in seconds since 1970,
open, high, low, close and volume, with tabs between: times stay whole numbers because a million of them as datetimes
would cost more than everything else that is done with a candle.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Final, NamedTuple

from exchange.rounding import plain
from exchange.types import KlineText
from market.intervals import MONTH, duration, floor, is_on_grid

# As in Kline's columns: 28 digits, 12 of them after the point
PLACES, WHOLE_DIGITS = 12, 16

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_FITTING = rf"[0-9]{{1,{WHOLE_DIGITS}}}+(?:\.[0-9]{{1,{PLACES}}}+)?+"
_NUMBER = re.compile(_FITTING)
_WRITTEN = re.compile(r"[+-]?[0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,3})?")
_LINES = re.compile(rf"(?:[0-9]++(?:\t{_FITTING}){{5}}\n)*+")


class UnfitCandle(ValueError):
    """A candle that cannot be stored as it came: off its interval's grid, not closed, no number, or too many digits."""


class Sheet(NamedTuple):
    """Checked candles, oldest first; `stop` is just after the last one's open time. An empty one has no lines."""

    lines: str
    candles: int
    start: datetime
    stop: datetime


def write_sheet(rows: Sequence[KlineText], interval: str, closed_before: datetime) -> Sheet:
    """Write candles down, oldest first and each once. Raises UnfitCandle; `closed_before` may still change itself."""
    times = [row[0] for row in rows]
    _require_order(times)
    _require_closed(times, closed_before)
    _require_grid(times, interval)
    lines = _lines(rows)
    if not _LINES.fullmatch(lines) or lines.count("\n") != len(rows):
        lines = _lines(
            [(t, fitting(o), fitting(h), fitting(low), fitting(c), fitting(v)) for t, o, h, low, c, v in rows]
        )
    return Sheet(lines, len(rows), _moment(times[0]), _moment(times[-1] + 1)) if rows else EMPTY


def _lines(rows: Sequence[KlineText]) -> str:
    return "".join([f"{t // 1000}\t{o}\t{h}\t{low}\t{c}\t{v}\n" for t, o, h, low, c, v in rows])


def _fitting_row(row: KlineText) -> KlineText:
    opened, *numbers = row
    first, high, low, last, volume = map(fitting, numbers)
    return opened, first, high, low, last, volume


def fitting(text: str) -> str:
    """Return a number in plain digits that its column keeps exactly. Raises UnfitCandle."""
    try:
        # Decimal alone would also take "1_0" and the digits of other alphabets
        number = plain(Decimal(text)) if _WRITTEN.fullmatch(text) else ""
    except (ValueError, InvalidOperation):
        number = ""
    if not number:
        raise UnfitCandle(f"{text[:40]!a} is no number of ordinary size")
    if not _NUMBER.fullmatch(number):
        raise UnfitCandle(f"{number[:60]} does not fit: {WHOLE_DIGITS} digits before the point and {PLACES} after it")
    return number


def joined(sheets: Sequence[Sheet]) -> Sheet:
    """Return several sheets, which must not overlap, as one."""
    found = sorted((sheet for sheet in sheets if sheet.candles), key=lambda sheet: sheet.start)
    if not found:
        return EMPTY
    lines = "".join([sheet.lines for sheet in found])
    return Sheet(lines, sum(sheet.candles for sheet in found), found[0].start, found[-1].stop)


def cells(sheet: Sheet) -> list[list[str]]:
    """Return the lines, each cut into its six texts."""
    return [line.split("\t") for line in sheet.lines.splitlines()]


def _require_order(times: list[int]) -> None:
    if times != sorted(set(times)):
        raise UnfitCandle("candles are out of order or repeated")


def _require_closed(times: Sequence[int], closed_before: datetime) -> None:
    if times and _moment(times[-1]) >= closed_before:
        raise UnfitCandle(f"the candle of {_moment(times[-1]):%Y-%m-%d %H:%M} has not closed yet")


def _require_grid(times: Sequence[int], interval: str) -> None:
    if interval == MONTH:
        odd = [each for each in times if not is_on_grid(_moment(each), interval)]
    else:
        step, origin = duration(interval) // _MILLISECOND, (floor(_EPOCH, interval) - _EPOCH) // _MILLISECOND
        odd = [each for each in times if (each - origin) % step]
    if odd:
        raise UnfitCandle(f"no candle of {interval} opens at {_moment(odd[0]).isoformat()}")


def _moment(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)


EMPTY: Final = Sheet("", 0, _EPOCH, _EPOCH)
