"""What a system spends while nothing happens."""

import time
from collections.abc import Mapping

from bench.groups import Spent
from bench.measure import Row, of_value
from bench.scene import settle


def measure(leaders: Mapping[str, int], *, stored: int, seconds: float) -> list[Row]:
    """Return the row about the processor time that everything together takes of each second."""
    settle()
    spent, began = Spent(leaders), time.monotonic()
    time.sleep(seconds)
    each = spent.milliseconds(1)
    a_second = {name: round(total / (time.monotonic() - began), 2) for name, total in each.items()}
    name = "processor time of a second in which nothing happens"
    return [of_value(name, "ms", sum(a_second.values()), rows_stored=stored, notes={"by": a_second})]
