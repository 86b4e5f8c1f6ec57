"""What is worth knowing while a strategy is typed: what its figures mean. Complaints are `strategies.validation`'s.

The figures are for people: from the market's last price, and without fees or maintenance margin.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.utils.translation import gettext as _

from exchange.quotes import quotes
from exchange.rounding import plain, round_down
from exchange.types import Market
from market.models import Instrument
from strategies.models import Leg, Strategy

HUNDRED = Decimal(100)
STOPS = ("stop_loss_per_order", "stop_loss_general")
TARGETS = ("take_profit_per_order", "take_profit_general")
MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence at a field, named as `strategies.validation` names it; a warning is about money."""

    field: str
    sentence: str
    is_warning: bool = False


def notes_of(strategy: Strategy, legs: Sequence[Leg]) -> Iterator[Note]:
    """Yield what is worth knowing of a strategy that was resolved, with these legs: two queries, no call outside."""
    instrument = Instrument.objects.filter(market=strategy.market, symbol=strategy.symbol).first()
    yield from _of_alarm_name(strategy)
    if instrument:
        yield Note("ticker", _of_instrument(instrument))
    for leg in legs:
        for note in _of_leg(leg, instrument, _price_of(strategy, instrument)):
            yield Note(f"{leg.name}.{note.field}", note.sentence, note.is_warning)


def _of_alarm_name(strategy: Strategy) -> Iterator[Note]:
    if not strategy.alarm_name.strip():
        return
    others = Strategy.objects.filter(alarm_name=strategy.alarm_name).exclude(pk=strategy.pk).order_by("name")
    rows = list(others.values_list("name", "pair")[:100])
    together = [name for name, pair in rows if pair == strategy.pair]
    if together:
        names = {"names": _joined(together)}
        yield Note("alarm_name", _("Shared with %(names)s on this ticker: one alarm moves all of them.") % names)
    elif rows:
        names = {"names": _joined([name for name, _pair in rows])}
        yield Note("alarm_name", _("%(names)s listens to this name on another ticker.") % names)


def _joined(names: Sequence[str]) -> str:
    return ", ".join(names[:MOST_NAMED]) + (f" +{len(names) - MOST_NAMED}" if len(names) > MOST_NAMED else "")


def _of_instrument(instrument: Instrument) -> str:
    words = {"symbol": instrument.symbol, "step": plain(instrument.step_size), "unit": _unit(instrument)}
    words |= {"least": plain(max(instrument.min_quantity, instrument.step_size))}
    words |= {"worth": plain(instrument.min_notional), "quote": instrument.quote_asset}
    return (
        _("It is %(symbol)s: at least %(least)s %(unit)s and %(worth)s %(quote)s, in steps of %(step)s %(unit)s.")
        % words
    )


def _unit(instrument: Instrument) -> str:
    return _("contracts") if instrument.market == Market.COINM else str(instrument.base_asset)


def _price_of(strategy: Strategy, instrument: Instrument | None) -> Decimal | None:
    if instrument is None or strategy.account_id is None:
        return None
    return quotes.prices(strategy.account.environment, Market(strategy.market)).get(instrument.symbol)


def _of_leg(leg: Leg, instrument: Instrument | None, price: Decimal | None) -> Iterator[Note]:
    yield from _of_gate(leg)
    yield from _of_size(leg, instrument, price)
    if instrument is None or instrument.market != Market.SPOT:
        yield from _of_protection(leg)


def _of_gate(leg: Leg) -> Iterator[Note]:
    opens, shuts = leg.entry_confirmation_interval, leg.close_confirmation_interval
    if shuts and not opens:
        sentence = _("Without a confirmation that opens the gate there is none to shut: it does nothing.")
        yield Note("close_confirmation_interval", sentence, is_warning=True)
    elif opens and not shuts:
        yield Note("close_confirmation_interval", _("Nothing shuts the gate once it was opened."), is_warning=True)


def _of_size(leg: Leg, instrument: Instrument | None, price: Decimal | None) -> Iterator[Note]:
    if leg.sizing == Leg.Sizing.ALARM:
        yield Note("size", _("The alarm's own quantity is taken; this stays empty."))
    if leg.size is None or leg.size <= 0:
        return
    if leg.sizing == Leg.Sizing.EQUITY_PERCENT:
        yield Note("size", _of_equity(leg.size, leg.leverage or 1))
    elif leg.sizing == Leg.Sizing.RISK_PERCENT:
        yield from _of_risk(leg, leg.size)
    elif instrument and leg.sizing == Leg.Sizing.QUANTITY:
        yield Note("size", _of_quantity(leg, round_down(leg.size, instrument.step_size), instrument, price))
    elif instrument and leg.sizing == Leg.Sizing.NOTIONAL:
        yield Note("size", _of_notional(leg, leg.size, instrument, price))


def _of_equity(percent: Decimal, leverage: int) -> str:
    words = {"percent": plain(percent), "bought": plain(percent * leverage), "leverage": leverage}
    return _("%(percent)s %% of the equity as margin buys %(bought)s %% of it at leverage %(leverage)s.") % words


def _of_risk(leg: Leg, percent: Decimal) -> Iterator[Note]:
    stop = leg.stop_loss_per_order or leg.stop_loss_general
    if not stop or stop <= 0:
        return
    bought = percent / stop * HUNDRED
    words = {"percent": plain(percent), "stop": plain(stop), "bought": f"{bought:.0f}"}
    yield Note(
        "size", _("A stop at %(stop)s %% loses %(percent)s %% of the equity: %(bought)s %% of it is bought.") % words
    )
    if bought > HUNDRED * (leg.leverage or 1):
        needed = {"leverage": f"{bought / HUNDRED:.1f}"}
        yield Note("leverage", _("Too low for this risk and stop: it takes at least %(leverage)s.") % needed, True)


def _of_quantity(leg: Leg, quantity: Decimal, instrument: Instrument, price: Decimal | None) -> str:
    amount = f"{plain(quantity)} {_unit(instrument)}"
    value = instrument.contract_size if instrument.market == Market.COINM else price
    return f"{amount}{_worth(leg, quantity * value, instrument) if value else ''}."


def _of_notional(leg: Leg, notional: Decimal, instrument: Instrument, price: Decimal | None) -> str:
    value = instrument.contract_size if instrument.market == Market.COINM else price
    worth = f"{plain(notional)} {instrument.quote_asset}"
    if not value:
        return f"{worth}{_margin(leg, notional, instrument)}."
    quantity = round_down(notional / value, instrument.step_size)
    return f"{worth} ≈ {plain(quantity)} {_unit(instrument)}{_margin(leg, notional, instrument)}."


def _worth(leg: Leg, notional: Decimal, instrument: Instrument) -> str:
    return f" ≈ {notional:.2f} {instrument.quote_asset}{_margin(leg, notional, instrument)}"


def _margin(leg: Leg, notional: Decimal, instrument: Instrument) -> str:
    if instrument.market == Market.SPOT or not leg.leverage:
        return ""
    words = {"margin": f"{notional / leg.leverage:.2f}", "quote": instrument.quote_asset, "leverage": leg.leverage}
    return _(", margin %(margin)s %(quote)s at leverage %(leverage)s") % words


def liquidated_at(leverage: int) -> Decimal:
    """Return how far, in percent of the entry price, the margin of one isolated position reaches. Pure."""
    return HUNDRED / leverage


def _of_protection(leg: Leg) -> Iterator[Note]:
    leverage = leg.leverage or 1
    for name in (*STOPS, *TARGETS):
        percent = getattr(leg, name)
        if percent is None or percent <= 0:
            continue
        if name in STOPS and percent >= liquidated_at(leverage):
            yield Note(name, _too_late(leg, leverage), is_warning=True)
        else:
            words = {"margin": plain((percent * leverage).quantize(Decimal("0.01"))), "leverage": leverage}
            yield Note(name, _("%(margin)s %% of the margin at leverage %(leverage)s.") % words)


def _too_late(leg: Leg, leverage: int) -> str:
    words = {"leverage": leverage, "distance": plain(liquidated_at(leverage).quantize(Decimal("0.01")))}
    if leg.margin_mode == Leg.Margin.ISOLATED:
        return (
            _("Too far: at leverage %(leverage)s it is liquidated %(distance)s %% from its entry, or before.") % words
        )
    return (
        _(
            "Beyond %(distance)s %% an entry at leverage %(leverage)s has lost its margin and draws on the rest of the"
            " account; it may be liquidated before this stop."
        )
        % words
    )
