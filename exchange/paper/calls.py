"""One signed or public call on its way through the exchange, and the table of all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from exchange.paper import refusals
from exchange.paper.books import Account
from exchange.paper.instruments import BY_MARKET, Instrument
from exchange.paper.wire import Json
from exchange.types import Market

if TYPE_CHECKING:
    from exchange.paper.venue import Venue

Body = dict[str, Json]
# No honest price or quantity is larger; more digits would not fit the grid's arithmetic.
MOST = Decimal(10) ** 12


@dataclass(slots=True)
class Call:
    """A request with what its handler needs; the account is absent on public calls."""

    venue: Venue
    params: dict[str, str]
    now_ms: int
    holder: Account | None

    @property
    def account(self) -> Account:
        if self.holder is None:
            raise refusals.unknown_key()
        return self.holder

    def text(self, name: str, default: str = "") -> str:
        return self.params.get(name) or default

    def need(self, name: str) -> str:
        """Return a required parameter or raise Refusal 109400."""
        value = self.params.get(name)
        if not value:
            raise refusals.missing(name)
        return value

    def whole(self, name: str) -> int | None:
        value = self.params.get(name)
        if not value:
            return None
        if not (value.isascii() and value.isdigit() and len(value) <= 19):
            raise refusals.bad_parameter(f"Mismatch type of {name}, it must be an integer")
        return int(value)

    def need_whole(self, name: str) -> int:
        self.need(name)
        return self.whole(name) or 0

    def limit(self, name: str, default: int, maximum: int) -> int:
        value = self.whole(name)
        if value is None:
            return default
        if not 1 <= value <= maximum:
            raise refusals.bad_parameter(f"{name}: This field must be less than or equal to {maximum}.")
        return value

    def amount(self, name: str) -> Decimal:
        """Return a decimal parameter, 0 when absent."""
        value = self.params.get(name)
        if not value:
            return Decimal(0)
        try:
            number = Decimal(value)
        except InvalidOperation:
            number = Decimal("NaN")
        if not number.is_finite() or not 0 <= number <= MOST:
            raise refusals.bad_parameter(f"Mismatch type of {name}, it must be a number")
        return number

    def flag(self, name: str) -> bool:
        return self.params.get(name, "").lower() == "true"

    def one_of(self, name: str, allowed: tuple[str, ...] | frozenset[str], default: str = "") -> str:
        value = self.params.get(name) or default
        if value not in allowed:
            raise refusals.bad_parameter(f"{name} must be one of {', '.join(sorted(allowed))}")
        return value

    def instrument(self, market: Market) -> Instrument:
        """Return the instrument named by `symbol`, or raise Refusal 109425."""
        symbol = self.need("symbol")
        found = BY_MARKET[market].get(symbol)
        if found is None:
            raise refusals.unknown_symbol(symbol)
        return found

    def instruments(self, market: Market) -> list[Instrument]:
        """Return the one that `symbol` names, else all."""
        return [self.instrument(market)] if self.params.get("symbol") else list(BY_MARKET[market].values())


Handler = Callable[[Call], Body]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A handler with the group whose faults it suffers: orders, cancels, lookups, account or market."""

    handler: Handler
    group: str
    is_signed: bool


ENDPOINTS: dict[tuple[str, str], Endpoint] = {}


def endpoint(verb: str, *paths: str, group: str, is_signed: bool = True) -> Callable[[Handler], Handler]:
    """Register a handler for `/openApi` + each path."""

    def register(handler: Handler) -> Handler:
        for path in paths:
            ENDPOINTS[verb, "/openApi" + path] = Endpoint(handler, group, is_signed)
        return handler

    return register


def answer(data: Json) -> Body:
    return {"code": 0, "msg": "", "data": data}
