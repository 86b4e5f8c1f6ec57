"""From an alarm to its order at the exchange, against the bare pipeline; both on the same two cores, in turn."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from bench.load import paced, post
from bench.measure import ROUNDS, Goal, Row, of_pairs, percentile
from bench.scene import BareSystem, BenchMariaDB, BenchSystem, alarm, schema_of, settle
from bench.stock import TICKERS
from exchange.snowflakes import made_at
from pelusa.livesystem import wait_until

IDLE_RATE = 4.0
FULL_RATE = 50.0
ARRIVES_WITHIN = 60.0


@dataclass(frozen=True, slots=True)
class Lap:
    """Milliseconds from the writing of each alarm to the arrival of its order, and how many never came."""

    milliseconds: list[float]
    missing: int

    def percentile(self, percent: float) -> float:
        return percentile(self.milliseconds, percent)


def lanes(tickers: int, strategy: str = "Bench") -> Iterator[bytes]:
    """Yield alarms that open and close on each of some tickers in turn."""
    while True:
        for order in ("order open long", "order close long"):
            for name in TICKERS[:tickers]:
                yield alarm(order, ticker=f"{name}USDT.P", strategy=strategy)


def run_bare(bare: BareSystem, *, rate: float, seconds: float, tickers: int) -> Lap:
    """Send alarms through the bare pipeline."""
    bare.arrivals()
    sent: list[float] = []
    requests = (post(bare.webhook, body) for body in lanes(tickers))
    paced(bare.port, requests, rate=rate, seconds=seconds, sent=sent.append)
    arrived: list[float] = []

    def is_whole() -> bool:
        arrived.extend(bare.arrivals())
        return len(arrived) >= len(sent)

    _wait(is_whole)
    # It keeps no order and need not: the n-th arrival against the n-th alarm flatters it, which is fair to a floor
    took = [(there - here) * 1000 for here, there in zip(sent, sorted(arrived), strict=False)]
    return Lap(took, len(sent) - len(arrived))


def run_pelusa(
    system: BenchSystem, mysql: BenchMariaDB, requests: Callable[[], Iterator[bytes]], *, rate: float, seconds: float
) -> Lap:
    """Send alarms through Pelusa; each order's exchange id tells the millisecond in which it came."""
    sent: list[float] = []
    books = mysql.connect(schema_of(system.env["DATABASE_URL"]))
    books.autocommit(True)
    first = _newest(books)
    posts = (post(system.webhook, body) for body in requests())
    assert paced(system.port, posts, rate=rate, seconds=seconds, sent=sent.append) == 0
    _wait(lambda: len(_orders(books, first)) >= len(sent))
    orders = _orders(books, first)
    books.close()
    took = [_came(order) - at * 1000 for order, at in zip(orders, sent, strict=False)]
    return Lap(took, len(sent) - len(orders))


def _wait(is_whole: Callable[[], bool]) -> None:
    try:
        wait_until(is_whole, seconds=ARRIVES_WITHIN)
    except AssertionError:
        return


def _came(exchange_order_id: str) -> float:
    """Return when the exchange took an order in, in milliseconds since 1970."""
    moment = made_at(exchange_order_id)
    assert moment, f"{exchange_order_id} holds no time"
    return moment.timestamp() * 1000


def _newest(books: Any) -> int:
    with books.cursor() as cursor:
        cursor.execute("SELECT COALESCE(MAX(id), 0) FROM operations_decision")
        return int(cursor.fetchone()[0])


def _orders(books: Any, after: int) -> list[str]:
    """Return the exchange's ids of the orders of newer decisions, in the order of their alarms."""
    with books.cursor() as cursor:
        cursor.execute(
            "SELECT o.exchange_order_id FROM operations_decision d JOIN operations_order o ON o.decision_id = d.id"
            " WHERE d.id > %s AND o.exchange_order_id <> '' ORDER BY d.alarm_id",
            [after],
        )
        return [str(found) for (found,) in cursor.fetchall()]


def measure(
    bare: BareSystem, system: BenchSystem, empty: BenchSystem, mysql: BenchMariaDB, *, seconds: float, stored: int
) -> list[Row]:
    """Return the rows about the way from an alarm to its order."""
    idle = [_idle_round(bare, system, empty, mysql, seconds / 5) for _ in range(ROUNDS)]
    busy = [_busy_round(bare, system, mysql, seconds) for _ in range(ROUNDS)]
    rows = [
        _row("alarm to order, idle, p50", [(b.percentile(50), s.percentile(50)) for b, s, _ in idle], Goal(1.6)),
        _row("the same against an empty table", [(e.percentile(50), s.percentile(50)) for _, s, e in idle], Goal(1.2)),
        _row(
            "at 50 alarms/s, p50, against idle",
            [(i[1].percentile(50), s.percentile(50)) for i, (_, s) in zip(idle, busy, strict=True)],
            Goal(1.3),
        ),
        _row(
            "at 50 alarms/s, p99, against the bare one's",
            [(b.percentile(99), s.percentile(99)) for b, s in busy],
            Goal(3),
        ),
    ]
    missing = sum(lap.missing for _, lap in busy)
    return [replace(row, rows_stored=stored, notes={"left behind": missing}) for row in rows]


def _row(name: str, pairs: list[tuple[float, float]], goal: Goal) -> Row:
    return of_pairs(name, "ms", pairs, goal)


def _idle_round(
    bare: BareSystem, system: BenchSystem, empty: BenchSystem, mysql: BenchMariaDB, seconds: float
) -> tuple[Lap, Lap, Lap]:
    floor = run_bare(bare, rate=IDLE_RATE, seconds=seconds, tickers=1)
    settle()
    subject, nothing = (
        run_pelusa(each, mysql, lambda: lanes(1), rate=IDLE_RATE, seconds=seconds) for each in (system, empty)
    )
    settle()
    return floor, subject, nothing


def _busy_round(bare: BareSystem, system: BenchSystem, mysql: BenchMariaDB, seconds: float) -> tuple[Lap, Lap]:
    floor = run_bare(bare, rate=FULL_RATE, seconds=seconds, tickers=10)
    settle()
    subject = run_pelusa(system, mysql, lambda: lanes(10), rate=FULL_RATE, seconds=seconds)
    time.sleep(3)
    return floor, subject


def spread_of_one_alarm(system: BenchSystem, mysql: BenchMariaDB, strategies: int) -> tuple[float, float]:
    """Send one alarm that ten strategies on ten accounts hear; return when its first and last order came, ms after it.

    The exchange stamps an order's id when it takes it in, before it waits to answer.
    """
    books = mysql.connect(schema_of(system.env["DATABASE_URL"]))
    books.autocommit(True)
    first, sent = _newest(books), []
    paced(system.port, iter([post(system.webhook, alarm(strategy="Crowd"))]), rate=1, seconds=1, sent=sent.append)
    wait_until(lambda: len(_orders(books, first)) >= strategies, seconds=ARRIVES_WITHIN)
    times = sorted(_came(order) - sent[0] * 1000 for order in _orders(books, first))
    books.close()
    return times[0], times[-1]
