"""Doors from the queue to the exchange's clock and to the equity curves."""

from celery import shared_task
from django.utils import timezone
from loguru import logger

from exchange import clock, equity
from exchange.errors import ExchangeError
from exchange.models import Account


@shared_task
def measure_clocks() -> None:
    """Measure the clock of every environment that an active account trades in."""
    for environment in (
        Account.objects.filter(is_active=True).order_by().values_list("environment", flat=True).distinct()
    ):
        try:
            clock.measure(environment)
        except ExchangeError as error:
            logger.warning("the clock of {} could not be measured: {}", environment, error)


@shared_task
def take_equity_points() -> None:
    """Note what every active account is worth; in the same five minutes a second run does nothing."""
    equity.take_points(timezone.now())


@shared_task
def thin_equity_points() -> None:
    """Drop the points that are too old to be kept every five minutes, or every hour."""
    equity.thin(timezone.now())
