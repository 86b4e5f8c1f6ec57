"""Candles from the exchange into the table, end to end: Pelusa's backfill against the fastest statements there are.

Each measurement is a process of its own with a stretch of time of its own, since the paper exchange remembers what it
was asked for.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.measure import ROUNDS, Goal, Row, of_pairs
from bench.scene import BenchSystem, inside, manage

AT_ONCE = 100_000
MANY = 1_000_000
# The slow ways get less to do: their rate does not depend on how much
BY_OBJECTS, ROW_BY_ROW, ON_SQLITE = 10_000, 2_000, 20_000
# 2020-01-02 in minutes since 1970: the paper exchange opened on the day before
FIRST = 26_297_280


@dataclass
class Stretches:
    """Gives out stretches of time that nobody was given before."""

    next_minute: int = FIRST

    def take(self, minutes: int) -> int:
        first = self.next_minute
        self.next_minute += minutes
        return first


def measure(
    system: BenchSystem, home: Path, stretches: Stretches, *, stored: int, seconds: float, is_full: bool
) -> list[Row]:
    """Return the rows about candles; memory is measured at the full size only."""
    share = min(1.0, seconds / 60)
    laps = [_round(system, stretches, number, share) for number in range(ROUNDS)]
    rate = {way: [lap[way]["rate"] for lap in laps] for way in laps[0]}
    rows = [
        _row("candles: fetch, decode, store; LOAD DATA", rate["load_data"], rate["backfill"], Goal(0.7, is_most=False)),
        _row("the same; bulk_create with upsert", rate["bulk_create"], rate["backfill"], Goal(10, is_most=False)),
        _on_sqlite(system, home, stretches, share),
    ]
    if is_full:
        few = [lap["backfill"]["peak"] for lap in laps]
        rows.append(_memory(system, stretches, few, share))
    return [replace(row, rows_stored=stored) for row in rows]


def _round(system: BenchSystem, stretches: Stretches, number: int, share: float) -> dict[str, dict[str, Any]]:
    ways = {"load_data": AT_ONCE, "backfill": AT_ONCE, "bulk_create": BY_OBJECTS}
    order = list(ways) if number % 2 == 0 else list(reversed(ways))
    return {way: fill(system.env, stretches, way, round(ways[way] * share)) for way in order}


def fill(env: Mapping[str, str], stretches: Stretches, way: str, candles: int) -> dict[str, Any]:
    """Fill in a process of its own; return candles a second and the process's largest memory in MiB."""
    done = inside(env, "bench.filling", way, str(stretches.take(candles)), str(candles))
    assert done["stored"] == candles, (way, done)
    return {"rate": done["stored"] / done["seconds"], "peak": done["peak"]}


def _row(name: str, floor: list[float], subject: list[float], goal: Goal) -> Row:
    return of_pairs(name, "candles/s", list(zip(floor, subject, strict=True)), goal)


def _memory(system: BenchSystem, stretches: Stretches, few: list[float], share: float) -> Row:
    """Compare the largest memory of a backfill of a million with that of a hundred thousand."""
    many = fill(system.env, stretches, "backfill", round(MANY * share))
    return of_pairs("memory of a backfill ten times as long", "MiB", [(each, many["peak"]) for each in few], Goal(1.2))


def _on_sqlite(system: BenchSystem, home: Path, stretches: Stretches, share: float) -> Row:
    folder = home / "sqlite"
    env = {**system.shared, "VAR_DIR": str(folder)}
    if not folder.exists():
        for alias in ("default", "market"):
            manage(env, "migrate", "--database", alias, "--verbosity", "0")
    pairs = []
    for _ in range(ROUNDS):
        floor = fill(env, stretches, "create", round(ROW_BY_ROW * share))
        pairs.append((floor["rate"], fill(env, stretches, "backfill", round(ON_SQLITE * share))["rate"]))
    return of_pairs("candles on SQLite; created row by row", "candles/s", pairs, Goal(5, is_most=False))
