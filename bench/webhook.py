"""The webhook against a bare INSERT and COMMIT of the same row: one client, sixteen, sixty-four; without the broker."""

import itertools
import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import MySQLdb
from MySQLdb.connections import Connection

from bench.groups import Spent
from bench.load import Result, drive, post
from bench.measure import ROUNDS, Goal, Row, of_pairs, percentile
from bench.scene import BenchMariaDB, BenchSystem, alarm, schema_of, settle
from bench.servers import OwnRedis

PROCESSES = 2
DEADLOCK = 1213
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
    cursor, took = connection.cursor(), list[float]()
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


Round = dict[str, Result]
# In which order the ways are measured does not matter in the long run: it is turned round by round
RUNNING, WEB_ONLY, FLOOR = "everything running", "web alone", "floor"


def measure(system: BenchSystem, mysql: BenchMariaDB, broker: OwnRedis, *, stored: int, seconds: float) -> list[Row]:
    """Return the rows about the webhook.

    The goals are for a system with everything running, where worker and beat want the same two cores; beside them
    stand the figures of the web process alone, worker and beat put to sleep, which is what the intake itself costs.
    """
    intake = Intake(system, mysql, system.leaders(mysql, broker))
    rows: list[Row] = []
    for clients in (1, 16, 64):
        rounds = [intake.round(clients, seconds, number) for number in range(ROUNDS)]
        rows += _rows(clients, RUNNING, rounds)
        rows += _rows(clients, WEB_ONLY, rounds, intake.cost[clients])
    rows.append(intake.without_broker(broker, seconds))
    return [replace(row, rows_stored=stored) for row in rows]


class Intake:
    """Measures one way of taking alarms in after the other, each with nothing left over from the one before."""

    def __init__(self, system: BenchSystem, mysql: BenchMariaDB, leaders: dict[str, int]) -> None:
        self.system, self.mysql, self.leaders = system, mysql, leaders
        # Processor milliseconds of an answer, by process: the newest lap of each number of clients
        self.cost: dict[int, dict[str, float]] = {}
        self.schema = schema_of(system.env["ALARMS_DATABASE_URL"])

    def round(self, clients: int, seconds: float, number: int) -> Round:
        """Measure every way once."""
        ways = {
            FLOOR: lambda: floor(self.mysql, self.schema, clients=clients, seconds=seconds),
            RUNNING: lambda: self.drive(clients, seconds),
            WEB_ONLY: lambda: self.drive_web_alone(clients, seconds),
        }
        names = list(ways)
        turned = names[number % len(names) :] + names[: number % len(names)]
        return {name: self._then_rest(ways[name]) for name in turned}

    def drive(self, clients: int, seconds: float) -> Result:
        return drive(self.system.port, bodies(self.system), clients=clients, seconds=seconds)

    def drive_web_alone(self, clients: int, seconds: float) -> Result:
        with self.system.asleep("worker", "beat"):
            spent = Spent(self.leaders)
            result = self.drive(clients, seconds)
            self.cost[clients] = spent.milliseconds(len(result.milliseconds))
            self.rest()
        return result

    def without_broker(self, broker: OwnRedis, seconds: float) -> Row:
        """Compare the webhook while the broker stands still with itself."""
        pairs = [(self._p50(seconds), self._p50_without(broker, seconds)) for _ in range(ROUNDS)]
        return of_pairs("webhook, Redis stopped, p50", "ms", pairs, Goal(1.1))

    def _p50_without(self, broker: OwnRedis, seconds: float) -> float:
        assert broker.process
        broker.process.send_signal(signal.SIGSTOP)
        try:
            return self._p50(seconds)
        finally:
            broker.process.send_signal(signal.SIGCONT)
            settle()

    def _p50(self, seconds: float) -> float:
        return percentile(self._then_rest(lambda: self.drive(1, seconds)).milliseconds, 50)

    def _then_rest(self, way: Callable[[], Result]) -> Result:
        result = way()
        self.rest()
        settle()
        return result

    def rest(self) -> None:
        """Let nothing wait: routing the backlog would take the processor from whatever is measured next."""
        connection = self.mysql.connect(self.schema, autocommit=True)
        while not _ignore_what_waits(connection):
            settle()
        connection.close()


def _ignore_what_waits(connection: Connection) -> bool:
    """Tell whether it could be done: the worker may be at the same rows."""
    try:
        connection.cursor().execute("UPDATE alarms_alarm SET status = 'ignored' WHERE status = 'received'")
    except MySQLdb.OperationalError as error:
        if error.args[0] != DEADLOCK:
            raise
        return False
    return True


def _rows(clients: int, way: str, rounds: list[Round], cost: dict[str, float] | None = None) -> list[Row]:
    pairs = [(each[FLOOR], each[way]) for each in rounds]
    failed = sum(subject.failed for _, subject in pairs)
    notes: dict[str, Any] = {"failed": failed, "answers": sum(len(subject.milliseconds) for _, subject in pairs)}
    if cost:
        notes["processor_ms_an_answer"] = cost
    is_goal = way == RUNNING
    name = f"webhook, {clients} client{'s' if clients > 1 else ''}{'' if is_goal else ', web alone'}"
    if clients == 1:
        return [_row(f"{name}, p50", "ms", pairs, _p50, Goal(4) if is_goal else None, notes)]
    rate = Goal(0.2, is_most=False) if is_goal and clients == 16 else None
    return [
        _row(name, "answers/s", pairs, lambda each: each.rate, rate, notes),
        _row(f"{name}, p99", "ms", pairs, _p99, Goal(3) if is_goal else None, {}),
    ]


def _p50(result: Result) -> float:
    return percentile(result.milliseconds, 50)


def _p99(result: Result) -> float:
    return percentile(result.milliseconds, 99)


def _row(
    name: str,
    unit: str,
    pairs: list[tuple[Result, Result]],
    value: Callable[[Result], float],
    goal: Goal | None,
    notes: dict[str, Any],
) -> Row:
    return of_pairs(name, unit, [(value(below), value(above)) for below, above in pairs], goal, notes=notes)
