"""A whole Pelusa of real processes, for tests, benchmarks and crash runs: started, driven and asked from outside."""

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import redis
import requests

from pelusa.processes import beat_argv, web_argv, web_is_live, worker_argv
from pelusa.supervisor import ProcessSpec, Supervisor, port_is_open

ROOT = Path(__file__).resolve().parent.parent
DATABASES = ("default", "alarms", "market")
PRICES = {"BTC-USDT": "50000", "ETH-USDT": "3000"}


def free_port() -> int:
    """Return a port of the loopback address that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(is_true: Callable[[], bool], *, seconds: float = 30.0, what: str = "") -> None:
    """Return as soon as `is_true`; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain {what}"
        time.sleep(0.02)


class PaperExchange:
    """A paper exchange in a process of its own, with its control addresses."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._session = requests.Session()
        self._session.trust_env = False

    def control(self, name: str, **body: Any) -> Any:
        """POST to a control address and return its answer."""
        answer = self._session.post(f"{self.url}/paper/{name}", json=body, timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def start_over(self) -> None:
        """Forget all books and faults; pin prices that are easy to reckon with."""
        self.control("reset")
        self._session.delete(f"{self.url}/paper/faults", timeout=10)
        self.control("prices", **PRICES)

    def ledger(self, **query: str) -> list[dict[str, Any]]:
        """Return every order that was ever accepted, in the order of acceptance."""
        return list(self._books(query)["orders"])

    def positions(self, **query: str) -> list[dict[str, Any]]:
        """Return every position that is open."""
        return list(self._books(query)["positions"])

    def _books(self, query: dict[str, str]) -> Any:
        answer = self._session.get(f"{self.url}/paper/ledger", params=query, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def close(self) -> None:
        self._session.close()


@contextmanager
def paper_exchange(*, seed: int = 7, prices: dict[str, str] | None = None) -> Iterator[PaperExchange]:
    """Run a paper exchange without state for the length of the block."""
    port = free_port()
    options = [word for symbol, price in (prices or {}).items() for word in ("--price", f"{symbol}={price}")]
    argv = [sys.executable, "-m", "exchange.paper", "--port", str(port), "--seed", str(seed), *options]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: port_is_open(port), what="for the paper exchange")
            paper = PaperExchange(port)
            yield paper
            paper.close()
        finally:
            process.terminate()


@dataclass
class LiveSystem:
    """Pelusa as real processes on real servers, in databases of its own; a client for its API."""

    home: Path
    mysql: str
    broker: str
    workers: int = 1
    threads: int = 4
    paper_options: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    paper_port: int = field(default_factory=free_port)
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.url = f"http://127.0.0.1:{self.port}"
        self.schemas = {alias: f"pelusa-live-{alias}-{secrets.token_hex(4)}" for alias in DATABASES}
        self.paper = PaperExchange(self.paper_port)
        self.tokens: list[str] = []

    @property
    def env(self) -> dict[str, str]:
        """The settings of every process."""
        names = {"default": "DATABASE_URL", "alarms": "ALARMS_DATABASE_URL", "market": "MARKET_DATABASE_URL"}
        return {
            **{names[alias]: f"{self.mysql}/{schema}" for alias, schema in self.schemas.items()},
            "CELERY_BROKER_URL": self.broker,
            "VAR_DIR": str(self.home),
            "PORT": str(self.port),
            "BINGX_PAPER_URL": self.paper.url,
            "PELUSA_TRADING": "paper",
            "WEBHOOK_SECRETS": self.secret,
            # Tests and benchmarks ask without a pause
            "API_REQUESTS_PER_MINUTE": "10000000",
            "DJANGO_SETTINGS_MODULE": "pelusa.settings",
            **self.settings,
        }

    def specs(self) -> list[ProcessSpec]:
        """Return the processes: paper exchange, web, `workers` workers and beat."""
        paper = ["-m", "exchange.paper", "--port", str(self.paper_port), "--state", str(self.home / "paper.sqlite3")]
        worker = [*worker_argv(self.threads), "-n"]
        return [
            self._spec("paper", [*paper, *self.paper_options], partial(port_is_open, self.paper_port)),
            self._spec("web", web_argv("127.0.0.1", self.port), partial(web_is_live, self.port)),
            *(self._spec(f"worker{number}", [*worker, f"w{number}@%h"]) for number in range(self.workers)),
            self._spec("beat", beat_argv()),
        ]

    def _spec(self, name: str, argv: list[str], is_ready: Callable[[], bool] | None = None) -> ProcessSpec:
        return ProcessSpec(name, [sys.executable, *argv], env=self.env, cwd=ROOT, is_ready=is_ready)

    @contextmanager
    def running(self) -> Iterator[Supervisor]:
        """Create the databases, migrate, run everything; drop the databases at the end."""
        self.sql(*(f"CREATE DATABASE `{schema}` CHARACTER SET utf8mb4" for schema in self.schemas.values()))
        try:
            for alias in DATABASES:
                self.manage("migrate", "--database", alias, "--verbosity", "0")
            with (
                (self.home / "processes.log").open("a") as output,
                Supervisor(self.specs(), output=output) as supervisor,
            ):
                supervisor.wait_ready()
                yield supervisor
            self.last_look()
        finally:
            self.sql(*(f"DROP DATABASE IF EXISTS `{schema}`" for schema in self.schemas.values()))

    def last_look(self) -> None:
        """Do nothing; whoever wants to see what the system leaves puts his own deed here."""

    def tables(self) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
        """Yield the name and the rows of every table of the three databases."""
        for schema in self.schemas.values():
            for (table,) in self.sql(f"SHOW TABLES FROM `{schema}`"):
                yield table, self.sql(f"SELECT * FROM `{schema}`.`{table}`")  # noqa: S608 - the server named both

    def manage(self, *argv: str) -> str:
        """Run a management command in this system and return what it printed."""
        command = [sys.executable, "manage.py", *argv]
        return subprocess.run(
            command, cwd=ROOT, env=os.environ | self.env, check=True, capture_output=True, text=True
        ).stdout

    @classmethod
    def on_our_servers(cls, home: Path, **options: Any) -> "LiveSystem":
        """Return a system on the servers that the environment names, in a Redis database of its own, emptied."""
        mysql = os.environ["DATABASE_URL"].rpartition("/")[0]
        # Another system may run beside it: each process of the tests has a Redis database of its own
        number = 15 - int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 8
        broker = urlsplit(os.environ["CELERY_BROKER_URL"])._replace(path=f"/{number}").geturl()
        with redis.Redis.from_url(broker) as server:
            server.flushdb()
        return cls(home, mysql, broker, **options)

    def sql(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements and return what the last one answered."""
        import MySQLdb

        at = urlsplit(self.mysql)
        connection = MySQLdb.connect(
            host=at.hostname, port=at.port or 3306, user=at.username or "root", password=at.password or ""
        )
        try:
            cursor = connection.cursor()
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())
        finally:
            connection.close()

    def api(self, *, role: str = "operator") -> "ApiClient":
        """Return a client for a new user of that role."""
        token = self.manage("token", f"tester-{role}", "--role", role).splitlines()[-1]
        self.tokens.append(token)
        return ApiClient(self.url, token)


class ApiClient:
    """A user's way into `/api/v1`."""

    def __init__(self, url: str, token: str) -> None:
        self.base = f"{url}/api/v1"
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["Authorization"] = f"Token {token}"

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        answer = self.session.post(f"{self.base}{path}", json=body, timeout=30)
        assert answer.status_code in (200, 201), answer.text
        return dict(answer.json())

    def get(self, path: str) -> dict[str, Any]:
        answer = self.session.get(f"{self.base}{path}", timeout=30)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def all(self, path: str, **query: str) -> list[dict[str, Any]]:
        """Return every row of a list, all its pages, newest first."""
        url: str | None = f"{self.base}{path}"
        rows: list[dict[str, Any]] = []
        parameters: dict[str, str] | None = {"limit": "500", **query}
        while url:
            answer = self.session.get(url, params=parameters, timeout=30)
            assert answer.status_code == 200, answer.text
            page = answer.json()
            rows += page["results"]
            url, parameters = page["next"], None
        return rows
