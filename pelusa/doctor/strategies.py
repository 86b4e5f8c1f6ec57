"""Strategies: would each trade as it says? Ticker, instrument, size, leverage and margin against the exchange."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.utils import timezone
from django.utils.translation import gettext as _

from exchange.errors import ExchangeError
from exchange.types import LeverageReport, Market
from market.models import Instrument
from operations.models import Lane, Operation
from operations.preparation import equity_in_quote, grid_of, wish_of
from pelusa.doctor.accounts import Answers, OfPlace, Patient, Place
from pelusa.doctor.findings import Finding, advice, danger, ok, unknown
from strategies.models import Leg, Strategy
from strategies.reasons import explain
from strategies.sizing import CannotSize, size_entry
from strategies.validation import find, problems

# Read every hour
LIST_KEPT_FOR = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class Remembered:
    """What our own books say of one account and symbol."""

    lane: Lane | None = None
    is_held: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """A strategy with what its rows say, read before anything is judged."""

    strategy: Strategy
    legs: Sequence[Leg]
    subject: str
    instrument: Instrument | None
    complaints: Mapping[str, Sequence[str]]
    remembered: Remembered


def read_cases(patient: Patient) -> list[Case]:
    """Read all that the judgement of an account's strategies needs; raises `DatabaseError`."""
    return [_case(patient, strategy) for strategy in patient.strategies]


def _case(patient: Patient, strategy: Strategy) -> Case:
    legs, stored = list(strategy.legs.all()), strategy.symbol
    complaints = problems(strategy, legs)
    # Validation resolves the ticker anew: what is traded is what was stored
    strategy.symbol = stored
    lane = Lane.objects.filter(account_id=patient.account.pk, market=strategy.market, symbol=stored).first()
    held = Operation.objects.filter(account_id=patient.account.pk, market=strategy.market, symbol=stored)
    remembered = Remembered(lane, held.filter(status__in=Operation.LIVE).exists())
    found = find(strategy.ticker, strategy.market)
    return Case(
        strategy, legs, _("strategy %(name)s") % {"name": strategy.name}, found.instrument, complaints, remembered
    )


def read_list_age(places: Iterable[Place]) -> dict[Market, datetime | None]:
    """Return when the list of each product that is traded was last read; raises `DatabaseError`."""
    newest = Instrument.objects.order_by("-refreshed_at").values_list("refreshed_at", flat=True)
    return {market: newest.filter(market=market.value).first() for market in {market for market, _symbol in places}}


def judge_lists(ages: Mapping[Market, datetime | None], now: datetime | None = None) -> Iterator[Finding]:
    """Complain of lists of instruments that are old: minimums and halts may have changed."""
    now = now or timezone.now()
    todo = _("Look at beat and the worker: they read it every hour.")
    for market, read_at in ages.items():
        if read_at is None or now - read_at > LIST_KEPT_FOR:
            when = _("since %(read_at)s UTC") % {"read_at": f"{read_at:%Y-%m-%d %H:%M}"} if read_at else _("ever")
            yield danger(
                "instruments",
                "list_old",
                _("The list of %(market)s was not read %(when)s.") % {"market": market, "when": when},
                todo,
            )


def judge_case(case: Case, answers: Answers | None) -> list[Finding]:
    """Judge one strategy; `answers` is None when the exchange did not answer in time."""
    found = list(_of_rows(case))
    place = (Market(case.strategy.market), case.strategy.symbol)
    of_place = answers.places.get(place) if answers else None
    if case.instrument is None or answers is None or of_place is None:
        return found or [_not_asked(case)]
    for leg in case.legs:
        found += _of_leg(case, leg, answers, of_place)
    return found or [ok(case.subject, "strategy", _("Ticker, size, leverage and margin fit the exchange."))]


def _not_asked(case: Case) -> Finding:
    sentence = _("Its size, leverage and margin were not compared: the exchange was not asked.")
    return unknown(case.subject, "not_compared", sentence, _("Put the account right first, then examine again."))


def _of_rows(case: Case) -> Iterator[Finding]:
    if not case.legs:
        yield danger(case.subject, "no_leg", _("It has no leg: it never trades."), _("Give it a long or a short leg."))
    for name, sentences in case.complaints.items():
        word = "unknown_ticker" if name in ("ticker", "market") else _word_of(name)
        yield danger(case.subject, word, f"{name}: {' '.join(sentences)}", _("Change it in the strategy."))
    if case.instrument and case.instrument.symbol != case.strategy.symbol:
        sentence = _("Its ticker means %(symbol)s now; it trades %(stored)s.") % {
            "symbol": case.instrument.symbol,
            "stored": case.strategy.symbol or _("nothing"),
        }
        yield danger(case.subject, "symbol_moved", sentence, _("Open the strategy and save it again."))
    if case.instrument and not case.instrument.is_open_allowed:
        sentence = _("The exchange takes no new positions in %(symbol)s.") % {"symbol": case.instrument.symbol}
        yield danger(case.subject, "instrument_shut", sentence, _("Switch the strategy off, or wait for BingX."))


def _word_of(field: str) -> str:
    return "size_too_small" if field.endswith(".size") else "setting_unlawful"


def _of_leg(case: Case, leg: Leg, answers: Answers, of_place: OfPlace) -> Iterator[Finding]:
    if f"{leg.name}.size" not in case.complaints:
        yield from _of_size(case, leg, answers, of_place)
    if of_place.leverage is not None:
        yield from judge_leverage(case, leg, of_place.leverage)
    if of_place.margin_mode is not None:
        yield from _of_margin(case, leg, of_place)


def _of_size(case: Case, leg: Leg, answers: Answers, of_place: OfPlace) -> Iterator[Finding]:
    """Size an entry at the present price, as an alarm of this moment would."""
    if leg.sizing == Leg.Sizing.ALARM or case.instrument is None:
        return
    figures = _figures(case.instrument, leg, answers, of_place)
    if isinstance(figures, ExchangeError):
        sentence = _("The %(leg)s leg's size cannot be worked out: %(why)s.") % {
            "leg": leg.name,
            "why": figures,
        }
        yield unknown(case.subject, "size_unknown", sentence, _("Examine again."))
        return
    try:
        size_entry(wish_of(leg), grid_of(case.instrument), *figures)
    except CannotSize as refusal:
        sentence = _("The %(leg)s leg would be denied now. %(why)s") % {
            "leg": leg.name,
            "why": explain(refusal.reason, refusal.facts),
        }
        yield danger(case.subject, "size_too_small", sentence, _("Use a larger size, or put money into the account."))


def _figures(
    instrument: Instrument, leg: Leg, answers: Answers, of_place: OfPlace
) -> tuple[Decimal, Decimal | None] | ExchangeError:
    """Return the price and, where the sizing needs it, the equity; or the error that kept one of them from us."""
    price = of_place.price
    if isinstance(price, ExchangeError) or not wish_of(leg).needs_equity:
        return price if isinstance(price, ExchangeError) else (price, None)
    balances = answers.balances.get(Market(instrument.market), [])
    if isinstance(balances, ExchangeError):
        return balances
    return price, equity_in_quote(balances, instrument, price)


def judge_leverage(case: Case, leg: Leg, answer: LeverageReport | ExchangeError) -> Iterator[Finding]:
    """Compare a leg's leverage with the exchange's: Pelusa sets it before an entry, unless it thinks that it did."""
    if isinstance(answer, ExchangeError):
        sentence = _("The leverage of %(symbol)s cannot be read: %(answer)s.") % {
            "symbol": case.strategy.symbol,
            "answer": answer,
        }
        yield unknown(case.subject, "leverage_unread", sentence, _("Examine again."))
        return
    theirs = answer.long_leverage if leg.name == Leg.Name.LONG else answer.short_leverage
    if theirs == leg.leverage:
        return
    told = _("The %(leg)s leg asks for leverage %(leverage)s; the exchange has %(theirs)s for %(symbol)s.") % {
        "leg": leg.name,
        "leverage": leg.leverage,
        "theirs": theirs,
        "symbol": case.strategy.symbol,
    }
    if getattr(case.remembered.lane, f"{leg.name}_leverage", None) == leg.leverage:
        sentence = f"{told} {_trusted_too_long(theirs)}"
        yield danger(
            case.subject,
            "leverage_differs",
            sentence,
            _("Set it to %(leverage)s at BingX.") % {"leverage": leg.leverage},
        )
        return
    yield advice(case.subject, "leverage_differs", told, _("Nothing: Pelusa sets it before the next entry."))


def _trusted_too_long(theirs: object) -> str:
    words = _("Pelusa set it before and does not look again: entries would trade with %(theirs)s.")
    return words % {"theirs": theirs}


def _of_margin(case: Case, leg: Leg, of_place: OfPlace) -> Iterator[Finding]:
    theirs = of_place.margin_mode
    if isinstance(theirs, ExchangeError):
        sentence = _("The margin mode of %(symbol)s cannot be read: %(theirs)s.") % {
            "symbol": case.strategy.symbol,
            "theirs": theirs,
        }
        yield unknown(
            case.subject, "margin_unread", sentence, _("Set CROSSED or ISOLATED at BingX, then examine again.")
        )
    elif theirs is not None and theirs.value != leg.margin_mode:
        yield _judge_margin(case, leg, theirs.value)


def _judge_margin(case: Case, leg: Leg, theirs: str) -> Finding:
    told = _("The %(leg)s leg asks for %(margin_mode)s margin; the exchange has %(theirs)s for %(symbol)s.") % {
        "leg": leg.name,
        "margin_mode": leg.margin_mode,
        "theirs": theirs,
        "symbol": case.strategy.symbol,
    }
    lane = case.remembered.lane
    if lane is not None and lane.margin_mode == leg.margin_mode:
        sentence = f"{told} {_trusted_too_long(theirs)}"
        return danger(
            case.subject,
            "margin_differs",
            sentence,
            _("Set %(margin_mode)s at BingX while it is flat.") % {"margin_mode": leg.margin_mode},
        )
    if case.remembered.is_held:
        held = _("BingX does not change it while something is held: entries are denied.")
        sentence = f"{told} {held}"
        return danger(case.subject, "margin_differs", sentence, _("Close what is held there, or change the leg."))
    return advice(case.subject, "margin_differs", told, _("Nothing: Pelusa sets it before the next entry."))


def judge_together(cases: Iterable[Case]) -> Iterator[Finding]:
    """Complain of strategies that share a symbol on one account and want it set in different ways."""
    shared: dict[tuple[int, str, str], list[Case]] = defaultdict(list)
    for case in cases:
        shared[case.strategy.account_id, case.strategy.market, case.strategy.symbol].append(case)
    for (_account, market, symbol), group in shared.items():
        if market != Market.SPOT:
            yield from _of_shared(symbol, group)


def _of_shared(symbol: str, group: Sequence[Case]) -> Iterator[Finding]:
    named = ", ".join(case.strategy.name for case in group)
    legs = [leg for case in group for leg in case.legs]
    if len({leg.margin_mode for leg in legs}) > 1:
        sentence = _(
            "%(named)s: legs on %(symbol)s ask for different margin modes, and the exchange keeps one for all."
        ) % {"named": named, "symbol": symbol}
        todo = _(
            "Give them one margin mode, or accounts of their own: while one holds, the other's entries are denied."
        )
        yield danger(group[0].subject, "margin_torn", sentence, todo)
    for name in Leg.Name.values:
        wanted = sorted({leg.leverage for leg in legs if leg.name == name})
        if len(wanted) > 1:
            sentence = _("%(named)s: %(leg)s legs on %(symbol)s ask for leverages %(leverages)s.") % {
                "named": named,
                "leg": name,
                "symbol": symbol,
                "leverages": ", ".join(map(str, wanted)),
            }
            todo = _("Give them one leverage, or accounts of their own: the last entry sets it for what all hold.")
            yield advice(group[0].subject, "leverage_torn", sentence, todo)
