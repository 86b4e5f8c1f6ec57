"""What holdings are worth in one currency, at last prices. Pure; what has no price is named and never guessed."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import NamedTuple

from exchange.types import BalanceReport

QUOTE = "USDT"
# BingX's demo money: worth its number among demo accounts, and nothing that anybody would pay
DEMO_ASSET = "VST"


class Worth(NamedTuple):
    """A total in USDT, each report with its share of it (None: no price known), and the names of those."""

    total: Decimal
    values: list[tuple[BalanceReport, Decimal | None]]
    unvalued: list[str]


def appraise(reports: Iterable[BalanceReport], prices: Mapping[str, Decimal], *, is_demo: bool = False) -> Worth:
    """Value the equity of each wallet's assets; `prices` by symbol, e.g. `BTC-USDT`. A loss counts as one."""
    values = [(report, value_of(report.asset, report.equity, prices, is_demo=is_demo)) for report in reports]
    total = sum((value for _, value in values if value is not None), Decimal(0))
    unvalued = [f"{report.market.value} {report.asset}" for report, value in values if value is None]
    return Worth(total, values, unvalued)


def value_of(asset: str, amount: Decimal, prices: Mapping[str, Decimal], *, is_demo: bool = False) -> Decimal | None:
    """Return an amount in USDT, or None when no price is known; nothing is worth nothing without one."""
    if not amount or asset == QUOTE or (is_demo and asset == DEMO_ASSET):
        return amount
    price = prices.get(f"{asset}-{QUOTE}")
    return None if price is None else amount * price


def needs_prices(reports: Iterable[BalanceReport], *, is_demo: bool = False) -> bool:
    """Say whether any of it cannot be valued without a price list."""
    return any(value_of(report.asset, report.equity, {}, is_demo=is_demo) is None for report in reports)
