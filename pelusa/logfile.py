"""A log file that several processes write, and any of them rotates: no line is lost, halved or written twice.

Loguru's own rotation is for one process: a line that another writes between the renaming and the removal of the old
file goes into a file that nobody will ever see. Here each line is written under a shared lock, and the file is renamed
under one that nobody shares.
"""

import fcntl
import gzip
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MODE = 0o640
# Renaming takes microseconds; a process that is frozen in the middle of it must not silence the others
PATIENCE, BETWEEN = 0.2, 0.001


class SharedFile:
    """A sink for Loguru: appends lines, renames the file when it is full, packs and thins out what was renamed.

    A process that dies with the lock held loses it with its life; while a frozen one holds it the file grows. What was
    left unpacked the next rotation packs.
    """

    def __init__(self, path: Path, *, most_bytes: int, kept: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._most_bytes, self._kept = path, most_bytes, kept
        # Locks belong to a process and not to a descriptor: one that a fork inherits must not be held twice
        self._lock = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE)
        self._file = self._opened()
        self._patience = PATIENCE
        self._packer: threading.Thread | None = None

    def write(self, message: str) -> None:
        """Append a line, whole; the disk's refusal is the caller's to hear."""
        line = message.encode("utf-8", "backslashreplace")
        with self._shared() as is_shared:
            has_turned = is_shared and self._make_room(len(line))
            _write_all(self._file, line)
        if has_turned and not (self._packer and self._packer.is_alive()):
            # Packing takes half a second, which no order should wait for
            self._packer = threading.Thread(target=self._pack, name="log-packer")
            self._packer.start()

    def settle(self) -> None:
        """Wait for what is being packed."""
        if self._packer:
            self._packer.join()

    def stop(self) -> None:
        """Close the file; what is being packed is finished first."""
        self.settle()
        os.close(self._file)
        os.close(self._lock)

    @contextmanager
    def _shared(self) -> Iterator[bool]:
        """Keep the file where it is for the block; tell whether our patience sufficed for that."""
        ends_at = time.monotonic() + self._patience
        while not (is_shared := self._claim(fcntl.LOCK_SH)) and time.monotonic() < ends_at:
            time.sleep(BETWEEN)
        # Whoever waited once in vain does not wait for every line
        self._patience = PATIENCE if is_shared else 0.0
        try:
            yield is_shared
        finally:
            if is_shared:
                fcntl.lockf(self._lock, fcntl.LOCK_UN)

    def _claim(self, kind: int) -> bool:
        try:
            fcntl.lockf(self._lock, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _make_room(self, size: int) -> bool:
        """Rename the file when `size` more would be too much and nobody else is writing; tell whether it was done."""
        self._follow()
        is_full = 0 < os.fstat(self._file).st_size > self._most_bytes - size
        if not is_full or not self._claim(fcntl.LOCK_EX):
            return False
        self._turn_over()
        fcntl.lockf(self._lock, fcntl.LOCK_SH)
        return True

    def _opened(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, MODE)

    def _follow(self) -> None:
        """Open the file again when another process, or an operator, has moved it."""
        mine = os.fstat(self._file)
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            there = None
        if there is None or (there.st_dev, there.st_ino) != (mine.st_dev, mine.st_ino):
            os.close(self._file)
            self._file = self._opened()

    def _turn_over(self) -> None:
        moment = time.time_ns()
        stamp = time.strftime("%Y-%m-%dT%H-%M-%S", time.gmtime(moment // 10**9))
        self._path.rename(self._path.with_suffix(f".{stamp}-{moment % 10**9:09d}{self._path.suffix}"))
        os.close(self._file)
        self._file = self._opened()

    def _pack(self) -> None:
        """Pack every renamed file and remove the oldest, unless another process is at it."""
        with _alone(self._path.with_name(f".{self._path.name}.packing")) as is_alone:
            if not is_alone:
                return
            for path in self._renamed(""):
                _gzip(path, path.with_name(f"{path.name}.gz"))
            for path in self._renamed(".gz")[: -self._kept]:
                path.unlink(missing_ok=True)

    def _renamed(self, ending: str) -> list[Path]:
        """Return the renamed files, oldest first."""
        return sorted(self._path.parent.glob(f"{self._path.stem}.*-*{self._path.suffix}{ending}"))


def _write_all(file: int, line: bytes) -> None:
    while line:
        line = line[os.write(file, line) :]


@contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Tell whether no other process is at it; one that dies leaves its files to the next."""
    with path.open("w") as claim:
        try:
            fcntl.lockf(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _gzip(source: Path, target: Path) -> None:
    draft = source.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    with source.open("rb") as lines, gzip.open(draft, "wb", compresslevel=6) as packed:
        shutil.copyfileobj(lines, packed)
    draft.chmod(MODE)
    draft.rename(target)
    source.unlink()
