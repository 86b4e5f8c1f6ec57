"""A history of the wanted size, made by the server itself: alarms, decisions, operations, orders, fills and candles.

Every alarm was decided on; every fifth opened an operation that is closed by now. Nothing waits and nothing is in
flight, so that a system started on it has only its own work to do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from MySQLdb.connections import Connection

BATCH = 100_000
TICKERS = ("BTC", "ETH", "SOL", "LTC", "ADA", "XRP", "BNB", "LINK", "DOGE", "AVAX")
SERIES = 5
# The newest row is an hour old, each half a minute younger than the one before it
NEWEST, STEP = 3600, 30


@dataclass(frozen=True, slots=True)
class Size:
    """How many rows of each kind are stored."""

    alarms: int
    operations: int
    klines: int

    def part(self, share: float) -> Size:
        return Size(round(self.alarms * share), round(self.operations * share), round(self.klines * share))


FULL = Size(alarms=1_000_000, operations=200_000, klines=5_000_000)


class Stock:
    """Fills the three schemas of one server up to a size; what is there already stays.

    `full` is the size that the row with the last number belongs to: it decides how old a row is. `strategies` are the
    ids of those that decide, `lanes` those of their lanes in the same order, all on one account.
    """

    def __init__(
        self,
        connection: Connection,
        schemas: dict[str, str],
        *,
        account: int,
        strategies: list[int],
        lanes: list[int],
        full: Size = FULL,
    ) -> None:
        self.connection, self.full, self.account = connection, full, account
        self.strategies, self.lanes = strategies, lanes
        self.alarms, self.books, self.market = (f"`{schemas[alias]}`" for alias in ("alarms", "default", "market"))
        self._make_numbers()

    def grow(self, size: Size) -> None:
        """Add what lacks to `size`."""
        self._fill(f"{self.alarms}.alarms_alarm", size.alarms, self._alarms)
        self._fill(f"{self.books}.operations_operation", size.operations, self._operations)
        self._fill(f"{self.books}.operations_decision", size.alarms, self._decisions)
        self._fill(f"{self.books}.operations_order", 2 * size.operations, self._orders)
        self._fill(f"{self.books}.operations_fill", 2 * size.operations, self._fills)
        self._fill(f"{self.books}.operations_orderevent", 6 * size.operations, self._events)
        self._fill_klines(size.klines)

    def _make_numbers(self) -> None:
        digits = " UNION ALL ".join(f"SELECT {digit} AS d" for digit in range(10))
        places = ", ".join(f"({digits}) p{place}" for place in range(5))
        number = " + ".join(f"p{place}.d * {10**place}" for place in range(5))
        self._run(f"CREATE TABLE IF NOT EXISTS {self.market}.bench_numbers (n INT PRIMARY KEY)")
        self._run(f"INSERT IGNORE INTO {self.market}.bench_numbers SELECT {number} FROM {places}")

    def _fill(self, table: str, rows: int, select: Callable[[], tuple[str, str]]) -> None:
        """Insert in batches; rows are numbered from 1, and their number is their id."""
        stored = self._one(f"SELECT COALESCE(MAX(id), 0) FROM {table}")
        while stored < rows:
            batch = min(BATCH, rows - stored)
            source = f"(SELECT {stored + 1} + n AS n FROM {self.market}.bench_numbers WHERE n < {batch} ORDER BY n) s"
            columns, values = select()
            # A number may be taken: what was measured on the smaller stock wrote rows of its own
            self._run(f"INSERT IGNORE INTO {table} (id, {columns}) SELECT n, {values} FROM {source}")
            stored += batch
        self._run(f"ANALYZE TABLE {table}")

    def _alarms(self) -> tuple[str, str]:
        at, ticker, raw = self._at("n", self.full.alarms), self._ticker("n"), self._raw()
        return (
            "received_at, source_ip, raw, kind, action, leg, ticker, pair, is_perpetual_only, `interval`, strategy,"
            " quantity, price, alarm_time, status, reason, detail, delivery_key, attempts, processed_at",
            f"{at}, '52.89.214.238', {raw}, IF(n % 3, 'order', 'indicator'), IF(n % 2, 'open', 'close'), 'long',"
            f" CONCAT({ticker}, 'USDT.P'), CONCAT({ticker}, 'USDT'), 1, '5m', CONCAT('Stock_', n % {self._strategies}),"
            f" 0.01, 50000 + n % 1000, {at}, 'processed', 'entry', 'An entry of the long leg was ordered.',"
            f" SHA2(CONCAT('stock', n), 256), 0, {at} + INTERVAL 5000 MICROSECOND",
        )

    def _raw(self) -> str:
        return (
            f"""CONCAT('{{"Ticker":"', {self._ticker("n")}, 'USDT.P","Interval":"5","Price_Alert":"', """
            """50000 + n % 1000, '","Time_Alert":"2026-01-01T00:00:00Z","Order":"order open long","n":', n, '}')"""
        )

    def _operations(self) -> tuple[str, str]:
        opened = self._at("n * 5", self.full.alarms)
        return (
            "strategy_id, account_id, market, symbol, leg, status, quantity, held_quantity, avg_entry_price,"
            " avg_exit_price, realised_pnl, fees, created_at, opened_at, closed_at",
            f"{self._of(self.strategies)}, {self.account}, 'usdtm', CONCAT({self._ticker('n')}, '-USDT'), 'long',"
            f" 'closed', 0.01, 0, 50000 + n % 1000, 50100 + n % 900, 1 - n % 3, 0.5, {opened}, {opened},"
            f" {opened} + INTERVAL 10 MINUTE",
        )

    def _decisions(self) -> tuple[str, str]:
        at = self._at("n", self.full.alarms)
        return (
            "alarm_id, strategy_id, leg, outcome, reason, facts, operation_id, alarm_received_at, alarm_happened_at,"
            " alarm_price, alarm_quantity, created_at",
            f"n, {self._of(self.strategies)}, 'long', IF(n % 5, 'ignored', 'open'), IF(n % 5, 'gate_shut', 'entry'),"
            f" '{{}}', IF(n % 5 = 0 AND n <= {5 * self._stored_operations()}, n DIV 5, NULL), {at}, {at},"
            f" 50000 + n % 1000, 0.01, {at} + INTERVAL 3000 MICROSECOND",
        )

    def _orders(self) -> tuple[str, str]:
        at = f"{self._at('((n + 1) DIV 2) * 5', self.full.alarms)} + INTERVAL (1 - n % 2) * 10 MINUTE"
        return (
            "lane_id, operation_id, client_order_id, exchange_order_id, role, side, position_side, order_type,"
            " reduce_only, quantity, filled_quantity, avg_price, base_fee, status, reason, code, detail, has_all_fills,"
            " settle_misses, created_at, submitted_at, answered_at, closed_at",
            f"{self._of(self.lanes, '((n + 1) DIV 2)')}, (n + 1) DIV 2, CONCAT('stock', n), CONCAT('9', n),"
            f" IF(n % 2, 'ENTRY', 'EXIT'), IF(n % 2, 'BUY', 'SELL'), 'LONG', 'MARKET', 0, 0.01, 0.01, 50000 + n % 1000,"
            f" 0, 'filled', '', '', '', 1, 0, {at}, {at}, {at}, {at}",
        )

    def _fills(self) -> tuple[str, str]:
        at = self._at("((n + 1) DIV 2) * 5", self.full.alarms)
        return (
            "order_id, lane_id, exchange_trade_id, price, quantity, fee, fee_asset, filled_at",
            f"n, {self._of(self.lanes, '((n + 1) DIV 2)')}, CONCAT('stock', n), 50000 + n % 1000, 0.01, 0.25, 'USDT',"
            f" {at}",
        )

    def _events(self) -> tuple[str, str]:
        at = self._at("((n + 5) DIV 6) * 5", self.full.alarms)
        status = "ELT(1 + n % 3, 'created', 'submitted', 'filled')"
        return "order_id, at, status, source, detail", f"(n + 2) DIV 3, {at}, {status}, 'us', ''"

    def _fill_klines(self, rows: int) -> None:
        for number in range(1, SERIES + 1):
            self._run(
                f"INSERT IGNORE INTO {self.market}.market_series (id, market, symbol, `interval`, is_followed,"
                " has_own_schedule, revision, last_error, created_at, updated_at)"
                f" VALUES ({number}, 'usdtm', '{TICKERS[number]}-USDT', '1m', 0, 0, 1, '', NOW(6), NOW(6))"
            )
            self._fill_series(number, rows // SERIES)
        ends = "SELECT series_id, MIN(open_time) AS oldest, MAX(open_time) AS newest"
        self._run(
            f"UPDATE {self.market}.market_series s JOIN ({ends} FROM {self.market}.market_kline"
            f" WHERE series_id <= {SERIES} GROUP BY series_id) k ON k.series_id = s.id"
            " SET s.first_open_time = k.oldest, s.last_open_time = k.newest"
        )
        self._run(f"ANALYZE TABLE {self.market}.market_kline")

    def _fill_series(self, series: int, rows: int) -> None:
        kline = f"{self.market}.market_kline"
        stored = self._one(f"SELECT COUNT(*) FROM {kline} WHERE series_id = {series}")
        while stored < rows:
            batch, price = min(BATCH, rows - stored), f"50000 + (n * {series}) % 977"
            self._run(
                f"INSERT INTO {kline} (series_id, open_time, open, high, low, close, volume)"
                f" SELECT {series}, '2024-01-01' + INTERVAL n MINUTE, {price} + 0.5, {price} + 2, {price} - 1, {price},"
                f" n % 100 + 0.25 FROM (SELECT {stored} + n AS n FROM {self.market}.bench_numbers WHERE n < {batch}"
                " ORDER BY n) s"
            )
            stored += batch

    @property
    def _strategies(self) -> int:
        return len(self.strategies)

    def _stored_operations(self) -> int:
        return self._one(f"SELECT COALESCE(MAX(id), 0) FROM {self.books}.operations_operation")

    @staticmethod
    def _at(number: str, last: int) -> str:
        return f"(UTC_TIMESTAMP(6) - INTERVAL {NEWEST} + ({last} - LEAST({number}, {last})) * {STEP} SECOND)"

    @staticmethod
    def _ticker(number: str) -> str:
        names = ", ".join(f"'{name}'" for name in TICKERS)
        return f"ELT(1 + {number} % {len(TICKERS)}, {names})"

    @staticmethod
    def _of(ids: list[int], number: str = "n") -> str:
        return f"ELT(1 + {number} % {len(ids)}, {', '.join(map(str, ids))})"

    def _run(self, statement: str) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(statement)
        self.connection.commit()

    def _one(self, query: str) -> int:
        with self.connection.cursor() as cursor:
            cursor.execute(query)
            (found,) = cursor.fetchone()
        return int(found)
