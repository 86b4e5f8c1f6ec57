"""The database's own guard of the audit: triggers that let nobody change or remove an entry, whoever asks.

MySQL with its binary log on makes triggers only for a user who may, or with `log_bin_trust_function_creators`; where
it refuses, the hash chain is what is left, and `check_audit` says so.
"""

from typing import Any

from django.db import OperationalError
from loguru import logger

TABLE = "pelusa_auditentry"
TRIGGERS = {"audit_is_never_changed": "UPDATE", "audit_is_never_removed": "DELETE"}
_REFUSED = "an audit entry is never changed or removed"
# 1142: no TRIGGER privilege; 1227 and 1419: the binary log asks for more than that
_NOT_ALLOWED = (1142, 1227, 1419)


def raise_guard(connection: Any) -> bool:
    """Make the triggers; return False where the database does not let this user make any."""
    lift_guard(connection)
    try:
        with connection.cursor() as cursor:
            for name, act in TRIGGERS.items():
                cursor.execute(_trigger(connection.vendor, name, act))
    except OperationalError as error:
        if not error.args or error.args[0] not in _NOT_ALLOWED:
            raise
        logger.warning("the audit has no triggers: {}", error.args[1])
        return False
    return True


def lift_guard(connection: Any) -> None:
    """Remove the triggers: for emptying a whole database, and for undoing the migration."""
    with connection.cursor() as cursor:
        for name in TRIGGERS:
            cursor.execute(f"DROP TRIGGER IF EXISTS {name}")


def is_guarded(connection: Any) -> bool:
    """Say whether both triggers stand."""
    query = (
        "SELECT COUNT(*) FROM information_schema.triggers WHERE trigger_schema = DATABASE() AND event_object_table = %s"
        if connection.vendor == "mysql"
        else "SELECT COUNT(*) FROM sqlite_master WHERE type = 'trigger' AND tbl_name = %s"
    )
    with connection.cursor() as cursor:
        cursor.execute(query, [TABLE])
        return bool(cursor.fetchone()[0] == len(TRIGGERS))


def _trigger(vendor: str, name: str, act: str) -> str:
    refusal = (
        f"SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{_REFUSED}'"
        if vendor == "mysql"
        else f"BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END"
    )
    return f"CREATE TRIGGER {name} BEFORE {act} ON {TABLE} FOR EACH ROW {refusal}"
