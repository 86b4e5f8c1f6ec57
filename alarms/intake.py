"""Store an alarm, once. The only write that a webhook request makes, and the row is all that the rest needs.

A delivery is a redelivery when it says exactly what an earlier one said, the time that it names included: TradingView
sends the same bytes up to four times. A unique column decides which of two is first, so concurrent ones agree.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from django.db import IntegrityError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import DateTimeField
from django.utils import timezone
from loguru import logger

from alarms.messages import Message, Unreadable, read_message, signal_digest
from alarms.models import Alarm
from exchange.tallies import add
from operations.kept import GONE
from pelusa.doorbell import ring_on_commit

# By attribute name, without those that are at their default
Columns = dict[str, Any]


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
    receipt = _store_once(_columns_of(message, body, source_ip, now))
    add("alarms", outcome=receipt.status)
    if receipt.status == Alarm.Status.RECEIVED:
        ring_on_commit("alarms.tasks.route_alarm", receipt.alarm_id, using="alarms", group=message.pair)
    return receipt


def record_unreadable(body: bytes, source_ip: str, reason: str, detail: str, key: str = "") -> Receipt:
    """Keep a message that cannot be understood, with the reason; it trades nothing."""
    now = timezone.now()
    alarm_id = _insert(
        {
            "received_at": now,
            "processed_at": now,
            "source_ip": source_ip,
            "raw": _shown(body),
            "status": Alarm.Status.INVALID,
            "reason": reason,
            "detail": detail,
        }
    )
    add("alarms", outcome=Alarm.Status.INVALID)
    logger.warning("alarm {} is unreadable: {}", alarm_id, reason)
    return Receipt(alarm_id, Alarm.Status.INVALID, reason, detail, key)


def _shown(body: bytes) -> str:
    return body.decode("utf-8", errors="backslashreplace")


def alarm_of(message: Message, body: bytes, source_ip: str, now: datetime) -> Alarm:
    """Return the alarm that a message is when it arrives now; nothing is stored."""
    return Alarm(**_columns_of(message, body, source_ip, now))


def _columns_of(message: Message, body: bytes, source_ip: str, now: datetime) -> Columns:
    return {
        "received_at": now,
        "source_ip": source_ip,
        "raw": _shown(body),
        "kind": message.kind,
        "action": message.action,
        "leg": message.leg,
        "ticker": message.ticker,
        "pair": message.pair,
        "is_perpetual_only": message.is_perpetual_only,
        "interval": message.interval,
        "strategy": message.strategy,
        "quantity": message.quantity,
        "price": message.price,
        "entry_price": message.entry_price,
        "exit_price": message.exit_price,
        "alarm_time": message.alarm_time,
        "delivery_key": signal_digest(message),
    }


def _store_once(columns: Columns) -> Receipt:
    """Insert an alarm, or insert it as a redelivery; return its receipt, or its original's."""
    try:
        return Receipt(_insert(columns), Alarm.Status.RECEIVED)
    except IntegrityError:
        original = Alarm.objects.only("pk").get(delivery_key=columns["delivery_key"])
    _store_redelivery(columns, original.pk)
    return Receipt(original.pk, Alarm.Status.DUPLICATE)


def _store_redelivery(columns: Columns, original_id: int) -> None:
    as_such = {"status": Alarm.Status.DUPLICATE, "reason": "redelivery", "processed_at": columns["received_at"]}
    alarm_id = _insert({**columns, **as_such, "delivery_key": None, "original_id": original_id})
    logger.info("alarm {} is a redelivery of {}", alarm_id, original_id)


_FIELDS = [field for field in Alarm._meta.local_concrete_fields if not field.primary_key]
_DEFAULTS: Columns = {field.attname: field.get_default() for field in _FIELDS}
# The only columns whose values the drivers take in another form; asking each field costs as much as the insert
_MOMENTS = [field.attname for field in _FIELDS if isinstance(field, DateTimeField)]


def _insert(columns: Columns) -> int:
    """Insert an alarm with one statement and no transaction around it; return its id.

    A transaction and a ping before it would be four more round trips, for one row. A connection that the server ended
    meanwhile is opened anew instead, once. Were the row stored after all, its key would tell: the second attempt is
    then a redelivery of the first, and the sweep rings for it.
    """
    connection = connections["alarms"]
    try:
        return _insert_over(connection, columns)
    except OperationalError as error:
        if not GONE.intersection(error.args[:1]) or connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()
            raise
        connection.close()
        return _insert_over(connection, columns)


def _insert_over(connection: BaseDatabaseWrapper, columns: Columns) -> int:
    values = _DEFAULTS | columns
    for name in _MOMENTS:
        values[name] = connection.ops.adapt_datetimefield_value(values[name])
    with connection.cursor() as cursor:
        cursor.execute(_statement(), list(values.values()))
        return int(cursor.lastrowid)


@cache
def _statement() -> str:
    quoted = connections["alarms"].ops.quote_name
    columns = ", ".join(quoted(str(field.column)) for field in _FIELDS)
    marks = ", ".join(["%s"] * len(_FIELDS))
    return f"INSERT INTO {quoted(Alarm._meta.db_table)} ({columns}) VALUES ({marks})"  # noqa: S608 - our own names
