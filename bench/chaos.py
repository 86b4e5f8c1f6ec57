"""`make chaos`: everything dies at random while alarms arrive; then not one order may be doubled, lost or unsettled.

Real processes on servers of their own: gunicorn, several workers, beat, MariaDB, Redis, and the paper exchange with
its faults switched on. Alarms are delivered as TradingView does it, up to four times. All chances come from one seed.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import django
import requests

from bench.servers import OwnMariaDB, OwnRedis, own_servers, scratch_folder
from pelusa.livesystem import LiveSystem, wait_until
from pelusa.supervisor import Supervisor

TICKERS = ("BTCUSDT.P", "ETHUSDT.P", "SOLUSDT.P", "LTCUSDT.P", "ADAUSDT.P", "XRPUSDT.P", "BNBUSDT.P", "LINKUSDT.P")
SIZES = {"BTCUSDT.P": "0.001", "ETHUSDT.P": "0.01", "ADAUSDT.P": "10", "XRPUSDT.P": "10"}
ACCOUNTS = 4
WORKERS = 3
CLIENTS = 8
DELIVERIES = 4
RESENT_AFTER = 5.0
SETTLED_WITHIN = 240.0
FAULTS = {
    "orders": {
        "lost_before": 0.02,
        "reset_before": 0.02,
        "timeout_after": 0.01,
        "reset_after": 0.03,
        "gateway_after": 0.03,
        "garbage_after": 0.02,
        "codeless_after": 0.01,
        "busy_after": 0.02,
        "rate_limit": 0.01,
        "delay": 0.05,
        "delay_ms": [100, 7000],
    },
    "lookups": {"reset_before": 0.03, "gateway_after": 0.02},
    "hold_ms": 7000,
    "rate_limit_ms": 3000,
    "lookup_lag_ms": 300,
}


@dataclass
class Tally:
    """What happened on the way, for the last lines."""

    posted: int = 0
    deliveries: int = 0
    acknowledged: dict[bytes, int] = field(default_factory=dict)
    not_acknowledged: int = 0
    deaths: Counter[str] = field(default_factory=Counter)


class Sender:
    """TradingView: sends again on 5xx or no answer, and sometimes although it was answered."""

    def __init__(self, system: LiveSystem, dice: random.Random, tally: Tally) -> None:
        self.url = f"{system.url}/webhook/{system.secret}"
        self.dice, self.tally = dice, tally
        self.lock = threading.Lock()

    def deliver(self, body: bytes) -> None:
        """Deliver one alarm up to four times, until it is answered and as often again as chance wants."""
        with self.lock:
            more, pause = self.dice.choice((0, 0, 0, 1, 3)), self.dice.uniform(0.1, 1.0)
        for attempt in range(DELIVERIES):
            alarm_id = self._post(body)
            if alarm_id is not None:
                self.tally.acknowledged[body] = alarm_id
            is_known = body in self.tally.acknowledged
            if is_known and attempt >= more:
                return
            time.sleep(pause if is_known else RESENT_AFTER)
        if body not in self.tally.acknowledged:
            self.tally.not_acknowledged += 1

    def _post(self, body: bytes) -> int | None:
        self.tally.deliveries += 1
        try:
            answer = requests.post(self.url, data=body, timeout=5)
        except requests.RequestException:
            return None
        return int(answer.json()["id"]) if answer.status_code == 200 else None


class Reaper:
    """Kills processes by their id, and servers, at random moments until told to stop."""

    def __init__(
        self, supervisor: Supervisor, mysql: OwnMariaDB, broker: OwnRedis, dice: random.Random, tally: Tally
    ) -> None:
        self.supervisor, self.mysql, self.broker = supervisor, mysql, broker
        self.dice, self.tally = dice, tally
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, name="reaper")

    def __enter__(self) -> "Reaper":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self.thread.join()

    def _run(self) -> None:
        acts: list[Callable[[], None]] = [self._kill_worker] * 6 + [self._empty_broker] * 2
        acts += [self._kill_web, self._kill_beat, self._restart_broker, self._restart_mysql]
        while not self.stopping.wait(self.dice.uniform(1.0, 4.0)):
            self.dice.choice(acts)()

    def _kill(self, prefix: str) -> None:
        alive = {name: pid for name, pid in self.supervisor.pids().items() if name.startswith(prefix)}
        if alive:
            name = self.dice.choice(sorted(alive))
            os.killpg(alive[name], signal.SIGKILL)
            self.tally.deaths[prefix] += 1

    def _kill_worker(self) -> None:
        self._kill("worker")

    def _kill_web(self) -> None:
        self._kill("web")

    def _kill_beat(self) -> None:
        self._kill("beat")

    def _empty_broker(self) -> None:
        self.broker.empty()
        self.tally.deaths["broker emptied"] += 1

    def _restart_broker(self) -> None:
        self.broker.restart(down=self.dice.uniform(0.0, 3.0))
        self.tally.deaths["broker"] += 1

    def _restart_mysql(self) -> None:
        self.mysql.restart(down=self.dice.uniform(0.0, 2.0))
        self.tally.deaths["database"] += 1


def make_books() -> None:
    """Create the accounts, and on each a strategy for every ticker, half of them protected."""
    from pelusa.testing import list_instruments, make_account, make_strategy

    list_instruments()
    for number in range(ACCOUNTS):
        account = make_account(f"desk {number}")
        for ticker in TICKERS:
            leg: dict[str, Any] = {"size": SIZES.get(ticker, "1")}
            if number % 2:
                leg |= {"stop_loss_per_order": "5", "take_profit_per_order": "9"}
            pair = ticker.removesuffix(".P")
            make_strategy(
                account,
                name=f"{ticker} on {account.name}",
                alarm_name=f"Chaos_{number}",
                ticker=ticker,
                symbol=pair.replace("USDT", "-USDT"),
                pair=pair,
                max_alarm_age=7200,
                leg=leg,
            )


def make_alarms(count: int, dice: random.Random) -> list[bytes]:
    """Return distinct alarms for all strategies, opens and closes mixed."""
    from pelusa.testing import alarm_body

    start = datetime.now(UTC) - timedelta(hours=1)
    return [
        alarm_body(
            f"order {dice.choice(['open', 'close'])} long",
            at=start + timedelta(seconds=number),
            ticker=dice.choice(TICKERS),
            Strategy=f"Chaos_{dice.randrange(ACCOUNTS)}",
        )
        for number in range(count)
    ]


def send_all(bodies: list[bytes], sender: Sender, rate: float) -> None:
    """Deliver the alarms at `rate` a second, from several clients."""
    with ThreadPoolExecutor(CLIENTS * 16) as clients:
        for body in bodies:
            sender.tally.posted += 1
            clients.submit(sender.deliver, body)
            time.sleep(1 / rate)


def is_settled() -> bool:
    """Tell whether nothing waits and nothing is in flight."""
    from alarms.models import Alarm
    from operations.models import Operation, Order
    from operations.states import CLOSED, UNFINISHED

    if Alarm.objects.filter(status=Alarm.Status.RECEIVED).exists():
        return False
    in_turn = Order.objects.filter(status__in=UNFINISHED, role__in=["ENTRY", "EXIT"])
    lacking = Order.objects.filter(has_all_fills=False, filled_quantity__gt=0, status__in=CLOSED)
    closing = Operation.objects.filter(status=Operation.Status.CLOSING)
    return not in_turn.exists() and not lacking.exists() and not closing.exists()


def survives(look: Callable[[], bool]) -> Callable[[], bool]:
    """Return `look` as a question that a database that was just restarted may not answer yet."""
    from django.db import OperationalError, connections

    def ask() -> bool:
        try:
            return look()
        except OperationalError:
            connections.close_all()
            return False

    return ask


def run(options: argparse.Namespace, home: Path) -> int:
    dice, tally = random.Random(options.seed), Tally()
    with own_servers(OwnMariaDB(home), OwnRedis(home)) as (mysql, broker):
        system = LiveSystem(home, mysql.url, broker.url, workers=WORKERS)
        os.environ.update(system.env)
        django.setup()
        with system.running() as supervisor:
            make_books()
            system.paper.control("faults", seed=options.seed, **FAULTS)
            bodies = make_alarms(options.alarms, dice)
            with Reaper(supervisor, mysql, broker, random.Random(options.seed + 1), tally):
                send_all(bodies, Sender(system, random.Random(options.seed + 2), tally), options.rate)
            system.paper.control("faults", reset=True)
            started = time.monotonic()
            settled = wait_settled()
            took = time.monotonic() - started
            return report(tally, system, settled=settled, took=took)


def wait_settled() -> bool:
    """Return whether everything came to rest in time, and stays there for a few sweeps."""
    try:
        wait_until(survives(is_settled), seconds=SETTLED_WITHIN)
    except AssertionError:
        return False
    time.sleep(8)
    return survives(is_settled)()


def report(tally: Tally, system: LiveSystem, *, settled: bool, took: float) -> int:
    """Print what came of it; return the exit status."""
    from bench.audit import audit

    found = audit(tally.acknowledged, system.paper)
    deaths = ", ".join(f"{name} {count}" for name, count in sorted(tally.deaths.items()))
    print(
        f"killed: {deaths}; settled {took:.0f} s after the faults ended"
        if settled
        else f"killed: {deaths}; NOT SETTLED"
    )
    print(f"alarms {tally.posted} (delivered {tally.deliveries} times, {tally.not_acknowledged} never acknowledged)")
    for name, value in found.lines():
        print(f"{name:<28}{value}")
    for problem in found.problems[:20]:
        print(f"  {problem}")
    return 0 if settled and found.is_clean else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alarms", type=int, default=2000)
    parser.add_argument("--rate", type=float, default=12.0, help="alarms a second")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    print(f"chaos with seed {options.seed}, {options.alarms} alarms", flush=True)
    home = scratch_folder()
    code = 1
    try:
        code = run(options, home)
    finally:
        if code == 0:
            shutil.rmtree(home)
        else:
            print(f"what the processes said is in {home}")
    return code


if __name__ == "__main__":
    sys.exit(main())
