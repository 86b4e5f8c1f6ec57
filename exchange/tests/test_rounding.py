import time
from decimal import Decimal, localcontext

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exchange.rounding import Toward, is_on_step, plain, round_down, round_to_tick
from exchange.types import Side

D = Decimal
STEPS = st.one_of(
    st.integers(-12, 3).map(lambda power: D(1).scaleb(power)),
    st.decimals("0.000000001", "1000", allow_nan=False, allow_infinity=False, places=9).filter(bool),
)
AMOUNTS = st.decimals("0", "1e15", allow_nan=False, allow_infinity=False, places=12)
HUGE = ["1e3000000", "1" * 40, "1e31", "1e-61", "0e999999", "NaN", "sNaN", "Infinity", "-Infinity"]


@given(AMOUNTS, STEPS)
@example(D("0.3"), D("0.1"))
@example(D("0.0073318072"), D("0.0001"))
def test_a_quantity_is_never_rounded_up_and_loses_less_than_a_step(quantity, step):
    rounded = round_down(quantity, step)
    assert rounded <= quantity
    assert D(0) <= quantity - rounded < step
    assert is_on_step(rounded, step)
    assert round_down(rounded, step) == rounded


@given(st.integers(0, 10**12), STEPS)
def test_whole_steps_are_left_as_they_are(count, step):
    assert round_down(count * step, step) == count * step


@given(AMOUNTS.filter(bool), STEPS, st.sampled_from([*Side, *Toward]))
def test_a_price_moves_less_than_a_tick_and_where_it_was_told(price, tick, toward):
    if price < tick and toward not in (Side.SELL, Toward.UP):
        return
    rounded = round_to_tick(price, tick, toward)
    assert is_on_step(rounded, tick)
    assert abs(rounded - price) < tick
    if toward in (Side.BUY, Toward.DOWN):
        assert rounded <= price
    elif toward in (Side.SELL, Toward.UP):
        assert rounded >= price
    else:
        assert abs(rounded - price) * 2 <= tick


@pytest.mark.parametrize(
    ("price", "toward", "expected"),
    [
        ("68196.04", Side.BUY, "68196.0"),
        ("68196.01", Side.SELL, "68196.1"),
        ("68196.05", Toward.NEAREST, "68196.0"),
        ("68196.15", Toward.NEAREST, "68196.2"),
        ("68196.151", Toward.NEAREST, "68196.2"),
        ("68196.1", Side.SELL, "68196.1"),
    ],
)
def test_a_limit_is_never_worse_than_asked(price, toward, expected):
    assert round_to_tick(D(price), D("0.1"), toward) == D(expected)


def test_a_price_below_the_first_tick_is_refused():
    with pytest.raises(ValueError, match="above zero"):
        round_to_tick(D("0.04"), D("0.1"), Side.BUY)
    assert round_to_tick(D("0.04"), D("0.1"), Side.SELL) == D("0.1")


def test_half_a_contract_is_not_a_contract():
    assert round_down(D("0.5"), D(1)) == 0


@pytest.mark.parametrize("text", HUGE)
def test_an_impossible_number_is_refused_at_once(text):
    began = time.perf_counter()
    for act in (
        lambda: round_down(D(text), D(1)),
        lambda: round_down(D(1), D(text)),
        lambda: round_to_tick(D(text), D(1), Side.BUY),
        lambda: round_to_tick(D(1), D(text), Side.BUY),
        lambda: is_on_step(D(text), D(1)),
        lambda: plain(D(text)),
    ):
        with pytest.raises(ValueError, match=r"finite|impossible"):
            act()
    assert time.perf_counter() - began < 0.5


@pytest.mark.parametrize(("quantity", "step"), [("-1", "1"), ("1", "0"), ("1", "-1")])
def test_signs_that_make_no_sense_are_refused(quantity, step):
    with pytest.raises(ValueError, match=r"negative|above zero"):
        round_down(D(quantity), D(step))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1E+3", "1000"),
        ("1E-7", "0.0000001"),
        ("0.0100", "0.01"),
        ("-0.00", "0"),
        ("0", "0"),
        ("100", "100"),
        ("-1.50", "-1.5"),
    ],
)
def test_a_decimal_is_written_in_full(value, expected):
    assert plain(D(value)) == expected


@given(st.decimals("-1e20", "1e20", allow_nan=False, allow_infinity=False, places=18))
def test_what_is_written_reads_back_equal(value):
    text = plain(value)
    assert D(text) == value
    assert "E" not in text.upper()


@given(AMOUNTS, STEPS)
def test_the_thread_s_decimal_precision_changes_nothing(quantity, step):
    with localcontext(prec=5):
        narrow = round_down(quantity, step)
    assert narrow == round_down(quantity, step)
