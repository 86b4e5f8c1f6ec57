"""Backfills: killed, overtaken, refused and taken up again, they end complete."""

import os
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.utils import timezone

from exchange.errors import OutcomeUnknown, RateLimited
from market import backfill, tasks
from market.coverage import coverage
from market.intervals import floor
from market.models import Backfill, Kline, Series
from market.paging import ask
from market.sheets import UnfitCandle, cells, write_sheet
from market.spans import Span
from market.tests.candle_exchange import CandleExchange, milliseconds, stored
from pelusa.livesystem import ROOT
from pelusa.testing import DATABASES, PaperExchange, list_instruments

pytestmark = pytest.mark.django_db(databases=DATABASES)

MINUTE = timedelta(minutes=1)
Status = Backfill.Status


@pytest.fixture
def today(candles: CandleExchange) -> datetime:
    """Midnight of a day that has not begun a candle yet; the exchange's clock stands a little after."""
    midnight = floor(timezone.now(), "1d")
    candles.now = lambda: midnight + timedelta(seconds=5)
    return midnight


def asked_for(series: Series, today: datetime, candles: int) -> Backfill:
    return backfill.ask_for(series, today - candles * MINUTE, asked_by="tester")


def assert_complete(exchange: CandleExchange, series: Series, since: datetime, until: datetime) -> None:
    assert stored(series, since, until) == exchange.truth(since, until)


def test_a_backfill_fetches_a_thousand_candles_a_request(
    candles: CandleExchange, series: Series, today: datetime
) -> None:
    row = asked_for(series, today, 5000)
    assert backfill.run(row)
    assert (row.status, row.rows, row.progress) == (Status.DONE, 5000, 1)
    assert row.requests == len(candles.asked) <= 6
    assert_complete(candles, series, row.since, row.until)


def test_it_goes_on_where_it_was(candles: CandleExchange, series: Series, today: datetime) -> None:
    # One of a page lies beyond its end: nobody knows whether BingX counts it
    candles.page = 100
    row = asked_for(series, today, 5000)
    assert not backfill.run(row, seconds=0)
    assert (row.status, row.rows) == (Status.WAITING, backfill.A_CHUNK * 99)
    candles.asked.clear()
    again = asked_for(series, today, 5000)
    assert again == row
    assert backfill.run(again)
    assert int(candles.asked[0]["endTime"]) == milliseconds(row.cursor) + 60_000
    assert (again.rows, again.requests) == (5000, 51)
    assert_complete(candles, series, row.since, row.until)


def test_an_error_keeps_what_came_before_it_and_is_written_down(
    candles: CandleExchange, series: Series, today: datetime
) -> None:
    candles.page = 100
    row = asked_for(series, today, 1000)

    def fail_at_the_fourth() -> None:
        if len(candles.asked) < 4:
            candles.meanwhile = fail_at_the_fourth
        else:
            raise OutcomeUnknown("no answer")

    candles.meanwhile = fail_at_the_fourth
    with pytest.raises(OutcomeUnknown):
        backfill.run(row)
    assert (row.status, row.rows, row.error) == (Status.WAITING, 297, "no answer")
    assert row.not_before is not None
    backfill.run(row)
    assert (row.status, row.error) == (Status.DONE, "")
    assert_complete(candles, series, row.since, row.until)


def test_it_waits_as_long_as_the_exchange_says(candles: CandleExchange, series: Series, today: datetime) -> None:
    row = asked_for(series, today, 100)
    opens_at = timezone.now() + timedelta(minutes=5)

    def refuse() -> None:
        raise RateLimited("too many requests", code="100410", retry_at=opens_at)

    candles.meanwhile = refuse
    tasks.sweep_backfills()
    row.refresh_from_db()
    assert (row.status, row.not_before) == (Status.WAITING, opens_at)
    assert not backfill.unattended().exists()


@pytest.mark.django_db(databases=DATABASES, transaction=True)
def test_of_two_that_work_on_one_row_the_slower_stops_and_nothing_is_lost(
    candles: CandleExchange, series: Series, today: datetime
) -> None:
    candles.page = 100
    row = asked_for(series, today, 3000)

    def the_other_is_faster() -> None:
        Backfill.objects.filter(pk=row.pk).update(cursor=row.cursor - MINUTE)
        connections["market"].close()

    candles.meanwhile = the_other_is_faster
    with pytest.raises(backfill.Overtaken):
        backfill.run(row)
    assert not Kline.objects.exists()


@pytest.mark.django_db(databases=DATABASES, transaction=True)
def test_a_stopped_backfill_stops_and_goes_on_when_it_is_asked_for_again(
    candles: CandleExchange, series: Series, today: datetime
) -> None:
    row = asked_for(series, today, 100)

    def somebody_stops_it() -> None:
        backfill.stop(row)
        connections["market"].close()

    candles.meanwhile = somebody_stops_it
    with pytest.raises(backfill.Overtaken):
        backfill.run(row)
    with pytest.raises(backfill.Overtaken, match="has ended"):
        backfill.run(row)
    again = asked_for(series, today, 100)
    assert again == row
    assert backfill.run(again)
    assert_complete(candles, series, row.since, row.until)


def test_a_page_with_an_unfit_candle_stops_it_and_says_why(
    candles: CandleExchange, series: Series, today: datetime
) -> None:
    row = asked_for(series, today, 100)
    candles.odds = {"garbage": 1.0}
    with pytest.raises(UnfitCandle):
        backfill.run(row)
    assert "does not fit" in row.error
    assert not Kline.objects.exists()


def test_what_the_exchange_lacks_does_not_keep_it_from_ending(
    candles: CandleExchange, series: Series, today: datetime
) -> None:
    candles.holes = {milliseconds(today - place * MINUTE) for place in range(30, 50)}
    candles.began = today - 500 * MINUTE
    row = asked_for(series, today, 100_000)
    assert backfill.run(row)
    assert row.requests < 10
    found = coverage(series, since=row.since, until=row.until)
    assert (found.candles, found.missing) == (
        480,
        [(row.since, candles.began), (today - 49 * MINUTE, today - 29 * MINUTE)],
    )


def test_a_range_without_a_closed_candle_is_refused(candles: CandleExchange, series: Series, today: datetime) -> None:
    with pytest.raises(ValueError, match="has closed"):
        backfill.ask_for(series, today + MINUTE)


def test_the_sweep_takes_up_what_nobody_works_on_one_at_a_time(
    candles: CandleExchange, series: Series, today: datetime
) -> None:
    row, other = asked_for(series, today, 100), asked_for(series, today, 200)
    Backfill.objects.filter(pk=row.pk).update(status=Status.RUNNING, moved_at=timezone.now())
    tasks.sweep_backfills()
    assert candles.asked == []
    Backfill.objects.filter(pk=row.pk).update(moved_at=timezone.now() - 2 * backfill.ABANDONED_AFTER)
    tasks.sweep_backfills()
    row.refresh_from_db()
    other.refresh_from_db()
    assert (row.status, other.status) == (Status.DONE, Status.WAITING)


# The command, on the paper exchange


def command(*words: str) -> str:
    said = StringIO()
    call_command("backfill", *words, stdout=said, stderr=said)
    return said.getvalue()


def day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"


@pytest.mark.parametrize(("market", "symbol"), [("usdtm", "BTC-USDT"), ("spot", "BTC-USDT"), ("coinm", "BTC-USD")])
@pytest.mark.parametrize("interval", ["15m", "1d"])
def test_days_begin_at_midnight_utc_on_all_products(
    paper: PaperExchange, market: str, symbol: str, interval: str
) -> None:
    midnight = floor(timezone.now(), "1d")
    since, until = midnight - timedelta(days=5), midnight
    said = command(symbol, interval, "--since", day(since), "--until", day(until), "--market", market)
    found = coverage(Series.objects.get(market=market, interval=interval), since=since, until=until)
    assert found.is_complete
    assert (found.first, found.candles) == (since, 5 * 96 if interval == "15m" else 5)
    assert f"{found.candles} candles" in said


def test_the_command_brings_a_finished_range_up_to_now(paper: PaperExchange) -> None:
    since = floor(timezone.now(), "1d") - timedelta(days=3)
    list_instruments()
    series = Series.objects.create(market="usdtm", symbol="BTC-USDT", interval="1h")
    Backfill.objects.create(
        series=series, since=since, until=since + timedelta(days=1), cursor=since + timedelta(days=1), status="stopped"
    )
    command("BTC-USDT", "1h", "--since", day(since))
    assert coverage(series, since=since).is_complete


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("NOSUCH-USDT", "1m", "--since", "2024-01-01"), "lists no NOSUCH-USDT"),
        (("BTC-USDT", "1m", "--since", "yesterday"), "no day such as"),
        (("BTC-USDT", "7m", "--since", "2024-01-01"), "invalid choice"),
        (("BTC-USDT", "1m", "--since", "2999-01-01"), "has closed"),
    ],
)
def test_the_command_says_what_is_wrong(paper: PaperExchange, words: tuple[str, ...], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        command(*words)


# Real processes that are killed


class Filling:
    """The command as a process of its own, on this test's databases."""

    def __init__(self, home: Path, paper: PaperExchange, since: datetime, until: datetime) -> None:
        names = {"default": "DATABASE_URL", "alarms": "ALARMS_DATABASE_URL", "market": "MARKET_DATABASE_URL"}
        addresses = {names[alias]: address_of(alias) for alias in names}
        self.env = os.environ | addresses | {"BINGX_PAPER_URL": paper.url, "VAR_DIR": str(home)}
        range_of_time = ["--since", since.isoformat(), "--until", until.isoformat()]
        self.argv = [sys.executable, "manage.py", "backfill", "BTC-USDT", "1m", *range_of_time]

    def start(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(self.argv, cwd=ROOT, env=self.env)

    def kill_when(self, cursor_below: datetime, how: int) -> None:
        """Let it work until its row has come so far, and end it; it must not have been done."""
        with self.start() as process:
            while not Backfill.objects.filter(cursor__lte=cursor_below).exists():
                assert process.poll() is None, "it ended before it could be killed"
                time.sleep(0.005)
            process.send_signal(how)
            process.wait(timeout=30)
        assert Backfill.objects.get().status != Status.DONE


def address_of(alias: str) -> str:
    config = connections[alias].settings_dict
    if connections[alias].vendor == "sqlite":
        return f"sqlite:///{config['NAME']}"
    password = f":{config['PASSWORD']}" if config["PASSWORD"] else ""
    return f"mysql://{config['USER']}{password}@{config['HOST']}:{config['PORT'] or 3306}/{config['NAME']}"


def filled_twice_killed(home: Path, paper: PaperExchange, candles: int) -> None:
    list_instruments()
    until = floor(timezone.now(), "1h")
    since = until - candles * MINUTE
    filling = Filling(home, paper, since, until)
    filling.kill_when(until - candles // 3 * MINUTE, signal.SIGKILL)
    filling.kill_when(until - candles * 2 // 3 * MINUTE, signal.SIGINT)
    with filling.start() as process:
        assert process.wait(timeout=280) == 0
    row = Backfill.objects.get()
    assert (row.status, row.rows) == (Status.DONE, candles)
    found = coverage(row.series, since=since, until=until)
    assert (found.candles, found.missing, found.holes, found.first) == (candles, [], [], since)
    for start in (since, since + candles // 2 * MINUTE, until - 500 * MINUTE):
        span = Span(start, start + 500 * MINUTE)
        sheet = write_sheet(ask(row.series, span), "1m", until)
        theirs = [tuple(map(Decimal, line[1:])) for line in cells(sheet)]
        assert [values for _, values in stored(row.series, *span)] == theirs


@pytest.mark.django_db(databases=DATABASES, transaction=True)
def test_a_backfill_that_is_killed_twice_ends_complete(tmp_path: Path, paper: PaperExchange) -> None:
    filled_twice_killed(tmp_path, paper, 120_000)


@pytest.mark.servers
@pytest.mark.django_db(databases=DATABASES, transaction=True)
def test_a_million_candles_killed_twice_end_complete_and_gap_free(tmp_path: Path, paper: PaperExchange) -> None:
    filled_twice_killed(tmp_path, paper, 1_000_000)
