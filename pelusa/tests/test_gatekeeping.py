"""The rules of the back office in real web processes: how soon they hold, and what becomes of the counts."""

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
from django.conf import settings

from pelusa.livesystem import free_port, wait_until
from pelusa.processes import web_argv, web_is_live

RULE = """INSERT INTO pelusa_addressrule (verdict, prefix, entries, is_enabled, note, created_at)
          VALUES ('deny', '/health/ready', '127.0.0.1', 1, '', '2026-11-26')"""


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[int, sqlite3.Connection]]:
    """Two gunicorn workers on a database of their own."""
    port = free_port()
    own = {"VAR_DIR": str(tmp_path), "PORT": str(port), "DJANGO_SETTINGS_MODULE": "pelusa.settings"}
    environment = {name: value for name, value in os.environ.items() if not name.endswith("DATABASE_URL")} | own
    start = {"cwd": settings.BASE_DIR, "env": environment}
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], **start, check=True, capture_output=True)  # type: ignore[call-overload]
    argv = web_argv("127.0.0.1", port)
    with subprocess.Popen([sys.executable, *argv], **start) as process:  # type: ignore[call-overload]
        try:
            wait_until(lambda: web_is_live(port), what="for the web process")
            yield port, sqlite3.connect(tmp_path / "operations.sqlite3", isolation_level=None)
        finally:
            process.terminate()


def ask(port: int) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/health/ready")
    status = connection.getresponse().status
    connection.close()
    return status


def test_a_rule_holds_in_all_processes_within_five_seconds_and_its_refusals_are_counted(
    web: tuple[int, sqlite3.Connection],
) -> None:
    port, database = web
    assert ask(port) == 401
    database.execute(RULE)
    began = time.monotonic()
    # Two processes answer in turns of their own: forty refusals in a row are both
    wait_until(lambda: {ask(port) for _ in range(40)} == {403}, seconds=10)
    assert time.monotonic() - began < 5
    count = "SELECT sum(count) FROM pelusa_refusal WHERE reason = 'forbidden_address' AND prefix = '/health'"
    wait_until(lambda: (database.execute(count).fetchone()[0] or 0) >= 40, seconds=10)
