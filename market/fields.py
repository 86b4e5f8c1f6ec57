"""Columns of market data that the database must compare as we do."""

from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from market.intervals import INTERVALS


class IntervalField(models.CharField):
    """One of our intervals. MySQL's usual collations ignore case, and would take a minute (1m) for a month (1M)."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"max_length": 3, "choices": [(each, each) for each in INTERVALS], **options})

    def db_type(self, connection: BaseDatabaseWrapper) -> str | None:
        plain = super().db_type(connection)
        return f"{plain} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin" if connection.vendor == "mysql" else plain
