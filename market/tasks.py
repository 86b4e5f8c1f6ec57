"""Doors from the queue to market data."""

from celery import shared_task
from loguru import logger

from exchange.errors import ExchangeError
from exchange.types import Market
from market import instruments


@shared_task
def refresh_instruments() -> None:
    """Refresh the lists of all products; one that cannot be read does not stop the others."""
    for market in Market:
        try:
            instruments.refresh(market)
        except ExchangeError as error:
            logger.warning("instruments of {} could not be read: {}", market, error)
