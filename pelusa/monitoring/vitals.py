"""Read how things stand: a dozen small questions to the databases, none of them to the exchange."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import DatabaseError
from django.db.models import Exists, Max, Min, OuterRef, Q, QuerySet
from django.utils import timezone

from alarms.models import Alarm
from exchange.models import Account, ExchangeClock
from operations.comparison import ABSENCE
from operations.killswitch import halt
from operations.models import KillSwitch, Lane, Order
from operations.states import OrderStatus
from pelusa.monitoring.models import Heartbeat
from strategies.models import Strategy


@dataclass(frozen=True, slots=True)
class Vitals:
    """How things stood at one moment; a value that could not be read is None."""

    now: datetime
    beats: dict[str, datetime] = field(default_factory=dict)
    works: dict[str, datetime | None] = field(default_factory=dict)
    accounts: Sequence[Mapping[str, Any]] = ()
    clocks: dict[str, tuple[int, datetime]] = field(default_factory=dict)
    switches: Sequence[Mapping[str, Any]] = ()
    halted: dict[str, str] | None = None
    frozen: Sequence[Mapping[str, Any]] = ()
    uncompared: Sequence[Mapping[str, Any]] = ()
    waiting: dict[str, datetime | None] = field(default_factory=dict)
    free_bytes: int | None = None

    @property
    def environments(self) -> set[str]:
        """Where the active accounts trade."""
        return {each["environment"] for each in self.accounts}


def read_vitals() -> Vitals:
    """Read everything; raises `DatabaseError` when the books do not answer."""
    now, outside = timezone.now(), halt()
    seen = Heartbeat.objects.order_by().values_list("kind").annotate(Max("beat_at"), Max("worked_at"))
    rows = list(seen)
    clocks = ExchangeClock.objects.values_list("environment", "offset_ms", "measured_at")
    lanes = _lanes_in_use(now)
    return Vitals(
        now,
        beats={kind: beat_at for kind, beat_at, _ in rows},
        works={kind: worked_at for kind, _, worked_at in rows},
        accounts=list(
            Account.objects.filter(is_active=True).values("id", "name", "environment", "may_withdraw", "rights_read_at")
        ),
        clocks={environment: (offset, at) for environment, offset, at in clocks},
        switches=list(
            KillSwitch.objects.filter(is_on=True).values("account_id", "account__name", "changed_by", "reason")
        ),
        halted={"by": outside.by, "why": outside.why} if outside else None,
        frozen=list(lanes.exclude(frozen_at=None).values("account__name", "symbol", "frozen_reason")),
        # One that was never compared is new: its first entry compares it, and if that fails it is seen to wait
        uncompared=list(lanes.filter(compared_at__lt=now - ABSENCE).values("account__name", "symbol")),
        waiting=read_waiting(),
        free_bytes=free_bytes(),
    )


def _lanes_in_use(now: datetime) -> "QuerySet[Lane]":
    """Return the lanes in which an active strategy may enter now; what becomes of the others holds nothing back."""
    strategies = Strategy.objects.filter(account=OuterRef("account"), market=OuterRef("market"), is_active=True)
    strategies = strategies.filter(Q(active_until=None) | Q(active_until__gt=now), symbol=OuterRef("symbol"))
    return Lane.objects.filter(Exists(strategies), account__is_active=True)


def read_waiting() -> dict[str, datetime | None]:
    """Return since when the oldest alarm, order to send and order in flight have waited."""
    orders = Order.objects.order_by()
    created = orders.filter(status=OrderStatus.CREATED).aggregate(at=Min("created_at"))["at"]
    submitted = orders.filter(status=OrderStatus.SUBMITTED).aggregate(at=Min("submitted_at"))["at"]
    return {"alarm": _oldest_alarm(), "order": created, "in_flight": submitted}


def _oldest_alarm() -> datetime | None:
    try:
        waiting = Alarm.objects.order_by().filter(status=Alarm.Status.RECEIVED)
        oldest: datetime | None = waiting.aggregate(at=Min("received_at"))["at"]
    except DatabaseError:
        # That this database is away is told by name elsewhere
        return None
    return oldest


def free_bytes() -> int | None:
    """Return what is free on the disk of our files."""
    try:
        return shutil.disk_usage(settings.VAR_DIR).free
    except OSError:
        return None
