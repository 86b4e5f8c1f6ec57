"""In what the quantities and the results of a symbol are counted, as a person reads them beside the number."""

from django.utils.translation import gettext

from exchange.types import Market


def settled_in(market: str, symbol: str) -> str:
    """Return the asset in which results of a symbol are counted."""
    base, _, quote = symbol.partition("-")
    return base if market == Market.COINM else quote


def counted_in(market: str, symbol: str) -> str:
    """Return what a quantity of a symbol counts: its base asset, or contracts on COIN-M."""
    return gettext("contracts") if market == Market.COINM else symbol.partition("-")[0]
