"""Errors: one shape for programs, no word about what is inside, one line in the log."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import IntegrityError, OperationalError, connection
from django.http import Http404
from django.test import Client
from django.test.utils import CaptureQueriesContext
from loguru import logger
from rest_framework import exceptions

from alarms import api
from pelusa.errors import answer_with_one_shape
from pelusa.testing import DATABASES
from pelusa.tests.making import client_of, make_account, make_instrument

pytestmark = pytest.mark.django_db(databases=DATABASES)
LEAKS = ("Traceback", "SELECT", "site-packages", 'File "', "/work", "alarms_alarm", "hunter2")


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    records: list[Any] = []
    sink = logger.add(lambda message: records.append(message.record), level="INFO", format="{message}")
    yield records
    logger.remove(sink)


def broken_by(monkeypatch: pytest.MonkeyPatch, error: Exception) -> Any:
    def break_it(rows: object) -> None:
        raise error

    monkeypatch.setattr(api, "finish_page", break_it)
    return client_of("viewer", raises=False).get("/api/v1/alarms/")


def test_what_nobody_expected_is_500_without_a_word_of_it_and_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, lines: list[Any]
) -> None:
    answer = broken_by(monkeypatch, RuntimeError("hunter2 SELECT * FROM alarms_alarm"))
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["fields"]) == (500, "internal_error", {})
    assert not any(leak in answer.content.decode() for leak in LEAKS)
    told = [record["extra"] for record in lines if record["level"].name == "ERROR"]
    assert [each["request_id"] for each in told] == [error["request_id"]]
    assert "RuntimeError: hunter2" in told[0]["exception"]


@pytest.mark.parametrize(
    "error", [OperationalError(2006, "hunter2 has gone away"), OperationalError("database is locked")]
)
def test_a_database_that_is_away_is_503(monkeypatch: pytest.MonkeyPatch, lines: list[Any], error: Exception) -> None:
    answer = broken_by(monkeypatch, error)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
    assert not any(leak in answer.content.decode() for leak in LEAKS)
    assert sum(record["level"].name == "ERROR" for record in lines) == 1


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Http404("No Alarm matches /work"), 404, "not_found"),
        (IntegrityError("UNIQUE constraint failed: alarms_alarm.id"), 409, "conflict"),
        (RequestDataTooBig("hunter2"), 413, "too_large"),
        (exceptions.Throttled(), 429, "throttled"),
        (exceptions.NotAcceptable(), 406, "not_acceptable"),
        (exceptions.UnsupportedMediaType("text/plain"), 415, "unsupported_media_type"),
        (exceptions.PermissionDenied({"a": "b"}), 403, "permission_denied"),
    ],
)
def test_what_is_expected_has_its_code_and_no_line_of_an_error(
    monkeypatch: pytest.MonkeyPatch, lines: list[Any], error: Exception, status: int, code: str
) -> None:
    answer = broken_by(monkeypatch, error)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert set(answer.json()["error"]) == {"code", "message", "fields", "request_id"}
    assert not any(leak in answer.content.decode() for leak in LEAKS)
    assert not [record for record in lines if record["level"].name == "ERROR"]


@pytest.mark.parametrize(
    "path", ["/api/nowhere", "/api/v1/nowhere/", "/api/v1/alarms/x/", "/webhook/a/b/c", "/health/"]
)
def test_programs_are_told_in_json_that_there_is_nothing(path: str) -> None:
    answer = Client().get(path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize("path", ["/nowhere", "/apinowhere", "/webhooks/x"])
def test_people_are_told_in_html(path: str) -> None:
    answer = Client().get(path)
    assert answer.status_code == 404
    the_page(answer)


def the_page(answer: Any) -> str:
    """Return an error page that looks as all do: its request's id, a way back, nothing from elsewhere or inside."""
    text = str(answer.content.decode())
    assert answer.headers["Content-Type"].startswith("text/html")
    assert answer.headers["X-Request-ID"] in text
    assert 'href="/admin/"' in text
    assert "//" not in text
    assert not any(leak in text for leak in LEAKS)
    return text


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RuntimeError("hunter2 SELECT"), 500),
        (OperationalError(2006, "hunter2 has gone away"), 503),
        (PermissionDenied("hunter2"), 403),
        (SuspiciousOperation("hunter2"), 400),
        (RequestDataTooBig("hunter2"), 413),
        (Http404("hunter2"), 404),
    ],
)
def test_a_page_of_the_back_office_breaks_without_a_word_of_it_and_without_a_database(
    monkeypatch: pytest.MonkeyPatch, lines: list[Any], error: Exception, status: int
) -> None:
    browser = Client(raise_request_exception=False)
    monkeypatch.setattr(SessionMiddleware, "process_request", _raising(error))
    with CaptureQueriesContext(connection) as queries:
        answer = browser.get("/admin/")
    assert answer.status_code == status
    the_page(answer)
    assert not queries.captured_queries
    # What looks like an attack is told too
    assert sum(record["level"].name == "ERROR" for record in lines) == (status not in (403, 404))


def _raising(error: Exception) -> Any:
    def raise_it(self: object, request: object) -> None:
        raise error

    return raise_it


def test_a_form_without_its_token_is_refused_in_the_same_look() -> None:
    answer = Client(enforce_csrf_checks=True).post("/admin/login/", {"username": "hunter2"})
    assert answer.status_code == 403
    assert "CSRF" not in the_page(answer)


def test_a_method_that_is_not_taken_is_405_and_names_those_that_are() -> None:
    answer = client_of("superuser").delete("/api/v1/alarms/")
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")
    assert "GET" in answer.headers["Allow"]
    plain = Client().post("/health/live")
    assert (plain.status_code, plain.json()["error"]["code"]) == (405, "method_not_allowed")
    assert plain.headers["Allow"] == "GET, HEAD"


def test_nobody_is_told_how_to_become_somebody() -> None:
    answer = Client().get("/api/v1/alarms/")
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "not_authenticated")
    assert answer.headers["WWW-Authenticate"] == "Token"
    answer = Client().get("/api/v1/alarms/", HTTP_AUTHORIZATION="Token nonsense")
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "authentication_failed")


def test_fields_are_named_with_dots_and_a_single_complaint_is_the_message() -> None:
    make_instrument()
    body = {"name": "S", "alarm_name": "S", "ticker": "BTCUSDT.P", "account": make_account().pk}
    leg = {"entry_interval": "5m", "close_interval": "7m", "size": "1"}
    error = client_of("trader").post("/api/v1/strategies/", {**body, "long": leg}, format="json").json()["error"]
    assert (error["code"], list(error["fields"])) == ("invalid", ["long.close_interval"])
    assert error["message"] == f"long.close_interval: {error['fields']['long.close_interval'][0]}"


def test_complaints_in_lists_and_about_the_whole_are_named_too() -> None:
    class Asked:
        request_id = "abc"

    detail: Any = {
        "a": [{"b": ["wrong"]}, {}, {"c": {"non_field_errors": ["both"]}}],
        "non_field_errors": ["all of it"],
    }
    response = answer_with_one_shape(exceptions.ValidationError(detail), {"request": Asked()})
    assert response is not None
    assert response.data["error"]["fields"] == {
        "a.0.b": ["wrong"],
        "a.2.c": ["both"],
        "non_field_errors": ["all of it"],
    }
    response = answer_with_one_shape(exceptions.ValidationError("just wrong"), {"request": Asked()})
    assert response is not None
    assert response.data["error"] == {
        "code": "invalid",
        "message": "just wrong",
        "fields": {"non_field_errors": ["just wrong"]},
        "request_id": "abc",
    }


BODIES = [
    '{"\\ud800": 1}',
    '{"long": {"entry_interval": "\\ud800"}}',
    '{"market": "\\udfff", "account": "\\ud800", "ticker": "\\ud800"}',
]


@pytest.mark.parametrize(
    "body", [*BODIES, "{", '{"a": NaN}', "[1]", '"text"', "null", "", "\x00", '{"name": "\\ud800"}']
)
def test_a_body_that_is_no_strategy_is_400(body: str) -> None:
    answer = client_of("trader", raises=False).post("/api/v1/strategies/", body, content_type="application/json")
    assert answer.status_code == 400
    assert not any(leak in answer.content.decode() for leak in LEAKS)
