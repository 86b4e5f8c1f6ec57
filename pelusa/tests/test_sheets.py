"""H56 and S20: no cell of an export is a formula, and numbers stay numbers."""

import csv
import io
from decimal import Decimal

import pytest

from pelusa.sheets import neutral

FORMULAS = [
    '=HYPERLINK("http://evil.example","x")',
    "+1+1",
    "-1+1",
    "@SUM(A1)",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    " =1+1",
    "=cmd|' /C calc'!A0",
    "-2+3+cmd|' /C calc'!A0",
    "|calc",
    "\N{FULLWIDTH EQUALS SIGN}1+1",
]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_becomes_text_and_survives_the_file(text: str) -> None:
    assert neutral(text) == f"'{text}"
    file = io.StringIO(newline="")
    csv.writer(file).writerow([neutral(text), "next"])
    file.seek(0)
    assert list(csv.reader(file)) == [[f"'{text}", "next"]]


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (Decimal("-1.50"), "-1.50"),
        (Decimal("1E-9"), "0.000000001"),
        (-3, "-3"),
        ("-1.5", "-1.5"),
        ("+2", "+2"),
        (None, ""),
    ],
)
def test_a_number_stays_a_number(value: object, cell: str) -> None:
    assert neutral(value) == cell


@pytest.mark.parametrize("text", ["Stochastic 5m", "1-2", "a=b", "'quoted", "<script>"])
def test_other_text_stays_as_it_is(text: str) -> None:
    assert neutral(text) == text
