"""Secrets for the tests to use, each with a mark inside: whatever is written anywhere with the mark in it has leaked.

The mark is drawn once for a run, and every process of it takes the same: it names the run and the kind of secret.
"""

import base64
import os
import re
import secrets
from hashlib import sha256
from itertools import count

RUN = os.environ.setdefault("PLANTED_IN_TESTS", secrets.token_hex(6))
KINDS = (
    "webhook secret",
    "secret key",
    "field key",
    "exchange key",
    "exchange secret",
    "channel token",
    "passphrase",
    "API token",
    "password",
    "session",
)
# The mark as base64 has it, behind no, one or two other bytes of a group of three: what surely belongs to it
_IN_BASE64 = {
    base64.b64encode(b"-" * before + RUN.encode())[skipped:16].decode() for before, skipped in ((0, 0), (1, 2), (2, 3))
}
_MARKS = (RUN, *_IN_BASE64)
_MARKS_IN_BYTES = tuple(each.encode() for each in _MARKS)
_MARKED = re.compile(rf"{RUN}(?P<kind>[0-9a-f]{{2}})?|{'|'.join(map(re.escape, _IN_BASE64))}")
_number = count(1)


def mark(kind: str) -> str:
    """Return what every secret of that kind has in it: 14 hexadecimal digits."""
    return f"{RUN}{KINDS.index(kind):02x}"


def planted(kind: str, name: str = "") -> str:
    """Return the secret of that kind and name: 46 hexadecimal digits, the same in every process of the run."""
    return mark(kind) + sha256(f"{RUN} {kind} {name}".encode()).hexdigest()[:32]


def another(kind: str, length: int = 46) -> str:
    """Return a secret that nobody had before, of so many hexadecimal digits."""
    return mark(kind) + sha256(f"{secrets.token_hex(16)} {next(_number)}".encode()).hexdigest()[: length - 14]


def field_key(name: str = "") -> str:
    """Return a key for FIELD_ENCRYPTION_KEYS: 32 bytes in base64, whose text has the mark in it."""
    return f"{planted('field key', name)[:42]}0="


def found_in(text: str | bytes) -> set[str]:
    """Return the kinds of the secrets in a text."""
    # Six times faster than the pattern, which almost no text needs
    if isinstance(text, str):
        has_any = any(each in text for each in _MARKS)
    else:
        has_any = any(each in text for each in _MARKS_IN_BYTES)
    return _kinds_in(text if isinstance(text, str) else text.decode("latin-1")) if has_any else set()


def _kinds_in(text: str) -> set[str]:
    return {_kind_of(match["kind"]) for match in _MARKED.finditer(text)}


def _kind_of(number: str | None) -> str:
    """Return a kind by its number in a mark; base64 has none that could be read."""
    return KINDS[int(number, 16)] if number and int(number, 16) < len(KINDS) else "unknown"
