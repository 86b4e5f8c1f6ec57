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


class OldProduct(StrEnum):
    """What an account may still hold money in and Pelusa only reads: no order can name it as its market."""

    STANDARD = "standard"


Wallet = Market | OldProduct
WALLETS: tuple[Wallet, ...] = (*Market, *OldProduct)


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
    """Net exposure at the exchange. `quantity` is never negative; `position_side` BOTH comes with `side`.

    Units: `quantity` in base coins (USDT-M, standard) or contracts (COIN-M); `margin` and `unrealised_pnl` in the
    wallet's asset, which is the coin on COIN-M.
    """

    market: Wallet
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
    margin: Decimal | None = None


@dataclass(frozen=True, slots=True)
class BalanceReport:
    """One asset of one product's wallet, in units of that asset.

    `equity` is the balance with what open positions would add; `used_margin` backs positions, `frozen` waits in orders.
    `realised_pnl` is None where the product does not tell it.
    """

    market: Wallet
    asset: str
    balance: Decimal
    equity: Decimal
    available: Decimal
    unrealised_pnl: Decimal = Decimal(0)
    used_margin: Decimal = Decimal(0)
    frozen: Decimal = Decimal(0)
    realised_pnl: Decimal | None = None


class IncomeKind(StrEnum):
    """Why money came or went; a word that we do not know is OTHER, so that the sum still holds it."""

    TRANSFER = "TRANSFER"
    REALISED_PNL = "REALISED_PNL"
    FUNDING_FEE = "FUNDING_FEE"
    TRADING_FEE = "TRADING_FEE"
    INSURANCE = "INSURANCE"
    TRIAL_FUND = "TRIAL_FUND"
    ADL = "ADL"
    DEDUCTION = "DEDUCTION"
    OTHER = "OTHER"


@dataclass(frozen=True, slots=True)
class IncomeReport:
    """One movement of money in a wallet. `amount` is signed: negative left the wallet. A transfer has no symbol."""

    market: Market
    exchange_income_id: str
    exchange_trade_id: str
    kind: IncomeKind
    symbol: str
    asset: str
    amount: Decimal
    happened_at: datetime
    note: str = ""


@dataclass(frozen=True, slots=True)
class FeeRatesReport:
    """What trading costs, as a share of the notional: 0.0005 is 0.05 %."""

    market: Market
    maker: Decimal
    taker: Decimal


@dataclass(frozen=True, slots=True)
class StandardOrderReport:
    """One closed trade of the standard contract: what it opened at, what it closed at, and the margin behind it."""

    symbol: str
    exchange_order_id: str
    position_side: PositionSide
    status: str
    quantity: Decimal
    avg_entry_price: Decimal
    close_price: Decimal | None
    margin: Decimal
    leverage: int
    margin_mode: MarginMode | None
    opened_at: datetime
    updated_at: datetime | None


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


# One candle for those who read millions: its open time in milliseconds since 1970, then open, high, low, close and
# volume as the exchange wrote them. Whoever stores them checks them: `market.sheets`.
KlineText = tuple[int, str, str, str, str, str]


@dataclass(frozen=True, slots=True)
class KeyReport:
    """What an API key may do (the exchange's ids) and from which addresses; none means from everywhere."""

    permissions: frozenset[int]
    addresses: tuple[str, ...]
