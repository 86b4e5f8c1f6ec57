"""The short way of the webhook answers as the long way does."""

import io
import json
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.db import connections

from alarms.models import Alarm
from pelusa import wsgi
from pelusa.testing import DATABASES, alarm_body, end_connection
from pelusa.tests.planted import planted

SECRET = planted("webhook secret")

# Django's own way ends with the connections of its request
pytestmark = pytest.mark.django_db(databases=DATABASES, transaction=True)


@pytest.fixture(autouse=True)
def _secret(settings: Any) -> None:
    settings.WEBHOOK_SECRETS = [SECRET]


def ask(application: wsgi.WSGI, path: str, body: bytes = b"", **environ: str) -> tuple[str, dict[str, str], Any]:
    """Return status, headers and the JSON of an answer."""
    said: list[Any] = []
    answer = application(
        {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": path,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "8000",
            "HTTP_HOST": "localhost",
            "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
            "wsgi.url_scheme": "http",
            **environ,
        },
        lambda status, headers: said.extend([status, dict(headers)]),
    )
    content = b"".join(answer)
    assert said[1].get("Content-Length", str(len(content))) == str(len(content))
    return said[0], said[1], json.loads(content)


CASES = {
    "no secret": ("/webhook", {}),
    "wrong secret": ("/webhook/wrong", {}),
    "a read": (f"/webhook/{SECRET}", {"REQUEST_METHOD": "GET"}),
    "no such address": (f"/webhook/{SECRET}/more", {}),
    "two slashes": ("/webhook//", {}),
    "another host": (f"/webhook/{SECRET}", {"HTTP_HOST": "elsewhere.example"}),
    "a forbidden address": (f"/webhook/{SECRET}", {"REMOTE_ADDR": "203.0.113.7"}),
    "unreadable": (f"/webhook/{SECRET}", {}),
    "bytes that are no UTF-8": ("/webhook/\xff\xfe", {}),
}


@pytest.mark.parametrize("case", CASES)
def test_both_ways_refuse_alike(case: str) -> None:
    path, environ = CASES[case]
    body = b"no alarm" if case == "unreadable" else alarm_body()
    short, long = (ask(way, path, body, **environ) for way in (wsgi.application, WSGIHandler()))
    assert short[0] == long[0]
    assert not short[0].startswith(("2", "5"))
    assert without_ids(short[2]) == without_ids(long[2])
    assert {"X-Request-ID", "X-Content-Type-Options"} <= short[1].keys()


def without_ids(answer: dict[str, Any]) -> dict[str, Any]:
    answer.pop("id", None)
    return answer | {"error": answer["error"] | {"request_id": ""}}


@pytest.mark.parametrize("path", [f"/webhook/{SECRET}", f"/webhook/{SECRET}/"])
def test_an_alarm_is_stored_once_whichever_way_it_came(path: str) -> None:
    body = alarm_body()
    ways = (wsgi.application, WSGIHandler(), wsgi.application)
    answers = [ask(way, path, body) for way in ways]
    assert [status for status, _, _ in answers] == ["200 OK"] * 3
    assert [answer["status"] for _, _, answer in answers] == ["received", "duplicate", "duplicate"]
    assert len({answer["id"] for _, _, answer in answers}) == 1
    assert Alarm.objects.count() == 3


@pytest.mark.servers
def test_a_connection_that_the_server_ended_is_opened_anew() -> None:
    end_connection(connections["alarms"])
    status, _, answer = ask(wsgi.application, f"/webhook/{SECRET}", alarm_body())
    assert (status, answer["status"]) == ("200 OK", "received")
    assert Alarm.objects.count() == 1
