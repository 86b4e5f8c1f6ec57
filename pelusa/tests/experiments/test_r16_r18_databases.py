"""R16, R17 and R18: databases that die, freeze, refuse or cut the line at the worst moment cost time and no order."""

import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import MySQLdb
import MySQLdb.cursors
import pytest

from bench.faultproxy import Line
from pelusa.livesystem import DATABASES
from pelusa.tests.experiments.rig import NEVER_SENT, TIMEOUT, Rig, frozen, running_rig, scaled

pytestmark = [pytest.mark.servers, pytest.mark.timeout(TIMEOUT), pytest.mark.xdist_group("r16")]

# A statement as the client's library sends it: one byte for "query", then the words
COMMIT = b"\x03COMMIT"
INSERT_ALARM = b"INSERT INTO `alarms_alarm`"


@pytest.fixture(scope="module")
def system(template: Path) -> Iterator[Rig]:
    with running_rig(template, *DATABASES) as rig:
        yield rig


@pytest.fixture
def rig(system: Rig) -> Rig:
    system.start_over()
    return system


def processes(rig: Rig) -> dict[str, int]:
    return {name: pid for name, pid in rig.supervisor.pids().items() if name != "beat"}


def test_r16_a_database_that_is_killed_frozen_and_full_needs_nobody_to_restart_a_process(rig: Rig) -> None:
    before = processes(rig)
    with rig.trading(scaled(64), rate=10, pause=2.0) as sender:
        for _ in range(scaled(2)):
            time.sleep(rig.dice.uniform(0.3, 0.8))
            rig.mysql.restart(down=rig.dice.uniform(0.0, 0.5))
        assert rig.mysql.process
        with frozen(rig.mysql.process.pid):
            time.sleep(3)
        take_every_connection(rig, 1.5)
    rig.judge_all(sender, missed=NEVER_SENT)
    assert processes(rig) == before, "no process had to be started again"


def take_every_connection(rig: Rig, seconds: float) -> None:
    """Leave the processes without a connection, and let them have few for a while."""
    with closing(connect(rig)) as connection:
        cursor = connection.cursor()
        cursor.execute("SET GLOBAL max_connections = 10")
        try:
            kill_connections(cursor)
            time.sleep(seconds)
        finally:
            cursor.execute("SET GLOBAL max_connections = 151")


def test_r16_connections_killed_inside_transactions_leave_nothing_half_done(rig: Rig) -> None:
    with rig.trading(scaled(48), rate=12, pause=0.5) as sender, closing(connect(rig)) as connection:
        for _ in range(scaled(20)):
            time.sleep(rig.dice.uniform(0.05, 0.3))
            kill_connections(connection.cursor())
    rig.judge_all(sender, missed=NEVER_SENT)


def test_r16_a_storm_of_deadlocks_is_ridden_out(rig: Rig) -> None:
    with rig.trading(scaled(48), rate=12, pause=0.5) as sender, closing(connect(rig)) as connection:
        cursor = connection.cursor()
        for _ in range(scaled(25)):
            lock_backwards(cursor, rig.system.schemas["default"], hold=rig.dice.uniform(0.05, 0.15))
        cursor.execute("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'")
        [(_, deadlocks)] = cursor.fetchall()
    print(f"{deadlocks} deadlocks")
    assert int(deadlocks) > 0, "nobody stood in anybody's way"
    rig.judge_all(sender)


def lock_backwards(cursor: MySQLdb.cursors.Cursor, schema: str, *, hold: float) -> None:
    """Take the locks of a claim in the opposite order: lanes first, then accounts."""
    cursor.execute("BEGIN")
    try:
        cursor.execute(f"SELECT id FROM `{schema}`.operations_lane FOR UPDATE")
        time.sleep(hold)
        cursor.execute(f"SELECT id FROM `{schema}`.exchange_account FOR UPDATE")
    except MySQLdb.OperationalError:
        # Of two that wait for each other either may be sent away
        pass
    cursor.execute("ROLLBACK")


def kill_connections(cursor: MySQLdb.cursors.Cursor) -> None:
    """Have the server end every connection but the one that asks."""
    cursor.execute("SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND user = 'root'")
    for (number,) in cursor.fetchall():
        # One that has ended by itself meanwhile is none
        with suppress(MySQLdb.OperationalError):
            cursor.execute(f"KILL {number}")


def connect(rig: Rig) -> MySQLdb.Connection:
    return MySQLdb.connect(host="127.0.0.1", port=rig.mysql.port, user="root")


@pytest.mark.parametrize("before", [True, False], ids=["before-the-server-hears-it", "when-the-server-has-done-it"])
def test_r17_a_commit_of_unknown_outcome_loses_and_doubles_nothing(rig: Rig, before: bool) -> None:
    rig.lines["default"].cut_at(COMMIT, before=before, times=scaled(12))
    # A webhook's insert is its own commit
    rig.lines["alarms"].cut_at(INSERT_ALARM, before=before, times=scaled(6))
    with rig.trading(scaled(40), rate=12, pause=0.3) as sender:
        time.sleep(1)
        rig.lines["alarms"].cut_at(COMMIT, before=before, times=scaled(6))
    assert rig.lines["default"].cuts >= scaled(12)
    assert rig.lines["alarms"].cuts >= 1
    rig.judge_all(sender, missed=NEVER_SENT)


@pytest.mark.parametrize("away", DATABASES)
def test_r18_with_one_of_three_databases_away_no_row_is_orphaned(rig: Rig, away: str) -> None:
    with rig.trading(scaled(32), rate=10, pause=1.5) as sender:
        time.sleep(rig.dice.uniform(0.3, 0.8))
        rig.lines[away].turn(Line.CLOSED)
        time.sleep(scaled(3))
        rig.lines[away].turn(Line.OPEN)
    if away != "alarms":
        assert set(sender.statuses) == {200}, "only the database of the alarms is needed to take one"
    rig.judge_all(sender, missed=NEVER_SENT)
