"""Alarms over the API, each with what every strategy answered to it.

A page is made of the columns alone: model instances and their serializers would cost ten times what the database does.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, cast

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
from operations.kept import Kept
from operations.models import Decision
from strategies.reasons import explain

Row = dict[str, Any]
Answer = tuple[Any, ...]
# How many rows a page has when nobody says
USUAL: Final = 50


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


def _rows(alarms: QuerySet[Alarm]) -> QuerySet[Alarm, Row]:
    rows: QuerySet[Alarm, Row] = alarms.order_by("-id").values(*COLUMNS)
    return rows


# One row more than a page has tells whether another follows
NEWEST = Kept[Row](lambda: _rows(Alarm.objects.all())[: USUAL + 1])
BEFORE = Kept[Row](lambda pk: _rows(Alarm.objects.filter(id__lt=pk))[: USUAL + 1], int)


class EveryAlarm:
    """What the paginator asks of a queryset, of every alarm: the usual page, newest first, by SQL that is made once."""

    def __init__(self, before: int | None = None) -> None:
        self._before = before

    def order_by(self, *fields: str) -> "EveryAlarm | QuerySet[Alarm, Row]":
        return self if fields == ("-id",) else Alarm.objects.order_by(*fields).values(*COLUMNS)

    def filter(self, *, id__lt: str) -> "EveryAlarm":
        return EveryAlarm(int(id__lt))

    def __getitem__(self, wanted: slice) -> list[Row]:
        if wanted == slice(0, USUAL + 1):
            return NEWEST.all() if self._before is None else BEFORE.all(self._before)
        found = Alarm.objects.all() if self._before is None else Alarm.objects.filter(id__lt=self._before)
        return list(_rows(found)[wanted])


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
    for alarm_id, pk, strategy, outcome, reason, facts, operation in _answers(alarm_ids):
        said = {"id": pk, "strategy": strategy, "outcome": outcome, "reason": reason}
        of_alarm[alarm_id].append({**said, "detail": explain(reason, facts), "operation": operation})
    return of_alarm


def _answers_to(*alarm_ids: int) -> QuerySet[Decision, Answer]:
    columns = ("alarm_id", "id", "strategy_id", "outcome", "reason", "facts", "operation_id")
    return Decision.objects.filter(alarm_id__in=alarm_ids).order_by("id").values_list(*columns)


# A page of the usual size, or a shorter one that names an alarm again and again
ANSWERS = Kept[Answer](_answers_to, *[int] * USUAL)


def _answers(alarm_ids: list[int]) -> Iterable[Answer]:
    if not 0 < len(alarm_ids) <= USUAL:
        return _answers_to(*alarm_ids)
    return ANSWERS.all(*alarm_ids, *alarm_ids[-1:] * (USUAL - len(alarm_ids)))


def _money(amount: Decimal | None) -> str | None:
    return None if amount is None else plain(amount)


def _moment(moment: datetime | None) -> str | None:
    # The databases keep UTC, and the API speaks it
    return None if moment is None else f"{moment.isoformat().removesuffix('+00:00')}Z"


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
        chosen = self.filter_queryset(self.get_queryset())
        page = self.paginate_queryset(
            chosen.values(*COLUMNS) if chosen.query.has_filters() else cast(Any, EveryAlarm())
        )
        return self.get_paginated_response(finish_page(page or []))

    def get_object(self) -> Alarm:
        alarm = super().get_object()
        attach_decisions(alarm)
        return alarm
