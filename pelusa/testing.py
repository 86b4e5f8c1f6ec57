"""Makers of rows for tests, on a paper exchange to trade on."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from exchange.models import Account
from exchange.paper_accounts import open_paper_account
from exchange.types import Market
from market.instruments import refresh
from pelusa.livesystem import DATABASES, ApiClient, LiveSystem, PaperExchange, paper_exchange, wait_until
from strategies.models import Leg, Strategy

__all__ = [
    "DATABASES",
    "ApiClient",
    "LiveSystem",
    "PaperExchange",
    "alarm_body",
    "list_instruments",
    "make_account",
    "make_strategy",
    "paper_exchange",
    "wait_until",
]


def list_instruments() -> None:
    """Store the paper exchange's list of USDT-M instruments."""
    refresh(Market.USDTM)


def make_account(name: str = "desk", **columns: Any) -> Account:
    """Create a paper account and open it at the paper exchange."""
    account = Account(name=name, **columns)
    open_paper_account(account)
    account.save()
    return account


def make_strategy(account: Account, *, leg: dict[str, Any] | None = None, **columns: Any) -> Strategy:
    """Create a strategy on BTCUSDT.P with a long leg of 0.01 on 5m and no gate, but for what is given."""
    defaults = {
        "name": "Stochastic 5m",
        "alarm_name": "Stochastic_v1",
        "ticker": "BTCUSDT.P",
        "market": "usdtm",
        "symbol": "BTC-USDT",
        "pair": "BTCUSDT",
    }
    strategy = Strategy.objects.create(account=account, **defaults | columns)
    rules = {"name": "long", "entry_interval": "5m", "close_interval": "5m", "size": Decimal("0.01")}
    Leg.objects.create(strategy=strategy, **rules | (leg or {}))
    return strategy


def alarm_body(
    order: str = "order open long",
    *,
    at: datetime | None = None,
    ticker: str = "BTCUSDT.P",
    interval: str = "5",
    **members: str,
) -> bytes:
    """Return a message as TradingView posts it; `at` is its time, by default a moment ago and never the same twice."""
    moment = at or datetime.now(UTC) - timedelta(seconds=30) + timedelta(milliseconds=next(_tick))
    said = {
        "Ticker": ticker,
        "Interval": interval,
        "Time_Alert": f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z",
        "Order": order,
        "Strategy": "Stochastic_v1",
    }
    return json.dumps(said | members).encode()


_tick = count()


def end_connection(connection: BaseDatabaseWrapper) -> None:
    """Let the server end a connection, as it does when it starts anew."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT CONNECTION_ID()")
        (number,) = cursor.fetchone()
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute(f"KILL {number}")
    other.close()
