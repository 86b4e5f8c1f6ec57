"""Prices and candles: a pure function of the seed that agrees with itself at every scale."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise

import pytest

from exchange.paper.klines import GROUPS, index_at, open_of, page
from exchange.paper.prices import COINS, Path, Quotes, merge

NOW_MS = 1_795_340_000_000
DAY_MS = 86_400_000
MIDNIGHT_MS = NOW_MS // DAY_MS * DAY_MS - 3 * DAY_MS


def minutes_of_a_day(path: Path) -> list:
    halves = [
        page(path, "1m", MIDNIGHT_MS + half, MIDNIGHT_MS + half + DAY_MS // 2, 1000, NOW_MS)
        for half in (0, DAY_MS // 2)
    ]
    return [bar for half in halves for bar in reversed(half)]


@pytest.mark.parametrize("coin", sorted(COINS))
def test_every_interval_is_the_aggregate_of_its_minutes(coin: str) -> None:
    path = Path(5, coin)
    minutes = minutes_of_a_day(path)
    assert len(minutes) == 1440
    for interval in ("3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d"):
        for bar in page(path, interval, MIDNIGHT_MS, MIDNIGHT_MS + DAY_MS, 1000, NOW_MS):
            inside = [minute.candle for minute in minutes if bar.start <= minute.start < bar.stop]
            assert bar.candle == merge(inside)


@pytest.mark.parametrize("interval", ["3d", "1w", "1M"])
def test_long_intervals_are_the_aggregate_of_their_days(interval: str) -> None:
    path = Path(5, "BTC")
    for bar in page(path, interval, None, NOW_MS - 70 * DAY_MS, 5, NOW_MS):
        days = page(path, "1d", bar.start * 1000, bar.stop * 1000, 1000, NOW_MS)
        assert bar.candle == merge(day.candle for day in reversed(days))


def test_a_minute_is_the_aggregate_of_its_seconds() -> None:
    path = Path(5, "ETH")
    for minute in minutes_of_a_day(path)[:300]:
        prices = path.seconds(minute.start // 60)
        assert (prices[0], max(prices), min(prices), prices[-1]) == minute.candle[:4]


def test_candles_are_sound_and_join_up() -> None:
    minutes = minutes_of_a_day(Path(8, "SOL"))
    assert all(
        bar.candle.low <= min(bar.candle[0], bar.candle[3]) <= max(bar.candle[0], bar.candle[3]) <= bar.candle.high
        for bar in minutes
    )
    assert all(before.candle.close == after.candle.open for before, after in pairwise(minutes))
    assert all(bar.candle.low > 0 < bar.candle.volume for bar in minutes)


def test_the_price_moves_gently_from_second_to_second() -> None:
    path = Path(8, "BTC")
    prices = [price for minute in minutes_of_a_day(path) for price in path.seconds(minute.start // 60)]
    assert max(abs(after - before) / before for before, after in pairwise(prices)) < 0.02


def test_the_same_seed_gives_the_same_candles_and_another_seed_others() -> None:
    first, again, other = (page(Path(seed, "BTC"), "1h", None, None, 500, NOW_MS) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_closed_candle_never_changes_and_the_running_one_grows_into_it() -> None:
    closed = page(Path(1, "BTC"), "5m", MIDNIGHT_MS, MIDNIGHT_MS + 300_000, 10, NOW_MS)[0]
    seen = [
        page(Path(1, "BTC"), "5m", MIDNIGHT_MS, None, 10, MIDNIGHT_MS + second * 1000)[0] for second in range(0, 300, 7)
    ]
    assert all(bar.start == closed.start and bar.candle.open == closed.candle.open for bar in seen)
    assert all(before.candle.high <= after.candle.high <= closed.candle.high for before, after in pairwise(seen))
    assert all(before.candle.volume <= after.candle.volume <= closed.candle.volume for before, after in pairwise(seen))
    assert page(Path(1, "BTC"), "5m", MIDNIGHT_MS, None, 1000, MIDNIGHT_MS + 300_000)[1] == closed


@pytest.mark.parametrize("interval", sorted(GROUPS))
def test_a_page_is_newest_first_with_the_running_bar_and_at_most_1000_rows(interval: str) -> None:
    bars = page(Path(1, "BTC"), interval, None, None, 1440, NOW_MS)
    assert len(bars) <= 1000
    assert bars[0].start * 1000 <= NOW_MS < bars[0].stop * 1000
    assert all(older.stop == newer.start for newer, older in pairwise(bars))


def test_a_wide_range_keeps_the_rows_nearest_its_end() -> None:
    bars = page(Path(1, "BTC"), "1m", MIDNIGHT_MS, MIDNIGHT_MS + DAY_MS, 1000, NOW_MS)
    assert len(bars) == 1000
    assert bars[0].start * 1000 == MIDNIGHT_MS + DAY_MS - 60_000


def test_the_start_is_included_and_the_end_is_not() -> None:
    bars = page(Path(1, "BTC"), "1h", MIDNIGHT_MS, MIDNIGHT_MS + 3 * 3_600_000, 1000, NOW_MS)
    assert [bar.start * 1000 - MIDNIGHT_MS for bar in bars] == [7_200_000, 3_600_000, 0]
    assert page(Path(1, "BTC"), "1h", MIDNIGHT_MS + 1, MIDNIGHT_MS + 1, 1000, NOW_MS) == []


def test_weeks_open_on_mondays_and_months_on_their_first_day() -> None:
    path = Path(1, "BTC")
    assert {datetime.fromtimestamp(bar.start, UTC).weekday() for bar in page(path, "1w", None, None, 50, NOW_MS)} == {0}
    assert {datetime.fromtimestamp(bar.start, UTC).day for bar in page(path, "1M", None, None, 50, NOW_MS)} == {1}


def test_days_of_utc_plus_8_open_at_16_and_agree_with_their_hours() -> None:
    path = Path(1, "BTC")
    zone = 8 * 3600
    for bar in page(path, "1d", None, None, 5, NOW_MS, zone)[1:]:
        assert datetime.fromtimestamp(bar.start, UTC).hour == 16
        hours = page(path, "1h", bar.start * 1000, bar.stop * 1000, 1000, NOW_MS)
        assert bar.candle == merge(hour.candle for hour in reversed(hours))


@pytest.mark.parametrize("interval", sorted(GROUPS))
@pytest.mark.parametrize("zone", [0, 8 * 3600])
def test_every_second_lies_in_its_own_bar(interval: str, zone: int) -> None:
    for second in range(1_700_000_000, 1_705_000_000, 99_991):
        index = index_at(interval, second, zone)
        assert open_of(interval, index, zone) <= second < open_of(interval, index + 1, zone)


def test_history_begins_in_2020() -> None:
    bars = page(Path(1, "BTC"), "1d", None, 1_578_000_000_000, 1000, NOW_MS)
    assert datetime.fromtimestamp(bars[-1].start, UTC) == datetime(2020, 1, 1, tzinfo=UTC)


def test_a_pinned_price_holds_until_it_is_let_go() -> None:
    quotes = Quotes(1, lambda: NOW_MS)
    free = quotes.price("BTC-USDT", 1)
    quotes.pins["BTC-USDT"] = Decimal(50_000)
    assert quotes.price("BTC-USDT", 1) == 50_000
    del quotes.pins["BTC-USDT"]
    assert quotes.price("BTC-USDT", 1) == free


def test_spot_and_both_perpetuals_of_a_coin_share_one_path() -> None:
    quotes = Quotes(1, lambda: NOW_MS)
    assert quotes.price("BTC-USDT", 1) == quotes.price("BTC-USD", 1)
