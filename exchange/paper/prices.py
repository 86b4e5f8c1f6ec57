"""A price path that is a pure function of seed, coin and second, at every scale at once.

A day's candle is drawn from slow noise; each candle is then split into the candles of the next smaller scale so that
the children exactly add up to their parent (open, high, low, close and volume). So years of candles need no history,
large intervals never touch their minutes, and still agree with them. All arithmetic is on integers, the same anywhere.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from functools import lru_cache
from hashlib import shake_128
from itertools import accumulate

from exchange.paper.walks import LIBRARY, Candle, split, walks

DAY = 86_400
KEPT_DAYS = 100
KEPT_MINUTES = 500
KEPT_CANDLES = 1_000
# Children of a day (2h), of 2h (1h), of 1h (30m), of 30m (15m), of 15m (5m) and of 5m (1m).
SPLITS = (12, 2, 2, 2, 3, 5)
SECONDS_OF_LEVEL = (86_400, 7_200, 3_600, 1_800, 900, 300, 60)
MINUTE_LEVEL = 6
# What is drawn beside the levels' own candles: the seconds of a minute, the walks of a day.
SECOND_DRAWS, WALK_DRAWS = 7, 8
# Candles of each level a day, and where their draws begin in the day's own.
A_DAY = tuple(DAY // size for size in SECONDS_OF_LEVEL)
DRAWS_OF_LEVEL = (0, *accumulate(A_DAY[:MINUTE_LEVEL]))
VOLUME_DECIMALS = 4
# Period in days and swing in millionths of the slow noise that carries the daily opens.
OCTAVES = ((512, 300_000), (128, 120_000), (32, 60_000), (8, 30_000), (2, 15_000), (1, 8_000))
# Typical price in 10**-decimals units, and coins traded a day.
COINS: dict[str, tuple[int, int, int]] = {
    "BTC": (600_000_000, 4, 80_000),
    "ETH": (300_000_000, 5, 900_000),
    "SOL": (150_000_000, 6, 9_000_000),
    "LTC": (80_000_000, 6, 2_000_000),
    "ADA": (450_000_000, 9, 300_000_000),
    "XRP": (550_000_000, 9, 500_000_000),
    "DOGE": (120_000_000, 9, 900_000_000),
    "BNB": (600_000_000, 6, 300_000),
    "LINK": (140_000_000, 7, 6_000_000),
    "AVAX": (280_000_000, 7, 3_000_000),
    "1000PEPE": (120_000_000, 10, 5_000_000_000),
}


def merge(candles: Iterable[Candle]) -> Candle:
    """Return the one candle that covers these consecutive ones."""
    whole = list(candles)
    return Candle(
        whole[0].open,
        max(each.high for each in whole),
        min(each.low for each in whole),
        whole[-1].close,
        sum(each.volume for each in whole),
    )


def _bridge(candle: Candle, count: int, draws: tuple[int, ...], shift: int) -> list[int]:
    """Return `count` + 1 points from open to close that stay inside the candle."""
    start, high, low, end, _ = candle
    reach, total, walk = high - low, sum(draws[:count]) - 32_768 * count, 0
    points = [start]
    for step in range(1, count):
        walk += draws[step - 1] - 32_768
        point = start + ((end - start) * step + (reach * (walk * count - total * step) >> shift)) // count
        if not low <= point <= high:
            point = min(max(2 * (high if point > high else low) - point, low), high)
        points.append(point)
    points.append(end)
    return points


class Path:
    """The price of one coin for one seed."""

    def __init__(self, seed: int, coin: str) -> None:
        self.coin = coin
        self.typical, self.decimals, self.daily_coins = COINS[coin]
        self._prefix = struct.pack("<q", seed) + coin.encode()
        self._knots: dict[tuple[int, int], int] = {}
        self._days: dict[int, Candle] = {}
        self._draws: dict[int, tuple[int, ...]] = {}
        self._minutes: dict[int, list[int]] = {}
        # Tickers and running candles ask for the same ones again and again.
        self._one = lru_cache(KEPT_CANDLES)(self._cut_out)
        self._closed_part = lru_cache(KEPT_CANDLES)(self._merge_between)

    def _draw(self, level: int, index: int, count: int) -> tuple[int, ...]:
        digest = shake_128(self._prefix + struct.pack("<bq", level, index)).digest(2 * count)
        return struct.unpack(f"<{count}H", digest)

    def _knot(self, octave: int, place: int) -> int:
        known = self._knots.get((octave, place))
        if known is None:
            known = self._knots[octave, place] = self._draw(-1 - octave, place, 1)[0] - 32_768
        return known

    def _day_open(self, day: int) -> int:
        millionths = 1_000_000
        for octave, (period, swing) in enumerate(OCTAVES):
            place, rest = divmod(day, period)
            before, after = self._knot(octave, place), self._knot(octave, place + 1)
            millionths += swing * (before * (period - rest) + after * rest) // (period << 15)
        return self.typical * millionths // 1_000_000

    def _day(self, day: int) -> Candle:
        known = self._days.get(day)
        if known is None:
            known = self._days[day] = self._new_day(day)
        return known

    def _new_day(self, day: int) -> Candle:
        start, end = self._day_open(day), self._day_open(day + 1)
        up, down, busy = self._draw(0, day, 3)
        high = max(start, end) + start * up // (65_536 * 50)
        low = min(start, end) - start * down // (65_536 * 50)
        return Candle(start, high, low, end, self.daily_coins * 10**VOLUME_DECIMALS * (32_768 + busy) >> 16)

    def _draws_of(self, day: int) -> tuple[int, ...]:
        """Return which walk each candle of a day is split along, large candles first."""
        known = self._draws.get(day)
        if known is None:
            if len(self._draws) > KEPT_DAYS:
                self._draws.clear()
            known = self._draws[day] = self._draw(WALK_DRAWS, day, DRAWS_OF_LEVEL[-1])
        return known

    def _children(self, level: int, index: int, parent: Candle) -> list[Candle]:
        day, place = divmod(index, A_DAY[level])
        draw = self._draws_of(day)[DRAWS_OF_LEVEL[level] + place]
        return split(parent, walks(SPLITS[level])[draw % LIBRARY])

    def candles(self, level: int, first: int, stop: int) -> list[Candle]:
        """Return the candles number `first` to `stop` (excluded) of a level, counted from the epoch."""
        if level == 0:
            return [self._day(day) for day in range(first, stop)]
        count = SPLITS[level - 1]
        start, end = first // count, -(-stop // count)
        parents = self.candles(level - 1, start, end)
        rows: list[Candle] = []
        for place, parent in enumerate(parents, start):
            rows += self._children(level - 1, place, parent)
        return rows[first - start * count : stop - start * count]

    def _cut_out(self, level: int, index: int) -> Candle:
        return self.candles(level, index, index + 1)[0]

    def seconds(self, minute: int) -> list[int]:
        """Return the 60 prices within a minute; together they open, peak, dip and close as its candle does."""
        known = self._minutes.get(minute)
        if known is None:
            candle = self._one(MINUTE_LEVEL, minute)
            known = _bridge(candle, 59, self._draw(SECOND_DRAWS, minute, 59), 19)
            top = known.index(max(known[1:-1]), 1)
            known[top] = candle.high
            bottom = known.index(min(known[1:-1]), 1)
            known[bottom if bottom != top else 1 + top % 58] = candle.low
            if len(self._minutes) > KEPT_MINUTES:
                self._minutes.clear()
            self._minutes[minute] = known
        return known

    def price_at(self, second: int) -> int:
        return self.seconds(second // 60)[second % 60]

    def running(self, start: int, now: int) -> Candle:
        """Return the unfinished candle that opened at second `start`, as it stands in second `now`."""
        minute, second = divmod(now, 60)
        prices = self.seconds(minute)[: second + 1]
        volume = self._one(MINUTE_LEVEL, minute).volume * (second + 1) // 60
        last = Candle(prices[0], max(prices), min(prices), prices[-1], volume)
        return merge([self._closed_part(start, minute * 60), last]) if start < minute * 60 else last

    def _merge_between(self, start: int, stop: int) -> Candle:
        return merge(self._whole_parts(start, stop))

    def _whole_parts(self, start: int, stop: int) -> Iterator[Candle]:
        """Cut [start, stop) into the largest candles that fit."""
        while start < stop:
            level = next(n for n, size in enumerate(SECONDS_OF_LEVEL) if start % size == 0 and start + size <= stop)
            size = SECONDS_OF_LEVEL[level]
            yield self._one(level, start // size)
            start += size


def text_of(units: int, decimals: int, precision: int) -> str:
    """Write path units with `precision` decimals, cut off, never rounded up."""
    whole, rest = divmod(units // 10 ** (decimals - precision), 10**precision)
    return f"{whole}.{rest:0{precision}d}" if precision else str(whole)


class Quotes:
    """The current price of every symbol: the path, or the price somebody pinned."""

    def __init__(self, seed: int, clock_ms: Callable[[], int]) -> None:
        self.paths = {coin: Path(seed, coin) for coin in COINS}
        # Drawn now, so that no order waits for it later.
        for count in SPLITS:
            walks(count)
        self.pins: dict[str, Decimal] = {}
        self._clock_ms = clock_ms

    def path_of(self, symbol: str) -> Path:
        return self.paths[symbol.split("-")[0]]

    def pinned_units(self, symbol: str) -> int | None:
        """Return the pinned price of a symbol in the units of its path."""
        pinned = self.pins.get(symbol)
        return None if pinned is None else int(pinned.scaleb(self.path_of(symbol).decimals))

    def price(self, symbol: str, precision: int, second: int | None = None) -> Decimal:
        """Return the price of a symbol now, or at a second of the path."""
        pinned = self.pins.get(symbol)
        if pinned is not None:
            return pinned
        path = self.path_of(symbol)
        units = path.price_at(self._clock_ms() // 1000 if second is None else second)
        return Decimal(text_of(units, path.decimals, precision))
