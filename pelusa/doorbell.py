"""Ring a task's bell without ever making the caller wait for the broker.

The row that was committed is the work; the bell only makes it sooner. A ring that is lost (queue full, broker
away, process killed) costs the few seconds until the next sweep, so nothing here retries.
"""

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

from celery import current_app
from django.db import close_old_connections, transaction
from kombu import Connection
from kombu.exceptions import OperationalError
from loguru import logger

BREAKER_SECONDS = 5.0
BELL_SECONDS = 10.0
QUEUE_LENGTH = 10_000
# Publishing may take a sixth of a process's time: in a burst, rings that mean the same meet in the queue and become one
REST, LONGEST_REST = 5, 0.05
PUBLISH_OPTIONS = {"socket_timeout": 0.2, "socket_connect_timeout": 0.2, "global_keyprefix": "pelusa:"}


class Doorbell:
    """A background thread that publishes; a broker that fails is left alone for `BREAKER_SECONDS`.

    In a worker that has a `Household`, what its threads can take at once is never published.
    """

    def __init__(self) -> None:
        self.household: Household | None = None
        # By task and what the ring is about, in the order of the first ring; the newest row of each
        self._rings: dict[tuple[str, str | int], int] = {}
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed_until = 0.0

    def ring(self, task: str, row_id: int, group: str = "") -> None:
        """Hand a ring to a thread and return at once; one that waits is replaced by a newer one of its group."""
        if self.household and self.household.take(task, row_id):
            return
        with self._wake:
            if len(self._rings) < QUEUE_LENGTH:
                self._rings[task, group or row_id] = row_id
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
                rings, self._rings = self._rings, {}
            began = time.monotonic()
            for (task, _), row_id in rings.items():
                if time.monotonic() >= self._closed_until:
                    self._publish(task, row_id)
            time.sleep(min((time.monotonic() - began) * REST, LONGEST_REST))

    def _publish(self, task: str, row_id: int) -> None:
        try:
            # A bell that nobody heard for so long is rung again by a sweep: a backlog must not grow on its echoes
            current_app.send_task(task, (row_id,), connection=_connection(), retry=False, expires=BELL_SECONDS)
        except (OperationalError, OSError) as error:
            self._closed_until = time.monotonic() + BREAKER_SECONDS
            _forget_connection()
            logger.warning("broker away, sweeps take over: {}", type(error).__name__)


class Household:
    """Threads of a worker that answer the worker's own bells: an order need not pass through the broker to be sent.

    What they have no hand free for goes to the broker, and with it to any worker.
    """

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="household")
        self._free = threading.Semaphore(threads)

    def take(self, task: str, row_id: int) -> bool:
        """Have a free thread run the task now; return False when there is none."""
        if not self._free.acquire(blocking=False):
            return False
        try:
            done = self._threads.submit(_answer, task, row_id)
        except RuntimeError:  # the worker is on its way out
            self._free.release()
            return False
        done.add_done_callback(self._tell)
        return True

    def close(self) -> None:
        """Take nothing more; what runs goes on."""
        self._threads.shutdown(wait=False)

    def _tell(self, done: Future[None]) -> None:
        self._free.release()
        error = done.exception()
        if error:
            logger.opt(exception=error).error("a task broke, a sweep comes back to it")


def _answer(task: str, row_id: int) -> None:
    close_old_connections()
    current_app.tasks[task].run(row_id)


_local = threading.local()
_doorbell = Doorbell()


def open_household(threads: int) -> None:
    """Let this process answer its own bells from now on, with so many threads."""
    _doorbell.household = Household(threads)


def close_household() -> None:
    """Send every further bell to the broker."""
    if _doorbell.household:
        _doorbell.household.close()
        _doorbell.household = None


def _connection() -> Connection:
    if not hasattr(_local, "connection"):
        _local.connection = current_app.connection_for_write(transport_options=PUBLISH_OPTIONS)
    connection: Connection = _local.connection
    return connection


def _forget_connection() -> None:
    if hasattr(_local, "connection"):
        _local.connection.release()
        del _local.connection


def ring_on_commit(task: str, row_id: int, *, using: str, group: str = "") -> None:
    """Ring the task of that name after the transaction on database `using` commits; never raise and never wait.

    Where a task does the work of all rows of a `group`, rings that come faster than they are published become one, for
    the newest row.
    """

    # A function and not a partial: Django names it when it fails, and a partial has no name to give
    def ring() -> None:
        _doorbell.ring(task, row_id, group)

    transaction.on_commit(ring, using=using, robust=True)
