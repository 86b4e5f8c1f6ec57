"""Candles in the back office: coverage at a glance, acts by role, and progress that moves by itself."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.staticfiles import finders
from django.test import Client
from django.urls import reverse
from django_celery_beat.models import PeriodicTask

from market import chart, tasks
from market.coverage_bar import LACKING, MISSING, THERE, draw_bar
from market.following import schedule
from market.models import Backfill, Kline, Series
from market.spans import Span
from market.tests.making import HOUR, T0, make_backfills, make_candles, make_klines, make_series
from pelusa.testing import DATABASES, PaperExchange, list_instruments
from pelusa.tests.browsing import browser_of, page
from pelusa.tests.making import make_instrument

pytestmark = pytest.mark.django_db(databases=DATABASES)

LIST = reverse("admin:market_series_changelist")
BACKFILLS = reverse("admin:market_backfill_changelist")
PROGRESS = reverse("admin:market_backfill_progress")


@pytest.fixture(autouse=True)
def fresh_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chart, "_exchange", chart.Exchange())


def url_of(row: Series | Backfill, act: str = "") -> str:
    name = row._meta.model_name
    return reverse(f"admin:market_{name}_{act}" if act else f"admin:market_{name}_change", args=[row.pk])


def post(browser: Client, row: Series | Backfill, act: str, **said: str) -> Any:
    return browser.post(url_of(row, act), said, follow=True)


def test_the_list_says_from_when_to_when_how_many_and_what_is_missing() -> None:
    series = make_candles()
    text = page(browser_of("viewer"), LIST)
    for words in (str(series), "2024-01-01 00:00:00", "2024-01-01 09:00:00", "9 candles, 0 missing", LACKING, THERE):
        assert words in text
    assert f'fill="{MISSING}"' not in text


def test_the_page_of_a_series_counts_its_candles_and_shows_gaps_and_the_newest() -> None:
    series = make_series(interval="1h")
    make_klines(series, 10)
    Kline.objects.filter(open_time__in=[T0 + 3 * HOUR, T0 + 4 * HOUR]).delete()
    text = page(browser_of("viewer"), url_of(series))
    for words in ("8 candles, 2 missing", "2024-01-01 03:00:00", "2 candles", "12.5", MISSING):
        assert words in text
    assert "12.500000000000" not in text


def test_a_series_without_candles_says_what_to_do() -> None:
    text = page(browser_of("viewer"), url_of(make_series()))
    assert "No candle is stored yet" in text
    assert "None yet. Backfill fetches old candles" in text


def test_a_bar_shows_the_thinnest_gap_of_the_longest_series() -> None:
    year = Span(T0, T0 + timedelta(days=365))
    gaps = [Span(T0 + place * HOUR, T0 + (place + 1) * HOUR) for place in range(0, 8760, 2)]
    bar = draw_bar(year, missing=gaps, holes=[], label="x")
    assert f'fill="{MISSING}"' in bar
    assert bar.count("<rect") <= 1001
    last = draw_bar(year, missing=[Span(year.stop - HOUR, year.stop)], holes=[], label="x")
    assert f'<rect x="996" y="0" width="4" height="12" fill="{MISSING}"/>' in last
    assert draw_bar(Span(T0, T0), missing=[], holes=[], label="x") == ""


def test_a_label_cannot_break_out_of_its_bar() -> None:
    assert "<script>" not in draw_bar(Span(T0, T0 + HOUR), missing=[], holes=[], label='"><script>')


def test_only_the_form_of_a_new_series_can_be_saved() -> None:
    browser, series = browser_of("trader"), make_series(interval="1h")
    assert 'name="_save"' in page(browser, reverse("admin:market_series_add"))
    assert 'name="_save"' not in page(browser, url_of(series))


def test_a_new_series_is_made_in_tradingviews_spelling_and_followed() -> None:
    make_instrument()
    browser = browser_of("trader")
    add = reverse("admin:market_series_add")
    row = {"market": "usdtm", "symbol": "BTCUSDT.P", "interval": "1h", "is_followed": "on", "since": "2026-01-01"}
    assert browser.post(add, row).status_code == 302
    series = Series.objects.get()
    assert (series.symbol, series.is_followed, f"{series.wanted_since:%Y-%m-%d}") == ("BTC-USDT", True, "2026-01-01")
    assert browser.post(add, row).status_code == 302
    assert Series.objects.count() == 1
    assert LogEntry.objects.count() == 2


def test_a_symbol_that_is_not_listed_and_a_day_that_is_none_are_named() -> None:
    make_instrument()
    row = {"market": "usdtm", "symbol": "NO-SUCH", "interval": "1h", "since": "soon"}
    answer = browser_of("trader").post(reverse("admin:market_series_add"), row)
    assert answer.status_code == 200
    assert "usdtm lists no NO-SUCH" in answer.content.decode()
    assert "Must be 2024-01-31" in answer.content.decode()
    assert not Series.objects.exists()


def test_following_and_leaving_are_pages_with_a_button() -> None:
    series, browser = make_series(), browser_of("trader")
    assert "New candles are fetched as they close" in page(browser, url_of(series, "follow"))
    assert not Series.objects.get().is_followed
    post(browser, series, "follow", since="2026-01-01")
    assert (Series.objects.get().is_followed, f"{Series.objects.get().wanted_since:%Y-%m-%d}") == (True, "2026-01-01")
    assert LogEntry.objects.get().change_message == "follow: 2026-01-01"
    post(browser, series, "unfollow")
    assert not Series.objects.get().is_followed


def test_only_what_fits_is_offered() -> None:
    series, browser = make_series(), browser_of("trader")
    text = page(browser, url_of(series))
    assert url_of(series, "follow") in text
    assert url_of(series, "unfollow") not in text
    Series.objects.update(is_followed=True)
    text = page(browser, url_of(series))
    assert f'{url_of(series, "follow")}"' not in text
    assert url_of(series, "repair") in text


def test_the_gaps_of_a_series_that_nobody_follows_are_filled_and_nothing_else(paper: PaperExchange) -> None:
    list_instruments()
    series = make_series(interval="1h")
    make_klines(series, 10)
    gaps = [T0 + 2 * HOUR, T0 + 6 * HOUR]
    Kline.objects.filter(open_time__in=gaps).delete()
    answer = post(browser_of("trader"), series, "repair")
    assert "2 of 2 gaps are being filled" in answer.content.decode()
    rows = Backfill.objects.order_by("since")
    assert [(row.since, row.until) for row in rows] == [(gap, gap + HOUR) for gap in gaps]
    for row in rows:
        tasks.run_backfill(row.pk)
    assert Kline.objects.count() == 10
    assert "Nothing is missing" in post(browser_of("trader"), series, "repair").content.decode()


def test_the_chart_and_the_filling_of_gaps_are_a_tap_away() -> None:
    series = make_series(interval="1h")
    make_klines(series, 10)
    assert "?market=usdtm&amp;symbol=BTC-USDT&amp;interval=1h" in page(browser_of("viewer"), url_of(series))
    Kline.objects.filter(open_time=T0 + 2 * HOUR).delete()
    button = f'pelusa-last" href="{url_of(series, "repair")}"'
    assert button in page(browser_of("trader"), url_of(series))
    assert button not in page(browser_of("viewer"), url_of(series))


def test_repairing_now_goes_through_all_of_the_series(paper: PaperExchange) -> None:
    list_instruments()
    series = make_series(interval="1d", is_followed=True, wanted_since=T0)
    tasks.repair_series(series.pk)
    Kline.objects.filter(open_time=T0).delete()
    tasks.repair_series(series.pk)
    assert not Kline.objects.filter(open_time=T0).exists()
    post(browser_of("trader"), series, "repair")
    tasks.repair_series(series.pk)
    assert Kline.objects.filter(open_time=T0).exists()


def test_a_backfill_is_asked_for_and_its_progress_is_told(paper: PaperExchange) -> None:
    list_instruments()
    series, browser = make_series(interval="1h"), browser_of("trader")
    text = post(browser, series, "backfill", since="2026-01-01", until="2026-01-31").content.decode()
    row = Backfill.objects.get()
    assert url_of(row) in text
    assert (f"{row.until:%Y-%m-%d}", row.asked_by[:6]) == ("2026-02-01", "trader")
    assert browser.get(PROGRESS, {"ids": str(row.pk)}).json() == {
        str(row.pk): {
            "progress": "0.0",
            "words": "Waiting, 0.0 %, 0 candles, back to 2026-02-01 00:00:00 UTC",
            "is_over": False,
        }
    }
    tasks.run_backfill(row.pk)
    assert browser.get(PROGRESS, {"ids": str(row.pk)}).json()[str(row.pk)]["is_over"] is True
    assert "Done, 100.0 %, 744 candles" in page(browser, url_of(row))


def test_what_was_typed_wrongly_is_said_and_nothing_begins(paper: PaperExchange) -> None:
    series, browser = make_series(), browser_of("trader")
    for since, words in (("", "required"), ("soon", "Must be 2024-01-31"), ("2199-01-01", "has closed")):
        assert words in post(browser, series, "backfill", since=since).content.decode()
    assert not Backfill.objects.exists()


def test_an_exchange_that_is_away_is_said_on_the_page(settings: Any) -> None:
    settings.BINGX_URLS = settings.BINGX_URLS | {"paper": "http://127.0.0.1:9"}
    series = make_series()
    answer = post(browser_of("trader"), series, "backfill", since="2026-01-01")
    assert answer.status_code == 200
    assert "pelusa-loss" in answer.content.decode()
    assert not Backfill.objects.exists()


def test_a_backfill_is_stopped_and_resumed_by_page_and_by_list() -> None:
    [row], browser = make_backfills("waiting"), browser_of("trader")
    assert browser.get(url_of(row, "stop")).status_code == 200
    assert Backfill.objects.get().status == "waiting"
    post(browser, row, "stop")
    assert Backfill.objects.get().status == "stopped"
    post(browser, row, "resume")
    assert Backfill.objects.get().status == "waiting"
    for act, status in (("stop_selected", "stopped"), ("resume_selected", "waiting")):
        browser.post(BACKFILLS, {"action": act, "_selected_action": [row.pk]})
        assert Backfill.objects.get().status == status


def test_several_series_are_followed_and_left_at_once() -> None:
    rows = [make_series("BTC-USDT"), make_series("ETH-USDT")]
    browser = browser_of("trader")
    for act, is_followed in (("follow_selected", True), ("repair_selected", True), ("unfollow_selected", False)):
        browser.post(LIST, {"action": act, "_selected_action": [row.pk for row in rows]})
        assert set(Series.objects.values_list("is_followed", flat=True)) == {is_followed}


def test_an_operator_gives_a_series_a_schedule_of_its_own_and_takes_it_back() -> None:
    series, browser = make_series(), browser_of("operator")
    post(browser, series, "schedule", every="30")
    task = PeriodicTask.objects.get(task="market.tasks.repair_series")
    assert (task.interval.every, Series.objects.get().has_own_schedule) == (30, True)
    text = page(browser, url_of(series))
    assert reverse("admin:django_celery_beat_periodictask_change", args=[task.pk]) in text
    assert "every 30 seconds" in text
    post(browser, series, "schedule", every="")
    assert not PeriodicTask.objects.filter(pk=task.pk).exists()
    assert not Series.objects.get().has_own_schedule


def test_a_schedule_that_was_switched_off_or_deleted_is_not_silent() -> None:
    series, browser = make_series(), browser_of("operator")
    task = schedule(series, timedelta(seconds=30))
    PeriodicTask.objects.filter(pk=task.pk).update(enabled=False)
    assert "switched off: the common one repairs this series" in page(browser, url_of(series))
    task.delete()
    assert "Its own schedule was deleted" in page(browser, url_of(series))


@pytest.mark.parametrize(
    ("role", "act", "may"),
    [
        ("viewer", "follow", False),
        ("viewer", "backfill", False),
        ("viewer", "schedule", False),
        ("trader", "follow", True),
        ("trader", "repair", True),
        ("trader", "backfill", True),
        ("trader", "schedule", False),
        ("operator", "schedule", True),
    ],
)
def test_each_role_acts_as_far_as_it_may(role: str, act: str, may: bool) -> None:
    series = make_series(is_followed=act == "repair")
    assert browser_of(role).get(url_of(series, act)).status_code == (200 if may else 403)


def test_a_viewer_stops_nothing_and_a_newcomer_is_told_no_progress() -> None:
    [row] = make_backfills("waiting")
    assert browser_of("viewer").post(url_of(row, "stop")).status_code == 403
    browser_of("viewer").post(BACKFILLS, {"action": "stop_selected", "_selected_action": [row.pk]})
    assert Backfill.objects.get().status == "waiting"
    assert browser_of("").get(PROGRESS, {"ids": str(row.pk)}).status_code == 403


def test_progress_is_asked_for_with_a_script_of_our_own_and_odd_ids_are_no_harm() -> None:
    make_backfills("running")
    browser = browser_of("viewer")
    text = page(browser, BACKFILLS)
    assert "market/progress.js" in text
    assert "data-backfill" in text
    assert finders.find("market/progress.js")
    for ids in ("", "x,,-1,٣", "9" * 40):
        assert browser.get(PROGRESS, {"ids": ids}).json() == {}
