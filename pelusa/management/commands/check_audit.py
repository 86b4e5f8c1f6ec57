"""Check that no entry of the audit was altered or is missing."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from pelusa.audit.chain import find_break
from pelusa.audit.guard import is_guarded
from pelusa.audit.rows import AuditEntry


class Command(BaseCommand):
    """Go through the whole chain; the exit code is 1 when it is broken."""

    help = "Check that no entry of the audit was altered or is missing."

    def handle(self, *args: Any, **options: Any) -> None:
        if broken := find_break():
            raise CommandError(f"The audit is broken: {broken}.")
        self.stdout.write(f"The audit is whole: {AuditEntry.objects.count()} entries.")
        if not is_guarded(connection):
            self.stdout.write("The database has no triggers that protect it: see docs/operating.md, Audit.")
