"""A backup: a folder named by its UTC time, with a compressed and sealed file for each database and a list of them.

The operations are dumped before the alarms, so that a decision never names an alarm that the backup lacks. The folder
gets its name when all of it is there: one that ends with `.partial` is none.
"""

import hashlib
import json
import os
import re
import shutil
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from django.db import connections

from pelusa.backups.dumping import dump, read_chunks
from pelusa.backups.sealing import NotOpened, seal, unseal
from pelusa.supervisor import sole_owner

NAMES = {"default": "operations", "alarms": "alarms", "market": "candles"}
NAMED = re.compile(r"\d{8}T\d{6}Z")
MANIFEST, PARTIAL, LOCK = "manifest.json", ".partial", "backup.lock"
FORMAT = 1
GZIP = zlib.MAX_WBITS | 16


class NoBackup(Exception):
    """A folder is no backup, or not one that can be put back; the message says why."""


@dataclass(frozen=True, slots=True)
class Part:
    """One database's file, and what it must hash to."""

    alias: str
    file: str
    vendor: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Backup:
    """A whole backup in its folder."""

    folder: Path
    is_sealed: bool
    parts: tuple[Part, ...]

    def content(self, part: Part, passphrase: str) -> Iterator[bytes]:
        """Yield what was dumped; raise `NotOpened` when it cannot be had."""
        with (self.folder / part.file).open("rb") as file:
            chunks: Iterable[bytes] = read_chunks(file)
            if self.is_sealed:
                chunks = unseal(chunks, passphrase, _about(self.folder.name, part.alias))
            yield from _unzipped(chunks)

    def check(self, passphrase: str) -> None:
        """Read every file to its end; raise `NoBackup` when one is not what it was."""
        if self.is_sealed and not passphrase:
            raise NoBackup("it is encrypted: set BACKUP_PASSPHRASE")
        for part in self.parts:
            self._check(part, passphrase)

    def _check(self, part: Part, passphrase: str) -> None:
        path = self.folder / part.file
        if not path.is_file() or _hash(path) != part.sha256:
            raise NoBackup(f"{part.file} is missing, or not as it was written")
        try:
            for _ in self.content(part, passphrase):
                pass
        except (NotOpened, zlib.error) as error:
            raise NoBackup(f"{part.file}: {error}") from None


def make_backup(root: Path, passphrase: str, *, keep: int, aliases: Sequence[str] = tuple(NAMES)) -> Backup:
    """Dump, compress, seal and list the databases; then remove all but the `keep` newest backups."""
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    with sole_owner(root / LOCK, patience=0):
        for left in root.glob(f"*{PARTIAL}"):
            shutil.rmtree(left)
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        draft = root / (name + PARTIAL)
        draft.mkdir(mode=0o700)
        parts = tuple(_write(draft, name, alias, passphrase) for alias in NAMES if alias in aliases)
        listed = {"format": FORMAT, "is_sealed": bool(passphrase), "parts": [asdict(part) for part in parts]}
        _kept(draft / MANIFEST, [json.dumps(listed, indent=2).encode()])
        folder = draft.rename(root / name)
        _forget_old(root, keep)
    return Backup(folder, bool(passphrase), parts)


def open_backup(folder: Path) -> Backup:
    """Return the backup in a folder; raise `NoBackup` when there is none."""
    try:
        listed = json.loads((folder / MANIFEST).read_text())
        if listed["format"] != FORMAT:
            raise NoBackup(f"{folder} was written by another version of Pelusa")
        return Backup(folder.resolve(), listed["is_sealed"], tuple(Part(**part) for part in listed["parts"]))
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise NoBackup(f"{folder} is no backup ({type(error).__name__})") from None


def backups(root: Path) -> list[Path]:
    """Return the folders of whole backups, the newest first."""
    return sorted((each for each in root.glob("*") if NAMED.fullmatch(each.name)), reverse=True)


def _write(draft: Path, name: str, alias: str, passphrase: str) -> Part:
    vendor = connections[alias].vendor
    file = f"{NAMES[alias]}.{'sql' if vendor == 'mysql' else 'sqlite3'}.gz{'.sealed' if passphrase else ''}"
    chunks: Iterable[bytes] = _zipped(dump(alias, draft))
    if passphrase:
        chunks = seal(chunks, passphrase, _about(name, alias))
    size = _kept(draft / file, chunks)
    return Part(alias, file, vendor, _hash(draft / file), size)


def _about(name: str, alias: str) -> str:
    return f"{name}/{NAMES[alias]}"


def _zipped(chunks: Iterable[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(wbits=GZIP)
    for chunk in chunks:
        yield packer.compress(chunk)
    yield packer.flush()


def _unzipped(chunks: Iterable[bytes]) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(wbits=GZIP)
    for chunk in chunks:
        yield unpacker.decompress(chunk)
    yield unpacker.flush()
    if not unpacker.eof:
        raise NotOpened("it ends too early")


def _kept(path: Path, chunks: Iterable[bytes]) -> int:
    """Write a file that only its owner reads, down to the disk; return its size."""
    path.touch(mode=0o600)
    with path.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
        return file.tell()


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _forget_old(root: Path, keep: int) -> None:
    for old in backups(root)[keep:]:
        shutil.rmtree(old)
