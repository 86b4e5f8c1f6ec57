"""`manage.py backfill SYMBOL INTERVAL --since DAY [--until DAY] [--market usdtm]`."""

import getpass
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from exchange.errors import ExchangeError
from exchange.models import MarketChoices
from exchange.types import Market
from market import backfill, instruments
from market.coverage import coverage
from market.following import UnknownSeries, find_series
from market.intervals import INTERVALS
from market.models import Backfill, Instrument, Series
from market.sheets import UnfitCandle
from market.spans import Span, count, merged

# Errors in a row after which it gives up; whatever was stored stays
MOST_ERRORS = 20
BETWEEN_LINES = 5.0
INTERRUPTED = 130
MOST_GAPS_SHOWN = 10

Show = Callable[[Backfill], None]


def moment(text: str) -> datetime:
    """Read `2024-01-01` or an ISO 8601 time; without a zone it is UTC."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no day such as 2024-01-01 and no ISO 8601 time") from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


class Command(BaseCommand):
    """Fetch old candles, newest first, and say how far it is. Ctrl-C loses nothing: the same command goes on."""

    help = "Fetch old candles. Stopped or killed, it goes on where it was when it is given again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("symbol", help="as the exchange writes it, e.g. BTC-USDT")
        parser.add_argument("interval", choices=INTERVALS)
        parser.add_argument("--since", required=True, type=moment, metavar="DAY", help="UTC, e.g. 2024-01-01")
        parser.add_argument("--until", type=moment, metavar="DAY", help="UTC, not included; default: now")
        parser.add_argument("--market", choices=MarketChoices.values, default=MarketChoices.USDTM.value)

    def handle(self, *args: Any, since: datetime, until: datetime | None, **options: Any) -> None:
        series = self._series(options["market"], options["symbol"].upper(), options["interval"])
        try:
            self._fill(series, since, until)
        except KeyboardInterrupt:
            self.stderr.write("Stopped. Nothing is lost: give the same command to go on.")
            raise SystemExit(INTERRUPTED) from None
        except (ExchangeError, UnfitCandle, ValueError) as error:
            raise CommandError(f"{error}") from None

    def _series(self, market: str, symbol: str, interval: str) -> Series:
        try:
            if not Instrument.objects.filter(market=market, symbol=symbol).exists():
                instruments.refresh(Market(market))
            return find_series(market, symbol, interval)
        except (ExchangeError, UnknownSeries) as error:
            raise CommandError(f"{error}") from None

    def _fill(self, series: Series, since: datetime, until: datetime | None) -> None:
        row = self._work(backfill.ask_for(series, since, until=until, asked_by=getpass.getuser()))
        if until is None and row.until > since:
            self._catch_up(series, row.until)
        self._say_what_is_there(row)

    def _catch_up(self, series: Series, since: datetime) -> None:
        """Fetch what closed since a row that went on was begun."""
        try:
            row = backfill.ask_for(series, since, asked_by=getpass.getuser())
        except ValueError:
            return
        self._work(row)

    def _work(self, row: Backfill) -> Backfill:
        """Work on a row until it is done, through errors that pass."""
        errors = 0
        with self._progress(row) as show:
            while row.status != Backfill.Status.DONE:
                before = row.cursor
                try:
                    backfill.run(row, on_progress=show)
                except ExchangeError as error:
                    errors = 1 if row.cursor < before else errors + 1
                    if errors >= MOST_ERRORS:
                        raise
                    self.stderr.write(f"{error}; going on in a moment")
                    _wait_for(row)
                except backfill.Overtaken as error:
                    raise CommandError(f"{error}. Give the command again to go on.") from None
                except KeyboardInterrupt:
                    backfill.stop(row)
                    raise
        return row

    def _progress(self, row: Backfill) -> AbstractContextManager[Show]:
        return _bar(row) if self.stdout.isatty() else _lines(row, self.stdout.write)

    def _say_what_is_there(self, row: Backfill) -> None:
        took = (row.finished_at or timezone.now()) - (row.started_at or row.created_at)
        self.stdout.write(
            f"{row.series}: {row.rows} candles from {row.since:%Y-%m-%d %H:%M} to {row.until:%Y-%m-%d %H:%M} UTC,"
            f" {row.requests} requests, {took / timedelta(seconds=1):.1f} s"
        )
        there = coverage(row.series, since=row.since, until=row.until)
        lacking = merged(there.missing + there.holes)
        for gap in lacking[:MOST_GAPS_SHOWN]:
            self.stdout.write(f"the exchange has none from {gap.start:%Y-%m-%d %H:%M} to {gap.stop:%Y-%m-%d %H:%M} UTC")
        if len(lacking) > MOST_GAPS_SHOWN:
            self.stdout.write(f"nor in {len(lacking) - MOST_GAPS_SHOWN} other stretches")


def _wait_for(row: Backfill) -> None:
    row.refresh_from_db()
    if row.not_before:
        time.sleep(max((row.not_before - timezone.now()) / timedelta(seconds=1), 0))


def _behind(row: Backfill) -> int:
    return count(Span(row.cursor, row.until), row.series.interval)


@contextmanager
def _bar(row: Backfill) -> Any:
    """Show a bar on a terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]} candles/s"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    whole, began, had = count(Span(row.since, row.until), row.series.interval), time.monotonic(), _behind(row)
    with Progress(*columns, console=Console()) as bar:
        task = bar.add_task(str(row.series), total=whole, completed=had, rate="-")

        def show(row: Backfill) -> None:
            rate = (_behind(row) - had) / max(time.monotonic() - began, 0.001)
            bar.update(task, completed=_behind(row), rate=f"{rate:,.0f}")

        yield show


@contextmanager
def _lines(row: Backfill, write: Callable[[str], object]) -> Any:
    """Write a line now and then where no terminal is."""
    shown_at = time.monotonic()

    def show(row: Backfill) -> None:
        nonlocal shown_at
        if time.monotonic() - shown_at >= BETWEEN_LINES:
            shown_at = time.monotonic()
            write(f"{row.series}: {row.progress:.1%}, {row.rows} candles, back to {row.cursor:%Y-%m-%d %H:%M} UTC")

    write(f"{row.series}: from {row.since:%Y-%m-%d %H:%M} to {row.until:%Y-%m-%d %H:%M} UTC")
    yield show
