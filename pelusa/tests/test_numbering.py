"""R35: a new alarm never gets the number of one that was decided already, and after a restore a person says go."""

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import connections
from django.utils import timezone

from alarms.intake import record_alarm
from alarms.models import Alarm
from operations.killswitch import EVERYTHING, release
from operations.models import Decision, KillSwitch
from pelusa.numbering import keep_numbers_apart
from pelusa.testing import DATABASES, alarm_body
from pelusa.tests.making import make_alarm, make_decision, make_strategy

# Counting anew is no part of a transaction on MySQL
pytestmark = pytest.mark.django_db(databases=DATABASES, transaction=True)


@pytest.mark.parametrize("left", [0, 2], ids=["none-left", "some-left"])
def test_r35_after_a_restore_of_older_alarms_numbers_go_on_behind_those_that_are_named(left: int) -> None:
    named = restore_older_alarms(left)
    keep_numbers_apart()
    assert record_alarm(alarm_body(), "127.0.0.1").alarm_id > named


def test_r35_a_migration_notices_the_restore_by_itself() -> None:
    named = restore_older_alarms(2)
    call_command("migrate", database="alarms", verbosity=0)
    assert record_alarm(alarm_body(), "127.0.0.1").alarm_id > named
    assert KillSwitch.objects.get(scope=EVERYTHING).is_on


def test_r35_a_migration_of_the_other_databases_looks_at_nothing() -> None:
    restore_older_alarms(2)
    call_command("migrate", database="default", verbosity=0)
    call_command("migrate", database="market", verbosity=0)
    assert not KillSwitch.objects.exists()


def test_r35_entries_stop_until_a_person_releases_them_and_another_start_does_not_stop_them_again() -> None:
    restore_older_alarms(2)
    for _ in range(2):
        keep_numbers_apart()
        assert KillSwitch.objects.get(scope=EVERYTHING).is_on
    release(None, "anna", "gates compared by hand")
    keep_numbers_apart()
    assert not KillSwitch.objects.get(scope=EVERYTHING).is_on


def test_where_the_alarms_are_ahead_nothing_changes() -> None:
    make_decision(make_alarm(), make_strategy())
    newest = make_alarm()
    keep_numbers_apart()
    assert record_alarm(alarm_body(), "127.0.0.1").alarm_id == newest.pk + 1
    assert not KillSwitch.objects.exists()


def test_books_without_decisions_are_no_restore() -> None:
    keep_numbers_apart()
    make_alarm()
    keep_numbers_apart()
    assert not KillSwitch.objects.exists()


def restore_older_alarms(left: int) -> int:
    """Keep so many of five alarms, of which the last was decided yesterday; return the number that is named."""
    alarms = [make_alarm() for _ in range(5)]
    make_decision(alarms[-1], make_strategy())
    Decision.objects.update(created_at=timezone.now() - timedelta(days=1))
    Alarm.objects.filter(pk__in=[alarm.pk for alarm in alarms[left:]]).delete()
    forget_numbers()
    return int(alarms[-1].pk)


def forget_numbers() -> None:
    """Count as a restored table does: from the highest number in it."""
    with connections["alarms"].cursor() as cursor:
        if connections["alarms"].vendor == "mysql":
            cursor.execute("ALTER TABLE alarms_alarm AUTO_INCREMENT = 1")
        else:
            cursor.execute("UPDATE sqlite_sequence SET seq = (SELECT coalesce(max(id), 0) FROM alarms_alarm)")
