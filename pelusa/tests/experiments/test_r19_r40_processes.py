"""R19, R34, R36 and R40: beats, deployments, hours and full disks come and go; trading does not notice."""

import os
import signal
import statistics
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from bench.faultproxy import Line
from pelusa.livesystem import wait_until
from pelusa.supervisor import ProcessSpec, Supervisor
from pelusa.tests.experiments.rig import (
    NEVER_SENT,
    PATIENCE,
    TIMEOUT,
    Rig,
    RiggedSystem,
    log_of,
    redis_of,
    rigged,
    running_rig,
    scaled,
)

pytestmark = [pytest.mark.servers, pytest.mark.timeout(TIMEOUT), pytest.mark.xdist_group("r19")]


RESENT_AFTER = 5.0
SWEEP_GAP_SECONDS = 5.0
LAG_SECONDS = 3.0
LOG_BYTES_A_MINUTE = 1_000_000


@pytest.fixture(scope="module")
def system(template: Path) -> Iterator[Rig]:
    with running_rig(template, "default") as rig:
        yield rig


@pytest.fixture
def rig(system: Rig) -> Rig:
    system.start_over()
    return system


def test_r19_two_beats_that_are_killed_and_lose_their_database_do_what_one_does(rig: Rig) -> None:
    beat = next(spec for spec in rig.system.specs() if spec.name == "beat")
    another = ProcessSpec("another", beat.argv, env=beat.env, cwd=beat.cwd)
    with (rig.system.home / "another.log").open("w") as output, Supervisor([another], output=output, stop_seconds=2.0):
        with rig.trading(scaled(48), rate=8, pause=0.5) as sender:
            for _ in range(scaled(2)):
                time.sleep(rig.dice.uniform(0.5, 1.0))
                rig.kill("beat")
            rig.lines["default"].turn(Line.CLOSED)
            time.sleep(1.5)
            rig.lines["default"].turn(Line.OPEN)
        rig.judge_all(sender, missed=NEVER_SENT)


def test_r19_after_a_beat_was_killed_what_nobody_rang_for_is_swept_up_soon(rig: Rig) -> None:
    """Five seconds after it is back at the latest; a busy machine needs as long again to start it."""
    for number in range(scaled(1)):
        rig.supervisor.wait_ready(PATIENCE)
        rig.kill("beat")
        body = rig.alarm(f"order {'close' if number % 2 else 'open'} long")
        unheard = rig.witness.ask("store_unheard", body=body.decode())
        wait_until(lambda: "beat" not in rig.supervisor.pids(), what="for beat to be buried")
        wait_until(lambda: "beat" in rig.supervisor.pids(), what="for beat to be back")
        began = time.monotonic()
        wait_until(partial(is_processed, rig, unheard), what="for the sweep")
        gap = time.monotonic() - began
        print(f"swept {gap:.1f} s after beat was started")
        assert gap < 2 * SWEEP_GAP_SECONDS


def is_processed(rig: Rig, number: int) -> bool:
    return any(alarm["id"] == number and alarm["status"] == "processed" for alarm in rig.witness.ask("alarms"))


def test_r34_a_rolling_restart_under_load_loses_nothing(rig: Rig) -> None:
    """Old and new run side by side; while the web process is away TradingView's own resends, five seconds apart, do."""
    with rig.trading(scaled(80), rate=12, pause=RESENT_AFTER) as sender:
        for _ in range(scaled(1)):
            for name in ("web", "worker0", "beat", "worker1"):
                restart(rig, name)
    assert len(sender.acknowledged) == len(rig.lanes) * round(scaled(80) / len(rig.lanes))
    assert sender.statuses.keys() <= {200, 502}, "what is refused at once is sent again, what is late is not"
    rig.judge_all(sender)


def restart(rig: Rig, name: str) -> None:
    """Restart one process as a deployment does: it finishes what it is at, and is started anew."""
    pid = rig.supervisor.pids()[name]
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + PATIENCE
    while rig.supervisor.pids().get(name) in (pid, None):
        assert time.monotonic() < deadline, f"{name} did not end"
        time.sleep(0.05)
    rig.supervisor.wait_ready(PATIENCE)


def test_r36_a_soak_with_a_fault_in_every_round_grows_nothing(rig: Rig) -> None:
    """Four hours of it are PELUSA_EXPERIMENT_SCALE=700; what a process needs is compared after each round."""
    sizes: list[dict[str, tuple[int, int]]] = []
    sender = rig.tradingview(pause=0.5)
    began, logged = time.monotonic(), len(log_of(rig))
    for number in range(1 + scaled(3)):
        with rig.trading(32, rate=8, sender=sender):
            [rig.broker.empty, rig.broker.restart, lambda: reset(rig), lambda: rig.kill("beat")][number % 4]()
        rig.judge_all(sender, missed=NEVER_SENT)
        measured = {name: pid for name, pid in rig.supervisor.pids().items() if name not in ("beat", "paper")}
        sizes.append({name: size_of(pid) for name, pid in measured.items()})
    for name, (memory, files) in sizes[-1].items():
        first_memory, first_files = sizes[0][name]
        print(f"{name}: {first_memory} -> {memory} pages, {first_files} -> {files} open files")
        assert memory < first_memory * 1.05
        assert files < first_files * 1.5
    a_minute = (len(log_of(rig)) - logged) / (time.monotonic() - began) * 60
    lags = statistics.quantiles(rig.witness.ask("lags"), n=100, method="inclusive")
    print(f"{a_minute / 1000:.0f} kB of log a minute; from alarm to order {lags[49]:.2f} s, p99 {lags[98]:.2f} s")
    assert a_minute < LOG_BYTES_A_MINUTE
    assert lags[49] < LAG_SECONDS
    with redis_of(rig.broker) as server:
        wait_until(lambda: not server.llen("pelusa:celery"), what="for the worker to take every bell")
        assert not server.keys("pelusa:unacked*")


def reset(rig: Rig) -> None:
    """Reset every connection to the books once."""
    rig.lines["default"].turn(Line.RESET)
    rig.lines["default"].turn(Line.OPEN)


def size_of(pid: int) -> tuple[int, int]:
    """Return the resident pages and the open files of a process and its children together."""
    family = [str(pid), *Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    memory = sum(int(Path(f"/proc/{each}/statm").read_text().split()[1]) for each in family)
    return memory, sum(len(list(Path(f"/proc/{each}/fd").iterdir())) for each in family)


class QuietSystem(RiggedSystem):
    """Processes that have no standard error and whose log file takes not one byte."""

    def specs(self) -> list[ProcessSpec]:
        closed = ["/bin/sh", "-c", 'exec "$@" 2>&-', "sh"]
        return [
            ProcessSpec(spec.name, [*closed, *spec.argv], env=spec.env, cwd=spec.cwd, is_ready=spec.is_ready)
            for spec in super().specs()
        ]


def test_r40_without_a_place_to_write_logs_trading_goes_on(template: Path) -> None:
    with rigged(template, kind=QuietSystem, settings={"LOG_FILE": "/dev/full"}) as rig, rig.running():
        rig.start_over()
        with rig.trading(scaled(16), rate=10) as sender:
            pass
        rig.judge_all(sender)
