"""Processing again is for what waits or was set aside, and never for what would trade out of order or out of time."""

from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from alarms import again
from alarms.again import NotAgain, process_again, why_not
from alarms.models import Alarm
from operations.models import Decision, Operation
from pelusa.audit.rows import AuditEntry
from pelusa.testing import DATABASES
from pelusa.tests.browsing import browser_of, page
from pelusa.tests.making import make_account, make_alarm, make_decision
from pelusa.tests.making import make_strategy as make_stored
from strategies.models import Strategy

pytestmark = pytest.mark.django_db(databases=DATABASES)


@pytest.fixture(autouse=True)
def rung(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    bells: list[int] = []
    monkeypatch.setattr(again, "ring_on_commit", lambda task, key, *, using: bells.append(key))
    return bells


@pytest.fixture
def strategy() -> Strategy:
    return make_stored(make_account())


def alarm_of(age: float = 10, **columns: Any) -> Alarm:
    now = timezone.now() - timedelta(seconds=age)
    aside = {"status": "ignored", "reason": "quarantined", "attempts": 5, "processed_at": now}
    return make_alarm(**{"received_at": now, "alarm_time": now} | aside | columns)


def press(alarm: Alarm, who: str = "trader") -> str:
    answer = browser_of(who).post(reverse("admin:alarms_alarm_again", args=[alarm.pk]), follow=True)
    return answer.content.decode()


def test_what_was_set_aside_waits_again_and_the_bell_rings(strategy: Strategy, rung: list[int]) -> None:
    alarm = alarm_of()
    assert "is being processed" in press(alarm)
    alarm.refresh_from_db()
    assert (alarm.status, alarm.reason, alarm.attempts, alarm.processed_at) == ("received", "", 0, None)
    assert rung == [alarm.pk]
    entry = AuditEntry.objects.get(act="processed_again")
    assert (entry.object_type, entry.object_id) == ("alarms.alarm", str(alarm.pk))


def test_what_still_waits_only_gets_its_bell_however_old(strategy: Strategy, rung: list[int]) -> None:
    alarm = alarm_of(age=9999, status="received", reason="", attempts=2, processed_at=None)
    press(alarm)
    alarm.refresh_from_db()
    assert (alarm.status, alarm.attempts, rung) == ("received", 2, [alarm.pk])


def test_an_order_that_is_too_old_is_refused_with_its_age(strategy: Strategy, rung: list[int]) -> None:
    alarm = alarm_of(age=strategy.max_alarm_age + 5)
    assert "seconds old" in press(alarm)
    alarm.refresh_from_db()
    assert (alarm.status, rung) == ("ignored", [])


def test_one_that_came_before_what_was_processed_since_is_refused(strategy: Strategy) -> None:
    alarm = alarm_of()
    other_leg = make_alarm(status="processed", leg="short")
    assert why_not(alarm, timezone.now()) == ""
    make_alarm(status="processed", action="close", pair=other_leg.pair)
    assert "out of order" in why_not(alarm, timezone.now())


def test_what_a_strategy_decided_on_is_refused(strategy: Strategy) -> None:
    alarm = alarm_of()
    make_decision(alarm, strategy)
    with pytest.raises(NotAgain, match="decided"):
        process_again(alarm, "maria", timezone.now())
    assert Decision.objects.count() == 1


@pytest.mark.parametrize("status", ["processed", "ignored", "invalid", "duplicate"])
def test_what_was_processed_is_refused_with_its_reason_and_not_offered(status: str, rung: list[int]) -> None:
    alarm = make_alarm(status=status, reason="decided", detail="An entry was ordered.")
    again_page = reverse("admin:alarms_alarm_again", args=[alarm.pk])
    browser = browser_of("trader")
    assert again_page not in page(browser, reverse("admin:alarms_alarm_change", args=[alarm.pk]))
    assert "An entry was ordered." in page(browser, again_page)
    assert "An entry was ordered." in press(alarm)
    alarm.refresh_from_db()
    assert (alarm.status, rung) == (status, [])


def test_without_a_strategy_or_a_time_there_is_nobody_to_ask() -> None:
    assert "No strategy answers it" in why_not(alarm_of(), timezone.now())
    make_stored(make_account())
    assert "names no time" in why_not(alarm_of(alarm_time=None), timezone.now())


def test_two_who_press_at_once_put_it_back_once(strategy: Strategy, rung: list[int]) -> None:
    one, other = (Alarm.objects.get(pk=pk) for pk in [alarm_of().pk] * 2)
    process_again(one, "maria", timezone.now())
    with pytest.raises(NotAgain, match="faster"):
        process_again(other, "ana", timezone.now())
    assert len(rung) == AuditEntry.objects.count() == 1


def test_a_link_processes_nothing_and_a_viewer_may_not(strategy: Strategy, rung: list[int]) -> None:
    alarm = alarm_of()
    assert "it may trade" in page(browser_of("trader"), reverse("admin:alarms_alarm_again", args=[alarm.pk]))
    answer = browser_of("viewer").post(reverse("admin:alarms_alarm_again", args=[alarm.pk]))
    assert answer.status_code == 403
    assert (rung, Operation.objects.count()) == ([], 0)


def test_an_audit_that_fails_leaves_the_alarm_where_it_was(strategy: Strategy, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the audit is away")

    monkeypatch.setattr(again, "tell_act", broken)
    alarm = alarm_of()
    with pytest.raises(RuntimeError):
        process_again(alarm, "maria", timezone.now())
    alarm.refresh_from_db()
    assert alarm.status == "ignored"
