"""What a test or a demonstration wants an account to be, as JSON: read wholly before anything is changed.

balances       {"usdtm:USDT": "100", "coinm:BTC": "1", "spot:ETH": "2", "fund:USDT": "3"}; null empties a wallet
permissions    [1, 2, 3]: 1 spot trade, 2 read, 3 perpetual trade, 4 universal transfer, 5 withdraw
ip_addresses   the only addresses that may use the key; [] for all
position_mode  "hedge" or "one_way"
leverages      {"usdtm:BTC-USDT:LONG": 7}, in one-way mode with BOTH
margin_modes   {"usdtm:BTC-USDT": "ISOLATED"}
standard       {"balances": [...], "positions": [...], "orders": [...]}: rows of the standard contract, over usual ones
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from exchange.paper.books import Account, Income
from exchange.paper.instruments import BY_MARKET
from exchange.paper.wire import Json
from exchange.types import Market

WALLETS = (*Market, "fund")
POSITION_MODES = {"hedge": True, "one_way": False}
MARGIN_MODES = ("CROSSED", "ISOLATED", "SEPARATE_ISOLATED")
INCOMES = [
    "ADL",
    "FUNDING_FEE",
    "INSURANCE_CLEAR",
    "REALIZED_PNL",
    "SYSTEM_DEDUCTION",
    "TRADING_FEE",
    "TRANSFER",
    "TRIAL_FUND",
]
STANDARD = frozenset({"balances", "positions", "orders"})


def read(members: Mapping[str, Json]) -> dict[str, object]:
    """Return the members as they are kept.

    Raises ValueError when one is unknown or wrong.
    """
    unknown = set(members) - set(_READERS)
    if unknown:
        raise ValueError(f"an account has no {', '.join(sorted(unknown))}")
    return {name: _READERS[name](value) for name, value in members.items()}


def apply(account: Account, wanted: Mapping[str, Any]) -> None:
    """Change an account; of wallets, leverages, modes and standard rows only those that are named."""
    for name, value in wanted.items():
        if name == "position_mode":
            account.is_hedge = value
        elif isinstance(value, dict):
            getattr(account, _KEPT_AS.get(name, name)).update(value)
        else:
            setattr(account, name, value)


def rows_of(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise ValueError("rows are a list of objects")
    return value


def read_income(key: str, row: Mapping[str, Any], now_ms: int) -> Income:
    """Return an income without its id, now unless `time` says otherwise.

    Raises ValueError when its type is none of BingX's.
    """
    kind = str(row["incomeType"])
    if kind not in INCOMES:
        raise ValueError(f"incomeType must be one of {', '.join(INCOMES)}")
    amount, asset, time_ms = Decimal(str(row["income"])), str(row.get("asset", "USDT")), int(row.get("time", now_ms))
    return Income(0, key, Market.USDTM, str(row.get("symbol", "")), kind, amount, asset, time_ms, 0)


def _balances(value: Any) -> dict[str, Decimal]:
    balances = {str(name): Decimal(str(amount or 0)) for name, amount in value.items()}
    for name, amount in balances.items():
        if name.partition(":")[0] not in WALLETS or not (amount.is_finite() and amount >= 0):
            raise ValueError(f"{name}: a wallet is one of {', '.join(WALLETS)} with an asset, and never negative")
    return balances


def _position_mode(value: Any) -> bool:
    if value not in POSITION_MODES:
        raise ValueError("position_mode must be hedge or one_way")
    return POSITION_MODES[value]


def _leverages(value: Any) -> dict[str, int]:
    leverages = {str(name): int(leverage) for name, leverage in value.items()}
    for name, leverage in leverages.items():
        market, symbol, side = name.split(":")
        if side not in ("LONG", "SHORT", "BOTH") or not 1 <= leverage <= _most_leverage(market, symbol):
            raise ValueError(f"{name}: no such side, or no such leverage")
    return leverages


def _most_leverage(market: str, symbol: str) -> int:
    """Return the highest leverage of a symbol; raise ValueError when there is none."""
    found = BY_MARKET[Market(market)].get(symbol)
    if found is None or found.market == Market.SPOT:
        raise ValueError(f"{market}:{symbol} is no perpetual here")
    return found.max_leverage


def _margin_modes(value: Any) -> dict[str, str]:
    for name, mode in value.items():
        _most_leverage(*name.split(":"))
        if mode not in MARGIN_MODES:
            raise ValueError(f"{name}: a margin mode is one of {', '.join(MARGIN_MODES)}")
    return dict(value)


def _standard(value: Any) -> dict[str, list[dict[str, Any]]]:
    if not set(value) <= STANDARD:
        raise ValueError(f"the standard contract has {', '.join(sorted(STANDARD))}")
    return {name: rows_of(rows) for name, rows in value.items()}


def _permissions(value: Any) -> list[int]:
    return [int(each) for each in value]


def _addresses(value: Any) -> list[str]:
    return [str(each) for each in value]


_KEPT_AS = {"balances": "wallets", "margin_modes": "margin_types"}
_READERS: dict[str, Callable[[Any], object]] = {
    "balances": _balances,
    "permissions": _permissions,
    "ip_addresses": _addresses,
    "position_mode": _position_mode,
    "leverages": _leverages,
    "margin_modes": _margin_modes,
    "standard": _standard,
}
