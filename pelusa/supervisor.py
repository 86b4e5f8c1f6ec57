"""Run named processes in the foreground, restart one that dies, and leave no orphan however this process ends.

Each process leads a session of its own, so that its children can be ended with it. When this process is killed with
SIGKILL the kernel tells the leaders (Linux) and `pelusa.deadman` ends the groups (everywhere).
"""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Any, Self, TextIO

from loguru import logger

from pelusa import deadman

TICK_SECONDS = 0.1
FIRST_BACKOFF_SECONDS = 0.5
LAST_BACKOFF_SECONDS = 10.0
# A process that lived this long starts again with the first back-off.
SETTLED_SECONDS = 30.0
# The whole stop, kills included, stays under the 10 seconds that the interface promises.
STOP_SECONDS = 8.0
LAST_LINES = 20
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Set by the Makefile: `make` that is killed takes the supervisor with it.
STOP_WITH_PARENT = "PELUSA_STOP_WITH_PARENT"


class NotReady(Exception):
    """A process did not come up in time; the message ends with the last lines it printed."""


class AlreadyRunning(Exception):
    """Another supervisor owns the same files."""


class WatcherDied(Exception):
    """The thread that restarts processes ended by itself; its traceback is in the log."""


class StopRequested(SystemExit):
    """A stop signal arrived; raised in the main thread, which unwinds through `Supervisor.__exit__`."""


@dataclass(frozen=True)
class ProcessSpec:
    """One process to keep alive.

    `env` comes on top of ours. `is_ready` tells whether it serves; without it being alive is enough.
    Those listed after one that `holds_back` start only when that one is ready.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    is_ready: Callable[[], bool] | None = None
    holds_back: bool = False


def port_is_open(port: int, host: str = "127.0.0.1") -> bool:
    """Tell whether somebody listens; made for `ProcessSpec.is_ready` with `functools.partial`."""
    try:
        with socket.create_connection((host, port), timeout=0.5):
            return True
    except OSError:
        return False


@contextmanager
def sole_owner(path: Path, *, patience: float = 10.0) -> Iterator[IO[str]]:
    """Hold the lock file `path`; wait `patience` seconds for one that is just stopping, else raise `AlreadyRunning`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as lock:
        deadline = time.monotonic() + patience
        while not _try_lock(lock):
            if time.monotonic() > deadline:
                raise AlreadyRunning(f"already running as process {_read(lock) or 'unknown'} ({path})")
            time.sleep(TICK_SECONDS)
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield lock


def _try_lock(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(lock: IO[str]) -> str:
    lock.seek(0)
    return lock.read().strip()


class Supervisor:
    """Keep the processes of `specs` alive from `__enter__` to `__exit__`.

    Use it from the main thread: it takes over SIGINT, SIGTERM and SIGHUP and turns them into `StopRequested`.
    `lock` is the open file of `sole_owner`; it stays locked until the last process is gone, even after SIGKILL.
    All of them together have `stop_seconds` to end by themselves; then they are killed.
    """

    def __init__(
        self,
        specs: Sequence[ProcessSpec],
        *,
        lock: IO[str] | None = None,
        output: TextIO | None = None,
        stop_seconds: float = STOP_SECONDS,
    ) -> None:
        printer = _Printer(output or sys.stdout, width=max((len(spec.name) for spec in specs), default=0))
        self._deadman = _Deadman(lock)
        self._children = [_Child(spec, printer, self._deadman) for spec in specs]
        self._stop_seconds = stop_seconds
        self._stopping = threading.Event()
        self._hurried = threading.Event()
        self._ended = threading.Event()
        # One thread starts everything and outlives it: the kernel's death signal comes when the starting *thread* ends.
        self._watcher = threading.Thread(target=self._watch, name="supervisor", daemon=True)
        self._old_handlers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if os.environ.get(STOP_WITH_PARENT):
            deadman.die_with(os.getppid())
        self._deadman.start()
        for number in STOP_SIGNALS:
            self._old_handlers[number] = signal.signal(number, self._on_signal)
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        for number, handler in self._old_handlers.items():
            signal.signal(number, handler)

    def wait_ready(self, timeout: float = 60.0) -> None:
        """Return when every process is ready, or raise `NotReady` after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        for child in self._children:
            while not child.is_ready():
                if time.monotonic() > deadline:
                    raise NotReady(f"{child.spec.name} was not ready after {timeout:.0f} s\n{child.last_words()}")
                if self._ended.wait(TICK_SECONDS):
                    raise WatcherDied
        logger.info("ready: {}", ", ".join(child.spec.name for child in self._children))

    def run_forever(self) -> None:
        """Return when a stop signal arrives; the processes still run then, `__exit__` ends them."""
        with suppress(StopRequested):
            self._ended.wait()
            raise WatcherDied

    def stop(self) -> None:
        """End every process, last one first; a second stop signal meanwhile kills what is left."""
        self._stopping.set()
        self._watcher.join()
        self._deadman.stop()

    def pids(self) -> dict[str, int]:
        """Return the process id of each process that is alive, by name."""
        return {child.spec.name: child.pid for child in self._children if child.pid}

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._stopping.is_set():
            self._hurried.set()
        else:
            raise StopRequested(128 + number)

    def _watch(self) -> None:
        try:
            while not self._stopping.wait(TICK_SECONDS):
                self._deadman.keep_alive([child.pid for child in self._children if child.pid])
                self._tend_children()
        finally:
            self._stop_children()
            self._ended.set()

    def _tend_children(self) -> None:
        held_back = False
        for child in self._children:
            child.tend(may_start=not held_back)
            held_back = held_back or (child.spec.holds_back and not child.was_ready())

    def _stop_children(self) -> None:
        deadline = time.monotonic() + self._stop_seconds
        for still_to_come, child in reversed(list(enumerate(self._children))):
            # A second is kept back for each of those that come after, so that a stubborn one costs them nothing.
            child.stop(deadline - still_to_come, self._hurried)


class _Child:
    """One process: started, watched, started again, ended. All but `is_ready` belongs to the watcher thread."""

    def __init__(self, spec: ProcessSpec, printer: "_Printer", deadman_: "_Deadman") -> None:
        self.spec = spec
        self._printer = printer
        self._deadman = deadman_
        self._process: subprocess.Popen[str] | None = None
        self._pump: threading.Thread | None = None
        self._last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._backoff = FIRST_BACKOFF_SECONDS
        self._started_at = 0.0
        self._start_at = 0.0
        self._was_ready = False

    @property
    def pid(self) -> int:
        process = self._process
        return process.pid if process else 0

    def is_ready(self) -> bool:
        return bool(self.pid) and (self.spec.is_ready is None or self.spec.is_ready())

    def was_ready(self) -> bool:
        """Tell whether it has been ready since its last start."""
        self._was_ready = self._was_ready or self.is_ready()
        return self._was_ready

    def last_words(self) -> str:
        return "".join(self._last_lines)

    def tend(self, *, may_start: bool) -> None:
        """Start it when it is due; when it has died, say so and set the time of its next start."""
        if self._process is None:
            if may_start and time.monotonic() >= self._start_at:
                self._start()
        elif (code := self._process.poll()) is not None:
            self._bury()
            self._plan_restart(code)

    def stop(self, deadline: float, hurried: threading.Event) -> None:
        """Ask it to end, and kill its whole group at `deadline` (monotonic seconds) or as soon as `hurried`."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            self._process.terminate()
        while self._process.poll() is None and time.monotonic() < deadline and not hurried.is_set():
            time.sleep(0.02)
        if self._process.poll() is None:
            logger.warning("{} did not end in time and is killed", self.spec.name)
        self._bury()
        if self._pump:
            self._pump.join(timeout=0.5)

    def _start(self) -> None:
        logger.debug("starting {}", self.spec.name)
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", deadman.__file__, str(os.getpid()), *self.spec.argv],
            cwd=self.spec.cwd,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **self.spec.env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._deadman.add(process.pid)
        self._process, self._started_at, self._was_ready = process, time.monotonic(), False
        self._pump = threading.Thread(
            target=self._pass_on, args=(process,), name=f"output of {self.spec.name}", daemon=True
        )
        self._pump.start()

    def _pass_on(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self._last_lines.append(line)
                self._printer.print(self.spec.name, line)

    def _bury(self) -> None:
        """Kill what is left of the group and forget it."""
        assert self._process is not None
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._deadman.remove(self._process.pid)
        self._process = None

    def _plan_restart(self, code: int) -> None:
        if time.monotonic() - self._started_at > SETTLED_SECONDS:
            self._backoff = FIRST_BACKOFF_SECONDS
        logger.warning("{} ended with exit code {}, starting again in {} s", self.spec.name, code, self._backoff)
        self._start_at = time.monotonic() + self._backoff
        self._backoff = min(self._backoff * 2, LAST_BACKOFF_SECONDS)


class _Deadman:
    """Our end of the pipe to `pelusa.deadman`."""

    def __init__(self, lock: IO[str] | None) -> None:
        self._lock = lock
        self._process: subprocess.Popen[bytes] | None = None
        self._line: TextIO | None = None

    def start(self, groups: Sequence[int] = ()) -> None:
        """Start it; that these groups run waits in its pipe before it lives, should we be killed right after."""
        theirs, ours = os.pipe()
        self._line = os.fdopen(ours, "w")
        for group in groups:
            self.add(group)
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", deadman.__file__],
            stdin=theirs,
            start_new_session=True,
            # Whoever comes next must wait for the groups that the dead man still ends.
            pass_fds=(self._lock.fileno(),) if self._lock else (),
        )
        os.close(theirs)

    def keep_alive(self, groups: Sequence[int]) -> None:
        """Start it again when somebody killed it, with the groups that run now."""
        if self._process is not None and self._process.poll() is not None:
            self._hang_up()
            self.start(groups)

    def add(self, group: int) -> None:
        self._write(f"+{group}\n")

    def remove(self, group: int) -> None:
        self._write(f"-{group}\n")

    def stop(self) -> None:
        self._hang_up()
        if self._process is not None:
            self._process.wait()

    def _hang_up(self) -> None:
        # A line that it did not live to read is thrown away
        with suppress(BrokenPipeError):
            if self._line is not None:
                self._line.close()

    def _write(self, line: str) -> None:
        assert self._line is not None
        # Killed a moment ago: `keep_alive` starts another and tells it everything.
        with suppress(BrokenPipeError):
            self._line.write(line)
            self._line.flush()


class _Printer:
    """Print whole lines of several processes to one stream, each behind its process's name."""

    def __init__(self, stream: TextIO, *, width: int) -> None:
        self._stream: TextIO | None = stream
        self._width = width
        self._turn = threading.Lock()

    def print(self, name: str, line: str) -> None:
        with self._turn:
            if self._stream is None:
                return
            try:
                self._stream.write(f"{name:<{self._width}} | {line.rstrip()}\n")
                self._stream.flush()
            except (OSError, ValueError):
                # Nobody reads us any more (`make run | head`); the processes must not block on that.
                self._stream = None
