"""The exchange as a whole: books, prices, matching and faults under one roof."""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal
from ipaddress import ip_network

from exchange.paper.books import ZERO, Account, Order, Pin
from exchange.paper.faults import Faults
from exchange.paper.instruments import SYMBOLS
from exchange.paper.ledger import Ledger
from exchange.paper.matching import Matcher
from exchange.paper.prices import Quotes
from exchange.paper.rates import RateKeeper
from exchange.types import Market

FIRST_UID = 25_307_298
DEFAULT_BALANCES = {
    "usdtm:USDT": "100000",
    "usdtm:USDC": "0",
    "coinm:BTC": "10",
    "coinm:ETH": "100",
    "coinm:SOL": "1000",
    "spot:USDT": "100000",
    "spot:BTC": "1",
    "spot:ETH": "10",
    "spot:SOL": "100",
}


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class KeyTaken(Exception):
    """The key exists with another secret."""


class Venue:
    """One paper exchange. Not thread-safe: everything runs on one event loop."""

    def __init__(self, seed: int = 1, state: str | None = None, clock_ms: Callable[[], int] = now_ms) -> None:
        self._right_ms = clock_ms
        self.started_ms = clock_ms()
        self.control_from = [ip_network("127.0.0.0/8"), ip_network("::1/128")]
        self.faults = Faults()
        self.ledger = Ledger(state, self.clock_ms)
        self.quotes = Quotes(seed, self.clock_ms)
        self.matcher = Matcher(self.ledger, self.quotes, self.clock_ms, self.faults.slicing)
        self.rates = RateKeeper()
        # When all orders of a key on a market are to be cancelled, in milliseconds.
        self.countdowns: dict[tuple[str, Market], int] = {}
        self._apply_pins()

    def clock_ms(self) -> int:
        """Return the exchange's time, which a fault may have moved."""
        return self._right_ms() + self.faults.clock_offset_ms

    def _apply_pins(self) -> None:
        self.quotes.pins = {pin.symbol: Decimal(pin.price) for pin in self.ledger.pins.values() if pin.price}

    def register(self, key: str, secret: str, balances: dict[str, Decimal] | None = None) -> Account:
        """Return the account of a key, made with paper money when it is new; `balances` are by `usdtm:USDT`.

        Raises KeyTaken when the key exists with another secret.
        """
        known = self.ledger.accounts.get(key)
        if known:
            if known.secret != secret:
                raise KeyTaken(key)
            return known
        account = Account(key, secret, FIRST_UID + len(self.ledger.accounts))
        account.wallets = {name: Decimal(amount) for name, amount in DEFAULT_BALANCES.items()} | (balances or {})
        self.ledger.add(account)
        return account

    def pin(self, symbol: str, price: Decimal | None) -> None:
        """Hold the price of a symbol, or let it go; waiting orders meet the new price at once.

        Raises ValueError when the symbol is unknown or the price not positive.
        """
        if symbol not in SYMBOLS:
            raise ValueError(f"unknown symbol {symbol}")
        if price is not None and not (price.is_finite() and price > 0):
            raise ValueError(f"{symbol}: a price is a positive number")
        self.ledger.add(Pin(symbol, "" if price is None else str(price)))
        self._apply_pins()
        self.matcher.sweep_symbol(symbol)

    def reset(self) -> None:
        """Forget all trading, pins and faults; the keys stay, with fresh paper money."""
        keys = [(account.key, account.secret) for account in self.ledger.accounts.values()]
        self.ledger.reset()
        self.faults.clear()
        self.rates.clear()
        self.countdowns.clear()
        for key, secret in keys:
            self.register(key, secret)
        self._apply_pins()

    def sweep(self) -> None:
        """Let waiting orders meet the prices since the last time, and store what came of it."""
        self.matcher.sweep()
        self._end_countdowns()
        self.ledger.commit()

    def _end_countdowns(self) -> None:
        now = self.clock_ms()
        for key, market in [name for name, due in self.countdowns.items() if due <= now]:
            del self.countdowns[key, market]
            for order in self.ledger.open_orders_of(key, market):
                self.matcher.cancel(order)

    def locked(self, account: Account, asset: str) -> Decimal:
        """Return what resting spot orders hold of an asset."""
        orders = self.ledger.open_orders_of(account.key, Market.SPOT)
        return sum((held for held_asset, held in map(spot_hold, orders) if held_asset == asset), ZERO)


def spot_hold(order: Order) -> tuple[str, Decimal]:
    """Return the asset and amount that a waiting spot order holds."""
    base, quote = order.symbol.split("-")
    if order.side == "SELL":
        return base, order.remaining
    return quote, order.remaining * (order.price or order.stop_price)
