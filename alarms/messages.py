"""Read an alarm: every dialect that TradingView was ever taught here becomes one `Message`, or says why it cannot.

Pure: no clock, no database, no network.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from hashlib import sha256
from typing import Final, Literal, TypeAlias

from alarms.decoding import JsonValue, Reason, Unreadable, known_key, placeholder_left, read_members, show
from alarms.secrets import is_secret_key, take_secret
from market.intervals import INTERVALS, from_tradingview
from market.sentences import Sentence as _
from market.symbols import Ticker, split_ticker

__all__ = ["Message", "Reason", "Unreadable", "read_message", "signal_digest", "take_secret"]

Kind: TypeAlias = Literal["order", "indicator"]
Action: TypeAlias = Literal["open", "close"]
Leg: TypeAlias = Literal["long", "short"]

MAX_TEXT: Final = 1_024
MAX_STRATEGY: Final = 100
MAX_SCALE: Final = 12


@dataclass(frozen=True, slots=True)
class Message:
    """What one alarm says.

    `pair` is the ticker without its perpetual suffix. `extra` keeps the keys that we do not know, numbers as text.
    """

    kind: Kind
    action: Action
    leg: Leg
    ticker: str
    exchange_prefix: str
    pair: str
    is_perpetual_only: bool
    interval: str
    strategy: str
    quantity: Decimal | None
    price: Decimal | None
    entry_price: Decimal | None
    exit_price: Decimal | None
    alarm_time: datetime
    extra: dict[str, JsonValue] = field(default_factory=dict, hash=False)


def _spellings() -> dict[str, tuple[Kind, Action, Leg]]:
    """Return the closed list of order words, lower case: `order open long`, `open long`, `openlong`, ..."""
    kinds: tuple[tuple[str, Kind], ...] = (("order", "order"), ("indicator", "indicator"), ("", "order"))
    actions: tuple[Action, ...] = ("open", "close")
    legs: tuple[Leg, ...] = ("long", "short")
    return {
        f"{word}{first}{action}{second}{leg}".strip(): (kind, action, leg)
        for word, kind in kinds
        for action in actions
        for leg in legs
        for first in (" ", "")
        for second in (" ", "")
    }


_ORDERS: Final = _spellings()
_NUMBER: Final = re.compile(r"[0-9]{1,16}(?:\.[0-9]{1,20})?")
_DAY_LAST: Final = re.compile(r"(\d{1,2}):(\d{1,2}):(\d{1,2})_(\d{1,2})/(\d{1,2})/(\d{4})", re.ASCII)
_ISO: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:Z|([+-])(0\d|1[0-4]):?([0-5]\d))?", re.ASCII
)
_YEARS: Final = range(2000, 2101)

Known: TypeAlias = dict[str, tuple[str, JsonValue]]


def read_message(body: bytes) -> Message:
    """Return what the body of an alarm says; the content type it came with does not matter.

    Raises Unreadable, and nothing else, whatever the bytes.
    """
    known, extra = _sort(read_members(body))
    ticker = _read_ticker(known, extra)
    interval = _read_interval(known)
    kind, action, leg = _read_order(known)
    return Message(
        kind=kind,
        action=action,
        leg=leg,
        ticker=ticker.ticker,
        exchange_prefix=ticker.exchange_prefix,
        pair=ticker.pair,
        is_perpetual_only=ticker.is_perpetual_only,
        interval=interval,
        strategy=_read_text(known, "Strategy") or "",
        quantity=_read_quantity(known, is_entry=kind == "order" and action == "open"),
        price=_read_price(known, "Price_Alert"),
        entry_price=_read_price(known, "Entry_Price_Alert"),
        exit_price=_read_price(known, "Exit_Price_Alert"),
        alarm_time=_read_time(known),
        extra=extra,
    )


def signal_digest(message: Message) -> str:
    """Return the SHA-256, as hex, of what the message says: alike for every spelling and key order of one signal.

    Extra keys are part of it: two entries of one bar may differ in nothing but an order's id.
    """
    numbers = (message.quantity, message.price, message.entry_price, message.exit_price)
    parts = (
        message.kind,
        message.action,
        message.leg,
        message.exchange_prefix,
        message.ticker,
        message.interval,
        message.strategy,
        *map(_canonical, numbers),
        message.alarm_time.astimezone(UTC).isoformat(),
        json.dumps(message.extra, sort_keys=True),
    )
    # No known key may hold a control character, so the parts cannot run into each other.
    return sha256("\n".join(parts).encode()).hexdigest()


def _canonical(number: Decimal | None) -> str:
    if number is None:
        return ""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _sort(members: dict[str, JsonValue]) -> tuple[Known, dict[str, JsonValue]]:
    """Part our keys from the rest, which is kept without the secret; two spellings of one of our keys are refused."""
    known: Known = {}
    extra: dict[str, JsonValue] = {}
    for key, value in members.items():
        name = known_key(key)
        if name is None:
            if not is_secret_key(key):
                extra[key] = value
        elif name in known:
            detail = _(
                "The keys %(first)s and %(key)s are the same key; one is expected.",
                first=show(known[name][0]),
                key=show(key),
            )
            raise Unreadable("duplicate_key", detail, key)
        else:
            known[name] = (key, value)
    return known, extra


def _refuse(reason: Reason, key: str, value: str, expected: str) -> Unreadable:
    shown = {"key": show(key), "value": show(value), "expected": expected}
    return Unreadable(reason, _("%(key)s is '%(value)s', but %(expected)s is expected.", **shown), key)


def _raw_text(known: Known, name: str) -> tuple[str, str]:
    """Return the key as sent and its text; the text is empty when the key is absent, null or blank."""
    key, value = known.get(name, (name, None))
    if value is None:
        return key, ""
    if not isinstance(value, str):
        compound = _("a list") if isinstance(value, list) else _("an object")
        shown = str(value).lower() if isinstance(value, bool) else compound
        detail = _("%(key)s is %(shown)s, but text or a number is expected.", key=show(key), shown=shown)
        raise Unreadable("bad_type", detail, key)
    limit = MAX_STRATEGY if name == "Strategy" else MAX_TEXT
    if len(value) > limit:
        facts = {"key": show(key), "length": len(value), "limit": limit}
        detail = _("%(key)s has %(length)s characters, at most %(limit)s are expected.", **facts)
        raise Unreadable("too_long", detail, key)
    if not value.isprintable():
        expected = _("plain text without control or invisible characters")
        raise _refuse("control_character", key, value, expected)
    if "{{" in value:
        raise placeholder_left(show(key), value, key)
    return key, "" if value.isspace() else value


def _read_text(known: Known, name: str) -> str | None:
    return _raw_text(known, name)[1].strip() or None


def _required(known: Known, name: str, example: str) -> tuple[str, str]:
    key, text = _raw_text(known, name)
    if not text:
        shown = {"key": show(key), "example": example}
        detail = _("%(key)s is missing or empty; a value such as %(example)s is expected.", **shown)
        raise Unreadable("missing_key", detail, key)
    return key, text.strip()


def _read_ticker(known: Known, extra: dict[str, JsonValue]) -> Ticker:
    key, text = _required(known, "Ticker", "BTCUSDT.P")
    try:
        ticker = split_ticker(text)
    except ValueError:
        expected = _("a ticker such as BTCUSDT.P or BINGX:BTCUSDT.P (2 to 32 of A-Z, 0-9 and _ . ! -)")
        raise _refuse("bad_ticker", key, text, expected) from None
    _refuse_delayed(key, ticker.exchange_prefix)
    for other, value in extra.items():
        if isinstance(value, str) and other.strip().lower() == "exchange":
            _refuse_delayed(other, value.strip().upper())
    return ticker


def _refuse_delayed(key: str, exchange: str) -> None:
    """Refuse prices that TradingView shows late, which it marks at the exchange's name (support page 43000531021)."""
    if exchange.endswith(("_DL", "_DLY")):
        raise _refuse("delayed_data", key, exchange, _("an exchange with real-time data (without _DL or _DLY)"))


def _read_interval(known: Known) -> str:
    given = [_to_interval(known, name) for name in ("Interval", "Temporalidad") if _read_text(known, name)]
    if not given:
        _required(known, "Temporalidad" if "Temporalidad" in known else "Interval", "5 or 1h")
    if len(set(given)) > 1:
        detail = _(
            "Interval means %(one)s and Temporalidad means %(other)s, but one interval is expected.",
            one=given[0],
            other=given[1],
        )
        raise Unreadable("conflicting_keys", detail, "Interval")
    return given[0]


def _to_interval(known: Known, name: str) -> str:
    key, text = _required(known, name, "5")
    try:
        return from_tradingview(text)
    except ValueError:
        expected = _(
            "an interval that the exchange has candles of (%(intervals)s, or TradingView's 5, 60, D)",
            intervals=", ".join(INTERVALS),
        )
        raise _refuse("unknown_interval", key, text, expected) from None


def _read_order(known: Known) -> tuple[Kind, Action, Leg]:
    key, text = _required(known, "Order", "order open long")
    try:
        return _ORDERS[" ".join(text.split()).lower()]
    except KeyError:
        expected = _("'order' or 'indicator', then 'open' or 'close', then 'long' or 'short'")
        raise _refuse("unknown_order", key, text, expected) from None


def _read_number(known: Known, name: str) -> Decimal | None:
    """Return a plain number, cut (never rounded up) after twelve decimals: what follows is the noise of floats."""
    key, text = _raw_text(known, name)
    if not text:
        return None
    # The form is checked before Decimal sees it: "1e3000000" or "١٢" are numbers there.
    if _NUMBER.fullmatch(text) is None:
        expected = _("a plain number such as 0.01 (up to 16 digits and 20 decimals; no sign, exponent, blank or unit)")
        raise _refuse("bad_number", key, text, expected)
    whole, point, decimals = text.partition(".")
    return Decimal(whole + point + decimals[:MAX_SCALE])


def _read_price(known: Known, name: str) -> Decimal | None:
    price = _read_number(known, name)
    if price is not None and not price:
        key, text = _raw_text(known, name)
        raise _refuse("bad_number", key, text, _("a price above zero, or nothing,"))
    return price


def _read_quantity(known: Known, *, is_entry: bool) -> Decimal | None:
    quantity = _read_number(known, "Quantity")
    if quantity is None or quantity:
        return quantity
    if is_entry:
        key, text = _raw_text(known, "Quantity")
        raise _refuse("bad_number", key, text, _("a quantity above zero"))
    # {{strategy.position_size}} is 0 once the position is closed: refusing it would lose the close.
    return None


def _read_time(known: Known) -> datetime:
    key, text = _required(known, "Time_Alert", "2025-06-05T10:00:00Z")
    try:
        moment = _to_moment(text)
    except (ValueError, OverflowError):
        moment = None
    if moment is None or moment.year not in _YEARS:
        expected = _("a time of 2000 to 2100 such as 2025-06-05T10:00:00Z, 2025-06-05 10:00:00 or 10:00:00_5/6/2025")
        raise _refuse("bad_time", key, text, expected)
    return moment


def _to_moment(text: str) -> datetime | None:
    """Return the UTC moment of a text without zone or with one, None for an unknown form; ValueError on 30 February."""
    if match := _ISO.fullmatch(text):
        *numbers, fraction, sign, hours, minutes = match.groups()
        year, month, day, hour, minute, second = map(int, numbers)
        moment = datetime(year, month, day, hour, minute, second, int((fraction or "0").ljust(6, "0")[:6]), tzinfo=UTC)
        if sign is None:
            return moment
        offset = timedelta(hours=int(hours), minutes=int(minutes))
        return moment.replace(tzinfo=timezone(offset if sign == "+" else -offset)).astimezone(UTC)
    if match := _DAY_LAST.fullmatch(text):
        hour, minute, second, day, month, year = map(int, match.groups())
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    return None
