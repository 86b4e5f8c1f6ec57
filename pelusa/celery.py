"""The Celery application and the beat schedule, on one screen.

The database is the queue and the broker only rings the bell: every task takes ids, may run twice or never,
and each hop has a sweep here that can do all the work alone.
"""

import os
import sys
from typing import Any

from celery import Celery, Task
from celery.concurrency.thread import TaskPool as Threads
from celery.schedules import crontab
from celery.signals import (
    beat_init,
    before_task_publish,
    celeryd_init,
    setup_logging,
    task_prerun,
    worker_init,
    worker_ready,
    worker_shutting_down,
)
from django.db import close_old_connections
from django.utils import timezone

from pelusa.channel import know_closed_lines
from pelusa.doorbell import close_household, open_household
from pelusa.monitoring.heart import own_heart
from pelusa.watchdog import Watchdog

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pelusa.settings")

know_closed_lines()
app = Celery("pelusa")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.update(
    accept_content=["json"],
    task_serializer="json",
    task_ignore_result=True,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    task_create_missing_queues=True,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_pool_acquire_timeout=1.0,
    broker_transport_options={
        # What a worker took and did not finish is found by a sweep within seconds, and not rung again after minutes
        "ack_emulation": False,
        "socket_timeout": 5,
        "socket_connect_timeout": 2,
        "socket_keepalive": True,
        # Half of the time after which a line that went silent is given up
        "health_check_interval": 5,
        "global_keyprefix": "pelusa:",
    },
    # Beat writes down what it rang about every ten seconds and not every three minutes, for who looks at Schedules
    beat_sync_every=30,
    worker_hijack_root_logger=False,
    # Celery would close them all around each task, and an alarm begin with two log-ins at the database
    CELERY_DB_REUSE_MAX=sys.maxsize,
    timezone="UTC",
    enable_utc=True,
    beat_schedule={
        "route alarms that the queue lost": {
            "task": "alarms.tasks.sweep_alarms",
            "schedule": 2.0,
            "options": {"expires": 10},
        },
        "run lanes that the queue lost": {
            "task": "operations.tasks.sweep_lanes",
            "schedule": 2.0,
            "options": {"expires": 10},
        },
        "settle orders in flight": {
            "task": "operations.tasks.sweep_in_flight",
            "schedule": 2.0,
            "options": {"expires": 10},
        },
        "fetch fills that are missing": {
            "task": "operations.tasks.sweep_fills",
            "schedule": 3.0,
            "options": {"expires": 10},
        },
        "finish closing operations": {
            "task": "operations.tasks.sweep_closing",
            "schedule": 5.0,
            "options": {"expires": 10},
        },
        "keep stops and targets in place": {
            "task": "operations.tasks.sweep_protection",
            "schedule": 2.0,
            "options": {"expires": 10},
        },
        "compare books with positions": {
            "task": "operations.tasks.compare_books",
            "schedule": 15.0,
            "options": {"expires": 10},
        },
        "see what keys may do": {
            "task": "operations.tasks.check_keys",
            "schedule": 300.0,
            "options": {"expires": 240},
        },
        "measure the exchange's clock": {
            "task": "exchange.tasks.measure_clocks",
            "schedule": 30.0,
            "options": {"expires": 30},
        },
        "tell people what happened": {
            "task": "pelusa.notifications.tasks.sweep_notifications",
            "schedule": 5.0,
            "options": {"expires": 10},
        },
        "thin old messages": {
            "task": "pelusa.notifications.tasks.thin_messages",
            "schedule": crontab(hour="3", minute="29"),
            "options": {"expires": 3600},
        },
        "take equity points": {
            "task": "exchange.tasks.take_equity_points",
            "schedule": 300.0,
            "options": {"expires": 240},
        },
        "thin equity points": {
            "task": "exchange.tasks.thin_equity_points",
            "schedule": crontab(hour="3", minute="17"),
            "options": {"expires": 3600},
        },
        "refresh instruments": {
            "task": "market.tasks.refresh_instruments",
            "schedule": 3600.0,
            "options": {"expires": 600},
        },
        "follow and repair candles": {
            "task": "market.tasks.sweep_series",
            "schedule": 30.0,
            "options": {"expires": 25},
        },
        "check the audit's chain": {
            "task": "pelusa.tasks.check_audit",
            "schedule": crontab(hour="4", minute="23"),
            "options": {"expires": 3600},
        },
        "show that work comes through the queue": {
            "task": "pelusa.tasks.pulse",
            "schedule": 10.0,
            "options": {"expires": 10},
        },
        "listen for silence": {
            "task": "pelusa.tasks.sweep_silence",
            "schedule": 30.0,
            "options": {"expires": 25},
        },
        "go on with backfills": {
            "task": "market.tasks.sweep_backfills",
            "schedule": 10.0,
            "options": {"expires": 10},
        },
    },
)
app.autodiscover_tasks()
app.autodiscover_tasks(["pelusa.notifications"])


@setup_logging.connect
def keep_our_logging(**kwargs: Any) -> None:
    """Stop Celery from configuring the standard library's logging: Loguru has it already."""


@celeryd_init.connect
@beat_init.connect
def refuse_dangerous_settings(**kwargs: Any) -> None:
    """Refuse to start where the web process would."""
    import django
    from django.core.management.base import SystemCheckError

    django.setup()
    from pelusa.checks import refuse_danger

    try:
        refuse_danger()
    except SystemCheckError as error:
        # Celery logs what else a handler raises, and goes on
        raise SystemExit(str(error)) from None


@worker_ready.connect
def begin_with_what_is_unknown(sender: Any, **kwargs: Any) -> None:
    """Read the lists of instruments once at start, without which no strategy can be made; look at all the rest."""
    sender.app.send_task("exchange.tasks.measure_clocks")
    sender.app.send_task("market.tasks.refresh_instruments")
    sender.app.send_task("operations.tasks.compare_books")
    sender.app.send_task("operations.tasks.check_keys")
    sender.app.send_task("exchange.tasks.take_equity_points")


@worker_ready.connect
def look_after_threads(sender: Any, **kwargs: Any) -> None:
    """Let a worker of threads carry out what it rings for itself while it has hands free, and end when it hangs."""
    if isinstance(sender.pool, Threads):
        open_household(sender.pool.limit)
        Watchdog(sender.pool.limit).watch()


@task_prerun.connect
def look_at_kept_connections(task: Task[Any, Any], **kwargs: Any) -> None:
    """Close connections that broke and have the others prove themselves, as Django does between two requests."""
    if not task.request.is_eager:
        close_old_connections()


@worker_init.connect
def know_whose_heart_it_is(**kwargs: Any) -> None:
    """Name the worker before its children are forked, which note what they do in its name."""
    own_heart("worker")


@worker_ready.connect
def show_that_the_worker_lives(**kwargs: Any) -> None:
    """Beat from a thread that is none of the worker's hands."""
    own_heart("worker").start()


@beat_init.connect
def show_that_beat_lives(**kwargs: Any) -> None:
    """Beat from a thread of its own, and note each ring: a scheduler may live and ring nothing."""
    heart = own_heart("beat")

    def note_ring(**signal: Any) -> None:
        heart.worked_at = timezone.now()

    before_task_publish.connect(note_ring, weak=False)
    heart.start()


@worker_shutting_down.connect
def leave_bells_to_others(**kwargs: Any) -> None:
    """Take no further work on the way out."""
    close_household()
