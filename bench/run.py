"""`make bench`: measure each goal beside its floor, pair by pair in one run, at a tenth of the size and at the whole.

A benchmark and no test: nothing fails when a goal is missed, the table says so. Results go to bench/results.json.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import pipeline, webhook
from bench.books import CROWD
from bench.measure import ROUNDS, Goal, Row, of_pairs, table
from bench.scene import BareSystem, BenchMariaDB, BenchSystem, bench_servers
from bench.servers import OwnRedis, scratch_folder
from bench.stock import FULL, Size, Stock
from pelusa.livesystem import ROOT
from pelusa.processes import WORKER_THREADS

RESULTS = ROOT / "bench" / "results.json"
# As `make run` has them
THREADS = WORKER_THREADS
LATENCY = 80
PARTS = ("webhook", "pipeline", "crowd")


def run(options: argparse.Namespace, home: Path) -> list[Row]:
    """Return every row that was asked for."""
    size = FULL.part(options.share)
    with bench_servers(home) as (mysql, broker), ExitStack() as stack:
        bench = Bench(home, mysql, broker, options, stack)
        rows: list[Row] = []
        for share in (0.1, 1.0):
            rows += bench.measure(size.part(share))
        return rows


class Bench:
    """The systems of one run, and its stock."""

    def __init__(
        self, home: Path, mysql: BenchMariaDB, broker: OwnRedis, options: argparse.Namespace, stack: ExitStack
    ) -> None:
        self.home, self.mysql, self.broker, self.options = home, mysql, broker, options
        self.stack = stack
        self.full, books = self._start(self.stack, "full", 0)
        self.stock = Stock(mysql.connect(), self.full.schemas, **books)
        self.empty, _ = self._start(self.stack, "empty", 1)
        self.bare = BareSystem(self._folder("bare"), mysql, self._broker_url(2))
        stack.enter_context(self.bare.running())

    def _start(self, stack: ExitStack, name: str, database: int, **options: Any) -> tuple[BenchSystem, dict[str, Any]]:
        """Start a system of its own; return it and the ids of its books."""
        system = BenchSystem(self._folder(name), self.mysql.url, self._broker_url(database), threads=THREADS, **options)
        stack.enter_context(system.running())
        return system, json.loads(_python(system, "bench.books"))

    def _folder(self, name: str) -> Path:
        folder = self.home / name
        folder.mkdir()
        return folder

    def _broker_url(self, database: int) -> str:
        return self.broker.url.rpartition("/")[0] + f"/{database}"

    def measure(self, size: Size) -> list[Row]:
        began = time.monotonic()
        self.stock.grow(size)
        print(f"{size.alarms:,} alarms, {size.operations:,} operations and {size.klines:,} klines stored,", end=" ")
        print(f"{time.monotonic() - began:.0f} s", flush=True)
        rows: list[Row] = []
        for part in self.options.only:
            found = getattr(self, f"_{part}")(size)
            print(table(found), flush=True)
            rows += found
        return rows

    def _webhook(self, size: Size) -> list[Row]:
        return webhook.measure(
            self.full, self.mysql, self.broker, stored=size.alarms, seconds=self.options.seconds / 10
        )

    def _pipeline(self, size: Size) -> list[Row]:
        return pipeline.measure(
            self.bare, self.full, self.empty, self.mysql, seconds=self.options.seconds, stored=size.alarms
        )

    def _crowd(self, size: Size) -> list[Row]:
        """Ten orders of one alarm at an exchange that is 80 ms away, against one round trip of the first."""
        with ExitStack() as stack:
            system, _ = self._start(stack, f"crowd{size.alarms}", 3, paper_options=("--latency-ms", str(LATENCY)))
            laps = [pipeline.spread_of_one_alarm(system, self.mysql, CROWD) for _ in range(ROUNDS)]
        pairs = [(LATENCY, last - first + LATENCY) for first, last in laps]
        row = of_pairs("ten accounts, last order against one round trip", "ms", pairs, Goal(1.5))
        return [row]


def _python(system: BenchSystem, *argv: str) -> str:
    command = [sys.executable, "-m", *argv]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | system.env, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.splitlines()[-1]


def machine() -> dict[str, Any]:
    """Return what the figures were taken on."""
    return {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="of the full size, e.g. 0.01 for a quick look")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of a round at 50 alarms a second")
    parser.add_argument("--only", nargs="*", default=PARTS, choices=PARTS)
    options = parser.parse_args()
    home = scratch_folder()
    try:
        rows = run(options, home)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    said = {"at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", **machine(), "rows": [row.as_json() for row in rows]}
    RESULTS.write_text(json.dumps(said, indent=1) + "\n")
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
