"""All addresses of the exchange: importing a module registers its endpoints."""

from __future__ import annotations

from exchange.paper import (
    coin,
    countdown,
    spot_market,
    spot_orders,
    standard,
    swap_account,
    swap_market,
    swap_orders,
    wallets,
)
from exchange.paper.calls import ENDPOINTS

MODULES = (coin, countdown, spot_market, spot_orders, standard, swap_account, swap_market, swap_orders, wallets)

__all__ = ["ENDPOINTS"]
