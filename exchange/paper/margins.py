"""The arithmetic of perpetuals: value, profit, averages, margin. Pure; money is cut to 8 decimals.

Linear contracts (`usdtm`) count coins and pay the quote; inverse ones (`coinm`) count contracts of some USD and pay
the coin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal

from exchange.paper.books import ZERO, Account, Order, Position
from exchange.paper.instruments import BY_MARKET, Instrument
from exchange.types import Market

CENT = Decimal("0.00000001")
# First tier of https://bingx-api.github.io/docs-v3/#/en/Swap/Account%20Endpoints (maintMarginRatio).
MAINTENANCE = Decimal("0.0038")

PriceOf = Callable[[Instrument], Decimal]


def money(amount: Decimal) -> Decimal:
    return amount.quantize(CENT)


def value_of(instrument: Instrument, quantity: Decimal, price: Decimal) -> Decimal:
    """Return what a quantity is worth in the margin asset."""
    if instrument.market == Market.COINM:
        return quantity * instrument.contract_size / price
    return quantity * price


def profit_of(instrument: Instrument, quantity: Decimal, entry: Decimal, leave: Decimal) -> Decimal:
    """Return the profit of a signed quantity from entry to leave, in the margin asset."""
    if instrument.market == Market.COINM:
        return money(quantity * instrument.contract_size * (1 / entry - 1 / leave))
    return money(quantity * (leave - entry))


def blend(instrument: Instrument, held: Decimal, average: Decimal, added: Decimal, price: Decimal) -> Decimal:
    """Return the new average entry price; inverse contracts average harmonically."""
    if not held:
        return price
    if instrument.market == Market.COINM:
        return (held + added) / (held / average + added / price)
    return (held * average + added * price) / (held + added)


def margin_of(instrument: Instrument, position: Position) -> Decimal:
    return money(value_of(instrument, position.size, position.avg_price) / position.leverage + position.added_margin)


def liquidation_price(instrument: Instrument, position: Position) -> Decimal:
    """Return where an isolated linear position dies; 0 when crossed, as BingX shows for a well covered one."""
    if not position.isolated or instrument.market == Market.COINM:
        return ZERO
    cushion = margin_of(instrument, position) / position.size - position.avg_price * MAINTENANCE
    price = position.avg_price - cushion if position.quantity > 0 else position.avg_price + cushion
    return max(ZERO, instrument.cut_price(price))


@dataclass(frozen=True, slots=True)
class Wallet:
    """One margin asset of one account, as the balance endpoints show it."""

    asset: str
    balance: Decimal
    unrealised: Decimal
    used: Decimal
    frozen: Decimal
    realised: Decimal

    @property
    def equity(self) -> Decimal:
        return self.balance + self.unrealised

    @property
    def available(self) -> Decimal:
        return max(ZERO, self.balance + min(ZERO, self.unrealised) - self.used - self.frozen)


def frozen_margin(instrument: Instrument, order: Order) -> Decimal:
    """Return the margin that a resting opening order holds."""
    if order.is_closing or not order.price or order.is_stop or not order.is_open:
        return ZERO
    return money(value_of(instrument, order.remaining, order.price) / (order.leverage or 1))


def wallet_of(
    account: Account,
    market: Market,
    asset: str,
    positions: Iterable[Position],
    orders: Iterable[Order],
    price_of: PriceOf,
) -> Wallet:
    unrealised = used = frozen = ZERO
    for position in positions:
        instrument = BY_MARKET[market][position.symbol]
        if instrument.margin_asset == asset:
            unrealised += profit_of(instrument, position.quantity, position.avg_price, price_of(instrument))
            used += margin_of(instrument, position)
    for order in orders:
        instrument = BY_MARKET[market][order.symbol]
        if instrument.margin_asset == asset:
            frozen += frozen_margin(instrument, order)
    realised = account.realised.get(f"{market}:{asset}", ZERO)
    return Wallet(asset, account.wallet(market, asset), unrealised, used, frozen, realised)
