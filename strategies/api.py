"""Strategies over the API, each with its two legs.

A leg is an object under `long` or `short`, or null. PATCH changes the keys that are given, of a leg too, and null
removes a leg; PUT replaces everything: what is left out takes its default. A key that nobody knows is refused: a
misspelt stop loss must not be dropped in silence.
"""

from collections.abc import Mapping
from typing import Any

from django.db import models, transaction
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from exchange.conflicts import KeepsHistory
from exchange.fields import PLAIN_DECIMALS
from exchange.models import Account
from market.intervals import INTERVALS
from strategies.models import Leg, Strategy, StrategyVersion
from strategies.validation import problems
from strategies.versions import COLUMNS, keep_version, with_differences

LEGS = tuple(Leg.Name.values)
# What `strategies.validation` finds out
RESOLVED = ("symbol", "pair")


class KnownKeysOnly(serializers.ModelSerializer[Any]):
    """Refuse keys that are no fields."""

    serializer_field_mapping = PLAIN_DECIMALS

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            unknown = sorted(str(key) for key in data if key not in self.fields)
            if unknown:
                known = ", ".join(name for name, field in self.fields.items() if not field.read_only)
                raise serializers.ValidationError(
                    {key: [_("Is not known here; known are %(known)s.") % {"known": known}] for key in unknown}
                )
        return super().to_internal_value(data)


# A pattern and no list of choices: one list under five field names would become five types in a generated client
@extend_schema_field({"type": "string", "pattern": f"^({'|'.join(INTERVALS)})$", "example": "5m"})
class IntervalField(serializers.ChoiceField):
    """One of our intervals."""

    default_error_messages = {
        "invalid_choice": format_lazy(
            _("{{input!r}} is no interval: take one of {intervals}."), intervals=", ".join(INTERVALS)
        )
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(choices=INTERVALS, **options)


@extend_schema_field({"type": "string", "pattern": f"^({'|'.join(INTERVALS)})$", "default": "", "example": "1h"})
class GateIntervalField(IntervalField):
    """One of our intervals, or empty for no gate."""

    def __init__(self, **options: Any) -> None:
        super().__init__(required=False, allow_blank=True, **options)


class LegSerializer(KnownKeysOnly):
    """One half of a strategy."""

    entry_interval = IntervalField(help_text="`order open` alarms count only on it.")
    close_interval = IntervalField(help_text="`order close` alarms count only on it.")
    entry_confirmation_interval = GateIntervalField(help_text="`indicator open` alarms on it open the gate.")
    close_confirmation_interval = GateIntervalField(help_text="`indicator close` alarms on it shut the gate.")

    class Meta:
        model = Leg
        fields = (
            "entry_interval",
            "close_interval",
            "entry_confirmation_interval",
            "close_confirmation_interval",
            "pyramiding",
            "leverage",
            "margin_mode",
            "sizing",
            "size",
            "take_profit_per_order",
            "stop_loss_per_order",
            "take_profit_general",
            "stop_loss_general",
        )


class StrategySerializer(KnownKeysOnly):
    """A strategy with its legs."""

    # Without its credentials: choosing an account must not need the key that opens them
    account = serializers.PrimaryKeyRelatedField(queryset=Account.objects.defer("api_key", "api_secret"))
    long = LegSerializer(required=False, allow_null=True)
    short = LegSerializer(required=False, allow_null=True)

    class Meta:
        model = Strategy
        fields = (
            "id",
            # What a version keeps is what the API tells
            *COLUMNS,
            "created_at",
            "updated_at",
            *LEGS,
        )
        read_only_fields = ("symbol", "created_at", "updated_at")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Build the strategy as it would be, and ask what is wrong with it."""
        given = {name: value for name, value in attrs.items() if name not in LEGS}
        strategy = self._draft(given)
        legs = {name: self._leg(name, attrs) for name in LEGS}
        found = problems(strategy, [leg for leg in legs.values() if leg])
        if found:
            raise serializers.ValidationError(found)
        return {"strategy": strategy, "columns": list(given), "legs": legs, "given": attrs}

    def _draft(self, given: Mapping[str, Any]) -> Strategy:
        """Return an unsaved copy, so that a refusal leaves the stored one as it is."""
        kept: list[str] = []
        if self.instance:
            kept = ["id", *_columns(Strategy)] if self.partial else ["id", "created_at"]
        draft = Strategy(**{name: getattr(self.instance, name) for name in kept})
        draft._state.adding = self.instance is None
        for name, value in given.items():
            setattr(draft, name, value)
        return draft

    def _leg(self, name: str, attrs: Mapping[str, Any]) -> Leg | None:
        """Return the leg as it would be: changed in part by PATCH, replaced by PUT, gone when null."""
        stored = _legs_of(self.instance).get(name) if self.instance else None
        if name not in attrs:
            return stored if self.partial else None
        if attrs[name] is None:
            return None
        leg = stored if stored and self.partial else Leg(name=name, pk=stored.pk if stored else None)
        # Or the audit would take a leg that is replaced for a new one
        leg._state.adding = stored is None
        for key, value in attrs[name].items():
            setattr(leg, key, value)
        return leg

    def create(self, validated_data: dict[str, Any]) -> Strategy:
        strategy: Strategy = validated_data["strategy"]
        with transaction.atomic():
            strategy.save(force_insert=True)
            self._write_legs(strategy, validated_data)
            self._keep_version(strategy)
        return strategy

    def update(self, instance: Strategy, validated_data: dict[str, Any]) -> Strategy:
        strategy: Strategy = validated_data["strategy"]
        # A part writes only what it names, so that two of them at once do not undo each other
        columns = validated_data["columns"] if self.partial else _columns(Strategy)
        with transaction.atomic():
            strategy.save(update_fields={*columns, *RESOLVED, "updated_at"})
            self._write_legs(strategy, validated_data)
            self._keep_version(strategy)
        return strategy

    def _keep_version(self, strategy: Strategy) -> None:
        """Whoever has no request says in the context who it is, and why."""
        request = self.context.get("request")
        who = request.user if request else self.context.get("who", "")
        keep_version(strategy, who, self.context.get("note", ""))

    def _write_legs(self, strategy: Strategy, data: Mapping[str, Any]) -> None:
        """Write the legs that the request names, and of one that is changed in part only its columns that are named."""
        named = [name for name in LEGS if name in data["given"] or not self.partial]
        for name in named:
            leg: Leg | None = data["legs"][name]
            if leg is None:
                strategy.legs.filter(name=name).delete()
                continue
            leg.strategy = strategy
            columns = data["given"][name] if self.partial else _columns(Leg)
            leg.save(update_fields=list(columns) if leg.pk else None)

    def to_representation(self, instance: Strategy) -> dict[str, Any]:
        for name in LEGS:
            setattr(instance, name, _legs_of(instance).get(name))
        answer: dict[str, Any] = super().to_representation(instance)
        return answer


def _columns(model: type[models.Model]) -> list[str]:
    """Return the columns that a request may replace: the number of the version is not one."""
    names = [field.attname for field in model._meta.concrete_fields if not field.primary_key]
    return [name for name in names if name != "version"]


def _legs_of(strategy: Any) -> dict[str, Leg]:
    return {leg.name: leg for leg in strategy.legs.all()}


class DifferenceSerializer(serializers.Serializer[Any]):
    """A field that a version changed."""

    field = serializers.CharField(help_text="E.g. long.size.")
    label: Any = serializers.CharField()
    before = serializers.JSONField(allow_null=True)
    after = serializers.JSONField(allow_null=True)


class VersionSerializer(serializers.ModelSerializer[StrategyVersion]):
    """A strategy as it was from one change to the next, and what it changed of the version before."""

    strategy = serializers.DictField(source="content", help_text="As a strategy is answered, without id and times.")
    changes = DifferenceSerializer(many=True)

    class Meta:
        model = StrategyVersion
        fields = ("number", "made_by", "made_at", "note", "strategy", "changes")


class StrategyViewSet(KeepsHistory, viewsets.ModelViewSet[Strategy]):
    """Which alarms matter, when, and with how much money."""

    queryset = Strategy.objects.prefetch_related("legs")
    serializer_class = StrategySerializer
    filterset_fields = ("name", "alarm_name", "ticker", "symbol", "market", "account", "is_active")
    lookup_value_regex = "[0-9]{1,18}"
    kept_because = _("It has operations or decisions, which stay: switch it off with is_active instead.")

    @extend_schema(responses=VersionSerializer(many=True), filters=False)
    @action(detail=True, methods=["get"])
    def versions(self, request: Request, pk: str) -> Response:
        """Tell the strategy's versions, newest first, each with what it changed."""
        rows: Any = self.paginate_queryset(self.get_object().versions.all())  # type: ignore[arg-type]
        for row, changes in with_differences(rows):
            row.changes = changes  # type: ignore[attr-defined]
        return self.get_paginated_response(VersionSerializer(rows, many=True).data)
