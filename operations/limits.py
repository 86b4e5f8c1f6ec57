"""The last gate before money: what we refuse ourselves, with the reason. Exits pass where an entry would not."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings

from exchange.models import Account, MarketChoices
from market.models import Instrument
from operations.models import Operation, Order

CEILINGS = ("paper", "vst", "live")


@dataclass(frozen=True, slots=True)
class Denial:
    """A machine word and the values that were compared."""

    reason: str
    facts: dict[str, Any] = field(default_factory=dict)


def check_entry(order: Order, instrument: Instrument | None, now: datetime) -> Denial | None:
    """Return why an entry must not be sent, or None. Asked before its size is known."""
    return _account_denial(order.lane.account) or _instrument_denial(order, instrument) or _age_denial(order, now)


def check_claim(order: Order, quantity: Decimal, price: Decimal, now: datetime) -> Denial | None:
    """Return why a sized entry must not be sent, or None.

    Asked in the transaction that submits it, under the locks of its account and lane, so limits hold together.
    `quantity` in base units (contracts on COIN-M), `price` the market's.
    """
    return _lane_denial(order) or _netting_denial(order)


def _lane_denial(order: Order) -> Denial | None:
    if order.lane.frozen_reason == "books_differ":
        return Denial("books_differ", dict(order.lane.frozen_facts))
    return None


def _netting_denial(order: Order) -> Denial | None:
    """Deny an entry that a one-way account would net against the other leg instead of opening it."""
    if order.lane.account.position_mode != Account.Mode.ONE_WAY or order.lane.market == MarketChoices.SPOT:
        return None
    other = Operation.objects.filter(account=order.lane.account, market=order.lane.market, symbol=order.lane.symbol)
    other = other.filter(status__in=Operation.LIVE).exclude(leg=order.operation.leg)
    if other.exists():
        return Denial("one_way_conflict", {"leg": order.operation.leg, "other": other.values_list("leg", flat=True)[0]})
    return None


def _account_denial(account: Account) -> Denial | None:
    if not account.is_active:
        return Denial("account_off", {"account": account.name})
    return above_ceiling(account)


def above_ceiling(account: Account) -> Denial | None:
    """Deny an account whose environment is above what PELUSA_TRADING allows: exits too, they are real money."""
    ceiling = settings.PELUSA_TRADING
    if CEILINGS.index(account.environment) > CEILINGS.index(ceiling):
        return Denial("above_ceiling", {"environment": account.environment, "ceiling": ceiling})
    return None


def _instrument_denial(order: Order, instrument: Instrument | None) -> Denial | None:
    lane = order.lane
    if instrument is None:
        return Denial("no_instrument", {"symbol": lane.symbol, "market": lane.market})
    if not instrument.is_open_allowed:
        return Denial("entries_not_allowed", {"symbol": lane.symbol})
    return None


def _age_denial(order: Order, now: datetime) -> Denial | None:
    """Deny an entry that waited too long for its turn: the market that its alarm saw is gone."""
    if order.decision is None:
        return None
    max_age = order.operation.strategy.max_alarm_age
    age = now - order.decision.alarm_received_at
    if age > timedelta(seconds=max_age):
        return Denial("alarm_too_old", {"age": int(age.total_seconds()), "max_age": max_age})
    return None
