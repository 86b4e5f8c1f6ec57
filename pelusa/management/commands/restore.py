"""`manage.py restore [FOLDER] [--check] [--overwrite]`."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from pelusa.backups.archive import Backup, NoBackup, backups, open_backup
from pelusa.backups.dumping import CannotDump
from pelusa.backups.restore import restore
from pelusa.supervisor import AlreadyRunning


class Command(BaseCommand):
    help = "Put a backup back (without FOLDER the newest of BACKUP_DIR); the kill switch is pulled afterwards."
    # There may be no table yet
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("folder", nargs="?", type=Path, metavar="FOLDER")
        parser.add_argument("--check", action="store_true", help="Read all of the backup, and change nothing.")
        parser.add_argument("--overwrite", action="store_true", help="Replace databases that hold something.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            backup = _chosen(options["folder"])
            if options["check"]:
                backup.check(settings.BACKUP_PASSPHRASE)
                self.stdout.write(f"{backup.folder} is whole")
                return
            restore(backup, settings.BACKUP_PASSPHRASE, overwrite=options["overwrite"])
        except NoBackup as error:
            raise CommandError(f"nothing was changed: {error}") from None
        except AlreadyRunning as error:
            raise CommandError(f"nothing was changed: Pelusa runs; stop it first ({error})") from None
        except (CannotDump, DatabaseError, OSError) as error:
            raise CommandError(f"not all was restored, entries stay stopped (file HALT): {error}") from None
        self.stdout.write(
            self.style.WARNING("Restored. The kill switch is pulled: compare with BingX, then release it.")
        )


def _chosen(folder: Path | None) -> Backup:
    newest = backups(settings.BACKUP_DIR)[:1]
    if folder is None and not newest:
        raise NoBackup(f"there is none in {settings.BACKUP_DIR}")
    return open_backup(folder or newest[0])
