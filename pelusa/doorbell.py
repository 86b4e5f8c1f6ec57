"""Ring a task's bell without ever making the caller wait for the broker.

The row that was committed is the work; the bell only makes it sooner. A ring that is lost (queue full, broker
away, process killed) costs the few seconds until the next sweep, so nothing here retries.
"""

import threading
import time
from collections import deque

from celery import current_app
from django.db import transaction
from kombu import Connection
from kombu.exceptions import OperationalError
from loguru import logger

BREAKER_SECONDS = 5.0
BELL_SECONDS = 10.0
QUEUE_LENGTH = 10_000
PUBLISH_OPTIONS = {"socket_timeout": 0.2, "socket_connect_timeout": 0.2, "global_keyprefix": "pelusa:"}


class Doorbell:
    """A background thread that publishes; a broker that fails is left alone for `BREAKER_SECONDS`."""

    def __init__(self) -> None:
        self._rings: deque[tuple[str, int]] = deque(maxlen=QUEUE_LENGTH)
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed_until = 0.0

    def ring(self, task: str, row_id: int) -> None:
        """Hand a ring to the thread and return at once."""
        with self._wake:
            self._rings.append((task, row_id))
            if self._thread is None or not self._thread.is_alive():
                # Started here and not at import: a thread does not survive gunicorn's or Celery's fork.
                self._thread = threading.Thread(target=self._publish_for_ever, name="doorbell", daemon=True)
                self._thread.start()
            self._wake.notify()

    def _publish_for_ever(self) -> None:
        while True:
            with self._wake:
                while not self._rings:
                    self._wake.wait()
                task, row_id = self._rings.popleft()
            if time.monotonic() >= self._closed_until:
                self._publish(task, row_id)

    def _publish(self, task: str, row_id: int) -> None:
        try:
            # A bell that nobody heard for so long is rung again by a sweep: a backlog must not grow on its echoes
            current_app.send_task(task, (row_id,), connection=_connection(), retry=False, expires=BELL_SECONDS)
        except (OperationalError, OSError) as error:
            self._closed_until = time.monotonic() + BREAKER_SECONDS
            _forget_connection()
            logger.warning("broker away, sweeps take over: {}", type(error).__name__)


_local = threading.local()
_doorbell = Doorbell()


def _connection() -> Connection:
    if not hasattr(_local, "connection"):
        _local.connection = current_app.connection_for_write(transport_options=PUBLISH_OPTIONS)
    connection: Connection = _local.connection
    return connection


def _forget_connection() -> None:
    if hasattr(_local, "connection"):
        _local.connection.release()
        del _local.connection


def ring_on_commit(task: str, row_id: int, *, using: str) -> None:
    """Ring the task of that name after the transaction on database `using` commits; never raise and never wait."""

    # A function and not a partial: Django names it when it fails, and a partial has no name to give
    def ring() -> None:
        _doorbell.ring(task, row_id)

    transaction.on_commit(ring, using=using, robust=True)
