"""The words that Pelusa and an exchange exchange: requests we make, reports they give.

Nothing here knows BingX's spelling; `exchange.parsing` translates and nobody else has seen it.
Money and quantities are `Decimal`, times are aware UTC datetimes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum


class Market(StrEnum):
    """The three products that Pelusa trades."""

    USDTM = "usdtm"
    COINM = "coinm"
    SPOT = "spot"


class Side(StrEnum):
    BUY = "BUY"
    SELL = "SELL"


class PositionSide(StrEnum):
    """LONG and SHORT in hedge mode; BOTH in one-way mode and on spot."""

    LONG = "LONG"
    SHORT = "SHORT"
    BOTH = "BOTH"


class OrderType(StrEnum):
    MARKET = "MARKET"
    LIMIT = "LIMIT"
    STOP_MARKET = "STOP_MARKET"
    TAKE_PROFIT_MARKET = "TAKE_PROFIT_MARKET"


class MarginMode(StrEnum):
    CROSSED = "CROSSED"
    ISOLATED = "ISOLATED"


class PositionMode(StrEnum):
    """Account-wide: HEDGE keeps a long and a short apart, ONE_WAY nets them."""

    HEDGE = "hedge"
    ONE_WAY = "one_way"


class ReportStatus(StrEnum):
    """What the exchange may say of an order; a word we do not know is never final."""

    ACCEPTED = "ACCEPTED"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    REJECTED = "REJECTED"


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """One order as we ask for it. `signed_at` is the time stamp that is signed, to the millisecond."""

    market: Market
    symbol: str
    side: Side
    position_side: PositionSide
    order_type: OrderType
    quantity: Decimal
    client_order_id: str
    signed_at: datetime
    reduce_only: bool = False
    price: Decimal | None = None
    trigger_price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class OrderReport:
    """What the exchange says of one order."""

    market: Market
    symbol: str
    exchange_order_id: str
    client_order_id: str
    status: ReportStatus
    side: Side
    position_side: PositionSide
    order_type: str
    quantity: Decimal
    filled_quantity: Decimal
    avg_price: Decimal | None
    trigger_price: Decimal | None = None
    fee: Decimal | None = None
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class FillReport:
    """One execution. `fee` is what was paid: positive costs, negative is a rebate."""

    market: Market
    symbol: str
    exchange_trade_id: str
    exchange_order_id: str
    client_order_id: str
    side: Side
    price: Decimal
    quantity: Decimal
    fee: Decimal
    fee_asset: str
    filled_at: datetime


@dataclass(frozen=True, slots=True)
class PositionReport:
    """Net exposure at the exchange. `quantity` is never negative; `position_side` BOTH comes with `side`."""

    market: Market
    symbol: str
    position_side: PositionSide
    side: Side
    quantity: Decimal
    avg_entry_price: Decimal
    mark_price: Decimal | None
    unrealised_pnl: Decimal
    leverage: int | None
    margin_mode: MarginMode | None
    liquidation_price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class BalanceReport:
    """One asset of one product's wallet."""

    market: Market
    asset: str
    balance: Decimal
    equity: Decimal
    available: Decimal
    unrealised_pnl: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class InstrumentReport:
    """The exchange's grid and floors for one symbol; `contract_size` is quote value a contract (coinm) or 1."""

    market: Market
    symbol: str
    base_asset: str
    quote_asset: str
    tick_size: Decimal
    step_size: Decimal
    min_quantity: Decimal
    min_notional: Decimal
    contract_size: Decimal
    max_long_leverage: int | None
    max_short_leverage: int | None
    is_open_allowed: bool
    is_close_allowed: bool
    raw: dict[str, object] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class LeverageReport:
    long_leverage: int
    short_leverage: int
    max_long_leverage: int | None = None
    max_short_leverage: int | None = None


@dataclass(frozen=True, slots=True)
class KlineReport:
    """One candle. `open_time` is the start of the bar; whether it is closed is the reader's to work out."""

    open_time: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
