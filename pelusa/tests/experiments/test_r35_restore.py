"""R35: yesterday's dump of one database, or of all, is restored: nothing is sent again, and a person must say go."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pelusa.livesystem import DATABASES, wait_until
from pelusa.tests.experiments.rig import PATIENCE, Rig, rigged

pytestmark = [pytest.mark.servers, pytest.mark.timeout(600), pytest.mark.xdist_group("r35")]

A_DAY = 86_400
RELEASE = """
from operations.killswitch import release
from operations.models import KillSwitch
for switch in KillSwitch.objects.filter(is_on=True):
    release(switch.account, "a person", "compared by hand")
"""
# Those that hold, that are closed after the dump, that are opened after it, and that are closed and opened again
HELD, LEFT, ENTERED, BOTH = range(2), range(2, 4), range(4, 6), range(6, 8)


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


def restore(rig: Rig, dumps: dict[str, bytes]) -> None:
    """Put the dumps in place of what is there, as if they were a day old, and start as `make run` and compose do."""
    for alias, dumped in dumps.items():
        argv = client(rig, "mariadb", rig.system.schemas[alias])
        subprocess.run(argv, input=dumped, check=True, capture_output=True)
    rig.witness.ask("age", seconds=A_DAY)
    compared = f"UPDATE operations_lane SET compared_at = compared_at - INTERVAL {A_DAY} SECOND"
    subprocess.run(client(rig, "mariadb", rig.system.schemas["default"], "-e", compared), check=True)
    rig.system.manage("prepare")


def sent(rig: Rig) -> list[tuple[Any, Any]]:
    """Return what the exchange ever executed."""
    return [(row["order_id"], row["executed"]) for row in rig.paper.ledger()]


def trade(rig: Rig, order: str, lanes: range) -> None:
    sender = rig.tradingview()
    for lane in lanes:
        assert sender.send(rig.alarm(order, lane))
    rig.come_to_rest()


def reasons(rig: Rig) -> list[str]:
    return [order["reason"] for order in rig.witness.ask("orders") if order["status"] == "denied"]


def trade_past_a_dump(rig: Rig, *aliases: str) -> dict[str, bytes]:
    """Trade, dump the databases, and trade on; the exchange knows no client id twice, so that only we prevent it."""
    rig.start_over()
    rig.paper.control("faults", dedupe="none")
    trade(rig, "order open long", range(4))
    trade(rig, "order open long", BOTH)
    dumps = {alias: dump(rig, alias) for alias in aliases}
    trade(rig, "order close long", LEFT)
    trade(rig, "order close long", BOTH)
    trade(rig, "order open long", ENTERED)
    trade(rig, "order open long", BOTH)
    return dumps


@pytest.mark.parametrize("aliases", [("default",), DATABASES], ids=["operations", "all"])
def test_r35_yesterdays_books_send_nothing_again_and_take_no_entry_before_a_person_says_go(
    rig: Rig, aliases: tuple[str, ...]
) -> None:
    with rig.running():
        dumps = trade_past_a_dump(rig, *aliases)
        before = sent(rig)
    restore(rig, dumps)
    with rig.running():
        rig.come_to_rest()
        time.sleep(5)
        assert sent(rig) == before
        trade(rig, "order open long", ENTERED)
        assert sent(rig) == before, "no entry before a person has looked"
        assert set(reasons(rig)) <= {"kill_switch", "books_differ"}
        expected = {symbol_of(rig, lane) for lane in (*LEFT, *ENTERED)}
        wait_until(lambda: frozen(rig) == expected, seconds=PATIENCE, what="for two looks at every lane")
        rig.system.manage("shell", "-v", "0", "-c", RELEASE)
        trade(rig, "order close long", HELD)
        trade(rig, "order open long", HELD)
        assert len(sent(rig)) == len(before) + 2 * len(HELD)
        trade(rig, "order open long", ENTERED)
        assert len(sent(rig)) == len(before) + 2 * len(HELD), "no entry where the books differ"


def frozen(rig: Rig) -> set[str]:
    return {lane["symbol"] for lane in rig.witness.ask("lanes") if lane["frozen_reason"] == "books_differ"}


def symbol_of(rig: Rig, lane: int) -> str:
    return rig.lanes[lane][1].removesuffix("USDT.P") + "-USDT"


def test_r35_yesterdays_alarms_decide_nothing_again_and_new_ones_are_heard(rig: Rig) -> None:
    with rig.running():
        rig.start_over()
        trade(rig, "order open long", range(8))
        yesterday = dump(rig, "alarms")
        trade(rig, "order close long", range(8))
        before = sent(rig)
    restore(rig, {"alarms": yesterday})
    with rig.running():
        rig.come_to_rest()
        assert sent(rig) == before
        trade(rig, "order open long", range(8))
        assert sent(rig) == before, "no entry before a person has looked at the gates"
        assert reasons(rig) == ["kill_switch"] * 8
        rig.system.manage("shell", "-v", "0", "-c", RELEASE)
        trade(rig, "order open long", range(8))
        assert len(sent(rig)) == len(before) + 8, "a new alarm must not be taken for the lost one whose number it has"
