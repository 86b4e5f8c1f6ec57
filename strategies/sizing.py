"""How large an entry is. Pure: money in the quote asset, quantities in base units (contracts on COIN-M)."""

from dataclasses import dataclass
from decimal import Decimal

from exchange.rounding import round_down

HUNDRED = Decimal(100)


class CannotSize(Exception):
    """The entry has no lawful size; `reason` is the machine word, `facts` the values compared."""

    def __init__(self, reason: str, **facts: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.facts = facts


@dataclass(frozen=True, slots=True)
class Grid:
    """An instrument's steps and floors. `contract_size`: quote value of a contract on COIN-M, 0 elsewhere."""

    symbol: str
    step_size: Decimal
    min_quantity: Decimal
    min_notional: Decimal
    contract_size: Decimal = Decimal(0)

    def notional(self, quantity: Decimal, price: Decimal) -> Decimal:
        return quantity * (self.contract_size or price)

    def quantity(self, notional: Decimal, price: Decimal) -> Decimal:
        return notional / (self.contract_size or price)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a leg asks for. `stop_percent` is the distance to its stop; `alarm_quantity` what the alarm named."""

    sizing: str
    size: Decimal | None
    leverage: int = 1
    stop_percent: Decimal | None = None
    alarm_quantity: Decimal | None = None

    @property
    def needs_equity(self) -> bool:
        return self.sizing in ("equity_percent", "risk_percent")


def size_entry(wish: Wish, grid: Grid, price: Decimal, equity: Decimal | None) -> Decimal:
    """Return the quantity, rounded down to the step and not below the floors, or raise `CannotSize`."""
    quantity = round_down(_wished(wish, grid, price, equity), grid.step_size)
    if quantity <= 0 or quantity < grid.min_quantity:
        raise CannotSize(
            "below_min_quantity", quantity=f"{quantity:f}", min_quantity=f"{grid.min_quantity:f}", symbol=grid.symbol
        )
    notional = grid.notional(quantity, price)
    if notional < grid.min_notional:
        raise CannotSize(
            "below_min_notional", notional=f"{notional:.4f}", min_notional=f"{grid.min_notional:f}", symbol=grid.symbol
        )
    return quantity


def _wished(wish: Wish, grid: Grid, price: Decimal, equity: Decimal | None) -> Decimal:
    if wish.sizing == "alarm":
        if wish.alarm_quantity is None:
            raise CannotSize("no_alarm_quantity")
        return wish.alarm_quantity
    if wish.size is None:
        raise CannotSize("no_size")
    if wish.sizing == "quantity":
        return wish.size
    return grid.quantity(_wished_notional(wish, wish.size, equity), price)


def _wished_notional(wish: Wish, size: Decimal, equity: Decimal | None) -> Decimal:
    if wish.sizing == "notional":
        return size
    if equity is None:
        raise CannotSize("no_equity")
    part = equity * size / HUNDRED
    if wish.sizing == "equity_percent":
        # The percent is of the trader's own money; leverage multiplies what it buys
        return part * wish.leverage
    if not wish.stop_percent:
        raise CannotSize("no_stop_for_risk")
    return part / (wish.stop_percent / HUNDRED)
