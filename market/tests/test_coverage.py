"""What is stored, what is missing, and what the exchange itself lacks."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from itertools import pairwise

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from market import coverage as looking
from market.coverage import coverage, find_gaps
from market.holes import BEFORE_CONFIRMING, remember
from market.intervals import INTERVALS, MONTH, floor, next_open
from market.models import Kline, KlineHole, Series
from market.spans import Span, back, count
from pelusa.testing import DATABASES

pytestmark = pytest.mark.django_db(databases=DATABASES)

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def keep(series: Series, times: list[datetime]) -> None:
    one = D(1)
    Kline.objects.bulk_create(
        Kline(series=series, open_time=time, open=one, high=one, low=one, close=one, volume=one) for time in times
    )


@pytest.mark.parametrize("interval", INTERVALS)
def test_gaps_are_found_on_every_grid(interval: str) -> None:
    series = Series.objects.create(market="usdtm", symbol="BTC-USDT", interval=interval)
    times = [floor(BEGIN, interval)]
    while len(times) < 12:
        times.append(next_open(times[-1], interval))
    span = Span(times[0], times[-1])
    keep(series, [time for place, time in enumerate(times) if place not in (0, 4, 5, 8, 10)])
    assert find_gaps(series, span) == [
        (times[0], times[1]),
        (times[4], times[6]),
        (times[8], times[9]),
        (times[10], times[11]),
    ]
    assert sum(count(gap, interval) for gap in find_gaps(series, span)) == 5


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(there=st.sets(st.integers(0, 59)), piece=st.integers(1, 70))
def test_every_gap_is_found_wherever_the_pieces_are_cut(
    series: Series, monkeypatch: pytest.MonkeyPatch, there: set[int], piece: int
) -> None:
    monkeypatch.setattr(looking, "A_PIECE", piece)
    Kline.objects.all().delete()
    keep(series, [BEGIN + place * MINUTE for place in there])
    gaps = find_gaps(series, Span(BEGIN, BEGIN + 60 * MINUTE))
    missing = {BEGIN + place * MINUTE for place in range(60)} - {BEGIN + place * MINUTE for place in there}
    assert {gap.start + place * MINUTE for gap in gaps for place in range(count(gap, "1m"))} == missing
    assert all(one.stop < other.start for one, other in pairwise(gaps))


def test_a_complete_range_costs_one_count_a_piece(series: Series) -> None:
    keep(series, [BEGIN + place * MINUTE for place in range(2000)])
    with CaptureQueriesContext(connections["market"]) as queries:
        assert find_gaps(series, Span(BEGIN, BEGIN + 2000 * MINUTE)) == []
    assert len(queries) == 1


def test_coverage_says_from_when_to_when_how_many_and_which_are_missing(series: Series) -> None:
    keep(series, [BEGIN + place * MINUTE for place in (2, 3, 7)])
    found = coverage(series, since=BEGIN, until=BEGIN + 10 * MINUTE)
    assert (found.first, found.last, found.candles) == (BEGIN + 2 * MINUTE, BEGIN + 7 * MINUTE, 3)
    assert found.missing_candles == 7
    assert found.missing == [
        (BEGIN, BEGIN + 2 * MINUTE),
        (BEGIN + 4 * MINUTE, BEGIN + 7 * MINUTE),
        (BEGIN + 8 * MINUTE, BEGIN + 10 * MINUTE),
    ]
    assert not found.is_complete


def test_a_hole_is_missing_until_it_was_seen_at_two_times(series: Series) -> None:
    span, seen_at = Span(BEGIN, BEGIN + 5 * MINUTE), BEGIN + timedelta(days=1)
    keep(series, [BEGIN, BEGIN + 4 * MINUTE])
    remember(series, [span], seen_at)
    remember(series, [span], seen_at + BEFORE_CONFIRMING / 2)
    assert not coverage(series, since=span.start, until=span.stop).is_complete
    remember(series, [span], seen_at + BEFORE_CONFIRMING)
    found = coverage(series, since=span.start, until=span.stop)
    assert found.is_complete
    assert found.holes == [(BEGIN + MINUTE, BEGIN + 4 * MINUTE)]
    assert (found.candles, found.missing_candles) == (2, 0)


def test_confirmed_neighbours_are_one_hole(series: Series) -> None:
    for place in range(5):
        span = Span(BEGIN + place * MINUTE, BEGIN + (place + 1) * MINUTE)
        for moment in (BEGIN + timedelta(days=1), BEGIN + timedelta(days=2)):
            remember(series, [span], moment)
    assert [(hole.start, hole.stop) for hole in KlineHole.objects.all()] == [(BEGIN, BEGIN + 5 * MINUTE)]


def test_nothing_is_missing_of_a_series_that_nobody_wanted(series: Series) -> None:
    found = coverage(series)
    assert (found.candles, found.missing, found.first) == (0, [], None)


def test_the_candle_that_runs_is_not_missing(series: Series) -> None:
    series.wanted_since = floor(datetime.now(UTC), "1m") - 3 * MINUTE
    assert coverage(series).missing_candles in (2, 3, 4)
    series.interval, series.wanted_since = MONTH, back(floor(datetime.now(UTC), MONTH), MONTH, 2)
    assert coverage(series).missing_candles in (2, 3)
