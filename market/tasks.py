"""Doors from the queue to market data."""

import time

from celery import shared_task
from django.db.models import F
from django.utils import timezone
from loguru import logger

from exchange.errors import ExchangeError, RateLimited
from exchange.types import Market
from market import backfill, following, instruments, repair
from market.models import Backfill, KlineHole, Series
from market.sheets import UnfitCandle
from pelusa.doorbell import ring_on_commit

# A worker's thread is lent for so many seconds, then others may have it
A_SLICE = 15.0


@shared_task
def refresh_instruments() -> None:
    """Refresh the lists of all products; one that cannot be read does not stop the others."""
    for market in Market:
        try:
            instruments.refresh(market)
        except ExchangeError as error:
            logger.warning("instruments of {} could not be read: {}", market, error)


@shared_task
def sweep_series() -> None:
    """Repair each followed series without a schedule of its own, the longest neglected first, for a slice of time."""
    deadline = time.monotonic() + A_SLICE
    followed = Series.objects.filter(is_followed=True).exclude(pk__in=following.scheduled())
    for series in followed.order_by(F("repaired_at").asc(nulls_first=True), "id"):
        if time.monotonic() >= deadline or not _repair(series):
            return
    _confirm_holes(deadline)


def _confirm_holes(deadline: float) -> None:
    """Ask again for the suspected holes of series that nobody follows: backfills left them behind."""
    suspected = KlineHole.objects.filter(confirmed_at=None).values("series")
    for series in Series.objects.filter(is_followed=False, pk__in=suspected):
        if time.monotonic() < deadline:
            _guarded(series, repair.confirm)


@shared_task
def repair_series(series_id: int) -> None:
    """Repair one series, at the pace of its own schedule."""
    series = Series.objects.filter(pk=series_id, is_followed=True).first()
    if series:
        _repair(series)


def _repair(series: Series) -> bool:
    """Repair a series that nobody repaired since it was read; False when the exchange wants to be left alone."""
    # The claim of one sweep among several: whoever comes second finds the time changed
    mine = Series.objects.filter(pk=series.pk, repaired_at=series.repaired_at)
    return not mine.update(repaired_at=timezone.now()) or _guarded(series, repair.repair)


def _guarded(series: Series, act: repair.Act) -> bool:
    """Do it; one series that fails says so in its row and stops no other, unless requests are not welcome at all."""
    try:
        act(series)
    except (ExchangeError, UnfitCandle) as error:
        Series.objects.filter(pk=series.pk).update(last_error=str(error))
        logger.warning("candles of {} not repaired, tried again by the sweep: {}", series, error)
        return not isinstance(error, RateLimited)
    return True


@shared_task
def run_backfill(backfill_id: int) -> None:
    """Work on a backfill for a slice of time, then ring for the next slice."""
    row = Backfill.objects.select_related("series").get(pk=backfill_id)
    try:
        is_done = backfill.run(row, seconds=A_SLICE)
    except backfill.Overtaken:
        return
    except (ExchangeError, UnfitCandle) as error:
        logger.warning("backfill {} pauses: {}", row, error)
        return
    if not is_done:
        ring_on_commit("market.tasks.run_backfill", row.pk, using="market")


@shared_task
def sweep_backfills() -> None:
    """Let the oldest waiting backfill go on, one at a time: the other threads belong to orders."""
    waiting = backfill.unattended().first()
    if waiting and not backfill.is_any_attended():
        run_backfill(waiting.pk)
