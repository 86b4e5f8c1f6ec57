"""This machine and its settings: secrets, files, disk, brakes, and what Django's own check says."""

import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import ERROR, WARNING, CheckMessage, run_checks
from django.utils.translation import gettext as _

from operations.killswitch import all_switches, halt
from pelusa.doctor.findings import Finding, advice, danger, ok, unknown

SUBJECT = "machine"
# Less than this, and the databases and the log may stop within days; within hours
LOW_BYTES, EMPTY_BYTES = 2 * 1024**3, 300 * 1024**2
KEPT = ("secret_key", "field_encryption_key", "webhook_secret")
SHORTEST_KEY, FEWEST_CHARACTERS = 32, 8
# Said better elsewhere: the webhook judges its secrets, the databases theirs
TOLD_ELSEWHERE = {"pelusa.W003", "pelusa.E004", "pelusa.E007", "pelusa.E008"}


def examine_machine() -> list[Finding]:
    """Look at files and settings; nobody is asked."""
    secret_key = judge_secret_key(settings.SECRET_KEY)
    log: Any = settings.LOGGING["file"]
    return [*judge_checks(run_checks()), *secret_key, *_of_files(), *_of_disks(log), _of_log(log)]


def judge_checks(messages: Iterable[CheckMessage]) -> list[Finding]:
    """Turn what Django's check says into findings."""
    told = [each for each in messages if each.level >= WARNING and each.id not in TOLD_ELSEWHERE]
    if not told:
        return [ok(SUBJECT, "settings", _("Django's check has nothing to say about the settings."))]
    return [_from_check(each) for each in told]


def _from_check(message: CheckMessage) -> Finding:
    make = danger if message.level >= ERROR else advice
    return make(SUBJECT, f"check_{message.id}", message.msg, message.hint or _("See `manage.py check`."))


def judge_secret_key(key: str) -> Iterator[Finding]:
    """Complain of a SECRET_KEY that can be guessed: whoever knows it is anybody in the back office."""
    if len(key) < SHORTEST_KEY or len(set(key)) < FEWEST_CHARACTERS or "insecure" in key.lower():
        todo = _(
            "Take one from `openssl rand -hex 32`, or leave it out: one is made under var/. Everybody logs in again."
        )
        yield danger(SUBJECT, "weak_secret_key", _("SECRET_KEY can be guessed: sessions can be forged."), todo)


def _of_files() -> Iterator[Finding]:
    files = [settings.VAR_DIR / name for name in KEPT] + [Path(os.environ.get("ENV_FILE", settings.BASE_DIR / ".env"))]
    open_to_others = [path for path in files if is_open_to_others(path)]
    make = danger if settings.PELUSA_TRADING == "live" else advice
    for path in open_to_others:
        yield make(
            SUBJECT,
            "secret_file_open",
            _("Others on this machine may read %(name)s.") % {"name": path.name},
            f"chmod 600 {path.name}",
        )


def is_open_to_others(path: Path) -> bool:
    """Tell whether the group or the world may do anything with a file; one that is not there is shut."""
    try:
        return bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))
    except OSError:
        return False


def _of_disks(log: Path | None) -> list[Finding]:
    folders = {"var": Path(settings.VAR_DIR)} | ({"log": Path(log).parent} if log else {})
    return [_of_disk(name, folder) for name, folder in folders.items()]


def _of_disk(name: str, folder: Path) -> Finding:
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        sentence = _("The disk of %(name)s cannot be looked at (%(error)s).") % {"name": name, "error": error.strerror}
        return unknown(SUBJECT, "disk_unread", sentence, _("Make the folder, readable by Pelusa's user."))
    return judge_disk(name, free)


def judge_disk(name: str, free: int) -> Finding:
    """Judge the free bytes of the disk that holds a folder of ours."""
    told = _("%(free)s GiB are free on the disk of %(name)s.") % {"free": f"{free / 1024**3:.1f}", "name": name}
    if free < EMPTY_BYTES:
        return danger(SUBJECT, "disk_full", told, _("Free some now: a database that cannot write stores no alarm."))
    if free < LOW_BYTES:
        return advice(SUBJECT, "disk_low", told, _("Free some, or get a larger disk."))
    return ok(SUBJECT, "disk", told)


def _of_log(path: Path | None) -> Finding:
    if path is None:
        return ok(SUBJECT, "log", _("The log goes to the console only."))
    try:
        with Path(path).open("ab"):
            return ok(SUBJECT, "log", _("The log can be written."))
    except OSError as error:
        todo = _("Give Pelusa's user the folder of LOG_FILE, or set LOG_FILE to another.")
        return danger(
            SUBJECT,
            "log_unwritable",
            _("The log cannot be written (%(error)s).") % {"error": error.strerror},
            todo,
        )


def examine_brakes() -> list[Finding]:
    """Say which brakes are on; raises `DatabaseError`."""
    found = []
    if outside := halt():
        sentence = _("Entries are stopped by %(by)s; exits go on.") % {"by": outside.by}
        found.append(advice(SUBJECT, "halted", sentence, _("Remove it when you want entries again.")))
    for switch in all_switches():
        if switch.is_on:
            whose = switch.account.name if switch.account else _("all accounts")
            sentence = _("The kill switch of %(whose)s is on: entries are denied; exits go on.") % {"whose": whose}
            found.append(advice(SUBJECT, "kill_switch_on", sentence, _("An operator may release it when all is well.")))
    return found
