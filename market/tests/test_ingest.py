"""Candles reach the store exactly, by whichever road the database has."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import pytest
from django.db import DatabaseError, connections, transaction
from django.db.models import F

from market import ingest
from market.coverage import find_gaps
from market.holes import holes_in, remember
from market.ingest import Ingest, takes_files
from market.models import Kline, Series
from market.paging import Page
from market.sheets import UnfitCandle, write_sheet
from market.spans import Span
from pelusa.testing import DATABASES

pytestmark = pytest.mark.django_db(databases=DATABASES)

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def a_page(store: Ingest, first: int = 0, candles: int = 1500, **numbers: str) -> Page:
    texts = tuple(({"open": "2", "high": "3", "low": "1", "close": "2.000000000012", "volume": "7"} | numbers).values())
    begin = round(BEGIN.timestamp()) + 60 * first
    rows = [((begin + 60 * place) * 1000, *texts) for place in range(candles)]
    sheet = write_sheet(rows, "1m", BEGIN + timedelta(days=30))  # type: ignore[arg-type]
    return Page(Span(sheet.start, sheet.start + candles * MINUTE), sheet, store.stamp())


@pytest.fixture(params=["its own road", "documents"])
def road(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With files where the database takes them, and without."""
    if request.param == "documents":
        monkeypatch.setattr(ingest, "takes_files", lambda connection: False)


def closes(series: Series) -> set[D]:
    return set(Kline.objects.filter(series=series).values_list("close", flat=True))


@pytest.mark.usefixtures("road")
def test_every_digit_is_kept(series: Series) -> None:
    store = Ingest(series)
    assert store.store([a_page(store, close="2.000000000012", volume="123456789.5")]) == 1500
    last = Kline.objects.filter(series=series).latest("open_time")
    assert last.open_time == BEGIN + 1499 * MINUTE
    assert (last.open, last.high, last.low, last.close) == (D(2), D(3), D(1), D("2.000000000012"))
    assert last.volume == D("123456789.5")


@pytest.mark.usefixtures("road")
def test_the_same_page_twice_is_the_same_rows(series: Series) -> None:
    store = Ingest(series)
    page = a_page(store)
    store.store([page])
    store.store([page])
    assert Kline.objects.filter(series=series).count() == 1500


@pytest.mark.usefixtures("road")
def test_a_newer_page_corrects(series: Series) -> None:
    store = Ingest(series)
    store.store([a_page(store, close="2")])
    store.store([a_page(store, close="2.5")])
    assert closes(series) == {D("2.5")}


@pytest.mark.usefixtures("road")
def test_a_page_that_may_be_older_than_the_store_fills_and_corrects_nothing(series: Series) -> None:
    mine, other = Ingest(series), Ingest(series)
    slow = a_page(mine, candles=1501, close="2")
    other.store([a_page(other, close="2.5")])
    mine.store([slow])
    assert closes(series) == {D("2.5"), D(2)}
    assert Kline.objects.get(series=series, open_time=BEGIN + 1500 * MINUTE).close == D(2)
    mine.store([a_page(mine, close="2.7")])
    assert D("2.5") not in closes(series)


@pytest.mark.usefixtures("road")
def test_a_candle_whose_low_is_above_its_high_undoes_its_chunk(series: Series) -> None:
    store = Ingest(series)
    with pytest.raises((UnfitCandle, DatabaseError)):
        store.store([a_page(store, 1500, low="4"), a_page(store)])
    assert not Kline.objects.filter(series=series).exists()


def test_what_is_stored_with_a_chunk_is_undone_with_it(series: Series) -> None:
    def fail() -> None:
        Series.objects.update(last_error="said")
        raise RuntimeError

    store = Ingest(series)
    with pytest.raises(RuntimeError):
        store.store([a_page(store)], also=fail)
    assert not Kline.objects.exists()
    assert Series.objects.get().last_error == ""


def test_several_pages_are_stored_in_one_transaction_and_the_series_knows_its_ends(series: Series) -> None:
    store = Ingest(series)
    store.store([a_page(store, 1500), a_page(store)])
    series.refresh_from_db()
    assert (series.first_open_time, series.last_open_time) == (BEGIN, BEGIN + 2999 * MINUTE)
    assert series.revision == 1


def test_candles_that_turn_up_are_cut_out_of_the_hole_that_they_were(series: Series) -> None:
    whole = Span(BEGIN, BEGIN + 100 * MINUTE)
    remember(series, [whole], BEGIN + timedelta(days=1))
    store = Ingest(series)
    store.store([a_page(store, 10, 20)])
    left = [(hole.start, hole.stop) for hole in holes_in(series, whole)]
    assert (
        left == find_gaps(series, whole) == [(BEGIN, BEGIN + 10 * MINUTE), (BEGIN + 30 * MINUTE, BEGIN + 100 * MINUTE)]
    )


def test_a_number_that_sqlite_would_round_is_refused_there(series: Series) -> None:
    store = Ingest(series)
    page = a_page(store, candles=1, volume="1234567890.123456")
    if connections["market"].vendor == "sqlite":
        with pytest.raises(UnfitCandle, match="SQLite"):
            store.store([page])
    else:
        store.store([page])
        assert Kline.objects.get().volume == D("1234567890.123456")


def test_a_minute_and_a_month_are_two_series(series: Series) -> None:
    month = Series.objects.create(market="usdtm", symbol="BTC-USDT", interval="1M")
    assert Series.objects.get(market="usdtm", symbol="BTC-USDT", interval="1M") == month
    assert Series.objects.get(market="usdtm", symbol="BTC-USDT", interval="1m") == series


@pytest.mark.servers
def test_the_server_takes_files_and_its_warnings_undo_the_chunk(series: Series) -> None:
    connection = connections["market"]
    assert takes_files(connection)
    spoilt = a_page(Ingest(series)).sheet
    spoilt = spoilt._replace(lines=spoilt.lines.replace("2.000000000012", "2.0000000000129", 1))
    with pytest.raises(UnfitCandle, match="changed"), transaction.atomic(using="market"):
        ingest.write(series, spoilt, may_correct=True, by_file=True)
    assert not Kline.objects.exists()


@pytest.mark.servers
def test_without_leave_to_send_files_candles_travel_as_documents(
    series: Series, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connections["market"].settings_dict, "OPTIONS", {})
    store = Ingest(series)
    store.store([a_page(store)])
    assert not takes_files(connections["market"])
    assert Kline.objects.filter(series=series, low__lte=F("high")).count() == 1500
