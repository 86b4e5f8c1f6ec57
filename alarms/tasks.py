"""Doors from the queue to routing."""

from datetime import timedelta

from celery import shared_task
from django.db import DatabaseError
from django.utils import timezone
from loguru import logger

from alarms.models import Alarm
from alarms.routing import route_pair
from operations.kept import Kept

BEFORE_SWEEPING = timedelta(seconds=1)


@shared_task
def route_alarm(alarm_id: int) -> None:
    """Route an alarm, after those of its pair that came before it."""
    pair = _WAITING.first(alarm_id)
    if pair is not None:
        route_pair(pair)


_WAITING = Kept[str](
    lambda pk: Alarm.objects.filter(pk=pk, status=Alarm.Status.RECEIVED).values_list("pair", flat=True), int
)


@shared_task
def sweep_alarms() -> None:
    """Route whatever waits, whatever became of its bell."""
    waiting = Alarm.objects.filter(status=Alarm.Status.RECEIVED, received_at__lt=timezone.now() - BEFORE_SWEEPING)
    for pair in waiting.order_by().values_list("pair", flat=True).distinct():
        try:
            route_pair(pair)
        except DatabaseError as error:
            logger.warning("pair {} waits for the next sweep: {}", pair, type(error).__name__)
