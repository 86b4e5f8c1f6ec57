"""The last gate before money: what we refuse ourselves, with the reason. Exits pass where an entry would not.

`check_entry` is asked before anything is read from the exchange and is cheap. `check_claim` is asked in the
transaction that submits, under the lock of the order's account: all that it counts stands still until the commit, over
all lanes of the account. Where limits for everything exist their row is locked too, always after the account's.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings

from exchange.models import Account, MarketChoices
from exchange.rounding import plain
from market.models import Instrument
from operations import killswitch, schedules, throttle
from operations.exposure import (
    PriceUnknown,
    Quote,
    contract_sizes,
    entries_since,
    live_notional,
    live_operations,
    orders_of,
    worth_of,
)
from operations.kept import Kept
from operations.losses import last_loss, result_since
from operations.models import Limits, Operation, Order

CEILINGS = ("paper", "vst", "live")
# A price that was read longer ago is not the market's any more
PRICE_KEPT_FOR = timedelta(seconds=10)
HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True)
class Denial:
    """A machine word and the values that were compared."""

    reason: str
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Claim:
    """An entry that is about to be submitted: base units (contracts on COIN-M), quote prices, quote money."""

    order: Order
    quote: Quote
    notional: Decimal
    now: datetime

    @property
    def midnight(self) -> datetime:
        """When the day of the claim began, in UTC."""
        return self.now.replace(hour=0, minute=0, second=0, microsecond=0)


def check_entry(order: Order, instrument: Instrument | None, now: datetime) -> Denial | None:
    """Return why an entry must not be sent, or None. Asked before its size is known."""
    return (
        _out_of_service(order)
        or _instrument_denial(order, instrument)
        or _age_denial(order, now)
        or next(_denials(_outside_schedule(order, limits, now) for limits in limits_for(order)), None)
    )


def check_claim(
    order: Order, quantity: Decimal, price: Decimal | None, now: datetime, *, priced_at: datetime | None = None
) -> Denial | None:
    """Return why a sized entry must not be sent, or None.

    Asked in the transaction that submits it, under the locks of its account and lane, so limits hold together.
    `quantity` in base units (contracts on COIN-M), `price` the market's, read at `priced_at`.
    """
    return (
        _out_of_service(order)
        or _lane_denial(order)
        or _netting_denial(order)
        or _age_denial(order, now)
        or _price_denial(order, price, now, priced_at)
        or _limits_denial(order, quantity, price or Decimal(0), now)
    )


def check_again(order: Order, now: datetime) -> Denial | None:
    """Return why an entry that provably never arrived must not be sent once more, or None.

    Its quantity was claimed already. Asked under its account's lock, so that no brake is passed by a second sending.
    """
    return _out_of_service(order) or _age_denial(order, now)


def above_ceiling(account: Account) -> Denial | None:
    """Deny an account whose environment is above what PELUSA_TRADING allows: exits too, they are real money."""
    ceiling = settings.PELUSA_TRADING
    if CEILINGS.index(account.environment) > CEILINGS.index(ceiling):
        return Denial("above_ceiling", {"environment": account.environment, "ceiling": ceiling})
    return None


def limits_for(order: Order, *, is_claim: bool = False) -> list[Limits]:
    """Return every row of limits that concerns an entry: for everything, of its account, of its strategy.

    A claim locks the one for everything: accounts claim at the same time, and each counts what the others hold.
    """
    account_id, strategy_id = order.lane.account_id, order.operation.strategy_id
    found = _LIMITS.all(killswitch.scope_of(account_id), killswitch.scope_of(None, strategy_id))
    if not is_claim:
        return found
    shared = [each.pk for each in found if each.scope == killswitch.EVERYTHING]
    locked = list(Limits.objects.select_for_update().filter(pk__in=shared)) if shared else []
    return locked + [each for each in found if each.pk not in shared]


_LIMITS = Kept[Limits](
    lambda *scopes: Limits.objects.filter(scope__in=[killswitch.EVERYTHING, *scopes]).order_by("scope"), str, str
)


def _out_of_service(order: Order) -> Denial | None:
    account = order.lane.account
    return _account_denial(account) or _brake_denial(account) or _strategy_denial(order)


def _account_denial(account: Account) -> Denial | None:
    if not account.is_active:
        return Denial("account_off", {"account": account.name})
    if account.may_withdraw:
        return Denial("key_may_withdraw", {"account": account.name})
    if account.is_key_unproven:
        return Denial("key_not_checked", {"account": account.name})
    return above_ceiling(account)


def _brake_denial(account: Account) -> Denial | None:
    halt = killswitch.halt()
    if halt:
        return Denial("halted", {"by": halt.by, "why": halt.why})
    switch = killswitch.pulled_switch(account.pk)
    if switch is None:
        return None
    of_whom = account.name if switch.account_id else "all accounts"
    return Denial("kill_switch", {"accounts": of_whom, "who": switch.changed_by, "why": switch.reason})


def _strategy_denial(order: Order) -> Denial | None:
    """Deny what waits of a strategy that was switched off meanwhile."""
    return None if order.operation.strategy.is_active else Denial("strategy_off")


def _lane_denial(order: Order) -> Denial | None:
    if order.lane.frozen_reason == "books_differ":
        return Denial("books_differ", dict(order.lane.frozen_facts))
    return None


def _netting_denial(order: Order) -> Denial | None:
    """Deny an entry that a one-way account would net against the other leg instead of opening it."""
    if order.lane.account.position_mode != Account.Mode.ONE_WAY or order.lane.market == MarketChoices.SPOT:
        return None
    other = Operation.objects.filter(account=order.lane.account, market=order.lane.market, symbol=order.lane.symbol)
    # Only what is held can be netted, and at an order's turn nothing else of its lane is on the way
    other = other.filter(status__in=Operation.LIVE, held_quantity__gt=0).exclude(leg=order.operation.leg)
    leg = other.values_list("leg", flat=True).first()
    return Denial("one_way_conflict", {"leg": order.operation.leg, "other": leg}) if leg else None


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
    age = now - order.decision.alarm_happened_at
    if age > timedelta(seconds=max_age):
        return Denial("alarm_too_old", {"age": int(age.total_seconds()), "max_age": max_age})
    return None


def _price_denial(order: Order, price: Decimal | None, now: datetime, priced_at: datetime | None) -> Denial | None:
    if price is None or not price.is_finite() or price <= 0:
        return Denial("no_price", {"symbol": order.lane.symbol})
    if priced_at and now - priced_at > PRICE_KEPT_FOR:
        age, max_age = (now - priced_at).total_seconds(), int(PRICE_KEPT_FOR.total_seconds())
        return Denial("price_stale", {"age": int(age), "max_age": max_age})
    return None


def _limits_denial(order: Order, quantity: Decimal, price: Decimal, now: datetime) -> Denial | None:
    found = limits_for(order, is_claim=True)
    quote = Quote(order.lane.market, order.lane.symbol, price)
    try:
        notional = worth_of(order, quantity, quote, contract_sizes([order])) if found else Decimal(0)
        claim = Claim(order, quote, notional, now)
        denial = next(_denials(check(claim, limits) for limits in found for check in CHECKS), None)
    except PriceUnknown as unknown:
        return Denial("worth_unknown", {"symbol": unknown.symbol})
    return denial or _throttle_denial(order, found, now)


def _denials(answers: Iterator[Denial | None]) -> Iterator[Denial]:
    return (answer for answer in answers if answer)


def _schedule(claim: Claim, limits: Limits) -> Denial | None:
    return _outside_schedule(claim.order, limits, claim.now)


def _outside_schedule(order: Order, limits: Limits, now: datetime) -> Denial | None:
    if not limits.schedule.strip():
        return None
    facts = {"scope": _whose(order, limits), "schedule": limits.schedule}
    try:
        schedule = schedules.parse(limits.schedule)
    except ValueError as error:
        # Somebody wrote it past the forms: no window that can be read is open
        return Denial("schedule_unreadable", facts | {"error": str(error)})
    if schedule.is_open(now):
        return None
    return Denial("outside_schedule", facts | {"opens_at": f"{schedule.next_opening(now):%a %d %b %H:%M}"})


def _order_notional(claim: Claim, limits: Limits) -> Denial | None:
    most = limits.max_order_notional
    if most is None or claim.notional <= most:
        return None
    facts = {"scope": _whose(claim.order, limits), "notional": _shown(claim.notional), "max_notional": _shown(most)}
    return Denial("order_too_large", facts)


def _deviation(claim: Claim, limits: Limits) -> Denial | None:
    most = limits.max_price_deviation
    if most is None:
        return None
    seen = claim.order.decision.alarm_price if claim.order.decision else None
    if not seen or seen <= 0:
        return Denial("no_alarm_price", {"scope": _whose(claim.order, limits)})
    distance = abs(claim.quote.price - seen) * HUNDRED
    if distance <= most * seen:
        return None
    facts = {"price": _shown(claim.quote.price), "alarm_price": _shown(seen), "deviation": _shown(distance / seen)}
    return Denial("price_moved", facts | {"scope": _whose(claim.order, limits), "max_deviation": _shown(most)})


def _cool_down(claim: Claim, limits: Limits) -> Denial | None:
    seconds = limits.cool_down_after_loss
    if not seconds:
        return None
    rest = timedelta(seconds=seconds)
    loss = last_loss(limits, claim.now - rest, claim.quote)
    if loss is None:
        return None
    facts = {"operation": loss.operation_id, "loss": _shown(loss.amount), "until": f"{loss.closed_at + rest:%H:%M:%S}"}
    return Denial("cooling_down", facts | {"scope": _whose(claim.order, limits)})


def _open_operations(claim: Claim, limits: Limits) -> Denial | None:
    most = limits.max_open_operations
    if most is None:
        return None
    live = live_operations(limits)
    # A further entry of an operation that is open opens no other
    if claim.order.operation_id in live or len(live) < most:
        return None
    facts = {"scope": _whose(claim.order, limits), "open": len(live), "max_operations": most}
    return Denial("too_many_operations", facts)


def _open_notional(claim: Claim, limits: Limits) -> Denial | None:
    most = limits.max_open_notional
    if most is None:
        return None
    held = live_notional(limits, claim.quote)
    if held + claim.notional <= most:
        return None
    facts = {"held": _shown(held), "notional": _shown(claim.notional), "max_notional": _shown(most)}
    return Denial("too_much_open", facts | {"scope": _whose(claim.order, limits)})


def _orders_today(claim: Claim, limits: Limits) -> Denial | None:
    most = limits.max_orders_per_day
    if most is None:
        return None
    sent = entries_since(orders_of(limits), claim.midnight)
    if sent < most:
        return None
    return Denial("too_many_today", {"scope": _whose(claim.order, limits), "sent": sent, "max_orders": most})


def _daily_loss(claim: Claim, limits: Limits) -> Denial | None:
    most = limits.max_daily_loss
    if most is None:
        return None
    loss = -result_since(limits, claim.midnight, claim.quote)
    if loss < most:
        return None
    return Denial("daily_loss", {"scope": _whose(claim.order, limits), "loss": _shown(loss), "max_loss": _shown(most)})


# What costs nothing to know comes first
CHECKS: tuple[Callable[[Claim, Limits], Denial | None], ...] = (
    _schedule,
    _order_notional,
    _deviation,
    _open_operations,
    _open_notional,
    _orders_today,
    _cool_down,
    _daily_loss,
)


def _throttle_denial(order: Order, limits: list[Limits], now: datetime) -> Denial | None:
    """Deny an entry of a strategy that runs wild, and switch the strategy off in the same commit."""
    most = throttle.most_entries(limits)
    if most is None or not throttle.is_runaway(order.operation.strategy, most, now):
        return None
    throttle.stop(order.operation, most, now)
    return Denial("too_many_entries", {"most": most, "seconds": int(throttle.WINDOW.total_seconds())})


def _whose(order: Order, limits: Limits) -> str:
    """Return whose limits these are, as a sentence names them."""
    if limits.strategy_id is not None:
        return f"Strategy {order.operation.strategy.name}"
    return f"Account {order.lane.account.name}" if limits.account_id is not None else "Everything together"


def _shown(value: Decimal) -> str:
    return plain(Decimal(f"{value:.4f}"))
