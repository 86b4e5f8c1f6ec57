"""How far the exchange's clock is from ours: measured every half minute, kept for every process."""

from datetime import timedelta

from django.utils import timezone
from loguru import logger

from exchange.connection import connect_to
from exchange.models import ExchangeClock

# Further apart than this, no entry is sent
TOLERANCE = timedelta(seconds=1)


def measure(environment: str) -> timedelta:
    """Measure and keep the offset (theirs minus ours). Raises an exchange's error when it does not answer."""
    offset = connect_to(environment).measure_clock()
    columns = {"offset_ms": round(offset / timedelta(milliseconds=1)), "measured_at": timezone.now()}
    ExchangeClock.objects.update_or_create(environment=environment, defaults=columns)
    if abs(offset) > TOLERANCE:
        logger.error("the clock of {} is {} ms from ours: set this server's clock", environment, columns["offset_ms"])
    return offset


def known_offset(environment: str) -> timedelta:
    """Return the offset as last measured; nothing when it never was."""
    found = ExchangeClock.objects.filter(environment=environment).values_list("offset_ms", flat=True).first()
    return timedelta(milliseconds=found or 0)
