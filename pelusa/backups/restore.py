"""Put a backup back, and let nothing be traded on it before a person says go.

What was sent after the backup is forgotten by it: each order of ours that the books lack is found at the exchange, and
one that may have been sent is asked for before it is (operations/resume.py, operations/strangers.py). A file HALT
stands from before the first row is written until the kill switch of the restored books is pulled, so a restore that is
cut short is under a brake as well.
"""

from pathlib import Path

from django.conf import settings
from django.db import connections
from loguru import logger

from operations.killswitch import HALT_FILE, pull
from pelusa.audit.guard import raise_guard
from pelusa.backups.archive import Backup, NoBackup
from pelusa.backups.dumping import is_empty, is_in_use, load
from pelusa.processes import prepare
from pelusa.supervisor import sole_owner

WHO = "Pelusa"


def restore(backup: Backup, passphrase: str, *, overwrite: bool = False) -> None:
    """Check the backup, put every database of it back, bring them up to date and pull the kill switch.

    Raises `NoBackup` before anything is changed when it cannot be put back here, `AlreadyRunning` while Pelusa runs.
    """
    with sole_owner(settings.VAR_DIR / "supervisor.lock", patience=0):
        backup.check(passphrase)
        _judge_target(backup, overwrite)
        brake = _halt(backup)
        for part in backup.parts:
            logger.info("restoring {}", part.file)
            load(part.alias, backup.content(part, passphrase))
        prepare()
        raise_guard(connections["default"])
        why = f"the backup of {backup.folder.name} was restored: compare orders and positions with BingX first."
        pull(None, WHO, why)
        if brake:
            brake.unlink()


def _judge_target(backup: Backup, overwrite: bool) -> None:
    for part in backup.parts:
        if part.vendor != connections[part.alias].vendor:
            raise NoBackup(f"{part.file} is of {part.vendor}, and here runs {connections[part.alias].vendor}")
        if is_in_use(part.alias):
            raise NoBackup(f"somebody is connected to the database of {part.file}: stop web, worker and beat first")
        if not overwrite and not is_empty(part.alias):
            raise NoBackup(f"the database of {part.file} holds tables: say --overwrite to replace them")


def _halt(backup: Backup) -> Path | None:
    """Stop entries from outside the database; return the file, None when somebody stopped them already."""
    path = Path(settings.VAR_DIR) / HALT_FILE
    if path.exists():
        return None
    path.write_text(f"the backup of {backup.folder.name} is being restored\n")
    return path
