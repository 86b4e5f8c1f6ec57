"""What the exchange remembers: accounts, positions, orders, fills and incomes.

Every record is plain data with a table and a key, so that the ledger can write and read any of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import ClassVar, Self

from exchange.paper.wire import Json
from exchange.types import Market

ZERO = Decimal(0)
OPEN_STATUSES = frozenset({"NEW", "PENDING", "PARTIALLY_FILLED"})
# Milliseconds between the epochs of Unix and of the snowflake ids.
SNOWFLAKE_EPOCH_MS = 1_288_834_974_657


@dataclass(slots=True)
class Record:
    """A row of the ledger."""

    table: ClassVar[str] = ""

    @property
    def row_key(self) -> str:
        raise NotImplementedError

    def freeze(self) -> dict[str, object]:
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @classmethod
    def thaw(cls, stored: dict[str, object]) -> Self:
        """Rebuild a record; decimals were stored as text."""
        values = dict(stored)
        for each in fields(cls):
            value = values.get(each.name)
            if "Decimal" not in str(each.type):
                continue
            if isinstance(value, str):
                values[each.name] = Decimal(value)
            elif isinstance(value, dict):
                values[each.name] = {name: Decimal(str(amount)) for name, amount in value.items()}
        return cls(**values)


@dataclass(slots=True)
class Account(Record):
    """One API key with its wallets (`usdtm:USDT`), modes and leverages (`usdtm:BTC-USDT:LONG`).

    `standard` is what the standard contract shows (balances, positions, orders): nobody trades there.
    """

    table: ClassVar[str] = "account"
    key: str
    secret: str
    uid: int
    is_hedge: bool = True
    wallets: dict[str, Decimal] = field(default_factory=dict)
    realised: dict[str, Decimal] = field(default_factory=dict)
    leverages: dict[str, int] = field(default_factory=dict)
    margin_types: dict[str, str] = field(default_factory=dict)
    permissions: list[int] = field(default_factory=lambda: [1, 2, 3])
    ip_addresses: list[str] = field(default_factory=list)
    standard: dict[str, list[dict[str, Json]]] = field(default_factory=dict)

    @property
    def row_key(self) -> str:
        return self.key

    def leverage(self, market: Market, symbol: str, side: str) -> int:
        return self.leverages.get(f"{market}:{symbol}:{side}", 20)

    def margin_type(self, market: Market, symbol: str) -> str:
        return self.margin_types.get(f"{market}:{symbol}", "CROSSED")

    def wallet(self, market: str, asset: str) -> Decimal:
        return self.wallets.get(f"{market}:{asset}", ZERO)

    def credit(self, market: str, asset: str, amount: Decimal) -> None:
        name = f"{market}:{asset}"
        self.wallets[name] = self.wallets.get(name, ZERO) + amount


@dataclass(slots=True)
class Position(Record):
    """A net exposure: `quantity` is signed, LONG positive, SHORT negative, whatever the mode."""

    table: ClassVar[str] = "position"
    account: str
    market: Market
    symbol: str
    side: str
    position_id: int
    leverage: int
    isolated: bool
    opened_ms: int
    updated_ms: int = 0
    quantity: Decimal = ZERO
    avg_price: Decimal = ZERO
    realised: Decimal = ZERO
    commission: Decimal = ZERO
    added_margin: Decimal = ZERO
    peak_quantity: Decimal = ZERO
    closed_quantity: Decimal = ZERO
    closed_value: Decimal = ZERO

    @property
    def row_key(self) -> str:
        return str(self.position_id)

    @property
    def shown_side(self) -> str:
        return "LONG" if self.quantity > 0 else "SHORT"

    @property
    def size(self) -> Decimal:
        return abs(self.quantity)


@dataclass(slots=True)
class Order(Record):
    """One order as accepted. Prices and quantities are already cut to the instrument's grid."""

    table: ClassVar[str] = "order"
    order_id: int
    account: str
    market: Market
    symbol: str
    side: str
    position_side: str
    type: str
    time_ms: int
    quantity: Decimal = ZERO
    price: Decimal = ZERO
    stop_price: Decimal = ZERO
    quote_quantity: Decimal = ZERO
    client_order_id: str = ""
    time_in_force: str = "GTC"
    working_type: str = "MARK_PRICE"
    reduce_only: bool = False
    close_position: bool = False
    stop_loss: str = ""
    take_profit: str = ""
    stop_guaranteed: str = ""
    status: str = "NEW"
    executed: Decimal = ZERO
    executed_value: Decimal = ZERO
    commission: Decimal = ZERO
    profit: Decimal = ZERO
    leverage: int = 0
    updated_ms: int = 0
    fires_above: bool = False
    is_armed: bool = False
    parent_id: int = 0
    is_attached: bool = False
    price_rate: Decimal = ZERO
    activation_price: Decimal = ZERO
    extreme: Decimal = ZERO
    is_activated: bool = False
    slice_quantity: Decimal = ZERO
    slice_every_ms: int = 0
    slice_due_ms: int = 0

    @property
    def row_key(self) -> str:
        return str(self.order_id)

    @property
    def is_open(self) -> bool:
        return self.status in OPEN_STATUSES

    @property
    def remaining(self) -> Decimal:
        return self.quantity - self.executed

    @property
    def avg_price(self) -> Decimal:
        return self.executed_value / self.executed if self.executed else ZERO

    @property
    def is_closing(self) -> bool:
        """In hedge mode the two sides say it; in one-way mode `reduceOnly` or `closePosition` does."""
        if self.position_side == "BOTH":
            return self.reduce_only or self.close_position
        return (self.side == "SELL") == (self.position_side == "LONG")

    @property
    def is_stop(self) -> bool:
        return self.type in ("STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET")

    @property
    def is_take_profit(self) -> bool:
        return self.type.startswith("TAKE_PROFIT")


@dataclass(slots=True)
class Fill(Record):
    """One execution. `commission` is negative when paid, as BingX shows it."""

    table: ClassVar[str] = "fill"
    trade_id: int
    order_id: int
    account: str
    market: Market
    symbol: str
    side: str
    position_side: str
    quantity: Decimal
    price: Decimal
    commission: Decimal
    commission_asset: str
    profit: Decimal
    time_ms: int
    is_maker: bool

    @property
    def row_key(self) -> str:
        return str(self.trade_id)


@dataclass(slots=True)
class Income(Record):
    """One change of a wallet that is no transfer: realised profit or fee."""

    table: ClassVar[str] = "income"
    income_id: int
    account: str
    market: Market
    symbol: str
    kind: str
    amount: Decimal
    asset: str
    time_ms: int
    trade_id: int

    @property
    def row_key(self) -> str:
        return str(self.income_id)


@dataclass(slots=True)
class Pin(Record):
    """A pinned price; an empty text means that it was taken off."""

    table: ClassVar[str] = "pin"
    symbol: str
    price: str

    @property
    def row_key(self) -> str:
        return self.symbol


RECORDS: tuple[type[Record], ...] = (Account, Position, Order, Fill, Income, Pin)
