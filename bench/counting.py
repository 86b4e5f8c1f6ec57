"""Count and time queries in a system's own process: `python -m bench.counting`, in that system's environment.

Print, as JSON: queries of a page of alarms by its length, of the overview page, and the slowest of the latter.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Any

import django

DATABASES = ("default", "alarms", "market")
LENGTHS = (10, 50, 500)
LAPS = 7
USER = "bench counting"


@contextmanager
def watched() -> Iterator[list[tuple[str, float]]]:
    """Yield a list to which every statement adds itself and the milliseconds that it took."""
    from django.db import connections

    seen: list[tuple[str, float]] = []

    def watch(execute: Callable[..., Any], sql: str, parameters: Any, many: bool, context: Any) -> Any:
        began = time.perf_counter()
        try:
            return execute(sql, parameters, many, context)
        finally:
            seen.append((sql, (time.perf_counter() - began) * 1000))

    with ExitStack() as stack:
        for alias in DATABASES:
            stack.enter_context(connections[alias].execute_wrapper(watch))
        yield seen


def browser() -> Any:
    """Return a browser in which a superuser is logged in."""
    from django.contrib.auth import get_user_model
    from django.test import Client

    users = get_user_model().objects
    user = users.filter(username=USER).first() or users.create_superuser(USER)
    client = Client(headers={"host": "localhost"})
    client.force_login(user)
    return client


def lap(client: Any, path: str) -> tuple[list[tuple[str, float]], float]:
    """Ask for a page; return its statements and the milliseconds that the whole took."""
    began = time.perf_counter()
    with watched() as seen:
        answer = client.get(path)
    assert answer.status_code == 200, (path, answer.status_code)
    return seen, (time.perf_counter() - began) * 1000


def of_page(client: Any, path: str) -> dict[str, Any]:
    """Return how many statements a page needs, the median of its milliseconds, and its slowest statement."""
    lap(client, path)
    laps = [lap(client, path) for _ in range(LAPS)]
    statements = [seen for seen, _ in laps]
    each = [median(seen[number][1] for seen in statements) for number in range(len(statements[0]))]
    slowest = max(range(len(each)), key=each.__getitem__)
    return {
        "queries": len(each),
        "milliseconds": median(took for _, took in laps),
        "slowest": each[slowest],
        "slowest_is": statements[0][slowest][0],
    }


def main() -> None:
    django.setup()
    client = browser()
    pages = {length: of_page(client, f"/api/v1/alarms/?limit={length}") for length in LENGTHS}
    print(json.dumps({"pages": pages, "overview": of_page(client, "/admin/")}))


if __name__ == "__main__":
    main()
