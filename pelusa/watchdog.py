"""End a worker that hangs: whoever runs it starts it again, and the rows know what was under way.

Every call of a task to the outside has a time-out, so a worker whose hands are all full and that finishes nothing for
so long waits for something that will not come. Ending it is as safe as any crash.
"""

import os
import threading
import time
from collections.abc import Callable
from typing import Any

from celery.signals import task_postrun, task_prerun
from loguru import logger

PATIENCE = 75.0
LOOK_EVERY = 5.0
EXIT_STATUS = 70


class Watchdog:
    """Counts what a worker's `hands` begin and finish."""

    def __init__(self, hands: int, *, patience: float = PATIENCE, end: Callable[[int], Any] = os._exit) -> None:
        self._hands, self._patience, self._end = hands, patience, end
        self._lock = threading.Lock()
        self._busy = 0
        self._moved_at = time.monotonic()

    def begins(self, **signal: Any) -> None:
        self._move(1)

    def finishes(self, **signal: Any) -> None:
        self._move(-1)

    def _move(self, step: int) -> None:
        with self._lock:
            self._busy += step
            self._moved_at = time.monotonic()

    def is_stuck(self) -> bool:
        """Tell whether every hand has been full for longer than patience lasts, and nothing moved."""
        with self._lock:
            return self._busy >= self._hands and time.monotonic() - self._moved_at > self._patience

    def watch(self) -> None:
        """Look every few seconds, from a thread of its own, for as long as the process lives."""
        # Signals hold their receivers weakly
        task_prerun.connect(self.begins, weak=False)
        task_postrun.connect(self.finishes, weak=False)
        threading.Thread(target=self._look_for_ever, name="watchdog", daemon=True).start()

    def _look_for_ever(self) -> None:
        while not self.is_stuck():
            time.sleep(min(LOOK_EVERY, self._patience / 3))
        logger.critical("all {} threads have been busy for {:.0f} s: this worker ends", self._hands, self._patience)
        self._end(EXIT_STATUS)
