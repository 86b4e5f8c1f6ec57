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

from operations.models import Notice
from operations.notices import end_notice, raise_notice
from pelusa.backups.archive import NAMES, make_backup
from pelusa.backups.dumping import CannotDump
from pelusa.supervisor import AlreadyRunning

BACKUP_FAILED = "backup_failed"
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
        failure = self._try(aliases)
        if failure:
            raise CommandError(f"no backup was made: {failure}")

    def _each_day(self, at: datetime, aliases: list[str]) -> None:
        while True:
            time.sleep(_seconds_until(at, timezone.now()))
            self._try(aliases)
            connections.close_all()

    def _try(self, aliases: list[str]) -> str:
        """Make a backup and tell people how it went; return why there is none, or nothing."""
        try:
            self._once(aliases)
        except FAILURES as error:
            logger.critical("no backup was made: {}", error)
            _tell_people(_words(error))
            return _words(error)
        _tell_people("")
        return ""

    def _once(self, aliases: list[str]) -> None:
        backup = make_backup(
            settings.BACKUP_DIR, settings.BACKUP_PASSPHRASE, keep=settings.BACKUP_KEEP, aliases=aliases
        )
        size = sum(part.bytes for part in backup.parts)
        logger.info("backup {}: {} bytes, encrypted: {}", backup.folder, size, backup.is_sealed)
        self.stdout.write(str(backup.folder))


def _words(error: Exception) -> str:
    """Return why, without a path or a query: those are in the log."""
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    # A query may stand in a database's words, a path in what says that another backup is being made
    return str(error) if isinstance(error, CannotDump) else type(error).__name__


def _tell_people(failure: str) -> None:
    """Raise the notice of a backup that failed, or end it."""
    try:
        if failure:
            raise_notice("backup", BACKUP_FAILED, Notice.Level.WARNING, detail=failure)
        else:
            end_notice("backup", BACKUP_FAILED)
    except DatabaseError as error:
        # Most likely why there is no backup: whoever watches the database tells it
        logger.error("nobody could be told how the backup went: {}", type(error).__name__)


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
