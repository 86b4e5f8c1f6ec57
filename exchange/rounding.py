"""Put quantities and prices on an exchange's grid, exactly.

Values are `Decimal` in the instrument's own units (base coins or contracts, quote prices). Whatever is not a finite
number of ordinary size is refused with `ValueError` before any arithmetic: a hostile exponent would otherwise cost
minutes of processor time or gigabytes of digits.
"""

from decimal import Context, Decimal, Inexact, InvalidOperation, localcontext
from enum import StrEnum

from exchange.types import Side

LARGEST_MAGNITUDE = 30
SMALLEST_MAGNITUDE = -60
# Wide enough for any product of two accepted values; a rounding in secret would raise.
_EXACT = Context(prec=400, traps=[Inexact, InvalidOperation])


class Toward(StrEnum):
    """Where a price goes that lies between two ticks."""

    DOWN = "down"
    UP = "up"
    NEAREST = "nearest"


# A limit price moves to the side that costs its owner nothing.
_TOWARD = {Side.BUY: Toward.DOWN, Side.SELL: Toward.UP}


def require_ordinary(value: Decimal, name: str = "value") -> Decimal:
    """Return the value when it is finite and of a size that money has; raise `ValueError` otherwise."""
    if not value.is_finite():
        raise ValueError(f"{name} is not a finite number")
    exponent = int(value.as_tuple().exponent)
    if value.adjusted() > LARGEST_MAGNITUDE or exponent > LARGEST_MAGNITUDE or exponent < SMALLEST_MAGNITUDE:
        raise ValueError(f"{name} has an impossible size")
    return value


def _require_positive(value: Decimal, name: str) -> Decimal:
    if require_ordinary(value, name) <= 0:
        raise ValueError(f"{name} must be above zero")
    return value


def round_down(quantity: Decimal, step: Decimal) -> Decimal:
    """Return the largest multiple of `step` that is not above `quantity`; zero when there is none.

    Raise `ValueError` for a negative quantity, a step that is not above zero, or an impossible size.
    """
    _require_positive(step, "step")
    if require_ordinary(quantity, "quantity") < 0:
        raise ValueError("quantity is negative")
    with localcontext(_EXACT):
        return abs(quantity // step) * step


def is_on_step(quantity: Decimal, step: Decimal) -> bool:
    """Say whether `quantity` is a whole number of steps; the errors are those of `round_down`."""
    return round_down(quantity, step) == quantity


def round_to_tick(price: Decimal, tick: Decimal, toward: Side | Toward) -> Decimal:
    """Return a price on the grid: for a side never worse than asked, or toward the named direction.

    Raise `ValueError` when the result would be zero (the price lies below the first tick), for a price or tick that is
    not above zero, and for an impossible size.
    """
    _require_positive(tick, "tick")
    _require_positive(price, "price")
    with localcontext(_EXACT):
        ticks, rest = divmod(price, tick)
        if rest and _goes_up(ticks, rest, tick, toward):
            ticks += 1
        return _require_positive(ticks * tick, "price on the grid")


def _goes_up(ticks: Decimal, rest: Decimal, tick: Decimal, toward: Side | Toward) -> bool:
    """Decide for a price between two ticks; halfway goes to the even one."""
    toward = _TOWARD[toward] if isinstance(toward, Side) else toward
    if toward is not Toward.NEAREST:
        return toward is Toward.UP
    return rest * 2 > tick or (rest * 2 == tick and ticks % 2 == 1)


def plain(value: Decimal) -> str:
    """Write a decimal in full, without exponent and without trailing zeros; zero is `0`, never `-0`."""
    text = format(require_ordinary(value), "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text
