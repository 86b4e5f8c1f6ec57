"""The bell: it never makes anybody wait, a burst becomes one ring, and a worker answers its own."""

import threading
from collections.abc import Iterator

import pytest
from celery import shared_task
from loguru import logger

from pelusa import doorbell
from pelusa.doorbell import Doorbell, Household
from pelusa.livesystem import wait_until

RAN: list[int] = []
GATE = threading.Event()


@shared_task(name="pelusa.tests.note")
def note(row_id: int) -> None:
    GATE.wait(30)
    RAN.append(row_id)


@shared_task(name="pelusa.tests.breaks")
def breaks(row_id: int) -> None:
    raise ValueError(row_id)


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What would have gone to the broker."""
    sent: list[tuple[str, int]] = []
    monkeypatch.setattr(Doorbell, "_publish", lambda self, task, row_id: sent.append((task, row_id)))
    return sent


@pytest.fixture
def household() -> Iterator[Household]:
    RAN.clear()
    GATE.clear()
    house = Household(2)
    yield house
    GATE.set()
    house.close()


def test_rings_of_a_group_that_wait_become_one_for_the_newest_row(published: list[tuple[str, int]]) -> None:
    bell = Doorbell()
    with bell._wake:
        for row_id in range(1, 6):
            bell.ring("route", row_id, "BTCUSDT")
        bell.ring("route", 6, "ETHUSDT")
        bell.ring("lane", 7)
        bell.ring("lane", 8)
    wait_until(lambda: len(published) == 4)
    assert published == [("route", 5), ("route", 6), ("lane", 7), ("lane", 8)]


def test_a_full_queue_drops_what_is_new_and_the_caller_does_not_notice(
    published: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doorbell, "QUEUE_LENGTH", 3)
    bell = Doorbell()
    with bell._wake:
        for row_id in range(5):
            bell.ring("lane", row_id)
    wait_until(lambda: len(published) == 3)
    assert [row_id for _, row_id in published] == [0, 1, 2]


def test_a_worker_answers_its_own_bells_while_it_has_a_hand_free(
    published: list[tuple[str, int]], household: Household
) -> None:
    bell = Doorbell()
    bell.household = household
    for row_id in (1, 2, 3):
        bell.ring("pelusa.tests.note", row_id)
    wait_until(lambda: published == [("pelusa.tests.note", 3)])
    assert RAN == []
    GATE.set()
    wait_until(lambda: sorted(RAN) == [1, 2])


def test_what_breaks_in_a_household_is_told_and_frees_its_hand(household: Household) -> None:
    told: list[str] = []
    sink = logger.add(told.append, format="{message}")
    GATE.set()
    for row_id in range(6):
        wait_until(lambda: household.take("pelusa.tests.breaks", row_id))  # noqa: B023 - called at once
    wait_until(lambda: household.take("pelusa.tests.note", 9))
    wait_until(lambda: RAN == [9])
    logger.remove(sink)
    assert sum("a task broke" in line for line in told) == 6


def test_a_household_on_its_way_out_leaves_bells_to_the_broker(
    published: list[tuple[str, int]], household: Household
) -> None:
    bell = Doorbell()
    bell.household = household
    household.close()
    bell.ring("pelusa.tests.note", 1)
    wait_until(lambda: published == [("pelusa.tests.note", 1)])
