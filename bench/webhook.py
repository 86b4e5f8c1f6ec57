"""The webhook against a bare INSERT and COMMIT of the same row: one client, sixteen, sixty-four; without the broker."""

import itertools
import multiprocessing
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import MySQLdb

from bench.load import Result, drive, post
from bench.measure import ROUNDS, Goal, Row, of_pairs, percentile
from bench.scene import BenchMariaDB, BenchSystem, alarm, schema_of, settle
from bench.servers import OwnRedis

PROCESSES = 2
STATEMENT = (
    "INSERT INTO alarms_alarm (received_at, source_ip, raw, kind, action, leg, ticker, pair, is_perpetual_only,"
    " `interval`, strategy, quantity, price, alarm_time, status, reason, detail, delivery_key, attempts)"
    " VALUES (%s, '127.0.0.1', %s, 'order', 'open', 'long', 'BTCUSDT.P', 'BTCUSDT', 1, '5m', 'Bench', '0.01',"
    " '50000.5', %s, 'ignored', '', '', %s, 0)"
)


def insert_rows(port: int, schema: str, seconds: float, name: str) -> list[float]:
    """Insert and commit rows over one connection for `seconds`; return the milliseconds of each."""
    connection = MySQLdb.connect(host="127.0.0.1", port=port, user="root", database=schema, charset="utf8mb4")
    connection.autocommit(True)
    cursor, took = connection.cursor(), []
    deadline = time.perf_counter() + seconds
    for number in itertools.count():
        began = time.perf_counter()
        if began > deadline:
            return took
        now = datetime.now(UTC).replace(tzinfo=None)
        cursor.execute(STATEMENT, (now, alarm(), now, f"{name}-{number}"))
        took.append((time.perf_counter() - began) * 1000)
    raise AssertionError("unreachable")


def _insert_in_threads(
    port: int, schema: str, seconds: float, threads: int, queue: "multiprocessing.Queue[Result]"
) -> None:
    result, lock, began = Result(), threading.Lock(), time.perf_counter()

    def insert(number: int) -> None:
        took = insert_rows(port, schema, seconds, f"{time.time_ns()}-{number}")
        with lock:
            result.milliseconds += took

    each = [threading.Thread(target=insert, args=(number,)) for number in range(threads)]
    for thread in each:
        thread.start()
    for thread in each:
        thread.join()
    result.seconds = time.perf_counter() - began
    queue.put(result)


def floor(mysql: BenchMariaDB, schema: str, *, clients: int, seconds: float) -> Result:
    """Insert over `clients` connections, from two processes where there are more than one."""
    processes = min(PROCESSES, clients)
    context = multiprocessing.get_context("spawn")
    queue: multiprocessing.Queue[Result] = context.Queue()
    each = [
        context.Process(target=_insert_in_threads, args=(mysql.port, schema, seconds, clients // processes, queue))
        for _ in range(processes)
    ]
    for process in each:
        process.start()
    results = [queue.get() for _ in each]
    for process in each:
        process.join()
    return Result([ms for result in results for ms in result.milliseconds], max(result.seconds for result in results))


def bodies(system: BenchSystem) -> Iterator[bytes]:
    """Yield requests with alarms that no strategy listens to: what is measured is taking them in."""
    while True:
        yield post(system.webhook, alarm(strategy="Nobody"))


def measure(system: BenchSystem, mysql: BenchMariaDB, broker: OwnRedis, *, stored: int, seconds: float) -> list[Row]:
    """Return the rows about the webhook."""
    schema = schema_of(system.env["ALARMS_DATABASE_URL"])
    rows: list[Row] = []
    for clients in (1, 16, 64):
        pairs = [_round(system, mysql, schema, clients, seconds, number % 2 == 0) for number in range(ROUNDS)]
        rows += _rows(clients, pairs)
    rows.append(_without_broker(system, broker, seconds))
    return [replace(row, rows_stored=stored) for row in rows]


def _round(
    system: BenchSystem, mysql: BenchMariaDB, schema: str, clients: int, seconds: float, floor_first: bool
) -> tuple[Result, Result]:
    ways = [
        lambda: floor(mysql, schema, clients=clients, seconds=seconds),
        lambda: drive(system.port, bodies(system), clients=clients, seconds=seconds),
    ]
    results = []
    for way in ways if floor_first else reversed(ways):
        results.append(way())
        settle()
    return (results[0], results[1]) if floor_first else (results[1], results[0])


def _rows(clients: int, pairs: list[tuple[Result, Result]]) -> list[Row]:
    failed = sum(subject.failed for _, subject in pairs)
    notes = {"failed": failed, "answers": sum(len(subject.milliseconds) for _, subject in pairs)}
    if clients == 1:
        return [
            _of("webhook, 1 client, p50", "ms", pairs, lambda each: percentile(each.milliseconds, 50), Goal(4), notes)
        ]
    goal = Goal(0.2, is_most=False) if clients == 16 else None
    return [
        _of(f"webhook, {clients} clients", "answers/s", pairs, lambda each: each.rate, goal, notes),
        _of(
            f"webhook, {clients} clients, p99",
            "ms",
            pairs,
            lambda each: percentile(each.milliseconds, 99),
            Goal(3),
            notes,
        ),
    ]


def _of(name, unit, pairs, value, goal, notes):
    return of_pairs(name, unit, [(value(below), value(above)) for below, above in pairs], goal, notes=notes)


def _without_broker(system: BenchSystem, broker: OwnRedis, seconds: float) -> Row:
    def p50() -> float:
        return percentile(drive(system.port, bodies(system), clients=1, seconds=seconds).milliseconds, 50)

    pairs = []
    for _ in range(ROUNDS):
        with_it = p50()
        assert broker.process
        broker.process.send_signal(signal.SIGSTOP)
        without_it = p50()
        broker.process.send_signal(signal.SIGCONT)
        settle()
        pairs.append((with_it, without_it))
    return of_pairs("webhook, Redis stopped, p50", "ms", pairs, Goal(1.1))
