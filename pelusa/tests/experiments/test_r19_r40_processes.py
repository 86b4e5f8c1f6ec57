"""R19, R34 and R40: beats, deployments and logs may fail or come and go; trading does not notice."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.faultproxy import Line
from pelusa.supervisor import ProcessSpec, Supervisor
from pelusa.tests.experiments.rig import NEVER_SENT, PATIENCE, Rig, RiggedSystem, rigged, running_rig, scaled

pytestmark = [pytest.mark.servers, pytest.mark.timeout(600), pytest.mark.xdist_group("r19")]


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


def test_r34_a_rolling_restart_under_load_loses_and_refuses_nothing(rig: Rig) -> None:
    with rig.trading(scaled(80), rate=12) as sender:
        for _ in range(scaled(1)):
            for name in ("web", "worker0", "beat", "worker1"):
                restart(rig, name)
    assert set(sender.statuses) == {200}
    rig.judge_all(sender)


def restart(rig: Rig, name: str) -> None:
    """Restart one process as a deployment does: web in place, the others after what they are at."""
    pid = rig.supervisor.pids()[name]
    os.kill(pid, signal.SIGHUP if name == "web" else signal.SIGTERM)
    if name == "web":
        time.sleep(2)
        return
    deadline = time.monotonic() + PATIENCE
    while rig.supervisor.pids().get(name) in (pid, None):
        assert time.monotonic() < deadline, f"{name} did not end"
        time.sleep(0.05)


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
