"""R09, R10, R11, R13 and R20: one order for each intention, whatever becomes of workers and answers."""

import itertools
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bench.faultproxy import Line
from pelusa.livesystem import wait_until
from pelusa.supervisor import ProcessSpec
from pelusa.tests.experiments.rig import NEVER_SENT, PATIENCE, TIMEOUT, Rig, RiggedSystem, frozen, running_rig, scaled

pytestmark = [pytest.mark.servers, pytest.mark.timeout(TIMEOUT), pytest.mark.xdist_group("r09")]

# What a lying exchange does: see exchange/paper/faults.py. A delay is up to 2.5 times the receive window
LIES = {
    "orders": {
        "lost_before": 0.06,
        "reset_after": 0.04,
        "timeout_after": 0.02,
        "gateway_after": 0.04,
        "garbage_after": 0.02,
        "delay": 0.08,
        "delay_ms": [100, 12_500],
    },
    "lookups": {"reset_before": 0.05},
    "hold_ms": 6_000,
    "lookup_lag_ms": 300,
}
# The exchange itself refuses what comes too late: a trade is missed then, and said so, rather than doubled
MISSED = frozenset({"refused"})
# Others have sent it again by then: the fence, and two questions after it
HELD_UP_SECONDS = (22.0, 26.0)
HELD_UP = 4
# A process that goes on much later does not trust the price that it had read
STOPPED_AFTER_THE_PRICE = "price_stale"


class PausingSystem(RiggedSystem):
    """Workers that can be held up between the commit and the wire, but for one that looks after their orders."""

    could_be_held_up = ("worker0", "worker1")

    @property
    def pauses(self) -> Path:
        return self.home / "pauses"

    @property
    def env(self) -> dict[str, str]:
        return super().env | {"PAUSES": str(self.pauses)}

    def specs(self) -> list[ProcessSpec]:
        return [as_pausing(spec) if spec.name in self.could_be_held_up else spec for spec in super().specs()]


def as_pausing(spec: ProcessSpec) -> ProcessSpec:
    module = {"celery": "pelusa.tests.experiments.pausing"}
    return replace(spec, argv=[module.get(word, word) for word in spec.argv])


@pytest.fixture(scope="module")
def system(template: Path) -> Iterator[Rig]:
    with running_rig(template, "exchange", workers=3, kind=PausingSystem) as rig:
        yield rig


@pytest.fixture
def rig(system: Rig) -> Rig:
    """Every alarm is an entry of its own, stacked on the others of its lane: each must come to an order."""
    system.start_over(lanes=16, pyramiding=1000)
    return system


def test_r09_workers_killed_at_random_send_each_order_once(rig: Rig) -> None:
    with rig.trading(scaled(80), rate=10) as sender:
        for _ in range(scaled(10)):
            time.sleep(rig.dice.uniform(0.2, 0.8))
            rig.kill("worker")
    rig.judge_all(sender)


@pytest.mark.parametrize("dedupe", ["strict", "one-second", "none"])
def test_r10_a_lying_exchange_gets_each_order_once(system: Rig, dedupe: str) -> None:
    system.start_over(lanes=scaled(32))
    system.paper.control("faults", seed=system.dice.randrange(10**6), dedupe=dedupe, **LIES)
    with system.trading(scaled(32), rate=16) as sender:
        time.sleep(system.dice.uniform(0.5, 1.5))
        system.kill("worker")
    system.judge_all(sender, missed=MISSED)


def test_r11_a_worker_that_was_stopped_longer_than_the_fence_doubles_nothing(system: Rig) -> None:
    """Held up between the commit and the wire, until long after another worker has sent the order a second time."""
    system.start_over(lanes=scaled(32))
    system.paper.control("faults", dedupe="none")
    with system.trading(scaled(32), rate=16) as sender, holding_up(system, 0.5):
        pids = system.supervisor.pids()
        with frozen(pids["worker2"]):
            wait_until(lambda: in_flight(system) >= HELD_UP, seconds=PATIENCE, what="for orders to be held up")
        with frozen(pids["worker0"]), frozen(pids["worker1"]):
            time.sleep(system.dice.uniform(11, 13))
    time.sleep(HELD_UP_SECONDS[1])
    found = system.judge_all(sender, missed=MISSED | {STOPPED_AFTER_THE_PRICE})
    assert found["at_exchange"] > scaled(32) / 2
    assert system.witness.ask("resent") > 0, "nobody woke up too late"


def in_flight(rig: Rig) -> int:
    return sum(order["status"] == "submitted" for order in rig.witness.ask("orders"))


@contextmanager
def holding_up(rig: Rig, chance: float) -> Iterator[None]:
    """Have that share of all sendings held up between the commit and the wire."""
    assert isinstance(rig.system, PausingSystem)
    rig.system.pauses.write_text(" ".join(map(str, (chance, *HELD_UP_SECONDS))))
    try:
        yield
    finally:
        rig.system.pauses.unlink()


def test_r13_an_exchange_that_hangs_or_drips_holds_no_worker_for_ever(rig: Rig) -> None:
    rig.paper.control("faults", orders={"timeout_after": 0.5}, hold_ms=60_000)
    with rig.trading(scaled(16), rate=16) as sender:
        rig.lines["exchange"].turn(Line.DRIP, delay=2.0)
        time.sleep(4)
        # As the kernel does where memory runs out, in the middle of requests that hang
        rig.kill("worker")
        time.sleep(4)
        rig.lines["exchange"].turn(Line.FROZEN)
        time.sleep(2)
        rig.lines["exchange"].turn(Line.OPEN)
    rig.paper.control("faults", reset=True)
    rig.judge_all(sender)


def test_r20_a_reversal_reaches_the_exchange_as_close_then_open(system: Rig) -> None:
    system.start_over(lanes=8, legs=("long", "short"))
    sender = system.tradingview()
    with ThreadPoolExecutor(8) as clients:
        done = [clients.submit(reverse, system, sender, lane, scaled(3)) for lane in range(8)]
        for _ in range(scaled(3)):
            time.sleep(system.dice.uniform(0.3, 0.8))
            system.kill("worker")
        for each in done:
            each.result()
    system.judge_all(sender, missed=NEVER_SENT)
    for rows in by_lane(system.paper.ledger()).values():
        check_never_twice(rows)


def reverse(rig: Rig, sender: Any, lane: int, times: int) -> None:
    """Send, as a strategy that reverses does, the close of one leg and the open of the other, both in one second."""
    sender.send(rig.alarm("order open long", lane))
    legs = ["long", "short"] * times
    for leg, other in itertools.pairwise(legs):
        for order in (f"order close {leg}", f"order open {other}"):
            sender.send(rig.alarm(order, lane))


def by_lane(ledger: list[dict[str, Any]]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    rows: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in ledger:
        rows[row["account"], row["symbol"]].append(row)
    return rows


def check_never_twice(rows: list[dict[str, Any]]) -> None:
    """Close and open in turn: what is held, both legs together, never exceeds the size of one entry."""
    held, size = Decimal(0), Decimal(rows[0]["executed"])
    for row in rows:
        opens = (row["side"] == "BUY") == (row["position_side"] == "LONG")
        held += Decimal(row["executed"]) if opens else -Decimal(row["executed"])
        assert 0 <= held <= size, rows
