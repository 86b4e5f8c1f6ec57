"""What is wrong with a strategy before it is saved, per field, in sentences. The API and the admin ask the same.

A field of a leg is named with a dot: `long.entry_interval`. Nothing is written here; `resolve` fills in what follows
from the ticker.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.utils.translation import gettext as _

from exchange.models import MarketChoices
from exchange.rounding import plain, round_down
from exchange.types import Market
from market.intervals import INTERVALS
from market.models import Instrument
from market.sentences import told
from market.symbols import AmbiguousPair, split_ticker, symbol_for
from strategies.models import Leg, Strategy

Problem = tuple[str, str]

HUNDRED = Decimal(100)
OLDEST_ALARM = 86_400
MOST_PYRAMIDING = 100
MOST_LEVERAGE = 200
# What an operation that is still live was opened with: alarms that close it must go on finding it
FIXED_WHILE_LIVE = ("ticker", "market", "account_id")


@dataclass(frozen=True, slots=True)
class Found:
    """What a ticker means on a market, or the field and the sentence that say why it means nothing."""

    pair: str = ""
    instrument: Instrument | None = None
    problem: Problem | None = None


def resolve(strategy: Strategy) -> Found:
    """Fill in the strategy's `pair` and `symbol` from its ticker and market; return what was found."""
    found = find(strategy.ticker, strategy.market)
    strategy.pair = found.pair
    strategy.symbol = found.instrument.symbol if found.instrument else ""
    return found


def find(ticker: str, market: str) -> Found:
    """Look a TradingView ticker up in the exchange's own list of instruments."""
    try:
        parts = split_ticker(ticker)
    except ValueError as error:
        return Found(problem=("ticker", f"{told(error.args[0], _)}."))
    if market not in MarketChoices.values:
        return Found(
            parts.pair,
            problem=("market", _("Must be one of %(values)s.") % {"values": ", ".join(MarketChoices.values)}),
        )
    if parts.is_perpetual_only and market == Market.SPOT:
        return Found(
            parts.pair,
            problem=("market", _("%(ticker)s is a perpetual: spot does not trade it.") % {"ticker": parts.ticker}),
        )
    return _listed(parts.pair, parts.ticker, market)


def _listed(pair: str, ticker: str, market: str) -> Found:
    symbols = _symbols(market)
    try:
        symbol = symbol_for(pair, market, symbols)
    except AmbiguousPair as error:
        return Found(pair, problem=("ticker", f"{told(error.args[0], _)}."))
    if symbol is None:
        return Found(pair, problem=("ticker", _why_unlisted(pair, ticker, market, bool(symbols))))
    return Found(pair, Instrument.objects.get(market=market, symbol=symbol))


def _why_unlisted(pair: str, ticker: str, market: str, has_list: bool) -> str:
    if not has_list:
        return _("The exchange's list of %(market)s instruments has not been read yet: try again when it has.") % {
            "market": market
        }
    other = [each for each in MarketChoices.values if each != market and _is_listed(pair, each)]
    hint = " " + _("It is on %(markets)s.") % {"markets": ", ".join(other)} if other else ""
    return _("The exchange lists no %(ticker)s on %(market)s.") % {"ticker": ticker, "market": market} + hint


def _is_listed(pair: str, market: str) -> bool:
    try:
        return symbol_for(pair, market, _symbols(market)) is not None
    except AmbiguousPair:
        return True


def _symbols(market: str) -> list[str]:
    return list(Instrument.objects.filter(market=market).values_list("symbol", flat=True))


def problems(strategy: Strategy, legs: Sequence[Leg]) -> dict[str, list[str]]:
    """Return every complaint by field, none when the strategy may be saved with these legs; resolve it on the way."""
    found: dict[str, list[str]] = {}
    for name, sentence in _complaints(strategy, legs):
        found.setdefault(name, []).append(sentence)
    return found


def _complaints(strategy: Strategy, legs: Sequence[Leg]) -> Iterator[Problem]:
    listing = resolve(strategy)
    if listing.problem:
        yield listing.problem
    yield from _of_strategy(strategy)
    yield from _of_what_is_live(strategy, legs)
    yield from _of_legs_together(strategy, legs)
    for leg in legs:
        for name, sentence in _of_leg(strategy, leg, listing.instrument):
            yield f"{leg.name}.{name}", sentence


def _of_strategy(strategy: Strategy) -> Iterator[Problem]:
    for name in ("name", "alarm_name"):
        if not getattr(strategy, name).strip():
            yield name, _("Must not be empty.")
    if strategy.max_alarm_age is None or not 1 <= strategy.max_alarm_age <= OLDEST_ALARM:
        yield "max_alarm_age", _("Must be from 1 to %(most)s seconds.") % {"most": OLDEST_ALARM}
    begin, end = strategy.active_from, strategy.active_until
    if begin and end and end <= begin:
        yield "active_until", _("Must be later than active_from.")


def _of_what_is_live(strategy: Strategy, legs: Sequence[Leg]) -> Iterator[Problem]:
    """Keep a live operation closable: its alarms are found by ticker and leg."""
    live = _live_legs(strategy)
    if not live:
        return
    stored = Strategy.objects.values(*FIXED_WHILE_LIVE).get(pk=strategy.pk)
    for name in FIXED_WHILE_LIVE:
        if getattr(strategy, name) != stored[name]:
            yield name.removesuffix("_id"), _("Cannot be changed while an operation is live: close it first.")
    for name in sorted(live - {leg.name for leg in legs}):
        yield (
            name,
            _("The %(leg)s leg cannot be removed while its operation is live: close it first.") % {"leg": name},
        )


def _live_legs(strategy: Strategy) -> set[str]:
    if strategy._state.adding:
        return set()
    # Operations lie above strategies: they are reached through their own relation, never imported
    operations: Any = strategy.operations
    return set(operations.filter(status__in=operations.model.LIVE).values_list("leg", flat=True))


def _of_legs_together(strategy: Strategy, legs: Sequence[Leg]) -> Iterator[Problem]:
    names = [leg.name for leg in legs]
    if not legs:
        yield "long", _("A strategy needs a long leg, a short leg or both.")
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield name, _("A strategy has one %(leg)s leg.") % {"leg": name}
    if strategy.market == Market.SPOT and Leg.Name.SHORT in names:
        yield "short", _("Spot has no short leg: nothing can be sold there that is not owned.")


def _of_leg(strategy: Strategy, leg: Leg, instrument: Instrument | None) -> Iterator[Problem]:
    yield from _of_intervals(leg)
    if not 1 <= (leg.pyramiding or 0) <= MOST_PYRAMIDING:
        yield "pyramiding", _("Must be from 1 to %(most)s.") % {"most": MOST_PYRAMIDING}
    if leg.margin_mode not in Leg.Margin.values:
        yield "margin_mode", _("Must be one of %(values)s.") % {"values": ", ".join(Leg.Margin.values)}
    yield from _of_leverage(strategy, leg, instrument)
    yield from _of_sizing(leg)
    yield from _of_floors(leg, instrument)
    yield from _of_stops(leg)
    if strategy.market == Market.SPOT:
        yield from _of_spot_pair(leg)


def _of_intervals(leg: Leg) -> Iterator[Problem]:
    allowed = ", ".join(INTERVALS)
    for name in ("entry_interval", "close_interval"):
        if getattr(leg, name) not in INTERVALS:
            yield (
                name,
                _("%(value)s is no interval: take one of %(allowed)s.")
                % {"value": repr(getattr(leg, name)), "allowed": allowed},
            )
    for name in ("entry_confirmation_interval", "close_confirmation_interval"):
        if getattr(leg, name) not in ("", *INTERVALS):
            yield (
                name,
                _("%(value)s is no interval: take one of %(allowed)s, or none for no gate.")
                % {"value": repr(getattr(leg, name)), "allowed": allowed},
            )


def _of_leverage(strategy: Strategy, leg: Leg, instrument: Instrument | None) -> Iterator[Problem]:
    leverage = leg.leverage or 0
    if strategy.market == Market.SPOT:
        if leverage != 1:
            yield "leverage", _("Must be 1 on spot: nothing is borrowed there.")
        return
    most = _most_leverage(leg, instrument)
    if not 1 <= leverage <= most:
        words = _("Must be from 1 to %(most)s for %(symbol)s.") if instrument else _("Must be from 1 to %(most)s.")
        yield "leverage", words % {"most": most, "symbol": instrument.symbol if instrument else ""}


def _most_leverage(leg: Leg, instrument: Instrument | None) -> int:
    if instrument is None:
        return MOST_LEVERAGE
    most = instrument.max_long_leverage if leg.name == Leg.Name.LONG else instrument.max_short_leverage
    return min(most or MOST_LEVERAGE, MOST_LEVERAGE)


def _of_sizing(leg: Leg) -> Iterator[Problem]:
    if leg.sizing not in Leg.Sizing.values:
        yield "sizing", _("Must be one of %(values)s.") % {"values": ", ".join(Leg.Sizing.values)}
    elif leg.size is None:
        if leg.sizing != Leg.Sizing.ALARM:
            yield "size", _("Is needed for sizing by %(sizing)s.") % {"sizing": leg.sizing}
    elif leg.size <= 0:
        yield "size", _("Must be above zero.")
    elif leg.sizing in (Leg.Sizing.EQUITY_PERCENT, Leg.Sizing.RISK_PERCENT) and leg.size > HUNDRED:
        yield (
            "size",
            _("Is a percent of the account's equity and must not be above 100; was %(size)s.")
            % {"size": plain(leg.size)},
        )
    if leg.sizing == Leg.Sizing.RISK_PERCENT and not (leg.stop_loss_per_order or leg.stop_loss_general):
        yield (
            "stop_loss_per_order",
            _("Sizing by risk_percent needs a stop loss: the distance to it sets the quantity."),
        )


def _of_floors(leg: Leg, instrument: Instrument | None) -> Iterator[Problem]:
    """Complain of a size that the exchange would refuse at any price."""
    if instrument is None or leg.size is None or leg.size <= 0:
        return
    if leg.sizing == Leg.Sizing.NOTIONAL and leg.size < instrument.min_notional:
        least = f"{plain(instrument.min_notional)} {instrument.quote_asset}"
        yield (
            "size",
            _("The smallest order in %(symbol)s is worth %(least)s; was %(worth)s.")
            % {"symbol": instrument.symbol, "least": least, "worth": plain(leg.size)},
        )
    if leg.sizing == Leg.Sizing.QUANTITY:
        yield from _of_quantity(leg.size, instrument)


def _of_quantity(size: Decimal, instrument: Instrument) -> Iterator[Problem]:
    quantity = round_down(size, instrument.step_size)
    if quantity <= 0 or quantity < instrument.min_quantity:
        least = plain(max(instrument.min_quantity, instrument.step_size))
        yield (
            "size",
            _("The smallest order in %(symbol)s is %(least)s; was %(size)s.")
            % {"symbol": instrument.symbol, "least": least, "size": plain(size)},
        )
    elif instrument.market == Market.COINM and quantity * instrument.contract_size < instrument.min_notional:
        least, worth = plain(instrument.min_notional), plain(quantity * instrument.contract_size)
        yield (
            "size",
            _("The smallest order in %(symbol)s is worth %(least)s; was %(worth)s.")
            % {"symbol": instrument.symbol, "least": least, "worth": worth},
        )


def _of_stops(leg: Leg) -> Iterator[Problem]:
    for name in ("stop_loss_per_order", "stop_loss_general"):
        percent = getattr(leg, name)
        if percent is not None and not 0 < percent < HUNDRED:
            yield (
                name,
                _("Is a percent of the price and must be above 0 and below 100; was %(percent)s.")
                % {"percent": plain(percent)},
            )
    for name in ("take_profit_per_order", "take_profit_general"):
        percent = getattr(leg, name)
        if percent is not None and percent <= 0:
            yield (
                name,
                _("Is a percent of the price and must be above 0; was %(percent)s.") % {"percent": plain(percent)},
            )
        elif percent is not None and leg.name == Leg.Name.SHORT and percent >= HUNDRED:
            yield (
                name,
                _("Must be below 100 for a short: no price falls below zero; was %(percent)s.")
                % {"percent": plain(percent)},
            )


def _of_spot_pair(leg: Leg) -> Iterator[Problem]:
    """Refuse a stop and a target together on spot: an order locks its coins there, and they can be locked once."""
    for name in ("take_profit_per_order", "take_profit_general"):
        if getattr(leg, name) is not None and (leg.stop_loss_per_order or leg.stop_loss_general):
            yield name, _("Cannot stand beside a stop loss on spot: the exchange locks the coins for one of the two.")
