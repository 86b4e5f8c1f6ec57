"""R35: yesterday's dump of one database is restored beside the others of today: nothing is sent again."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pelusa.tests.experiments.rig import Rig, rigged

pytestmark = [pytest.mark.servers, pytest.mark.timeout(600), pytest.mark.xdist_group("r35")]


@pytest.fixture(scope="module")
def rig(template: Path) -> Iterator[Rig]:
    with rigged(template) as rig:
        yield rig


def client(rig: Rig, program: str, *words: str) -> list[str]:
    return [program, "--no-defaults", "-h", "127.0.0.1", "-P", str(rig.mysql.port), "-u", "root", *words]


def dump(rig: Rig, alias: str) -> bytes:
    """Dump a database while everything runs."""
    argv = client(rig, "mariadb-dump", "--single-transaction", rig.system.schemas[alias])
    return subprocess.run(argv, check=True, capture_output=True).stdout


def restore(rig: Rig, alias: str, dumped: bytes) -> None:
    subprocess.run(client(rig, "mariadb", rig.system.schemas[alias]), input=dumped, check=True, capture_output=True)


def sent(rig: Rig) -> list[tuple[Any, Any]]:
    """Return what the exchange ever executed."""
    return [(row["order_id"], row["executed"]) for row in rig.paper.ledger()]


def trade(rig: Rig, order: str, lanes: range) -> None:
    sender = rig.tradingview()
    for lane in lanes:
        assert sender.send(rig.alarm(order, lane))
    rig.come_to_rest()


def test_r35_yesterdays_operations_send_nothing_again_and_stop_the_entries_where_books_differ(rig: Rig) -> None:
    with rig.running():
        rig.start_over()
        rig.paper.control("faults", dedupe="none")
        trade(rig, "order open long", range(4))
        waiting = rig.tradingview()
        assert waiting.send(rig.alarm("order open long", 4))
        yesterday = dump(rig, "default")
        trade(rig, "order close long", range(2))
        trade(rig, "order open long", range(5, 7))
        before = sent(rig)
    restore(rig, "default", yesterday)
    rig.witness.ask("age", seconds=86_400)
    with rig.running():
        for _ in range(2):
            rig.witness.ask("reconcile")
            time.sleep(2.5)
        rig.come_to_rest()
        assert sent(rig) == before
        frozen = {lane["symbol"] for lane in rig.witness.ask("lanes") if lane["frozen_reason"] == "books_differ"}
        pairs = [ticker.removesuffix("USDT.P") for _, ticker in rig.lanes]
        assert frozen >= {f"{pairs[lane]}-USDT" for lane in (0, 1, 5, 6)}
        trade(rig, "order open long", range(5, 7))
        assert sent(rig) == before, "no entry where the books differ"


def test_r35_yesterdays_alarms_decide_nothing_again_and_new_ones_are_heard(rig: Rig) -> None:
    with rig.running():
        rig.start_over()
        trade(rig, "order open long", range(8))
        yesterday = dump(rig, "alarms")
        trade(rig, "order close long", range(8))
        before = sent(rig)
    restore(rig, "alarms", yesterday)
    rig.system.manage("prepare")
    with rig.running():
        rig.come_to_rest()
        assert sent(rig) == before
        trade(rig, "order open long", range(8))
        assert len(sent(rig)) == len(before) + 8, "a new alarm must not be taken for the lost one whose number it has"
