"""Figures for Prometheus: right from the rows, for those who may see them, and without anything secret."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from operations.models import Notice, Operation
from pelusa import health
from pelusa.monitoring.heart import Heart
from pelusa.testing import DATABASES
from pelusa.tests.making import client_of, make_alarm, make_history, make_operation, make_order

pytestmark = pytest.mark.django_db(databases=DATABASES)

# What Prometheus 2 and 3 send
ACCEPT = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5"


@pytest.fixture(autouse=True)
def servers_that_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "ask_dependencies", lambda: {"broker": {"ok": True, "ms": 1.0}})
    health.health.forget()


def scrape() -> dict[tuple[str, str], float]:
    answer = client_of().get("/metrics", HTTP_ACCEPT=ACCEPT)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
    families = text_string_to_metric_families(answer.content.decode())
    return {(each.name, ",".join(each.labels.values())): each.value for family in families for each in family.samples}


def test_the_figures_are_those_of_the_rows() -> None:
    [strategy] = make_history(alarms=3)
    make_alarm(status="received", received_at=timezone.now() - timedelta(seconds=90))
    operation = make_operation(strategy)
    make_order(operation, status="rejected", reason="refused", code="101204")
    Operation.objects.filter(pk=operation.pk).update(uncovered_since=timezone.now())
    Notice.objects.create(kind="unprotected", current_key="unprotected:operation:1", level="critical")
    Notice.objects.create(kind="unprotected", level="critical", ended_at=timezone.now())
    Heart("worker").beat()
    found = scrape()
    assert found["pelusa_alarms_recent", "received"] == 1
    assert 89 < found["pelusa_oldest_waiting_seconds", "alarm"] < 120
    assert found["pelusa_oldest_waiting_seconds", "in_flight"] == 0
    assert found["pelusa_refusals_recent", "refused"] == found["pelusa_refusal_codes_recent", "101204"] == 1
    assert found["pelusa_uncovered_operations", ""] == 1
    assert found["pelusa_notices", "unprotected"] == 1
    assert found["pelusa_heartbeat_age_seconds", "worker"] < 5
    assert ("pelusa_alarm_to_order_seconds", "0.95") in found
    assert found["pelusa_ready_to_trade", ""] == 0
    assert found["pelusa_obstacle", "beat_away"] == 1


def test_an_empty_pelusa_answers_too() -> None:
    assert scrape()["pelusa_dependency_up", "broker"] == 1


def test_the_questions_do_not_grow_with_the_rows(django_assert_max_num_queries: Any) -> None:
    make_history(strategies=3, alarms=5)
    with django_assert_max_num_queries(40):
        scrape()


def test_nothing_that_a_stranger_wrote_becomes_a_label() -> None:
    make_alarm(raw="hunter2", ticker="hunter2", strategy="hunter2", received_at=timezone.now())
    assert not [key for key in scrape() if "hunter2" in key[1]]
