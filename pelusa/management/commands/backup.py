"""`manage.py backup [--daily HH:MM] [--without-candles]`."""

import time
from argparse import ArgumentParser
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connections
from django.utils import timezone
from loguru import logger

from pelusa.backups.archive import NAMES, make_backup
from pelusa.backups.dumping import CannotDump
from pelusa.supervisor import AlreadyRunning

FAILURES = (CannotDump, DatabaseError, OSError, AlreadyRunning)


class Command(BaseCommand):
    help = "Back up the three databases into BACKUP_DIR while everything runs; keep the BACKUP_KEEP newest."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--daily", metavar="HH:MM", help="Stay, and do it each day at this time of UTC.")
        parser.add_argument(
            "--without-candles", action="store_true", help="Leave the candles out: they can be fetched again."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        aliases = [alias for alias in NAMES if alias != "market" or not options["without_candles"]]
        if not settings.BACKUP_PASSPHRASE:
            self.stderr.write(self.style.WARNING("BACKUP_PASSPHRASE is not set: backups are not encrypted"))
        if options["daily"]:
            self._each_day(_time_of_day(options["daily"]), aliases)
        try:
            self._once(aliases)
        except FAILURES as error:
            raise CommandError(f"no backup was made: {error}") from None

    def _each_day(self, at: datetime, aliases: list[str]) -> None:
        while True:
            time.sleep(_seconds_until(at, timezone.now()))
            try:
                self._once(aliases)
            except FAILURES as error:
                logger.critical("no backup was made: {}", error)
            connections.close_all()

    def _once(self, aliases: list[str]) -> None:
        backup = make_backup(
            settings.BACKUP_DIR, settings.BACKUP_PASSPHRASE, keep=settings.BACKUP_KEEP, aliases=aliases
        )
        size = sum(part.bytes for part in backup.parts)
        logger.info("backup {}: {} bytes, encrypted: {}", backup.folder, size, backup.is_sealed)
        self.stdout.write(str(backup.folder))


def _time_of_day(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%H:%M")  # noqa: DTZ007
    except ValueError:
        raise CommandError("--daily: must be a time like 03:41") from None


def _seconds_until(at: datetime, now: datetime) -> float:
    """Return how long it is until the next time that the clock shows `at`; never none."""
    today = now.replace(hour=at.hour, minute=at.minute, second=0, microsecond=0)
    due = today if today > now else today + timedelta(days=1)
    return (due - now).total_seconds()
