"""Following and repairing: what it costs, what it remembers, and who does it."""

from datetime import datetime, timedelta

import pytest
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from market import following, repair, tasks
from market.holes import BEFORE_ASKING_AGAIN, BEFORE_CONFIRMING
from market.intervals import floor
from market.models import Instrument, Kline, KlineHole, Series
from market.repair import BEFORE_CHECKING, OVERLAP
from market.tests.candle_exchange import CandleExchange, milliseconds, stored
from pelusa.testing import DATABASES, PaperExchange, list_instruments

pytestmark = pytest.mark.django_db(databases=DATABASES)

MINUTE = timedelta(minutes=1)


@pytest.fixture
def half_past(candles: CandleExchange) -> datetime:
    """A moment in the middle of a minute; the exchange's clock stands there."""
    moment = floor(timezone.now(), "1m") + timedelta(seconds=30)
    candles.now = lambda: moment
    return moment


def a_wish(series: Series, now: datetime, minutes: int) -> datetime:
    since = floor(now, "1m") - minutes * MINUTE
    following.follow(series, since=since)
    return since


def lose(series: Series, since: datetime, *places: int) -> None:
    Kline.objects.filter(series=series, open_time__in=[since + place * MINUTE for place in places]).delete()


def test_a_series_that_lacks_nothing_costs_no_request(
    candles: CandleExchange, series: Series, half_past: datetime
) -> None:
    a_wish(series, half_past, 2500)
    assert repair.repair(series).requests == 3
    candles.asked.clear()
    assert repair.repair(series).requests == 0
    assert candles.asked == []


def test_a_new_candle_costs_one_request_and_brings_what_was_corrected_late(
    candles: CandleExchange, series: Series, half_past: datetime
) -> None:
    since = a_wish(series, half_past, 100)
    repair.repair(series)
    candles.revised[milliseconds(half_past.replace(second=0) - OVERLAP * MINUTE)] = 77
    candles.now = lambda: half_past + MINUTE
    done = repair.repair(series)
    assert (done.requests, done.candles) == (1, OVERLAP + 1)
    assert stored(series, since, half_past + MINUTE) == candles.truth(since, half_past)


def test_a_thousand_missing_candles_here_and_there_cost_few_requests(
    candles: CandleExchange, series: Series, half_past: datetime
) -> None:
    since = a_wish(series, half_past, 3000)
    repair.repair(series)
    lose(series, since, *range(0, 3000, 3))
    assert repair.repair(series, thoroughly=True).requests == 4
    assert Kline.objects.filter(series=series).count() == 3000


def test_rows_that_vanished_are_found_within_the_hour(
    candles: CandleExchange, series: Series, half_past: datetime
) -> None:
    since = a_wish(series, half_past, 100)
    repair.repair(series)
    lose(series, since, 5)
    assert repair.repair(series).requests == 0
    candles.now = lambda: half_past + BEFORE_CHECKING
    repair.repair(series)
    assert Kline.objects.filter(series=series, open_time=since + 5 * MINUTE).exists()


def test_a_hole_of_the_exchange_is_asked_for_until_it_is_believed_and_then_once_a_day(
    candles: CandleExchange, series: Series, half_past: datetime
) -> None:
    since = a_wish(series, half_past, 100)
    candles.holes = {milliseconds(since + place * MINUTE) for place in range(40, 50)}
    repair.repair(series)
    hole = KlineHole.objects.get()
    assert (hole.start, hole.stop, hole.confirmed_at) == (since + 40 * MINUTE, since + 50 * MINUTE, None)
    asked = []
    for later in (timedelta(seconds=30), BEFORE_CONFIRMING, 2 * BEFORE_CONFIRMING, BEFORE_ASKING_AGAIN + MINUTE * 5):
        candles.asked.clear()
        moment = half_past + later
        candles.now = lambda moment=moment: moment
        repair.repair(series)
        asked.append(any(int(question["startTime"]) <= milliseconds(hole.start) for question in candles.asked))
    assert asked == [True, True, False, True]
    assert KlineHole.objects.get(start=hole.start).confirmed_at == half_past + BEFORE_CONFIRMING


def test_a_hole_that_the_exchange_fills_after_all_is_forgotten(
    candles: CandleExchange, series: Series, half_past: datetime
) -> None:
    since = a_wish(series, half_past, 100)
    candles.holes = {milliseconds(since + 40 * MINUTE)}
    repair.repair(series)
    candles.now = lambda: half_past + BEFORE_CONFIRMING
    repair.repair(series)
    assert KlineHole.objects.get().confirmed_at
    candles.holes = set()
    repair.repair(series, thoroughly=True)
    assert not KlineHole.objects.exists()
    assert Kline.objects.filter(series=series, open_time=since + 40 * MINUTE).exists()


def test_what_lies_before_the_exchanges_history_is_one_hole_and_not_a_page_after_page(
    candles: CandleExchange, series: Series, half_past: datetime
) -> None:
    since = a_wish(series, half_past, 3 * 365 * 1440)
    candles.began = floor(half_past, "1m") - 50 * MINUTE
    assert repair.repair(series).requests <= 3
    hole = KlineHole.objects.get()
    assert (hole.start, hole.stop) == (since, candles.began)


def test_nothing_is_believed_of_a_single_empty_answer(
    candles: CandleExchange, series: Series, half_past: datetime
) -> None:
    since = a_wish(series, half_past, 100)
    answers = iter([False, True])

    def empty_at_first(fault: str) -> bool:
        return fault == "truncated" and not next(answers, True)

    candles.chance.randint = lambda least, most: 0  # type: ignore[method-assign,assignment]
    candles._happens = empty_at_first  # type: ignore[method-assign]
    repair.repair(series)
    assert stored(series, since, half_past) == candles.truth(since, floor(half_past, "1m"))


def test_one_series_that_fails_says_so_and_stops_no_other(
    candles: CandleExchange, series: Series, half_past: datetime
) -> None:
    good = Series.objects.create(market="usdtm", symbol="ETH-USDT", interval="1m", is_followed=True)
    following.follow(series)
    candles.odds, candles.untouched = {"garbage": 1.0}, "ETH-USDT"
    tasks.sweep_series()
    series.refresh_from_db()
    good.refresh_from_db()
    assert "does not fit" in series.last_error
    assert good.last_error == ""
    assert Kline.objects.filter(series=good).exists()


def test_two_sweeps_repair_a_series_once(candles: CandleExchange, series: Series, half_past: datetime) -> None:
    following.follow(series)
    stale = Series.objects.get(pk=series.pk)
    tasks.sweep_series()
    candles.asked.clear()
    candles.now = lambda: half_past + MINUTE
    assert tasks._repair(stale)
    assert candles.asked == []


def test_the_sweep_confirms_what_a_backfill_left_and_fetches_nothing_else(
    candles: CandleExchange, series: Series, half_past: datetime
) -> None:
    since = floor(half_past, "1m") - 50 * MINUTE
    KlineHole.objects.create(
        series=series, start=since, stop=since + MINUTE, seen_at=since, asked_at=since, confirmed_at=None
    )
    candles.holes = {milliseconds(since)}
    tasks.sweep_series()
    assert KlineHole.objects.get().confirmed_at is not None
    assert not Kline.objects.exists()


def test_a_schedule_of_its_own_is_a_row_of_the_scheduler(series: Series) -> None:
    following.schedule(series, timedelta(minutes=5))
    task = following.schedule(series, timedelta(minutes=2))
    assert PeriodicTask.objects.filter(task=following.REPAIR).count() == 1
    assert (task.interval.every, task.interval.period, task.args) == (120, "seconds", f"[{series.pk}]")
    series.refresh_from_db()
    assert series.is_followed
    assert series.has_own_schedule
    following.unfollow(series)
    assert not PeriodicTask.objects.filter(task=following.REPAIR).exists()
    series.refresh_from_db()
    assert not series.is_followed
    assert not series.has_own_schedule


def test_the_common_sweep_leaves_a_series_to_its_own_schedule(
    candles: CandleExchange, series: Series, half_past: datetime
) -> None:
    following.schedule(series, timedelta(minutes=5))
    tasks.sweep_series()
    assert candles.asked == []
    tasks.repair_series(series.pk)
    assert len(candles.asked) == 1


def test_a_schedule_that_is_switched_off_leaves_the_series_to_the_common_sweep(
    candles: CandleExchange, series: Series, half_past: datetime
) -> None:
    own = following.schedule(series, timedelta(minutes=5))
    own.enabled = False
    own.save()
    tasks.sweep_series()
    assert len(candles.asked) == 1


def test_a_series_is_found_by_what_the_exchange_lists(paper: PaperExchange) -> None:
    list_instruments()
    assert Instrument.objects.exists()
    first = following.find_series("usdtm", "BTC-USDT", "1m")
    assert following.find_series("usdtm", "BTC-USDT", "1m") == first
    with pytest.raises(following.UnknownSeries, match="lists no NOSUCH-USDT"):
        following.find_series("usdtm", "NOSUCH-USDT", "1m")
    with pytest.raises(following.UnknownSeries, match="no interval '7m'"):
        following.find_series("usdtm", "BTC-USDT", "7m")


def test_wanting_more_than_before_is_looked_for(candles: CandleExchange, series: Series, half_past: datetime) -> None:
    a_wish(series, half_past, 100)
    repair.repair(series)
    since = a_wish(series, half_past, 300)
    repair.repair(series)
    assert stored(series, since, half_past) == candles.truth(since, floor(half_past, "1m"))
