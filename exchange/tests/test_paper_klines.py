"""Pages of candles over HTTP: bounds, order, shapes, agreement with the ticker, speed, and what may be wrong."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from exchange.paper.calls import Call
from exchange.paper.klines import GROUPS
from exchange.paper.routes import ENDPOINTS
from exchange.paper.testing import Caller, running
from exchange.paper.venue import Venue
from exchange.paper.walks import WHOLE, Candle, split, walks
from exchange.paper.wire import dumps
from exchange.types import Market

MINUTE = 60_000
DAY = 86_400_000
SWAP, COIN, SPOT = "/swap/v3/quote/klines", "/cswap/v1/market/klines", "/spot/v1/market/kline"
PAGES = {Market.USDTM: (SWAP, "BTC-USDT"), Market.COINM: (COIN, "BTC-USD"), Market.SPOT: (SPOT, "BTC-USDT")}
TICKERS = {
    Market.USDTM: "/swap/v1/ticker/price",
    Market.COINM: "/cswap/v1/market/ticker",
    Market.SPOT: "/spot/v1/ticker/24hr",
}
MARKETS = list(Market)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with running(Venue(seed=3)) as port:
        yield port


@pytest.fixture
def caller(port: int) -> Iterator[Caller]:
    caller = Caller(port)
    caller.control("POST", "/reset")
    yield caller
    caller.close()


def rows(caller: Caller, market: Market, interval: str = "1m", **asked: Any) -> list[Any]:
    path, symbol = PAGES[market]
    return list(caller.public(path, symbol=symbol, interval=interval, **asked)["data"])


def opened(row: Any) -> int:
    return int(row[0] if isinstance(row, list) else row["time"])


def closed(row: Any) -> Decimal:
    return Decimal(row[4] if isinstance(row, list) else row["close"])


def last_price(caller: Caller, market: Market) -> Decimal:
    found = caller.public(TICKERS[market], symbol=PAGES[market][1])["data"]
    row = found[0] if isinstance(found, list) else found
    return Decimal(row.get("price") or row["lastPrice"])


def some_minutes_ago(count: int) -> int:
    return int(time.time() * 1000) // MINUTE * MINUTE - count * MINUTE


# What a page holds


@pytest.mark.parametrize("market", MARKETS)
def test_the_running_candle_comes_first_and_each_is_a_minute_older_than_the_one_before(
    caller: Caller, market: Market
) -> None:
    before = int(time.time() * 1000)
    found = rows(caller, market)
    assert len(found) == 500
    assert opened(found[0]) + MINUTE > before
    assert all(opened(newer) - opened(older) == MINUTE for newer, older in pairwise(found))


@pytest.mark.parametrize("market", [Market.USDTM, Market.SPOT])
def test_a_limit_of_1440_passes_and_1000_rows_come(caller: Caller, market: Market) -> None:
    end = some_minutes_ago(5)
    found = rows(caller, market, endTime=end, limit=1440)
    assert len(found) == 1000
    assert opened(found[0]) == end - MINUTE, "the rows nearest the end are kept"


@pytest.mark.parametrize("market", MARKETS)
def test_a_larger_limit_an_unknown_interval_and_an_unknown_symbol_are_refused(caller: Caller, market: Market) -> None:
    path, symbol = PAGES[market]
    assert caller.public(path, symbol=symbol, interval="1m", limit=1441)["code"] == 109400
    assert caller.public(path, symbol=symbol, interval="45m")["code"] == 109400
    assert caller.public(path, symbol="NOPE-USDT", interval="1m")["code"] == 109425


@pytest.mark.parametrize("market", MARKETS)
def test_the_start_is_included_and_the_end_is_not(caller: Caller, market: Market) -> None:
    start = some_minutes_ago(60)
    found = rows(caller, market, startTime=start, endTime=start + 3 * MINUTE, timeZone=0)
    assert [(opened(row) - start) // MINUTE for row in found] == [2, 1, 0]


def test_each_product_has_its_own_shape(caller: Caller) -> None:
    [swap], [coin], [spot] = (rows(caller, market, limit=1) for market in MARKETS)
    for row in (swap, coin):
        assert list(row) == ["open", "close", "high", "low", "volume", "time"]
        assert all(isinstance(row[name], str) for name in row if name != "time")
    assert len(spot) == 8
    assert all(isinstance(each, int | Decimal) for each in spot)
    assert spot[6] == spot[0] + MINUTE - 1


def test_days_of_spot_open_at_16_utc_unless_a_zone_is_named(caller: Caller) -> None:
    def hours(market: Market, **asked: Any) -> set[int]:
        return {datetime.fromtimestamp(opened(row) / 1000, UTC).hour for row in rows(caller, market, "1d", **asked)}

    assert hours(Market.SPOT, limit=9) == {16}
    assert hours(Market.SPOT, limit=9, timeZone=0) == {0}
    assert hours(Market.USDTM, limit=9) == {0}
    assert hours(Market.USDTM, limit=9, timeZone=8) == {16}
    assert hours(Market.COINM, limit=9, timeZone=8) == {0}


def test_coin_margined_candles_reach_back_thirty_days(caller: Caller) -> None:
    now = int(time.time() * 1000)
    assert rows(caller, Market.COINM, "1h", endTime=now - 31 * DAY) == []
    oldest = opened(rows(caller, Market.COINM, "1h", startTime=now - 60 * DAY, limit=1000)[-1])
    assert 29 * DAY < now - oldest <= 30 * DAY
    assert len(rows(caller, Market.USDTM, "1h", endTime=now - 31 * DAY)) == 500


@pytest.mark.parametrize("interval", [each for each in GROUPS if each not in ("3d", "1w", "1M")])
def test_a_longer_candle_is_the_sum_of_its_minutes_in_the_answers_too(caller: Caller, interval: str) -> None:
    [candle] = rows(caller, Market.USDTM, interval, endTime=some_minutes_ago(3000), limit=1)
    first, middle = candle["time"], candle["time"] + length_of(interval) // 2
    last = first + length_of(interval)
    later = rows(caller, Market.USDTM, startTime=middle, endTime=last, limit=1000)
    inside = (later + rows(caller, Market.USDTM, startTime=first, endTime=middle, limit=1000))[::-1]
    assert len(inside) == length_of(interval) // MINUTE
    assert (candle["open"], candle["close"]) == (inside[0]["open"], inside[-1]["close"])
    assert Decimal(candle["high"]) == max(Decimal(row["high"]) for row in inside)
    assert Decimal(candle["low"]) == min(Decimal(row["low"]) for row in inside)
    assert Decimal(candle["volume"]) == sum(Decimal(row["volume"]) for row in inside)


def length_of(interval: str) -> int:
    return int(interval[:-1]) * {"m": MINUTE, "h": 60 * MINUTE, "d": DAY}[interval[-1]]


# It agrees with everything else


def agrees(caller: Caller, market: Market) -> bool:
    """Say whether the price stood still around a candle and was its close."""
    before, [candle], after = last_price(caller, market), rows(caller, market, limit=1), last_price(caller, market)
    if before != after:
        return False
    assert closed(candle) == before
    return True


@pytest.mark.parametrize("market", MARKETS)
def test_the_price_is_the_close_of_the_running_candle(caller: Caller, market: Market) -> None:
    assert any(agrees(caller, market) for _ in range(20))


@pytest.mark.parametrize("market", MARKETS)
def test_a_pinned_price_is_the_close_of_the_running_candle_and_inside_it(caller: Caller, market: Market) -> None:
    caller.control("POST", "/prices", **{PAGES[market][1]: "43210"})
    assert last_price(caller, market) == 43_210
    running_one, finished = rows(caller, market, limit=2)
    assert closed(running_one) == 43_210 != closed(finished)
    high, low = running_one[2:4] if market == Market.SPOT else (running_one["high"], running_one["low"])
    assert Decimal(low) <= 43_210 <= Decimal(high)


def test_the_bytes_of_a_page_survive_a_restart_with_the_same_seed() -> None:
    def page(seed: int) -> list[bytes]:
        with running(Venue(seed=seed)) as port:
            caller = Caller(port)
            asked = f"symbol=ETH-USDT&interval=1m&endTime={some_minutes_ago(1440) // DAY * DAY}&limit=1000"
            return [caller.raw("GET", f"/openApi{path}?{asked}").partition(b'"data"')[2] for path in (SWAP, SPOT)]

    assert page(5) == page(5)
    assert page(5) != page(6)


def test_the_library_of_walks_is_the_same_on_every_machine() -> None:
    """Frozen: a change here changes every price of every seed."""
    assert walks(5)[0][0] == (13_107, -8_477, 53, 16_330, 11_378)
    first, second, third = split(Candle(1000, 1900, 200, 1500, 10_000), walks(3)[1])
    assert first == (1000, 1825, 949, 1808, 4095)
    assert second == (1808, 1900, 307, 341, 2470)
    assert third == (341, 1511, 200, 1500, 3435)


@pytest.mark.parametrize("count", [2, 3, 5, 12])
def test_every_walk_ends_where_its_candle_does_and_touches_both_extremes(count: int) -> None:
    for walk in walks(count):
        assert (walk[-1].through, walk[-1].reach, walk[-1].volume) == (WHOLE, 0, WHOLE)
        assert WHOLE in {step.wick_up for step in walk}
        assert WHOLE in {step.wick_down for step in walk}
        assert all(after.volume > before.volume for before, after in pairwise(walk))


@pytest.mark.parametrize("market", MARKETS)
def test_a_page_of_a_thousand_rows_costs_a_few_milliseconds(market: Market) -> None:
    """2 ms of CPU on a present machine; a backfill asks for a thousand such pages."""
    venue, (path, symbol) = Venue(seed=9), PAGES[market]
    handler, now = ENDPOINTS["GET", f"/openApi{path}"].handler, venue.clock_ms()
    costs = []
    for number in range(20):
        asked = {"symbol": symbol, "interval": "1m", "endTime": str(now - number * 1000 * MINUTE), "limit": "1000"}
        began = time.thread_time()
        text = dumps(handler(Call(venue, asked, now, None)))
        costs.append(time.thread_time() - began)
        assert text.count("000,") >= 1000 or text.count('"time"') == 1000
    assert min(costs) < 0.015


# What may be wrong with it, when a control address asks for it


def spoilt(caller: Caller, market: Market, **asked: Any) -> list[int]:
    """Return how many minutes before the running one each row opened."""
    found = [opened(row) for row in rows(caller, market, **asked)]
    return [(int(time.time() * 1000) // MINUTE * MINUTE - each) // MINUTE for each in found]


@pytest.mark.parametrize("market", MARKETS)
def test_rows_may_come_twice(caller: Caller, market: Market) -> None:
    end = some_minutes_ago(10)
    assert len({opened(row) for row in rows(caller, market, endTime=end, limit=6)}) == 6
    caller.control("POST", "/faults", kline_repeat=3)
    found = [(end - opened(row)) // MINUTE for row in rows(caller, market, endTime=end, limit=6)]
    assert found == [1, 2, 3, 3, 4, 5, 6, 6]


@pytest.mark.parametrize("market", MARKETS)
def test_pages_may_be_cut_short(caller: Caller, market: Market) -> None:
    end = some_minutes_ago(10)
    assert len(rows(caller, market, endTime=end, limit=9)) == 9
    caller.control("POST", "/faults", kline_truncate=4)
    assert [(end - opened(row)) // MINUTE for row in rows(caller, market, endTime=end, limit=9)] == [1, 2, 3, 4]


@pytest.mark.parametrize("market", MARKETS)
def test_a_candle_may_come_from_the_future(caller: Caller, market: Market) -> None:
    assert min(spoilt(caller, market, limit=3)) >= 0
    caller.control("POST", "/faults", kline_future=True)
    before = time.time() * 1000
    first, second, *_ = (opened(row) for row in rows(caller, market, limit=3))
    assert first == second + MINUTE
    assert first > before
    assert min(spoilt(caller, market, endTime=some_minutes_ago(10), limit=3)) > 0, "not on old pages"


@pytest.mark.parametrize("market", MARKETS)
def test_holes_are_of_one_symbol_and_are_closed_again(caller: Caller, market: Market) -> None:
    start, (path, symbol) = some_minutes_ago(100), PAGES[market]
    asked = {"startTime": start, "endTime": start + 5 * MINUTE}
    caller.control("POST", "/faults", kline_holes=[[symbol, start + MINUTE, start + 3 * MINUTE]])
    assert [(opened(row) - start) // MINUTE for row in rows(caller, market, **asked)] == [4, 3, 0]
    other = symbol.replace("BTC", "ETH")
    assert len(caller.public(path, symbol=other, interval="1m", **asked)["data"]) == 5
    caller.control("DELETE", "/faults")
    assert len(rows(caller, market, **asked)) == 5
