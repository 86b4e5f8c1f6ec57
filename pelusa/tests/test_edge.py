"""S01, S18, S27, H76 to H79, H95: the Caddyfile itself, in front of a real web process."""

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.conf import settings

from pelusa.doctor.proxy import HEADER, new_pass
from pelusa.livesystem import ROOT, free_port, wait_until
from pelusa.supervisor import port_is_open
from pelusa.testing import alarm_body
from pelusa.tests.certificates import NAME, Authority
from pelusa.tests.composing import composed
from pelusa.tests.planted import planted
from pelusa.tests.web import OwnWeb, running_web

CADDY = os.environ.get("CADDY") or shutil.which("caddy") or ""
pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(not CADDY, reason="needs Debian's caddy"),
    pytest.mark.xdist_group("edge"),
]

SECRET = planted("webhook secret")
# The address rules let TradingView's addresses alone use this one
GUARDED = "the-guarded-secret-at-the-edge-0123"
HOST = "pelusa.test"
TRADINGVIEW, STRANGER = "52.89.214.238", "203.0.113.9"
# Where Caddy and Pelusa listen, and who asks
HERE, CLIENT = "127.0.0.1", "127.0.0.3"
Pair = tuple[Path, Path]


@dataclass
class Edge:
    """A running Caddy: its two ports, its own authority and what it printed."""

    http: int
    https: int
    authority: Path
    output: Path

    def send(self, raw: bytes, *, tls: bool = True, shown: Pair | None = None) -> str:
        """Send bytes and return the answer: nothing when the connection was cut before one came."""
        with self.connect(tls=tls, shown=shown) as connection:
            with suppress(ConnectionError, ssl.SSLError):
                connection.sendall(raw)
            return read_to_the_end(connection)

    @contextmanager
    def connect(self, *, tls: bool = True, shown: Pair | None = None) -> Iterator[socket.socket]:
        port = self.https if tls else self.http
        with socket.create_connection((HERE, port), timeout=20, source_address=(CLIENT, 0)) as plain:
            if not tls:
                yield plain
                return
            with self._context(shown).wrap_socket(plain, server_hostname=HOST) as wrapped:
                yield wrapped

    def _context(self, shown: Pair | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.authority)
        if shown:
            context.load_cert_chain(*shown)
        return context

    def ask(self, method: str, path: str, *headers: str, body: bytes = b"", host: str = HOST, **how: object) -> str:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}", *headers]
        return self.send("\r\n".join([*lines, "Connection: close", "", ""]).encode() + body, **how)  # type: ignore[arg-type]

    def post(self, *headers: str, body: bytes | None = None, path: str = f"/webhook/{SECRET}", **how: object) -> str:
        sent = alarm_body() if body is None else body
        return self.ask("POST", path, *headers, body=sent, **how)  # type: ignore[arg-type]


def read_to_the_end(connection: socket.socket) -> str:
    said = b""
    with suppress(ConnectionError, ssl.SSLError):
        while chunk := connection.recv(65_536):
            said += chunk
    return said.decode()


def status(answer: str) -> int:
    return int(answer.split(" ", 2)[1]) if answer else 0


def header(answer: str, name: str) -> str | None:
    found = re.search(rf"(?im)^{name}: (.*?)\r?$", answer.split("\r\n\r\n")[0])
    return found[1] if found else None


def body_of(answer: str) -> dict[str, object]:
    return dict(json.loads(answer.partition("\r\n\r\n")[2]))


@contextmanager
def edge_before(web_port: int, home: Path, **dotenv: str) -> Iterator[Edge]:
    """Run the Caddyfile with the environment that compose gives it, on free ports and without leaving this machine."""
    http, https = free_port(), free_port()
    told = {
        key: str(value)
        for key, value in composed(MYSQL_PASSWORD="x", **dotenv)["services"]["caddy"]["environment"].items()
    }
    ours = "\n".join(
        ["local_certs", "skip_install_trust", f"default_bind {HERE}", f"http_port {http}", f"https_port {https}"]
    )
    told |= {
        "CADDY_OPTIONS": ours,
        "UPSTREAM": f"{HERE}:{web_port}",
        "XDG_DATA_HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
    }
    if dotenv.get("TRADINGVIEW_CA"):
        told["TRADINGVIEW_CA"] = dotenv["TRADINGVIEW_CA"]
    with (home / "output").open("wb") as sink:
        argv = [CADDY, "run", "--config", "docker/caddy/Caddyfile", "--adapter", "caddyfile"]
        environment = {"PATH": os.environ["PATH"], "HOME": str(home)} | told | old_words()
        with subprocess.Popen(argv, cwd=ROOT, env=environment, stdout=sink, stderr=sink) as process:
            try:
                edge = Edge(http, https, home / "caddy/pki/authorities/local/root.crt", home / "output")
                wait_for(edge, tls="PELUSA_DOMAIN" in dotenv)
                yield edge
            finally:
                process.terminate()


def old_words() -> dict[str, str]:
    """Return what Caddy before 2.7 calls otherwise."""
    version = subprocess.run([CADDY, "version"], capture_output=True, text=True, check=True).stdout
    old = tuple(map(int, re.findall(r"\d+", version)[:2])) < (2, 7)
    return {"REQUEST_BUFFERS": "buffer_requests\nmax_buffer_size"} if old else {}


def wait_for(edge: Edge, *, tls: bool) -> None:
    """Wait for the ports, the certificate, and the first look at the web process."""

    def lives() -> bool:
        if not port_is_open(edge.https if tls else edge.http) or (tls and not edge.authority.exists()):
            return False
        with suppress(OSError):
            return status(edge.ask("GET", "/health/live", tls=tls)) == 200
        return False

    wait_until(lives, what=f"for Caddy: {edge.output.read_text()[-2000:]}")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What Pelusa is told: nothing about hosts and proxies but the domain and Caddy's address."""
    home = tmp_path_factory.mktemp("pelusa")
    names = {"DATABASE_URL": "operations", "ALARMS_DATABASE_URL": "alarms", "MARKET_DATABASE_URL": "market"}
    told = {
        **{name: f"sqlite:///{home / file}.sqlite3" for name, file in names.items()},
        "VAR_DIR": str(home),
        "SECRET_KEY": settings.SECRET_KEY,
        "WEBHOOK_SECRETS": f"{SECRET},{GUARDED}",
        "PELUSA_DOMAIN": HOST,
        "TRUSTED_PROXIES": HERE,
        "IP_ALLOW": f"/webhook/{GUARDED}=tradingview",
    }
    argv = [sys.executable, "manage.py", "prepare"]
    subprocess.run(argv, cwd=ROOT, env=os.environ | told, check=True, capture_output=True)
    return told


@contextmanager
def pelusa(told: Mapping[str, str], port: int | None = None) -> Iterator[OwnWeb]:
    with running_web(Path(told["VAR_DIR"]), told, threads=2, port=port) as web:
        yield web


@pytest.fixture(scope="module")
def web(told: dict[str, str]) -> Iterator[OwnWeb]:
    with pelusa(told) as web:
        yield web


@pytest.fixture(scope="module")
def edge(web: OwnWeb, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    with edge_before(web.port, tmp_path_factory.mktemp("edge"), PELUSA_DOMAIN=HOST) as edge:
        yield edge


def test_https_works_and_every_answer_carries_its_headers(edge: Edge) -> None:
    for answer in (edge.ask("GET", "/health/live"), edge.ask("GET", "/admin/login/"), edge.post()):
        assert status(answer) == 200
        assert header(answer, "Strict-Transport-Security")
        assert header(answer, "X-Content-Type-Options") == "nosniff"
        assert header(answer, "X-Frame-Options") == "DENY"
        assert header(answer, "Referrer-Policy") == "same-origin"
        assert header(answer, "Server") is None
        assert header(answer, "Via") is None


def test_port_80_leads_people_to_https_and_takes_alarms_as_they_come(edge: Edge) -> None:
    led = edge.ask("GET", "/admin/?next=1", tls=False)
    assert (status(led), header(led, "Location")) == (301, f"https://{HOST}/admin/?next=1")
    assert header(led, "Server") is None
    for path in (f"/webhook/{SECRET}", f"/webhook/{SECRET}/"):
        answer = edge.post(path=path, tls=False)
        assert (status(answer), header(answer, "Location"), body_of(answer)["status"]) == (200, None, "received")


@pytest.mark.parametrize("tls", [True, False], ids=["https", "http"])
def test_a_host_that_is_not_ours_is_refused(edge: Edge, tls: bool) -> None:
    assert status(edge.ask("GET", "/health/live", host="evil.example", tls=tls)) in (400, 421)
    assert status(edge.post(host="evil.example", tls=tls)) in (400, 421)


def test_no_forged_header_decides_who_asks(edge: Edge) -> None:
    forged = [
        f"X-Forwarded-For: {STRANGER}",
        f"X-Real-IP: {STRANGER}",
        f"Forwarded: for={STRANGER}",
        "X-Forwarded-Proto: http",
    ]
    lying = [f"X-Forwarded-For: {TRADINGVIEW}", f"X_Forwarded_For: {TRADINGVIEW}", f"X-Real-IP: {TRADINGVIEW}"]
    assert status(edge.post(*lying, path=f"/webhook/{GUARDED}")) == 403
    seen = body_of(edge.ask("GET", "/health/seen", *forged, f"{HEADER}: {new_pass()}"))
    assert seen == {"peer": HERE, "forwarded_for": CLIENT, "is_secure": True}


@pytest.mark.parametrize(
    ("path", "size", "by"),
    [
        (f"/webhook/{SECRET}", 20_000, "pelusa"),
        (f"/webhook/{SECRET}", 100_000, "edge"),
        ("/admin/login/", 1_100_000, "edge"),
    ],
)
def test_a_body_that_is_too_large_is_413(edge: Edge, path: str, size: int, by: str) -> None:
    answer = edge.post(path=path, body=b"x" * size)
    assert status(answer) == 413
    assert ("request_id" in answer) == (by == "pelusa")


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: 5", "Content-Length: 7"],
        ["Content-Length: -1"],
        ["Content-Length: x"],
        ["Transfer-Encoding: gzip, chunked"],
        ["Transfer-Encoding: xchunked"],
    ],
)
def test_h76_a_length_that_can_be_read_two_ways_is_refused(edge: Edge, lines: list[str]) -> None:
    answer = edge.send("\r\n".join(["POST /webhook HTTP/1.1", f"Host: {HOST}", *lines, "", "hello"]).encode())
    assert status(answer) in (400, 501)


def test_h78_h79_what_is_unusual_reaches_pelusa_as_it_is(edge: Edge) -> None:
    assert status(edge.post("Content-Encoding: gzip")) == 415
    assert "HTTP/1.1 200" in edge.post("Expect: 100-continue")
    body = alarm_body()
    old = f"POST /webhook/{SECRET} HTTP/1.0\r\nHost: {HOST}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    assert status(edge.send(old)) == 200


SLOW = {
    "a head that never ends": b"X-Slow: ",
    "a body that never comes": b"Content-Length: 500\r\n\r\nTicker: BTCUSDT.P\n",
    "chunks without an end": b"Transfer-Encoding: chunked\r\n\r\n8\r\nTicker: \r\n",
}


def test_h77_who_dawdles_is_cut_off_and_keeps_no_honest_alarm_waiting(edge: Edge, told: dict[str, str]) -> None:
    """Two threads answer; nine who send a byte now and then hold none of them, and nothing of theirs is stored."""
    before, began = stored(told), time.monotonic()
    with ThreadPoolExecutor(9) as pool:
        slow = [pool.submit(dawdle, edge, raw) for raw in SLOW.values() for _ in range(3)]
        time.sleep(2)
        asked = time.monotonic()
        assert status(edge.post()) == 200
        assert time.monotonic() - asked < 2
        for each in slow:
            each.result()
    assert time.monotonic() - began < 14
    assert stored(told) == before + 1


def stored(told: dict[str, str]) -> int:
    """Return how many alarms Pelusa holds."""
    with closing(sqlite3.connect(told["ALARMS_DATABASE_URL"].removeprefix("sqlite:///"))) as database:
        return int(database.execute("SELECT COUNT(*) FROM alarms_alarm").fetchone()[0])


def dawdle(edge: Edge, raw: bytes) -> None:
    """Send a byte each second until the other side has had enough."""
    with edge.connect() as connection:
        connection.sendall(f"POST /webhook/{SECRET} HTTP/1.1\r\nHost: {HOST}\r\n".encode() + raw)
        connection.settimeout(1)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                if not connection.recv(65_536):
                    return
            except TimeoutError:
                connection.sendall(b"x")
            except (ConnectionError, ssl.SSLError):
                return
    raise AssertionError(f"{raw!r} was never cut off")


def test_a_web_process_that_is_away_is_503_and_what_is_sent_again_is_taken(
    told: dict[str, str], tmp_path: Path
) -> None:
    body, port = alarm_body(), free_port()
    with pelusa(told, port) as web, ExitStack() as stack:
        edge = stack.enter_context(edge_before(port, tmp_path, PELUSA_DOMAIN=HOST))
        web.process.terminate()
        web.process.wait(timeout=15)
        for tls in (True, False):
            answer = edge.post(body=body, tls=tls)
            assert (status(answer), header(answer, "Retry-After")) == (503, "5")
            assert header(answer, "Server") is None
        with pelusa(told, port):
            again: list[str] = []
            wait_until(lambda: status(again.append(edge.post(body=body)) or again[-1]) == 200, seconds=5)
            assert body_of(again[-1])["status"] == "received"
    assert SECRET not in edge.output.read_text()


def test_a_frozen_web_process_is_503_before_tradingview_gives_up(edge: Edge, web: OwnWeb) -> None:
    frozen = [web.pid, *web.workers()]
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        assert status(edge.post()) == 503
        assert time.monotonic() - began < 3
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
    wait_until(lambda: status(edge.post()) == 200, seconds=15, what="for it to thaw")


def test_no_secret_is_in_the_access_log(edge: Edge) -> None:
    for path in (
        f"/webhook/{SECRET}",
        f"/WebHook//{SECRET}",
        f"/%77ebhook/{SECRET}",
        f"/nowhere/{SECRET}",
        f"/?secret={SECRET}",
    ):
        edge.post(f"Authorization: Token {SECRET}", f"X-Key: {SECRET}", f"Cookie: a={SECRET}", path=path)
    wait_until(lambda: edge.output.read_text().count("handled request") > 20)
    assert SECRET not in edge.output.read_text()
    assert '"uri":"/webhook/***"' in edge.output.read_text()


@pytest.fixture(scope="module")
def tradingviews(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.new(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def strict(web: OwnWeb, tradingviews: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    home = tmp_path_factory.mktemp("strict")
    with edge_before(web.port, home, PELUSA_DOMAIN=HOST, TRADINGVIEW_CA=str(tradingviews.file)) as edge:
        yield edge


def test_h95_tradingviews_certificate_opens_the_webhook_and_nothing_else_does(
    strict: Edge, tradingviews: Authority
) -> None:
    assert status(strict.post(shown=tradingviews.issue())) == 200
    assert status(strict.post("X-SSL-Client-Verify: SUCCESS", f"X-SSL-Client-CN: {NAME}")) == 403
    assert status(strict.post(tls=False)) == 403
    assert status(strict.ask("GET", "/admin/login/")) == 200


@pytest.mark.parametrize(
    "wrong",
    [{"name": "Somebody"}, {"name": f"x, CN={NAME}"}, {"email": "somebody@tradingview.com"}, {"email": ""}],
    ids=["name", "name within a name", "SAN", "no SAN"],
)
def test_h95_a_certificate_for_somebody_else_is_403(
    strict: Edge, tradingviews: Authority, wrong: dict[str, str]
) -> None:
    assert status(strict.post(shown=tradingviews.issue(**wrong))) == 403


def test_h95_a_certificate_that_the_authority_did_not_issue_or_that_is_over_is_cut_off(
    strict: Edge, tradingviews: Authority, tmp_path: Path
) -> None:
    assert strict.post(shown=Authority.new(tmp_path).issue()) == ""
    assert strict.post(shown=tradingviews.issue(days=-1)) == ""


def test_without_a_domain_it_is_plain_http_and_pelusa_judges_the_host(web: OwnWeb, tmp_path: Path) -> None:
    with edge_before(web.port, tmp_path) as edge:
        assert status(edge.post(tls=False)) == 200
        assert status(edge.post(tls=False, host="evil.example")) == 400
        assert not port_is_open(edge.https)
