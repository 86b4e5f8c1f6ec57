"""Which series we keep: found or made, followed from a day on, each with a schedule of its own if someone wants it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

from django.utils.translation import gettext as _
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from market.coverage import first_open_from
from market.intervals import INTERVALS
from market.models import Instrument, Series

REPAIR = "market.tasks.repair_series"


class UnknownSeries(ValueError):
    """No such product, symbol or interval; the text says which there are."""


def find_series(market: str, symbol: str, interval: str) -> Series:
    """Return the series, made when it is new. Raises UnknownSeries for what the exchange does not list."""
    known = Series.objects.filter(market=market, symbol=symbol, interval=interval).first()
    if known:
        return known
    if interval not in INTERVALS:
        raise UnknownSeries(
            _("there is no interval %(interval)s; there are %(intervals)s")
            % {"interval": f"{interval!r}", "intervals": ", ".join(INTERVALS)}
        )
    if not Instrument.objects.filter(market=market, symbol=symbol).exists():
        raise UnknownSeries(
            _("%(market)s lists no %(symbol)s; symbols are written as the exchange does, e.g. BTC-USDT")
            % {"market": market, "symbol": symbol}
        )
    return Series.objects.get_or_create(market=market, symbol=symbol, interval=interval)[0]


def follow(series: Series, *, since: datetime | None = None) -> None:
    """Have new candles fetched and gaps repaired from now on; `since` (UTC) also asks for what is older."""
    series.is_followed = True
    if since is not None:
        series.wanted_since = first_open_from(since, series.interval)
        # What lies before was never looked at
        series.complete_until = None
    series.save(update_fields=["is_followed", "wanted_since", "complete_until", "updated_at"])


def unfollow(series: Series) -> None:
    """Leave the series as it is; its candles stay."""
    unschedule(series)
    series.is_followed = False
    series.save(update_fields=["is_followed", "updated_at"])


def schedule(series: Series, every: timedelta) -> PeriodicTask:
    """Follow the series at a pace of its own: a row of the scheduler that the back office shows and changes.

    The row and the series lie in two databases. Should we die between, the common task repairs the series as well,
    which costs requests and does no harm.
    """
    seconds = max(round(every.total_seconds()), 1)
    pace = IntervalSchedule.objects.filter(every=seconds, period=IntervalSchedule.SECONDS).first()
    pace = pace or IntervalSchedule.objects.create(every=seconds, period=IntervalSchedule.SECONDS)
    # The scheduler learns of a change by a signal of save(): no update() here
    task, _created = PeriodicTask.objects.update_or_create(
        name=schedule_name(series),
        defaults={
            "task": REPAIR,
            "args": json.dumps([series.pk]),
            "interval": pace,
            "crontab": None,
            "solar": None,
            "clocked": None,
            "enabled": True,
            "expire_seconds": max(seconds, 10),
            "description": f"Fetch new candles of {series} and repair its gaps.",
        },
    )
    _note(series, is_followed=True, has_own_schedule=True)
    return task


def unschedule(series: Series) -> None:
    """Take the series back into the common schedule."""
    _note(series, is_followed=series.is_followed, has_own_schedule=False)
    for task in PeriodicTask.objects.filter(name=schedule_name(series)):
        task.delete()


def scheduled() -> set[int]:
    """Return the ids of the series that a row of the scheduler repairs, be it switched on."""
    rows = PeriodicTask.objects.filter(task=REPAIR, enabled=True).values_list("args", flat=True)
    return {series_id for args in rows for series_id in json.loads(args)}


def schedule_name(series: Series) -> str:
    """Return the name of the series' own row in the scheduler."""
    return f"candles of {series}"


def _note(series: Series, *, is_followed: bool, has_own_schedule: bool) -> None:
    series.is_followed, series.has_own_schedule = is_followed, has_own_schedule
    series.save(update_fields=["is_followed", "has_own_schedule", "updated_at"])
