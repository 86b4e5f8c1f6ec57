"""Strategies as a document that another installation can take: the API's shape, accounts by name, nothing secret."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from exchange.backoffice import without_secrets
from strategies.models import Strategy
from strategies.versions import content_of

FORMAT, VERSION = "pelusa-strategies", 1
# Of the instrument that is listed here; found again from the ticker where it is imported
NOT_PORTABLE = ("symbol",)


def exportable(strategies: QuerySet[Strategy]) -> QuerySet[Strategy]:
    """Return the rows with all that a document needs of them: two queries."""
    whole = strategies.select_related("account").prefetch_related("legs").defer(*without_secrets("account__"))
    return whole.order_by("name")


def document_of(strategies: Iterable[Strategy], now: datetime) -> dict[str, Any]:
    """Return the document of these strategies."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "exported_at": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "strategies": [_portable(each) for each in strategies],
    }


def _portable(strategy: Strategy) -> dict[str, Any]:
    content = content_of(strategy, strategy.legs.all()) | {"account": strategy.account.name}
    return {name: value for name, value in content.items() if name not in NOT_PORTABLE}
