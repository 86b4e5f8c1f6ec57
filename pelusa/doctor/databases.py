"""The three databases: do they answer, keep what they are given exactly, and know our tables?"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

from django.conf import settings
from django.db import DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.exceptions import InconsistentMigrationHistory
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone
from django.utils.translation import gettext as _

from pelusa.checks import ISOLATION, STRICT
from pelusa.doctor.findings import Finding, advice, danger, ok, unknown

CHARSET = "utf8mb4"
# A machine of its own may be a little off; the exchange's clock is compared apart
CLOCK_TOLERANCE = timedelta(seconds=2)
# MariaDB and MySQL name the isolation differently
ASK_SESSION = (
    "SHOW SESSION VARIABLES WHERE Variable_name IN ('tx_isolation', 'transaction_isolation', 'sql_mode', 'time_zone',"
    " 'character_set_client', 'character_set_connection', 'character_set_results', 'character_set_database',"
    " 'innodb_flush_log_at_trx_commit', 'read_only')"
)
ASK_CLOCKS = "SELECT UTC_TIMESTAMP(6), TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(), NOW())"
ASK_TABLES = (
    "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'"
    " AND (engine <> 'InnoDB' OR table_collation NOT LIKE 'utf8mb4%%') ORDER BY table_name"
)
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Server:
    """What a MySQL or MariaDB session says of itself; `zone_offset` is local time minus UTC."""

    variables: dict[str, str]
    clock_offset: timedelta = timedelta(0)
    zone_offset: timedelta = timedelta(0)
    odd_tables: list[str] = field(default_factory=list)


def examine_databases() -> list[Finding]:
    """Ask every database; connecting and reading are bounded by the connection's own time-outs."""
    return [finding for alias in connections for finding in _examine(alias)]


def _examine(alias: str) -> Iterator[Finding]:
    subject, connection = _("database %(alias)s") % {"alias": alias}, connections[alias]
    try:
        connection.ensure_connection()
        yield ok(
            subject, "database_answers", _("It answers (%(display_name)s).") % {"display_name": connection.display_name}
        )
        yield from judge_server(subject, _ask(connection)) if connection.vendor == "mysql" else _on_sqlite(subject)
        yield _judge_migrations(subject, alias, _missing_migrations(connection))
    except InconsistentMigrationHistory:
        todo = _("Restore a dump of one moment, or ask who ran migrations by hand.")
        yield danger(subject, "migrations_inconsistent", _("Its migrations were applied in an impossible order."), todo)
    except DatabaseError as error:
        # The error's text may hold an address or a user
        yield danger(
            subject,
            "database_away",
            _("It does not answer as it should (%(error)s).") % {"error": type(error).__name__},
            _(
                "Start it, and check the database addresses of .env. Until then no alarm is stored and no order is"
                " sent."
            ),
        )


def _ask(connection: BaseDatabaseWrapper) -> Server:
    with connection.cursor() as cursor:
        cursor.execute(ASK_SESSION)
        variables = {name.lower(): str(value) for name, value in cursor.fetchall()}
        before = timezone.now()
        cursor.execute(ASK_CLOCKS)
        theirs, zone_seconds = cursor.fetchone()
        ours = before + (timezone.now() - before) / 2
        cursor.execute(ASK_TABLES)
        odd = [row[0] for row in cursor.fetchall()]
    return Server(variables, theirs - ours.replace(tzinfo=None), timedelta(seconds=zone_seconds), odd)


def judge_server(subject: str, server: Server) -> list[Finding]:
    """Return what is wrong with a MySQL or MariaDB session, or one OK."""
    found = [*_of_safety(subject, server), *_of_text(subject, server), *_of_time(subject, server)]
    if found:
        return found
    return [ok(subject, "database_settings", _("Strict mode, isolation, time zone and character set are right."))]


def _of_safety(subject: str, server: Server) -> Iterator[Finding]:
    said = server.variables
    if not STRICT & set(said.get("sql_mode", "").upper().split(",")):
        sentence = _("It is not in strict mode: it would store other numbers than were sent.")
        yield danger(subject, "not_strict", sentence, _("Let nobody override sql_mode; add STRICT_TRANS_TABLES to it."))
    isolation = said.get("transaction_isolation") or said.get("tx_isolation") or "?"
    if isolation.upper() != ISOLATION:
        sentence = _("It isolates by %(isolation)s, not %(wanted)s: workers would block each other without end.") % {
            "isolation": isolation,
            "wanted": ISOLATION,
        }
        yield danger(
            subject,
            "wrong_isolation",
            sentence,
            _("Set transaction-isolation=%(isolation)s on the server.") % {"isolation": ISOLATION},
        )
    if said.get("innodb_flush_log_at_trx_commit", "1") != "1":
        sentence = _("A commit may be lost in a power cut: innodb_flush_log_at_trx_commit is not 1.")
        yield danger(subject, "commits_not_durable", sentence, _("Set innodb_flush_log_at_trx_commit=1 on the server."))
    if said.get("read_only", "OFF").upper() not in ("OFF", "0"):
        yield danger(subject, "read_only", _("It is read-only."), _("Connect to the primary, or switch read_only off."))


def _of_text(subject: str, server: Server) -> Iterator[Finding]:
    names = ("character_set_client", "character_set_connection", "character_set_results", "character_set_database")
    wrong = {name: server.variables[name] for name in names if server.variables.get(name, CHARSET) != CHARSET}
    if wrong:
        told = ", ".join(f"{name}={value}" for name, value in wrong.items())
        todo = f"ALTER DATABASE … CHARACTER SET {CHARSET}; character-set-server={CHARSET}"
        yield danger(
            subject,
            "wrong_charset",
            _("An alarm's text may not fit: %(told)s, not %(charset)s.") % {"told": told, "charset": CHARSET},
            todo,
        )
    if server.odd_tables:
        shown = ", ".join(server.odd_tables[:SHOWN]) + (", …" if len(server.odd_tables) > SHOWN else "")
        todo = f"ALTER TABLE … ENGINE=InnoDB, CONVERT TO CHARACTER SET {CHARSET}"
        yield danger(
            subject,
            "odd_tables",
            _("Tables that are not InnoDB in %(charset)s: %(shown)s.") % {"charset": CHARSET, "shown": shown},
            todo,
        )


def _of_time(subject: str, server: Server) -> Iterator[Finding]:
    if server.zone_offset:
        hours = server.zone_offset / timedelta(hours=1)
        sentence = _(
            "Its sessions are %(hours)s h from UTC: what you ask it by hand shows other times than Pelusa."
        ) % {"hours": f"{hours:+g}"}
        yield advice(subject, "wrong_time_zone", sentence, _("Set default-time-zone='+00:00' on the server."))
    if abs(server.clock_offset) > CLOCK_TOLERANCE:
        sentence = _("Its clock is %(clock_offset)s s from this machine's.") % {
            "clock_offset": f"{server.clock_offset.total_seconds():+.1f}"
        }
        yield advice(subject, "database_clock", sentence, _("Set both clocks by NTP."))


def _on_sqlite(subject: str) -> list[Finding]:
    if settings.PELUSA_TRADING != "live":
        return []
    todo = _("Use MySQL or MariaDB for more than a trial.")
    return [advice(subject, "real_money_on_sqlite", _("Real money is kept in an SQLite file."), todo)]


def _missing_migrations(connection: BaseDatabaseWrapper) -> list[str]:
    executor = MigrationExecutor(connection)
    executor.loader.check_consistent_history(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _backwards in plan]


def _judge_migrations(subject: str, alias: str, missing: list[str]) -> Finding:
    if not missing:
        return ok(subject, "migrated", _("Its tables are those of this version."))
    shown = ", ".join(missing[:SHOWN]) + (", …" if len(missing) > SHOWN else "")
    sentence = _("%(missing)s migrations are missing: %(shown)s.") % {"missing": len(missing), "shown": shown}
    return danger(subject, "migrations_missing", sentence, _("Run `manage.py prepare`, then restart every process."))


def unread(error: DatabaseError) -> Finding:
    """Say that accounts and strategies could not be looked at."""
    sentence = _("Accounts and strategies were not examined: their rows cannot be read (%(error)s).") % {
        "error": type(error).__name__
    }
    return unknown("databases", "rows_unread", sentence, _("Put the databases right first, then examine again."))
