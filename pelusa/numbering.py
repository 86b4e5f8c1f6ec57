"""Notice that the alarms were restored from an older dump: they and what the books say of them are in two databases.

A decision knows its alarm by number. Were the next alarm to get the number of one that was decided already, it would be
taken for it, and heard by nobody. And the gates stand as they stood at the dump: an entry may pass one that has been
shut since. So numbers go on behind those that are named, and entries stop until a person has looked.
"""

from datetime import datetime
from typing import Any

from django.db import connections
from loguru import logger

from alarms.models import Alarm
from operations.killswitch import EVERYTHING, pull
from operations.models import Decision, KillSwitch

WHO = "Pelusa"
WHY = (
    "the stored alarms are older than the decisions on them, as after a restore: gates stand as they stood then."
    " Look at every strategy's gate and positions before you release it."
)


def after_migration(*, using: str, **signal: Any) -> None:
    """Look once the alarms are migrated, unless the operations are not yet."""
    if using == "alarms" and Decision._meta.db_table in connections["default"].introspection.table_names():
        keep_numbers_apart()


def keep_numbers_apart() -> None:
    """Let the next alarm's number lie above every one that a decision names; stop entries when it would not have.

    Safe to repeat: what is apart stays as it is.
    """
    newest = Decision.objects.order_by("-alarm_id").values_list("alarm_id", "created_at").first()
    stored = Alarm.objects.order_by("-id").values_list("id", flat=True).first() or 0
    if newest is None or newest[0] <= stored:
        return
    named, decided_at = newest
    logger.error("decisions name alarms up to {}, stored are those up to {}", named, stored)
    _count_from(named)
    if not _was_looked_at_since(decided_at):
        pull(None, WHO, WHY)


def _was_looked_at_since(moment: datetime) -> bool:
    """Tell whether somebody moved the switch since: until the next alarm comes, the gap is seen at every start."""
    return KillSwitch.objects.filter(scope=EVERYTHING, changed_at__gt=moment).exists()


def _count_from(highest: int) -> None:
    connection, table = connections["alarms"], Alarm._meta.db_table
    with connection.cursor() as cursor:
        if connection.vendor == "mysql":
            # InnoDB never counts from below what the table holds or held
            cursor.execute(f"ALTER TABLE {connection.ops.quote_name(table)} AUTO_INCREMENT = {highest + 1}")
            return
        cursor.execute("DELETE FROM sqlite_sequence WHERE name = %s AND seq < %s", [table, highest])
        cursor.execute(
            "INSERT INTO sqlite_sequence (name, seq) SELECT %s, %s"
            " WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = %s)",
            [table, highest, table],
        )
