"""The books in memory, and in a SQLite file when one is given: what was answered survives `kill -9`."""

from __future__ import annotations

import json
import sqlite3
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from exchange.paper.books import RECORDS, SNOWFLAKE_EPOCH_MS, Account, Fill, Income, Order, Pin, Position, Record
from exchange.types import Market

# An id may be drawn a moment before its record's time is.
SLACK_MS = 1_000
SCHEMA = "CREATE TABLE IF NOT EXISTS records (kind TEXT, id TEXT, body TEXT, PRIMARY KEY (kind, id)) WITHOUT ROWID"


Kept = TypeVar("Kept", bound=Record)


def made_since(records: Sequence[Kept], begin_ms: int) -> Sequence[Kept]:
    """Return the end of a list of records that no record of an earlier moment is in, without reading the beginning.

    Ids rise whatever the clock does, and no record is of a later time than its id.
    """
    first = (begin_ms - SLACK_MS - SNOWFLAKE_EPOCH_MS) << 22
    return records[bisect_left(records, first, key=lambda each: int(each.row_key)) :]


class Ledger:
    """All records, indexed for what the endpoints ask.

    Change a record, `touch` it, and `commit` before answering.
    """

    def __init__(self, path: str | None, clock_ms: Callable[[], int]) -> None:
        self._clock_ms = clock_ms
        self._last_id = 0
        self._touched: dict[tuple[str, str], Record] = {}
        self._file = self._open(path) if path else None
        self._clear()
        if self._file:
            self._load()

    def _clear(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.live: dict[str, dict[int, Position]] = defaultdict(dict)
        self.flat: dict[str, dict[int, Position]] = defaultdict(dict)
        self.orders: dict[int, Order] = {}
        self.orders_of: dict[str, list[Order]] = defaultdict(list)
        self.open_orders: dict[str, dict[int, Order]] = defaultdict(dict)
        self.by_client_id: dict[tuple[str, Market, str], list[Order]] = defaultdict(list)
        self.fills_of: dict[str, list[Fill]] = defaultdict(list)
        self.fills_of_order: dict[int, list[Fill]] = defaultdict(list)
        self.incomes_of: dict[str, list[Income]] = defaultdict(list)
        self.pins: dict[str, Pin] = {}

    @staticmethod
    def _open(path: str) -> sqlite3.Connection:
        file = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        file.execute("PRAGMA journal_mode=WAL")
        file.execute("PRAGMA synchronous=NORMAL")
        file.execute(SCHEMA)
        return file

    def _load(self) -> None:
        assert self._file is not None
        for kind in RECORDS:
            rows = self._file.execute("SELECT body FROM records WHERE kind = ? ORDER BY id", (kind.table,))
            for (body,) in rows:
                self._index(kind.thaw(json.loads(body)))

    def _index(self, record: Record) -> None:
        match record:
            case Account():
                self.accounts[record.key] = record
            case Position():
                self._sort_in(record)
                self._last_id = max(self._last_id, record.position_id)
            case Order():
                self._index_order(record)
            case Fill():
                self.fills_of[record.account].append(record)
                self.fills_of_order[record.order_id].append(record)
                self._last_id = max(self._last_id, record.trade_id)
            case Income():
                self.incomes_of[record.account].append(record)
                self._last_id = max(self._last_id, record.income_id)
            case Pin():
                self.pins[record.symbol] = record

    def _index_order(self, order: Order) -> None:
        self.orders[order.order_id] = order
        self.orders_of[order.account].append(order)
        self._last_id = max(self._last_id, order.order_id)
        self._sort_in(order)
        if order.client_order_id:
            self.by_client_id[order.account, order.market, order.client_order_id].append(order)

    def _sort_in(self, record: Record) -> None:
        if isinstance(record, Order):
            if record.is_open:
                self.open_orders[record.account][record.order_id] = record
            else:
                self.open_orders[record.account].pop(record.order_id, None)
        elif isinstance(record, Position):
            home, other = (self.live, self.flat) if record.quantity else (self.flat, self.live)
            other[record.account].pop(record.position_id, None)
            home[record.account][record.position_id] = record

    def new_id(self) -> int:
        """Return the next id; its upper bits are the creation time, as in BingX's own ids."""
        self._last_id = max(self._last_id + 1, (self._clock_ms() - SNOWFLAKE_EPOCH_MS) << 22)
        return self._last_id

    def add(self, record: Record) -> None:
        self._index(record)
        self.touch(record)

    def touch(self, record: Record) -> None:
        """Say that a record changed; it is stored with the next commit."""
        self._touched[record.table, record.row_key] = record
        self._sort_in(record)

    def commit(self) -> None:
        """Store every touched record in one transaction."""
        if self._touched and self._file:
            rows = [
                (kind, key, json.dumps(record.freeze(), default=str)) for (kind, key), record in self._touched.items()
            ]
            self._file.execute("BEGIN")
            self._file.executemany("INSERT OR REPLACE INTO records VALUES (?, ?, ?)", rows)
            self._file.execute("COMMIT")
        self._touched.clear()

    def reset(self) -> None:
        """Forget everything, accounts and pins too."""
        self._clear()
        self._touched.clear()
        if self._file:
            self._file.execute("DELETE FROM records")

    def close(self) -> None:
        if self._file:
            self._file.close()

    def live_position(self, account: str, market: Market, symbol: str, side: str) -> Position | None:
        return next((each for each in self.live_positions(account, market, symbol) if each.side == side), None)

    def live_positions(self, account: str, market: Market, symbol: str | None = None) -> list[Position]:
        return [each for each in self.live[account].values() if each.market == market and symbol in (None, each.symbol)]

    def open_orders_of(self, account: str, market: Market, symbol: str | None = None) -> list[Order]:
        return [
            each
            for each in self.open_orders[account].values()
            if each.market == market and symbol in (None, each.symbol)
        ]

    def find_order(self, account: str, market: Market, order_id: int | None, client_id: str) -> Order | None:
        """Look an order up by its id, else by the newest use of a client id."""
        if order_id is not None:
            order = self.orders.get(order_id)
            return order if order and order.account == account and order.market == market else None
        found: Iterable[Order] = self.by_client_id.get((account, market, client_id), [])
        return next(iter(reversed(list(found))), None)
