"""Receivers for tests of the notifications: real servers on this machine that keep what they are sent."""

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

from pelusa.notifications.models import Channel
from pelusa.tests.planted import planted

Server = TypeVar("Server", bound=socketserver.BaseServer)


class Receiver(ThreadingHTTPServer):
    """An HTTP receiver. `statuses` are answered in turn, then 200; while `hangs` is clear no answer is given."""

    daemon_threads = True
    # Closing must not wait for a request that hangs
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answering)
        self.taken: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.statuses: list[int] = []
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.asked = threading.Event()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    @property
    def titles(self) -> list[str]:
        return [each["title"] for each in self.taken]


class _Answering(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.paths.append(self.path)
        self.server.asked.set()
        self.server.goes_on.wait(60)
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        if status == 200:
            self.server.taken.append(json.loads(body))
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", f"http://{self.server.address}/elsewhere")
        self.end_headers()
        self.wfile.write(
            f'{{"ok": true, "description": "said the service of /{planted("channel token")}", "result": {{}}}}'.encode()
        )

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing: what arrived is asked for."""


class Mailbox(socketserver.ThreadingTCPServer):
    """An SMTP server that takes every mail and keeps it."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Mailing)
        self.mails: list[str] = []
        self.refuses = False

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Mailing(socketserver.StreamRequestHandler):
    server: Mailbox

    def handle(self) -> None:
        self._say("220 a mailbox")
        while line := self.rfile.readline().decode().strip():
            verb = line[:4].upper()
            if verb == "DATA":
                self._take()
            elif verb == "RCPT" and self.server.refuses:
                self._say("550 nobody of that name")
            else:
                self._say("221 bye" if verb == "QUIT" else "250 well")

    def _take(self) -> None:
        self._say("354 go on")
        lines: list[str] = []
        while (line := self.rfile.readline().decode().rstrip("\r\n")) != ".":
            lines.append(line)
        self.server.mails.append("\n".join(lines))
        self._say("250 taken")

    def _say(self, words: str) -> None:
        self.wfile.write(f"{words}\r\n".encode())


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    """Serve from a thread."""
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def make_channel(receiver: Receiver | None = None, **columns: Any) -> Channel:
    """Make a channel that leads to the receiver."""
    url = f"json://{receiver.address}/{planted('channel token')}" if receiver else "json://127.0.0.1:9/"
    return Channel.objects.create(**{"name": "phone", "url": url, "per_minute": 60} | columns)
