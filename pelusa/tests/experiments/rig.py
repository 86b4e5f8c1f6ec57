"""What every experiment stands on: Pelusa as real processes, on servers and lines of its own made to be killed and cut.

The size of an experiment is multiplied by PELUSA_EXPERIMENT_SCALE; its chances are drawn from PELUSA_EXPERIMENT_SEED.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import redis
import requests

from bench.faultproxy import FaultProxy, Line
from bench.servers import OwnMariaDB, OwnRedis, scratch_folder
from pelusa.livesystem import DATABASES, ROOT, LiveSystem, PaperExchange
from pelusa.supervisor import ProcessSpec, Supervisor
from pelusa.testing import alarm_body

SCALE = float(os.environ.get("PELUSA_EXPERIMENT_SCALE", "1"))
SEED = int(os.environ.get("PELUSA_EXPERIMENT_SEED", "1"))
# TradingView gives up after this; nobody else's patience is a verdict here
TRADINGVIEW_SECONDS = 3.0
SENDS = 4
# After which a hanging experiment is called one
TIMEOUT = 600 * max(1.0, SCALE)
# How long a run may take to come to rest; what it takes is printed
PATIENCE = 120.0
MIGRATE_ALL = """
from django.core.management import call_command
for alias in ("default", "alarms", "market"):
    call_command("migrate", database=alias, verbosity=0)
"""
# Killed between the commit and the wire: an entry that never arrived is not sent again once its close is here, and then
# there is nothing to close. A trade is missed, and said so, rather than made too late
NEVER_SENT = frozenset({"never_arrived", "nothing_left_to_close"})
URLS = {"default": "DATABASE_URL", "alarms": "ALARMS_DATABASE_URL", "market": "MARKET_DATABASE_URL"}


def scaled(number: int) -> int:
    """Return the count for this run."""
    return max(1, round(number * SCALE))


class MigratedMariaDB(OwnMariaDB):
    """A server that begins with a copy of a data folder in which the three databases are migrated."""

    template: Path

    def install(self) -> None:
        shutil.copytree(self.template, self.data)


class HastyMariaDB(OwnMariaDB):
    """The server that the template is made with: nothing of it need survive a crash."""

    def argv(self) -> list[str]:
        return [*super().argv(), "--innodb-flush-log-at-trx-commit=0", "--innodb-log-file-size=16M"]


@dataclass
class RiggedSystem(LiveSystem):
    """A live system whose processes use lines where there are any, and settings of the experiment's."""

    lines: dict[str, FaultProxy] = field(default_factory=dict)
    only: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        self.schemas = {alias: f"pelusa-{alias}" for alias in DATABASES}

    @property
    def straight_env(self) -> dict[str, str]:
        """The settings without any line."""
        return super().env

    @property
    def env(self) -> dict[str, str]:
        env = self.straight_env
        for alias, schema in self.schemas.items():
            if alias in self.lines:
                env[URLS[alias]] = f"mysql://root@127.0.0.1:{self.lines[alias].port}/{schema}"
        if "broker" in self.lines:
            env["CELERY_BROKER_URL"] = f"redis://127.0.0.1:{self.lines['broker'].port}/0"
        if "exchange" in self.lines:
            env["BINGX_PAPER_URL"] = f"http://127.0.0.1:{self.lines['exchange'].port}"
        return env

    def specs(self) -> list[ProcessSpec]:
        """Return the processes, or those alone whose names begin with a word of `only`."""
        return [spec for spec in super().specs() if not self.only or spec.name.startswith(self.only)]

    @contextmanager
    def running(self) -> Iterator[Supervisor]:
        """Run the processes on databases that are migrated already."""
        with (
            (self.home / "processes.log").open("a") as output,
            Supervisor(self.specs(), output=output, stop_seconds=2.0) as supervisor,
        ):
            supervisor.wait_ready(PATIENCE)
            yield supervisor

    def another(self, spec: ProcessSpec, name: str) -> ProcessSpec:
        """Return a second process like `spec`."""
        return ProcessSpec(name, spec.argv, env=spec.env, cwd=spec.cwd)


class Witness:
    """The process that knows the rig's books, on straight connections."""

    def __init__(self, system: RiggedSystem) -> None:
        argv = [sys.executable, "-m", "pelusa.tests.experiments.witness"]
        env = os.environ | system.straight_env | {"LOG_LEVEL": "ERROR"}
        self._turn = threading.Lock()
        self._process = subprocess.Popen(
            argv, cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, deed: str, **arguments: Any) -> Any:
        """Return the deed's answer; try again while the database is away."""
        deadline = time.monotonic() + 30
        while "error" in (said := self._say(deed, arguments)):
            assert time.monotonic() < deadline, said["error"]
            time.sleep(0.2)
        return said["answer"]

    def _say(self, deed: str, arguments: dict[str, Any]) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin
        assert stdout
        with self._turn:
            stdin.write(json.dumps([deed, arguments]) + "\n")
            stdin.flush()
            line = stdout.readline()
        assert line, "the witness died; what it said is above"
        return dict(json.loads(line))

    def close(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@dataclass
class TradingView:
    """Sends as TradingView does: again on 5xx but 504, at most three times.

    As through a proxy that answers 502 when the web process gave no answer; one that took 3 s is never sent again.
    """

    url: str
    pause: float = 1.0
    acknowledged: dict[str, int] = field(default_factory=dict)
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    def send(self, body: bytes) -> int | None:
        """Return the alarm's id when it was taken."""
        for attempt in range(SENDS):
            if attempt:
                time.sleep(self.pause)
            status, alarm_id = self.post(body)
            if alarm_id is not None:
                self.acknowledged[body.decode()] = alarm_id
                return alarm_id
            if status < 500 or status == 504:
                return None
        return None

    def post(self, body: bytes) -> tuple[int, int | None]:
        began = time.monotonic()
        try:
            answer = requests.post(self.url, data=body, timeout=TRADINGVIEW_SECONDS)
        except requests.Timeout:
            return self._unanswered(504)
        except requests.RequestException:
            return self._unanswered(502)
        self.seconds.append(time.monotonic() - began)
        self.statuses[answer.status_code] += 1
        return answer.status_code, int(answer.json()["id"]) if answer.status_code == 200 else None

    def _unanswered(self, status: int) -> tuple[int, None]:
        self.statuses[status] += 1
        return status, None


@dataclass
class Rig:
    """Servers, lines and processes of one file of experiments."""

    mysql: OwnMariaDB
    broker: OwnRedis
    system: RiggedSystem
    witness: Witness
    _supervisor: Supervisor | None = None
    dice: random.Random = field(default_factory=lambda: random.Random(SEED))
    lanes: list[list[str]] = field(default_factory=list)
    is_stacking: bool = False
    _second: Iterator[int] = field(default_factory=count)

    @property
    def supervisor(self) -> Supervisor:
        assert self._supervisor, "nothing runs"
        return self._supervisor

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the processes for the length of the block."""
        with self.system.running() as self._supervisor:
            yield
        self._supervisor = None

    @property
    def lines(self) -> dict[str, FaultProxy]:
        return self.system.lines

    @property
    def paper(self) -> PaperExchange:
        return self.system.paper

    def start_over(
        self, lanes: int = 8, legs: tuple[str, ...] = ("long",), strategies: int = 1, pyramiding: int = 1
    ) -> None:
        """Wait until every process is up, open every line, forget all books, and make new lanes."""
        self.supervisor.wait_ready(PATIENCE)
        for line in self.lines.values():
            line.turn(Line.OPEN)
        self.is_stacking = pyramiding > 1
        self.lanes = self.witness.ask(
            "start_over", lanes=lanes, legs=list(legs), strategies=strategies, pyramiding=pyramiding
        )

    def tradingview(self, *, pause: float = 1.0) -> TradingView:
        return TradingView(f"{self.system.url}/webhook/{self.system.secret}", pause)

    def alarm(self, order: str, lane: int = 0, **members: str) -> bytes:
        """Return an alarm for a lane, of a second of its own within the last hours."""
        name, ticker = self.lanes[lane]
        at = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=6) + timedelta(seconds=next(self._second))
        return alarm_body(order, at=at, ticker=ticker, Strategy=name, **members)

    def round_trips(self, lane: int, alarms: int) -> list[bytes]:
        """Return alarms that open and close a lane in turn, or only open where entries may be stacked."""
        acts = ["open", "open"] if self.is_stacking else ["open", "close"]
        return [self.alarm(f"order {acts[number % 2]} long", lane) for number in range(alarms)]

    @contextmanager
    def trading(
        self, alarms: int, *, rate: float, pause: float = 1.0, sender: TradingView | None = None
    ) -> Iterator[TradingView]:
        """Send about `alarms` alarms at `rate` a second during the block and until they are sent, each lane in turn."""
        sender, each = sender or self.tradingview(pause=pause), max(1, round(alarms / len(self.lanes)))
        threads = [
            threading.Thread(
                target=self._send_lane, args=(sender, self.round_trips(lane, each), len(self.lanes) / rate)
            )
            for lane in range(len(self.lanes))
        ]
        for thread in threads:
            thread.start()
        try:
            yield sender
        finally:
            for thread in threads:
                thread.join()

    @staticmethod
    def _send_lane(sender: TradingView, bodies: list[bytes], every: float) -> None:
        for body in bodies:
            began = time.monotonic()
            sender.send(body)
            time.sleep(max(0.0, began + every - time.monotonic()))

    def kill(self, prefix: str, number: signal.Signals = signal.SIGKILL) -> bool:
        """Send a signal to the whole group of one process of that name; return whether one was alive."""
        alive = {name: pid for name, pid in self.supervisor.pids().items() if name.startswith(prefix)}
        if not alive:
            return False
        os.killpg(alive[self.dice.choice(sorted(alive))], number)
        return True

    def kill_child(self, name: str) -> None:
        """Kill one of the processes that a process has started."""
        pid = self.supervisor.pids().get(name)
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split() if pid else []
        if children:
            os.kill(int(self.dice.choice(children)), signal.SIGKILL)

    def come_to_rest(self) -> float:
        """Wait until everything is settled; return the seconds that it took."""
        began = time.monotonic()
        while not self.witness.ask("is_settled"):
            if time.monotonic() > began + PATIENCE:
                pytest.fail("unsettled: " + "\n".join(self.witness.ask("unsettled")))
            time.sleep(0.1)
        return time.monotonic() - began

    def judge(self, sender: TradingView) -> dict[str, Any]:
        """Settle, then have the oracle compare all books; fail unless nothing is doubled, lost or unsettled."""
        seconds = self.come_to_rest()
        found = dict(self.witness.ask("audit", acknowledged=sender.acknowledged))
        figures = {name: found[name] for name in ("stored", "redelivered", "expected", "at_exchange", "missed")}
        print(f"seed {SEED}: {figures}, answers {dict(sender.statuses)}, at rest after {seconds:.1f} s")
        assert found["is_clean"], "\n".join(found["problems"][:10])
        return found

    def judge_all(self, sender: TradingView, *, missed: frozenset[str] = frozenset()) -> dict[str, Any]:
        """As `judge`, and what was decided is at the exchange, order for order, but for what may be `missed`."""
        found = self.judge(sender)
        assert found["missed"].keys() <= missed, found["missed"]
        assert found["at_exchange"] == found["expected"] - sum(found["missed"].values())
        return found


def make_template(folder: Path) -> Path:
    """Return a data folder with the three databases, migrated once for all rigs."""
    folder.mkdir(parents=True)
    server = HastyMariaDB(folder)
    server.install()
    server.start()
    try:
        system = RiggedSystem(folder, server.url, "redis://127.0.0.1:1/0")
        system.sql(*(f"CREATE DATABASE `{schema}` CHARACTER SET utf8mb4" for schema in system.schemas.values()))
        system.manage("shell", "-v", "0", "-c", MIGRATE_ALL)
    finally:
        assert server.process
        server.process.terminate()
        server.process.wait()
    return server.data


@contextmanager
def running_rig(template: Path, *lines: str, **options: Any) -> Iterator[Rig]:
    """Run a whole system on a rig; the arguments are those of `rigged`."""
    with rigged(template, *lines, **options) as rig, rig.running():
        yield rig


@contextmanager
def rigged(
    template: Path,
    *lines: str,
    workers: int = 2,
    only: tuple[str, ...] = (),
    settings: dict[str, str] | None = None,
    kind: type[RiggedSystem] = RiggedSystem,
) -> Iterator[Rig]:
    """Run the servers and the witness of a system, or of `only` some of its processes.

    `lines` names what is behind a fault proxy: default, alarms, market, broker, exchange.
    """
    home = scratch_folder()
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        mysql, broker = stack.enter_context(own_servers(home, template))
        system = kind(home, mysql.url, broker.url, workers=workers, settings=settings or {}, only=only)
        targets = dict.fromkeys(DATABASES, mysql.port) | {"broker": broker.port, "exchange": system.paper_port}
        system.lines = {name: stack.enter_context(FaultProxy(targets[name])) for name in lines}
        witness = Witness(system)
        stack.callback(witness.close)
        yield Rig(mysql, broker, system, witness)


@contextmanager
def own_servers(home: Path, template: Path) -> Iterator[tuple[OwnMariaDB, OwnRedis]]:
    """Run a migrated MariaDB and a Redis for the length of the block."""
    mysql, broker = MigratedMariaDB(home), OwnRedis(home)
    mysql.template = template
    mysql.install()
    try:
        mysql.start()
        broker.start()
        yield mysql, broker
    finally:
        for server in (mysql, broker):
            thaw(server)
            server.kill()


def thaw(server: OwnMariaDB | OwnRedis) -> None:
    """Let a server go on that was stopped."""
    if server.process and server.process.poll() is None:
        server.process.send_signal(signal.SIGCONT)


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Stop a process as a debugger would for the length of the block: its connections stay open and say nothing."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def log_of(rig: Rig) -> str:
    """Return what all processes printed."""
    return (rig.system.home / "processes.log").read_text()


def redis_of(server: OwnRedis) -> redis.Redis:
    return redis.Redis.from_url(server.url, socket_timeout=2)
