"""The doctor on real servers: sessions and schemas that were set wrongly, Redis elsewhere, processes that hang."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.db import connections

from pelusa.doctor import databases
from pelusa.doctor.findings import Level
from pelusa.livesystem import free_port
from pelusa.supervisor import Supervisor
from pelusa.testing import DATABASES, LiveSystem, wait_until
from pelusa.tests import planting
from pelusa.tests.planting import words

pytestmark = [pytest.mark.servers, pytest.mark.timeout(240)]

SCRATCH = "pelusa-doctor-scratch"


@pytest.fixture
def server() -> Iterator[None]:
    if connections["default"].vendor != "mysql":
        pytest.skip("SQLite has no sessions")
    yield
    connections["default"].close()


@pytest.fixture
def scratch(server: None, django_db_blocker: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A schema beside ours, in a character set of old, that the doctor takes for `default`."""
    handler = planting.elsewhere(NAME=SCRATCH)
    with django_db_blocker.unblock():
        bare = planting.elsewhere(NAME="")
        with bare["default"].cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS `{SCRATCH}`")
            cursor.execute(f"CREATE DATABASE `{SCRATCH}` CHARACTER SET latin1")
        monkeypatch.setattr(databases, "connections", handler)
        try:
            yield handler["default"]
        finally:
            handler.close_all()
            with bare["default"].cursor() as cursor:
                cursor.execute(f"DROP DATABASE `{SCRATCH}`")
            bare.close_all()


@pytest.mark.django_db(databases=DATABASES)
def test_the_databases_that_we_configured_are_well(server: None) -> None:
    found = databases.examine_databases()
    assert {each.level for each in found} == {Level.OK}, found
    assert len([each for each in found if each.word == "database_settings"]) == 3


@pytest.mark.django_db(databases=DATABASES)
@pytest.mark.parametrize(
    ("statement", "level", "word"),
    [
        ("SET SESSION sql_mode = ''", "danger", "not_strict"),
        ("SET SESSION sql_mode = 'NO_ZERO_DATE'", "danger", "not_strict"),
        ("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ", "danger", "wrong_isolation"),
        ("SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE", "danger", "wrong_isolation"),
        ("SET NAMES latin1", "danger", "wrong_charset"),
        ("SET NAMES utf8mb3", "danger", "wrong_charset"),
        ("SET SESSION time_zone = '-05:00'", "advice", "wrong_time_zone"),
        ("SET SESSION timestamp = UNIX_TIMESTAMP() + 3600", "advice", "database_clock"),
    ],
)
def test_a_session_that_was_set_otherwise_is_found(server: None, statement: str, level: str, word: str) -> None:
    with connections["default"].cursor() as cursor:
        cursor.execute(statement)
    found = databases.examine_databases()
    assert words(found, Level(level)) == {word}
    assert words(found, Level.DANGER if level == "advice" else Level.ADVICE) == set()


def test_a_schema_of_another_character_set_without_our_tables_is_found(scratch: Any) -> None:
    assert words(databases.examine_databases(), Level.DANGER) == {"wrong_charset", "migrations_missing"}


def test_a_table_that_cannot_roll_back_is_found(scratch: Any) -> None:
    with scratch.cursor() as cursor:
        cursor.execute("CREATE TABLE kept_badly (id INT) ENGINE=MyISAM CHARACTER SET utf8mb4")
    [finding] = [each for each in databases.examine_databases() if each.word == "odd_tables"]
    assert "kept_badly" in finding.sentence


def test_a_server_that_is_not_there_is_found(
    server: None, django_db_blocker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = planting.elsewhere(HOST="127.0.0.1", PORT=str(free_port()), PASSWORD="hunter2")
    monkeypatch.setattr(databases, "connections", handler)
    with django_db_blocker.unblock():
        found = databases.examine_databases()
    assert words(found, Level.DANGER) == {"database_away"}
    assert "hunter2" not in str(found)


# A whole system


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LiveSystem, Supervisor]]:
    system = LiveSystem.on_our_servers(tmp_path_factory.mktemp("live"))
    with system.running() as supervisor:
        system.api().post("/accounts/", name="desk", environment="paper")
        wait_until(lambda: "beat_runs" in examined(system)["ok"], seconds=60, what="for beat's first trace")
        yield system, supervisor


def examined(system: LiveSystem, *argv: str, **environment: str) -> dict[str, set[str]]:
    """Run the command as a process of its own and return the words by level, its exit status among them."""
    command = [sys.executable, "manage.py", "doctor", "--json", *argv]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        command, cwd=root, env=os.environ | system.env | environment, capture_output=True, text=True, timeout=60
    )
    told = json.loads(done.stdout)
    assert told["status"] == done.returncode, done.stderr
    return {
        level: {each["word"] for each in told["findings"] if each["level"] == level}
        for level in ("ok", "advice", "unknown", "danger")
    } | {"exit": {str(done.returncode)}}


@contextmanager
def frozen(supervisor: Supervisor, name: str) -> Iterator[None]:
    pid = supervisor.pids()[name]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_system_that_runs_is_safe(system: tuple[LiveSystem, Supervisor]) -> None:
    found = examined(system[0])
    assert found["exit"] == {"0"}, found
    assert {"webhook_reached", "broker_answers", "worker_answers", "beat_runs", "migrated", "key"} <= found["ok"]


def test_a_worker_that_hangs_is_found(system: tuple[LiveSystem, Supervisor]) -> None:
    with frozen(system[1], "worker0"):
        found = examined(system[0])
    assert (found["exit"], found["danger"]) == ({"1"}, {"no_worker"})


def test_beat_that_hangs_is_found(system: tuple[LiveSystem, Supervisor]) -> None:
    with frozen(system[1], "beat"):
        # The minute that would pass until it is missed
        system[0].sql(
            f"UPDATE `{system[0].schemas['default']}`.pelusa_heartbeat"
            " SET worked_at = worked_at - INTERVAL 1 MINUTE WHERE kind = 'beat'",
            "COMMIT",
        )
        assert examined(system[0])["danger"] == {"no_beat"}
    wait_until(lambda: "beat_runs" in examined(system[0])["ok"], seconds=60, what="for beat to be back")


def test_redis_on_another_port_is_found(system: tuple[LiveSystem, Supervisor]) -> None:
    found = examined(system[0], CELERY_BROKER_URL=f"redis://127.0.0.1:{free_port()}/0")
    assert found["danger"] == {"broker_away"}


def test_a_web_process_that_is_not_there_is_found(system: tuple[LiveSystem, Supervisor]) -> None:
    found = examined(system[0], PORT=str(free_port()))
    assert found["danger"] == {"webhook_unreachable"}


def test_another_field_encryption_key_is_found(system: tuple[LiveSystem, Supervisor]) -> None:
    found = examined(system[0], FIELD_ENCRYPTION_KEYS=Fernet.generate_key().decode())
    assert found["danger"] == {"credentials_unreadable"}


def test_settings_that_contradict_each_other_are_found_and_do_not_silence_the_rest(
    system: tuple[LiveSystem, Supervisor],
) -> None:
    found = examined(system[0], PELUSA_TRADING="vst", DEBUG="on", WEBHOOK_SECRETS="changeme")
    assert found["danger"] == {"check_pelusa.E001", "weak_webhook_secret"}
    assert "key" in found["ok"]
