"""Empty a database, the audit too: Django's command, which the audit's triggers would stop."""

from typing import Any

from django.core.management.commands import flush
from django.db import connections

from pelusa.audit.guard import TABLE, is_guarded, lift_guard, raise_guard


class Command(flush.Command):
    """Lift the audit's guard while everything is removed, and raise it again."""

    def handle(self, **options: Any) -> None:
        connection = connections[options["database"]]
        if options["database"] != "default" or TABLE not in connection.introspection.table_names():
            super().handle(**options)
            return
        was_guarded = is_guarded(connection)
        lift_guard(connection)
        try:
            super().handle(**options)
        finally:
            if was_guarded:
                raise_guard(connection)
