"""A stranger's lines are bounded, and what was left out is counted."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from loguru import logger

from pelusa import logs
from pelusa.sampling import AT_ONCE, Sampler


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_the_first_are_written_and_then_one_a_second_which_counts_the_others() -> None:
    clock = Clock()
    sampler = Sampler(at_once=3, a_second=1, now=clock)
    assert [sampler.admit("a") for _ in range(5)] == [0, 0, 0, None, None]
    assert sampler.admit("b") == 0
    clock.seconds += 1
    assert [sampler.admit("a") for _ in range(3)] == [2, None, None]
    clock.seconds += 60
    assert [sampler.admit("a") for _ in range(4)] == [2, 0, 0, None]


@pytest.fixture
def written() -> Iterator[list[Any]]:
    """The records of the log, as they are written."""
    records: list[Any] = []
    sink = logger.add(lambda message: records.append(message.record), level="INFO", format="{message}")
    yield records
    logger.remove(sink)


def test_guesses_fill_no_log_and_an_honest_request_keeps_its_line(written: list[Any]) -> None:
    client = Client()
    for _ in range(AT_ONCE + 100):
        assert client.post("/webhook/a-wrong-secret", b"{}", "application/json").status_code == 401
    client.get("/")
    lines = [record["extra"] for record in written]
    refused = [line for line in lines if line.get("status") == 401]
    assert AT_ONCE <= len(refused) <= AT_ONCE + 60
    assert [line["status"] for line in lines if line.get("path") == "/"] == [302]


@pytest.mark.parametrize("name", ["django.security.csrf", "axes.handlers.database", "gunicorn.error"])
def test_warnings_that_strangers_cause_are_sampled_and_errors_are_not(
    written: list[Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_strangers", Sampler(at_once=5, a_second=0))
    for number in range(50):
        logging.getLogger(name).warning("Forbidden: %s", number)
        logging.getLogger(name).error("broken: %s", number)
    lines = [record["message"].partition(":")[0] for record in written]
    assert (lines.count("Forbidden"), lines.count("broken")) == (5, 50)
