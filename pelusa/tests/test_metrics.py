"""Figures for Prometheus: right from the rows, for those who may see them, and without anything secret."""

from datetime import timedelta
from time import perf_counter
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from exchange import tallies
from exchange.tallies import add, observe
from operations.models import Notice, Operation
from pelusa import health
from pelusa.monitoring import tallies as kept
from pelusa.monitoring.heart import Heart
from pelusa.testing import DATABASES
from pelusa.tests.making import client_of, make_alarm, make_history, make_operation

pytestmark = pytest.mark.django_db(databases=DATABASES)

# What Prometheus 2 and 3 send
ACCEPT = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5"


@pytest.fixture(autouse=True)
def servers_that_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "ask_dependencies", lambda: {"broker": {"ok": True, "ms": 1.0}})
    health.health.forget()
    tallies.take()


def scrape() -> dict[tuple[str, str], float]:
    answer = client_of().get("/metrics", HTTP_ACCEPT=ACCEPT)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
    families = text_string_to_metric_families(answer.content.decode())
    return {(each.name, ",".join(each.labels.values())): each.value for family in families for each in family.samples}


def test_the_figures_are_those_of_the_rows() -> None:
    [strategy] = make_history(alarms=3)
    make_alarm(status="received", received_at=timezone.now() - timedelta(seconds=90))
    operation = make_operation(strategy)
    Operation.objects.filter(pk=operation.pk).update(uncovered_since=timezone.now())
    Notice.objects.create(kind="unprotected", current_key="unprotected:operation:1", level="critical")
    Notice.objects.create(kind="unprotected", level="critical", ended_at=timezone.now())
    Heart("worker").beat()
    found = scrape()
    assert 89 < found["pelusa_oldest_waiting_seconds", "alarm"] < 120
    assert found["pelusa_oldest_waiting_seconds", "in_flight"] == 0
    assert found["pelusa_uncovered_operations", ""] == 1
    assert found["pelusa_notices", "unprotected"] == 1
    assert found["pelusa_heartbeat_age_seconds", "worker"] < 5
    assert found["pelusa_ready_to_trade", ""] == 0
    assert found["pelusa_obstacle", "beat_away"] == 1


def test_what_processes_counted_adds_up_and_never_goes_down() -> None:
    add("alarms", outcome="received")
    assert scrape()["pelusa_alarms_total", "received"] == 1
    add("alarms", outcome="received")
    add("refusals", reason="refused", code="101204")
    assert scrape()["pelusa_alarms_total", "received"] == 2
    found = scrape()
    assert (found["pelusa_alarms_total", "received"], found["pelusa_refusals_total", "101204,refused"]) == (2, 1)


def test_a_histogram_is_cumulated_with_its_sum_and_count() -> None:
    for seconds in (0.0005, 0.003, 0.004, 99.0):
        observe("webhook_seconds", seconds, status="200")
    found = scrape()
    named = "pelusa_webhook_seconds"
    assert [found[f"{named}_bucket", f"{bound},200"] for bound in ("0.001", "0.0025", "0.005", "60.0", "+Inf")] == [
        1,
        1,
        3,
        3,
        4,
    ]
    assert (found[f"{named}_count", "200"], round(found[f"{named}_sum", "200"], 4)) == (4, 99.0075)


def test_what_the_books_do_not_take_is_counted_later(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_args: Any) -> None:
        raise OperationalError

    add("alarms", outcome="received")
    with monkeypatch.context() as broken:
        broken.setattr(kept, "_add", away)
        with pytest.raises(OperationalError):
            kept.keep_tallies()
    add("alarms", outcome="received")
    assert scrape()["pelusa_alarms_total", "received"] == 2


def test_labels_are_bounded_whatever_is_counted() -> None:
    for number in range(tallies.MOST_SERIES + 50):
        add("bounded_here", code=str(number))
    codes = {labels for name, labels in tallies.take() if name == "bounded_here"}
    assert (len(codes), (("code", "other"),) in codes) == (tallies.MOST_SERIES + 1, True)


def test_an_observation_costs_microseconds() -> None:
    began = perf_counter()
    for _ in range(1000):
        observe("webhook_seconds", 0.004, status="200")
    assert perf_counter() - began < 0.05


def test_an_empty_pelusa_answers_too() -> None:
    assert scrape()["pelusa_dependency_up", "broker"] == 1


def test_the_questions_do_not_grow_with_the_rows(django_assert_max_num_queries: Any) -> None:
    make_history(strategies=3, alarms=5)
    with django_assert_max_num_queries(40):
        scrape()


def test_nothing_that_a_stranger_wrote_becomes_a_label() -> None:
    make_alarm(raw="hunter2", ticker="hunter2", strategy="hunter2", received_at=timezone.now())
    assert not [key for key in scrape() if "hunter2" in key[1]]
