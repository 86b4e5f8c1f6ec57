"""R01 to R04: what the webhook answered is true, in time, with the right status, and once."""

import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path

import MySQLdb
import pytest
from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
)
from django.test import Client

from alarms import intake
from alarms.models import Alarm
from bench.faultproxy import Line
from pelusa.testing import DATABASES, alarm_body
from pelusa.tests.experiments.rig import (
    NEVER_SENT,
    TIMEOUT,
    TRADINGVIEW_SECONDS,
    Rig,
    frozen,
    running_rig,
    scaled,
)

# Half a second less than TradingView's patience, for the way there and back
ANSWERED_SECONDS = TRADINGVIEW_SECONDS - 0.5
SECRET = "a-secret-of-the-tests-0123456789"


@pytest.fixture(scope="module")
def system(template: Path) -> Iterator[Rig]:
    with running_rig(template, "alarms") as rig:
        yield rig


@pytest.fixture
def rig(system: Rig) -> Rig:
    system.start_over()
    return system


def on_servers(test: Callable[..., None]) -> Callable[..., None]:
    for mark in (pytest.mark.servers, pytest.mark.timeout(TIMEOUT), pytest.mark.xdist_group("r01")):
        test = mark(test)
    return test


def post_times(rig: Rig, count: int) -> list[float]:
    """Post one alarm after the other and return the seconds that each took."""
    sender = rig.tradingview()
    for body in rig.round_trips(0, count):
        sender.send(body)
    return sender.seconds


@on_servers
def test_r01_every_200_is_stored_although_database_and_web_are_killed(rig: Rig) -> None:
    with rig.trading(scaled(100), rate=20) as sender:
        for number in range(scaled(3)):
            time.sleep(rig.dice.uniform(0.3, 0.8))
            rig.kill_child("web") if number % 3 else rig.kill("web")
            time.sleep(rig.dice.uniform(0.3, 0.8))
            rig.mysql.restart(down=rig.dice.uniform(0.0, 0.5))
    assert len(sender.acknowledged) > scaled(100) / 2, "most must get through, or nothing was tried"
    rig.judge_all(sender, missed=NEVER_SENT)


@on_servers
def test_r02_a_burst_at_the_close_of_a_bar_is_answered_within_tradingviews_time(rig: Rig) -> None:
    bodies = [
        rig.alarm("indicator open long", lane, interval="60") for _ in range(scaled(120) // 8) for lane in range(8)
    ]
    sender = rig.tradingview()
    with ThreadPoolExecutor(16) as clients:
        taken = list(clients.map(sender.send, bodies))
    assert all(taken)
    assert sender.statuses == {200: len(bodies)}
    tell(sender.seconds)
    assert max(sender.seconds) < ANSWERED_SECONDS


def tell(seconds: list[float]) -> None:
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    print(f"median {cuts[49] * 1000:.0f} ms, p99 {cuts[98] * 1000:.0f} ms, longest {max(seconds) * 1000:.0f} ms")


@on_servers
def test_r02_a_frozen_broker_delays_no_answer(rig: Rig) -> None:
    before = statistics.median(post_times(rig, scaled(20)))
    assert rig.broker.process
    with frozen(rig.broker.process.pid):
        during = statistics.median(post_times(rig, scaled(20)))
    print(f"median {before * 1000:.1f} ms, with a frozen broker {during * 1000:.1f} ms")
    assert during < before + 0.05


@on_servers
def test_r02_a_frozen_database_is_answered_503_before_tradingview_gives_up(rig: Rig) -> None:
    bodies, sender = rig.round_trips(0, 8), rig.tradingview()
    assert rig.mysql.process
    with frozen(rig.mysql.process.pid), ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda body: sender.post(body)[0], bodies))
    assert answers == [503] * len(bodies), "504 is no answer within 3 s"
    tell(sender.seconds)
    assert max(sender.seconds) < ANSWERED_SECONDS
    assert all(sender.send(body) for body in bodies)
    rig.judge(sender)


CODES: list[tuple[type[DatabaseError], int]] = [
    *(
        (OperationalError, code)
        for code in (
            *(1020, 1021, 1030, 1038, 1040, 1041, 1053, 1105, 1114, 1129, 1135, 1158, 1159, 1160, 1161, 1180, 1203),
            *(1205, 1206, 1213, 1226, 1290, 1317, 1836, 1927, 1969, 2002, 2003, 2006, 2013, 2055, 3024, 3168, 3572),
        )
    ),
    (InterfaceError, 0),
    (InternalError, 1105),
    (ProgrammingError, 1146),
    (DataError, 1264),
    (IntegrityError, 1048),
    (NotSupportedError, 1235),
]


@pytest.mark.django_db(databases=DATABASES)
@pytest.mark.parametrize(("kind", "code"), CODES, ids=[f"{kind.__name__}-{code}" for kind, code in CODES])
def test_r03_whatever_our_database_says_the_sender_is_told_to_send_again(
    client: Client, monkeypatch: pytest.MonkeyPatch, settings: object, kind: type[DatabaseError], code: int
) -> None:
    """Deadlock, lock wait, full disk, killed, shutting down, too many connections, commit unknown, ...: 503 only."""

    def fail(alarm: Alarm) -> None:
        raise kind(code, "as the server says it")

    settings.WEBHOOK_SECRETS = [SECRET]  # type: ignore[attr-defined]
    monkeypatch.setattr(intake, "_store_once", fail)
    answer = client.post(f"/webhook/{SECRET}", data=alarm_body(), content_type="text/plain")
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "not_stored"


@contextmanager
def said(rig: Rig, words: str, afterwards: str) -> Iterator[None]:
    """Have the server do one thing for the length of the block, and another after it."""
    with closing(_connect(rig)) as connection:
        connection.cursor().execute(words)
        try:
            yield
        finally:
            connection.cursor().execute(afterwards)


@contextmanager
def no_connection_left(rig: Rig) -> Iterator[None]:
    """Reset the web process's connections and take every one that the server gives."""
    held: list[MySQLdb.Connection] = []
    with said(rig, "SET GLOBAL max_connections = 10", "SET GLOBAL max_connections = 151"):
        with line(rig, Line.RESET):
            pass
        with suppress(MySQLdb.OperationalError):
            while True:
                held.append(_connect(rig))
        try:
            yield
        finally:
            for connection in held:
                connection.close()


@contextmanager
def line(rig: Rig, state: Line) -> Iterator[None]:
    rig.lines["alarms"].turn(state)
    try:
        yield
    finally:
        rig.lines["alarms"].turn(Line.OPEN)


def _connect(rig: Rig) -> MySQLdb.Connection:
    return MySQLdb.connect(host="127.0.0.1", port=rig.mysql.port, user="root", database=rig.system.schemas["alarms"])


FAULTS: dict[str, Callable[[Rig], AbstractContextManager[None]]] = {
    "nobody listens": lambda rig: line(rig, Line.CLOSED),
    "connections are reset": lambda rig: line(rig, Line.RESET),
    "not one byte passes": lambda rig: line(rig, Line.FROZEN),
    "the table is locked": lambda rig: said(rig, "LOCK TABLES alarms_alarm WRITE", "UNLOCK TABLES"),
    "the table is missing": lambda rig: said(
        rig, "RENAME TABLE alarms_alarm TO elsewhere", "RENAME TABLE elsewhere TO alarms_alarm"
    ),
    "too many connections": no_connection_left,
}


@on_servers
def test_r03_a_real_fault_of_the_database_is_503_and_the_resend_is_taken(rig: Rig) -> None:
    sender, answers = rig.tradingview(), {}
    for name, fault in FAULTS.items():
        [body] = rig.round_trips(0, 1)
        with fault(rig):
            answers[name] = sender.post(body)[0]
        assert sender.send(body), name
    assert answers == dict.fromkeys(FAULTS, 503)
    tell(sender.seconds)
    assert max(sender.seconds) < ANSWERED_SECONDS


@on_servers
def test_r04_one_body_posted_fifty_times_at_once_is_one_alarm(rig: Rig) -> None:
    sender = rig.tradingview()
    bodies = [rig.alarm("order open long", lane % 8) for lane in range(scaled(6))]
    with ThreadPoolExecutor(25) as clients:
        ids = [set(clients.map(sender.send, [body] * 50)) for body in bodies]
    assert sender.statuses == {200: 50 * len(bodies)}
    assert [len(each) for each in ids] == [1] * len(bodies)
    stored = Counter(alarm["status"] == "duplicate" for alarm in rig.witness.ask("alarms"))
    assert stored == {False: len(bodies), True: 49 * len(bodies)}
    rig.judge(sender)


@on_servers
def test_r04_both_legs_of_a_reversal_in_one_second_are_kept(system: Rig) -> None:
    system.start_over(legs=("long", "short"))
    sender, pairs = system.tradingview(), []
    for number in range(scaled(8)):
        opened = system.alarm("order open long", number % 8)
        second = system.alarm("order close long", number % 8)
        pairs += [opened, second, second.replace(b"close long", b"open short"), second, opened]
    for body in pairs:
        assert sender.send(body)
    assert len(set(sender.acknowledged.values())) == len(pairs) * 3 // 5
    system.judge(sender)
