"""What one process of the rate-limit experiment does; it knows the client alone, and neither Django nor the tests."""

import os
import time
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

from exchange.bingx import BingX
from exchange.errors import RateLimited
from exchange.pacing import Pacer
from exchange.types import Market, OrderRequest, OrderType, PositionSide, Side

# Seconds; an order takes a hundredth of one. Who is stopped for longer between its turn and the wire comes in another's
# second, which no count of turns can prevent
STALL = 0.1


def be_ready(seconds: float) -> int:
    """Hold this process for a moment, so that another takes the next such task; return which one it was."""
    time.sleep(seconds)
    return os.getpid()


def client_of(url: str, redis_url: str, key: str = "") -> BingX:
    return BingX(base_url=url, key=key, secret="s3cret", pacer=Pacer(redis_url))


def limited(found: Counter[str], deed: Callable[[], Any]) -> bool:
    """Do it and count what came of it: done, held back here, or refused there."""
    try:
        deed()
    except RateLimited as limit:
        found["refused there" if limit.http_status else "held here"] += 1
        time.sleep(0.01)
        return False
    found["done"] += 1
    return True


def ask_for_candles(url: str, redis_url: str, until: float) -> Counter[str]:
    found: Counter[str] = Counter()
    with closing(client_of(url, redis_url)) as client:
        while time.time() < until:
            limited(found, lambda: client.klines(Market.USDTM, "BTC-USDT", "1m", start=None, end=None, limit=5))
    return found


def ask_for_books(url: str, redis_url: str, key: str, until: float) -> Counter[str]:
    found: Counter[str] = Counter()
    with closing(client_of(url, redis_url, key)) as client:
        while time.time() < until:
            limited(found, lambda: client.positions(Market.USDTM))
    return found


def trade(
    url: str, redis_url: str, key: str, *, every: float, until: float, exits: bool = True
) -> tuple[Counter[str], list[float]]:
    """Open by turns a long and close it, or without `exits` a short; return what came of it and each order's seconds.

    The price is asked for first, as for every entry.
    """
    found: Counter[str] = Counter()
    took = []
    legs = [(PositionSide.LONG, Side.BUY), (PositionSide.LONG if exits else PositionSide.SHORT, Side.SELL)]
    with closing(client_of(url, redis_url, key)) as client:
        while time.time() < until:
            for leg, side in legs:
                began = time.monotonic()
                if limited(found, partial(place, client, leg, side, found, is_exit=exits and side is Side.SELL)):
                    took.append(time.monotonic() - began)
                time.sleep(max(0.0, every - (time.monotonic() - began)))
    return found, took


def place(client: BingX, leg: PositionSide, side: Side, found: Counter[str], *, is_exit: bool) -> None:
    """Place a market order in its turn; count it as stalled when the machine let the turn go by."""
    client.price(Market.USDTM, "BTC-USDT")
    client.await_turn(Market.USDTM, opens=not is_exit)
    turn = time.monotonic()
    request = OrderRequest(
        market=Market.USDTM,
        symbol="BTC-USDT",
        side=side,
        position_side=leg,
        order_type=OrderType.MARKET,
        quantity=Decimal("0.001"),
        client_order_id=f"r33{uuid.uuid4().hex}",
        signed_at=datetime.now(UTC),
    )
    try:
        client.place_order(request, has_turn=True)
    finally:
        found["stalled"] += time.monotonic() - turn > STALL
