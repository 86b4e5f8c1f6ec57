"""A TCP line that fails on demand, between a process of ours and the server it believes to be talking to.

One line has one server behind it. It runs on a thread of its own and is switched from any other.
"""

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine
from contextlib import suppress
from enum import StrEnum
from typing import Any, Self

CHUNK = 65_536
AT_ONCE = struct.pack("ii", 1, 0)


class Line(StrEnum):
    """What the line does to those who use it."""

    OPEN = "open"
    CLOSED = "closed"  # nobody listens; those connected are reset
    RESET = "reset"  # taken and reset at once; those connected too
    FROZEN = "frozen"  # connections are taken, not one byte passes until it opens again
    SLOW = "slow"  # each piece comes `delay` seconds late
    DRIP = "drip"  # answers come one byte every `delay` seconds
    DEAF = "deaf"  # those connected now are never heard again and never told; new ones pass


class _Call:
    """One connection with both of its ends."""

    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self.near, self.far = near, far
        self.is_deaf = False
        self.is_cut_at_answer = False

    def end(self) -> None:
        for writer in (self.near, self.far):
            _reset(writer)


class FaultProxy:
    """The line to 127.0.0.1:`target`, listening on a port of its own for the length of the block."""

    def __init__(self, target: int) -> None:
        self.target, self.port = target, _free_port()
        self.state, self.delay = Line.OPEN, 0.0
        self.passed = 0
        self._cut: tuple[bytes, bool] | None = None
        self._cuts_left = self.cuts = 0
        self._calls: set[_Call] = set()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"line to {target}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._finish())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def turn(self, state: Line, *, delay: float = 0.0) -> None:
        """Change what the line does, for those connected too."""
        self._do(self._turn(state, delay))

    def cut_at(self, words: bytes, *, before: bool, times: int) -> None:
        """Cut the next `times` connections that say `words`: before the server hears it, or when it has answered."""
        self._cut, self._cuts_left, self.cuts = (words, before), times, 0

    def _do(self, deed: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(deed, self._loop).result(10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _turn(self, state: Line, delay: float) -> None:
        self.state, self.delay = state, delay
        if state in (Line.CLOSED, Line.RESET):
            for call in list(self._calls):
                call.end()
        if state == Line.DEAF:
            for call in self._calls:
                call.is_deaf = True
        if state == Line.CLOSED and self._server:
            self._server.close()
            self._server = None
        elif state != Line.CLOSED and self._server is None:
            await self._listen()

    async def _finish(self) -> None:
        await self._turn(Line.CLOSED, 0.0)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        with suppress(asyncio.CancelledError):
            await self._connect(reader, near)

    async def _connect(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        if self.state == Line.RESET:
            _reset(near)
            return
        try:
            answers, far = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            _reset(near)
            return
        call = _Call(near, far)
        self._calls.add(call)
        try:
            await asyncio.gather(self._ask(reader, call), self._answer(answers, call))
        finally:
            self._calls.discard(call)
            call.end()

    async def _ask(self, reader: asyncio.StreamReader, call: _Call) -> None:
        with suppress(OSError):
            while words := await reader.read(CHUNK):
                await self._hold(call)
                if self._is_cut(words, call):
                    break
                call.far.write(words)
                await call.far.drain()
        if not call.is_deaf and not call.far.is_closing():
            call.far.write_eof()

    async def _answer(self, reader: asyncio.StreamReader, call: _Call) -> None:
        with suppress(OSError):
            while words := await reader.read(CHUNK):
                await self._hold(call)
                if call.is_cut_at_answer:
                    break
                await self._pass_on(words, call)
        if not call.is_deaf:
            call.end()

    async def _pass_on(self, words: bytes, call: _Call) -> None:
        pieces = [words[at : at + 1] for at in range(len(words))] if self.state == Line.DRIP else [words]
        for piece in pieces:
            if self.state == Line.DRIP:
                await asyncio.sleep(self.delay)
            call.near.write(piece)
            await call.near.drain()
        self.passed += 1

    async def _hold(self, call: _Call) -> None:
        """Keep back what was said while the line is frozen or slow; for ever when the call is deaf."""
        if self.state == Line.SLOW:
            await asyncio.sleep(self.delay)
        while self.state == Line.FROZEN or call.is_deaf:
            if call.near.is_closing():
                return
            await asyncio.sleep(0.01)

    def _is_cut(self, words: bytes, call: _Call) -> bool:
        if self._cut is None or self._cuts_left <= 0 or self._cut[0] not in words:
            return False
        self._cuts_left -= 1
        self.cuts += 1
        if self._cut[1]:
            call.end()
            return True
        call.is_cut_at_answer = True
        return False


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with a reset: the other side is told that what it said is lost."""
    raw: socket.socket | None = writer.get_extra_info("socket")
    if raw is not None:
        with suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
    writer.transport.abort()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
