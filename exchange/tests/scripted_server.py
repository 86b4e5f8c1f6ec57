"""A real server on the loopback that answers, resets, hangs or lies as a test tells it, and keeps what it received."""

import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Self
from urllib.parse import unquote

HEADERS_END = b"\r\n\r\n"


@dataclass(frozen=True)
class Received:
    """One request as it came over the wire."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def pairs(self) -> list[tuple[str, str]]:
        split = [pair.split("=", 1) for pair in self.query.split("&") if pair]
        return [(name, unquote(value)) for name, value in split]

    @property
    def parameters(self) -> dict[str, str]:
        return dict(self.pairs)

    @property
    def business(self) -> dict[str, str]:
        """Return the parameters without those that every request has."""
        common = {"timestamp", "recvWindow", "signature"}
        return {name: value for name, value in self.pairs if name not in common}


@dataclass(frozen=True)
class Step:
    """What is done about one request: bytes to send, then perhaps an end to the connection."""

    content: bytes = b""
    end: str = ""


def answer(body: Any, status: int = 200, **headers: str) -> Step:
    """Answer with JSON (or bytes as they are) and keep the connection."""
    content = body if isinstance(body, bytes) else json.dumps(body, default=_number).encode()
    lines = [f"HTTP/1.1 {status} Scripted", f"Content-Length: {len(content)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return Step("\r\n".join(lines).encode("latin-1") + HEADERS_END + content)


def _number(value: Decimal) -> str:
    return str(value)


def ok(data: Any) -> Step:
    return answer({"code": 0, "msg": "", "data": data})


def refusal(code: int, words: str = "", status: int = 200) -> Step:
    return answer({"code": code, "msg": words, "data": {}}, status)


RESET = Step(end="reset")
CLOSE = Step(end="close")
SILENCE = Step(end="silence")
HALF_A_BODY = Step(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"code":0,', end="close")
BROKEN_CHUNKS = Step(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"cod\r\nZZ\r\n', end="close")
NO_HTTP = Step(b"SSH-2.0-OpenSSH_9.2\r\n\r\n", end="close")
ENDLESS_HEADERS = Step(b"HTTP/1.1 200 OK\r\n" + b"X-Filler: 1\r\n" * 200 + b"\r\n", end="close")
BROKEN_GZIP = Step(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd")


@dataclass
class ScriptedServer:
    """Serves `script` in order of arrival, then whatever `respond` returns."""

    script: list[Step] = field(default_factory=list)
    respond: Callable[[Received], Step] | None = None
    tls: ssl.SSLContext | None = None
    received: list[Received] = field(default_factory=list)
    connections: int = 0

    def __enter__(self) -> Self:
        self._stopped = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    @property
    def port(self) -> int:
        return self._listener.getsockname()[1]

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def _accept(self) -> None:
        while not self._stopped.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection, self.connections), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        try:
            if self.tls:
                connection = self.tls.wrap_socket(connection, server_side=True)
            while request := _receive(connection, number):
                self.received.append(request)
                if not self._perform(connection, self._next(request)):
                    return
        except OSError:
            pass
        finally:
            connection.close()

    def _next(self, request: Received) -> Step:
        if self.script:
            return self.script.pop(0)
        return self.respond(request) if self.respond else CLOSE

    def _perform(self, connection: socket.socket, step: Step) -> bool:
        """Return whether the connection goes on."""
        if step.content:
            connection.sendall(step.content)
        if step.end == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if step.end == "silence":
            self._stopped.wait(30)
        return not step.end


def _receive(connection: socket.socket, number: int) -> Received | None:
    raw = b""
    while HEADERS_END not in raw:
        chunk = connection.recv(65536)
        if not chunk:
            return None
        raw += chunk
    head, _, body = raw.partition(HEADERS_END)
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    path, _, query = target.partition("?")
    headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        body += connection.recv(65536)
    return Received(method, path, query, headers, body, number)
