"""Store pages of closed candles: thousands of rows a statement, exactly as the exchange wrote them, or not at all.

Where the database takes files (MySQL with `local_infile`), a chunk of pages travels as one. That is the fastest way in,
and a careless one: the server would round and cut in silence. So only checked sheets are sent (`market.sheets`), and a
warning of the server undoes the chunk.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import IO, Any

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from exchange.rounding import plain
from market.holes import heal
from market.models import Series
from market.paging import Page
from market.sheets import Sheet, UnfitCandle, cells, joined
from market.spans import Span

DATABASE = "market"
# SQLite keeps a number as a double, which gives so many digits back unchanged
DIGITS_OF_SQLITE = 15
# Fewer candles than these are not worth a file
FEWEST_FOR_A_FILE = 1000


class Ingest:
    """Stores pages of one series and knows whether somebody else did so meanwhile.

    A page that was asked for before another's was stored may be the older of the two: it fills what is missing and
    corrects nothing.
    """

    def __init__(self, series: Series) -> None:
        self.series = series
        self._own = 0
        self._by_file = takes_files(connections[DATABASE])
        self._foreign = Series.objects.values_list("revision", flat=True).get(pk=series.pk)

    def stamp(self) -> int:
        """Return what a page must carry, taken before it is asked for; may be called from another thread."""
        return self._foreign

    def store(self, pages: Sequence[Page], also: Callable[[], None] | None = None) -> int:
        """Store a chunk of pages in one transaction, with what `also` writes; return how many candles it had.

        Killed before the commit it has stored nothing, and the same pages may be stored any number of times.
        Raises UnfitCandle, and stores nothing then.
        """
        sheet = joined([page.sheet for page in pages])
        with transaction.atomic(using=DATABASE):
            series = Series.objects.select_for_update().get(pk=self.series.pk)
            self._foreign = series.revision - self._own
            if sheet.candles:
                is_newest = all(page.stamp == self._foreign for page in pages)
                write(series, sheet, may_correct=is_newest, by_file=self._by_file)
                _note(series, sheet)
                heal(series, Span(sheet.start, sheet.stop))
            if also:
                also()
        self._own += bool(sheet.candles)
        return sheet.candles


def _note(series: Series, sheet: Sheet) -> None:
    """Keep the ends of what is stored, and that something was."""
    last = sheet.stop - timedelta(milliseconds=1)
    series.first_open_time = min(sheet.start, series.first_open_time or sheet.start)
    series.last_open_time = max(last, series.last_open_time or last)
    series.revision += 1
    series.save(update_fields=["first_open_time", "last_open_time", "revision", "updated_at"])


def write(series: Series, sheet: Sheet, *, may_correct: bool, by_file: bool) -> None:
    """Write a sheet: its candles replace what is there, or only fill what is missing. Call it in a transaction."""
    connection = connections[DATABASE]
    if connection.vendor == "sqlite":
        _write_rows(connection, series, sheet, may_correct)
    elif may_correct and by_file and sheet.candles >= FEWEST_FOR_A_FILE:
        _write_file(connection, series, sheet)
    else:
        _write_documents(connection, series, sheet, may_correct)


def takes_files(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether our settings and the server both allow LOAD DATA LOCAL."""
    if not connection.settings_dict["OPTIONS"].get("local_infile"):
        return False
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@local_infile")
        return bool(cursor.fetchone()[0])


def _write_file(connection: BaseDatabaseWrapper, series: Series, sheet: Sheet) -> None:
    # Without a name on the disk: a process that is killed leaves nothing behind
    with tempfile.TemporaryFile() as file, connection.cursor() as cursor:
        file.write(sheet.lines.encode("ascii"))
        cursor.execute(_LOAD, [_path_of(file), series.pk])
        _require_no_warning(cursor)


def _path_of(file: IO[bytes]) -> str:
    file.flush()
    file.seek(0)
    return f"/dev/fd/{file.fileno()}"


def _require_no_warning(cursor: Any) -> None:
    cursor.execute("SHOW WARNINGS LIMIT 1")
    found = cursor.fetchone()
    if found:
        raise UnfitCandle(f"the database would have changed a candle: {found[2]}")


def _write_documents(connection: BaseDatabaseWrapper, series: Series, sheet: Sheet, may_correct: bool) -> None:
    rows = cells(sheet)
    with connection.cursor() as cursor:
        for place in range(0, len(rows), FEWEST_FOR_A_FILE):
            document = json.dumps(rows[place : place + FEWEST_FOR_A_FILE])
            cursor.execute(_UPSERT_PAGE if may_correct else _FILL_PAGE, [series.pk, document])


def _write_rows(connection: BaseDatabaseWrapper, series: Series, sheet: Sheet, may_correct: bool) -> None:
    rows = cells(sheet)
    _require_few_digits(rows)
    with connection.cursor() as cursor:
        cursor.executemany(_UPSERT_ROW if may_correct else _FILL_ROW, [(series.pk, *row) for row in rows])


def _require_few_digits(rows: Sequence[Sequence[str]]) -> None:
    for number in (number for row in rows for number in row[1:] if len(number) > DIGITS_OF_SQLITE):
        if len(plain(Decimal(number)).replace(".", "").strip("0")) > DIGITS_OF_SQLITE:
            raise UnfitCandle(f"SQLite would round {number}: keep this series on MySQL")


_NUMBERS = ("open", "high", "low", "close", "volume")
_COLUMNS = ", ".join(f"`{name}`" for name in ("series_id", "open_time", *_NUMBERS))
_TIME = "TIMESTAMP'1970-01-01 00:00:00' + INTERVAL"
_LOAD = (
    "LOAD DATA LOCAL INFILE %s REPLACE INTO TABLE market_kline CHARACTER SET ascii"
    r" FIELDS TERMINATED BY '\t' LINES TERMINATED BY '\n' (@second, `open`, `high`, `low`, `close`, `volume`)"
    f" SET series_id = %s, open_time = {_TIME} @second SECOND"
)
_INSERT = f"INSERT INTO market_kline ({_COLUMNS}) "
_STRICT = "ERROR ON EMPTY ERROR ON ERROR"
_CELLS = ", ".join(f"`{name}` DECIMAL(28,12) PATH '$[{place}]' {_STRICT}" for place, name in enumerate(_NUMBERS, 1))
_PAGE = f"JSON_TABLE(%s, '$[*]' COLUMNS (opened BIGINT PATH '$[0]' {_STRICT}, {_CELLS})) AS page"
_FROM_PAGE = f"SELECT %s, {_TIME} page.opened SECOND, {', '.join(f'page.`{each}`' for each in _NUMBERS)} FROM {_PAGE}"  # noqa: S608
_THEN = " ON DUPLICATE KEY UPDATE "
_UPSERT_PAGE = _INSERT + _FROM_PAGE + _THEN + ", ".join(f"`{name}` = VALUES(`{name}`)" for name in _NUMBERS)
_FILL_PAGE = _INSERT + _FROM_PAGE + _THEN + "`market_kline`.`open_time` = `market_kline`.`open_time`"
_ROW = "VALUES (%s, datetime(%s, 'unixepoch'), %s, %s, %s, %s, %s) ON CONFLICT (series_id, open_time) DO "
_UPSERT_ROW = _INSERT + _ROW + "UPDATE SET " + ", ".join(f"`{name}` = excluded.`{name}`" for name in _NUMBERS)
_FILL_ROW = _INSERT + _ROW + "NOTHING"
