"""Count what happens in this process, in memory and in microseconds; whoever publishes it takes the counts away.

Names and labels are machine words. A name that meets too many combinations of labels counts the rest as `other`, so
that nobody from outside can make them grow.
"""

import threading
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Mapping

# Name, then labels in alphabetical order
Series = tuple[str, tuple[tuple[str, str], ...]]
MOST_SERIES = 150
# Seconds: an alarm's answer takes milliseconds, its order a fraction of a second
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0)
_BOUNDS = [*map(str, BUCKETS), "+Inf"]

_turn = threading.Lock()
_amounts: defaultdict[Series, float] = defaultdict(float)
_known: set[Series] = set()
_of_name: Counter[str] = Counter()


def add(name: str, amount: float = 1, **labels: str) -> None:
    """Add to a counter."""
    with _turn:
        _amounts[_bounded(name, labels)] += amount


def observe(name: str, seconds: float, **labels: str) -> None:
    """Put a time into its bucket of a histogram, and add it to the sum; buckets are not cumulated here."""
    bound = _BOUNDS[bisect_left(BUCKETS, seconds)]
    with _turn:
        _amounts[_bounded(f"{name}_bucket", labels | {"le": bound})] += 1
        _amounts[_bounded(f"{name}_sum", labels)] += seconds


def take() -> dict[Series, float]:
    """Return what was counted since the last call, and begin again."""
    with _turn:
        taken = dict(_amounts)
        _amounts.clear()
        return taken


def give_back(amounts: Mapping[Series, float]) -> None:
    """Count again what was taken and could not be kept."""
    with _turn:
        for series, amount in amounts.items():
            _amounts[series] += amount


def _bounded(name: str, labels: Mapping[str, str]) -> Series:
    series = name, tuple(sorted(labels.items()))
    if series in _known:
        return series
    if _of_name[name] >= MOST_SERIES:
        return name, tuple((label, value if label == "le" else "other") for label, value in series[1])
    _known.add(series)
    _of_name[name] += 1
    return series
