"""How much further the design goes: simulate a burst of alarms through workers and lanes. `python -m bench.capacity`.

At the close of a candle many strategies speak at once, so it is the burst that decides and not the day's mean. The
model has what the real thing has: alarms of one pair are routed one after the other, orders of one lane leave one after
the other, a worker has one processor (Python's lock) and threads that wait without it, the exchange answers after a
while and takes so many orders a second of one account. Costs are processor milliseconds, as `make bench` has them.
"""

import argparse
import heapq
import itertools
import random
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from bench.measure import percentile

# Account and pair
Lane = tuple[int, int]

SEED = 5
# TradingView sends what a candle's close sets off within about so many seconds
ARRIVES_IN = 2.0


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds: of a worker's processor to route an alarm, to decide on it, to send an order, and to fetch its fills and
    see to its protection after that; of the exchange to answer.

    `orders_a_second` is what the exchange takes of one account.
    """

    route: float
    decide: float
    send: float
    after: float
    answer: float
    orders_a_second: float = 10


@dataclass(frozen=True, slots=True)
class Burst:
    """So many alarms on so many pairs, each heard by so many strategies; accounts share the strategies evenly."""

    alarms: int
    pairs: int
    strategies_an_alarm: int
    accounts: int


class Workers:
    """Processors that take work as it comes, in virtual time: `work` calls back when a piece is done."""

    def __init__(self, processors: int) -> None:
        self.free = processors
        self.now = 0.0
        self._number = itertools.count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._waiting: deque[tuple[float, Callable[[], None]]] = deque()

    def at(self, moment: float, then: Callable[[], None]) -> None:
        heapq.heappush(self._events, (moment, next(self._number), then))

    def work(self, seconds: float, then: Callable[[], None]) -> None:
        self._waiting.append((seconds, then))
        self._give()

    def run(self) -> None:
        while self._events:
            self.now, _, then = heapq.heappop(self._events)
            then()

    def _give(self) -> None:
        while self.free and self._waiting:
            seconds, then = self._waiting.popleft()
            self.free -= 1
            self.at(self.now + seconds, partial(self._done, then))

    def _done(self, then: Callable[[], None]) -> None:
        self.free += 1
        then()
        self._give()


class Run:
    """One burst on its way; `left` is how long after its alarm each order left, in seconds."""

    def __init__(self, burst: Burst, costs: Costs, workers: int, seed: int) -> None:
        self.burst, self.costs, self.pool = burst, costs, Workers(workers)
        self.dice, self.left = random.Random(seed), list[float]()
        # When each alarm came, in the order of its pair, and of each order that waits in its lane
        self.pairs: dict[int, deque[float]] = defaultdict(deque)
        self.lanes: dict[Lane, deque[float]] = defaultdict(deque)
        self.next_turn: dict[int, float] = defaultdict(float)

    def arrive(self, pair: int) -> None:
        self.pairs[pair].append(self.pool.now)
        if len(self.pairs[pair]) == 1:
            self.route(pair)

    def route(self, pair: int) -> None:
        seconds = self.costs.route + self.burst.strategies_an_alarm * self.costs.decide
        self.pool.work(seconds, partial(self.decided, pair))

    def decided(self, pair: int) -> None:
        came = self.pairs[pair].popleft()
        for account in self.dice.sample(range(self.burst.accounts), self.burst.strategies_an_alarm):
            self.wait_in((account, pair), came)
        if self.pairs[pair]:
            self.route(pair)

    def wait_in(self, lane: Lane, came: float) -> None:
        self.lanes[lane].append(came)
        if len(self.lanes[lane]) == 1:
            self.send(lane)

    def send(self, lane: Lane) -> None:
        self.pool.work(self.costs.send / 2, partial(self.await_turn, lane))

    def await_turn(self, lane: Lane) -> None:
        moment = max(self.pool.now, self.next_turn[lane[0]])
        self.next_turn[lane[0]] = moment + 1 / self.costs.orders_a_second
        self.pool.at(moment, partial(self.leave, lane))

    def leave(self, lane: Lane) -> None:
        self.left.append(self.pool.now - self.lanes[lane][0])
        write_down = partial(self.pool.work, self.costs.send / 2, partial(self.answered, lane))
        self.pool.at(self.pool.now + self.costs.answer, write_down)

    def answered(self, lane: Lane) -> None:
        self.pool.work(self.costs.after, _nothing)
        self.lanes[lane].popleft()
        if self.lanes[lane]:
            self.send(lane)


def _nothing() -> None: ...


def simulate(burst: Burst, costs: Costs, *, workers: int, seed: int = SEED) -> list[float]:
    """Return, in seconds, how long after its alarm each order left."""
    run = Run(burst, costs, workers, seed)
    for _ in range(burst.alarms):
        run.pool.at(run.dice.uniform(0, ARRIVES_IN), partial(run.arrive, run.dice.randrange(burst.pairs)))
    run.pool.run()
    return run.left


BURSTS = {
    "50 alarms, 10 pairs, 1 strategy each, 10 accounts": Burst(50, 10, 1, 10),
    "350 alarms, 50 pairs, 1 strategy each, 100 accounts": Burst(350, 50, 1, 100),
    "350 alarms, 50 pairs, 10 strategies each, 100 accounts": Burst(350, 50, 10, 100),
    "2,000 alarms, 200 pairs, 5 strategies each, 1,000 accounts": Burst(2_000, 200, 5, 1_000),
}
WORKERS = (1, 2, 4, 8, 16, 32)
# Measured on two cores that others used too: see docs/performance.md
MILLISECONDS = {"route": 4, "decide": 9.5, "send": 28, "after": 21, "answer": 80}


def line(values: Sequence[float]) -> str:
    return " / ".join(f"{each:6.2f}" for each in (percentile(values, 50), percentile(values, 99), max(values)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, milliseconds in MILLISECONDS.items():
        parser.add_argument(f"--{name}-ms", type=float, default=milliseconds)
    options = parser.parse_args()
    seconds = {name: getattr(options, f"{name}_ms") / 1000 for name in MILLISECONDS}
    print("seconds from an alarm to its order leaving: median / 99 of 100 / last")
    for name, burst in BURSTS.items():
        print(f"\n{name}")
        for workers in WORKERS:
            print(f"  {workers:2} workers  {line(simulate(burst, Costs(**seconds), workers=workers))}")


if __name__ == "__main__":
    main()
