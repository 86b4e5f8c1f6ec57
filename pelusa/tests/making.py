"""Makers of rows for tests of the API and the platform; no exchange is asked."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

from django.contrib.auth import get_user_model
from knox.models import AuthToken
from rest_framework.test import APIClient

from alarms.models import Alarm
from exchange.models import Account, EquityPoint, EquitySnapshot
from market.models import Instrument
from operations.models import Decision, Fill, Lane, Operation, Order
from pelusa.roles import give_role
from pelusa.testing import make_strategy as make_stored_strategy
from pelusa.tests.planted import planted
from strategies.models import Strategy

AT = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
_number = count(1)


def client_of(role: str | None = "viewer", *, raises: bool = True) -> APIClient:
    """Return a client with a new user's token: of a role, `superuser`, without a role (""), or anonymous (None)."""
    client = APIClient(raise_request_exception=raises)
    if role is None:
        return client
    user = get_user_model().objects.create_user(f"{role or 'nobody'}{next(_number)}", is_superuser=role == "superuser")
    if role not in ("", "superuser"):
        give_role(user, role)
    _, token = AuthToken.objects.create(user=user)
    client.credentials(HTTP_AUTHORIZATION=f"Token {token}")
    return client


def make_instrument(symbol: str = "BTC-USDT", market: str = "usdtm", **columns: Any) -> Instrument:
    base, _, quote = symbol.partition("-")
    grid = {
        "tick_size": "0.1",
        "step_size": "0.0001",
        "min_quantity": "0.0001",
        "min_notional": "2",
        "max_long_leverage": 150,
    }
    defaults = {"base_asset": base, "quote_asset": quote, "refreshed_at": AT, "max_short_leverage": 125, **grid}
    return Instrument.objects.create(market=market, symbol=symbol, **defaults | columns)


def make_account(name: str = "desk", **columns: Any) -> Account:
    defaults = {"api_key": f"paper-{planted('exchange key')}", "api_secret": planted("exchange secret")}
    return Account.objects.create(name=name, **defaults | columns)


def make_equity(account: Account, taken_at: datetime = AT, equity: str = "1000", **columns: Any) -> EquityPoint:
    """Make a point of an account's curve, and the one snapshot that it was reckoned from."""
    amounts = dict.fromkeys(("balance", "equity", "available", "value"), Decimal(equity))
    nothing = dict.fromkeys(("used_margin", "unrealised_pnl"), Decimal(0))
    whose = {"account": account, "taken_at": taken_at}
    EquitySnapshot.objects.create(**whose, market="usdtm", asset="USDT", **amounts, **nothing)
    return EquityPoint.objects.create(**whose, equity=Decimal(equity), **columns)


def make_strategy(account: Account | None = None, **columns: Any) -> Strategy:
    return make_stored_strategy(account or make_account(), **columns)


def make_alarm(**columns: Any) -> Alarm:
    defaults = {
        "received_at": AT + timedelta(seconds=next(_number)),
        "raw": "{}",
        "kind": "order",
        "action": "open",
        "leg": "long",
        "ticker": "BTCUSDT.P",
        "pair": "BTCUSDT",
        "interval": "5m",
        "strategy": "Stochastic_v1",
        "price": Decimal(50000),
    }
    return Alarm.objects.create(**defaults | columns)


def make_operation(strategy: Strategy, **columns: Any) -> Operation:
    defaults = {"market": "usdtm", "symbol": "BTC-USDT", "leg": "long", "status": "open", "opened_at": AT}
    held = {"quantity": Decimal("0.01"), "held_quantity": Decimal("0.01"), "avg_entry_price": Decimal("50000.10")}
    return Operation.objects.create(strategy=strategy, account=strategy.account, **defaults | held | columns)


def make_decision(alarm: Alarm, strategy: Strategy, **columns: Any) -> Decision:
    defaults = {
        "leg": "long",
        "outcome": "open",
        "reason": "entry",
        "facts": {"leg": "long"},
        "alarm_received_at": alarm.received_at,
        "alarm_happened_at": alarm.received_at,
    }
    return Decision.objects.create(alarm_id=alarm.pk, strategy=strategy, **defaults | columns)


def make_order(operation: Operation, **columns: Any) -> Order:
    lane, _ = Lane.objects.get_or_create(account=operation.account, market=operation.market, symbol=operation.symbol)
    defaults = {"role": "ENTRY", "side": "BUY", "position_side": "LONG", "status": "filled", "submitted_at": AT}
    filled = {"quantity": Decimal("0.01"), "filled_quantity": Decimal("0.01"), "avg_price": Decimal("50000.10")}
    return Order.objects.create(lane=lane, operation=operation, **defaults | filled | columns)


def make_fill(order: Order, **columns: Any) -> Fill:
    defaults = {
        "exchange_trade_id": str(next(_number)),
        "price": "50000.10",
        "quantity": "0.01",
        "fee": "0.25",
        "filled_at": AT,
    }
    return Fill.objects.create(order=order, lane=order.lane, **defaults | columns)


def make_history(strategies: int = 1, alarms: int = 1) -> list[Strategy]:
    """Make alarms on which every strategy decided to open, each decision with operation, order and fill."""
    account = make_account(f"account{next(_number)}")
    rows = [make_strategy(account, name=f"strategy{next(_number)}") for _ in range(strategies)]
    for _ in range(alarms):
        alarm = make_alarm(status="processed")
        for strategy in rows:
            operation = make_operation(strategy)
            decision = make_decision(alarm, strategy, operation=operation)
            make_fill(make_order(operation, decision=decision))
    return rows
