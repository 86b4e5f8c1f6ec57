"""Pages over the API against the raw queries for the same rows: alarms, first and deep, filtered; ten thousand candles.

The subject is asked over HTTP with a token, everything on; the floor is mysqlclient in this process.
"""

import itertools
import json
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import replace
from statistics import median
from typing import Any
from urllib.parse import urlencode

from MySQLdb.connections import Connection

from bench.load import drive, get
from bench.measure import Goal, Row, compare, of_pairs, of_value
from bench.scene import BenchMariaDB, BenchSystem, inside, schema_of
from bench.stock import TICKERS

PAGE = 50
CANDLES = 10_000
DEPTH = 0.9
COLUMNS = (
    "id, received_at, source_ip, kind, action, leg, ticker, `interval`, strategy, quantity, price, entry_price,"
    " exit_price, alarm_time, status, reason, detail, original_id, processed_at, raw"
)
ANSWERS = "id, alarm_id, strategy_id, outcome, reason, facts, operation_id"
FIRST_PAGE = Goal(4)
ANY_DEPTH = Goal(1.5)


class Raw:
    """The same rows through mysqlclient alone, one connection to each schema."""

    def __init__(self, mysql: BenchMariaDB, env: Mapping[str, str]) -> None:
        self.alarms = self._connect(mysql, env["ALARMS_DATABASE_URL"])
        self.books = self._connect(mysql, env["DATABASE_URL"])
        # Numbers and times stay the text that they travel as: nothing is cheaper
        self.market = self._connect(mysql, env["MARKET_DATABASE_URL"], conv={})

    def _connect(self, mysql: BenchMariaDB, url: str, **options: Any) -> Connection:
        connection = mysql.connect(schema_of(url), **options)
        connection.autocommit(True)
        return connection

    def page(self, where: str, *values: Any) -> None:
        """Read a page of alarms and what was decided on them."""
        query = f"SELECT {COLUMNS} FROM alarms_alarm {where} ORDER BY id DESC LIMIT {PAGE + 1}"
        found = _rows(self.alarms, query, *values)
        ids = [row[0] for row in found[:PAGE]]
        marks = ", ".join(["%s"] * len(ids))
        _rows(self.books, f"SELECT {ANSWERS} FROM operations_decision WHERE alarm_id IN ({marks}) ORDER BY id", *ids)

    def candles(self, series: int) -> bytes:
        """Read the newest candles of a series and write them as JSON."""
        query = (
            "SELECT UNIX_TIMESTAMP(open_time) * 1000, open, high, low, close, volume FROM market_kline"
            f" WHERE series_id = %s ORDER BY open_time DESC LIMIT {CANDLES}"
        )
        rows = [[cell.decode() for cell in row] for row in _rows(self.market, query, series)]
        return json.dumps(rows, separators=(",", ":")).encode()


def _rows(connection: Connection, query: str, *values: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        return cursor.fetchall()


def timed(ask: Callable[[], object], seconds: float) -> float:
    """Ask again and again for so many seconds; return the median of the milliseconds."""
    took, deadline = list[float](), time.perf_counter() + seconds
    while not took or time.perf_counter() < deadline:
        began = time.perf_counter()
        ask()
        took.append((time.perf_counter() - began) * 1000)
    return median(took)


def cursor_before(alarm: int) -> str:
    """Return the cursor of the page whose first row is older than `alarm`, as a page names the next one."""
    return b64encode(urlencode({"p": alarm}).encode()).decode()


def measure(system: BenchSystem, mysql: BenchMariaDB, *, stored: int, seconds: float) -> list[Row]:
    """Return the rows about pages of alarms."""
    raw, token = Raw(mysql, system.env), system.manage("token", "bench", "--role", "viewer").splitlines()[-1]
    below = cursor_before(round(stored * (1 - DEPTH)))
    ticker, strategy = f"{TICKERS[0]}USDT.P", "Stock_0"
    some = {"ticker": ticker, "strategy": strategy}

    def ask(**query: Any) -> Callable[[], float]:
        request = get(f"/api/v1/alarms/?{urlencode(query)}", token)
        return lambda: over_http(system, request, seconds)

    def floor(where: str = "", *values: Any) -> Callable[[], float]:
        return lambda: timed(lambda: raw.page(where, *values), seconds)

    filtered = "WHERE ticker = %s AND strategy = %s"
    rows = [
        compare("newest page of alarms, with decisions", "ms", floor(), ask(), FIRST_PAGE),
        compare(
            "newest page of one ticker and strategy", "ms", floor(filtered, *some.values()), ask(**some), FIRST_PAGE
        ),
        compare("a page nine tenths down, against the newest", "ms", ask(), ask(cursor=below), ANY_DEPTH),
        compare("the same of one ticker and strategy", "ms", ask(**some), ask(**some, cursor=below), ANY_DEPTH),
    ]
    return [replace(row, rows_stored=stored) for row in rows]


def over_http(system: BenchSystem, request: bytes, seconds: float) -> float:
    """Ask over one connection for so many seconds; return the median of the milliseconds."""
    result = drive(system.port, itertools.repeat(request), clients=1, seconds=seconds)
    assert not result.failed, f"{result.failed} of {len(result.milliseconds)} failed: {request[:200]!r}"
    return median(result.milliseconds)


def measure_candles(system: BenchSystem, mysql: BenchMariaDB, *, stored: int, seconds: float) -> list[Row]:
    """Return the row about ten thousand candles over the API."""
    raw, token = Raw(mysql, system.env), system.manage("token", "bench", "--role", "viewer").splitlines()[-1]
    query = {"market": "usdtm", "symbol": f"{TICKERS[1]}-USDT", "interval": "1m", "limit": CANDLES}
    request = get(f"/api/v1/klines/?{urlencode(query)}", token)
    row = compare(
        "10,000 candles over the API; raw rows to JSON",
        "ms",
        lambda: timed(lambda: raw.candles(1), seconds),
        lambda: over_http(system, request, seconds),
        Goal(1.5),
    )
    return [replace(row, rows_stored=stored)]


def measure_queries(system: BenchSystem, *, stored: int) -> list[Row]:
    """Return the rows about queries, counted and timed within Django."""
    system.manage("collectstatic", "--no-input", "--verbosity", "0")
    found = inside(system.env | {"LOG_LEVEL": "warning"}, "bench.counting")
    pages, overview = found["pages"], found["overview"]
    counts = [pages[length]["queries"] for length in pages]
    rows = [
        of_pairs("queries of a page of 500 alarms, against one of 10", "queries", [(counts[0], counts[-1])], Goal(1)),
        of_value("newest page of alarms without the web server", "ms", pages["50"]["milliseconds"]),
        of_value("overview page, queries", "queries", overview["queries"], Goal(12)),
        of_value(
            "overview page, slowest query",
            "ms",
            overview["slowest"],
            Goal(20),
            notes={"query": overview["slowest_is"]},
        ),
        of_value("overview page, without the web server", "ms", overview["milliseconds"], Goal(300)),
    ]
    return [replace(row, rows_stored=stored) for row in rows]
