"""Is it up, is it ready: answers that hold when something is away."""

import socket
import time
from typing import Any

import pytest
from celery import current_app
from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from pelusa import health
from pelusa.livesystem import free_port
from pelusa.monitoring.heart import Heart
from pelusa.testing import DATABASES
from pelusa.tests.making import client_of

pytestmark = pytest.mark.django_db(databases=DATABASES)


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Find out anew in each test, on a system whose worker and beat have just shown themselves."""
    health.health.forget()
    monkeypatch.setattr(health, "ask_paper_exchange", lambda: None)
    for kind in ("worker", "beat"):
        heart = Heart(kind)
        heart.worked_at = timezone.now()
        heart.beat()


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Any:
    def use(url: str) -> None:
        original = current_app.connection_for_read
        monkeypatch.setattr(current_app, "connection_for_read", lambda **options: original(url, **options))

    return use


def test_live_needs_no_user_and_no_database(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        answer = Client().get("/health/live")
    assert (answer.status_code, answer.json()) == (200, {"status": "live"})


def test_ready_needs_a_user() -> None:
    assert Client().get("/health/ready").status_code == 401


def test_ready_names_each_thing_with_its_milliseconds(broker: Any) -> None:
    broker("memory://")
    answer = client_of().get("/health/ready")
    checks = answer.json()["checks"]
    assert (answer.status_code, answer.json()["status"]) == (200, "ready")
    servers = {"database default", "database alarms", "database market", "broker", "paper exchange"}
    assert set(checks) == servers | {"worker", "beat", "disk", "queue"}
    assert all(check["ok"] and check["ms"] >= 0 for check in checks.values())


def test_a_broker_that_is_away_is_503_with_the_reason(broker: Any) -> None:
    broker(f"redis://:hunter2@127.0.0.1:{free_port()}/0")
    answer = client_of().get("/health/ready")
    assert (answer.status_code, answer.json()["status"]) == (503, "not_ready")
    assert answer.json()["checks"]["broker"] == {"ok": False, "reason": "no answer (OperationalError)"}
    assert answer.json()["checks"]["database default"]["ok"]
    assert "hunter2" not in answer.content.decode()


def test_a_broker_that_takes_the_call_and_says_nothing_does_not_hold_the_answer(broker: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        broker(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        started = time.monotonic()
        answer = client_of().get("/health/ready")
    assert answer.status_code == 503
    assert not answer.json()["checks"]["broker"]["ok"]
    assert time.monotonic() - started < 6


def test_a_database_that_is_away_is_named(monkeypatch: pytest.MonkeyPatch, broker: Any) -> None:
    broker("memory://")

    def ask(alias: str) -> None:
        if alias == "market":
            raise OperationalError(2003, "cannot connect to hunter2@db")

    monkeypatch.setattr(health, "ask_database", ask)
    answer = client_of().get("/health/ready")
    assert answer.status_code == 503
    assert answer.json()["checks"]["database market"] == {"ok": False, "reason": "no answer (OperationalError)"}
    assert answer.json()["checks"]["database alarms"]["ok"]
