"""Alarms over the API, each with what every strategy answered to it.

A page is made of the columns alone: model instances and their serializers would cost ten times what the database does.
"""

from collections import defaultdict
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from rest_framework import serializers, viewsets
from rest_framework.request import Request
from rest_framework.response import Response

from alarms.models import Alarm
from exchange.fields import PLAIN_DECIMALS
from exchange.rounding import plain
from market.intervals import INTERVALS
from operations.api import DecisionInAlarm
from operations.models import Decision
from strategies.reasons import explain

Row = dict[str, Any]


def attach_decisions(alarm: Alarm) -> None:
    """Give an alarm its `decisions`: they live in another database, so no relation reaches them."""
    alarm.decisions = list(Decision.objects.filter(alarm_id=alarm.pk).order_by("id"))  # type: ignore[attr-defined]


class AlarmSerializer(serializers.ModelSerializer[Alarm]):
    """One alarm as it came, and what became of it."""

    serializer_field_mapping = PLAIN_DECIMALS
    decisions = DecisionInAlarm(many=True, read_only=True)

    class Meta:
        model = Alarm
        fields = (
            "id",
            "received_at",
            "source_ip",
            "kind",
            "action",
            "leg",
            "ticker",
            "interval",
            "strategy",
            "quantity",
            "price",
            "entry_price",
            "exit_price",
            "alarm_time",
            "status",
            "reason",
            "detail",
            "original",
            "processed_at",
            "raw",
            "decisions",
        )


COLUMNS: Final = tuple(name for name in AlarmSerializer.Meta.fields if name != "decisions")
MONEY: Final = ("quantity", "price", "entry_price", "exit_price")
MOMENTS: Final = ("received_at", "alarm_time", "processed_at")


def finish_page(rows: list[Row]) -> list[Row]:
    """Turn rows of `COLUMNS` into what AlarmSerializer shows, with the decisions on all of them in one query."""
    decisions = read_decisions([row["id"] for row in rows])
    for row in rows:
        for name in MONEY:
            row[name] = _money(row[name])
        for name in MOMENTS:
            row[name] = _moment(row[name])
        row["decisions"] = decisions.get(row["id"], [])
    return rows


def read_decisions(alarm_ids: list[int]) -> dict[int, list[Row]]:
    """Return what strategies answered to each of these alarms, as DecisionInAlarm shows it."""
    of_alarm: dict[int, list[Row]] = defaultdict(list)
    chosen = Decision.objects.filter(alarm_id__in=alarm_ids).order_by("id")
    columns = ("alarm_id", "id", "strategy_id", "outcome", "reason", "facts", "operation_id")
    for alarm_id, pk, strategy, outcome, reason, facts, operation in chosen.values_list(*columns):
        said = {"id": pk, "strategy": strategy, "outcome": outcome, "reason": reason}
        of_alarm[alarm_id].append({**said, "detail": explain(reason, facts), "operation": operation})
    return of_alarm


def _money(amount: Decimal | None) -> str | None:
    return None if amount is None else plain(amount)


def _moment(moment: datetime | None) -> str | None:
    # The databases keep UTC, and the API speaks it
    return None if moment is None else f"{moment.replace(tzinfo=None).isoformat()}Z"


class AlarmFilter(filters.FilterSet):
    """`received_after` is inclusive, `received_before` is not."""

    interval = filters.ChoiceFilter(choices=[(each, each) for each in INTERVALS], method="exactly")
    strategy = filters.CharFilter(method="exactly")
    received_after = filters.IsoDateTimeFilter(field_name="received_at", lookup_expr="gte")
    received_before = filters.IsoDateTimeFilter(field_name="received_at", lookup_expr="lt")

    class Meta:
        model = Alarm
        fields = ("ticker", "status", "kind", "action", "leg")

    def exactly(self, queryset: QuerySet[Alarm], name: str, value: str) -> QuerySet[Alarm]:
        # MySQL takes 1m for 1M: an equality folds case there, and this test of the beginning does not
        return queryset.filter(**{name: value, f"{name}__startswith": value})


class AlarmViewSet(viewsets.ReadOnlyModelViewSet[Alarm]):
    """What TradingView posted."""

    queryset = Alarm.objects.all()
    serializer_class = AlarmSerializer
    filterset_class = AlarmFilter
    lookup_value_regex = "[0-9]{1,18}"

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Answer with a page of alarms, newest first."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()).values(*COLUMNS))
        return self.get_paginated_response(finish_page(page or []))

    def get_object(self) -> Alarm:
        alarm = super().get_object()
        attach_decisions(alarm)
        return alarm
