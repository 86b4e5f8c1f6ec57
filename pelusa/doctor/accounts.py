"""Accounts: do the exchange's clock, the key, its permissions and the position mode let Pelusa trade?"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from functools import partial

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db.models import Prefetch, Q, QuerySet
from django.utils.translation import gettext as _

from exchange.backoffice import without_secrets
from exchange.bingx import BingX, KeyPermission
from exchange.clock import TOLERANCE
from exchange.encryption import WrongKey
from exchange.errors import ExchangeError, Refused
from exchange.models import Account
from exchange.pacing import pacer_for
from exchange.types import BalanceReport, KeyReport, LeverageReport, MarginMode, Market, PositionMode
from operations.limits import above_ceiling
from operations.models import Operation
from pelusa.doctor.asking import Asker
from pelusa.doctor.findings import Finding, advice, danger, ok, unknown
from strategies.models import Leg, Strategy

# Off by less than the tolerance trades; by more than this it is worth a look
CLOCK_ADVICE = timedelta(milliseconds=300)
CONNECT_SECONDS, READ_SECONDS = 2.0, 3.0
FOREIGN_ADDRESS = "100419"
# Signature, key, address, permission: the key is at fault, not the moment
KEY_CODES = frozenset({"100001", "100412", "100413", "100401", FOREIGN_ADDRESS, "100004", "100403"})
MOVES_MONEY = (KeyPermission.UNIVERSAL_TRANSFER, KeyPermission.SUB_ACCOUNT_TRANSFER)

Place = tuple[Market, str]


@dataclass(frozen=True, slots=True)
class Patient:
    """An account with its active strategies; `key` and `secret` are empty when there are none or none can be read."""

    account: Account
    strategies: Sequence[Strategy]
    is_unreadable: bool = False
    key: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)

    @property
    def subject(self) -> str:
        return _("account %(name)s") % {"name": self.account.name}

    @property
    def places(self) -> list[Place]:
        """The products and symbols that its strategies trade, each once."""
        named = ((Market(each.market), each.symbol) for each in self.strategies if each.symbol)
        return list(dict.fromkeys(named))


@dataclass(frozen=True, slots=True)
class OfPlace:
    """What the exchange said of one symbol; an error is an answer, None was not asked."""

    price: Decimal | ExchangeError
    leverage: LeverageReport | ExchangeError | None = None
    margin_mode: MarginMode | ExchangeError | None = None


@dataclass(frozen=True, slots=True)
class Answers:
    """What the exchange said to one account."""

    offset: timedelta | ExchangeError
    key: KeyReport | ExchangeError | None = None
    position_mode: PositionMode | ExchangeError | None = None
    places: Mapping[Place, OfPlace] = field(default_factory=dict)
    balances: Mapping[Market, list[BalanceReport] | ExchangeError] = field(default_factory=dict)


def read_patients() -> list[Patient]:
    """Read the accounts that trade or hold something, with their active strategies; raises `DatabaseError`."""
    held = Q(operations__status__in=Operation.LIVE)
    return _patients(Account.objects.filter(Q(is_active=True) | held).distinct())


def read_patient(account_id: int) -> Patient | None:
    """Read one account with its active strategies, whether it trades or not; raises `DatabaseError`."""
    return next(iter(_patients(Account.objects.filter(pk=account_id))), None)


def _patients(accounts: QuerySet[Account]) -> list[Patient]:
    legs = Prefetch("legs", Leg.objects.order_by("name"))
    active = Strategy.objects.filter(is_active=True).prefetch_related(legs)
    rows = accounts.defer(*without_secrets()).prefetch_related(Prefetch("strategies", active, "that_trade"))
    return [_patient(each) for each in rows]


def _patient(account: Account) -> Patient:
    strategies: list[Strategy] = account.that_trade  # type: ignore[attr-defined]
    try:
        key, secret = Account.objects.values_list("api_key", "api_secret").get(pk=account.pk)
    except (WrongKey, ImproperlyConfigured):
        return Patient(account, strategies, is_unreadable=True)
    return Patient(account, strategies, key=key, secret=secret)


def ask_exchange(patient: Patient, until: float) -> Answers:
    """Ask all that concerns an account, read only; no database is touched."""
    with closing(client_of(patient)) as client:
        return _ask(patient, client, Asker(until))


def client_of(patient: Patient) -> BingX:
    """Return a client of its own for the account, with little patience; whoever asks closes it."""
    environment = patient.account.environment
    return BingX(
        base_url=settings.BINGX_URLS[environment],
        key=patient.key,
        secret=patient.secret,
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        # Its questions count under the same limits as everybody's
        pacer=pacer_for(settings.PACING_REDIS_URL) if environment in settings.PACED_ENVIRONMENTS else None,
    )


def _ask(patient: Patient, client: BingX, ask: Asker) -> Answers:
    offset = ask(client.measure_clock)
    if not (patient.key and patient.secret):
        prices = {place: OfPlace(ask(partial(client.price, *place))) for place in patient.places}
        return Answers(offset, places=prices)
    key = ask(client.key)
    if key is offset:
        # Silence, said once
        return Answers(offset)
    if isinstance(offset, ExchangeError) or (isinstance(key, Refused) and key.code in KEY_CODES):
        return Answers(offset, key)
    has_perpetuals = any(market != Market.SPOT for market, _symbol in patient.places)
    return Answers(
        offset,
        key,
        ask(client.position_mode) if has_perpetuals else None,
        {place: _ask_place(place, client, ask) for place in patient.places},
        {market: ask(partial(client.balances, market)) for market, _symbol in patient.places},
    )


def _ask_place(place: Place, client: BingX, ask: Asker) -> OfPlace:
    price = ask(partial(client.price, *place))
    if place[0] == Market.SPOT:
        return OfPlace(price)
    return OfPlace(price, ask(partial(client.leverage, *place)), ask(partial(client.margin_mode, *place)))


def judge_account(patient: Patient, answers: Answers | None) -> list[Finding]:
    """Judge an account; `answers` is None when the exchange did not answer in time."""
    found = list(judge_credentials(patient))
    if answers is None:
        todo = _("Examine again; when it stays, check this machine's way out to the exchange.")
        return [*found, unknown(patient.subject, "exchange_slow", _("The exchange did not answer in time."), todo)]
    found.append(judge_clock(patient.subject, answers.offset))
    if answers.key is not None:
        found += judge_key(patient, answers.key)
    if answers.position_mode is not None:
        found.append(judge_position_mode(patient, answers.position_mode))
    return found


def judge_credentials(patient: Patient) -> Iterator[Finding]:
    """Yield why the account cannot be asked or may not trade at all."""
    denial = above_ceiling(patient.account)
    if denial:
        sentence = _("The account is %(environment)s, above PELUSA_TRADING=%(ceiling)s.") % {
            "environment": denial.facts["environment"],
            "ceiling": denial.facts["ceiling"],
        }
        todo = _("Switch it off, or raise PELUSA_TRADING: until then none of its orders leaves, exits neither.")
        yield danger(patient.subject, "above_ceiling", sentence, todo)
    if patient.is_unreadable:
        sentence = _("FIELD_ENCRYPTION_KEYS does not open its credentials.")
        todo = _("Put the lost key back into FIELD_ENCRYPTION_KEYS, or enter key and secret again.")
        yield danger(patient.subject, "credentials_unreadable", sentence, todo)
    elif not (patient.key and patient.secret):
        yield danger(
            patient.subject, "no_key", _("The account has no API key."), _("Enter key and secret in the account.")
        )


def judge_clock(subject: str, offset: timedelta | ExchangeError) -> Finding:
    """Judge how far the exchange's clock is ahead of ours: the fence of every order rests on it."""
    if isinstance(offset, ExchangeError):
        todo = _("Examine again; when it stays, check this machine's way out to the exchange.")
        return unknown(
            subject, "exchange_away", _("The exchange does not answer: %(offset)s.") % {"offset": offset}, todo
        )
    told = _("The exchange's clock is %(offset)s s from ours.") % {"offset": f"{offset.total_seconds():+.3f}"}
    if abs(offset) > TOLERANCE:
        return danger(subject, "clock_off", f"{told} " + _("No entry is sent."), _("Set this server's clock by NTP."))
    if abs(offset) > CLOCK_ADVICE:
        return advice(subject, "clock_drifts", told, _("Let NTP keep this server's clock."))
    return ok(subject, "clock", told)


def judge_key(patient: Patient, key: KeyReport | ExchangeError) -> list[Finding]:
    """Judge what the key may do, and from where."""
    if isinstance(key, ExchangeError):
        return [_judge_refusal(patient, key)]
    found = [*_of_permissions(patient, key.permissions), *_of_binding(patient, key)]
    return found or [ok(patient.subject, "key", _("The key may trade, may not withdraw, and is heard from here."))]


def _judge_refusal(patient: Patient, error: ExchangeError) -> Finding:
    subject = patient.subject
    if error.code == FOREIGN_ADDRESS:
        todo = _("Add the address that BingX names here to the key's list at BingX.")
        return danger(subject, "key_bound_elsewhere", str(error), todo)
    if isinstance(error, Refused) and error.code in KEY_CODES:
        todo = _("Make a key at BingX that may read and trade, and enter it in the account.")
        return danger(subject, "key_refused", str(error), todo)
    if patient.account.environment != Account.Environment.LIVE:
        todo = _("Nothing: only play money is at stake. The key itself trades.")
        return advice(
            subject, "permissions_unread", _("What the key may do cannot be read: %(error)s.") % {"error": error}, todo
        )
    todo = _("Examine again; until then see at BingX that the key may not withdraw.")
    return unknown(
        subject, "permissions_unread", _("What the key may do cannot be read: %(error)s.") % {"error": error}, todo
    )


def _of_permissions(patient: Patient, may: Iterable[int]) -> Iterator[Finding]:
    may = frozenset(may)
    if KeyPermission.WITHDRAW in may:
        sentence = _("The key may withdraw money: Pelusa must never have such a key.")
        todo = _("Delete it at BingX, make one without withdrawal, and enter that in the account.")
        yield danger(patient.subject, "key_may_withdraw", sentence, todo)
    if may.intersection(MOVES_MONEY):
        sentence = _("The key may move money between accounts, which Pelusa never does.")
        yield advice(patient.subject, "key_may_transfer", sentence, _("Take the transfer permissions away at BingX."))
    yield from _of_trading(patient, may)


def _of_trading(patient: Patient, may: frozenset[int]) -> Iterator[Finding]:
    markets = {Market(each.market) for each in patient.strategies}
    needed = {
        KeyPermission.READ: _("read"),
        **({KeyPermission.SPOT_TRADE: _("trade spot")} if Market.SPOT in markets else {}),
        **({KeyPermission.PERPETUAL_TRADE: _("trade perpetuals")} if markets - {Market.SPOT} else {}),
    }
    lacking = [words for permission, words in needed.items() if permission not in may]
    if lacking:
        sentence = _("The key lacks a permission that its strategies need: %(lacking)s.") % {
            "lacking": ", ".join(lacking)
        }
        yield danger(patient.subject, "key_may_not_trade", sentence, _("Give the key that permission at BingX."))


def _of_binding(patient: Patient, key: KeyReport) -> Iterator[Finding]:
    if not key.addresses and patient.account.environment == Account.Environment.LIVE:
        sentence = _("The key works from everywhere: whoever steals it trades with it.")
        yield advice(patient.subject, "key_not_bound", sentence, _("Bind it to this server's address at BingX."))


def judge_position_mode(patient: Patient, mode: PositionMode | ExchangeError) -> Finding:
    """Judge the exchange's position mode against what the strategies need."""
    subject = patient.subject
    if isinstance(mode, ExchangeError):
        todo = _("Examine again; without it no entry is sent.")
        return unknown(
            subject, "position_mode_unread", _("The position mode cannot be read: %(mode)s.") % {"mode": mode}, todo
        )
    torn = symbols_both_ways(patient.strategies) if mode is PositionMode.ONE_WAY else []
    if torn:
        sentence = _("It is in one-way mode, and strategies go long and short in %(torn)s: they would net.") % {
            "torn": ", ".join(torn)
        }
        todo = _("Set hedge mode at BingX while nothing is open, or give one direction an account of its own.")
        return danger(subject, "one_way_nets", sentence, todo)
    if mode.value != patient.account.position_mode:
        sentence = _("It is in %(mode)s mode; here it says %(position_mode)s.") % {
            "mode": mode.value,
            "position_mode": patient.account.position_mode,
        }
        todo = _("Nothing, if you changed it: Pelusa reads it before the next order. Else set it back at BingX.")
        return advice(subject, "position_mode_differs", sentence, todo)
    return ok(
        subject,
        "position_mode",
        _("It is in %(mode)s mode, and its strategies can live with that.") % {"mode": mode.value},
    )


def symbols_both_ways(strategies: Iterable[Strategy]) -> list[str]:
    """Return the perpetual symbols that one account's strategies trade in both directions."""
    legs: dict[Place, set[str]] = {}
    for strategy in strategies:
        if strategy.market != Market.SPOT:
            place = (Market(strategy.market), strategy.symbol)
            legs.setdefault(place, set()).update(leg.name for leg in strategy.legs.all())
    return [symbol for (_market, symbol), names in legs.items() if len(names) > 1]
