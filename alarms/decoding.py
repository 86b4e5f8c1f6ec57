"""Take the bytes of one alarm apart into its named members: strict JSON, or the `Key: value, ...` text of generation 1.

Whatever could cost more than it is worth (depth, thousands of keys) is refused before a parser sees it, so that one
megabyte of anything is answered in milliseconds. Numbers stay the text they came as: no float ever sees them.
"""

from __future__ import annotations

import codecs
import json
import re
import unicodedata
from itertools import islice
from typing import Final, Literal, NoReturn, TypeAlias

from market.sentences import Sentence
from market.sentences import Sentence as _

JsonValue: TypeAlias = "bool | str | list[JsonValue] | dict[str, JsonValue] | None"

Reason: TypeAlias = Literal[
    "bad_number",
    "bad_ticker",
    "bad_time",
    "bad_type",
    "conflicting_keys",
    "control_character",
    "delayed_data",
    "duplicate_key",
    "empty_body",
    "missing_key",
    "not_an_object",
    "not_json",
    "not_utf8",
    "placeholder_left",
    "too_deep",
    "too_long",
    "too_many_keys",
    "too_many_values",
    "unknown_interval",
    "unknown_order",
]

MAX_DEPTH: Final = 4
MAX_KEYS: Final = 64
MAX_VALUES: Final = 1_000
_SPACE: Final = " \t\r\n"
_SHOWN: Final = 60

_KEYS: Final = {
    "entrypricealert": "Entry_Price_Alert",
    "exitpricealert": "Exit_Price_Alert",
    "interval": "Interval",
    "order": "Order",
    "pricealert": "Price_Alert",
    "quantity": "Quantity",
    "strategy": "Strategy",
    "temporalidad": "Temporalidad",
    "ticker": "Ticker",
    "timealert": "Time_Alert",
}
_LONGEST_KEY: Final = 64

# Possessive, and closed by the end of the text too, so that `"\"\"\"...` without an end costs one pass and not n.
_STRING: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_BRACKET: Final = re.compile(r"[\[\]{}]")
_PLACEHOLDER: Final = re.compile(r"\{\{[^{}]{1,80}\}\}")
_KEY_BEFORE: Final = re.compile(r'"([^"\\]{1,60})"\s*:\s*\Z')
_UNSTORABLE: Final = re.compile("[\\0\ud800-\udfff]")
_SEGMENT_KEY: Final = re.compile(r"(?:\A|[,\r\n])[ \t]*+([^\W\d_][\w -]{0,63}):")


class Unreadable(ValueError):
    """An alarm that makes no sense: `reason` for machines, `detail` for the trader, `key` as the message spells it."""

    def __init__(self, reason: Reason, detail: Sentence, key: str = "") -> None:
        super().__init__(reason, detail, key)
        self.reason: Reason = reason
        self.detail = detail
        self.key = show(key)

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


def show(text: str) -> str:
    """Cut a text to 60 characters and escape what cannot be printed, so that it fits one line of any log or column."""
    cut = text[:_SHOWN] + "…" if len(text) > _SHOWN else text
    if cut.isprintable():
        return cut
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in cut)


def known_key(key: str) -> str | None:
    """Return our name of a key of the dialects, whatever its case, spaces, underscores, hyphens or width; else None."""
    if not key.isascii():
        # Normalising costs the square of a run of combining marks; no key that long is ours.
        if len(key) > _LONGEST_KEY:
            return None
        key = unicodedata.normalize("NFKC", key)
    return _KEYS.get(key.casefold().replace("_", "").replace(" ", "").replace("-", ""))


def read_members(body: bytes) -> dict[str, JsonValue]:
    """Return the members of one message, numbers as text; the body is UTF-8, and its size is the caller's to limit.

    Raises Unreadable, and nothing else, whatever the bytes.
    """
    text = _decode(body)
    if not text.startswith("{"):
        members = _read_key_values(text)
        if members is not None:
            return members
    return _read_json(text)


def is_modest(text: str) -> bool:
    """Tell whether a JSON parser may see the text: neither deep nor full of members."""
    try:
        _check_shape(text)
    except Unreadable:
        return False
    return True


def _decode(body: bytes) -> str:
    if body.startswith(codecs.BOM_UTF8):
        raise Unreadable("not_utf8", _("The message begins with a byte order mark; UTF-8 without one is expected."))
    try:
        text = body.decode("utf-8").strip(_SPACE)
    except UnicodeDecodeError as error:
        detail = _("The message is not UTF-8 text: byte %(number)s cannot be read.", number=error.start + 1)
        raise Unreadable("not_utf8", detail) from None
    if not text:
        raise Unreadable("empty_body", _("The message is empty; one with at least Ticker and Order is expected."))
    if "\0" in text:
        raise Unreadable("control_character", _("The message holds a NUL character; plain text is expected."))
    return text


def _read_json(text: str) -> dict[str, JsonValue]:
    _check_shape(text)
    try:
        members: JsonValue = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise _explain(text, error) from None
    if not isinstance(members, dict):
        raise Unreadable("not_an_object", _("The message is JSON but not one object with a Ticker and an Order."))
    if "\\u" in text:
        _check_characters(members)
    return members


def _check_shape(text: str) -> None:
    opened = text.count("{") + text.count("[")
    if opened <= MAX_DEPTH and text.count(":") <= MAX_KEYS and text.count(",") <= MAX_VALUES:
        return
    bare = _STRING.sub("", text)
    if bare.count(":") > MAX_KEYS:
        raise Unreadable("too_many_keys", _("The message has more than %(most)s keys.", most=MAX_KEYS))
    if bare.count(",") > MAX_VALUES:
        raise Unreadable("too_many_values", _("The message has more than %(most)s values.", most=MAX_VALUES))
    if _is_deep(bare):
        raise Unreadable("too_deep", _("The message is nested more than %(most)s levels deep.", most=MAX_DEPTH))


def _is_deep(bare: str) -> bool:
    depth = 0
    # With so few commas, JSON as shallow as allowed cannot have more brackets than this.
    for bracket in islice(_BRACKET.finditer(bare), 2 * MAX_DEPTH * (MAX_VALUES + 1) + 1):
        depth += 1 if bracket[0] in "[{" else -1
        if depth > MAX_DEPTH:
            return True
    return False


def _object(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    members = dict(pairs)
    if len(members) != len(pairs):
        keys = [key for key, _ in pairs]
        key = next(key for key in members if keys.count(key) > 1)
        raise Unreadable(
            "duplicate_key", _("The key %(key)s is there more than once; once is expected.", key=show(key)), key
        )
    return members


def _refuse_constant(word: str) -> NoReturn:
    raise Unreadable("bad_number", _("The message holds %(word)s; a plain number such as 0.01 is expected.", word=word))


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=str, parse_int=str, parse_constant=_refuse_constant
)


def _explain(text: str, error: json.JSONDecodeError) -> Unreadable:
    """Say where the JSON broke, naming the key and never the text around it, which may hold a secret."""
    if _PLACEHOLDER.search(text):
        return placeholder_left(_("The message"), text)
    before = _KEY_BEFORE.search(text[max(0, error.pos - 100) : error.pos])
    key = before[1] if before else ""
    where = (
        _("after the key %(key)s", key=show(key))
        if key
        else _("at line %(line)s, character %(column)s", line=error.lineno, column=error.colno)
    )
    detail = _(
        "The message is neither JSON nor `Key: value` text: %(what)s %(where)s.", what=error.msg.lower(), where=where
    )
    return Unreadable("not_json", detail, key)


def placeholder_left(holder: str, text: str, key: str = "") -> Unreadable:
    """Return the error for a placeholder that TradingView left as it was; `holder` begins its sentence."""
    placeholder = _PLACEHOLDER.search(text)
    shown = show(placeholder[0] if placeholder else text)
    detail = _(
        "%(holder)s still holds %(shown)s: TradingView fills in a placeholder only when it is spelled right,"
        " and {{strategy...}} only in the alerts of a strategy.",
        holder=holder,
        shown=shown,
    )
    return Unreadable("placeholder_left", detail, key)


def _check_characters(value: JsonValue, key: str = "") -> None:
    """Refuse what only an escape can bring in: half a surrogate pair, which no database stores, and NUL."""
    if isinstance(value, dict):
        for name, member in value.items():
            _check_characters(name, name)
            _check_characters(member, name)
    elif isinstance(value, list):
        for member in value:
            _check_characters(member, key)
    elif isinstance(value, str) and _UNSTORABLE.search(value):
        detail = _(
            "%(key)s holds a NUL or half of a character (such as \\ud800); whole characters are expected.",
            key=show(key),
        )
        raise Unreadable("control_character", detail, key)


def _read_key_values(text: str) -> dict[str, JsonValue] | None:
    """Read `Key: value` members parted by commas or lines; None when no key of ours begins a segment.

    A segment that does not begin with `word:` belongs to the value before it, so values may hold commas and colons.
    """
    found = list(islice(_SEGMENT_KEY.finditer(text), MAX_KEYS + 1))
    if not any(known_key(match[1]) for match in found) or found[0].start() > 0:
        return None
    if len(found) > MAX_KEYS:
        raise Unreadable("too_many_keys", _("The message has more than %(most)s keys.", most=MAX_KEYS))
    ends = [match.start() for match in found[1:]] + [len(text)]
    pairs: list[tuple[str, JsonValue]] = [
        (match[1].strip(), text[match.end() : end].strip(_SPACE + ",")) for match, end in zip(found, ends, strict=True)
    ]
    return _object(pairs)
