"""Bytes in, bytes out: requests with their parameters in received order, JSON with exact decimals."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from json.encoder import encode_basestring_ascii as quote
from typing import TypeAlias
from urllib.parse import unquote_plus

Json: TypeAlias = "Mapping[str, Json] | Sequence[Json] | str | int | bool | Decimal | None"


class Raw(str):
    """A piece of finished JSON."""

    __slots__ = ()


@dataclass(slots=True)
class Request:
    """One HTTP request. Header names are lower case; `pairs` are the query's, decoded, in received order."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    peer: str
    pairs: list[tuple[str, str]] = field(default_factory=list)
    params: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.pairs = decode_pairs(self.query)
        self.params = dict(self.pairs)
        if self.body:
            self.params.update(self._body_params())

    @property
    def is_json(self) -> bool:
        return "json" in self.headers.get("content-type", "")

    def json_members(self) -> dict[str, Json]:
        """Return the members of a JSON body with numbers as written.

        Raises ValueError when the body is no JSON object.
        """
        members = json.loads(self.body, parse_float=str, parse_int=str)
        if not isinstance(members, dict):
            raise ValueError("the body is no JSON object")
        return members

    def _body_params(self) -> dict[str, str]:
        if not self.is_json:
            return dict(decode_pairs(self.body.decode("utf-8", "replace")))
        try:
            return {name: scalar_text(value) for name, value in self.json_members().items()}
        except ValueError:
            return {}


def decode_pairs(text: str) -> list[tuple[str, str]]:
    """Split `k=v&k=v` and percent-decode the values."""
    pairs = []
    for part in text.split("&"):
        if part:
            name, _, value = part.partition("=")
            pairs.append((unquote_plus(name), unquote_plus(value)))
    return pairs


def scalar_text(value: Json) -> str:
    """Return a JSON member as the text that is signed: true/false, numbers as written, objects compact."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else dumps(value)


def plain(number: Decimal) -> str:
    """Write a decimal without exponent and without trailing zeros."""
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def dumps(value: Json) -> str:
    """Write JSON; a Decimal becomes a number with exactly its digits."""
    if isinstance(value, dict):
        return "{" + ",".join([quote(name) + ":" + dumps(member) for name, member in value.items()]) + "}"
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, list | tuple):
        return "[" + ",".join([dumps(member) for member in value]) + "]"
    return str(value)
