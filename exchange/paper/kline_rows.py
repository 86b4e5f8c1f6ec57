"""Write candles as BingX's rows: objects of text on the perpetuals, arrays of numbers on spot.

Written by hand, in whole numbers and with tables of digits, because backfills ask for millions of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from exchange.paper.klines import Bar
from exchange.paper.prices import VOLUME_DECIMALS
from exchange.paper.wire import Raw

# A table of a million endings would cost more than it saves.
LONGEST_TABLE = 5
VOLUME_UNIT = 10**VOLUME_DECIMALS


class _Endings:
    """The decimals of a number, written when they are asked for."""

    def __init__(self, places: int) -> None:
        self._places = places

    def __getitem__(self, rest: int) -> str:
        return f".{rest:0{self._places}d}"


@cache
def endings(places: int) -> Sequence[str] | _Endings:
    """Return what stands after the whole part, point included, by the decimals as a number."""
    if places > LONGEST_TABLE:
        return _Endings(places)
    return [f".{rest:0{places}d}" for rest in range(10**places)] if places else [""]


def objects(bars: list[Bar], decimals: int, places: int) -> Raw:
    """Write rows as the perpetuals have them; prices come with `decimals` and are cut to `places`."""
    cut, unit, end, coins = 10 ** (decimals - places), 10**places, endings(places), endings(VOLUME_DECIMALS)
    rows = [
        f'{{"open":"{(o := opened // cut) // unit}{end[o % unit]}","close":"{(c := closed // cut) // unit}'
        f'{end[c % unit]}","high":"{(h := high // cut) // unit}{end[h % unit]}","low":"{(w := low // cut) // unit}'
        f'{end[w % unit]}","volume":"{volume // VOLUME_UNIT}{coins[volume % VOLUME_UNIT]}","time":{start}000}}'
        for start, _, (opened, high, low, closed, volume) in bars
    ]
    return Raw("[" + ",".join(rows) + "]")


def arrays(bars: list[Bar], decimals: int, places: int) -> Raw:
    """Write rows as spot has them: opening time, prices, volume, closing time and the volume in quote."""
    cut, unit, end, coins = 10 ** (decimals - places), 10**places, endings(places), endings(VOLUME_DECIMALS)
    money, cent = 2 * 10 ** (decimals + VOLUME_DECIMALS - 2), endings(2)
    rows = [
        f"[{start}000,{(o := opened // cut) // unit}{end[o % unit]},{(h := high // cut) // unit}{end[h % unit]},"
        f"{(w := low // cut) // unit}{end[w % unit]},{(c := closed // cut) // unit}{end[c % unit]},"
        f"{volume // VOLUME_UNIT}{coins[volume % VOLUME_UNIT]},{stop - 1}999,"
        f"{(q := (opened + closed) * volume // money) // 100}{cent[q % 100]}]"
        for start, stop, (opened, high, low, closed, volume) in bars
    ]
    return Raw("[" + ",".join(rows) + "]")
