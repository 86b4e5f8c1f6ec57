"""H01 to H95 on the web process as it really runs, over raw sockets: on SQLite, and on MariaDB with all that trades."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from pelusa.testing import LiveSystem, alarm_body, wait_until
from pelusa.tests.hostile import ATTACKER, CASES, PATH, RULES, SECRET, TRADINGVIEW, Case
from pelusa.tests.web import Web, running_web

HONEST = Case("honest", 200)
CLOSED_WITHIN = 10.0
# Python itself grows while it learns; a leak or a bomb would be many times this
MOST_GROWTH = 32 * 1024 * 1024
MOST_CPU_SECONDS = 0.05
THREADS = 4
# After which TradingView gives up
TRADINGVIEW_SECONDS = 3.0


@dataclass
class Stack:
    """The web process, and the whole system when there is one."""

    web: Web
    system: LiveSystem | None = None

    def ask(self, case: Case) -> tuple[int, Any]:
        """Send a case; return its status and JSON."""
        return read(self.web.send(wire(case), ending=False, peer=case.peer))


def wire(case: Case) -> bytes:
    body = case.sent()
    head = [f"{case.method} {case.path} HTTP/1.1", f"Host: {'localhost' if case.host is None else case.host}"]
    head += [f"{name}: {value}" for name, value in case.headers]
    head += [] if case.content_type is None else [f"Content-Type: {case.content_type}"]
    return "\r\n".join([*head, f"Content-Length: {len(body)}", "Connection: close", "", ""]).encode() + body


def read(answer: str) -> tuple[int, Any]:
    """Return the one answer's status and, when it is JSON, what it says."""
    assert len(re.findall(r"^HTTP/1\.[01] \d", answer, re.MULTILINE)) == 1, answer
    head, _, content = answer.partition("\r\n\r\n")
    is_json = "content-type: application/json" in head.lower()
    return int(head.split()[1]), json.loads(content) if is_json and content else content


@contextmanager
def on_sqlite(home: Path) -> Iterator[Stack]:
    databases = dict.fromkeys(("DATABASE_URL", "ALARMS_DATABASE_URL", "MARKET_DATABASE_URL", "CELERY_BROKER_URL"), "")
    changed = RULES | databases | {"VAR_DIR": str(home)}
    argv = [sys.executable, "manage.py", "prepare"]
    subprocess.run(argv, cwd=settings.BASE_DIR, env=os.environ | changed, check=True, capture_output=True)
    with running_web(home, changed, threads=THREADS) as web:
        yield Stack(web)


@contextmanager
def on_mariadb(home: Path) -> Iterator[Stack]:
    system = LiveSystem.on_our_servers(home, settings=RULES | {"LOG_JSON": "on"}, secret=SECRET)
    with system.running() as supervisor:
        yield Stack(Web(system.port, supervisor.pids()["web"], home / "log" / "pelusa.log"), system)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(on_sqlite, id="sqlite", marks=pytest.mark.xdist_group("hostile-sqlite")),
        pytest.param(on_mariadb, id="mariadb", marks=[pytest.mark.servers, pytest.mark.xdist_group("hostile-mariadb")]),
    ],
)
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with request.param(tmp_path_factory.mktemp("hostile")) as stack:
        yield stack


def test_h01_to_h95_are_answered_as_they_must_be_and_every_honest_alarm_in_between(stack: Stack) -> None:
    stack.ask(HONEST)
    cpu, memory = cost(stack.web)
    wrong = {}
    for case in CASES:
        if (status := stack.ask(case)[0]) != case.status:
            wrong[case.name] = status
        assert stack.ask(HONEST)[1]["status"] == "received", case.name
    spent, grown = (after - before for after, before in zip(cost(stack.web), (cpu, memory), strict=True))
    assert wrong == {}
    assert spent / len(CASES) < MOST_CPU_SECONDS
    assert grown < MOST_GROWTH


def cost(web: Web) -> tuple[float, int]:
    """Return the CPU seconds and the most memory of the processes that answer."""
    seconds, memory = 0.0, 0
    for pid in web.workers():
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        seconds += (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
        peak = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
        memory += int(peak.split()[1]) * 1024
    return seconds, memory


def request(
    *headers: str, body: bytes = b"", first: str = f"POST {PATH} HTTP/1.1", host: str = "Host: localhost"
) -> bytes:
    return "\r\n".join([first, *([host] if host else []), *headers, "", ""]).encode("latin-1") + body


def honest(*headers: str, first: str = f"POST {PATH} HTTP/1.1") -> bytes:
    body = alarm_body()
    return request(*headers, f"Content-Length: {len(body)}", "Connection: close", body=body, first=first)


LENGTH = "Content-Length: 5"
FRAMES: dict[str, tuple[int, bytes]] = {
    "H63 two chains, ours last": (200, honest(f"X-Forwarded-For: {ATTACKER}", f"X-Forwarded-For: {TRADINGVIEW}")),
    "H63 two chains, ours first": (403, honest(f"X-Forwarded-For: {TRADINGVIEW}", f"X-Forwarded-For: {ATTACKER}")),
    "H68 10,000 entries": (431, honest("X-Forwarded-For: " + "1.1.1.1, " * 10_000)),
    "H68 64 kB": (431, honest("X-Forwarded-For: " + "1" * 65_536)),
    "H73 two hosts": (400, honest("Host: localhost")),
    "H76 too long a length": (422, request("Content-Length: 500", "Connection: close", body=alarm_body())),
    "H76 too short a length": (422, request("Content-Length: 50", "Connection: close", body=alarm_body())),
    "H76 no length": (422, request("Connection: close", body=alarm_body())),
    "H76 a negative length": (400, request("Content-Length: -1", body=b"hello")),
    "H76 a length with a sign": (400, request("Content-Length: +5", body=b"hello")),
    "H76 a length in words": (400, request("Content-Length: five", body=b"hello")),
    "H76 a length of other digits": (400, request("Content-Length: \xb2", body=b"hello")),
    "H76 two lengths": (400, request(LENGTH, "Content-Length: 50", body=b"hello")),
    "H76 two lengths in one": (400, request("Content-Length: 5, 50", body=b"hello")),
    "H76 a length and chunks": (
        400,
        request(LENGTH, "Transfer-Encoding: chunked", body=b"0\r\n\r\nGET / HTTP/1.1\r\n\r\n"),
    ),
    "H76 chunks and a length": (
        400,
        request("Transfer-Encoding: chunked", LENGTH, body=b"0\r\n\r\nGET / HTTP/1.1\r\n\r\n"),
    ),
    "H76 an unknown coding": (400, request("Transfer-Encoding: xchunked", body=b"0\r\n\r\n")),
    "H76 chunked twice": (400, request("Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n")),
    "H76 a coding of NUL": (400, request("Transfer-Encoding: chun\0ked", body=b"0\r\n\r\n")),
    "H76 a blank before the colon": (400, request("Content-Length : 5", body=b"hello")),
    "H76 a folded header": (400, request(LENGTH, "X: a", " b", body=b"hello")),
    "H77 chunks": (411, request("Transfer-Encoding: chunked", "Connection: close", body=b"5\r\nhello\r\n0\r\n\r\n")),
    "H77 chunks without end": (411, request("Transfer-Encoding: chunked", "Connection: close", body=b"5\r\nhello\r\n")),
    "H77 chunks that are none": (411, request("Transfer-Encoding: chunked", "Connection: close", body=b"zz\r\nhello")),
    "H79 HTTP/1.0": (200, honest(first=f"POST {PATH} HTTP/1.0")),
    "H79 HTTP/9.9": (400, honest(first=f"POST {PATH} HTTP/9.9")),
    "H79 HTTP/2": (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "H79 an expectation of ours": (417, honest("Expect: 200-ok")),
    "H80 a header of 64 kB": (431, honest("X: " + "x" * 65_536)),
    "H80 200 headers": (431, honest(*(f"X-{number}: x" for number in range(200)))),
    "H80 NUL in a header": (400, honest("X: a\0b")),
    "H80 CR in a header": (400, honest("X: a\rb")),
    "H80 NUL in a header's name": (400, honest("X\0: a")),
    "H80 a request line of 64 kB": (414, honest(first=f"POST {PATH}?{'x' * 65_536} HTTP/1.1")),
    "H80 no request": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
}


@pytest.mark.parametrize("name", FRAMES)
def test_what_is_wrong_with_the_frame_is_refused_and_begins_no_second_request(stack: Stack, name: str) -> None:
    expected, raw = FRAMES[name]
    status, _ = read(stack.web.send(raw))
    assert status == expected
    assert stack.ask(HONEST)[1]["status"] == "received"


def dribble(stack: Stack, raw: bytes, *, every: float) -> float:
    """Send the first bytes, then one at a time for as long as it is taken; return after how long it no longer was."""
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", stack.web.port), timeout=every) as connection:
        connection.sendall(raw)
        with suppress(ConnectionError):
            while time.monotonic() < begun + 2 * CLOSED_WITHIN:
                try:
                    if not connection.recv(65_536):
                        break
                except TimeoutError:
                    connection.sendall(b"x")
    return time.monotonic() - begun


SLOW = {
    "H77 a body, a byte in ten seconds": (request("Content-Length: 500", body=b"{"), 10.0),
    "H77 a body, a byte in half a second": (request("Content-Length: 500", body=b"{"), 0.5),
    "H77 a body without the secret": (request("Content-Length: 500", first="POST /webhook HTTP/1.1", body=b"{"), 0.5),
    "H77 chunks, a byte in half a second": (request("Transfer-Encoding: chunked", body=b"fff\r\n{"), 0.5),
    "H77 a header, a byte in half a second": (f"POST {PATH} HTTP/1.1\r\nX: ".encode(), 0.5),
    "H77 a request line, a byte in half a second": (b"POST /", 0.5),
    "H77 a form to log in with": (request("Content-Length: 500", first="POST /admin/login/ HTTP/1.1", body=b"u"), 0.5),
    "H77 nothing at all": (b"", 30.0),
}


def test_h77_a_dawdler_is_left_within_ten_seconds_and_honest_alarms_pass_meanwhile(stack: Stack) -> None:
    with ThreadPoolExecutor(len(SLOW)) as clients:
        slow = {name: clients.submit(dribble, stack, raw, every=every) for name, (raw, every) in SLOW.items()}
        while not all(each.done() for each in slow.values()):
            begun = time.monotonic()
            assert stack.ask(HONEST)[0] == 200
            assert time.monotonic() - begun < TRADINGVIEW_SECONDS
            time.sleep(0.2)
    seconds = {name: each.result() for name, each in slow.items()}
    assert {name: each for name, each in seconds.items() if each > CLOSED_WITHIN} == {}


def test_clients_that_say_nothing_or_never_hang_up_keep_nobody_waiting(stack: Stack) -> None:
    """Sixteen times as many as there are threads; gunicorn's own worker would have the next alarm wait for seconds."""
    with ExitStack() as crowd:
        for number in range(64):
            client = crowd.enter_context(socket.create_connection(("127.0.0.1", stack.web.port), timeout=10))
            if number % 16 == 0:
                client.sendall(honest())
        begun = time.monotonic()
        assert stack.ask(HONEST)[0] == 200
        assert time.monotonic() - begun < TRADINGVIEW_SECONDS


def test_who_begins_a_second_request_and_dawdles_holds_no_thread(stack: Stack) -> None:
    with ExitStack() as crowd:
        for _ in range(2 * THREADS):
            client = crowd.enter_context(socket.create_connection(("127.0.0.1", stack.web.port), timeout=10))
            client.sendall(request(first="GET /health/live HTTP/1.1") + b"POST /")
            assert client.recv(65_536).startswith(b"HTTP/1.1 200")
        begun = time.monotonic()
        assert stack.ask(HONEST)[0] == 200
        assert time.monotonic() - begun < TRADINGVIEW_SECONDS


def test_two_requests_in_one_piece_are_both_answered(stack: Stack) -> None:
    body = alarm_body()
    kept = request(f"Content-Length: {len(body)}", body=body)
    answer = stack.web.send(kept + kept + honest(), ending=False)
    assert re.findall(r'"status": "(\w+)"', answer) == ["received", "duplicate", "received"]


def test_h79_who_asks_to_go_on_is_told_to(stack: Stack) -> None:
    body = alarm_body()
    head = request("Expect: 100-continue", f"Content-Length: {len(body)}", "Connection: close")
    with socket.create_connection(("127.0.0.1", stack.web.port), timeout=10) as connection:
        connection.sendall(head)
        assert connection.recv(1_000).startswith(b"HTTP/1.1 100 Continue")
        connection.sendall(body)
        assert b" 200 OK" in connection.recv(65_536)


def test_h87_h88_what_is_sent_again_is_answered_and_stays_one_alarm(stack: Stack) -> None:
    case = replace(HONEST, body=alarm_body())
    said = json.loads(case.sent())
    other = replace(HONEST, body=json.dumps(dict(reversed(said.items())), indent=1).encode())
    answers = [stack.ask(each) for each in (case, case, case, case, other)]
    assert [status for status, _ in answers] == [200] * 5
    assert len({answer["id"] for _, answer in answers}) == 1
    assert [answer["status"] for _, answer in answers] == ["received"] + ["duplicate"] * 4


def test_h89_one_body_fifty_times_at_once_is_one_alarm(stack: Stack) -> None:
    case = replace(HONEST, body=alarm_body())
    with ThreadPoolExecutor(25) as clients:
        answers = list(clients.map(lambda _: stack.ask(case), range(50)))
    assert Counter(answer["status"] for _, answer in answers) == {"received": 1, "duplicate": 49}
    assert len({answer["id"] for _, answer in answers}) == 1


def test_h92_a_thousand_alarms_at_once_are_all_taken(stack: Stack) -> None:
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda _: stack.ask(HONEST), range(1_000)))
    assert Counter(answer["status"] for _, answer in answers) == {"received": 1_000}


def test_h93_a_client_that_does_not_wait_for_its_answer_has_sent_its_alarm(stack: Stack) -> None:
    case = replace(HONEST, body=alarm_body())
    with socket.create_connection(("127.0.0.1", stack.web.port), timeout=10) as connection:
        connection.sendall(wire(case))
    wait_until(lambda: stack.ask(replace(HONEST, body=case.body))[1]["status"] == "duplicate", seconds=5)


def test_the_secret_is_in_no_line_and_no_line_is_forged_or_an_error(stack: Stack) -> None:
    stack.ask(replace(HONEST, path=f"/webhook/{SECRET}x", headers=(("User-Agent", "\x1b[31m{0.__class__}"),)))
    stack.web.send(f"BROKEN\0 {PATH}\r\n\r\n".encode())
    written = stack.web.output.read_text()
    assert written.isascii()
    assert SECRET not in written
    told = [json.loads(line) for line in written.splitlines()]
    # Without a worker, a broker and an exchange the web process says that they are away: that is no doing of a stranger
    caused = [line["level"] for line in told if not line["message"].startswith("notice ")]
    assert set(caused) <= {"DEBUG", "INFO", "WARNING"}
    assert stack.system is None or stack.system.paper.ledger() == []
