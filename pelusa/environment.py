"""Read settings from the environment so that a bad value stops the start with its name."""

import re
import secrets
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured
from environ import Env

LOOPBACK = ("127.0.0.1", "::1", "localhost")
Network = IPv4Network | IPv6Network

SHORTEST_PASSPHRASE = 16

HOST_NAME = re.compile(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?")

MYSQL_OPTIONS = {
    "charset": "utf8mb4",
    # SKIP LOCKED and NOWAIT livelock under MariaDB's own default, repeatable read.
    "isolation_level": "read committed",
    "init_command": "SET sql_mode='STRICT_TRANS_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO'",
    "connect_timeout": 2,
    "read_timeout": 10,
    "write_timeout": 10,
}
# A database that says nothing costs the webhook one ping and one attempt to connect before it can answer 503:
# both together must be shorter than the 3 s after which TradingView gives up and never sends again
WEBHOOK_TIMEOUTS = {"connect_timeout": 1, "read_timeout": 1, "write_timeout": 1}
SQLITE_OPTIONS = {
    "timeout": 30,
    "transaction_mode": "IMMEDIATE",
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;",
}


def one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    """Return `value` in lower case, or stop with the name and the allowed words."""
    if value.strip().lower() not in allowed:
        raise ImproperlyConfigured(f"{name}: must be one of {', '.join(allowed)}, was {value!r}")
    return value.strip().lower()


def whole_number(name: str, value: str, *, least: int, most: int) -> int:
    """Return `value` as an int within bounds, or stop with its name."""
    text = value.strip()
    if not (text.isascii() and text.isdigit()) or not least <= int(text) <= most:
        raise ImproperlyConfigured(f"{name}: must be a whole number from {least} to {most}, was {value!r}")
    return int(text)


def yes_or_no(name: str, value: str) -> bool:
    """Return a boolean, or stop with the name."""
    words = {
        "1": True,
        "true": True,
        "on": True,
        "yes": True,
        "0": False,
        "false": False,
        "off": False,
        "no": False,
        "": False,
    }
    if value.strip().lower() not in words:
        raise ImproperlyConfigured(f"{name}: must be on or off, was {value!r}")
    return words[value.strip().lower()]


def comma_list(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


def host_name(name: str, value: str) -> str:
    """Return a host's name in lower case, or stop with the name: it ends up in lists of what is believed."""
    host = value.strip().lower()
    if len(host) > 253 or not HOST_NAME.fullmatch(host):
        raise ImproperlyConfigured(f"{name}: must be a host's name like pelusa.example.com, was {value!r}")
    return host


def http_url(name: str, value: str) -> str:
    """Return a base address without a last slash, or stop with the name."""
    parts = urlsplit(value.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ImproperlyConfigured(f"{name}: must be an http or https address, was {value!r}")
    return value.strip().rstrip("/")


def exchange_url(name: str, value: str, hosts: tuple[str, ...]) -> str:
    """Return the exchange's address: https at one of `hosts` and nothing beside, or this machine, for tests.

    Whatever else it named would be sent a key and signed orders.
    """
    url = http_url(name, value)
    parts = urlsplit(url)
    is_theirs = url in [f"https://{host}" for host in hosts]
    is_here = parts.hostname in LOOPBACK and parts.username is None and not parts.path
    if not (is_theirs or is_here):
        raise ImproperlyConfigured(f"{name}: must be one of {', '.join(f'https://{host}' for host in hosts)}")
    return url


def passphrase(name: str, value: str) -> str:
    """Return it, empty for none; stop with the name when it is so short that it can be tried out."""
    if 0 < len(value) < SHORTEST_PASSPHRASE:
        raise ImproperlyConfigured(f"{name}: must have {SHORTEST_PASSPHRASE} characters or more")
    return value


def networks(name: str, value: str) -> list[Network]:
    """Return CIDR blocks; host bits that are set are refused, they hide a typing error."""
    try:
        return [ip_network(part) for part in comma_list(value)]
    except ValueError as error:
        raise ImproperlyConfigured(f"{name}: must be addresses or CIDR blocks: {error}") from None


def kept_secret(path: Path, make: Callable[[], str]) -> str:
    """Return the secret kept in `path`, made once and readable by its owner only."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        draft.touch(mode=0o600)
        draft.write_text(make() + "\n")
        _publish(draft, path)
    return path.read_text().strip()


def _publish(draft: Path, path: Path) -> None:
    # A hard link fails when another process was first: all of them then read the one that won.
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def database(name: str, url: str, *, test_dir: Path, sends_files: bool = False) -> dict[str, Any]:
    """Return Django's settings for `sqlite:///path` or `mysql://user:password@host:port/schema`.

    Where candles are stored (`sends_files`) the driver may hand files to the server, if the server allows it too.
    """
    scheme = url.partition("://")[0]
    if scheme not in ("sqlite", "mysql"):
        raise ImproperlyConfigured(f"{name}: must be sqlite:///path or mysql://user:password@host/schema")
    try:
        parsed = Env.db_url_config(url)
    except ValueError:
        raise ImproperlyConfigured(f"{name}: the port must be a number from 1 to 65535") from None
    if not parsed["NAME"]:
        raise ImproperlyConfigured(f"{name}: names no database")
    return _sqlite(parsed, test_dir) if scheme == "sqlite" else _mysql(parsed, sends_files)


def _sqlite(parsed: dict[str, Any], test_dir: Path) -> dict[str, Any]:
    path = Path(parsed["NAME"])
    path.parent.mkdir(parents=True, exist_ok=True)
    test_dir.mkdir(parents=True, exist_ok=True)
    return {
        **parsed,
        "OPTIONS": SQLITE_OPTIONS,
        "CONN_MAX_AGE": None,
        # A file, since the threads and processes of one test share it.
        "TEST": {"NAME": str(test_dir / f"test_{path.name}")},
    }


def _mysql(parsed: dict[str, Any], sends_files: bool) -> dict[str, Any]:
    return {
        **parsed,
        "OPTIONS": MYSQL_OPTIONS | ({"local_infile": True} if sends_files else {}),
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
        "TEST": {"CHARSET": "utf8mb4"},
    }
