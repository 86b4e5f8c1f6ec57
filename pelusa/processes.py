"""Which processes make up a running Pelusa, and how to run them all under one supervisor."""

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection, HTTPException
from typing import Any, TextIO
from urllib.parse import urlsplit

import django
from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.db import DatabaseError, connections
from django.utils import timezone
from kombu.exceptions import OperationalError

from pelusa.celery import app
from pelusa.embedded import broker_spec
from pelusa.supervisor import ProcessSpec, Supervisor, port_is_open, sole_owner

PAPER_SEED = 7
# They wait for the exchange most of the time: one alarm may send an order for each of so many accounts at once
WORKER_THREADS = 16


class PortTaken(Exception):
    """Another program listens where one of our processes should."""


@contextmanager
def running_system(output: TextIO | None = None) -> Iterator[Supervisor]:
    """Migrate, start every process and yield their supervisor; end them all on leaving.

    What the processes print goes to `output`, by default to ours.

    Raises `AlreadyRunning` when this installation runs already and `PortTaken` when another program has its port.
    """
    with sole_owner(settings.VAR_DIR / "supervisor.lock") as lock:
        refuse_taken_ports()
        prepare()
        with Supervisor(process_specs(settings), lock=lock, output=output) as supervisor:
            yield supervisor


def prepare() -> None:
    """Bring the three databases and the static files up to date."""
    for alias in settings.DATABASES:
        call_command("migrate", database=alias, interactive=False, verbosity=0)
    connections.close_all()
    call_command("collectstatic", interactive=False, verbosity=0)


def refuse_taken_ports() -> None:
    # The embedded paper exchange's port follows from PORT.
    for port in [settings.PORT, *([paper_port(settings)] if paper_is_ours(settings) else [])]:
        if not port_is_free(port):
            raise PortTaken(f"port {port} is in use by another program: stop it, or choose another with PORT")


def port_is_free(port: int) -> bool:
    """Tell whether a server could listen on `port` of every address."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))  # noqa: S104
        except OSError:
            return False
    return True


def process_specs(conf: Any) -> list[ProcessSpec]:
    """Return the processes for the settings `conf`, servers first: they are stopped in the reverse order."""
    specs = [broker_spec(conf.VAR_DIR)] if conf.EMBEDDED_BROKER else []
    if paper_is_ours(conf):
        specs.append(paper_spec(conf))
    return [*specs, web_spec(conf), worker_spec(conf), beat_spec(conf)]


def paper_is_ours(conf: Any) -> bool:
    """Tell whether the paper exchange is one of our processes, not one that somebody runs elsewhere."""
    return bool(conf.PELUSA_TRADING == "paper" and conf.EMBEDDED_PAPER)


def paper_port(conf: Any) -> int:
    return urlsplit(conf.BINGX_PAPER_URL).port or 80


def paper_spec(conf: Any) -> ProcessSpec:
    port = paper_port(conf)
    argv = ["manage.py", "paper_exchange", "--port", str(port), "--state", str(conf.VAR_DIR / "paper.sqlite3")]
    return _python("paper", conf, *argv, "--seed", str(PAPER_SEED), is_ready=partial(port_is_open, port))


def web_spec(conf: Any) -> ProcessSpec:
    return _python("web", conf, *web_argv("0.0.0.0", conf.PORT), is_ready=partial(web_is_live, conf.PORT))  # noqa: S104


def web_argv(address: str, port: int) -> list[str]:
    """Return what runs the web server: two processes of eight threads."""
    workers = ["-w", "2", "--threads", "8"]
    return ["-m", "gunicorn", "pelusa.wsgi", *workers, "-b", f"{address}:{port}", "-c", "pelusa/gunicorn.py"]


def worker_spec(conf: Any) -> ProcessSpec:
    return _python("worker", conf, *worker_argv(WORKER_THREADS), is_ready=worker_answers)


def worker_argv(threads: int) -> list[str]:
    """Return what runs a worker."""
    pool = ["-P", "threads", "-c", str(threads)]
    # Gossip and mingle are for clusters of workers that watch each other: a second of start-up for nothing here.
    return ["-m", "celery", "-A", "pelusa", "worker", *pool, "--without-gossip", "--without-mingle"]


def beat_spec(conf: Any) -> ProcessSpec:
    return _python("beat", conf, *beat_argv())


def beat_argv() -> list[str]:
    """Return what runs the scheduler; exactly one of it."""
    return ["-m", "celery", "-A", "pelusa", "beat", "--scheduler", "django_celery_beat.schedulers:DatabaseScheduler"]


def _python(name: str, conf: Any, *argv: str, **more: Any) -> ProcessSpec:
    return ProcessSpec(name, [sys.executable, *argv], cwd=conf.BASE_DIR, **more)


def web_is_live(port: int) -> bool:
    """Tell whether the web process answers; a refusal (a host name or an address that is not allowed) is an answer."""
    connection = HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/health/live")
        return connection.getresponse().status < 500
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def is_beating(kind: str) -> bool:
    """Tell whether a process of that kind (web, worker, beat) on this host showed lately that it lives.

    Made for a container's health check, which asks it from a Python of its own. Where the books are away nobody can
    show anything, and to start a process again would not bring them back: that is no proof against it.
    """
    if not apps.ready:
        django.setup()
    from pelusa.monitoring.faults import AWAY
    from pelusa.monitoring.models import Heartbeat

    ours = Heartbeat.objects.filter(kind=kind, host=socket.gethostname()[:100])
    try:
        return ours.filter(beat_at__gt=timezone.now() - AWAY).exists()
    except DatabaseError:
        return True


def worker_answers() -> bool:
    """Tell whether a worker takes orders from the broker."""
    try:
        return bool(app.control.ping(timeout=0.5, limit=1))
    except OperationalError:
        return False
