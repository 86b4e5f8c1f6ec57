"""Moments as programs and people write them."""

from datetime import UTC, datetime

import pytest

from market.moments import read_end, read_start

MIDNIGHT = datetime(2024, 1, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-31",
        "2024-01-31 00:00:00",
        "2024-01-31T00:00:00Z",
        "2024-01-31T01:00:00+01:00",
        "2024-01-31T00:00",
        "1706659200000",
    ],
)
def test_every_form_is_the_same_moment(text: str) -> None:
    assert read_start(text) == MIDNIGHT


def test_a_day_alone_ends_with_its_last_moment_and_a_time_is_itself() -> None:
    assert read_end("2024-01-31") == datetime(2024, 2, 1, tzinfo=UTC)
    assert read_end("2024-01-31 00:00:00") == MIDNIGHT
    assert read_end("2023-12-31") == datetime(2024, 1, 1, tzinfo=UTC)


def test_the_beginning_of_time_may_be_asked_for() -> None:
    assert read_start("0") == datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "1706659200",
        "20240131",
        "2024-W05-3",
        "2024-02-30",
        "1706659200000.5",
        "-1706659200000",
        "1969-12-31",
        "9999-12-31",
        "0001-01-01 00:00:00+14:00",
        "٢٠٢٤-٠١-٣١",
        "2024-01-31T25:00:00Z",
    ],
)
def test_what_could_be_misread_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="Must"):
        read_start(text)
