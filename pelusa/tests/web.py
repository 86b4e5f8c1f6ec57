"""A web process as it really runs, gunicorn with our configuration, and raw sockets to it."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from pelusa.livesystem import free_port, wait_until
from pelusa.processes import web_is_live
from pelusa.tests.searching import SEARCH


@dataclass
class Web:
    """A running web process and what it writes."""

    port: int
    pid: int
    output: Path

    def send(self, raw: bytes, *, ending: bool = True, peer: str = "127.0.0.1") -> str:
        """Send bytes as they are from an address and return the answer; `ending` closes our half behind them."""
        address = ("127.0.0.1", self.port)
        with socket.create_connection(address, timeout=10, source_address=(peer, 0)) as connection:
            # Refused before it was read to its end
            with suppress(ConnectionError):
                connection.sendall(raw)
                if ending:
                    connection.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: connection.recv(65_536), b"")).decode("latin-1")
        status = answer.partition("\r")[0]
        SEARCH.look(answer, f"answer over a socket: {status}")
        return answer

    def ask(self, method: str, path: str, *headers: str, body: str = "") -> str:
        head = [f"{method} {path} HTTP/1.1", f"Host: localhost:{self.port}", f"Content-Length: {len(body)}", *headers]
        return self.send("\r\n".join([*head, "Connection: close", "", body]).encode())

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.output.read_text().splitlines()]

    def workers(self) -> list[int]:
        """Return the processes that answer."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(pid) for pid in children.split()]


@dataclass
class OwnWeb(Web):
    """One that a test may stop."""

    process: subprocess.Popen[bytes]


@contextmanager
def running_web(
    home: Path, changed: Mapping[str, str], *, threads: int = 2, port: int | None = None
) -> Iterator[OwnWeb]:
    """Run one process with so many threads for the length of the block, on settings that differ in `changed`."""
    port = port or free_port()
    argv = ["-m", "gunicorn", "pelusa.wsgi", "-w", "1", "--threads", str(threads), "-b", f"127.0.0.1:{port}"]
    output = home / "output"
    ours = {"VAR_DIR": str(home), "PORT": str(port), "LOG_JSON": "on", "DJANGO_SETTINGS_MODULE": "pelusa.settings"}
    with output.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, *argv, "-c", "pelusa/gunicorn.py"],
            cwd=settings.BASE_DIR,
            env=os.environ | ours | dict(changed),
            stdout=sink,
            stderr=sink,
        )
    try:
        wait_until(lambda: web_is_live(port), seconds=60, what="for the web process")
        yield OwnWeb(port, process.pid, output, process)
    finally:
        process.kill()
        process.wait()
        SEARCH.folder(home)
