"""A worker keeps its database connections from task to task, and one that ended breaks no task."""

import os
from pathlib import Path

import pytest
from celery.fixups.django import DjangoWorkerFixup
from django.db import connections

from pelusa.celery import app
from pelusa.testing import DATABASES, LiveSystem, alarm_body, wait_until


@pytest.mark.django_db(databases=DATABASES, transaction=True)
def test_celery_closes_no_connection_around_a_task() -> None:
    connection = connections["default"]
    connection.ensure_connection()
    before = connection.connection
    DjangoWorkerFixup(app).close_database()
    assert before is not None
    assert connection.connection is before


@pytest.mark.servers
@pytest.mark.timeout(120)
def test_a_worker_goes_on_when_the_server_ended_its_connections(tmp_path: Path) -> None:
    system = LiveSystem.on_our_servers(tmp_path, threads=2)
    with system.running() as supervisor:
        worker = supervisor.pids()["worker0"]
        tell(system, 10)
        kept = logged_in(system, worker)
        tell(system, 10)
        assert kept
        assert kept <= logged_in(system, worker)
        for number in kept:
            system.sql(f"KILL {number}")
        tell(system, 10)
        assert kept.isdisjoint(logged_in(system, worker))
        assert supervisor.pids()["worker0"] == worker


def tell(system: LiveSystem, alarms: int) -> None:
    """Send alarms that nobody listens to, each once the one before it was read."""
    api = system.api()
    for _ in range(alarms):
        api.session.post(f"{system.url}/webhook/{system.secret}", data=alarm_body(), timeout=10).raise_for_status()
        wait_until(lambda: not api.all("/alarms/", status="received"), seconds=20)


def logged_in(system: LiveSystem, process: int) -> set[int]:
    """Return the server's numbers of the process's connections to the alarms."""
    ports = ports_of(process)
    statement = "SELECT id, host FROM information_schema.processlist WHERE db = '{}'"
    found = system.sql(statement.format(system.schemas["alarms"]))
    return {int(number) for number, host in found if int(host.rpartition(":")[2]) in ports}


def ports_of(process: int) -> set[int]:
    """Return the local ports of the process's TCP connections."""
    files = Path(f"/proc/{process}/fd").iterdir()
    sockets = {os.readlink(file) for file in files if file.is_symlink()}
    lines = Path(f"/proc/{process}/net/tcp").read_text().splitlines()[1:]
    return {
        int(words[1].rpartition(":")[2], 16) for words in map(str.split, lines) if f"socket:[{words[9]}]" in sockets
    }
