"""Candle intervals: TradingView's words for them, ours, and the grid of open times that each one draws.

Ours are BingX's REST names (`1m` is a minute, `1M` a month). All open times are UTC; a week opens on Monday,
a month on its first day, and three-day candles are counted from 1970-01-01.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from market.sentences import Sentence as _

MONTH: Final = "1M"

_DURATIONS: Final = {
    "1m": timedelta(minutes=1),
    "3m": timedelta(minutes=3),
    "5m": timedelta(minutes=5),
    "15m": timedelta(minutes=15),
    "30m": timedelta(minutes=30),
    "1h": timedelta(hours=1),
    "2h": timedelta(hours=2),
    "4h": timedelta(hours=4),
    "6h": timedelta(hours=6),
    "8h": timedelta(hours=8),
    "12h": timedelta(hours=12),
    "1d": timedelta(days=1),
    "3d": timedelta(days=3),
    "1w": timedelta(weeks=1),
}

INTERVALS: Final = (*_DURATIONS, MONTH)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ORIGINS: Final = dict.fromkeys(_DURATIONS, _EPOCH) | {"1w": datetime(1970, 1, 5, tzinfo=UTC)}

# A lone "m" is missing on purpose: it could be a minute or a month. Nothing here folds case, for the same reason.
_FROM_TRADINGVIEW: Final = {
    **{interval: interval for interval in INTERVALS},
    **{interval.upper(): interval for interval in _DURATIONS if interval[-1] in "hdw"},
    **{str(_DURATIONS[interval] // timedelta(minutes=1)): interval for interval in _DURATIONS if interval != "3d"},
    "D": "1d",
    "d": "1d",
    "W": "1w",
    "w": "1w",
    "M": "1M",
}


def from_tradingview(text: str) -> str:
    """Return our interval for TradingView's `{{interval}}` (`5`, `240`, `D`, `1M`) or for one of ours.

    Raises ValueError for an interval that BingX has no candles of (`30S`, `45`, `2D`) or that nobody knows.
    """
    try:
        return _FROM_TRADINGVIEW[text]
    except KeyError:
        known = ", ".join(INTERVALS)
        raise ValueError(_("no interval %(text)s; there are %(intervals)s", text=repr(text), intervals=known)) from None


def to_tradingview(interval: str) -> str:
    """Return TradingView's `{{interval}}` for ours: `5` for 5m, `240` for 4h, `1D`, `1W`, `1M`."""
    if interval.endswith(("m", "h")):
        return str(_DURATIONS[interval] // timedelta(minutes=1))
    return interval.upper()


def duration(interval: str) -> timedelta:
    """Return how long one candle lasts; ValueError for `1M` (months differ: use `next_open`) and unknown intervals."""
    try:
        return _DURATIONS[interval]
    except KeyError:
        raise ValueError(f"interval {interval!r} has no fixed duration") from None


def floor(moment: datetime, interval: str) -> datetime:
    """Return the open time (UTC) of the candle that holds this aware moment."""
    moment = _in_utc(moment)
    if interval == MONTH:
        return moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    length = duration(interval)
    origin = _ORIGINS[interval]
    return origin + (moment - origin) // length * length


def next_open(moment: datetime, interval: str) -> datetime:
    """Return the first open time (UTC) strictly after this aware moment: of a candle's open time, its close."""
    open_time = floor(moment, interval)
    if interval == MONTH:
        return (open_time + timedelta(days=31)).replace(day=1)
    return open_time + duration(interval)


def is_on_grid(moment: datetime, interval: str) -> bool:
    """Tell whether a candle of this interval opens at exactly this aware moment."""
    return floor(moment, interval) == moment


def _in_utc(moment: datetime) -> datetime:
    if moment.tzinfo is UTC:
        return moment
    if moment.utcoffset() is None:
        raise ValueError(f"{moment.isoformat()} has no time zone")
    return moment.astimezone(UTC)
