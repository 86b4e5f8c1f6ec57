"""A gunicorn worker whose threads wait for nobody: a client that dawdles, says nothing or never hangs up holds none.

gunicorn's own gives a thread to every connection for five seconds before a byte has come, reads for as long as the
client cares to dawdle, and waits two seconds for it to hang up, in the loop that accepts everybody else. A few such
clients would keep TradingView out. Here the loop collects a request as it trickles in, and a thread gets it whole.

A thread that has answered listens for a moment whether the same client goes on, as one behind Caddy does: the way
through the loop and back to a thread costs a sixth of the answers that a process can give (docs/performance.md).
"""

import errno
import re
import selectors
import socket
import time
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any

from gunicorn.http.errors import InvalidHeader, UnsupportedTransferCoding
from gunicorn.http.parser import RequestParser
from gunicorn.workers.gthread import TConn, ThreadWorker

# For a request to come whole, and again for what of it a thread must wait for; TradingView itself gives up after three
REQUEST_SECONDS = 8.0
# For a client to hang up once it has its answer, and to take one piece of that
PARTING_SECONDS = 1.0
ANSWER_SECONDS = 30.0
# For a client to go on, while nobody else waits for the thread
LINGERING_SECONDS = 0.005
# What is collected without a thread: more than any alarm with its headers
AHEAD = 32_768
# A hint of when the request is whole; what it really says is gunicorn's parser to judge
_LENGTH = re.compile(rb"(?i)\r\ncontent-length:[ \t]*+([0-9]{1,9})[ \t]*+\r\n")


class TimedSocket(socket.socket):
    """A socket that reads ahead, and gives up when its time is over, however often a byte came in between."""

    _ends_at = 0.0
    _is_over = _has_ended = False
    ahead = b""

    @classmethod
    def taking(cls, theirs: socket.socket) -> "TimedSocket":
        """Return a socket in the place of `theirs`."""
        return cls(theirs.family, theirs.type, theirs.proto, fileno=theirs.detach())

    def setblocking(self, flag: bool) -> None:
        """Wait for nobody for ever: gunicorn means it so before it answers."""
        self.settimeout(ANSWER_SECONDS if flag else 0.0)

    def is_whole(self) -> bool:
        """Read what has come, without waiting; tell whether a thread need not wait for the rest, or must say so."""
        self.setblocking(False)
        try:
            while not self._has_ended and len(self.ahead) < AHEAD:
                came = super().recv(AHEAD - len(self.ahead))
                self.ahead += came
                self._has_ended = not came
        except BlockingIOError:
            return self._ends_here()
        except OSError:
            self._has_ended = True
        return True

    def goes_on(self) -> bool:
        """Tell whether the next request is here whole, or comes so at once."""
        if not self.ahead:
            self.settimeout(LINGERING_SECONDS)
            try:
                self.ahead = super().recv(AHEAD)
            except OSError:
                return False
            self._has_ended = not self.ahead
        return self.is_whole()

    def _ends_here(self) -> bool:
        head, end, body = self.ahead.partition(b"\r\n\r\n")
        if not end or b"\r\nexpect:" in head.lower():
            return bool(end)
        length = _LENGTH.search(head + b"\r\n")
        return length is None or len(body) >= int(length[1])

    def allow(self, seconds: float) -> None:
        """Begin the time of one request."""
        self._ends_at = time.monotonic() + seconds

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Return what came, or fail as if the client had hung up: gunicorn and Django know what to do then."""
        if self.ahead or self._has_ended:
            came, self.ahead = self.ahead[:size], self.ahead[size:]
            return came
        remaining = self._ends_at - time.monotonic()
        self._is_over = self._is_over or remaining <= 0
        if not self._is_over:
            self.settimeout(remaining)
            try:
                return super().recv(size, flags)
            except TimeoutError:
                # For good: where the next request would begin is unknown
                self._is_over = True
            finally:
                self.settimeout(ANSWER_SECONDS)
        raise ConnectionResetError(errno.ECONNRESET, "the client was too slow")

    def part(self) -> None:
        """Say goodbye and throw away what still comes, so that the answer is not lost to a reset."""
        self._ends_at = min(self._ends_at, time.monotonic() + PARTING_SECONDS)
        with suppress(OSError):
            self.shutdown(socket.SHUT_WR)
            while self.recv(AHEAD):
                pass
        self._is_over = True


class Impatient(ThreadWorker):
    """gunicorn's threaded worker, with these bounds."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Connections whose request is whole, until a thread takes them
        self._unheard: deque[TConn] = deque()

    def enqueue_req(self, conn: TConn) -> None:
        """Give a thread to a connection whose request is whole; let another wait in the loop, for so long."""
        if _timed(conn).is_whole():
            conn.data_ready = True
            self._unheard.append(conn)
            super().enqueue_req(conn)
            return
        conn.timeout = time.monotonic() + REQUEST_SECONDS
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def on_pending_socket_readable(self, conn: TConn, client: Any) -> None:
        if _timed(conn).is_whole():
            super().on_pending_socket_readable(conn, client)

    def handle(self, conn: TConn) -> Any:
        """Answer the request, and those that follow it at once; part here and not in the loop."""
        self._unheard.popleft()
        while is_kept := self._answer(conn):
            _give_back(conn)
            if self._unheard or not _timed(conn).goes_on():
                return is_kept
        _timed(conn).part()
        return is_kept

    def _answer(self, conn: TConn) -> Any:
        """Answer one request within its time."""
        _timed(conn).allow(REQUEST_SECONDS)
        return super().handle(conn)

    def finish_request(self, conn: TConn, fs: "Future[Any]") -> None:
        _give_back(conn)
        super().finish_request(conn, fs)
        # The next request came with this one: nothing more will make the connection readable
        if _timed(conn).ahead and conn in self.keepalived_conns:
            self.on_client_socket_readable(conn, conn.sock)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answer 400 to a transfer coding that nobody knows; 501 would have TradingView send it again."""
        if isinstance(exc, UnsupportedTransferCoding):
            exc = InvalidHeader("TRANSFER-ENCODING")
        super().handle_error(req, client, addr, exc)


def _timed(conn: TConn) -> TimedSocket:
    """Return the connection's socket, which becomes one of ours when it is new."""
    if not isinstance(conn.sock, TimedSocket):
        conn.sock = TimedSocket.taking(conn.sock)
    return conn.sock


def _give_back(conn: TConn) -> None:
    """Take from the parser what it read of the next request, which a thread would wait for the rest of."""
    if isinstance(conn.parser, RequestParser):
        sock = _timed(conn)
        sock.ahead = conn.parser.unreader.take_buffered() + sock.ahead
