"""What may be wrong with a page of candles: holes, rows twice, pages cut short, a candle from the future.

All of it was seen at exchanges; all of it is off until `POST /paper/faults` asks for it.
"""

from __future__ import annotations

from exchange.paper.faults import Faults
from exchange.paper.klines import Bar


def spoil(bars: list[Bar], faults: Faults, symbol: str, now_ms: int) -> list[Bar]:
    """Return a page, newest first, as the switches want it."""
    holes = [(start, stop) for name, start, stop in faults.kline_holes if name == symbol]
    if holes:
        bars = [bar for bar in bars if not any(start <= bar.start * 1000 < stop for start, stop in holes)]
    if faults.kline_future and bars and bars[0].stop * 1000 > now_ms:
        running = bars[0]
        bars = [Bar(running.stop, 2 * running.stop - running.start, running.candle), *bars]
    if faults.kline_truncate:
        bars = bars[: faults.kline_truncate]
    if faults.kline_repeat:
        bars = [bar for place, bar in enumerate(bars, 1) for bar in [bar] * (1 + (place % faults.kline_repeat == 0))]
    return bars
