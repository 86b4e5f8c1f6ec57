"""Bring stored secrets under the newest of FIELD_ENCRYPTION_KEYS."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from exchange.encryption import WrongKey, key_id
from exchange.rotation import rotate, survey


class Command(BaseCommand):
    help = "Seal every stored secret again with the newest of FIELD_ENCRYPTION_KEYS; safe to stop and call again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--check", action="store_true", help="Change nothing; say which keys are in use, by their ids."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["check"]:
            self._tell()
            return
        try:
            changed = rotate()
        except WrongKey as error:
            raise CommandError(f"Nothing was changed. {error}.") from None
        for name, rows in changed.items():
            self.stdout.write(f"{name}: {rows} rows were sealed again.")

    def _tell(self) -> None:
        found = survey()
        for number, key in enumerate(settings.FIELD_ENCRYPTION_KEYS):
            rows = sum(column.rows[key_id(key)] for column in found)
            needed = "the newest" if number == 0 else "still needed" if rows else "may be taken out"
            self.stdout.write(f"key {key_id(key)} ({needed}): {rows} rows")
        lost = [f"{column.name} ({column.rows['']} rows)" for column in found if column.rows[""]]
        if lost:
            raise CommandError(f"No key of FIELD_ENCRYPTION_KEYS opens {', '.join(lost)}.")
