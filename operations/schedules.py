"""Windows of the week in which entries are allowed. Pure: text and moments in, answers out; all of it in UTC.

    mon-fri 08:00-20:00; sat 10:00-12:00, 14:00-16:00; sun, mon 22:00-06:00

Windows stand apart by semicolons, each with days and hours. One that names no day is of every day; one that ends at or
before the hour at which it begins ends on the next day. The beginning belongs to a window, its end does not.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from django.utils.translation import gettext as _

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY = timedelta(days=1)
WEEK = 7 * DAY
_HOURS = re.compile(r"([0-9]{1,2}:[0-9]{2}) ?- ?([0-9]{1,2}:[0-9]{2})")


@dataclass(frozen=True, slots=True)
class Window:
    """One stretch of every week: when it begins, counted from Monday 00:00 UTC, and how long it is."""

    begins: timedelta
    lasts: timedelta


@dataclass(frozen=True, slots=True)
class Schedule:
    """All windows of a text."""

    windows: tuple[Window, ...]

    def is_open(self, moment: datetime) -> bool:
        """Tell whether an aware `moment` lies in a window."""
        since_monday = _since_monday(moment)
        return any((since_monday - window.begins) % WEEK < window.lasts for window in self.windows)

    def next_opening(self, moment: datetime) -> datetime:
        """Return when the next window begins, in UTC: `moment` itself when one begins right then."""
        since_monday = _since_monday(moment)
        return moment.astimezone(UTC) + min((window.begins - since_monday) % WEEK for window in self.windows)


@lru_cache(maxsize=256)
def parse(text: str) -> Schedule:
    """Return the schedule that `text` describes; raise `ValueError` with a sentence for a person who typed it."""
    parts = [" ".join(part.split()) for part in text.lower().split(";")]
    windows = tuple(window for part in parts if part for window in _windows(part))
    if not windows:
        raise ValueError(_("The schedule names no window: write for example mon-fri 08:00-20:00."))
    return Schedule(windows)


def _since_monday(moment: datetime) -> timedelta:
    if moment.tzinfo is None:
        raise ValueError("a schedule is asked about aware moments only")
    moment = moment.astimezone(UTC)
    return moment - moment.replace(hour=0, minute=0, second=0, microsecond=0) + moment.weekday() * DAY


def _windows(part: str) -> list[Window]:
    first_digit = re.search("[0-9]", part)
    if first_digit is None:
        raise ValueError(_("'%(part)s' names no hours: write for example mon-fri 08:00-20:00.") % {"part": part})
    days = _days(part[: first_digit.start()].strip())
    hours = [_hours(each.strip()) for each in part[first_digit.start() :].split(",")]
    return [Window(day * DAY + begins, lasts) for day in days for begins, lasts in hours]


def _days(text: str) -> list[int]:
    """Return the numbers of the days, Monday is 0; a range may run over the end of the week."""
    if not text:
        return list(range(7))
    found: set[int] = set()
    for each in text.split(","):
        first, dash, last = each.partition("-")
        begin = _day(first.strip())
        end = _day(last.strip()) if dash else begin
        found |= {(begin + step) % 7 for step in range((end - begin) % 7 + 1)}
    return sorted(found)


def _day(word: str) -> int:
    if word not in DAYS:
        raise ValueError(_("'%(word)s' is no day: take %(days)s.") % {"word": word, "days": ", ".join(DAYS)})
    return DAYS.index(word)


def _hours(text: str) -> tuple[timedelta, timedelta]:
    """Return when on its day a window begins, and how long it lasts."""
    match = _HOURS.fullmatch(text)
    if match is None:
        raise ValueError(_("'%(text)s' are no hours: write for example 08:00-20:00.") % {"text": text})
    begins, ends = _time(match[1]), _time(match[2])
    if begins == ends:
        raise ValueError(
            _("'%(text)s' begins and ends at the same time: write 00:00-24:00 for a whole day.") % {"text": text}
        )
    if begins == DAY:
        raise ValueError(_("'%(text)s' begins at the end of a day: write 00:00 and the next day.") % {"text": text})
    return begins, (ends - begins) % DAY or DAY


def _time(text: str) -> timedelta:
    hours, minutes = map(int, text.split(":"))
    since_midnight = timedelta(hours=hours, minutes=minutes)
    if minutes > 59 or since_midnight > DAY:
        raise ValueError(_("'%(text)s' is no time of a day: take 00:00 to 24:00.") % {"text": text})
    return since_midnight
