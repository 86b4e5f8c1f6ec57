"""S30: a backup is put back to the last row, under a brake, and what was sent meanwhile is not sent again."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.utils import timezone

from operations import tasks
from operations.killswitch import EVERYTHING
from operations.lifecycle import AlarmFacts, carry_out
from operations.models import KillSwitch, Notice, Order
from pelusa.audit.guard import is_guarded
from pelusa.backups import dumping
from pelusa.backups.archive import MANIFEST, backups
from pelusa.management.commands.backup import _seconds_until, _time_of_day
from pelusa.testing import DATABASES, PaperExchange, list_instruments, make_account, make_strategy
from pelusa.tests.making import AT, make_alarm, make_history
from pelusa.tests.planted import planted
from strategies.rules import Verdict

pytestmark = pytest.mark.django_db(databases=DATABASES, transaction=True)

PASSPHRASE = planted("passphrase")
OPEN = Verdict("open", "entry", {"leg": "long"})
# The kill switch, whom it tells, and who did it
MOVED_BY_A_RESTORE = {"operations_killswitch", "operations_notice", "pelusa_auditentry", "pelusa_audithead"}


@pytest.fixture(autouse=True)
def folder(settings: Any, tmp_path: Path) -> Path:
    settings.VAR_DIR = tmp_path
    settings.STATIC_ROOT = tmp_path / "static"
    settings.BACKUP_DIR, settings.BACKUP_KEEP, settings.BACKUP_PASSPHRASE = tmp_path / "backups", 3, PASSPHRASE
    return tmp_path / "backups"


def back_up(*words: str) -> Path:
    call_command("backup", *words, stdout=sys.stderr)
    [newest, *_] = backups_now()
    return newest


def backups_now() -> list[Path]:
    from django.conf import settings

    return backups(settings.BACKUP_DIR)


def rows() -> dict[str, list[tuple[Any, ...]]]:
    """Return every row of every table."""
    found = {}
    for alias in DATABASES:
        for table in connections[alias].introspection.table_names():
            with connections[alias].cursor() as cursor:
                cursor.execute(f"SELECT * FROM {connections[alias].ops.quote_name(table)}")
                found[f"{alias}.{table}"] = sorted(cursor.fetchall(), key=repr)
    return found


def drop_everything() -> None:
    """Lose all three databases."""
    for alias in DATABASES:
        if connections[alias].vendor == "mysql":
            dumping._drop_tables(alias)
        else:
            connections[alias].close()
            for file in Path(connections[alias].settings_dict["NAME"]).parent.glob(
                f"{Path(connections[alias].settings_dict['NAME']).name}*"
            ):
                file.unlink()


@pytest.fixture
def _whole_again() -> Iterator[None]:
    """Leave the tables to the next test, whatever became of this one."""
    yield
    for alias in DATABASES:
        call_command("migrate", database=alias, verbosity=0)


@pytest.mark.usefixtures("_whole_again")
def test_a_lost_server_comes_back_to_the_last_row_and_waits_for_a_person(tmp_path: Path) -> None:
    make_history(alarms=20)
    make_alarm(raw="ünïcode \\ ' \" \x00 \n %s")
    before = rows()
    back_up()
    drop_everything()
    call_command("restore", stdout=sys.stderr)
    after = rows()
    assert set(after) == set(before)
    changed = {name for name in before if after[name] != before[name]}
    assert {name.partition(".")[2] for name in changed} <= MOVED_BY_A_RESTORE
    assert KillSwitch.objects.get(scope=EVERYTHING).is_on
    assert Notice.objects.filter(kind="kill_switch_on").exists()
    assert is_guarded(connections["default"])
    assert not (tmp_path / "HALT").exists()


def test_what_was_sent_after_the_backup_is_not_sent_again(paper: PaperExchange) -> None:
    """The exchange knows no client id twice, so that only we can prevent it."""
    list_instruments()
    account = make_account()
    strategy = make_strategy(account)
    facts = AlarmFacts(make_alarm().pk, "long", timezone.now() - timedelta(seconds=1), D(50000))
    order = carry_out(strategy, facts, OPEN).orders.get()
    paper.control("faults", dedupe="none")
    folder = back_up()
    tasks.run_lane(order.lane_id)
    sent = paper.ledger()
    assert [each["status"] for each in sent] == ["FILLED"]
    call_command("restore", str(folder), "--overwrite", stdout=sys.stderr)
    assert Order.objects.get(pk=order.pk).status == "created"
    for _ in range(2):
        tasks.compare_books()
        tasks.sweep_lanes()
        tasks.sweep_in_flight()
        tasks.run_lane(order.lane_id)
    assert paper.ledger() == sent
    assert KillSwitch.objects.get(scope=EVERYTHING).is_on


def test_a_database_that_holds_something_is_replaced_on_a_plain_word_only() -> None:
    back_up()
    make_alarm()
    before = rows()
    with pytest.raises(CommandError, match=r"nothing was changed.*--overwrite"):
        call_command("restore")
    assert rows() == before


@pytest.mark.parametrize("harm", ["a bit", "a file less", "a list less", "another passphrase", "no passphrase"])
def test_a_backup_that_is_not_what_it_was_changes_nothing(harm: str, settings: Any, tmp_path: Path) -> None:
    folder = back_up()
    if harm == "a bit":
        file = next(folder.glob("alarms*"))
        content = bytearray(file.read_bytes())
        content[-20] ^= 1
        file.write_bytes(content)
    elif harm in ("a file less", "a list less"):
        next(folder.glob("candles*" if harm == "a file less" else MANIFEST)).unlink()
    else:
        settings.BACKUP_PASSPHRASE = "" if harm == "no passphrase" else PASSPHRASE + "!"
    before = rows()
    with pytest.raises(CommandError, match="nothing was changed"):
        call_command("restore", str(folder), "--overwrite")
    assert rows() == before
    assert not (tmp_path / "HALT").exists()


def test_a_restore_that_is_cut_short_leaves_the_brake_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = back_up()

    def fail(alias: str, chunks: object) -> None:
        raise dumping.CannotDump("the disk is full")

    monkeypatch.setattr("pelusa.backups.restore.load", fail)
    with pytest.raises(CommandError, match="entries stay stopped"):
        call_command("restore", str(folder), "--overwrite")
    assert folder.name in (tmp_path / "HALT").read_text()


def test_nothing_of_it_can_be_read_without_the_passphrase_and_by_nobody_else(folder: Path) -> None:
    make_alarm(raw="a message that nobody else may read")
    made = back_up()
    files = [path for path in folder.rglob("*") if path.is_file() and path.parent == made]
    assert {path.name.split(".")[0] for path in files} == {"operations", "alarms", "candles", "manifest"}
    for path in files:
        assert path.stat().st_mode & 0o077 == 0
        assert path.name == MANIFEST or path.read_bytes().startswith(b"PELUSA1\n")
    assert made.stat().st_mode & 0o077 == 0


def test_without_a_passphrase_it_says_so_and_can_be_put_back(settings: Any, capsys: pytest.CaptureFixture[str]) -> None:
    settings.BACKUP_PASSPHRASE = ""
    make_alarm(raw="kept")
    folder = back_up()
    assert "not encrypted" in capsys.readouterr().err
    call_command("restore", str(folder), "--check", stdout=sys.stderr)
    assert not json.loads((folder / MANIFEST).read_text())["is_sealed"]


def test_the_newest_are_kept_and_what_was_cut_short_is_swept_away(folder: Path) -> None:
    for day in range(1, 6):
        (folder / f"2026010{day}T000000Z").mkdir(parents=True)
    (folder / "20260109T000000Z.partial").mkdir()
    (folder / "mine").mkdir()
    made = back_up("--without-candles")
    assert backups(folder) == [made, folder / "20260105T000000Z", folder / "20260104T000000Z"]
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == [
        "20260104T000000Z",
        "20260105T000000Z",
        made.name,
        "mine",
    ]
    assert not list(made.glob("candles*"))


@pytest.mark.servers
def test_no_password_is_on_a_command_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A program in the dumper's place sees what everybody sees, and the file that only we can read."""
    spy = tmp_path / "mariadb-dump"
    spy.write_text('#!/bin/sh\necho "$@"; stat -c %a "${1#--defaults-file=}"; cat "${1#--defaults-file=}"\n')
    spy.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    password = 'pass"word\\ with #; spaces'
    monkeypatch.setitem(connections["alarms"].settings_dict, "PASSWORD", password)
    said = b"".join(dumping._dump_mysql("alarms")).decode()
    line, mode, file = said.split("\n", 2)
    assert "pass" not in line
    assert mode == "600"
    assert r'password="pass\"word\\ with #; spaces"' in file
    read = tmp_path / "client.cnf"
    read.write_text(file)
    defaults = shutil.which("my_print_defaults") or "my_print_defaults"
    understood = subprocess.run([defaults, f"--defaults-file={read}", "client"], capture_output=True, text=True)
    assert f"--password={password}" in understood.stdout


def test_people_are_told_that_a_backup_failed_until_one_is_made(settings: Any, tmp_path: Path) -> None:
    settings.BACKUP_DIR = tmp_path / "a file"
    settings.BACKUP_DIR.write_text("")
    for _ in range(2):
        with pytest.raises(CommandError, match="no backup was made"):
            call_command("backup")
    notice = Notice.objects.get(kind="backup_failed", ended_at=None)
    assert notice.facts == {"detail": "File exists"}
    settings.BACKUP_DIR = tmp_path / "backups"
    back_up()
    notice.refresh_from_db()
    assert notice.ended_at is not None


def test_a_daily_backup_waits_for_its_hour() -> None:
    assert _seconds_until(_time_of_day("10:30"), AT) == 1800
    assert _seconds_until(_time_of_day("10:00"), AT) == 86_400
    assert _seconds_until(_time_of_day("03:41"), AT) == 17 * 3600 + 41 * 60
    with pytest.raises(CommandError, match="--daily"):
        _time_of_day("noon")
