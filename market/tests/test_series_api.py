"""Series and backfills over the API: what is there, what is missing, and the acts."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django_celery_beat.models import PeriodicTask

from market import chart, tasks
from market.coverage import A_PIECE
from market.following import schedule
from market.models import Backfill, Kline, KlineHole, Series
from market.tests.making import T0, make_backfills, make_klines, make_series
from pelusa.testing import DATABASES, PaperExchange, list_instruments
from pelusa.tests.browsing import queries_of
from pelusa.tests.making import client_of, make_instrument

pytestmark = pytest.mark.django_db(databases=DATABASES)
URL = "/api/v1/series/"
BACKFILLS = "/api/v1/backfills/"
MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def fresh_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chart, "_exchange", chart.Exchange())


def lose(series: Series, *places: int) -> None:
    Kline.objects.filter(series=series, open_time__in=[T0 + place * MINUTE for place in places]).delete()


def coverage_of(series: Series) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the list and the series' own address tell; they must not differ where the list is exact."""
    client = client_of()
    [in_list] = [row["coverage"] for row in client.get(URL).json()["results"] if row["id"] == series.pk]
    return in_list, client.get(f"{URL}{series.pk}/").json()["coverage"]


def test_a_series_tells_from_when_to_when_how_many_and_which_are_missing(series: Series) -> None:
    make_klines(series, 10)
    lose(series, 3, 4)
    short, full = coverage_of(series)
    assert short == full
    assert full == {
        "start": "2024-01-01T00:00:00Z",
        "end": "2024-01-01T00:10:00Z",
        "first": "2024-01-01T00:00:00Z",
        "last": "2024-01-01T00:09:00Z",
        "candles": 8,
        "is_exact": True,
        "is_complete": False,
        "missing_candles": 2,
        "missing": [{"start": "2024-01-01T00:03:00Z", "end": "2024-01-01T00:05:00Z", "candles": 2}],
        "holes": [],
    }


def test_what_the_exchange_lacks_is_a_hole_once_it_is_believed(series: Series) -> None:
    make_klines(series, 10)
    lose(series, 3)
    seen = {"seen_at": T0, "asked_at": T0}
    hole = KlineHole.objects.create(series=series, start=T0 + 3 * MINUTE, stop=T0 + 4 * MINUTE, **seen)
    for short_or_full in coverage_of(series):
        assert (short_or_full["is_complete"], short_or_full["holes"]) == (False, [])
    KlineHole.objects.filter(pk=hole.pk).update(confirmed_at=T0)
    for short_or_full in coverage_of(series):
        assert (short_or_full["is_complete"], short_or_full["candles"], len(short_or_full["holes"])) == (True, 9, 1)


def test_an_empty_series_is_told_without_dates(series: Series) -> None:
    for told in coverage_of(series):
        assert (told["start"], told["end"], told["first"], told["candles"]) == (None, None, None, 0)


def test_a_list_counts_no_candles_of_what_was_gone_through(series: Series) -> None:
    make_klines(series, 10)
    end = T0 + 10 * MINUTE
    Backfill.objects.create(series=series, since=T0, until=end, cursor=T0, status="done")
    client = client_of()
    one = queries_of(lambda: client.get(URL))
    [row] = make_backfills("done")
    Series.objects.filter(pk=row.series_id).update(first_open_time=row.since, last_open_time=row.until - 60 * MINUTE)
    assert queries_of(lambda: client.get(URL)) == one
    lose(series, 3)
    short, full = coverage_of(series)
    assert (short["candles"], full["candles"]) == (10, 9)


def test_a_long_stretch_that_nobody_looked_at_is_left_open_in_the_list_and_counted_alone(series: Series) -> None:
    make_klines(series, 2)
    make_klines(series, 1, start=T0 + (A_PIECE + 5) * MINUTE)
    short, full = coverage_of(series)
    assert (short["is_exact"], short["is_complete"], short["candles"], short["missing"]) == (False, False, 0, [])
    assert (full["is_exact"], full["candles"], full["missing_candles"]) == (True, 3, A_PIECE + 3)


def test_a_series_that_is_followed_should_reach_until_now(series: Series) -> None:
    make_klines(series, 2)
    Series.objects.update(is_followed=True, wanted_since=T0 - MINUTE)
    _, full = coverage_of(series)
    assert full["start"] == "2023-12-31T23:59:00Z"
    assert full["missing"][0] == {"start": "2023-12-31T23:59:00Z", "end": "2024-01-01T00:00:00Z", "candles": 1}
    assert full["missing_candles"] > 500_000


def test_series_are_filtered_by_symbol_interval_and_following(series: Series) -> None:
    month = make_series(interval="1M", is_followed=True)
    client = client_of()
    for query in ({"interval": "1M"}, {"is_followed": "true"}, {"symbol": "BTC-USDT", "interval": "1M"}):
        assert [row["id"] for row in client.get(URL, query).json()["results"]] == [month.pk]


def test_a_series_is_made_once_followed_and_left(paper: PaperExchange) -> None:
    list_instruments()
    client = client_of("trader")
    made = client.post(URL, {"symbol": "BTCUSDT.P", "interval": "60"}, format="json")
    assert (made.status_code, made.json()["symbol"], made.json()["interval"]) == (201, "BTC-USDT", "1h")
    assert client.post(URL, {"symbol": "BTC-USDT", "interval": "1h"}, format="json").json()["id"] == made.json()["id"]
    here = f"{URL}{made.json()['id']}/"
    followed = client.post(f"{here}follow/", {"since": "2026-01-01"}, format="json").json()
    assert (followed["is_followed"], followed["wanted_since"]) == (True, "2026-01-01T00:00:00Z")
    tasks.repair_series(made.json()["id"])
    assert client.get(here).json()["coverage"]["is_complete"] is True
    assert client.post(f"{here}unfollow/").json()["is_followed"] is False


def test_unfollowing_takes_the_series_own_schedule_away(series: Series) -> None:
    schedule(series, timedelta(seconds=30))
    client_of("trader").post(f"{URL}{series.pk}/unfollow/")
    assert not PeriodicTask.objects.filter(task="market.tasks.repair_series").exists()


def test_a_backfill_is_asked_for_done_and_told(paper: PaperExchange) -> None:
    list_instruments()
    series, client = make_series(interval="1h"), client_of("trader")
    query = {"since": "2026-01-01", "until": "2026-01-31"}
    row = client.post(f"{URL}{series.pk}/backfill/", query, format="json").json()
    assert (row["status"], row["progress"], row["since"], row["until"]) == (
        "waiting",
        "0.0",
        "2026-01-01T00:00:00Z",
        "2026-02-01T00:00:00Z",
    )
    assert row["asked_by"].startswith("trader")
    tasks.run_backfill(row["id"])
    row = client.get(f"{BACKFILLS}{row['id']}/").json()
    assert (row["status"], row["progress"], row["rows"]) == ("done", "100.0", 31 * 24)
    for told in coverage_of(series):
        assert (told["is_complete"], told["candles"]) == (True, 31 * 24)


def test_a_backfill_that_cannot_be_is_a_mistake(paper: PaperExchange) -> None:
    series, client = make_series(interval="1h"), client_of("trader")
    tomorrow = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%d}"
    for wish in ({}, {"since": "soon"}, {"since": tomorrow}, {"since": "2026-01-02", "until": "2026-01-01T00:00:00"}):
        answer = client.post(f"{URL}{series.pk}/backfill/", wish, format="json")
        assert (answer.status_code, list(answer.json()["error"]["fields"])) == (400, ["since"]), wish


def test_a_backfill_is_stopped_and_goes_on(series: Series) -> None:
    [row] = make_backfills("waiting")
    client = client_of("trader")
    here = f"{BACKFILLS}{row.pk}/"
    assert client.post(f"{here}stop/").json()["status"] == "stopped"
    assert client.post(f"{here}stop/").status_code == 409
    assert client.post(f"{here}resume/").json()["status"] == "waiting"
    assert client.post(f"{here}resume/").status_code == 409


def test_a_symbol_that_is_not_listed_makes_no_series() -> None:
    make_instrument()
    answer = client_of("trader").post(URL, {"symbol": "NO-SUCH", "interval": "1h"}, format="json")
    assert (answer.status_code, list(answer.json()["error"]["fields"])) == (400, ["symbol"])
    assert not Series.objects.exists()
