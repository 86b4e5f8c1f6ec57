"""An operation's figures from its fills. Pure: Decimal in, Decimal out.

Linear products (USDT-M, spot): quantity in base units, money in the quote asset. Inverse (COIN-M): quantity in
contracts of `contract_size` quote units, money in the coin, so prices average harmonically.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

ZERO = Decimal(0)
# The columns' scale
PLACES = Decimal("1e-12")


@dataclass(frozen=True, slots=True)
class Execution:
    """One fill: `enters` when it enlarged the position; `fee` paid is positive."""

    enters: bool
    price: Decimal
    quantity: Decimal
    fee: Decimal


@dataclass(frozen=True, slots=True)
class Figures:
    """What an operation came to so far; a price is None while nothing was filled on that side."""

    avg_entry_price: Decimal | None
    avg_exit_price: Decimal | None
    realised_pnl: Decimal
    fees: Decimal


def book(executions: Iterable[Execution], leg: str, contract_size: Decimal = ZERO) -> Figures:
    """Return the figures of executions in the order in which they happened, by average cost."""
    sign = 1 if leg == "long" else -1
    entered, left = _Side(contract_size), _Side(contract_size)
    held_quantity = held_value = pnl = fees = ZERO
    for each in executions:
        fees += each.fee
        value = _value(each, contract_size)
        (entered if each.enters else left).add(each.quantity, value)
        if each.enters:
            held_quantity, held_value = held_quantity + each.quantity, held_value + value
            continue
        cost = held_value * min(each.quantity / held_quantity, Decimal(1)) if held_quantity else ZERO
        # Linear: value grows with the price. Inverse: a contract is worth fewer coins when the price is higher.
        pnl += sign * ((cost - value) if contract_size else (value - cost))
        held_quantity, held_value = max(held_quantity - each.quantity, ZERO), held_value - cost
    return Figures(entered.average(), left.average(), pnl.quantize(PLACES), fees.quantize(PLACES))


class _Side:
    """All that was bought or sold on one side of the round trip."""

    def __init__(self, contract_size: Decimal) -> None:
        self.contract_size = contract_size
        self.quantity = self.value = ZERO

    def add(self, quantity: Decimal, value: Decimal) -> None:
        self.quantity += quantity
        self.value += value

    def average(self) -> Decimal | None:
        if not self.quantity:
            return None
        price = self.quantity * self.contract_size / self.value if self.contract_size else self.value / self.quantity
        return price.quantize(PLACES)


def _value(each: Execution, contract_size: Decimal) -> Decimal:
    return each.quantity * contract_size / each.price if contract_size else each.quantity * each.price
