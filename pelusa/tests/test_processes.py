"""Which processes run for which settings, and what their probes take for an answer."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone

from pelusa.monitoring.heart import Heart
from pelusa.monitoring.models import Heartbeat
from pelusa.processes import PortTaken, is_beating, port_is_free, process_specs, refuse_taken_ports, web_is_live
from pelusa.testing import DATABASES


def names(tmp_path: Path, **changes: object) -> list[str]:
    conf = {
        "BASE_DIR": tmp_path,
        "VAR_DIR": tmp_path,
        "PORT": 8000,
        "PELUSA_TRADING": "paper",
        "EMBEDDED_BROKER": True,
        "EMBEDDED_PAPER": True,
        "BINGX_PAPER_URL": "http://127.0.0.1:8001",
    }
    return [spec.name for spec in process_specs(SimpleNamespace(**conf | changes))]


def test_nothing_configured_runs_everything_servers_first(tmp_path: Path) -> None:
    assert names(tmp_path) == ["broker", "paper", "web", "worker", "beat"]


def test_a_redis_of_ones_own_takes_the_place_of_the_embedded_broker(tmp_path: Path) -> None:
    assert "broker" not in names(tmp_path, EMBEDDED_BROKER=False)


@pytest.mark.parametrize("change", [{"PELUSA_TRADING": "vst"}, {"PELUSA_TRADING": "live"}, {"EMBEDDED_PAPER": False}])
def test_the_paper_exchange_runs_only_where_it_is_wanted(tmp_path: Path, change: dict[str, object]) -> None:
    assert "paper" not in names(tmp_path, **change)


@pytest.mark.parametrize("offset", [0, 1])
def test_a_taken_port_is_named_before_anything_starts(settings: Any, offset: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        settings.PORT = taken - offset
        settings.PELUSA_TRADING, settings.EMBEDDED_PAPER = "paper", True
        settings.BINGX_PAPER_URL = f"http://127.0.0.1:{settings.PORT + 1}"
        assert not port_is_free(taken)
        with pytest.raises(PortTaken, match="in use by another program"):
            refuse_taken_ports()


@contextmanager
def web_that_answers(status: int) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.mark.parametrize(("status", "is_live"), [(200, True), (400, True), (403, True), (500, False), (503, False)])
def test_any_answer_but_a_failure_shows_that_the_web_process_lives(status: int, is_live: bool) -> None:
    with web_that_answers(status) as port:
        assert web_is_live(port) is is_live


def test_where_nobody_listens_nobody_lives() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    assert not web_is_live(port)


@pytest.mark.django_db(databases=DATABASES)
def test_a_process_beats_while_its_heart_on_this_host_wrote_lately() -> None:
    assert not is_beating("worker")
    Heart("worker").beat()
    assert is_beating("worker")
    assert not is_beating("beat")
    Heartbeat.objects.update(host="elsewhere")
    assert not is_beating("worker")
    Heartbeat.objects.update(host=Heart("worker").host, beat_at=timezone.now() - timedelta(minutes=1))
    assert not is_beating("worker")


def test_where_the_books_are_away_no_process_is_called_dead(
    django_db_blocker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_args: Any, **_options: Any) -> None:
        raise OperationalError

    with django_db_blocker.unblock():
        monkeypatch.setattr(Heartbeat.objects, "filter", lambda **_columns: SimpleNamespace(filter=away))
        assert is_beating("worker")
