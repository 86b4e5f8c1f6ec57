"""Clients in one thread: each keeps its connection, sends, waits for the whole answer, sends again.

A hand-made HTTP client, since anything more costs as much as the server that it is to measure on the same two cores.
"""

import selectors
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

END_OF_HEAD = b"\r\n\r\n"
LAST_CHUNK = b"\r\n0\r\n\r\n"
A_PIECE = 262_144


@dataclass
class Result:
    """Milliseconds of each answer, the seconds of the whole, and how many were no success."""

    milliseconds: list[float] = field(default_factory=list)
    seconds: float = 0.0
    failed: int = 0

    @property
    def rate(self) -> float:
        return len(self.milliseconds) / self.seconds


class _Client:
    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.answer, self.whole = bytearray(), 0
        self.sent_at = 0.0

    def send(self, request: bytes) -> None:
        self.answer, self.whole, self.sent_at = bytearray(), 0, time.perf_counter()
        self.socket.sendall(request)

    def read(self) -> bool:
        """Read what is there; return whether the answer is whole."""
        piece = self.socket.recv(A_PIECE)
        if not piece:
            raise ConnectionError("the server closed a connection in the midst of an answer")
        self.answer += piece
        self.whole = self.whole or _length(self.answer)
        return len(self.answer) >= self.whole if self.whole > 0 else self.answer.endswith(LAST_CHUNK)

    @property
    def is_success(self) -> bool:
        return self.answer[9:12] == b"200"


def _length(answer: bytearray) -> int:
    """Return how long the whole answer is, head and body; 0 while that is unknown, -1 when it comes in chunks."""
    head, found, _ = bytes(answer).partition(END_OF_HEAD)
    if not found:
        return 0
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return len(head) + len(END_OF_HEAD) + int(value)
    return -1


def post(path: str, body: bytes) -> bytes:
    """Return a whole POST request."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + END_OF_HEAD + body


def get(path: str, token: str) -> bytes:
    """Return a whole GET request of a user."""
    head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\nAuthorization: Token {token}"
    return head.encode() + END_OF_HEAD


def drive(port: int, requests: Iterator[bytes], *, clients: int, seconds: float) -> Result:
    """Send requests over `clients` connections for `seconds`, each as soon as its last answer came."""
    result, selector = Result(), selectors.DefaultSelector()
    began = time.perf_counter()
    for client in [_Client(port) for _ in range(clients)]:
        selector.register(client.socket, selectors.EVENT_READ, client)
        client.send(next(requests))
    while selector.get_map():
        for key, _ in selector.select(timeout=30):
            _take(key.data, result, selector, requests, time.perf_counter() - began < seconds)
    result.seconds = time.perf_counter() - began
    return result


def _take(
    client: _Client, result: Result, selector: selectors.BaseSelector, requests: Iterator[bytes], is_on: bool
) -> None:
    if not client.read():
        return
    result.milliseconds.append((time.perf_counter() - client.sent_at) * 1000)
    result.failed += not client.is_success
    if is_on:
        client.send(next(requests))
    else:
        selector.unregister(client.socket)
        client.socket.close()


def paced(port: int, requests: Iterator[bytes], *, rate: float, seconds: float, sent: Callable[[float], None]) -> int:
    """Send `rate` requests a second over one connection for `seconds`; tell `sent` when each was written.

    Return how many were no success. A late answer delays the next request, never the clock: lost time is made up.
    """
    client, failed, began = _Client(port), 0, time.perf_counter()
    for number in range(round(rate * seconds)):
        time.sleep(max(0.0, began + number / rate - time.perf_counter()))
        client.send(next(requests))
        sent(time.time())
        while not client.read():
            continue
        failed += not client.is_success
    client.socket.close()
    return failed
