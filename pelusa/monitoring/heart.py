"""Each process says that it lives, from a thread that its work cannot hold up, and looks after the others.

The rows are what counts: the broker may be away. A process that stops, hangs or is killed writes no more, and any
other one that lives says so.
"""

import atexit
import os
import socket
import threading
import time
from contextlib import suppress
from datetime import datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from django.db import DatabaseError, close_old_connections, connections
from django.utils import timezone
from loguru import logger

EVERY = 10.0
MOST_KEPT = 50


class Heart:
    """One process's heart. Made before any fork, so that a worker's children know by whose name they work."""

    def __init__(self, kind: str) -> None:
        self.kind, self.host, self.pid = kind, socket.gethostname()[:100], os.getpid()
        self.name = f"{kind} {self.host}:{self.pid}"
        self.started_at = timezone.now()
        # In memory and written by the thread, where work must not wait for a row
        self.worked_at: datetime | None = None
        self._is_away = False

    def start(self) -> None:
        """Beat for as long as the process lives."""
        threading.Thread(target=self._beat_for_ever, name="heart", daemon=True).start()
        atexit.register(_keep_the_last_tallies)

    def beat(self) -> None:
        """Write that the process lives; raise `DatabaseError` when nobody takes it."""
        from pelusa.monitoring.models import Heartbeat

        worked = {} if self.worked_at is None else {"worked_at": self.worked_at}
        if Heartbeat.objects.filter(name=self.name).update(beat_at=timezone.now(), **worked):
            return
        born = {"kind": self.kind, "host": self.host, "pid": self.pid, "started_at": self.started_at}
        told: dict[str, Any] = {**born, **worked, "version": our_version(), "beat_at": timezone.now()}
        Heartbeat.objects.update_or_create(name=self.name, defaults=told)
        forget_the_oldest()

    def note_work(self) -> None:
        """Write that work came through the queue, whichever child took it."""
        from pelusa.monitoring.models import Heartbeat

        Heartbeat.objects.filter(name=self.name).update(worked_at=timezone.now())

    def _beat_for_ever(self) -> None:
        from pelusa.monitoring.tallies import keep_tallies
        from pelusa.monitoring.watch import look_after

        while True:
            close_old_connections()
            try:
                self.beat()
                keep_tallies()
                look_after(self.started_at)
                self._say_back()
            except DatabaseError as error:
                self._say_away(error)
            time.sleep(EVERY)

    def _say_back(self) -> None:
        if self._is_away:
            logger.info("{}: beats again", self.name)
        self._is_away = False

    def _say_away(self, error: DatabaseError) -> None:
        if not self._is_away:
            logger.error("{}: nobody can be told that it lives ({})", self.name, type(error).__name__)
        self._is_away = True
        connections.close_all()


def _keep_the_last_tallies() -> None:
    """Keep what was counted since the last beat of a process that ends as it should."""
    from pelusa.monitoring.tallies import keep_tallies

    with suppress(DatabaseError):
        keep_tallies()


def forget_the_oldest() -> None:
    """Keep the newest rows: a process that dies again and again must not fill a table."""
    from pelusa.monitoring.models import Heartbeat

    kept = list(Heartbeat.objects.order_by("-beat_at").values_list("pk", flat=True)[:MOST_KEPT])
    Heartbeat.objects.exclude(pk__in=kept).delete()


@cache
def our_version() -> str:
    """Return what is deployed: PELUSA_VERSION, or the package's version, or unknown."""
    try:
        return os.environ.get("PELUSA_VERSION", "")[:40] or version("pelusa")
    except PackageNotFoundError:
        return "unknown"


_own: Heart | None = None


def own_heart(kind: str) -> Heart:
    """Return this process's heart; the first call decides of which kind."""
    global _own
    _own = _own or Heart(kind)
    return _own
