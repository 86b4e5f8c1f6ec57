"""R39: whatever stops, frozen or killed, is told within 90 s by a notice and by `/health/ready`, and ended later."""

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import requests

from bench.faultproxy import Line
from pelusa.livesystem import ApiClient
from pelusa.supervisor import ProcessSpec
from pelusa.tests.experiments.rig import PATIENCE, SCALE, TIMEOUT, Rig, RiggedSystem, frozen, log_of, running_rig

pytestmark = [pytest.mark.servers, pytest.mark.timeout(TIMEOUT), pytest.mark.xdist_group("r39")]

TOLD_WITHIN = 90.0
EVERYBODY = {"web", "worker", "beat"}
# What hearts say once when the books take no beat, and when they do again
AWAY, BACK = "nobody can be told that it lives", "beats again"
NOTICE_OF = {
    "web": "web_away:system",
    "worker0": "worker_away:system",
    "beat": "beat_away:system",
    "paper": "paper_exchange_away:system",
    "broker": "broker_away:system",
    "alarms": "database_away:alarms",
}
FROZEN_AND_KILLED = [(part, how) for part in NOTICE_OF for how in ("frozen", "killed")]
# At the small size every part stops in one of both ways, in turn
STOPS = FROZEN_AND_KILLED if SCALE >= 2 else FROZEN_AND_KILLED[::4] + FROZEN_AND_KILLED[3::4]


class GatedSystem(RiggedSystem):
    """Processes that begin only while there is no file of their name: so one that is killed stays away."""

    def specs(self) -> list[ProcessSpec]:
        wait = ["/bin/sh", "-c", 'while [ -e "$0" ]; do sleep 0.1; done; exec "$@"']
        return [
            ProcessSpec(
                spec.name,
                [*wait, str(self.gate(spec.name)), *spec.argv],
                env=spec.env,
                cwd=spec.cwd,
                is_ready=spec.is_ready,
            )
            for spec in super().specs()
        ]

    def gate(self, name: str) -> Path:
        return self.home / f"{name}.gate"


@pytest.fixture(scope="module")
def rig(template: Path) -> Iterator[Rig]:
    with running_rig(template, "alarms", workers=1, kind=GatedSystem) as rig:
        rig.start_over(lanes=1)
        yield rig


@pytest.fixture(scope="module")
def client(rig: Rig) -> ApiClient:
    return rig.system.api(role="viewer")


@contextmanager
def away(rig: Rig, part: str, how: str) -> Iterator[None]:
    """Take a part of the system away for the length of the block."""
    if part == "alarms":
        with _cut(rig, Line.FROZEN if how == "frozen" else Line.CLOSED):
            yield
    elif part in ("broker", "default"):
        with _server_away(rig, part, how):
            yield
    else:
        with _process_away(rig, part, how):
            yield


@contextmanager
def _cut(rig: Rig, state: Line) -> Iterator[None]:
    rig.lines["alarms"].turn(state)
    try:
        yield
    finally:
        rig.lines["alarms"].turn(Line.OPEN)


@contextmanager
def _server_away(rig: Rig, part: str, how: str) -> Iterator[None]:
    server = rig.broker if part == "broker" else rig.mysql
    assert server.process
    if how == "killed":
        server.kill()
    with frozen(server.process.pid) if how == "frozen" else nullcontext():
        yield
    if how == "killed":
        server.start()


@contextmanager
def _process_away(rig: Rig, name: str, how: str) -> Iterator[None]:
    assert isinstance(rig.system, GatedSystem)
    group, gate = rig.supervisor.pids()[name], rig.system.gate(name)
    if how == "killed":
        gate.touch()
    os.killpg(group, signal.SIGSTOP if how == "frozen" else signal.SIGKILL)
    try:
        yield
    finally:
        if how == "killed":
            gate.unlink()
        else:
            os.killpg(group, signal.SIGCONT)


def ready(rig: Rig, client: ApiClient) -> dict[str, Any]:
    """Return what `/health/ready` says, with its status; that nobody answers is an answer."""
    try:
        answer = client.session.get(f"{rig.system.url}/health/ready", timeout=15)
    except requests.RequestException:
        return {"http": None, "because": [{"reason": "web_away"}]}
    return {"http": answer.status_code, **answer.json()}


def reasons(rig: Rig, client: ApiClient) -> set[str]:
    return {each["reason"] for each in ready(rig, client).get("because", ())}


def is_well(rig: Rig, client: ApiClient) -> bool:
    return rig.witness.ask("notices") == [] and ready(rig, client).get("ready_to_trade") is True


def seconds_until(is_true: Callable[[], bool], began: float, what: Callable[[], object]) -> float:
    while not is_true():
        assert time.monotonic() < began + TOLD_WITHIN, what()
        time.sleep(0.2)
    return time.monotonic() - began


@pytest.mark.parametrize(("part", "how"), STOPS)
def test_r39_what_stops_is_told_within_90_seconds_and_ended_when_it_is_back(
    rig: Rig, client: ApiClient, part: str, how: str
) -> None:
    notice = NOTICE_OF[part]
    seconds_until(lambda: is_well(rig, client), time.monotonic(), lambda: ready(rig, client))
    began = time.monotonic()
    with away(rig, part, how):
        kind = notice.partition(":")[0]
        said = seconds_until(lambda: kind in reasons(rig, client), began, lambda: ready(rig, client))
        told = seconds_until(lambda: notice in rig.witness.ask("notices"), began, lambda: rig.witness.ask("notices"))
    back = time.monotonic()
    rig.supervisor.wait_ready(PATIENCE)
    ended = seconds_until(lambda: is_well(rig, client), back, lambda: (rig.witness.ask("notices"), ready(rig, client)))
    print(f"{part} {how}: /health/ready after {said:.1f} s, notice after {told:.1f} s, over {ended:.1f} s after return")


@pytest.mark.parametrize("how", ["frozen", "killed"])
def test_r39_without_the_books_nothing_can_be_written_and_the_answer_and_the_log_say_so(
    rig: Rig, client: ApiClient, how: str
) -> None:
    seconds_until(lambda: is_well(rig, client), time.monotonic(), lambda: ready(rig, client))
    began, logged = time.monotonic(), len(log_of(rig))
    with away(rig, "default", how):
        said = seconds_until(lambda: ready(rig, client)["http"] == 503, began, lambda: ready(rig, client))
        told = seconds_until(
            lambda: who_said(rig, AWAY, logged) == EVERYBODY, began, lambda: who_said(rig, AWAY, logged)
        )
    back = time.monotonic()
    ended = seconds_until(lambda: is_well(rig, client), back, lambda: (rig.witness.ask("notices"), ready(rig, client)))
    seconds_until(lambda: who_said(rig, BACK, logged) == EVERYBODY, back, lambda: who_said(rig, BACK, logged))
    print(
        f"books {how}: /health/ready after {said:.1f} s, every log after {told:.1f} s, over {ended:.1f} s after return"
    )


def who_said(rig: Rig, words: str, logged: int) -> set[str]:
    """Return the kinds of processes whose hearts have said so since."""
    return set(re.findall(rf"(web|worker|beat) \S+: {words}", log_of(rig)[logged:]))
