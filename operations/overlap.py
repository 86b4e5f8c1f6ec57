"""Keep a deed from being done twice at once in this process.

Rows decide what is right, with any number of processes. This saves threads only: sweeps ring every two seconds, and
while the exchange is slow to answer their echoes would fill the worker with the same questions.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_under_way: set[tuple[str, int]] = set()
_lock = threading.Lock()


@contextmanager
def alone(deed: str, row_id: int) -> Iterator[bool]:
    """Tell whether nobody else in this process does the deed for that row; until the block ends nobody else will."""
    key = deed, row_id
    with _lock:
        is_first = key not in _under_way
        _under_way.add(key)
    try:
        yield is_first
    finally:
        if is_first:
            with _lock:
                _under_way.discard(key)
