"""Store an alarm, once. The only write that a webhook request makes, and the row is all that the rest needs.

A delivery is a redelivery when it says exactly what an earlier one said, the time that it names included: TradingView
sends the same bytes up to four times. A unique column decides which of two is first, so concurrent ones agree.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import cache

from django.db import IntegrityError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone
from loguru import logger

from alarms.messages import Message, Unreadable, read_message, signal_digest
from alarms.models import Alarm
from pelusa.doorbell import ring_on_commit


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a delivery: the alarm's id (the original's for a redelivery), its status and why."""

    alarm_id: int
    status: str
    reason: str = ""
    detail: str = ""
    key: str = ""


def record_alarm(body: bytes, source_ip: str) -> Receipt:
    """Store a delivery whose secret was taken out already; return its receipt.

    Raises only what the database raises; then nothing is known to be stored and the sender must send again.
    """
    now = timezone.now()
    try:
        message = read_message(body)
    except Unreadable as problem:
        return record_unreadable(body, source_ip, problem.reason, problem.detail, problem.key or "")
    alarm = alarm_of(message, body, source_ip, now)
    original = _store_once(alarm)
    if original:
        return Receipt(original.pk, Alarm.Status.DUPLICATE)
    ring_on_commit("alarms.tasks.route_alarm", alarm.pk, using="alarms", group=alarm.pair)
    return Receipt(alarm.pk, Alarm.Status.RECEIVED)


def record_unreadable(body: bytes, source_ip: str, reason: str, detail: str, key: str = "") -> Receipt:
    """Keep a message that cannot be understood, with the reason; it trades nothing."""
    now = timezone.now()
    alarm = Alarm(
        received_at=now,
        processed_at=now,
        source_ip=source_ip,
        raw=_shown(body),
        status=Alarm.Status.INVALID,
        reason=reason,
        detail=detail,
    )
    _insert(alarm)
    logger.warning("alarm {} is unreadable: {}", alarm.pk, reason)
    return Receipt(alarm.pk, Alarm.Status.INVALID, reason, detail, key)


def _shown(body: bytes) -> str:
    return body.decode("utf-8", errors="backslashreplace")


def alarm_of(message: Message, body: bytes, source_ip: str, now: datetime) -> Alarm:
    """Return the alarm that a message is when it arrives now; nothing is stored."""
    return Alarm(
        received_at=now,
        source_ip=source_ip,
        raw=_shown(body),
        kind=message.kind,
        action=message.action,
        leg=message.leg,
        ticker=message.ticker,
        pair=message.pair,
        is_perpetual_only=message.is_perpetual_only,
        interval=message.interval,
        strategy=message.strategy,
        quantity=message.quantity,
        price=message.price,
        entry_price=message.entry_price,
        exit_price=message.exit_price,
        alarm_time=message.alarm_time,
        delivery_key=signal_digest(message),
    )


def _store_once(alarm: Alarm) -> Alarm | None:
    """Insert the alarm and return None, or insert it as a redelivery and return its original."""
    try:
        _insert(alarm)
        return None
    except IntegrityError:
        original = Alarm.objects.get(delivery_key=alarm.delivery_key)
    _store_redelivery(alarm, original)
    return original


def _store_redelivery(alarm: Alarm, original: Alarm) -> None:
    alarm.pk = None
    alarm.delivery_key = None
    alarm.original = original
    alarm.status = Alarm.Status.DUPLICATE
    alarm.reason = "redelivery"
    alarm.processed_at = alarm.received_at
    _insert(alarm)
    logger.info("alarm {} is a redelivery of {}", alarm.pk, original.pk)


# What a driver says of a connection that ended, mostly before it was used again. Were the row stored after all, its key
# would tell: the second attempt is then a redelivery of the first, and the sweep rings for it
_GONE = {2006, 2013, 4031}
_FIELDS = [field for field in Alarm._meta.local_concrete_fields if not field.primary_key]


def _insert(alarm: Alarm) -> None:
    """Insert an alarm with one statement and no transaction around it, and give it its id.

    A transaction and a ping before it would be four more round trips, for one row. A connection that the server ended
    meanwhile is opened anew instead, once.
    """
    connection = connections["alarms"]
    try:
        _insert_over(connection, alarm)
    except OperationalError as error:
        if not _GONE.intersection(error.args[:1]) or connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()
            raise
        connection.close()
        _insert_over(connection, alarm)


def _insert_over(connection: BaseDatabaseWrapper, alarm: Alarm) -> None:
    values = [field.get_db_prep_save(getattr(alarm, field.attname), connection) for field in _FIELDS]
    with connection.cursor() as cursor:
        cursor.execute(_statement(), values)
        alarm.pk = cursor.lastrowid


@cache
def _statement() -> str:
    quoted = connections["alarms"].ops.quote_name
    columns = ", ".join(quoted(str(field.column)) for field in _FIELDS)
    marks = ", ".join(["%s"] * len(_FIELDS))
    return f"INSERT INTO {quoted(Alarm._meta.db_table)} ({columns}) VALUES ({marks})"  # noqa: S608 - our own names
