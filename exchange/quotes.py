"""The market's last prices for people to look at: kept for a moment, never waited for, never traded on."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from math import inf

from loguru import logger

from exchange.connection import connect_to
from exchange.errors import ExchangeError
from exchange.types import Market

# Seconds until a price list is asked for anew, and until it is too old to be shown
FRESH_FOR, SHOWN_FOR = 2.0, 30.0


@dataclass(slots=True)
class _List:
    prices: dict[str, Decimal] = field(default_factory=dict)
    read_at: float = -inf
    asked_at: float = -inf


class Quotes:
    """Price lists by environment and market; one thread asks, so that no page ever waits for the exchange."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lists: dict[tuple[str, Market], _List] = {}
        self._asker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="quotes")

    def prices(self, environment: str, market: Market) -> dict[str, Decimal]:
        """Return the last known prices by symbol, none when they are older than half a minute; have newer ones read."""
        now = time.monotonic()
        with self._lock:
            known = self._lists.setdefault((environment, market), _List())
            is_due = now - known.asked_at > FRESH_FOR
            if is_due:
                known.asked_at = now
            shown = known.prices if now - known.read_at < SHOWN_FOR else {}
        if is_due:
            self._asker.submit(self._read, environment, market)
        return shown

    def _read(self, environment: str, market: Market) -> None:
        try:
            prices = connect_to(environment).prices(market)
        except ExchangeError as error:
            logger.debug("no {} prices of {} to show: {}", market, environment, error)
            return
        with self._lock:
            known = self._lists[environment, market]
            known.prices, known.read_at = prices, time.monotonic()


quotes = Quotes()
