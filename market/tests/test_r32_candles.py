"""R32: whatever went wrong before, one repair leaves the store equal to the exchange, bit for bit."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connections
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exchange.errors import ExchangeError
from market import backfill, holes
from market.coverage import find_gaps
from market.intervals import floor
from market.models import Kline, Series
from market.paging import closed_before
from market.repair import repair
from market.sheets import UnfitCandle
from market.spans import Span, count, merged
from market.tests.candle_exchange import CandleExchange, Killed, milliseconds, stored
from market.tests.conftest import forget_candles
from pelusa.testing import DATABASES

pytestmark = pytest.mark.django_db(databases=DATABASES)

MINUTE = timedelta(minutes=1)
LENGTH = 240
FAULTS = (
    "killed_before",
    "killed_after",
    "lost",
    "lost_after",
    "limited",
    "truncated",
    "gappy",
    "repeated",
    "reversed",
    "shuffled",
    "future",
    "garbage",
)
ACTS = ("repair", "thorough", "backfill", "two at once", "loss", "later")


@contextmanager
def killed_at(statement: int | None) -> Iterator[None]:
    """End the process before or after its n-th statement on the store."""
    left = [statement]

    def count_down(execute: Callable[..., Any], *call: Any) -> Any:
        if left[0] is None:
            return execute(*call)
        left[0] -= 1
        if left[0] == 0:
            raise Killed
        return execute(*call)

    with connections["market"].execute_wrapper(count_down):
        yield


class Desk:
    """One series with an exchange that misbehaves, and what may be done to it."""

    def __init__(self, exchange: CandleExchange, chance: random.Random) -> None:
        forget_candles()
        self.exchange, self.chance = exchange, chance
        self.series = Series.objects.create(market="usdtm", symbol="BTC-USDT", interval="1m", is_followed=True)
        # Always as far into its minute: what is drawn must not depend on the time of day
        self.clock = floor(timezone.now(), "1m") + timedelta(seconds=30)
        self.since = floor(self.clock, "1m") - LENGTH * MINUTE
        Series.objects.filter(pk=self.series.pk).update(wanted_since=self.since)
        self.series.refresh_from_db()
        # Hypothesis ends an example in the middle of an act when it has drawn enough
        exchange.meanwhile, exchange.odds = None, {}
        exchange.now = self.now
        exchange.chance = chance
        exchange.page = chance.choice((17, 60, 1000))
        exchange.holes = {milliseconds(self.since + place * MINUTE) for place in self._some_holes()}

    def now(self) -> datetime:
        return self.clock

    def _some_holes(self) -> list[int]:
        begins = [self.chance.randrange(LENGTH) for _ in range(self.chance.randrange(4))]
        return [begin + place for begin in begins for place in range(self.chance.randrange(1, 30))]

    def act(self, name: str) -> None:
        statement = self.chance.choice((None, None, self.chance.randrange(1, 25)))
        with suppress(ExchangeError, UnfitCandle, Killed, backfill.Overtaken), killed_at(statement):
            getattr(self, name.replace(" ", "_"))()
        self.exchange.meanwhile = None

    def repair(self) -> None:
        repair(self.series)

    def thorough(self) -> None:
        repair(self.series, thoroughly=True)

    def backfill(self) -> None:
        backfill.run(backfill.ask_for(self.series, self.since))

    def two_at_once(self) -> None:
        """Another process stores all of it while our page is on its way, and the exchange corrects itself between."""
        last = closed_before("1m", self.now()) - MINUTE

        def other() -> None:
            self.exchange.revised[milliseconds(last)] = self.chance.randrange(1, 1000)
            repair(Series.objects.get(pk=self.series.pk), thoroughly=True)

        Kline.objects.filter(series=self.series, open_time__gte=last).delete()
        self.exchange.meanwhile = other
        repair(self.series, thoroughly=True)

    def loss(self) -> None:
        """Rows vanish, as by a restored dump."""
        begin = self.since + self.chance.randrange(LENGTH) * MINUTE
        Kline.objects.filter(series=self.series, open_time__gte=begin, open_time__lt=begin + 20 * MINUTE).delete()

    def later(self) -> None:
        self.clock += timedelta(seconds=self.chance.randrange(300))


@pytest.mark.django_db(databases=DATABASES, transaction=True)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    chance=st.randoms(use_true_random=False),
    faults=st.dictionaries(st.sampled_from(FAULTS), st.sampled_from([0.1, 0.3, 0.6]), max_size=5),
    acts=st.lists(st.sampled_from(ACTS), max_size=8),
)
def test_r32_one_repair_after_any_failures_leaves_the_store_equal_to_the_exchange(
    candles: CandleExchange, chance: random.Random, faults: dict[str, float], acts: list[str]
) -> None:
    desk = Desk(candles, chance)
    candles.odds = faults
    for act in acts:
        desk.act(act)
    candles.odds = {}
    repair(desk.series, thoroughly=True)

    stop = closed_before("1m", desk.now())
    assert stored(desk.series, desk.since, stop) == candles.truth(desk.since, stop)
    assert not Kline.objects.filter(series=desk.series, open_time__gte=stop).exists()
    gaps = find_gaps(desk.series, Span(desk.since, stop))
    assert merged(map(holes.span_of, holes.holes_in(desk.series, Span(desk.since, stop)))) == gaps
    assert sum(count(gap, "1m") for gap in gaps) == sum(
        1 for ms in candles.holes if milliseconds(desk.since) <= ms < milliseconds(stop)
    )


@pytest.mark.parametrize("fault", ["truncated", "repeated", "reversed", "shuffled", "future"])
def test_r32_a_badly_written_page_costs_nothing_but_requests(
    candles: CandleExchange, series: Series, fault: str
) -> None:
    candles.odds, candles.page = {fault: 1.0 if fault != "truncated" else 0.5}, 50
    now = timezone.now()
    stop = closed_before("1m", now)
    Series.objects.filter(pk=series.pk).update(wanted_since=stop - 300 * MINUTE)
    repair(series, now=now)
    candles.odds = {}
    repair(series, now=now)
    assert stored(series, stop - 300 * MINUTE, stop) == candles.truth(stop - 300 * MINUTE, stop)


def test_r32_a_running_candle_is_not_stored(candles: CandleExchange, series: Series) -> None:
    now = floor(timezone.now(), "1m") + timedelta(seconds=30)
    candles.now = lambda: now
    repair(series, now=now)
    assert Kline.objects.filter(series=series).latest("open_time").open_time == floor(now, "1m") - MINUTE


def test_r32_a_candle_is_closed_when_the_clocks_can_no_longer_differ_about_it(
    candles: CandleExchange, series: Series
) -> None:
    minute = floor(timezone.now(), "1m")
    repair(series, now=minute + timedelta(milliseconds=900))
    assert Kline.objects.filter(series=series).latest("open_time").open_time == minute - 2 * MINUTE
    repair(series, now=minute + timedelta(milliseconds=1100))
    assert Kline.objects.filter(series=series).latest("open_time").open_time == minute - MINUTE


def test_r32_thirty_days_that_are_rebuilt_are_the_same(candles: CandleExchange, series: Series) -> None:
    stop = closed_before("1m", timezone.now())
    since = stop - timedelta(days=30)
    backfill.run(backfill.ask_for(series, since, until=stop))
    first = hash(tuple(stored(series, since, stop)))
    Kline.objects.filter(series=series).delete()
    backfill.run(backfill.ask_for(series, since, until=stop))
    assert hash(tuple(stored(series, since, stop))) == first
    assert Kline.objects.filter(series=series).count() == 30 * 24 * 60
