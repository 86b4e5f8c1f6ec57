"""What finished operations came to together."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

from hypothesis import given
from hypothesis import strategies as st

from operations.results import Result, record_of

BEGAN = datetime(2026, 11, 1, tzinfo=UTC)
AMOUNTS = st.lists(st.decimals(-1000, 1000, places=4), max_size=40)


def results(*amounts: str | D) -> list[Result]:
    return [Result(BEGAN + timedelta(hours=number), D(amount)) for number, amount in enumerate(amounts)]


def test_nothing_finished_has_no_rate_and_no_average() -> None:
    record = record_of([])
    assert (record.closed, record.profit, record.drawdown, record.largest_loss) == (0, 0, 0, 0)
    assert (record.success_rate, record.average, record.curve) == (None, None, ())


def test_figures_are_those_of_all_results() -> None:
    record = record_of(results("10", "-4", "0", "2"))
    assert (record.closed, record.won, record.profit) == (4, 2, 8)
    assert (record.success_rate, record.average, record.largest_loss) == (50, 2, -4)


def test_the_drawdown_is_the_deepest_fall_from_a_height_before_it() -> None:
    # 5, 2, 6, -1, 9: from 6 to -1
    assert record_of(results("5", "-3", "4", "-7", "10")).drawdown == 7


def test_a_loss_at_once_is_a_drawdown_from_zero() -> None:
    assert record_of(results("-3", "1", "-2")).drawdown == 4


def test_without_a_loss_there_is_neither_a_largest_one_nor_a_drawdown() -> None:
    record = record_of(results("1", "2"))
    assert (record.largest_loss, record.drawdown) == (0, 0)


def test_the_order_in_which_rows_come_does_not_matter() -> None:
    rows = results("5", "-3", "4")
    assert record_of(reversed(rows)) == record_of(rows)
    assert [total for _, total in record_of(rows).curve] == [5, 2, 6]


@given(AMOUNTS)
def test_no_fall_of_the_curve_is_deeper_than_the_drawdown(amounts: list[D]) -> None:
    record = record_of(results(*amounts))
    heights = [D(0), *(total for _, total in record.curve)]
    falls = [one - other for at, one in enumerate(heights) for other in heights[at:]]
    assert record.drawdown == max(falls)
