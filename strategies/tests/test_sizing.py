"""How large an entry is."""

from dataclasses import replace
from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.sizing import CannotSize, Grid, Wish, size_entry

BTC = Grid("BTC-USDT", step_size=D("0.0001"), min_quantity=D("0.0001"), min_notional=D(2))
BTC_COIN = Grid("BTC-USD", step_size=D(1), min_quantity=D(1), min_notional=D(0), contract_size=D(100))
PRICE = D(50000)


@pytest.mark.parametrize(
    ("wish", "quantity"),
    [
        (Wish("quantity", D("0.01")), "0.0100"),
        (Wish("quantity", D("0.01239")), "0.0123"),
        (Wish("notional", D(1000)), "0.0200"),
        (Wish("equity_percent", D(10)), "0.0200"),
        (Wish("equity_percent", D(10), leverage=5), "0.1000"),
        (Wish("risk_percent", D(1), stop_percent=D(2)), "0.1000"),
        (Wish("alarm", None, alarm_quantity=D("0.0073318072")), "0.0073"),
    ],
)
def test_each_sizing_comes_to_its_quantity_rounded_down(wish: Wish, quantity: str) -> None:
    assert size_entry(wish, BTC, PRICE, D(10_000)) == D(quantity)


def test_risk_sizing_loses_exactly_the_risk_at_the_stop() -> None:
    quantity = size_entry(Wish("risk_percent", D(1), stop_percent=D(2)), BTC, PRICE, D(10_000))
    assert quantity * PRICE * D("0.02") == D(100)


def test_coin_margined_sizes_are_whole_contracts() -> None:
    assert size_entry(Wish("notional", D(1050)), BTC_COIN, PRICE, None) == D(10)


@pytest.mark.parametrize(
    ("wish", "reason"),
    [
        (Wish("quantity", D("0.00009")), "below_min_quantity"),
        (Wish("quantity", None), "no_size"),
        (Wish("alarm", None), "no_alarm_quantity"),
        (Wish("risk_percent", D(1)), "no_stop_for_risk"),
        (Wish("notional", D("1.9")), "below_min_quantity"),
    ],
)
def test_what_has_no_lawful_size_is_refused_with_its_reason(wish: Wish, reason: str) -> None:
    with pytest.raises(CannotSize) as refusal:
        size_entry(wish, BTC, PRICE, D(10_000))
    assert refusal.value.reason == reason


def test_a_value_below_the_minimum_is_refused() -> None:
    with pytest.raises(CannotSize) as refusal:
        size_entry(Wish("quantity", D("0.0001")), BTC, D(19_000), None)
    assert refusal.value.reason == "below_min_notional"
    assert refusal.value.facts["notional"] == "1.9000"


def test_sizing_by_equity_needs_the_equity() -> None:
    with pytest.raises(CannotSize) as refusal:
        size_entry(Wish("equity_percent", D(1)), BTC, PRICE, None)
    assert refusal.value.reason == "no_equity"


money = st.decimals(min_value="0.000001", max_value="100000000", allow_nan=False, allow_infinity=False, places=6)


@given(size=money, price=money, step=st.sampled_from([D(1), D("0.1"), D("0.001"), D("0.0001"), D(10)]))
def test_r29_a_size_is_on_the_step_and_never_rounded_up(size: D, price: D, step: D) -> None:
    grid = replace(BTC, step_size=step)
    try:
        quantity = size_entry(Wish("notional", size), grid, price, None)
    except CannotSize:
        return
    assert quantity % step == 0
    assert quantity * price <= size
    assert quantity * price >= grid.min_notional
