"""What the processes of a system hold in memory."""

from bench.groups import memory_of
from bench.measure import Goal, Row, of_value
from bench.scene import BenchSystem

KINDS = ("web", "worker", "beat")
MOST_TOGETHER = Goal(500)


def measure(system: BenchSystem, *, when: str) -> list[Row]:
    """Return a row for each kind of process and one for all of them; `when` says what went before."""
    held = {name: memory_of(pid) for name, pid in system.pids().items()}
    rows, together = [], 0.0
    for kind in KINDS:
        shares = [pss for name, (pss, _) in held.items() if name.startswith(kind)]
        mapped = [rss for name, (_, rss) in held.items() if name.startswith(kind)]
        rows.append(of_value(f"memory of {kind}, {when}", "MiB", sum(shares), notes={"rss": round(sum(mapped))}))
        together += sum(shares)
    return [*rows, of_value(f"memory of web, worker and beat, {when}", "MiB", together, MOST_TOGETHER)]
