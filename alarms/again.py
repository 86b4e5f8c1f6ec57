"""Process an alarm again where that is safe: it still waits, or processing it broke and it means what it meant."""

from datetime import datetime, timedelta

from django.db import transaction
from django.utils.translation import gettext as _

from alarms.models import Alarm
from alarms.routing import signal_of, strategies_for
from exchange.acts import tell_act
from operations.models import Decision
from pelusa.doorbell import ring_on_commit
from strategies.rules import happened_at

ROUTE = "alarms.tasks.route_alarm"
QUARANTINED = "quarantined"


class NotAgain(Exception):
    """Processing it again could trade what nobody means any more; the text says why."""


def is_stuck(alarm: Alarm) -> bool:
    """Tell whether the alarm waits still, or was set aside because processing it broke."""
    return alarm.status == Alarm.Status.RECEIVED or is_set_aside(alarm)


def is_set_aside(alarm: Alarm) -> bool:
    return alarm.status == Alarm.Status.IGNORED and alarm.reason == QUARANTINED


def process_again(alarm: Alarm, user: object, now: datetime) -> None:
    """Put the alarm back among those that wait, if need be, and ring; raise `NotAgain` where that is not safe.

    What decides is the routing, as for any alarm: a strategy that answered already is not asked twice.
    """
    because = why_not(alarm, now)
    if because:
        raise NotAgain(because)
    with transaction.atomic(using="alarms"):
        if alarm.status != Alarm.Status.RECEIVED:
            _put_back(alarm)
        ring_on_commit(ROUTE, alarm.pk, using="alarms")
        # The audit lies in another database: should it fail, the alarm stays where it was
        tell_act("processed_again", alarm, who=user)


def _put_back(alarm: Alarm) -> None:
    waiting = {"status": Alarm.Status.RECEIVED, "attempts": 0, "reason": "", "detail": "", "processed_at": None}
    aside = Alarm.objects.filter(pk=alarm.pk, status=Alarm.Status.IGNORED, reason=QUARANTINED)
    if not aside.update(**waiting):
        raise NotAgain(_("Somebody was faster: it is no longer set aside."))


def why_not(alarm: Alarm, now: datetime) -> str:
    """Return why the alarm must not be processed again; empty when it may."""
    if alarm.status == Alarm.Status.RECEIVED:
        return ""
    if not is_set_aside(alarm):
        return _("It was processed already. %(detail)s") % {"detail": alarm.detail}
    if Decision.objects.filter(alarm_id=alarm.pk).exists():
        return _("A strategy has decided on it already.")
    return _why_not_any_more(alarm, now)


def _why_not_any_more(alarm: Alarm, now: datetime) -> str:
    ages = [strategy.max_alarm_age for strategy in strategies_for(alarm)]
    if not ages or alarm.alarm_time is None:
        return _("No strategy answers it, or it names no time.")
    age = now - happened_at(signal_of(alarm))
    if age > timedelta(seconds=max(ages)):
        words = _("It is %(age)s seconds old, and its strategies take %(most)s at most.")
        return words % {"age": int(age.total_seconds()), "most": max(ages)}
    if _is_overtaken(alarm):
        return _("A newer alarm of the same strategy and leg was processed since: it would come out of order.")
    return ""


def _is_overtaken(alarm: Alarm) -> bool:
    same = {"strategy": alarm.strategy, "pair": alarm.pair, "kind": alarm.kind, "leg": alarm.leg}
    newer = Alarm.objects.filter(id__gt=alarm.pk, status=Alarm.Status.PROCESSED, action__in=Alarm.Action.values, **same)
    return newer.exists()
