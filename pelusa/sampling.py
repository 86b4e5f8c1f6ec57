"""Write only some of the lines that strangers cause, and say how many were left out: nobody may fill the log."""

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass

AT_ONCE = 200
A_SECOND = 1.0


@dataclass(slots=True)
class _Kind:
    room: float
    seen_at: float
    left_out: int = 0


class Sampler:
    """Lets the first lines of a kind through, `at_once` of them, and then `a_second`. Whoever calls has few kinds."""

    def __init__(
        self, *, at_once: int = AT_ONCE, a_second: float = A_SECOND, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._at_once, self._a_second, self._now = at_once, a_second, now
        self._lock = threading.Lock()
        self._kinds: dict[Hashable, _Kind] = {}

    def admit(self, kind: Hashable) -> int | None:
        """Return how many of its kind were left out since the last that was written; None to leave out this one."""
        with self._lock:
            now = self._now()
            known = self._kinds.setdefault(kind, _Kind(self._at_once, now))
            known.room = min(known.room + (now - known.seen_at) * self._a_second, self._at_once)
            known.seen_at = now
            if known.room < 1:
                known.left_out += 1
                return None
            known.room -= 1
            left_out, known.left_out = known.left_out, 0
            return left_out
