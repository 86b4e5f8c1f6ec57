"""Let the database write candles down as JSON, each as one text: numbers in plain digits, without trailing zeros.

Ten thousand candles cost a fifth of what they cost as rows of Decimals, because the driver hands over one text a candle
and Python only joins them. No number is a float on the way: MySQL writes its decimals, and SQLite the fifteen digits
that its doubles keep exactly (`market.ingest` lets no more in).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Expression, F, Func

from exchange.rounding import plain

Sql = tuple[str, tuple[str | int, ...]]
NUMBERS: Final = ("open", "high", "low", "close", "volume")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# SQLite writes very small and very large numbers with an exponent
_EXPONENT: Final = re.compile(r'"([0-9.]+e[+-][0-9]+)"')


class Written(Func):
    """One candle as a JSON object, its time in milliseconds as `time`."""

    output_field = models.TextField()
    _mysql_time = "1000 * TIMESTAMPDIFF(SECOND, '1970-01-01', {})"
    _mysql_head = "'{{\"time\":', {}"
    _sqlite_time = "1000 * strftime('%%s', {})"
    _sqlite_head = '{"time":%%d'

    def __init__(self, *columns: Any, **extra: Any) -> None:
        super().__init__(*(columns or map(F, ("series_id", "open_time", *NUMBERS))), **extra)

    def as_mysql(self, compiler: Any, connection: BaseDatabaseWrapper, **context: Any) -> Sql:
        """Write `CONCAT('{"time":', …, ',"open":"', …, '"}')`; the columns' decimals all end in zeros or a digit."""
        series, time, *numbers = self._columns(compiler)
        head = self._mysql_head.format(self._mysql_time.format(time), series=series)
        cells = [
            f"""',"{name}":"', TRIM(TRAILING '.' FROM TRIM(TRAILING '0' FROM {column})), '"'"""
            for name, column in zip(NUMBERS, numbers, strict=True)
        ]
        return f"CONCAT({head}, {', '.join(cells)}, '}}')", ()

    def as_sqlite(self, compiler: Any, connection: BaseDatabaseWrapper, **context: Any) -> Sql:
        series, time, *numbers = self._columns(compiler)
        cells = "".join(f',"{name}":"%%.15g"' for name in NUMBERS)
        values = ", ".join([*self._sqlite_values(series, self._sqlite_time.format(time)), *numbers])
        return f"printf('{self._sqlite_head}{cells}}}', {values})", ()

    def _sqlite_values(self, series: str, time: str) -> list[str]:
        return [time]

    def _columns(self, compiler: Any) -> list[str]:
        found: list[Expression] = self.get_source_expressions()
        return [compiler.compile(each)[0] for each in found]


class WrittenWithSeries(Written):
    """One candle as a JSON object, with its series and its time in ISO 8601 as `open_time`."""

    _mysql_time = "DATE_FORMAT({}, '%%Y-%%m-%%dT%%H:%%i:%%sZ')"
    _mysql_head = "'{{\"series\":', {series}, ',\"open_time\":\"', {}, '\"'"
    _sqlite_time = "strftime('%%Y-%%m-%%dT%%H:%%M:%%SZ', {})"
    _sqlite_head = '{"series":%%d,"open_time":"%%s"'

    def _sqlite_values(self, series: str, time: str) -> list[str]:
        return [series, time]


def array(rows: Iterable[str]) -> str:
    """Return candles as one JSON array, in their order."""
    text = f"[{','.join(rows)}]"
    return _EXPONENT.sub(_plain, text) if "e-" in text or "e+" in text else text


def _plain(match: re.Match[str]) -> str:
    return f'"{plain(Decimal(match[1]))}"'


def document(members: dict[str, Any], name: str, rows: Iterable[str]) -> bytes:
    """Return a JSON object of these members, with the candles under a name of their own."""
    head = json.dumps(members, ensure_ascii=False, separators=(",", ":"))
    return f'{head[:-1]}{"," if members else ""}"{name}":{array(rows)}}}'.encode()


def milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)
