"""How a candle falls apart into smaller ones: a fixed library of walks, free of scale.

Every walk is drawn and normalised once; splitting a candle is then a handful of multiplications a child. All arithmetic
is on integers, the same anywhere.
"""

from __future__ import annotations

import struct
from functools import cache
from hashlib import shake_128
from typing import NamedTuple

LIBRARY = 512
# How far the highest and the lowest inner point go towards the extremes, in 2**-15: no single minute jumps there.
REACH = 28_672
WHOLE = 65_536


class Candle(NamedTuple):
    """Open, high, low, close in path units, volume in 10**-4 coins."""

    open: int
    high: int
    low: int
    close: int
    volume: int


class Step(NamedTuple):
    """One child: how far along the parent it ends, how far off the straight line, its wicks, the volume until then.

    `reach` is in 2**-15 of the way to the high (or, negative, to the low), the others in 2**-16.
    """

    through: int
    reach: int
    wick_up: int
    wick_down: int
    volume: int


Walk = tuple[Step, ...]


def split(candle: Candle, walk: Walk) -> list[Candle]:
    """Return the candles that add up exactly to this one: one of them reaches its high, one its low."""
    start, high, low, end, volume = candle
    drift, first, sold = end - start, start, 0
    children = []
    for through, reach, wick_up, wick_down, part in walk:
        last = start + (drift * through >> 16)
        last += ((high - last if reach > 0 else last - low) * reach) >> 15
        upper, lower = (last, first) if last > first else (first, last)
        until = volume * part >> 16
        upper += (high - upper) * wick_up >> 16
        lower -= (lower - low) * wick_down >> 16
        # The constructor of a named tuple costs as much as the rest of the loop.
        children.append(tuple.__new__(Candle, (first, upper, lower, last, until - sold)))
        first, sold = last, until
    return children


@cache
def walks(count: int) -> tuple[Walk, ...]:
    """Return the library of walks with `count` children each."""
    size = 3 * count + 2
    digest = shake_128(b"walk" + struct.pack("<q", count)).digest(2 * size * LIBRARY)
    return tuple(_walk(count, draws) for draws in struct.iter_unpack(f"<{size}H", digest))


def _walk(count: int, draws: tuple[int, ...]) -> Walk:
    reaches = [*_reaches(draws[:count]), 0]
    weights = [12_288 + draw for draw in draws[count : 2 * count]]
    squares = [draw * draw for draw in draws[2 * count : 3 * count]]
    # Of the two children that meet in the highest point one touches the high; in the lowest, the low.
    top = reaches.index(max(reaches[:-1])) + draws[-2] % 2
    bottom = reaches.index(min(reaches[:-1])) + draws[-1] % 2
    return tuple(
        Step(
            through=(place + 1) * WHOLE // count,
            reach=reaches[place],
            wick_up=WHOLE if place == top else squares[place] >> 18,
            wick_down=WHOLE if place == bottom else 0x3FFF - (squares[place] >> 18),
            volume=sum(weights[: place + 1]) * WHOLE // sum(weights),
        )
        for place in range(count)
    )


def _reaches(draws: tuple[int, ...]) -> list[int]:
    """Return how far the inner points of a random walk lie from the straight line, its extremes at `REACH`."""
    count, walk = len(draws), 0
    offsets = []
    for step in range(1, count):
        walk += draws[step - 1]
        offsets.append(walk * count - sum(draws) * step)
    low, width = min(offsets), max(offsets) - min(offsets)
    if not width:
        return [REACH if offset > 0 else -REACH for offset in offsets]
    return [2 * REACH * (offset - low) // width - REACH for offset in offsets]
