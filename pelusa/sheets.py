"""Cells for files that people open in a spreadsheet: text stays text there, numbers stay numbers."""

import re
from decimal import Decimal

_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
# What makes a formula of a cell, in the full width of East Asian programs too
_STARTS = tuple(
    "=+-@\t\r\n|%\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}\N{FULLWIDTH HYPHEN-MINUS}\N{FULLWIDTH COMMERCIAL AT}"
)


def neutral(value: object) -> str:
    """Return a value as the text of a cell; what a spreadsheet would reckon with gets an apostrophe before it."""
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return f"{value:f}"
    text = str(value)
    is_formula = text.lstrip(" ").startswith(_STARTS) and not _NUMBER.fullmatch(text)
    return f"'{text}" if is_formula else text
