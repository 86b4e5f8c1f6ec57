"""An operation's figures from its fills."""

from decimal import Decimal as D

from hypothesis import given
from hypothesis import strategies as st

from operations.books import Execution, book


def entry(price: str, quantity: str, fee: str = "0") -> Execution:
    return Execution(True, D(price), D(quantity), D(fee))


def leave(price: str, quantity: str, fee: str = "0") -> Execution:
    return Execution(False, D(price), D(quantity), D(fee))


def test_nothing_filled_has_no_prices_and_no_result() -> None:
    figures = book([], "long")
    assert (figures.avg_entry_price, figures.avg_exit_price, figures.realised_pnl, figures.fees) == (None, None, 0, 0)


def test_a_long_round_trip_earns_the_difference() -> None:
    figures = book([entry("100", "1", "0.05"), entry("110", "1", "0.055"), leave("120", "2", "0.12")], "long")
    assert (figures.avg_entry_price, figures.avg_exit_price) == (D(105), D(120))
    assert (figures.realised_pnl, figures.fees) == (D(30), D("0.225"))


def test_a_short_round_trip_earns_the_fall() -> None:
    assert book([entry("100", "3"), leave("90", "3")], "short").realised_pnl == D(30)


def test_a_partial_exit_realises_its_part_at_the_average_so_far() -> None:
    figures = book([entry("100", "2"), leave("110", "1"), entry("130", "1"), leave("120", "2")], "long")
    # 10 on the first unit; then 2 units at (100 + 130) / 2 sold at 120
    assert figures.realised_pnl == D(20)


def test_a_coin_margined_long_is_booked_in_the_coin() -> None:
    figures = book([entry("50000", "10"), leave("62500", "10")], "long", contract_size=D(100))
    # 1000 USD were 0.02 coins at the entry and 0.016 at the exit
    assert figures.realised_pnl == D("0.004")
    assert (figures.avg_entry_price, figures.avg_exit_price) == (D(50000), D(62500))


def test_coin_margined_entries_average_harmonically() -> None:
    figures = book([entry("40000", "1"), entry("60000", "1")], "long", contract_size=D(100))
    assert figures.avg_entry_price == D(48000)


prices = st.decimals(min_value="1", max_value="100000", places=2)
quantities = st.decimals(min_value="0.0001", max_value="100", places=4)


@given(st.lists(st.tuples(prices, quantities), min_size=1, max_size=20), prices)
def test_a_round_trip_is_exactly_what_came_in_less_what_went_out(entries: list[tuple[D, D]], exit_price: D) -> None:
    fills = [Execution(True, price, quantity, D(0)) for price, quantity in entries]
    held = sum((quantity for _, quantity in entries), D(0))
    figures = book([*fills, Execution(False, exit_price, held, D(0))], "long")
    spent = sum((price * quantity for price, quantity in entries), D(0))
    assert abs(figures.realised_pnl - (held * exit_price - spent)) < D("1e-9")
