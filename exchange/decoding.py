"""Turn the bytes of an answer into exact values: decimals, aware times, words of ours.

BingX writes numbers as JSON strings or numbers, times in milliseconds (for some stop orders in seconds), booleans also
as words, and "nothing" as null, an empty text or zero. What cannot be read raises `Unreadable`; nothing is guessed.
Source: https://bingx-api.github.io/docs-v3/ and the project's BingX fact page, section 2.
"""

import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, NoReturn, TypeVar

from exchange.errors import OutcomeUnknown
from exchange.refusals import EPOCH
from exchange.rounding import require_ordinary
from exchange.types import Side

Row = Mapping[str, Any]
Word = TypeVar("Word", bound=StrEnum)

LONGEST_NUMBER = 80
# No time in seconds reaches this before the year 5138, no time in milliseconds lies below it after 1973.
FIRST_MILLISECONDS = 10**11
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_PLAIN_NUMBER = re.compile(r"\d{1,20}(\.\d{1,20})?", re.ASCII)
_PLAIN_NUMBERS = re.compile(r"\d{1,20}(\.\d{1,20})?( \d{1,20}(\.\d{1,20})?)*", re.ASCII)
_SIDE = {"BUY": Side.BUY, "BID": Side.BUY, "SELL": Side.SELL, "ASK": Side.SELL}


class Unreadable(OutcomeUnknown):
    """An answer that is not what the vendor documents. For something that was sent it proves nothing."""


def load(content: bytes) -> dict[str, Any]:
    """Decode a JSON object with its numbers as `Decimal`; raise `Unreadable` for anything else."""
    try:
        body = json.loads(content, parse_float=_exact, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise Unreadable("the answer is not JSON") from None
    if not isinstance(body, dict):
        raise Unreadable("the answer is not a JSON object")
    return body


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _exact(text: str) -> Decimal:
    """Read a decimal text of ordinary length and size; raise `ValueError` otherwise."""
    if _PLAIN_NUMBER.fullmatch(text):
        return Decimal(text)
    if len(text) > LONGEST_NUMBER or not _NUMBER.fullmatch(text):
        raise ValueError("not a decimal number")
    try:
        return require_ordinary(Decimal(text))
    except InvalidOperation:
        raise ValueError("not a decimal number") from None


def pick(row: Row, *names: str) -> Any:
    """Return the first of the named members that says something: not absent, null or empty."""
    return next((row[name] for name in names if row.get(name) not in (None, "")), None)


def text(row: Row, *names: str, default: str | None = None) -> str:
    """Return a member as text; ids may come as numbers, but never as a fraction, which would have lost digits."""
    value = pick(row, *names)
    if value is None and default is not None:
        return default
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise Unreadable(f"{names[0]} is missing or no text")
    return str(value)


def number(row: Row, *names: str, default: Decimal | None = None) -> Decimal:
    """Return a member as `Decimal`; an empty or absent one is `default`, or `Unreadable` without it."""
    value = pick(row, *names)
    if value is None and default is not None:
        return default
    return _number(value, names[0])


def _number(value: Any, name: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise Unreadable(f"{name} is missing or no number")
    try:
        exact = require_ordinary(value) if type(value) is Decimal else _exact(str(value))
    except ValueError:
        raise Unreadable(f"{name} is no number") from None
    return exact or Decimal(0)


def plain_numbers(values: list[Any]) -> list[Decimal] | None:
    """Return the values at once when all are ordinary plain numbers, `None` otherwise: a million candles pass here."""
    written = [str(value) for value in values]
    joined = " ".join(written)
    is_plain = _PLAIN_NUMBERS.fullmatch(joined) and joined.count(" ") == len(values) - 1
    return [Decimal(value) for value in written] if is_plain else None


def paid(row: Row, *names: str) -> Decimal:
    """Return a commission with our sign: BingX writes what was paid as a negative number."""
    return number(row, *names).copy_negate() or Decimal(0)


def number_above_zero(row: Row, *names: str) -> Decimal | None:
    """Return a member as `Decimal`, and `None` where BingX writes nothing or zero for "none"."""
    value = number(row, *names, default=Decimal(0))
    return value if value > 0 else None


def whole(row: Row, *names: str) -> int:
    """Return a member as a whole number; a leverage may be written `20X`."""
    return _whole(pick(row, *names), names[0])


def _whole(value: Any, name: str) -> int:
    exact = _number(value.rstrip("Xx") if isinstance(value, str) else value, name)
    if exact != int(exact):
        raise Unreadable(f"{name} is no whole number")
    return int(exact)


def whole_or_none(row: Row, name: str) -> int | None:
    """Return a member as a whole number, and `None` when it is absent."""
    value = pick(row, name)
    return None if value is None else _whole(value, name)


def flag(row: Row, name: str) -> bool | None:
    """Return a member as a claim, written as a JSON boolean or as a word; `None` when it is absent."""
    value = pick(row, name)
    if value is None or isinstance(value, bool):
        return value
    if str(value).lower() not in {"true", "false"}:
        raise Unreadable(f"{name} is neither true nor false")
    return str(value).lower() == "true"


def moment(row: Row, *names: str) -> datetime | None:
    """Return a member as aware UTC; BingX writes milliseconds, for some stop orders seconds, and 0 for "never"."""
    value = pick(row, *names)
    if value is None:
        return None
    units = value if type(value) is int else _whole(value, names[0])
    milliseconds = units if abs(units) >= FIRST_MILLISECONDS else units * 1000
    try:
        return EPOCH + timedelta(milliseconds=milliseconds) if units else None
    except OverflowError:
        raise Unreadable(f"{names[0]} is no time") from None


def required_moment(row: Row, *names: str) -> datetime:
    """Return a member as aware UTC; raise `Unreadable` when there is none."""
    found = moment(row, *names)
    if found is None:
        raise Unreadable(f"{names[0]} is missing")
    return found


def word(row: Row, words: type[Word], *names: str, default: Word | None = None) -> Word:
    """Return a member as one of our words, in any case; raise `Unreadable` for a word that we do not know."""
    said = text(row, *names, default="" if default is None else default.value).upper()
    if said not in words.__members__:
        raise Unreadable(f"{names[0]} is {said[:20]!r}, a word that we do not know")
    return words[said]


def side(row: Row, *names: str, default: Side | None = None) -> Side:
    """Return BUY or SELL, also from BingX's Bid and Ask; raise `Unreadable` for another word."""
    said = text(row, *names, default="" if default is None else default.value).upper()
    if said not in _SIDE:
        raise Unreadable(f"{names[0]} is {said[:20]!r}, neither BUY nor SELL")
    return _SIDE[said]


def rows(data: Any, *names: str) -> list[Row]:
    """Return the rows of a list, bare or under one of the names.

    A named list may be null when it is empty; no list at all is unreadable, so that "nothing" is never concluded from
    an answer that did not say so.
    """
    found = data
    if isinstance(data, dict):
        name = next((name for name in names if name in data), None)
        found = (data[name] or []) if name else None
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise Unreadable(f"the answer holds no list of {names[0] if names else 'rows'}")
    return found


def one(data: Any, *names: str) -> Row:
    """Return the single object, bare, under one of the names, or alone in a list."""
    if isinstance(data, dict):
        data = next((data[name] for name in names if name in data), data)
    if isinstance(data, list) and len(data) == 1:
        data = data[0]
    if not isinstance(data, dict) or not data:
        raise Unreadable(f"the answer holds no {names[0] if names else 'object'}")
    return data
