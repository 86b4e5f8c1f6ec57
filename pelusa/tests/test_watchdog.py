"""R15: a worker that hangs with every thread is ended, so that it can be started again; one that works never is."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis
from django.conf import settings

from pelusa.livesystem import ROOT, wait_until
from pelusa.watchdog import EXIT_STATUS, Watchdog

HANGING_WORKER = """
import threading
from celery import shared_task
from pelusa import celery, watchdog
watchdog.PATIENCE = 3.0
celery.Watchdog.__init__.__kwdefaults__["patience"] = 3.0
@shared_task(name="hang")
def hang(): threading.Event().wait()
@shared_task(name="work")
def work(): threading.Event().wait(0.5)
from celery.__main__ import main
main()
"""


def test_r15_hands_that_are_all_full_and_move_no_more_are_stuck() -> None:
    dog = Watchdog(2, patience=0.05)
    dog.begins()
    time.sleep(0.1)
    assert not dog.is_stuck(), "one hand is free"
    dog.begins()
    assert not dog.is_stuck(), "it has only just begun"
    wait_until(dog.is_stuck)
    dog.finishes()
    assert not dog.is_stuck()


@contextmanager
def worker(queue: str) -> Iterator[subprocess.Popen[bytes]]:
    argv = [sys.executable, "-c", HANGING_WORKER, "-A", "pelusa", "worker", "-P", "threads", "-c", "2"]
    argv += ["-Q", queue, "--without-gossip", "--without-mingle", "-n", f"{queue}@%h"]
    process = subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


@pytest.mark.servers
@pytest.mark.parametrize(("task", "is_ended"), [("hang", True), ("work", False)])
def test_r15_a_worker_that_hangs_ends_itself_and_one_that_works_does_not(task: str, is_ended: bool) -> None:
    from pelusa.celery import app

    queue = f"watched-{os.getpid()}-{task}"
    with worker(queue) as process, app.connection_for_write() as line:
        # Twenty times half a second for both hands: always full, and always moving
        for _ in range(40):
            app.send_task(task, queue=queue, connection=line)
        if is_ended:
            assert process.wait(60) == EXIT_STATUS
        else:
            with redis.Redis.from_url(settings.CELERY_BROKER_URL) as server:
                wait_until(lambda: server.llen(f"pelusa:{queue}") == 0, seconds=60)
            assert process.poll() is None
