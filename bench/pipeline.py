"""From an alarm to its order at the exchange, against the bare pipeline; both on the same two cores, in turn."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import pairwise
from statistics import median
from typing import Any, NamedTuple

from bench.groups import Spent
from bench.load import paced, post
from bench.measure import ROUNDS, Goal, Row, of_pairs, of_value, percentile
from bench.scene import BareSystem, BenchMariaDB, BenchSystem, alarm, schema_of, settle
from bench.servers import OwnRedis
from bench.stock import TICKERS
from exchange.snowflakes import made_at
from operations.states import CLOSED
from pelusa.livesystem import wait_until

IDLE_RATE = 4.0
FULL_RATE = 50.0
ARRIVES_WITHIN = 30.0
# Looking costs the database something, and the last orders are still on their way
BETWEEN_LOOKS = 0.25


@dataclass(frozen=True, slots=True)
class Lap:
    """Milliseconds from the writing of each alarm to the arrival of its order, and of the legs of its way.

    `missing` are those that nothing came of in time; `denied` those whose order was refused by ourselves, such as an
    entry that its own exit has overtaken because the system was behind.
    """

    milliseconds: list[float]
    missing: int
    denied: int = 0
    legs: list[dict[str, float]] = field(default_factory=list)
    # Processor milliseconds of an alarm, by process
    cost: dict[str, float] = field(default_factory=dict)

    def percentile(self, percent: float) -> float:
        return percentile(self.milliseconds, percent)


def lanes(tickers: int, strategy: str = "Bench") -> Iterator[bytes]:
    """Yield alarms that open and close on each of some tickers in turn."""
    while True:
        for order in ("order open long", "order close long"):
            for name in TICKERS[:tickers]:
                yield alarm(order, ticker=f"{name}USDT.P", strategy=strategy)


def whole_laps(rate: float, seconds: float, tickers: int) -> float:
    """Return about as many seconds, in which everything that is opened is closed again: the next lap begins flat."""
    alarms_of_a_lap = 2 * tickers
    return max(1, round(rate * seconds / alarms_of_a_lap)) * alarms_of_a_lap / rate


def run_bare(bare: BareSystem, *, rate: float, seconds: float, tickers: int) -> Lap:
    """Send alarms through the bare pipeline."""
    bare.arrivals()
    sent: list[float] = []
    requests = (post(bare.webhook, body) for body in lanes(tickers))
    seconds = whole_laps(rate, seconds, tickers)
    assert paced(bare.port, requests, rate=rate, seconds=seconds, sent=sent.append) == 0
    arrived: list[float] = []

    def is_whole() -> bool:
        arrived.extend(bare.arrivals())
        return len(arrived) >= len(sent)

    _wait(is_whole)
    # It keeps no order and need not: the n-th arrival against the n-th alarm flatters it, which is fair to a floor
    took = [(there - here) * 1000 for here, there in zip(sent, sorted(arrived), strict=False)]
    return Lap(took, len(sent) - len(arrived))


def run_pelusa(system: BenchSystem, mysql: BenchMariaDB, *, rate: float, seconds: float, tickers: int) -> Lap:
    """Send alarms through Pelusa; each order's exchange id tells the millisecond in which it came."""
    sent: list[float] = []
    books = mysql.connect(schema_of(system.env["DATABASE_URL"]))
    books.autocommit(True)
    first = _newest(books)
    posts = (post(system.webhook, body) for body in lanes(tickers))
    seconds = whole_laps(rate, seconds, tickers)
    assert paced(system.port, posts, rate=rate, seconds=seconds, sent=sent.append) == 0
    answers = _when_answered(books, first, len(sent))
    books.close()
    # One connection and one strategy an alarm: the n-th decision answers the n-th alarm
    pairs = [(each, at) for each, at in zip(answers, sent, strict=False) if each.exchange_order_id]
    took = [_came(each.exchange_order_id) - at * 1000 for each, at in pairs]
    behind = len(sent) - sum(each.has_ended for each in answers)
    denied = sum(each.status == "denied" for each in answers)
    return Lap(took, behind, denied, [each.legs(at) for each, at in pairs])


def _when_answered(books: Any, first: int, alarms: int) -> list["Answer"]:
    """Return what became of so many alarms, as soon as nothing of it is on its way, or after a while."""
    deadline = time.monotonic() + ARRIVES_WITHIN
    while True:
        answers = _answers(books, first)
        if sum(each.has_ended for each in answers) >= alarms or time.monotonic() > deadline:
            return answers
        time.sleep(BETWEEN_LOOKS)


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


class Answer(NamedTuple):
    """A decision with the order that came of it, and when it passed each milestone (UTC, without a zone)."""

    decision: int
    exchange_order_id: str
    status: str
    stored_at: datetime
    decided_at: datetime
    submitted_at: datetime

    @property
    def has_ended(self) -> bool:
        return self.status in CLOSED

    def legs(self, written: float) -> dict[str, float]:
        """Return the milliseconds of each leg of its way; `written` is when the alarm was, in seconds since 1970."""
        moments = [each.replace(tzinfo=UTC).timestamp() * 1000 for each in self[3:]]
        moments = [written * 1000, *moments, _came(self.exchange_order_id)]
        return {name: after - before for name, (before, after) in zip(LEGS, pairwise(moments), strict=True)}


LEGS = ("to stored", "to decided", "to submitted", "to the exchange")


def median_cost(laps: Sequence[Lap]) -> dict[str, float]:
    """Return the median of what each process spent on an alarm."""
    return {name: median(lap.cost[name] for lap in laps) for name in laps[0].cost}


def median_legs(laps: Sequence[Lap]) -> dict[str, float]:
    """Return the median of each leg over all orders of some laps."""
    legs = [legs for lap in laps for legs in lap.legs]
    return {name: round(median(each[name] for each in legs), 2) for name in LEGS} if legs else {}


def _answers(books: Any, after: int) -> list[Answer]:
    """Return newer decisions with their first orders, in the order of their alarms."""
    with books.cursor() as cursor:
        cursor.execute(
            "SELECT d.id, COALESCE(o.exchange_order_id, ''), COALESCE(o.status, 'denied'), d.alarm_received_at,"
            " d.created_at, o.submitted_at FROM operations_decision d"
            " LEFT JOIN operations_order o ON o.decision_id = d.id WHERE d.id > %s ORDER BY d.alarm_id, d.id, o.id",
            [after],
        )
        found: dict[int, Answer] = {}
        for row in cursor.fetchall():
            found.setdefault(row[0], Answer(*row))
        return list(found.values())


def measure(
    bare: BareSystem,
    system: BenchSystem,
    empty: BenchSystem,
    mysql: BenchMariaDB,
    broker: OwnRedis,
    *,
    idle_seconds: float,
    busy_seconds: float,
    stored: int,
) -> list[Row]:
    """Return the rows about the way from an alarm to its order."""
    idle = [_idle_round(bare, system, empty, mysql, idle_seconds) for _ in range(ROUNDS)]
    with empty.asleep():
        busy = [_busy_round(bare, system, mysql, broker, busy_seconds) for _ in range(ROUNDS)]
    missing = sum(lap.missing for lap in [s for _, s, _ in idle] + [s for _, s in busy])
    denied = sum(lap.denied for _, lap in busy)
    rows = [
        _row(
            "alarm to order, idle, p50",
            [(b.percentile(50), s.percentile(50)) for b, s, _ in idle],
            Goal(1.6),
            {"legs_ms": median_legs([s for _, s, _ in idle])},
        ),
        _row("the same against an empty table", [(e.percentile(50), s.percentile(50)) for _, s, e in idle], Goal(1.2)),
        _row(
            "at 50 alarms/s, p50, against idle",
            [(i[1].percentile(50), s.percentile(50)) for i, (_, s) in zip(idle, busy, strict=True)],
            Goal(1.3),
            {
                "processor_ms_an_alarm": median_cost([s for _, s in busy]),
                "processor_ms_an_alarm_of_the_bare_one": median_cost([b for b, _ in busy]),
                "legs_ms": median_legs([s for _, s in busy]),
            },
        ),
        _row(
            "at 50 alarms/s, p99, against the bare one's",
            [(b.percentile(99), s.percentile(99)) for b, s in busy],
            Goal(3),
        ),
        of_value("alarms left behind at the end", "alarms", missing, Goal(0), notes={"denied": denied}),
    ]
    return [replace(row, rows_stored=stored) for row in rows]


def _row(name: str, pairs: list[tuple[float, float]], goal: Goal, notes: dict[str, Any] | None = None) -> Row:
    return of_pairs(name, "ms", pairs, goal, notes=notes or {})


def _idle_round(
    bare: BareSystem, system: BenchSystem, empty: BenchSystem, mysql: BenchMariaDB, seconds: float
) -> tuple[Lap, Lap, Lap]:
    floor = run_bare(bare, rate=IDLE_RATE, seconds=seconds, tickers=1)
    settle()
    subject, nothing = (run_pelusa(each, mysql, rate=IDLE_RATE, seconds=seconds, tickers=1) for each in (system, empty))
    settle()
    return floor, subject, nothing


def _busy_round(
    bare: BareSystem, system: BenchSystem, mysql: BenchMariaDB, broker: OwnRedis, seconds: float
) -> tuple[Lap, Lap]:
    spent = Spent(bare.leaders(mysql, broker))
    floor = run_bare(bare, rate=FULL_RATE, seconds=seconds / 2, tickers=10)
    floor = replace(floor, cost=spent.milliseconds(len(floor.milliseconds)))
    settle()
    spent = Spent(system.leaders(mysql, broker))
    subject = run_pelusa(system, mysql, rate=FULL_RATE, seconds=seconds, tickers=10)
    # Fills, events and protection of the last orders are still being written
    time.sleep(3)
    return floor, replace(subject, cost=spent.milliseconds(len(subject.milliseconds)))


def spread_of_one_alarm(system: BenchSystem, mysql: BenchMariaDB, strategies: int) -> tuple[float, float]:
    """Send one alarm that ten strategies on ten accounts hear; return when its first and last order came, ms after it.

    The exchange stamps an order's id when it takes it in, before it waits to answer. All is closed again afterwards.
    """
    times = _hear(system, mysql, "order open long", strategies)
    _hear(system, mysql, "order close long", strategies)
    settle()
    return times[0], times[-1]


def _hear(system: BenchSystem, mysql: BenchMariaDB, order: str, strategies: int) -> list[float]:
    """Send an alarm to all of them and return when each order came, in milliseconds after it."""
    books = mysql.connect(schema_of(system.env["DATABASE_URL"]))
    books.autocommit(True)
    first, sent = _newest(books), list[float]()
    body = alarm(order, strategy="Crowd")
    paced(system.port, iter([post(system.webhook, body)]), rate=1, seconds=1, sent=sent.append)
    answers = _when_answered(books, first, strategies)
    books.close()
    times = sorted(_came(each.exchange_order_id) - sent[0] * 1000 for each in answers if each.exchange_order_id)
    assert len(times) == strategies, f"{len(times)} of {strategies} orders came of {order}"
    return times
