"""HTTP/1.1 with keep-alive on one event loop: small enough to answer an order in less than a millisecond.

A request is drawn its fate (see `faults`), checked, executed, stored and only then answered.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections import deque
from collections.abc import Callable
from functools import partial
from http import HTTPStatus

from exchange.paper import refusals, routes
from exchange.paper.books import Account
from exchange.paper.calls import Body, Call, Endpoint
from exchange.paper.control import control
from exchange.paper.faults import NO_FATE, Fate
from exchange.paper.refusals import Refusal
from exchange.paper.signatures import check_signature, check_window
from exchange.paper.venue import Venue
from exchange.paper.wire import Request, dumps

# Ids of a key's permissions, as apiPermissions lists them.
SPOT_TRADE, READ, PERPETUAL_TRADE = 1, 2, 3
MAX_BODY = 1_000_000
MAX_HEAD = 64_000
SWEEP_SECONDS = 0.1
ERROR_PAGE = "<html><head><title>{status}</title></head></html>"
REASONS = {status.value: status.phrase for status in HTTPStatus}


class Desk:
    """Takes requests, decides what happens to them, and answers through the connection they came by."""

    def __init__(self, venue: Venue, latency_ms: int = 0) -> None:
        self.venue = venue
        self.latency_ms = latency_ms
        self._pages: deque[tuple[Request, Endpoint, Fate, Connection]] = deque()

    def take(self, request: Request, line: Connection) -> None:
        if request.path.startswith("/paper/"):
            status, value = control(self.venue, request)
            self.venue.ledger.commit()
            line.answer(status, dumps(value))
            return
        endpoint = routes.ENDPOINTS.get((request.method, request.path))
        fate = self.venue.faults.draw(endpoint.group) if endpoint else NO_FATE
        if fate.before:
            self._fail_before(fate.before, request, line)
        elif fate.delay_ms:
            self._take_late(request, endpoint, fate, line)
        elif endpoint and request.path.lower().endswith(("kline", "klines")):
            self._queue_page(request, endpoint, fate, line)
        else:
            self._serve(request, endpoint, fate, line)

    def _queue_page(self, request: Request, endpoint: Endpoint, fate: Fate, line: Connection) -> None:
        """Candles take milliseconds: one page a turn of the loop, so that orders wait for one at most."""
        self._pages.append((request, endpoint, fate, line))
        if len(self._pages) == 1:
            line.loop.call_soon(self._serve_page)

    def _serve_page(self) -> None:
        request, endpoint, fate, line = self._pages.popleft()
        if self._pages:
            line.loop.call_soon(self._serve_page)
        self._serve(request, endpoint, fate, line)

    def _take_late(self, request: Request, endpoint: Endpoint | None, fate: Fate, line: Connection) -> None:
        """Receive now, execute later: the time stamp is checked at both moments, as a slow exchange would."""
        try:
            self._authorise(request, endpoint)
        except Refusal:
            self._serve(request, endpoint, NO_FATE, line)
            return
        line.loop.call_later(fate.delay_ms / 1000, self._serve, request, endpoint, fate, line)

    def _fail_before(self, fault: str, request: Request, line: Connection) -> None:
        if fault == "lost_before":
            line.hold(self.venue.faults.hold_ms)
        elif fault == "reset_before":
            line.reset()
        elif fault == "busy_before":
            line.answer(200, _refused(Refusal(100500, "The current system is busy, please try again later")))
        elif fault == "error_before":
            line.answer(503, ERROR_PAGE.format(status="503 Service Unavailable"), "text/html")
        else:
            unblocked = self.venue.clock_ms() + self.venue.faults.rate_limit_ms
            refusal = self.venue.rates.shut(_caller(request), _name_of(request), unblocked)
            line.answer(self._status_of(refusal), _refused(refusal))

    def _status_of(self, refusal: Refusal) -> int:
        is_rate_limit = refusal.code == refusals.RATE_LIMITED
        return self.venue.faults.rate_limit_status if is_rate_limit else refusal.http_status

    def _serve(self, request: Request, endpoint: Endpoint | None, fate: Fate, line: Connection) -> None:
        try:
            status, text = 200, dumps(self._execute(request, endpoint))
        except Refusal as refusal:
            status, text = self._status_of(refusal), _refused(refusal)
            if self.venue.faults.error_limits:
                self._count_error(request, refusal)
        finally:
            self.venue.ledger.commit()
        if fate.after:
            self._fail_after(fate.after, line)
        elif self.latency_ms:
            line.loop.call_later(self.latency_ms / 1000, line.answer, status, text)
        else:
            line.answer(status, text)

    def _execute(self, request: Request, endpoint: Endpoint | None) -> Body:
        if endpoint is None:
            raise refusals.unknown_route()
        account = self._authorise(request, endpoint)
        self._check_rate(request, endpoint)
        return endpoint.handler(Call(self.venue, request.params, self.venue.clock_ms(), account))

    def _authorise(self, request: Request, endpoint: Endpoint | None) -> Account | None:
        """Return who signed this call, nobody on public ones.

        Raises Refusal when key, address, signature, time stamp or permission are wrong.
        """
        if endpoint is None or not endpoint.is_signed:
            return None
        account = self.venue.ledger.accounts.get(request.headers.get("x-bx-apikey", ""))
        if account is None:
            raise refusals.unknown_key()
        if account.ip_addresses and request.peer not in account.ip_addresses:
            raise refusals.foreign_address(request.peer)
        check_signature(request, account.secret)
        check_window(request, self.venue.clock_ms())
        if not {READ, *_needed(request)} <= set(account.permissions):
            raise refusals.no_permission()
        return account

    def _check_rate(self, request: Request, endpoint: Endpoint) -> None:
        """A rate-limited endpoint stays shut until the time that it named."""
        venue, what, now = self.venue, _name_of(request), self.venue.clock_ms()
        venue.rates.check_open(_caller(request), what, now)
        if venue.faults.rate_limits:
            key, penalty = request.headers.get("x-bx-apikey", ""), venue.faults.rate_limit_ms
            venue.rates.count(key, request.peer, what, now, penalty, is_signed=endpoint.is_signed)

    def _count_error(self, request: Request, refusal: Refusal) -> None:
        venue, who = self.venue, _caller(request)
        venue.rates.count_error(who, _name_of(request), refusal.code, venue.clock_ms(), venue.faults.rate_limit_ms)

    def _fail_after(self, fault: str, line: Connection) -> None:
        """The exchange has done it, and the caller is not told."""
        if fault == "timeout_after":
            line.hold(self.venue.faults.hold_ms)
        elif fault == "reset_after":
            line.reset()
        elif fault == "gateway_after":
            line.answer(504, ERROR_PAGE.format(status="504 Gateway Time-out"), "text/html")
        elif fault == "error_after":
            line.answer(500, ERROR_PAGE.format(status="500 Internal Server Error"), "text/html")
        elif fault == "garbage_after":
            line.answer(200, '{"code":0,"msg":"","data":{"order":{"orderId":17', "application/json")
        elif fault == "codeless_after":
            line.answer(200, '{"message":"upstream request timeout"}')
        else:
            line.answer(200, _refused(Refusal(109500, "The current system is busy, please try again later")))


def _needed(request: Request) -> tuple[int, ...]:
    """Return what a call that changes something asks of a key, beside reading.

    The pages label some reads of orders with trading too; whether BingX enforces that is not known, so it is not done.
    Paper money may be moved between one's own wallets by every key.
    """
    if request.method == "GET":
        return ()
    if request.path.startswith("/openApi/api/asset/"):
        return ()
    return (SPOT_TRADE,) if request.path.startswith("/openApi/spot/") else (PERPETUAL_TRADE,)


def _name_of(request: Request) -> str:
    return f"{request.method} {request.path}"


def _caller(request: Request) -> str:
    """Return whom limits count: the key of signed calls, else the address."""
    return request.headers.get("x-bx-apikey") or request.peer


def _refused(refusal: Refusal) -> str:
    return dumps({"code": refusal.code, "msg": refusal.message, "data": {}})


class Connection(asyncio.Protocol):
    """One client: requests one after the other, an answer for each before the next is read."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.loop = asyncio.get_running_loop()
        self._buffer = b""
        self._is_busy = False
        self._is_last = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self.peer = peer[0] if peer else ""
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._is_busy:
            self._next()

    def _next(self) -> None:
        head, mark, rest = self._buffer.partition(b"\r\n\r\n")
        if not mark:
            if len(head) > MAX_HEAD:
                self._refuse(431)
            return
        lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        parts = lines[0].split(" ")
        length = headers.get("content-length", "0")
        if len(parts) != 3 or not length.isdigit() or "transfer-encoding" in headers:
            self._refuse(400)
        elif int(length) > MAX_BODY:
            self._refuse(413)
        elif len(rest) >= int(length):
            self._buffer = rest[int(length) :]
            self._handle(parts, headers, rest[: int(length)])

    def _handle(self, parts: list[str], headers: dict[str, str], body: bytes) -> None:
        method, target, version = parts
        path, _, query = target.partition("?")
        connection = headers.get("connection", "").lower()
        self._is_last = connection == "close" or (version == "HTTP/1.0" and connection != "keep-alive")
        self._is_busy = True
        self.desk.take(Request(method, path, query, headers, body, self.peer), self)

    def _refuse(self, status: int) -> None:
        self._is_last = True
        self.answer(status, "{}")

    def answer(self, status: int, text: str, content_type: str = "application/json; charset=utf-8") -> None:
        if self._transport.is_closing():
            return
        body = text.encode()
        connection = "close" if self._is_last else "keep-alive"
        head = (
            f"HTTP/1.1 {status} {REASONS.get(status, '')}\r\nContent-Type: {content_type}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: {connection}\r\n\r\n"
        )
        self._transport.write(head.encode("latin-1") + body)
        self._is_busy = False
        if self._is_last:
            self._transport.close()
        elif self._buffer:
            self.loop.call_soon(self._next)

    def hold(self, milliseconds: int) -> None:
        """Say nothing for a while, then close without an answer."""
        self.loop.call_later(milliseconds / 1000, self._transport.abort)

    def reset(self) -> None:
        """Close with a TCP reset."""
        if self._transport.is_closing():
            return
        line = self._transport.get_extra_info("socket")
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self._transport.abort()


async def serve(
    venue: Venue, host: str, port: int, *, latency_ms: int = 0, on_ready: Callable[[int], None], stop: asyncio.Event
) -> None:
    """Listen until `stop` is set; `on_ready` is told the port."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        partial(Connection, Desk(venue, latency_ms)), host, port, backlog=512, reuse_address=True
    )
    sweeper = asyncio.create_task(_sweep(venue))
    on_ready(server.sockets[0].getsockname()[1])
    await stop.wait()
    sweeper.cancel()
    server.close()
    venue.ledger.commit()
    venue.ledger.close()


async def _sweep(venue: Venue) -> None:
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        venue.sweep()


async def serve_until_signal(
    venue: Venue, host: str, port: int, *, latency_ms: int, on_ready: Callable[[int], None]
) -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(venue, host, port, latency_ms=latency_ms, on_ready=on_ready, stop=stop)
