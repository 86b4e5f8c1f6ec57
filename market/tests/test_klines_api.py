"""Stored candles as clients read them: pages by key, filters, and every digit."""

from datetime import timedelta
from typing import Any

import pytest
from rest_framework.test import APIClient

from market.models import Series
from market.tests.making import T0, make_klines, make_series
from pelusa.testing import DATABASES
from pelusa.tests.browsing import queries_of
from pelusa.tests.making import client_of, make_instrument

pytestmark = pytest.mark.django_db(databases=DATABASES)
URL = "/api/v1/klines/"
MINUTE = timedelta(minutes=1)


def times_of(page: dict[str, Any]) -> list[str]:
    return [row["open_time"] for row in page["results"]]


def minute(place: int) -> str:
    return f"{T0 + place * MINUTE:%Y-%m-%dT%H:%M:%SZ}"


def walk(client: APIClient, url: str, way: str = "next") -> list[dict[str, Any]]:
    """Return every page from an address on, in one direction."""
    pages = []
    while url:
        pages.append(client.get(url).json())
        url = pages[-1][way]
    return pages


def test_a_candle_is_told_in_full_and_in_plain_digits(series: Series) -> None:
    make_klines(series, 1, volume=lambda place: "0.000000012300")
    assert client_of().get(URL).json() == {
        "next": None,
        "previous": None,
        "results": [
            {
                "series": series.pk,
                "open_time": "2024-01-01T00:00:00Z",
                "open": "10",
                "high": "12.5",
                "low": "9",
                "close": "11",
                "volume": "0.0000000123",
            }
        ],
    }


def test_the_store_is_told_honestly_when_it_is_empty() -> None:
    assert client_of().get(URL).json() == {"next": None, "previous": None, "results": []}
    assert client_of().get(URL, {"latest": "true"}).json()["results"] == []


def test_pages_tell_every_candle_once_newest_first_and_lead_back(series: Series) -> None:
    make_klines(series, 25)
    client = client_of()
    pages = walk(client, f"{URL}?series={series.pk}&limit=10")
    assert [times_of(page) for page in pages] == [
        [minute(place) for place in reversed(range(*ends))] for ends in ((15, 25), (5, 15), (0, 5))
    ]
    assert [times_of(page) for page in walk(client, pages[-1]["previous"], "previous")] == [
        times_of(pages[1]),
        times_of(pages[0]),
    ]


def test_a_page_that_ends_with_the_last_candle_leads_nowhere(series: Series) -> None:
    make_klines(series, 10)
    client = client_of()
    assert client.get(URL, {"limit": 10}).json()["next"] is None
    assert [len(times_of(page)) for page in walk(client, f"{URL}?limit=5")] == [5, 5]


def test_candles_that_arrive_while_somebody_reads_shift_no_page(series: Series) -> None:
    make_klines(series, 10)
    client = client_of()
    first = client.get(URL, {"limit": 5}).json()
    make_klines(series, 3, start=T0 + 10 * MINUTE)
    assert times_of(client.get(first["next"]).json()) == [minute(place) for place in (4, 3, 2, 1, 0)]


def test_pages_go_on_from_one_series_to_the_next(series: Series) -> None:
    make_series("SOL-USDT")
    other = make_series("ETH-USDT", "1h")
    make_klines(series, 3)
    make_klines(other, 3)
    client = client_of()
    pages = walk(client, f"{URL}?limit=2")
    told = [(row["series"], row["open_time"][11:16]) for page in pages for row in page["results"]]
    assert told == [(series.pk, f"00:0{each}") for each in (2, 1, 0)] + [
        (other.pk, f"0{each}:00") for each in (2, 1, 0)
    ]
    back = walk(client, pages[-1]["previous"], "previous")
    assert [page["results"] for page in back] == [page["results"] for page in pages[-2::-1]]


@pytest.mark.parametrize(
    ("query", "places"),
    [
        ({"start": "2024-01-01T00:22:00Z"}, (22, 23, 24)),
        ({"end": "2024-01-01 00:02:00"}, (0, 1)),
        ({"start": "1704067260000", "end": "1704067380000"}, (1, 2)),
        ({"start": "2024-01-01", "end": "2024-01-01", "limit": "2"}, (23, 24)),
        ({"start": "2024-01-02"}, ()),
        ({"latest": "true"}, (24,)),
    ],
)
def test_a_span_is_half_open_and_a_day_is_whole(series: Series, query: dict[str, str], places: tuple[int, ...]) -> None:
    make_klines(series, 25)
    told = client_of().get(URL, {"series": str(series.pk)} | query).json()
    assert times_of(told) == [minute(place) for place in reversed(places)]


def test_candles_are_found_by_product_symbol_and_interval_in_either_spelling(series: Series) -> None:
    make_instrument()
    make_klines(series, 1)
    make_klines(make_series(interval="1h"), 1)
    make_klines(make_series(market="spot"), 1)
    client = client_of()
    for symbol in ("BTC-USDT", "btc-usdt", "BTCUSDT.P", "BINGX:BTCUSDT.P"):
        for interval in ("1m", "1"):
            query = {"market": "usdtm", "symbol": symbol, "interval": interval}
            assert [row["series"] for row in client.get(URL, query).json()["results"]] == [series.pk], query
    assert len(client.get(URL, {"symbol": "BTC-USDT"}).json()["results"]) == 3
    assert client.get(URL, {"symbol": "NO-SUCH"}).json()["results"] == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("limit", "0"),
        ("limit", "10001"),
        ("limit", "many"),
        ("series", "x"),
        ("market", "moon"),
        ("interval", "7m"),
        ("start", "yesterday"),
        ("start", "1704067200"),
        ("end", "2024-13-01"),
        ("end", "0001-01-01T00:00:00+10:00"),
        ("cursor", "older.1.x"),
        ("cursor", "sideways.1.1704067200000"),
        ("latest", "perhaps"),
    ],
)
def test_what_cannot_be_understood_is_a_mistake_with_its_name(name: str, text: str) -> None:
    answer = client_of().get(URL, {name: text})
    assert answer.status_code == 400
    assert list(answer.json()["error"]["fields"]) == [name]


def test_ten_thousand_candles_are_one_page_and_cost_as_many_queries_as_one(series: Series) -> None:
    make_klines(series, 10_001)
    client = client_of()
    page = client.get(URL, {"limit": 10_000}).json()
    assert len(page["results"]) == 10_000
    assert len(client.get(page["next"]).json()["results"]) == 1
    assert queries_of(lambda: client.get(URL, {"limit": 10_000})) == queries_of(lambda: client.get(URL, {"limit": 1}))


def test_a_browser_gets_a_page_for_people(series: Series) -> None:
    make_klines(series, 1)
    answer = client_of().get(URL, HTTP_ACCEPT="text/html")
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "2024-01-01T00:00:00Z" in answer.content.decode()


def test_strangers_read_nothing(series: Series) -> None:
    assert client_of(None).get(URL).status_code == 401
    assert client_of("").get(URL).status_code == 403
