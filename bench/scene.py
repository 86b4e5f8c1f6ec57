"""What the benchmarks run on: servers and systems of their own, in scratch folders."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import MySQLdb
import requests
from MySQLdb.connections import Connection

from bench.servers import OwnMariaDB, OwnRedis
from pelusa.livesystem import ROOT, LiveSystem, free_port
from pelusa.processes import web_is_live, worker_argv
from pelusa.supervisor import ProcessSpec, Supervisor, port_is_open

POOL = "2G"
_number = itertools.count(1)


class BenchMariaDB(OwnMariaDB):
    """A server with room for the whole stock; every commit is on disk before it is acknowledged."""

    def argv(self) -> list[str]:
        kept = [word for word in super().argv() if "buffer-pool" not in word]
        more = (f"--innodb-buffer-pool-size={POOL}", "--innodb-log-file-size=512M", "--local-infile=1")
        # Four systems at once, each with a hundred connections that it keeps
        return [*kept, *more, "--max-connections=500"]

    def connect(self, schema: str | None = None, **options: Any) -> Connection:
        """Return a connection as root."""
        named = options | ({"database": schema} if schema else {})
        return MySQLdb.connect(host="127.0.0.1", port=self.port, user="root", charset="utf8mb4", **named)


def servers_of(mysql: BenchMariaDB, broker: OwnRedis) -> dict[str, int]:
    """Return the processes of the two servers by what they are to us."""
    servers = {"database": mysql.process, "broker": broker.process}
    return {name: process.pid for name, process in servers.items() if process}


@dataclass
class BenchSystem(LiveSystem):
    """Pelusa as `make run` runs it, or only some of its processes."""

    only: tuple[str, ...] = ()
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str]:
        return super().env | self.settings

    def specs(self) -> list[ProcessSpec]:
        return [spec for spec in super().specs() if not self.only or spec.name.startswith(self.only)]

    @property
    def webhook(self) -> str:
        return f"/webhook/{self.secret}"

    @property
    def shared(self) -> dict[str, str]:
        """Return the settings that say nothing of databases and the broker: for SQLite beside the same exchange."""
        return {name: value for name, value in self.env.items() if not name.endswith(("DATABASE_URL", "BROKER_URL"))}

    @contextmanager
    def running(self) -> Iterator[Supervisor]:
        """Run it, so that its processes can be put to sleep and looked at."""
        with super().running() as supervisor:
            self.supervisor = supervisor
            yield supervisor

    def pids(self) -> dict[str, int]:
        """Return the leader of each kind of process by its name."""
        return self.supervisor.pids()

    def leaders(self, mysql: "BenchMariaDB", broker: OwnRedis) -> dict[str, int]:
        """Return all that an alarm keeps busy, by name: our processes and the two servers."""
        return self.pids() | servers_of(mysql, broker)

    @contextmanager
    def asleep(self, *names: str) -> Iterator[None]:
        """Stop these processes, by default all, for the length of the block: they take no processor time."""
        chosen = [pid for name, pid in self.pids().items() if name.startswith(names or ("",))]
        try:
            for pid in chosen:
                os.killpg(pid, signal.SIGSTOP)
            yield
        finally:
            for pid in chosen:
                os.killpg(pid, signal.SIGCONT)


@dataclass
class BareSystem:
    """The floor of the whole way: the bare pipeline and a sink that notes when each order came."""

    home: Path
    mysql: BenchMariaDB
    broker: str
    port: int = field(default_factory=free_port)
    sink: int = field(default_factory=free_port)
    webhook: str = "/webhook"

    @property
    def env(self) -> dict[str, str]:
        return {
            "DJANGO_SETTINGS_MODULE": "bench.bare.settings",
            "BARE_DATABASE": f"{self.mysql.url}/bare",
            "BARE_BROKER": self.broker,
            "BARE_EXCHANGE": f"http://127.0.0.1:{self.sink}/order",
        }

    def specs(self) -> list[ProcessSpec]:
        web = ["-m", "gunicorn", "bench.bare.wsgi", "-k", "gthread", "-w", "2", "--threads", "8"]
        worker = [word.replace("pelusa", "bench.bare.celery") for word in worker_argv(8)]
        return [
            self._spec("sink", ["-m", "bench.sink", str(self.sink)], partial(port_is_open, self.sink)),
            self._spec("web", [*web, "-b", f"127.0.0.1:{self.port}"], partial(web_is_live, self.port)),
            self._spec("worker", worker),
        ]

    def _spec(self, name: str, argv: list[str], is_ready: Any = None) -> ProcessSpec:
        return ProcessSpec(name, [sys.executable, *argv], env=os.environ | self.env, cwd=ROOT, is_ready=is_ready)

    @contextmanager
    def running(self) -> Iterator[Supervisor]:
        """Make its one table and run it."""
        connection = self.mysql.connect()
        for statement in ("CREATE DATABASE bare", TABLE):
            connection.cursor().execute(statement)
        connection.close()
        with (self.home / "bare.log").open("a") as output, Supervisor(self.specs(), output=output) as supervisor:
            supervisor.wait_ready()
            self.supervisor = supervisor
            yield supervisor

    def leaders(self, mysql: BenchMariaDB, broker: OwnRedis) -> dict[str, int]:
        """Return all that an alarm keeps busy, by name: its processes, the sink apart, and the two servers."""
        ours = {name: pid for name, pid in self.supervisor.pids().items() if name != "sink"}
        return ours | servers_of(mysql, broker)

    def arrivals(self) -> list[float]:
        """Return when each order came, in seconds since 1970, and forget them."""
        return [float(each) for each in requests.get(f"http://127.0.0.1:{self.sink}/arrivals", timeout=10).json()]


TABLE = """CREATE TABLE bare.bare_alarm (id BIGINT AUTO_INCREMENT PRIMARY KEY, received_at DATETIME(6) NOT NULL,
    raw LONGTEXT NOT NULL, ticker VARCHAR(40) NOT NULL, strategy VARCHAR(100) NOT NULL)"""


def alarm(order: str = "order open long", *, ticker: str = "BTCUSDT.P", strategy: str = "Bench") -> bytes:
    """Return an alarm of this moment that was never said before."""
    now = datetime.now(UTC)
    said = {
        "Ticker": ticker,
        "Interval": "5",
        "Quantity": "0.01",
        "Price_Alert": "50000.5",
        "Time_Alert": f"{now:%Y-%m-%dT%H:%M:%S.%f}Z",
        "Order": order,
        "Strategy": strategy,
        "n": next(_number),
    }
    return json.dumps(said).encode()


def inside(env: Mapping[str, str], module: str, *argv: str) -> Any:
    """Run a module in a system's environment and return the JSON that its last line is."""
    printed = _run(env, "-m", module, *argv)
    return json.loads(printed.splitlines()[-1])


def manage(env: Mapping[str, str], *argv: str) -> None:
    """Run a management command."""
    _run(env, "manage.py", *argv)


def _run(env: Mapping[str, str], *argv: str) -> str:
    command = [sys.executable, *argv]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | env, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


def schema_of(url: str) -> str:
    return urlsplit(url).path.strip("/")


def settle() -> None:
    """Let what was started for a measurement come to rest before the next one."""
    time.sleep(0.5)
