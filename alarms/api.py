"""Alarms over the API, each with what every strategy answered to it."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from rest_framework import serializers, viewsets

from alarms.models import Alarm
from exchange.fields import PLAIN_DECIMALS
from market.intervals import INTERVALS
from operations.api import DecisionInAlarm
from operations.models import Decision


def attach_decisions(alarms: Iterable[Alarm]) -> None:
    """Give each alarm its `decisions`, in one query for all: they live in another database, so nothing joins them."""
    alarms = list(alarms)
    of_alarm: dict[int, list[Decision]] = defaultdict(list)
    for decision in Decision.objects.filter(alarm_id__in=[alarm.pk for alarm in alarms]).order_by("id"):
        of_alarm[decision.alarm_id].append(decision)
    for alarm in alarms:
        alarm.decisions = of_alarm[alarm.pk]  # type: ignore[attr-defined]


class AlarmPage(serializers.ListSerializer[Any]):
    """A page of alarms, with the decisions on all of them read at once."""

    def to_representation(self, data: Any) -> Any:
        attach_decisions(data)
        return super().to_representation(data)


class AlarmSerializer(serializers.ModelSerializer[Alarm]):
    """One alarm as it came, and what became of it."""

    serializer_field_mapping = PLAIN_DECIMALS
    decisions = DecisionInAlarm(many=True, read_only=True)

    class Meta:
        model = Alarm
        list_serializer_class = AlarmPage
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

    def get_object(self) -> Alarm:
        alarm = super().get_object()
        attach_decisions([alarm])
        return alarm
