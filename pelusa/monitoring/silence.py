"""Strategies that hear nothing: an alert that expired at TradingView says so to nobody."""

from datetime import datetime, timedelta

from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from alarms.models import Alarm
from operations.models import Decision, Notice
from pelusa.monitoring.faults import Fault
from pelusa.monitoring.telling import tell
from strategies.models import Strategy

SILENT, ALL_SILENT = "strategy_silent", "all_silent"


def look_for_silence() -> None:
    """Raise a notice for every strategy that hears nothing, and one for all when nothing at all comes; end them."""
    now = timezone.now()
    expecting = list(_expecting(now))
    silent = [each for each in expecting if _is_silent(each, now)]
    faults = [_fault(each) for each in silent]
    tell({SILENT, ALL_SILENT}, [*faults, *(_of_everything(expecting, now) if silent else [])])


def _expecting(now: datetime) -> "QuerySet[Strategy]":
    """Return who expects alarms now; every alarm that concerns a strategy, of either kind, leaves its decision."""
    newest = Decision.objects.filter(strategy=OuterRef("pk")).order_by("-id").values("alarm_received_at")[:1]
    rows = Strategy.objects.filter(is_active=True, expects_alarm_every__isnull=False, account__is_active=True)
    rows = rows.filter(Q(active_from=None) | Q(active_from__lte=now), Q(active_until=None) | Q(active_until__gt=now))
    return rows.annotate(heard_at=Subquery(newest))


def _waits_since(strategy: Strategy) -> datetime:
    """Return since when it waits: its last alarm, its first day, or the last time that somebody changed it."""
    known = [strategy.heard_at, strategy.active_from, strategy.updated_at]  # type: ignore[attr-defined]
    latest: datetime = max(moment for moment in known if moment)
    return latest


def _is_silent(strategy: Strategy, now: datetime) -> bool:
    return now - _waits_since(strategy) > timedelta(minutes=strategy.expects_alarm_every or 0)


def _fault(strategy: Strategy) -> Fault:
    since = f"{_waits_since(strategy):%Y-%m-%d %H:%M}"
    facts = {"strategy": strategy.name, "since": since, "minutes": strategy.expects_alarm_every}
    return Fault(SILENT, f"strategy:{strategy.pk}", facts, Notice.Level.WARNING)


def _of_everything(expecting: list[Strategy], now: datetime) -> list[Fault]:
    newest = Alarm.objects.order_by("-id").values_list("received_at", flat=True).first()
    shortest = min(each.expects_alarm_every or 0 for each in expecting)
    if newest and now - newest <= timedelta(minutes=shortest):
        return []
    return [Fault(ALL_SILENT, facts={"since": f"{newest:%Y-%m-%d %H:%M}" if newest else None, "count": len(expecting)})]
