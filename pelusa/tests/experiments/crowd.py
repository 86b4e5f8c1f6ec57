"""Many processes that do one deed at once on a rig's databases; some of them are killed on the way.

`python -m pelusa.tests.experiments.crowd DEED SIZE KILLS SEED [ISOLATION]` ends when no work is left. Each process that
ends by itself prints how often it was the one that won.
"""

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import django


def route() -> int:
    """Route whatever waits, as if every process were the only one; return how many alarms this one routed."""
    from alarms.models import Alarm
    from alarms.routing import route_pair

    routed = 0
    waiting = Alarm.objects.filter(status=Alarm.Status.RECEIVED)
    while pairs := list(waiting.order_by().values_list("pair", flat=True).distinct()):
        random.shuffle(pairs)
        routed += sum(route_pair(pair) for pair in pairs)
    return routed


def claim() -> int:
    """Try to claim every order that waits; return how many this process may send."""
    from django.utils import timezone

    from operations import execution
    from operations.models import Order
    from operations.preparation import Prepared

    orders = Order.objects.filter(status="created").select_related("lane__account", "operation__strategy", "decision")
    won = 0
    for order in random.sample(list(orders), orders.count()):
        leg = order.operation.strategy.legs.get()
        prepared = Prepared(quantity=leg.size, price=Decimal(100), priced_at=timezone.now(), leg=leg)
        won += execution._claim(order, prepared)
    return won


DEEDS: dict[str, Callable[[], int]] = {"route": route, "claim": claim}


def start(deed: str) -> int:
    """Fork a process that does the deed; nothing of the parent's may be open."""
    pid = os.fork()
    if pid:
        return pid
    random.seed()
    print(DEEDS[deed](), flush=True)
    os._exit(0)


def isolate(level: str) -> None:
    """Have every connection of this process and its children at another level than the settings name."""
    from django.db.backends.signals import connection_created

    def set_level(connection: Any, **kwargs: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SET SESSION TRANSACTION ISOLATION LEVEL {level}")

    connection_created.connect(set_level, weak=False)


def main(deed: str, size: str, kills: str, seed: str, isolation: str = "") -> None:
    django.setup()
    if isolation:
        isolate(isolation)
    dice = random.Random(int(seed))
    crowd = {start(deed) for _ in range(int(size))}
    for _ in range(int(kills)):
        time.sleep(dice.uniform(0.05, 0.2))
        victim = dice.choice(sorted(crowd))
        os.kill(victim, signal.SIGKILL)
        os.waitpid(victim, 0)
        crowd = (crowd - {victim}) | {start(deed)}
    for pid in crowd:
        _, status = os.waitpid(pid, 0)
        assert status == 0, f"a process ended with {status}"


if __name__ == "__main__":
    main(*sys.argv[1:])
