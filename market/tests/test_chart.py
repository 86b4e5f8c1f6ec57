"""Candles for a chart: fetched where the store lacks them, never the running one, honest about the rest."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connections
from rest_framework.response import Response

from exchange.errors import RateLimited
from exchange.models import ExchangeClock
from market import chart
from market.intervals import floor
from market.models import Instrument, Kline, KlineHole, Series
from market.spans import Span
from market.tests.candle_exchange import CandleExchange, milliseconds
from market.tests.conftest import forget_candles
from pelusa.testing import DATABASES, PaperExchange
from pelusa.tests.making import client_of, make_instrument

pytestmark = pytest.mark.django_db(databases=DATABASES)
URL = "/get-k-line-data"
MINUTE = timedelta(minutes=1)
DAY = "2026-03-02"
MARCH = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.fixture(autouse=True)
def fresh_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chart, "_exchange", chart.Exchange())


@pytest.fixture
def served(candles: CandleExchange, monkeypatch: pytest.MonkeyPatch) -> CandleExchange:
    """An exchange of candles that charts are drawn from too; its clock stands in the middle of a minute."""
    now = MARCH + timedelta(hours=20, seconds=30)
    candles.now = lambda: now
    for name in ("exchange_now", "probable_now"):
        monkeypatch.setattr(chart, name, lambda: candles.now())
    make_instrument()
    return candles


def ask(**query: object) -> Response:
    wanted: dict[str, object] = {"symbol": "BTC-USDT", "interval": "1m"}
    answer: Response = client_of().get(URL, wanted | query)
    return answer


def told(**query: object) -> dict[str, Any]:
    answer = ask(**query)
    assert answer.status_code == 200, answer.content
    return dict(answer.json())


def minutes(found: dict[str, Any]) -> list[int]:
    return [(row["time"] - milliseconds(MARCH)) // 60_000 for row in found["data"]]


def test_candles_are_fetched_stored_and_told_oldest_first(served: CandleExchange) -> None:
    found = told(start_date=f"{DAY} 00:00:00", end_date=f"{DAY} 00:03:00")
    truth = served.truth(MARCH, MARCH + 3 * MINUTE)
    assert (found["symbol"], found["interval"], found["market"], found["complete"]) == ("BTC-USDT", "1m", "usdtm", True)
    assert [row["close"] for row in found["data"]] == [str(values[3]) for _, values in truth]
    assert minutes(found) == [0, 1, 2]
    assert (found["missing"], found["holes"]) == ([], [])
    assert Kline.objects.count() == 3


def test_what_is_stored_is_not_asked_for_again(served: CandleExchange) -> None:
    first = told(start_date=DAY, end_date=f"{DAY} 10:00:00")
    assert len(served.asked) == 1
    assert told(start_date=DAY, end_date=f"{DAY} 10:00:00") == first
    assert len(served.asked) == 1
    told(start_date=DAY, end_date=f"{DAY} 10:05:00")
    assert len(served.asked) == 2
    assert len(first["data"]) == 600


def test_the_running_candle_is_neither_told_nor_stored(served: CandleExchange) -> None:
    found = told(limit=3)
    assert minutes(found) == [20 * 60 - 3, 20 * 60 - 2, 20 * 60 - 1]
    assert found["complete"] is True
    assert not Kline.objects.filter(open_time__gte=MARCH + timedelta(hours=20)).exists()


@pytest.mark.parametrize(
    ("query", "first", "last"),
    [
        ({}, 1200 - 500, 1199),
        ({"limit": 10}, 1190, 1199),
        ({"end_date": f"{DAY}T10:00:00Z", "limit": 2}, 598, 599),
        ({"start_date": f"{DAY} 05:00:00", "limit": 2}, 300, 301),
        ({"start_date": f"{DAY} 05:00:00"}, 300, 799),
        ({"start_date": f"{DAY} 05:00:00", "end_date": f"{DAY} 06:00:00", "limit": 5}, 300, 304),
        ({"start_date": DAY, "end_date": DAY}, 0, 1199),
        ({"start_date": f"{DAY} 00:00:30", "end_date": f"{DAY} 00:02:30"}, 1, 2),
        ({"start_date": milliseconds(MARCH), "end_date": milliseconds(MARCH + 2 * MINUTE)}, 0, 1),
        ({"start_date": "", "end_date": "", "limit": ""}, 700, 1199),
    ],
)
def test_a_start_counts_onwards_and_an_end_backwards(
    served: CandleExchange, query: dict[str, object], first: int, last: int
) -> None:
    found = told(**query)
    assert minutes(found) == list(range(first, last + 1))
    assert found["complete"] is True


def test_a_range_that_has_not_begun_is_empty_and_complete(served: CandleExchange) -> None:
    found = told(start_date="2026-03-05")
    assert (found["data"], found["complete"], served.asked) == ([], True, [])


def test_tradingviews_spellings_mean_the_same_series(served: CandleExchange) -> None:
    make_instrument("BTC-USD", "coinm")
    for symbol, market, interval in (("BTCUSDT.P", "usdtm", "1"), ("bingx:btcusdt.p", "usdtm", "1m")):
        found = told(symbol=symbol, market=market, interval=interval, limit=1)
        assert (found["symbol"], found["interval"]) == ("BTC-USDT", "1m")
    assert Series.objects.count() == 1


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"symbol": ""}, "symbol"),
        ({"symbol": "NO-SUCH"}, "symbol"),
        ({"symbol": "BTCUSDT'; --"}, "symbol"),
        ({"interval": "7m"}, "interval"),
        ({"interval": ""}, "interval"),
        ({"market": "moon"}, "market"),
        ({"limit": 0}, "limit"),
        ({"limit": 10_001}, "limit"),
        ({"start_date": "yesterday"}, "start_date"),
        ({"start_date": "2026-03-02", "end_date": "2026-03-01"}, "end_date"),
    ],
)
def test_what_cannot_be_understood_is_named_and_makes_no_series(
    served: CandleExchange, query: dict[str, object], field: str
) -> None:
    answer = ask(**query)
    assert answer.status_code == 400
    assert list(answer.json()["error"]["fields"]) == [field]
    assert not Series.objects.exists()


def test_a_perpetuals_ticker_is_not_taken_for_a_spot_pair(served: CandleExchange) -> None:
    make_instrument("BTC-USDT", "spot")
    assert ask(symbol="BTCUSDT.P", market="spot").status_code == 400


def test_a_range_without_a_limit_is_cut_at_ten_thousand_and_says_so(served: CandleExchange) -> None:
    found = told(start_date="2026-02-20", end_date="2026-03-01 00:00:00")
    assert len(found["data"]) == 10_000
    assert found["complete"] is False
    [rest] = found["missing"]
    assert (rest["reason"], rest["candles"]) == ("limit", 9 * 1440 - 10_000)
    assert rest["start"] == found["data"][-1]["time"] + 60_000
    assert len(served.asked) <= 11


def test_when_the_exchange_is_silent_the_store_is_told_with_what_is_missing(served: CandleExchange) -> None:
    told(start_date=f"{DAY} 00:00:00", end_date=f"{DAY} 00:10:00")
    served.odds = {"lost": 1}
    found = told(start_date=f"{DAY} 00:00:00", end_date=f"{DAY} 00:30:00")
    assert minutes(found) == list(range(10))
    assert found["complete"] is False
    [gap] = found["missing"]
    assert (gap["reason"], gap["candles"], gap["start"]) == (
        "exchange_away",
        20,
        milliseconds(MARCH + 10 * MINUTE),
    )
    assert gap["detail"]


def test_when_the_exchange_is_silent_and_nothing_is_stored_it_is_503(served: CandleExchange) -> None:
    served.odds = {"lost": 1}
    answer = ask()
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "exchange_away")


def test_a_silent_exchange_is_left_alone_for_a_moment(served: CandleExchange, monkeypatch: pytest.MonkeyPatch) -> None:
    served.odds = {"lost": 1}
    ask()
    served.odds = {}
    asked = len(served.asked)
    assert ask().status_code == 503
    assert len(served.asked) == asked
    later = chart.time.monotonic() + chart.REST
    monkeypatch.setattr(chart.time, "monotonic", lambda: later)
    assert told(limit=5)["complete"] is True


def test_a_limit_of_requests_is_passed_on_with_its_time(
    served: CandleExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise RateLimited("too many", code="100410", retry_at=datetime.now(UTC) + timedelta(seconds=40))

    monkeypatch.setattr(chart, "fetch", refuse)
    answer = ask()
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "exchange_busy")
    assert 30 < int(answer.headers["Retry-After"]) <= 40


def test_candles_that_cannot_be_stored_are_a_bad_gateway_and_store_nothing(served: CandleExchange) -> None:
    served.odds = {"garbage": 1}
    answer = ask()
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "exchange_unreadable")
    assert not Kline.objects.exists()


def test_what_the_exchange_lacks_is_missing_until_it_is_believed_and_then_a_hole(served: CandleExchange) -> None:
    served.holes = {milliseconds(MARCH + place * MINUTE) for place in (3, 4)}
    query = {"start_date": f"{DAY} 00:00:00", "end_date": f"{DAY} 00:10:00"}
    found = told(**query)
    [gap] = found["missing"]
    assert (found["complete"], gap["reason"], gap["candles"]) == (False, "not_at_exchange", 2)
    KlineHole.objects.update(confirmed_at=served.now(), asked_at=served.now())
    asked = len(served.asked)
    found = told(**query)
    [hole] = found["holes"]
    assert (found["complete"], found["missing"], hole["candles"], len(served.asked)) == (True, [], 2, asked)


def test_a_chart_that_would_take_too_long_is_told_in_part(
    served: CandleExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chart, "PATIENCE", 0)
    answer = ask()
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "out_of_time")


def test_those_who_come_when_others_ask_are_told_what_is_stored(served: CandleExchange) -> None:
    told(start_date=f"{DAY} 00:00:00", end_date=f"{DAY} 00:10:00")
    for _ in range(chart.MOST_AT_ONCE):
        chart._exchange.places.acquire()
    found = told(start_date=f"{DAY} 00:00:00", end_date=f"{DAY} 00:11:00")
    assert (len(found["data"]), found["missing"][0]["reason"]) == (10, "crowded")


def test_a_place_is_given_back_after_an_error(served: CandleExchange, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chart, "REST", 0)
    served.odds = {"lost": 1}
    for _ in range(chart.MOST_AT_ONCE + 1):
        assert ask(limit=1).json()["error"]["code"] == "exchange_away"


def test_months_are_counted_as_months() -> None:
    now = datetime(2026, 5, 10, tzinfo=UTC)
    told_span, rest = chart.span_of(chart.Wish(limit=3), "1M", now)
    assert told_span == Span(datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 5, 1, tzinfo=UTC))
    assert rest.start == rest.stop


def test_strangers_are_told_nothing() -> None:
    assert client_of(None).get(URL).status_code == 401
    assert client_of("").get(URL).status_code == 403


def test_the_address_with_a_slash_leads_to_the_one_without() -> None:
    answer = client_of().get(f"{URL}/?symbol=BTC-USDT")
    assert (answer.status_code, answer.headers["Location"]) == (302, f"{URL}?symbol=BTC-USDT")


def test_the_first_chart_of_an_installation_reads_the_list_of_instruments_and_the_clock(paper: PaperExchange) -> None:
    found = told(symbol="ETHUSDT.P", interval="60", limit=48)
    times = [row["time"] for row in found["data"]]
    newest = floor(datetime.now(UTC), "1h")
    assert found["complete"] is True
    assert times == [milliseconds(newest - place * timedelta(hours=1)) for place in range(48, 0, -1)]
    assert Instrument.objects.filter(symbol="ETH-USDT").exists()
    assert ExchangeClock.objects.exists()


@pytest.mark.parametrize(("market", "symbol"), [("coinm", "BTCUSD.P"), ("spot", "BTC-USDT")])
def test_every_product_has_charts(paper: PaperExchange, market: str, symbol: str) -> None:
    found = told(symbol=symbol, market=market, interval="1d", limit=20)
    assert (len(found["data"]), found["complete"], found["market"]) == (20, True, market)


def test_an_exchange_that_is_not_there_is_503_in_the_one_shape(settings: Any) -> None:
    settings.BINGX_URLS = settings.BINGX_URLS | {"paper": "http://127.0.0.1:9"}
    answer = ask()
    assert answer.status_code == 503
    assert answer.json()["error"].keys() == {"code", "message", "fields", "request_id"}


@pytest.mark.django_db(databases=DATABASES, transaction=True)
class TestManyAtOnce:
    @pytest.fixture(autouse=True)
    def clean(self) -> Iterator[None]:
        yield
        forget_candles()

    def test_callers_at_the_same_moment_get_the_same_candles_and_store_each_once(self, paper: PaperExchange) -> None:
        told(limit=1, interval="1d")
        tellers = [client_of() for _ in range(chart.MOST_AT_ONCE)]
        query = {"symbol": "BTC-USDT", "interval": "5m", "limit": 3000}

        def look(client: Any) -> Any:
            try:
                return client.get(URL, query).json()
            finally:
                connections.close_all()

        with ThreadPoolExecutor(len(tellers)) as threads:
            found = list(threads.map(look, tellers))
        assert [each["complete"] for each in found] == [True] * len(tellers)
        assert found[0]["data"] == found[1]["data"] == found[2]["data"]
        assert Kline.objects.filter(series__interval="5m").count() == 3000
