"""R01 to R04: what the webhook answered is true, in time, with the right status, and once."""


import statistics
import time

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import MySQLdb
import pytest
from django.db import DatabaseError, DataError, InterfaceError, InternalError, OperationalError, ProgrammingError
from django.test import Client

from alarms import intake
from alarms.models import Alarm
from pelusa.testing import DATABASES, alarm_body
from pelusa.tests.experiments.rig import SEED, TRADINGVIEW_SECONDS, Rig, frozen, running_rig, scaled

on_servers = [pytest.mark.servers, pytest.mark.timeout(600), pytest.mark.xdist_group("r01")]


@pytest.fixture(scope="module")
def system(template: Path) -> Iterator[Rig]:
    with running_rig(template) as rig:
        yield rig


@pytest.fixture
def rig(system: Rig) -> Rig:
    system.start_over()
    return system


def post_times(rig: Rig, count: int) -> list[float]:
    """Post one alarm after the other and return the seconds that each took."""
    sender = rig.tradingview()
    for body in rig.round_trips(0, count):
        sender.send(body)
    return sender.seconds


@pytest.mark.parametrize("kills", [3])
def test_r01_every_200_is_stored_although_database_and_web_are_killed(rig: Rig, kills: int) -> None:
    with rig.trading(scaled(150), rate=20) as sender:
        for number in range(scaled(kills)):
            time.sleep(rig.dice.uniform(0.3, 0.8))
            rig.kill("web") if number % 3 == 0 else rig.kill_child("web")
            time.sleep(rig.dice.uniform(0.3, 0.8))
            rig.mysql.restart(down=rig.dice.uniform(0.0, 0.5))
    assert len(sender.acknowledged) > scaled(150) / 2, "most must get through, or nothing was tried"
    rig.judge_all(sender)


def test_r02_a_burst_at_the_close_of_a_bar_is_answered_within_tradingviews_time(rig: Rig) -> None:
    bodies = [body for lane in range(8) for body in rig.round_trips(lane, scaled(120) // 8)]
    sender = rig.tradingview()
    with ThreadPoolExecutor(16) as clients:
        taken = list(clients.map(sender.send, bodies))
    assert all(taken)
    assert sender.statuses == {200: len(bodies)}
    rig.judge(sender)


def test_r02_a_frozen_broker_delays_no_answer(rig: Rig) -> None:
    before = statistics.median(post_times(rig, scaled(30)))
    assert rig.broker.process
    with frozen(rig.broker.process.pid):
        during = statistics.median(post_times(rig, scaled(30)))
    print(f"median {before * 1000:.1f} ms, with a frozen broker {during * 1000:.1f} ms")
    # One wait for the broker alone would be 0.2 s, twenty times an answer
    assert during < before * 4


def test_r02_a_frozen_database_is_answered_503_before_tradingview_gives_up(rig: Rig) -> None:
    post_times(rig, 4)
    sender = rig.tradingview()
    bodies = rig.round_trips(0, 8)
    assert rig.mysql.process
    with frozen(rig.mysql.process.pid), ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda body: sender._post(body)[0], bodies))
    assert answers == [503] * len(bodies), "0 is no answer within 3 s"
    assert max(sender.seconds) < TRADINGVIEW_SECONDS
    again = [sender.send(body) for body in bodies]
    assert all(again)
    rig.judge(sender)
