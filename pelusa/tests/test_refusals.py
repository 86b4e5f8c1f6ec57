"""Who was turned away is counted, and no attacker can make that dear."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client
from django.urls import reverse

from pelusa import refusals as counting
from pelusa.gatekeeping import gatekeeper
from pelusa.models import Refusal
from pelusa.refusals import MOST_AT_ONCE, OTHERS, Refusals, refusals
from pelusa.testing import DATABASES, alarm_body
from pelusa.tests.browsing import browser_of, page
from pelusa.tests.planted import planted

pytestmark = pytest.mark.django_db(databases=DATABASES)
SECRET = planted("webhook secret")
STRANGER = "203.0.113.9"
AT = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def nothing_counted(settings: Any) -> Iterator[None]:
    settings.WEBHOOK_SECRETS = [SECRET]
    refusals.write()
    Refusal.objects.all().delete()
    yield
    refusals.write()


def counted() -> dict[tuple[str, str, str], int]:
    gatekeeper.look()
    return {(row.address, row.reason, row.prefix): row.count for row in Refusal.objects.all()}


def post(path: str = f"/webhook/{SECRET}", body: str = "", **meta: str) -> int:
    headers: dict[str, Any] = meta
    return Client().post(path, body or alarm_body(), "application/json", **headers).status_code


def test_each_refusal_of_the_webhook_is_counted_with_its_reason() -> None:
    post(REMOTE_ADDR=STRANGER)
    post(REMOTE_ADDR=STRANGER)
    post("/webhook/wrong")
    post(body="x" * 20_000)
    post(body="no alarm")
    post(HTTP_HOST="evil.example")
    Client().get("/webhook")
    found = counted()
    assert found.pop((STRANGER, "forbidden_address", "/webhook")) == 2
    assert {reason for _address, reason, prefix in found if prefix == "/webhook"} == {
        "wrong_secret",
        "too_large",
        "not_json",
        "bad_host",
        "method_not_allowed",
    }
    assert set(found.values()) == {1}


def test_unauthorised_attempts_elsewhere_are_counted_and_honest_mistakes_are_not() -> None:
    Client().get("/api/v1/alarms/")
    Client().get("/api/v1/alarms/", HTTP_AUTHORIZATION="Token wrong")
    Client().get("/nowhere", HTTP_HOST="evil.example")
    Client().get("/nowhere")
    browser_of().get("/api/v1/alarms/999999999/")
    assert counted() == {
        ("127.0.0.1", "not_authenticated", "/api"): 1,
        ("127.0.0.1", "authentication_failed", "/api"): 1,
        ("127.0.0.1", "bad_host", "/"): 1,
    }


def test_an_alarm_that_is_stored_counts_nothing() -> None:
    assert post() == 200
    assert counted() == {}


def test_counts_add_up_over_writes_and_keep_when_it_began() -> None:
    now = [AT]
    counters = Refusals(lambda: now[0])
    counters.add(STRANGER, "wrong_secret", "/webhook/x")
    counters.write()
    now[0] = AT + timedelta(hours=1)
    for _ in range(3):
        counters.add(STRANGER, "wrong_secret", "/webhook")
    counters.write()
    row = Refusal.objects.get()
    assert (row.count, row.first_seen_at, row.last_seen_at) == (4, AT, AT + timedelta(hours=1))


def test_a_secret_in_a_path_is_not_stored() -> None:
    post(REMOTE_ADDR=STRANGER)
    post(f"/{SECRET}", REMOTE_ADDR=STRANGER, HTTP_HOST="evil.example")
    assert {prefix for _address, _reason, prefix in counted()} == {"/webhook", "/"}


def test_a_thousand_addresses_are_a_bounded_number_of_rows_and_queries(django_assert_max_num_queries: Any) -> None:
    counters = Refusals()
    for number in range(1000):
        counters.add(f"198.51.{number // 250}.{number % 250}", "forbidden_address", "/webhook")
    with django_assert_max_num_queries(MOST_AT_ONCE + 10):
        counters.write()
    assert Refusal.objects.count() == MOST_AT_ONCE + 1
    assert Refusal.objects.get(address=OTHERS).count == 1000 - MOST_AT_ONCE


def test_the_table_keeps_the_newest_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "MOST_ROWS", 10)
    for number in range(3):
        counters = Refusals(lambda number=number: AT + timedelta(minutes=number))  # type: ignore[misc]
        for host in range(6):
            counters.add(f"198.51.100.{number * 6 + host}", "forbidden_address", "/webhook")
        counters.write()
    assert Refusal.objects.count() == 10
    assert Refusal.objects.filter(last_seen_at=AT).count() == 0


def test_an_attacker_with_a_whole_ipv6_network_is_one_row() -> None:
    counters = Refusals()
    for number in range(50):
        counters.add(f"2001:db8:1:2::{number:x}", "forbidden_address", "/webhook")
    counters.write()
    assert Refusal.objects.get().address == "2001:db8:1:2::/64"


def test_a_database_that_is_away_costs_the_counts_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*args: Any) -> None:
        raise OperationalError("gone")

    with monkeypatch.context() as patched:
        patched.setattr(counting, "_store", away)
        assert post(REMOTE_ADDR=STRANGER) == 403
        gatekeeper.look()
    assert counted() == {}
    assert post() == 200


def test_counting_asks_no_database(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert post(REMOTE_ADDR=STRANGER) == 403
        assert post("/webhook/wrong") == 401


def test_what_is_only_observed_is_counted_as_such(settings: Any) -> None:
    settings.IP_OBSERVE_ONLY = True
    post(REMOTE_ADDR=STRANGER)
    assert counted() == {(STRANGER, "would_be_forbidden", "/webhook"): 1}


def test_the_page_tells_who_and_why_and_leads_to_a_rule() -> None:
    post(REMOTE_ADDR=STRANGER)
    gatekeeper.look()
    text = page(browser_of("operator"), reverse("admin:pelusa_refusal_changelist"))
    assert STRANGER in text
    assert "Address not allowed" in text
    link = f"{reverse('admin:pelusa_addressrule_add')}?verdict=deny&amp;prefix=%2F&amp;entries={STRANGER}"
    assert link in text
    form = page(browser_of("operator"), reverse("admin:pelusa_addressrule_add"), verdict="deny", entries=STRANGER)
    assert STRANGER in form
