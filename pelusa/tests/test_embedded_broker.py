"""The embedded broker as its own process, under the transport settings that the project runs with."""

import io
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import redis
from celery import Celery
from celery.contrib.testing.worker import start_worker

from pelusa.celery import app as project_app
from pelusa.embedded import (
    SOCKET_PATH_LIMIT,
    broker_answers,
    broker_spec,
    broker_url,
    client_url,
    make_private,
    redis_url,
    socket_path,
)
from pelusa.supervisor import Supervisor


@pytest.fixture
def var_dir() -> Iterator[Path]:
    """A folder with a short name: pytest's own can be too long for a socket in it."""
    with TemporaryDirectory(dir="/tmp", prefix="pelusa-") as folder:
        yield Path(folder).resolve()


@pytest.fixture
def broker(var_dir: Path) -> Iterator[Supervisor]:
    with Supervisor([broker_spec(var_dir)], output=io.StringIO()) as supervisor:
        supervisor.wait_ready(timeout=10)
        yield supervisor


def client(var_dir: Path) -> redis.Redis:
    return redis.Redis.from_url(client_url(broker_url(var_dir)), decode_responses=True)


@pytest.fixture
def celery_app(var_dir: Path) -> Iterator[Celery]:
    """An application with the project's transport options and one task, apart from the project's own."""
    app = Celery("embedded-broker-test", broker=broker_url(var_dir), fixups=[])
    app.conf.broker_transport_options = dict(project_app.conf.broker_transport_options)
    yield app
    app.close()
    # A test worker makes its application the current one of the whole process.
    project_app.set_current()
    project_app.set_default()


def test_the_address_is_known_without_starting_anything(var_dir: Path) -> None:
    assert broker_url(var_dir) == f"redis+socket://{var_dir}/broker/broker.sock"
    assert not list(var_dir.iterdir())
    assert not broker_answers(broker_url(var_dir))


@pytest.mark.usefixtures("broker")
def test_a_task_goes_through_it_to_a_worker_of_threads(celery_app: Celery) -> None:
    done = []

    @celery_app.task(name="note", ignore_result=True)
    def note(row_id: int) -> None:
        done.append(row_id)

    with start_worker(celery_app, pool="threads", concurrency=2, perform_ping_check=False, shutdown_timeout=20):
        for row_id in range(20):
            note.delay(row_id)
        deadline = time.monotonic() + 10
        while len(done) < 20 and time.monotonic() < deadline:
            time.sleep(0.02)
    assert sorted(done) == list(range(20))


def test_what_was_queued_survives_a_kill(var_dir: Path, broker: Supervisor) -> None:
    with client(var_dir) as before:
        before.rpush("queue", "1", "2")
        # Synced every second; waitaof returns when the file has it.
        before.execute_command("WAITAOF", 1, 0, 5000)
    killed = broker.pids()["broker"]
    os.kill(killed, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while broker.pids().get("broker") in (None, killed) and time.monotonic() < deadline:
        time.sleep(0.02)
    broker.wait_ready(timeout=10)
    with client(var_dir) as after:
        assert after.lrange("queue", 0, -1) == ["1", "2"]


@pytest.mark.usefixtures("broker")
def test_only_this_user_can_open_it_and_no_port_is_open(var_dir: Path) -> None:
    assert socket_path(var_dir).stat().st_mode & 0o777 == 0o700
    with client(var_dir) as connection:
        assert connection.config_get("port") == {"port": "0"}
        assert connection.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_a_path_too_long_for_a_socket_gets_a_short_one(var_dir: Path) -> None:
    deep = var_dir / ("d" * 80) / ("e" * 80)
    assert len(str(socket_path(deep))) <= SOCKET_PATH_LIMIT
    assert socket_path(deep) == socket_path(deep) != socket_path(var_dir / ("d" * 81) / ("e" * 80))
    with Supervisor([broker_spec(deep)], output=io.StringIO()) as supervisor:
        supervisor.wait_ready(timeout=10)
        assert broker_answers(broker_url(deep))
    socket_path(deep).parent.rmdir()


def test_a_path_with_spaces_and_accents_works(var_dir: Path) -> None:
    odd = var_dir / "mañana es otro día"
    with Supervisor([broker_spec(odd)], output=io.StringIO()) as supervisor:
        supervisor.wait_ready(timeout=10)
        assert broker_answers(broker_url(odd))
        assert Celery(broker=broker_url(odd), fixups=[]).connection().ensure_connection(max_retries=1)


def test_a_folder_of_somebody_else_is_refused(var_dir: Path) -> None:
    (var_dir / "real").mkdir()
    (var_dir / "link").symlink_to(var_dir / "real")
    with pytest.raises(PermissionError):
        make_private(var_dir / "link")


def test_the_address_of_a_real_server_is_left_alone() -> None:
    assert client_url("redis://:secret@db:6379/0") == "redis://:secret@db:6379/0"


@pytest.mark.parametrize(
    ("broker", "expected"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("rediss://queue.example.com:6380/1", "rediss://queue.example.com:6380/1"),
        ("redis+socket:///run/broker.sock", "unix:///run/broker.sock"),
        ("redis+socket:///run/broker.sock?virtual_host=2", "unix:///run/broker.sock?db=2"),
        ("amqp://guest@127.0.0.1//", ""),
        ("filesystem://", ""),
    ],
)
def test_the_rate_limits_are_shared_through_a_broker_that_is_a_redis(broker: str, expected: str) -> None:
    assert redis_url(broker) == expected
