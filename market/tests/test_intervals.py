from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.intervals import INTERVALS, MONTH, duration, floor, from_tradingview, is_on_grid, next_open

DOMAIN_PAGE = {
    "1": "1m",
    "3": "3m",
    "5": "5m",
    "15": "15m",
    "30": "30m",
    "60": "1h",
    "120": "2h",
    "240": "4h",
    "360": "6h",
    "480": "8h",
    "720": "12h",
    "D": "1d",
    "1D": "1d",
    "1440": "1d",
    "3D": "3d",
    "W": "1w",
    "1W": "1w",
    "10080": "1w",
    "M": "1M",
    "1M": "1M",
}

moments = st.datetimes(datetime(1999, 1, 1), datetime(2101, 1, 1), timezones=st.just(UTC))
fixed = [interval for interval in INTERVALS if interval != MONTH]


@pytest.mark.parametrize(("theirs", "ours"), DOMAIN_PAGE.items())
def test_every_interval_of_tradingview_becomes_ours(theirs: str, ours: str) -> None:
    assert from_tradingview(theirs) == ours


@pytest.mark.parametrize("interval", INTERVALS)
def test_our_own_intervals_stay(interval: str) -> None:
    assert from_tradingview(interval) == interval


def test_a_capital_m_is_a_month_and_a_small_one_a_minute() -> None:
    assert (from_tradingview("1M"), from_tradingview("1m")) == ("1M", "1m")


@pytest.mark.parametrize(("theirs", "ours"), [("d", "1d"), ("w", "1w"), ("1H", "1h"), ("12H", "12h")])
def test_other_cases_are_understood_where_they_mean_one_thing(theirs: str, ours: str) -> None:
    assert from_tradingview(theirs) == ours


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "m",
        "S",
        "30S",
        "5s",
        "2",
        "45",
        "90",
        "180",
        "1440m",
        "60m",
        "2D",
        "3M",
        "3m ",
        "+5",
        "05",
        "5.0",
        "\u0661",
    ],
)
def test_an_interval_without_candles_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no interval"):
        from_tradingview(text)


def test_durations_are_exact_and_a_month_has_none() -> None:
    assert duration("3m") == timedelta(seconds=180)
    assert duration("1w") == timedelta(days=7)
    for interval in (MONTH, "45m", ""):
        with pytest.raises(ValueError, match="no fixed duration"):
            duration(interval)


@pytest.mark.parametrize(
    ("interval", "opened", "closes"),
    [
        ("1m", datetime(2024, 2, 29, 23, 59), datetime(2024, 3, 1)),
        ("4h", datetime(2024, 2, 29, 20), datetime(2024, 3, 1)),
        ("1d", datetime(2024, 2, 29), datetime(2024, 3, 1)),
        ("3d", datetime(2024, 2, 29), datetime(2024, 3, 3)),
        ("1w", datetime(2024, 2, 26), datetime(2024, 3, 4)),
        ("1M", datetime(2024, 2, 1), datetime(2024, 3, 1)),
    ],
)
def test_the_last_instant_of_a_leap_day_lies_in_the_right_candle(
    interval: str, opened: datetime, closes: datetime
) -> None:
    moment = datetime(2024, 2, 29, 23, 59, 59, 999999, tzinfo=UTC)
    assert floor(moment, interval) == opened.replace(tzinfo=UTC)
    assert next_open(moment, interval) == closes.replace(tzinfo=UTC)


def test_three_day_candles_are_counted_from_the_epoch() -> None:
    assert is_on_grid(datetime(1970, 1, 1, tzinfo=UTC), "3d")
    assert not is_on_grid(datetime(1970, 1, 3, tzinfo=UTC), "3d")


def test_december_is_followed_by_january() -> None:
    assert next_open(datetime(2025, 12, 31, 12, tzinfo=UTC), "1M") == datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("interval", INTERVALS)
@given(moment=moments)
def test_every_moment_lies_in_exactly_one_candle(interval: str, moment: datetime) -> None:
    opened, closes = floor(moment, interval), next_open(moment, interval)
    assert opened <= moment < closes
    assert is_on_grid(opened, interval)
    assert is_on_grid(closes, interval)
    assert next_open(opened, interval) == closes
    assert floor(closes - timedelta(microseconds=1), interval) == opened
    assert is_on_grid(moment, interval) == (moment == opened)


@pytest.mark.parametrize("interval", fixed)
@given(moment=moments)
def test_candles_of_a_fixed_interval_last_as_long_as_it_says(interval: str, moment: datetime) -> None:
    assert next_open(moment, interval) - floor(moment, interval) == duration(interval)


@given(moment=moments)
def test_weeks_open_on_monday_and_months_on_the_first(moment: datetime) -> None:
    assert floor(moment, "1w").weekday() == 0
    assert floor(moment, "1M").day == next_open(moment, "1M").day == 1


@pytest.mark.parametrize("interval", INTERVALS)
@given(moment=moments, hours=st.integers(-12, 14))
def test_the_zone_of_a_moment_changes_nothing(interval: str, moment: datetime, hours: int) -> None:
    elsewhere = moment.astimezone(timezone(timedelta(hours=hours)))
    assert floor(elsewhere, interval) == floor(moment, interval)
    assert floor(elsewhere, interval).tzinfo is UTC


@pytest.mark.parametrize("interval", INTERVALS)
def test_a_moment_without_zone_is_refused(interval: str) -> None:
    for deed in (floor, next_open, is_on_grid):
        with pytest.raises(ValueError, match="no time zone"):
            deed(datetime(2024, 1, 1), interval)


def test_an_unknown_interval_has_no_grid() -> None:
    with pytest.raises(ValueError, match="no fixed duration"):
        floor(datetime(2024, 1, 1, tzinfo=UTC), "45m")
