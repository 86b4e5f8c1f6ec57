"""H01 to H95 at gunicorn's entry: the status, the log, what is kept, what it costs, and the next honest alarm."""

import io
import json
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_started
from django.db import close_old_connections
from loguru import logger

from alarms.models import Alarm
from alarms.routing import route_pair
from operations.models import Decision, Operation, Order
from pelusa import logs
from pelusa.environment import networks
from pelusa.testing import DATABASES
from pelusa.tests.hostile import CASES, MAX_BODY, NEXT_SECRET, OLD_SECRET, PATH, RULES, SECRET, Case
from pelusa.tests.making import make_strategy
from pelusa.wsgi import WebhookFirst

pytestmark = pytest.mark.django_db(databases=DATABASES)
HONEST = Case("honest", 200)
MOST_CPU_SECONDS, MOST_MEMORY = 0.05, 5 * 1024 * 1024
LONGEST_LINE = 2_000

Ask = Callable[[Case], tuple[int, dict[str, str], Any]]


@pytest.fixture(autouse=True)
def _rules(settings: Any) -> None:
    settings.WEBHOOK_SECRETS = [SECRET, NEXT_SECRET]
    settings.IP_ALLOW, settings.IP_DENY = RULES["IP_ALLOW"], RULES["IP_DENY"]
    settings.TRUSTED_PROXIES = networks("TRUSTED_PROXIES", RULES["TRUSTED_PROXIES"])


@pytest.fixture(autouse=True)
def _kept_connections() -> Iterator[None]:
    """Keep Django from ending this test's connections when it begins to answer a request."""
    request_started.disconnect(close_old_connections)
    yield
    request_started.connect(close_old_connections)


@pytest.fixture
def ask() -> Ask:
    """Send a case as gunicorn would hand it over; return status, headers and JSON."""
    application = WebhookFirst(WSGIHandler())

    def send(case: Case) -> tuple[int, dict[str, str], Any]:
        said: list[Any] = []
        answer = application(environ(case), lambda status, headers: said.extend([status, dict(headers)]))
        content = b"".join(answer)
        is_json = said[1].get("Content-Type", "").startswith("application/json")
        return int(said[0].split()[0]), said[1], json.loads(content) if is_json else content

    return send


def environ(case: Case) -> dict[str, Any]:
    path, _, query = case.path.partition("?")
    body = case.sent()
    described: dict[str, Any] = {
        "REQUEST_METHOD": case.method,
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "8000",
        "HTTP_HOST": "localhost" if case.host is None else case.host,
        "REMOTE_ADDR": case.peer,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
        "wsgi.url_scheme": "http",
        **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in case.headers},
    }
    return described if case.content_type is None else described | {"CONTENT_TYPE": case.content_type}


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """Every line of the log as it is written, one object each."""
    written: list[str] = []
    sink = logger.add(lambda message: written.append(str(message)), format=logs.as_json, level="INFO")
    logger.configure(patcher=logs.patch)
    logs.mask(SECRET, NEXT_SECRET, OLD_SECRET)
    yield written
    logger.remove(sink)


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_a_hostile_request_is_answered_as_it_must_be_and_leaves_no_trace_but_its_line(
    case: Case, ask: Ask, lines: list[str]
) -> None:
    before = len(lines)
    status, headers, answer = ask(case)
    judge_answer(case, status, headers, answer)
    judge_lines(lines[before:])
    judge_rows(case)
    assert ask(HONEST)[::2] == (200, {"id": Alarm.objects.latest("id").pk, "status": "received"})


def judge_answer(case: Case, status: int, headers: dict[str, str], answer: Any) -> None:
    assert status == case.status, answer
    assert "Location" not in headers, "a redirect loses the body"
    if case.code:
        assert answer["error"]["code"] == case.code
    assert SECRET not in str(answer)
    assert not any(word in str(answer) for word in ("Traceback", "SELECT", "site-packages"))


def judge_lines(lines: list[str]) -> None:
    """One line tells of the request, at most one more of its reason; nothing that was sent breaks or forges a line."""
    told = [json.loads(line) for line in lines]
    assert [each["message"] for each in told].count("request") == 1
    assert len(told) <= 2
    for line in lines:
        assert line.count("\n") == 1
        assert len(line) < LONGEST_LINE
        assert not any(secret in line for secret in (SECRET, NEXT_SECRET, OLD_SECRET))
    assert not any(each["level"] in ("ERROR", "CRITICAL") for each in told)


def judge_rows(case: Case) -> None:
    kept = list(Alarm.objects.all())
    assert len(kept) == case.is_kept
    for alarm in kept:
        assert (alarm.status == Alarm.Status.RECEIVED) == (case.status == 200)
        assert len(alarm.raw) <= 4 * MAX_BODY
        assert SECRET not in alarm.raw


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_a_hostile_request_costs_little(case: Case, ask: Ask) -> None:
    ask(HONEST)
    fixed = replace(case, body=case.sent())
    assert cheapest(ask, fixed) < MOST_CPU_SECONDS
    tracemalloc.start()
    try:
        ask(fixed)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MOST_MEMORY


def cheapest(ask: Ask, case: Case) -> float:
    """Return the CPU seconds of the cheapest of up to five: others use this machine too."""
    cheapest = float("inf")
    for _ in range(5):
        begun = time.process_time()
        ask(case)
        cheapest = min(cheapest, time.process_time() - begun)
        if cheapest < MOST_CPU_SECONDS:
            break
    return cheapest


def test_no_hostile_request_becomes_an_order(ask: Ask) -> None:
    make_strategy()
    for case in CASES:
        if case.path == PATH and case.body is not None:
            ask(case)
    pairs = set(Alarm.objects.filter(status=Alarm.Status.RECEIVED).values_list("pair", flat=True))
    for pair in pairs:
        route_pair(pair)
    assert Decision.objects.exists()
    assert not Alarm.objects.filter(status=Alarm.Status.RECEIVED).exists()
    assert not Decision.objects.exclude(outcome=Decision.Outcome.IGNORED).exists()
    assert not Operation.objects.exists()
    assert not Order.objects.exists()
