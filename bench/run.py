"""`make bench`: measure each goal beside its floor, pair by pair in one run, at a tenth of the size and at the whole.

A benchmark and no test: nothing fails when a goal is missed, the table says so. Results go to bench/results.json.
"""

import argparse
import json
import os
import platform
import shutil
import sys
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loguru import logger

from bench import candles, memory, pipeline, reads, rest, webhook
from bench.books import CROWD
from bench.measure import ROUNDS, Goal, Row, growth, of_pairs, remarks, table
from bench.scene import BareSystem, BenchMariaDB, BenchSystem, inside
from bench.servers import OwnRedis, own_servers, scratch_folder
from bench.stock import FULL, Size, Stock
from pelusa.livesystem import ROOT
from pelusa.processes import WORKER_THREADS

RESULTS = ROOT / "bench" / "results.json"
# As `make run` has them
THREADS = WORKER_THREADS
LATENCY = 80
PARTS = ("memory", "webhook", "pipeline", "crowd", "candles", "klines", "pages", "overview", "rest")
SHARES = (0.1, 1.0)
# Of the seconds of a busy round
IDLE, INTAKE, READS, SMALL, REST = 1 / 10, 1 / 30, 1 / 60, 1 / 6, 1 / 6


def run(options: argparse.Namespace, home: Path) -> list[Row]:
    """Return every row that was asked for."""
    size = FULL.part(options.share)
    with own_servers(BenchMariaDB(home), OwnRedis(home)) as (mysql, broker), ExitStack() as stack:
        bench = Bench(home, mysql, broker, options, stack)
        rows: list[Row] = []
        for share in SHARES:
            rows += bench.measure(size.part(share), is_full=share == SHARES[-1])
        return rows


class Bench:
    """The systems of one run, and its stock."""

    def __init__(
        self, home: Path, mysql: BenchMariaDB, broker: OwnRedis, options: argparse.Namespace, stack: ExitStack
    ) -> None:
        self.home, self.mysql, self.broker, self.options = home, mysql, broker, options
        self.stretches = candles.Stretches()
        self.full, books = self._start(stack, "full", 0)
        self.stock = Stock(mysql.connect(autocommit=True), self.full.schemas, full=FULL.part(options.share), **books)
        self.empty, _ = self._start(stack, "empty", 1)
        self.bare = BareSystem(self._folder("bare"), mysql, self._broker_url(2))
        stack.enter_context(self.bare.running())

    def _start(self, stack: ExitStack, name: str, database: int, **options: Any) -> tuple[BenchSystem, dict[str, Any]]:
        """Start a system of its own; return it and the ids of its books."""
        system = BenchSystem(self._folder(name), self.mysql.url, self._broker_url(database), threads=THREADS, **options)
        stack.enter_context(system.running())
        return system, inside(system.env, "bench.books")

    def _folder(self, name: str) -> Path:
        folder = self.home / name
        folder.mkdir()
        return folder

    def _broker_url(self, database: int) -> str:
        return self.broker.url.rpartition("/")[0] + f"/{database}"

    def measure(self, size: Size, *, is_full: bool) -> list[Row]:
        """Bring the stock up to a size and measure every part on it."""
        began = time.monotonic()
        self.stock.grow(size)
        kinds = f"{size.alarms:,} alarms, {size.operations:,} operations and {size.klines:,} klines"
        _say(began, f"{kinds} are stored")
        rows: list[Row] = []
        for part in self.options.only:
            began = time.monotonic()
            found = getattr(self, f"_{part}")(size, is_full)
            print(table(found), remarks(found), sep="\n", flush=True)
            _say(began, f"{part} at {size.alarms:,} alarms")
            rows += found
        return rows

    def _memory(self, size: Size, is_full: bool) -> list[Row]:
        """At rest: this system was started and given its stock, and has done nothing since but its sweeps."""
        return [] if is_full else memory.measure(self.full, when="at rest")

    def _webhook(self, size: Size, is_full: bool) -> list[Row]:
        with self.empty.asleep():
            return webhook.measure(
                self.full, self.mysql, self.broker, stored=size.alarms, seconds=self.options.seconds * INTAKE
            )

    def _pipeline(self, size: Size, is_full: bool) -> list[Row]:
        return pipeline.measure(
            self.bare,
            self.full,
            self.empty,
            self.mysql,
            self.broker,
            idle_seconds=self.options.seconds * IDLE,
            busy_seconds=self.options.seconds * (1 if is_full else SMALL),
            stored=size.alarms,
        )

    def _crowd(self, size: Size, is_full: bool) -> list[Row]:
        """Ten orders of one alarm at an exchange that is 80 ms away, against one round trip of the first."""
        with ExitStack() as stack:
            stack.enter_context(self.full.asleep())
            stack.enter_context(self.empty.asleep())
            slow = ("--latency-ms", str(LATENCY))
            system, _ = self._start(stack, f"crowd{size.alarms}", 3, paper_options=slow)
            laps = [pipeline.spread_of_one_alarm(system, self.mysql, CROWD) for _ in range(ROUNDS)]
        pairs = [(LATENCY, last - first + LATENCY) for first, last in laps]
        return [of_pairs("ten accounts, last order against one round trip", "ms", pairs, Goal(1.5))]

    def _candles(self, size: Size, is_full: bool) -> list[Row]:
        with self.empty.asleep(), self.full.asleep("web", "worker", "beat"):
            return candles.measure(
                self.full,
                self.home,
                self.stretches,
                stored=size.klines,
                seconds=self.options.seconds,
                is_full=is_full,
            )

    def _klines(self, size: Size, is_full: bool) -> list[Row]:
        with self.empty.asleep():
            return reads.measure_candles(
                self.full, self.mysql, stored=size.klines, seconds=self.options.seconds * READS
            )

    def _pages(self, size: Size, is_full: bool) -> list[Row]:
        with self.empty.asleep():
            return reads.measure(self.full, self.mysql, stored=size.alarms, seconds=self.options.seconds * READS)

    def _overview(self, size: Size, is_full: bool) -> list[Row]:
        with self.empty.asleep():
            return reads.measure_queries(self.full, stored=size.alarms)

    def _rest(self, size: Size, is_full: bool) -> list[Row]:
        """With nothing to do there are only sweeps and hearts: a table that one of them walks shows here."""
        with self.empty.asleep():
            leaders = self.full.leaders(self.mysql, self.broker)
            return rest.measure(leaders, stored=size.alarms, seconds=self.options.seconds * REST)


def _say(began: float, what: str) -> None:
    print(f"-- {what}, {time.monotonic() - began:.0f} s\n", flush=True)


def machine() -> dict[str, Any]:
    """Return what the figures were taken on."""
    return {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="of the full size, e.g. 0.01 for a quick look")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of a round at 50 alarms a second")
    parser.add_argument("--only", nargs="*", default=PARTS, choices=PARTS)
    options = parser.parse_args()
    logger.remove()
    logger.add(sys.stderr, level="WARNING")
    began, home = time.monotonic(), scratch_folder()
    try:
        rows = run(options, home)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    asked = {"share": options.share, "seconds": options.seconds, "parts": list(options.only)}
    said = {"at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", **machine(), **asked}
    said["rows"] = [row.as_json() for row in rows]
    RESULTS.write_text(json.dumps(said, indent=1, ensure_ascii=False) + "\n")
    print(table(rows), growth(rows), _verdicts(rows), sep="\n\n")
    _say(began, f"all of it; {RESULTS.relative_to(ROOT)} has the figures")
    return 0


def _verdicts(rows: list[Row]) -> str:
    """Return in a sentence which goals are met, and name those that are not."""
    aimed = [row for row in rows if row.goal]
    missed = [f"{row.name} ({row.rows_stored:,} stored)" for row in aimed if row.verdict != "met"]
    return f"{len(aimed) - len(missed)} of {len(aimed)} goals are met." + "".join(
        f"\n  missed: {each}" for each in missed
    )


if __name__ == "__main__":
    sys.exit(main())
