"""docker-compose.yml as compose reads it: merged, and with the values of .env put in."""

import re
from typing import Any

import yaml

from pelusa.livesystem import ROOT

_VARIABLE = re.compile(r"(?<!\$)\$\{(?P<name>\w+)(?:(?P<how>:[-+?])(?P<word>[^}]*))?\}")


def composed(**given: str) -> dict[str, Any]:
    """Return the file's content with these variables set and no others."""
    text = (ROOT / "docker-compose.yml").read_text()
    return dict(yaml.safe_load(_VARIABLE.sub(lambda found: _value(found, given), text)))


def _value(found: re.Match[str], given: dict[str, str]) -> str:
    value, how, word = given.get(found["name"], ""), found["how"], found["word"] or ""
    if how == ":+":
        return word if value else ""
    if how == ":?" and not value:
        raise LookupError(f"{found['name']} {word}")
    return value or (word if how == ":-" else "")
