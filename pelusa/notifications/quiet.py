"""When a message may leave: quiet hours in a time zone, gathering, the hour of the summary. Pure."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


def zone_named(name: str) -> ZoneInfo:
    """Return the time zone; raise `ValueError` when there is none of that name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError):
        raise ValueError(name) from None


def quiet_end(moment: datetime, start: time | None, end: time | None, zone: ZoneInfo) -> datetime | None:
    """Return when the quiet hours that `moment` falls into are over, in UTC; None when it falls into none.

    Hours are those of the wall clock, so a night in which clocks change is an hour longer or shorter.
    """
    if start is None or end is None or start == end:
        return None
    local = moment.astimezone(zone)
    clock = local.time()
    spans_midnight = start > end
    is_quiet = (clock >= start or clock < end) if spans_midnight else start <= clock < end
    if not is_quiet:
        return None
    day = local.date() + timedelta(days=1 if spans_midnight and clock >= start else 0)
    over = datetime.combine(day, end, zone).astimezone(UTC)
    # The hour that a clock shows twice: the second one is meant
    return over if over > moment else datetime.combine(day, end, zone).replace(fold=1).astimezone(UTC)


def next_gathering(moment: datetime, minutes: int) -> datetime:
    """Return the end of the span of so many minutes, counted from midnight UTC, that `moment` lies in."""
    midnight = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    span = timedelta(minutes=minutes)
    return midnight + ((moment - midnight) // span + 1) * span


def day_to_sum_up(moment: datetime, hour: int, zone: ZoneInfo) -> tuple[date, datetime]:
    """Return the day whose summary was due last, and when that was, in UTC."""
    local = moment.astimezone(zone)
    day = local.date() if local.hour >= hour else local.date() - timedelta(days=1)
    return day, datetime.combine(day, time(hour), zone).astimezone(UTC)
