"""Schedule windows: when entries are allowed, in UTC, over midnight and over the end of the week too."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operations.schedules import DAYS, WEEK, parse

MONDAY = datetime(2026, 11, 23, tzinfo=UTC)


def at(text: str) -> datetime:
    """Return the moment that `mon 08:00` names in the week of MONDAY."""
    day, clock = text.split()
    parts = [int(part) for part in clock.split(":")] + [0]
    return MONDAY + timedelta(days=DAYS.index(day), hours=parts[0], minutes=parts[1], seconds=parts[2])


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        (
            "mon-fri 08:00-20:00; sat 10:00-12:00",
            ["mon 08:00", "fri 19:59:59", "sat 10:00", "sat 11:59:59", "wed 12:00"],
            ["mon 07:59:59", "fri 20:00", "sat 09:59:59", "sat 12:00", "sun 11:00"],
        ),
        ("fri 22:00-06:00", ["fri 22:00", "sat 05:59:59"], ["fri 21:59:59", "sat 06:00", "fri 03:00"]),
        ("sun 22:00-06:00", ["sun 23:00", "mon 00:00", "mon 05:59:59"], ["mon 06:00", "sun 21:59", "tue 01:00"]),
        ("22:00-06:00", ["mon 03:00", "wed 22:00", "sun 23:59:59"], ["mon 06:00", "sat 21:59:59"]),
        ("sat-mon 00:00-24:00", ["sat 00:00", "sun 12:00", "mon 23:59:59"], ["tue 00:00", "fri 23:59:59"]),
        ("mon,wed 09:00-10:00,15:00-16:00", ["mon 09:30", "wed 15:30"], ["tue 09:30", "mon 12:00"]),
        ("  MON - Fri   8:00 - 20:00 ;; ", ["mon 08:00"], ["sat 08:00"]),
        ("tue 20:00-00:00", ["tue 23:59:59"], ["wed 00:00", "tue 19:59"]),
        ("tue 20:00-24:00", ["tue 23:59:59"], ["wed 00:00", "tue 19:59"]),
        ("mon 00:00-24:00; tue 00:00-24:00", ["mon 23:59:59", "tue 00:00"], ["sun 23:59:59", "wed 00:00"]),
    ],
)
def test_a_window_begins_with_its_first_second_and_ends_before_its_last(
    text: str, inside: list[str], outside: list[str]
) -> None:
    schedule = parse(text)
    assert [moment for moment in inside if not schedule.is_open(at(moment))] == []
    assert [moment for moment in outside if schedule.is_open(at(moment))] == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "The schedule names no window: write for example mon-fri 08:00-20:00."),
        (" ; ", "The schedule names no window: write for example mon-fri 08:00-20:00."),
        ("mon-fri", "'mon-fri' names no hours: write for example mon-fri 08:00-20:00."),
        ("lun 08:00-20:00", "'lun' is no day: take mon, tue, wed, thu, fri, sat, sun."),
        ("mon,, 08:00-20:00", "'' is no day: take mon, tue, wed, thu, fri, sat, sun."),
        ("mon 8-20", "'8-20' are no hours: write for example 08:00-20:00."),
        ("mon 08:00-20:00 UTC", "'08:00-20:00 utc' are no hours: write for example 08:00-20:00."),
        ("mon 08:00-25:00", "'25:00' is no time of a day: take 00:00 to 24:00."),
        ("mon 08:60-20:00", "'08:60' is no time of a day: take 00:00 to 24:00."),
        ("mon 24:01-20:00", "'24:01' is no time of a day: take 00:00 to 24:00."),
        (
            "mon 08:00-08:00",
            "'08:00-08:00' begins and ends at the same time: write 00:00-24:00 for a whole day.",
        ),
        ("mon 24:00-08:00", "'24:00-08:00' begins at the end of a day: write 00:00 and the next day."),
        ("mon 08:00", "'08:00' are no hours: write for example 08:00-20:00."),
        ("mon ٠٨:٠٠-20:00", "'mon ٠٨:٠٠' is no day: take mon, tue, wed, thu, fri, sat, sun."),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=r"\.$") as refusal:
        parse(text)
    assert str(refusal.value) == sentence


@pytest.mark.parametrize(
    ("moment", "opening"),
    [("fri 20:00", "sat 10:00"), ("mon 08:00", "mon 08:00"), ("mon 09:00", "tue 08:00"), ("wed 07:00", "wed 08:00")],
)
def test_the_next_opening_is_named(moment: str, opening: str) -> None:
    assert parse("mon-fri 08:00-20:00; sat 10:00-12:00").next_opening(at(moment)) == at(opening)


def test_the_next_opening_may_lie_in_the_next_week() -> None:
    assert parse("mon 08:00-09:00").next_opening(at("mon 08:30")) == at("mon 08:00") + WEEK


def test_a_moment_of_another_zone_is_read_in_utc() -> None:
    madrid = timezone(timedelta(hours=1))
    schedule = parse("mon 08:00-20:00")
    assert not schedule.is_open(datetime(2026, 11, 23, 8, 30, tzinfo=madrid))
    assert schedule.is_open(datetime(2026, 11, 23, 20, 59, tzinfo=madrid))


def test_a_moment_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        parse("mon 08:00-20:00").is_open(datetime(2026, 11, 23, 9))


@given(st.integers(0, 6), st.integers(0, 1439), st.integers(0, 1439).filter(bool), st.integers(0, 7 * 24 * 60 - 1))
def test_a_window_holds_exactly_the_minutes_that_it_names(day: int, begins: int, lasts: int, minute: int) -> None:
    ends = (begins + lasts) % 1440
    text = f"{DAYS[day]} {begins // 60:02}:{begins % 60:02}-{ends // 60:02}:{ends % 60:02}"
    named = {(day * 1440 + begins + step) % (7 * 1440) for step in range(lasts)}
    assert parse(text).is_open(MONDAY + timedelta(minutes=minute)) is (minute in named)
