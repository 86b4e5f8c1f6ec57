"""What should stand at the exchange to protect an operation, and what to do about the difference.

Pure: Decimal in, Decimal out; no database, network or clock. Prices in the quote asset, quantities in base units
(contracts on COIN-M). A trigger lies below the price for a long's stop and a short's target, above it otherwise.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from enum import StrEnum

from exchange.rounding import round_down
from exchange.types import Market

HUNDRED = Decimal(100)
# The columns' scale; without it a repeating quotient would miss the tick by a hair
PLACES = Decimal("1e-12")


class Role(StrEnum):
    """The two kinds of protective order, as `Order.Role` spells them."""

    STOP_LOSS = "STOP_LOSS"
    TAKE_PROFIT = "TAKE_PROFIT"


@dataclass(frozen=True, slots=True)
class Distances:
    """A leg's four percents: from each entry's own price, and from the average of all that is held."""

    stop_per_order: Decimal | None = None
    stop_general: Decimal | None = None
    target_per_order: Decimal | None = None
    target_general: Decimal | None = None

    def of(self, role: Role) -> tuple[Decimal | None, Decimal | None]:
        """Return the percent per order and the general one."""
        if role is Role.STOP_LOSS:
            return self.stop_per_order, self.stop_general
        return self.target_per_order, self.target_general


@dataclass(frozen=True, slots=True)
class Held:
    """One entry: filled at `price` on average, `entered` came of it, `left` is what its protection has not sold yet."""

    entry_id: int
    price: Decimal
    entered: Decimal
    left: Decimal


@dataclass(frozen=True, slots=True)
class Cover:
    """A stop or target that should stand at the exchange."""

    entry_id: int
    role: Role
    quantity: Decimal
    trigger_price: Decimal

    @property
    def slot(self) -> tuple[int, Role]:
        """The place that it takes: an entry has one stop and one target at most."""
        return self.entry_id, self.role


@dataclass(frozen=True, slots=True)
class Placed:
    """A protective order of ours that has not ended, and what it covers."""

    order_id: int
    cover: Cover


def plan(
    entries: Sequence[Held], distances: Distances, leg: str, market: Market, *, tick: Decimal, step: Decimal
) -> list[Cover]:
    """Return the covers that the leg asks for, oldest entry first.

    Of two distances the one that triggers first counts. Spot locks the coins of an order, and they can be locked once:
    there the stop goes before the target.
    """
    quantities = _on_step(entries, step)
    holding = [each for each in entries if quantities[each.entry_id]]
    average = average_price(holding, market)
    covers = [
        Cover(each.entry_id, role, quantities[each.entry_id], trigger)
        for each in holding
        for role in Role
        if (trigger := _trigger(role, distances, each.price, average, leg, tick)) is not None
    ]
    if market is Market.SPOT and any(each.role is Role.STOP_LOSS for each in covers):
        return [each for each in covers if each.role is Role.STOP_LOSS]
    return covers


def _on_step(entries: Iterable[Held], step: Decimal) -> dict[int, Decimal]:
    """Return how much of each entry can be covered; crumbs below the step, which spot's fees leave, go to the next.

    Else the crumbs of several entries would add up to something that no order ever sells.
    """
    quantities, crumbs = {}, Decimal(0)
    for each in entries:
        quantities[each.entry_id] = round_down(each.left + crumbs, step)
        crumbs += each.left - quantities[each.entry_id]
    return quantities


def average_price(entries: Iterable[Held], market: Market) -> Decimal:
    """Return the average price of the entries that still hold something; 0 of none.

    By what was entered and not by what is left, so that a target that fills in parts moves no other trigger. A COIN-M
    contract has a fixed worth in the quote asset, so there the average is harmonic.
    """
    entries = list(entries)
    quantity = sum((each.entered for each in entries), Decimal(0))
    if not quantity:
        return Decimal(0)
    if market is Market.COINM:
        return (quantity / sum((each.entered / each.price for each in entries), Decimal(0))).quantize(PLACES)
    return (sum((each.entered * each.price for each in entries), Decimal(0)) / quantity).quantize(PLACES)


def _trigger(
    role: Role, distances: Distances, price: Decimal, average: Decimal, leg: str, tick: Decimal
) -> Decimal | None:
    """Return the trigger that is reached first, on the tick; None when the leg asks for none of this role."""
    is_below = (role is Role.STOP_LOSS) == (leg == "long")
    sign = -1 if is_below else 1
    percents = zip(distances.of(role), (price, average), strict=True)
    wanted = [(base * (HUNDRED + sign * percent) / HUNDRED, base) for percent, base in percents if percent]
    if not wanted:
        return None
    exact, base = max(wanted) if is_below else min(wanted)
    return _on_tick(exact, base, tick, is_below=is_below, is_earlier=role is Role.STOP_LOSS)


def _on_tick(exact: Decimal, base: Decimal, tick: Decimal, *, is_below: bool, is_earlier: bool) -> Decimal:
    """Put a trigger on the grid: a stop toward being reached earlier, a target so that it earns no less than asked.

    At least one tick from the price that it is measured from: on a coarse grid a stop would else fire at once.
    """
    ticks = (exact / tick).to_integral_value(ROUND_CEILING if is_below == is_earlier else ROUND_FLOOR)
    if is_below:
        nearest = (base / tick).to_integral_value(ROUND_CEILING) - 1
        return max(min(ticks, nearest), Decimal(1)) * tick
    return max(ticks, (base / tick).to_integral_value(ROUND_FLOOR) + 1) * tick


def compare(wanted: Iterable[Cover], placed: Iterable[Placed]) -> tuple[list[Cover], list[Placed]]:
    """Return the covers that are missing, and the orders that cover something else or nothing any more.

    A cover whose place is still taken by another order is not missing yet: that order must have ended first, since the
    exchange takes no more stops than there is position.
    """
    wanted, placed = list(wanted), list(placed)
    in_place: set[Cover] = set()
    outdated = []
    for each in placed:
        if each.cover not in wanted or each.cover in in_place:
            outdated.append(each)
        in_place.add(each.cover)
    taken = {each.cover.slot for each in placed}
    return [each for each in wanted if each.slot not in taken], outdated
