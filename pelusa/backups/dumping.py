"""Read a whole database as one stream of bytes, consistent in itself and without holding up who writes; put it back.

MySQL and MariaDB by their own programs, SQLite by its online backup.
"""

import sqlite3
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO, Any

from django.db import connections

CHUNK = 65_536
DUMPERS, CLIENTS = ("mariadb-dump", "mysqldump"), ("mariadb", "mysql")
# One snapshot for all tables; triggers are made anew by who restores, since a dump names who made them
DUMP = ["--single-transaction", "--quick", "--no-tablespaces", "--hex-blob", "--skip-triggers", "--skip-dump-date"]


class CannotDump(Exception):
    """A database could not be read or written; the message says why and holds no password."""


def dump(alias: str, scratch: Path) -> Iterator[bytes]:
    """Yield the database's content; `scratch` takes a copy for as long as it lasts where one is needed."""
    return _dump_mysql(alias) if connections[alias].vendor == "mysql" else _dump_sqlite(alias, scratch)


def load(alias: str, chunks: Iterable[bytes]) -> None:
    """Put what `dump` yielded in place of whatever the database holds."""
    _load_mysql(alias, chunks) if connections[alias].vendor == "mysql" else _load_sqlite(alias, chunks)
    connections[alias].close()


def is_empty(alias: str) -> bool:
    """Tell whether there is no table yet."""
    return not connections[alias].introspection.table_names()


def is_in_use(alias: str) -> bool:
    """Tell whether another process is connected; only a server knows."""
    if connections[alias].vendor != "mysql":
        return False
    others = "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
    with connections[alias].cursor() as cursor:
        cursor.execute(others)
        return bool(cursor.fetchone()[0])


def read_chunks(source: IO[bytes]) -> Iterator[bytes]:
    while chunk := source.read(CHUNK):
        yield chunk


def _dump_sqlite(alias: str, scratch: Path) -> Iterator[bytes]:
    copy = scratch / "copy.sqlite3"
    source = f"{Path(connections[alias].settings_dict['NAME']).resolve().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(source, uri=True)) as here, closing(sqlite3.connect(copy)) as there:
            here.backup(there)
        with copy.open("rb") as file:
            yield from read_chunks(file)
    except sqlite3.Error as error:
        raise CannotDump(f"SQLite: {error}") from None
    finally:
        copy.unlink(missing_ok=True)


def _load_sqlite(alias: str, chunks: Iterable[bytes]) -> None:
    target = Path(connections[alias].settings_dict["NAME"])
    connections[alias].close()
    draft = target.with_name(f"{target.name}.restored")
    with draft.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)
    with closing(sqlite3.connect(draft)) as restored:
        found = restored.execute("PRAGMA integrity_check").fetchone()[0]
    if found != "ok":
        raise CannotDump(f"SQLite: {found}")
    # They belong to the file that goes
    for beside in ("-wal", "-shm"):
        target.with_name(target.name + beside).unlink(missing_ok=True)
    draft.replace(target)


def _dump_mysql(alias: str) -> Iterator[bytes]:
    with _options(alias) as file, TemporaryFile() as said:
        argv = [_program(DUMPERS), f"--defaults-file={file}", *DUMP, _schema(alias)]
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said) as process:
            assert process.stdout is not None
            yield from read_chunks(process.stdout)
        _judge(argv[0], process.returncode, said)


def _load_mysql(alias: str, chunks: Iterable[bytes]) -> None:
    _drop_tables(alias)
    with _options(alias) as file, TemporaryFile() as said:
        argv = [_program(CLIENTS), f"--defaults-file={file}", "--binary-mode", _schema(alias)]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said) as process:
            assert process.stdin is not None
            try:
                for chunk in chunks:
                    process.stdin.write(chunk)
                process.stdin.close()
            except BrokenPipeError:
                # It gave up, and says why
                pass
        _judge(argv[0], process.returncode, said)


def _judge(program: str, code: int, said: IO[bytes]) -> None:
    if code:
        said.seek(0)
        last = said.read().decode(errors="replace").strip().splitlines()[-1:]
        raise CannotDump(f"{program}: {' '.join(last)[:300] or code}")


def _program(names: tuple[str, ...]) -> str:
    for name in names:
        if found := which(name):
            return found
    raise CannotDump(f"{names[0]} is not installed (Debian: mariadb-client)")


def _schema(alias: str) -> str:
    return str(connections[alias].settings_dict["NAME"])


def _drop_tables(alias: str) -> None:
    quote, names = connections[alias].ops.quote_name, connections[alias].introspection.table_names(include_views=False)
    with connections[alias].cursor() as cursor:
        cursor.execute("SET FOREIGN_KEY_CHECKS = 0")
        for name in names:
            cursor.execute(f"DROP TABLE {quote(name)}")
        cursor.execute("SET FOREIGN_KEY_CHECKS = 1")


@contextmanager
def _options(alias: str) -> Iterator[Path]:
    """Write who asks into a file of our own: a command line is there for everybody to read."""
    told = _told(connections[alias].settings_dict)
    with TemporaryDirectory(prefix="pelusa-") as folder:
        file = Path(folder, "client.cnf")
        file.touch(mode=0o600)
        lines = [f'{name}="{_escaped(str(value))}"' for name, value in told.items() if value]
        file.write_text("\n".join(["[client]", "default-character-set=utf8mb4", *lines, ""]))
        yield file


def _told(conf: dict[str, Any]) -> dict[str, Any]:
    host = str(conf["HOST"] or "")
    where = {"socket": host} if host.startswith("/") else {"host": host, "port": conf["PORT"]}
    return {"user": conf["USER"], "password": conf["PASSWORD"], **where}


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')
