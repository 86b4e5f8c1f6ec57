"""What is held would bring now."""

from decimal import Decimal

import pytest

from operations.profit import live_profit, profit_percent

D = Decimal


@pytest.mark.parametrize(
    ("leg", "price", "profit"),
    [("long", "110", "5"), ("long", "90", "-5"), ("short", "90", "5"), ("short", "110", "-5")],
)
def test_a_linear_share_wins_with_the_price_on_its_side(leg: str, price: str, profit: str) -> None:
    assert live_profit(D("0.5"), D(100), D(price), leg) == D(profit)


def test_an_inverse_share_is_paid_in_coins() -> None:
    # 10 contracts of 100 USD: 1000/50000 coins in, 1000/62500 coins out
    assert live_profit(D(10), D(50000), D(62500), "long", D(100)) == D("0.004")
    assert live_profit(D(10), D(50000), D(62500), "short", D(100)) == D("-0.004")


def test_percent_is_of_the_entry_and_by_the_leg() -> None:
    assert profit_percent(D(200), D(210), "long") == D(5)
    assert profit_percent(D(200), D(210), "short") == D(-5)
