"""R05 and R08: of many processes that want the same row, one gets it, whoever is killed on the way."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connections

from pelusa.checks import ISOLATION, mysql_is_strict
from pelusa.livesystem import ROOT
from pelusa.testing import DATABASES
from pelusa.tests.experiments.rig import SEED, TIMEOUT, Rig, running_rig, scaled

pytestmark = [pytest.mark.servers, pytest.mark.timeout(TIMEOUT), pytest.mark.xdist_group("r05")]


@pytest.fixture(scope="module")
def rig(template: Path) -> Iterator[Rig]:
    """Web and paper exchange alone: nothing is routed or sent unless the crowd does it."""
    with running_rig(template, only=("web", "paper")) as rig:
        yield rig


def crowd(rig: Rig, deed: str, size: int, *, kills: int = 0, isolation: str = "") -> list[int]:
    """Let a crowd do a deed; return how often each process that was not killed won."""
    argv = [sys.executable, "-m", "pelusa.tests.experiments.crowd", deed, str(size), str(kills), str(SEED), isolation]
    env = os.environ | rig.system.straight_env | {"LOG_LEVEL": "ERROR"}
    done = subprocess.run(argv, cwd=ROOT, env=env, check=True, capture_output=True, text=True, timeout=400)
    return [int(line) for line in done.stdout.split()]


def test_r05_sixteen_routers_that_are_killed_decide_once_for_each_strategy(rig: Rig) -> None:
    rig.start_over(lanes=8, strategies=3)
    sender, alarms = rig.tradingview(), scaled(48)
    for number in range(alarms):
        assert sender.send(rig.alarm(f"order {'close' if number // 8 % 2 else 'open'} long", number % 8))
    crowd(rig, "route", 16, kills=scaled(12))
    decided = Counter(decision["alarm_id"] for decision in rig.witness.ask("decisions"))
    assert decided == dict.fromkeys(sender.acknowledged.values(), 3)
    assert {alarm["status"] for alarm in rig.witness.ask("alarms")} == {"processed"}
    check_arrival_order(rig)


def check_arrival_order(rig: Rig) -> None:
    """One order for each decision to act, and in each lane in the order of the alarms."""
    orders = rig.witness.ask("orders")
    decisions = rig.witness.ask("decisions")
    assert len(orders) == sum(decision["outcome"] in ("open", "close") for decision in decisions)
    by_lane: dict[int, list[int]] = {}
    alarm_of = {decision["id"]: decision["alarm_id"] for decision in decisions}
    for order in orders:
        by_lane.setdefault(order["lane_id"], []).append(alarm_of[order["decision_id"]])
    assert all(alarms == sorted(alarms) for alarms in by_lane.values())


@pytest.mark.parametrize("isolation", ["READ COMMITTED", "REPEATABLE READ"])
def test_r08_of_32_claimers_one_may_send_each_order(rig: Rig, isolation: str) -> None:
    lanes = scaled(32)
    rig.start_over(lanes=lanes)
    sender = rig.tradingview()
    for lane in range(lanes):
        assert sender.send(rig.alarm("order open long", lane))
    crowd(rig, "route", 1)
    assert sum(crowd(rig, "claim", 32, isolation=isolation)) == lanes
    orders = rig.witness.ask("orders")
    assert Counter(order["status"] for order in orders) == {"submitted": lanes}
    assert [order["claims"] for order in orders] == [1] * lanes


@pytest.mark.django_db(databases=DATABASES)
def test_r08_every_database_is_read_committed_and_the_check_refuses_another() -> None:
    if connections["default"].vendor != "mysql":
        pytest.skip("SQLite has one writer and no such levels")
    assert ISOLATION == "READ-COMMITTED"
    assert mysql_is_strict(None, databases=list(DATABASES)) == []
    try:
        for alias in DATABASES:
            with connections[alias].cursor() as cursor:
                cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            assert [message.id for message in mysql_is_strict(None, databases=[alias])] == ["pelusa.E005"]
    finally:
        connections.close_all()
