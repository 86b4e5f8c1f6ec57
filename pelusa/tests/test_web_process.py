"""The web process as it really runs: gunicorn with our configuration, talked to over a socket."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import pytest
from django.conf import settings

from pelusa.livesystem import wait_until
from pelusa.tests.planted import planted
from pelusa.tests.web import OwnWeb, running_web

SECRET = planted("webhook secret")


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnWeb]:
    with running_web(tmp_path_factory.mktemp("web"), {"WEBHOOK_SECRETS": SECRET}) as web:
        yield web


def test_every_line_it_writes_is_one_of_ours(web: OwnWeb) -> None:
    web.ask("GET", "/nowhere")
    wait_until(lambda: any(line.get("path") == "/nowhere" for line in web.lines))
    assert any(line["logger"] == "gunicorn.error" and "Listening at" in line["message"] for line in web.lines)
    [line] = [line for line in web.lines if line.get("path") == "/nowhere"]
    assert (line["message"], line["method"], line["status"], line["address"]) == ("request", "GET", 404, "127.0.0.1")


def test_the_webhooks_secret_is_in_no_line(web: OwnWeb) -> None:
    for path in (f"/webhook/{SECRET}x", f"/webhook/{SECRET}/", f"/nowhere/{SECRET}", f"/?secret={SECRET}"):
        web.ask("PUT", path, f"Authorization: Token {SECRET}")
    web.send(f"GET /webhook/{SECRET} HTTP/9.9\r\n\r\n".encode())
    web.send(f"BROKEN\x00 /webhook/{SECRET}\r\n\r\n".encode())
    wait_until(lambda: sum(line.get("method") == "PUT" for line in web.lines) >= 4)
    assert SECRET not in web.output.read_text()
    assert SECRET not in (web.output.parent / "log" / "pelusa.log").read_text()


@pytest.mark.parametrize(
    "header", ["SCRIPT_NAME: /webhook", "Path-Info: /health/live", "PATH_INFO: /health/live", "Script-Name: /x"]
)
def test_no_header_moves_a_request_to_another_path(web: OwnWeb, header: str) -> None:
    assert " 404 " in web.ask("GET", "/nowhere", header).splitlines()[0]


def test_a_header_with_an_underscore_is_not_the_one_with_a_hyphen(web: OwnWeb) -> None:
    web.ask("GET", "/underscored", "X_Forwarded_For: 52.89.214.238")
    wait_until(lambda: any(line.get("path") == "/underscored" for line in web.lines))
    assert [line["address"] for line in web.lines if line.get("path") == "/underscored"] == ["127.0.0.1"]


@pytest.mark.parametrize("hosts", [["evil.example"], [""], ["localhost", "evil.example"]])
def test_a_host_that_is_not_ours_is_refused(web: OwnWeb, hosts: list[str]) -> None:
    lines = [
        f"POST /webhook/{SECRET} HTTP/1.1",
        *(f"Host: {host}" for host in hosts),
        "Content-Length: 0",
        "Connection: close",
    ]
    answer = web.send("\r\n".join([*lines, "", ""]).encode())
    assert " 400 " in answer.splitlines()[0]


@pytest.mark.parametrize(
    "headers", [["X-Forwarded-For: " + "1.1.1.1, " * 8000], [f"X-{number}: x" for number in range(200)]]
)
def test_headers_beyond_measure_are_refused_at_the_door(web: OwnWeb, headers: list[str]) -> None:
    answer = web.ask("POST", f"/webhook/{SECRET}", *headers)
    assert answer.splitlines()[0].split()[1] in ("400", "431")


def test_clients_that_never_stop_asking_leave_others_their_turn(web: OwnWeb) -> None:
    """Each of the two threads could go on with one of them for ever."""
    are_over = threading.Event()
    with ThreadPoolExecutor(2) as clients:
        answered = [clients.submit(ask_on_and_on, web, are_over) for _ in range(2)]
        try:
            for _ in range(20):
                assert " 404 " in web.ask("GET", "/nowhere").splitlines()[0]
        finally:
            are_over.set()
    times = [each.result() for each in answered]
    # In turn, and not whenever one of them happens to pause
    assert max(times) < 20 * 10, times


def ask_on_and_on(web: OwnWeb, are_over: threading.Event) -> int:
    """Ask over one connection, each time as soon as the last answer came; return how often."""
    line, answers = HTTPConnection("127.0.0.1", web.port, timeout=10), 0
    while not are_over.is_set():
        line.request("GET", "/nowhere")
        assert line.getresponse().read()
        answers += 1
    line.close()
    return answers


def test_it_stops_within_ten_seconds_while_a_client_dawdles(web: OwnWeb) -> None:
    with socket.create_connection(("127.0.0.1", web.port)) as slow:
        slow.sendall(b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        time.sleep(0.2)
        started = time.monotonic()
        web.process.send_signal(signal.SIGTERM)
        assert web.process.wait(timeout=15) == 0
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    "dangerous",
    [
        {"WEBHOOK_SECRETS": "changeme"},
        {"SECRET_KEY": "django-insecure-0123456789abcdefghijklmnopqrstuvwxyz"},
        {"DEBUG": "on", "BEHIND_TLS": "on"},
    ],
)
@pytest.mark.parametrize(
    "argv", [["-c", "import pelusa.wsgi"], ["-m", "celery", "-A", "pelusa", "beat", "--schedule", "{}/schedule"]]
)
def test_no_server_starts_with_settings_that_are_dangerous(
    tmp_path: Path, argv: list[str], dangerous: dict[str, str]
) -> None:
    environment = os.environ | {"VAR_DIR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "pelusa.settings"} | dangerous
    done = subprocess.run(
        [sys.executable, *(word.format(tmp_path) for word in argv)],
        cwd=settings.BASE_DIR,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "pelusa.E00" in done.stderr
    assert not any(value in done.stderr for value in dangerous.values() if len(value) > 3)
