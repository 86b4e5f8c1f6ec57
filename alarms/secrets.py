"""Take the webhook's secret out of a body before anything of it is stored."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Final

from alarms.decoding import is_modest

MASK: Final = "[secret]"
SECRET_KEYS: Final = ("secret", "token", "passphrase")

# Pairs stay pairs, so that a key that is there twice is seen twice, and an object is told from an array. No number is a
# secret, and int() refuses long ones.
_DECODER: Final = json.JSONDecoder(object_pairs_hook=tuple, parse_float=lambda _: None, parse_int=lambda _: None)
_STRING: Final = re.compile(r'("(?:[^"\\]++|\\.)*+")(\s*+:\s*+)?')


def _loose(word: str) -> str:
    """Return a pattern for a word with any letter as a JSON escape, and NULs between letters as UTF-16 has them."""
    return r"\x00*+".join(rf"(?:{c}|\\u00{ord(c):02x}|\\u00{ord(c.upper()):02x})" for c in word)


# Nothing follows the nested value, so it need not be possessive: Python before 3.11.5 would take a character too much
_LOOSE_MEMBER: Final = re.compile(
    rf"""
    (?: (?<![a-z0-9_-]) | (?<=\\[nrt]) )
    (?: {"|".join(map(_loose, SECRET_KEYS))} )
    [\\"'\s\x00]*+ [:=] [\s\x00]*+
    (?: " (?P<quoted> [^"\\]*+ (?: \\. [^"\\]*+ )*+ )
      | ' (?P<single> [^']*+ )
      | \\" (?P<nested> (?: (?!\\") . )* )
      | (?P<container> (?!\[secret\]) [\[{{] .* )
      | (?P<bare> \[secret\] | [^,\r\n}}\]]* [^,\r\n}}\]\s] ) )
    """.encode(),
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)


def is_secret_key(key: str) -> bool:
    """Tell whether a key names the webhook's secret, in any case."""
    return key.strip().lower() in SECRET_KEYS


def take_secret(body: bytes) -> tuple[str | None, bytes]:
    """Return the body's secret, and the body with `[secret]` in its place and every other byte as it came.

    The secret is the value of `secret`, `token` or `passphrase`, in any case, in JSON or `Key: value` text; None when
    there is none, when it is no text or empty, and when several disagree. Members deeper in an object are masked and
    never returned. In bodies that are no JSON rather too much is masked than too little. Never raises.
    """
    lower = body.lower()
    if not (b"secret" in lower or b"token" in lower or b"passphrase" in lower or b"\\u" in lower or b"\0" in lower):
        return None, body
    members = _members(body)
    if members is None:
        found = [_text(match) for match in _LOOSE_MEMBER.finditer(body)]
        return _agreed(found), _LOOSE_MEMBER.sub(_mask_value, body)
    return _agreed([value for key, value in members if is_secret_key(key)]), _mask_members(body.decode()).encode()


def _members(body: bytes) -> tuple[tuple[str, object], ...] | None:
    """Return the top members when the body is one JSON object (NaN and double keys allowed), else None."""
    try:
        text = body.decode()
        members = _DECODER.decode(text) if is_modest(text) else None
    except ValueError:
        return None
    return members if isinstance(members, tuple) else None


def _mask_members(text: str) -> str:
    """Mask the members of valid JSON at any depth; a value becomes a string, so that it remains JSON."""
    pieces: list[str] = []
    copied = position = 0
    while match := _STRING.search(text, position):
        position = match.end()
        if match[2] and is_secret_key(json.loads(match[1])):
            _, end = _DECODER.raw_decode(text, position)
            pieces += (text[copied:position], f'"{MASK}"')
            copied = position = end
    return "".join((*pieces, text[copied:]))


def _mask_value(match: re.Match[bytes]) -> bytes:
    before = match.start(str(match.lastgroup)) - match.start()
    return match[0][:before] + MASK.encode()


def _text(match: re.Match[bytes]) -> str | None:
    if match.lastgroup == "container":
        return None
    try:
        value = match[str(match.lastgroup)].decode()
        return str(json.loads(f'"{value}"')) if match.lastgroup == "quoted" else value.strip()
    except ValueError:
        return None


def _agreed(values: Sequence[object]) -> str | None:
    first = values[0] if values else None
    if not isinstance(first, str) or not first or any(value != first for value in values):
        return None
    try:
        first.encode()
    except UnicodeEncodeError:
        # Half a surrogate pair: whoever compares it as bytes would raise.
        return None
    return first
