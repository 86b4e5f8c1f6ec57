"""A MariaDB (or MySQL) and a Redis of our own, in scratch folders on free ports: made to be killed."""

import getpass
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import MySQLdb
import redis

from pelusa.livesystem import free_port, wait_until


class OwnServer:
    """A server process that can be killed with SIGKILL and started again on the same data and port."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def argv(self) -> list[str]:
        raise NotImplementedError

    def answers(self) -> bool:
        raise NotImplementedError

    def start(self) -> None:
        with (self.home / f"{type(self).__name__}.log").open("ab") as log:
            self.process = subprocess.Popen(self.argv(), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait_until(self.answers, seconds=60, what=f"for {type(self).__name__}")

    def kill(self) -> None:
        """End it at once, by its process id."""
        if self.process:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def restart(self, *, down: float = 0.0) -> None:
        """Kill it, leave it down for `down` seconds, start it on the same data."""
        self.kill()
        time.sleep(down)
        self.start()


class OwnMariaDB(OwnServer):
    """The three databases; every commit is on disk before it is acknowledged."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.data = home / "mysql"
        self.url = f"mysql://root@127.0.0.1:{self.port}"

    def install(self) -> None:
        """Make an empty data folder."""
        self.data.mkdir()
        argv = ["mariadb-install-db", "--no-defaults", f"--datadir={self.data}", *self._user()]
        done = subprocess.run([*argv, "--auth-root-authentication-method=normal"], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"no data folder could be made:\n{done.stdout}\n{done.stderr}")

    def argv(self) -> list[str]:
        path = shutil.which("mariadbd") or "/usr/sbin/mariadbd"
        return [
            path,
            "--no-defaults",
            f"--datadir={self.data}",
            f"--socket={self.home / 'm.sock'}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            "--skip-log-bin",
            "--innodb-flush-log-at-trx-commit=1",
            "--innodb-buffer-pool-size=256M",
            *self._user(),
        ]

    def _user(self) -> list[str]:
        return ["--user=root"] if getpass.getuser() == "root" else []

    def answers(self) -> bool:
        try:
            MySQLdb.connect(host="127.0.0.1", port=self.port, user="root", connect_timeout=2).close()
        except MySQLdb.OperationalError:
            return False
        return True


Database = TypeVar("Database", bound=OwnMariaDB)


class OwnRedis(OwnServer):
    """The broker, without a disk: what it held is gone when it dies."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def argv(self) -> list[str]:
        path = shutil.which("redis-server") or "/usr/bin/redis-server"
        return [path, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.home)]

    def answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, socket_timeout=1) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def empty(self) -> None:
        """Throw away everything that is queued."""
        with redis.Redis.from_url(self.url, socket_timeout=2) as client:
            client.flushall()


@contextmanager
def own_servers(mysql: Database, broker: OwnRedis) -> Iterator[tuple[Database, OwnRedis]]:
    """Run both for the length of the block, the database on an empty data folder."""
    mysql.install()
    try:
        mysql.start()
        broker.start()
        yield mysql, broker
    finally:
        mysql.kill()
        broker.kill()


def scratch_folder() -> Path:
    """Return an empty folder with a path short enough for a Unix socket."""
    path = Path("/tmp") / f"pelusa-{os.getpid()}-{time.time_ns() % 10**6}"
    path.mkdir(mode=0o755)
    return path
