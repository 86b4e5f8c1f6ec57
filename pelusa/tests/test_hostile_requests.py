"""H01 to H95 at gunicorn's entry: the status, the log, what is kept, what it costs, and the next honest alarm."""

import io
import json
import logging
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import pytest
from django.conf import settings as django_settings
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_started
from django.db import close_old_connections, connections
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loguru import logger

from alarms.models import Alarm
from alarms.routing import route_pair
from alarms.tests.test_message_fuzz import damaged, near_messages
from operations.models import Decision, Operation, Order
from pelusa import logs
from pelusa.environment import networks
from pelusa.testing import DATABASES, alarm_body
from pelusa.tests.hostile import CASES, FAR, MAX_BODY, NEAR, NEXT_SECRET, OLD_SECRET, PATH, RULES, SECRET, Case
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
    # Alone: a line is made once, by the format of the first sink
    logger.remove()
    logger.configure(patcher=logs.patch)
    logger.add(lambda message: written.append(str(message)), format=logs.as_json, level="INFO")
    logs.mask(SECRET, NEXT_SECRET, OLD_SECRET)
    root = logging.getLogger()
    handlers = list(root.handlers)
    yield written
    logs.configure(django_settings.LOGGING)
    root.handlers = handlers


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


def test_h85_guesses_of_the_secret_touch_no_database(ask: Ask) -> None:
    with ExitStack() as stack:
        queries = [stack.enter_context(CaptureQueriesContext(connections[alias])) for alias in DATABASES]
        statuses = {ask(Case("a guess", 401, path=f"/webhook/guess-{number}"))[0] for number in range(1_000)}
    assert statuses == {401}
    assert [len(each) for each in queries] == [0, 0, 0]


@pytest.mark.parametrize("hours", [1, 24, 72])
def test_h90_s28_a_message_that_is_replayed_later_makes_no_order(ask: Ask, hours: int) -> None:
    make_strategy()
    body = alarm_body(at=datetime.now(UTC) - timedelta(hours=hours))
    answers = [ask(replace(HONEST, body=body))[2]["status"] for _ in range(3)]
    assert answers == ["received", "duplicate", "duplicate"]
    route_pair("BTCUSDT")
    assert [each.reason for each in Decision.objects.all()] == ["alarm_too_old"]
    assert not Order.objects.exists()


def test_h91_both_sides_in_one_second_are_both_kept(ask: Ask) -> None:
    at = datetime.now(UTC)
    sent = [alarm_body(f"order open {leg}", at=at) for leg in ("long", "short")]
    assert [ask(replace(HONEST, body=body))[2]["status"] for body in sent] == ["received", "received"]
    assert list(Alarm.objects.order_by("id").values_list("leg", flat=True)) == ["long", "short"]


texts = st.text(st.characters(codec="latin-1"), max_size=60)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.binary(max_size=400) | damaged() | near_messages,
    path=st.sampled_from([PATH, "/webhook", f"{PATH}/"]) | texts.map(lambda text: f"/webhook/{quote(text)}"),
    content_type=st.none() | texts,
    headers=st.dictionaries(st.sampled_from(["X-Forwarded-For", "Content-Encoding", "Host-Name", "Cookie"]), texts),
    peer=st.sampled_from([NEAR, FAR, "", "unix:", "::1"]),
)
def test_any_request_gets_one_of_the_answers_that_the_webhook_knows(
    ask: Ask, body: bytes, path: str, content_type: str | None, headers: dict[str, str], peer: str
) -> None:
    case = Case("any", 0, body, path, headers=tuple(headers.items()), peer=peer, content_type=content_type)
    assert ask(case)[0] in {200, 400, 401, 403, 404, 413, 415, 422}
