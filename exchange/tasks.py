"""Doors from the queue to the exchange's clock."""

from celery import shared_task
from loguru import logger

from exchange import clock
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
