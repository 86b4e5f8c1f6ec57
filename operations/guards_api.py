"""The kill switch, the limits and the notices over the API.

Pulling the switch needs less right than releasing it: who sees that something is wrong must be able to stop it.
"""

from copy import copy
from typing import Any

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema, extend_schema_serializer
from rest_framework import serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from exchange.models import Account
from operations import killswitch
from operations.models import KillSwitch, Limits, Notice
from operations.validation import problems
from strategies.api import KnownKeysOnly
from strategies.models import Strategy
from strategies.reasons import explain


def _accounts() -> QuerySet[Account]:
    # Without the credentials: the brake must also work when FIELD_ENCRYPTION_KEYS no longer fits
    return Account.objects.defer("api_key", "api_secret")


class SwitchSerializer(serializers.ModelSerializer[KillSwitch]):
    """The switch of one account, or of all (`account` null). `changed_at` is null while nobody ever touched it."""

    account_name = serializers.CharField(source="account.name", default="", read_only=True)

    class Meta:
        model = KillSwitch
        fields = ("account", "account_name", "is_on", "reason", "changed_by", "changed_at")
        extra_kwargs = {"changed_at": {"allow_null": True}}


@extend_schema_serializer(many=False)
class BrakesSerializer(serializers.Serializer[Any]):
    """Every switch, and what halts entries from outside the database."""

    is_halted = serializers.BooleanField(help_text="By PELUSA_HALT or the file HALT, whatever the switches say.")
    halted_because = serializers.CharField()
    switches = SwitchSerializer(many=True)


class MoveSerializer(serializers.Serializer[Any]):
    """Which switch to move, and why."""

    account = serializers.PrimaryKeyRelatedField(
        queryset=_accounts(), required=False, allow_null=True, help_text="Left out or null: all accounts."
    )
    reason = serializers.CharField(max_length=1000)


class KillSwitchViewSet(viewsets.GenericViewSet[KillSwitch]):
    """The hand on the brake: entries are denied, exits go on."""

    queryset = KillSwitch.objects.all()
    serializer_class = BrakesSerializer
    pagination_class = None
    filter_backends = ()
    required_permission: str | None = None

    @extend_schema(responses=BrakesSerializer)
    def list(self, request: Request) -> Response:
        """Tell every switch, the one for all first."""
        return self._state()

    @extend_schema(request=MoveSerializer, responses=BrakesSerializer)
    @action(detail=False, methods=["post"], required_permission="operations.pull_killswitch")
    def pull(self, request: Request) -> Response:
        """Deny the entries of an account, or of all; answer when none is on its way any more."""
        account, reason = self._moved(request)
        killswitch.pull(account, request.user, reason)
        return self._state()

    @extend_schema(request=MoveSerializer, responses=BrakesSerializer)
    @action(detail=False, methods=["post"], required_permission="operations.release_killswitch")
    def release(self, request: Request) -> Response:
        """Allow the entries of an account, or of all, again. The two are two switches."""
        account, reason = self._moved(request)
        killswitch.release(account, request.user, reason)
        return self._state()

    def _moved(self, request: Request) -> tuple[Account | None, str]:
        move = MoveSerializer(data=request.data)
        move.is_valid(raise_exception=True)
        return move.validated_data.get("account"), move.validated_data["reason"]

    def _state(self) -> Response:
        halt = killswitch.halt()
        because = f"{halt.by} {halt.why}".strip() if halt else ""
        state = {
            "is_halted": halt is not None,
            "halted_because": because,
            "switches": killswitch.all_switches(),
        }
        return Response(BrakesSerializer(state).data)


class LimitsSerializer(KnownKeysOnly):
    """What may be lost or risked at most: for one account, one strategy, or (both null) everything. Null: no limit."""

    account = serializers.PrimaryKeyRelatedField(queryset=_accounts(), required=False, allow_null=True)
    strategy = serializers.PrimaryKeyRelatedField(queryset=Strategy.objects.all(), required=False, allow_null=True)

    class Meta:
        model = Limits
        fields = (
            "id",
            "account",
            "strategy",
            "max_order_notional",
            "max_open_notional",
            "max_open_operations",
            "max_orders_per_day",
            "max_entries_per_minute",
            "max_daily_loss",
            "cool_down_after_loss",
            "max_price_deviation",
            "schedule",
        )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Ask what is wrong with the row as it would be."""
        limits = copy(self.instance) if self.instance else Limits()
        for name, value in attrs.items():
            setattr(limits, name, value)
        found = problems(limits)
        if found:
            raise serializers.ValidationError(found)
        return attrs | {"scope": limits.scope}

    def update(self, instance: Limits, validated_data: dict[str, Any]) -> Limits:
        for name, value in validated_data.items():
            setattr(instance, name, value)
        instance.save(update_fields=list(validated_data))
        return instance


class LimitsViewSet(viewsets.ModelViewSet[Limits]):
    """What may be lost or risked at most; all that concern an entry apply."""

    queryset = Limits.objects.all()
    serializer_class = LimitsSerializer
    filterset_fields = ("account", "strategy")
    lookup_value_regex = "[0-9]{1,18}"


class NoticeSerializer(serializers.ModelSerializer[Notice]):
    """Something that a human must know; `ended_at` is null while it is current."""

    detail = serializers.SerializerMethodField(help_text="The notice in a sentence.")

    class Meta:
        model = Notice
        fields = ("id", "kind", "level", "detail", "facts", "account", "operation", "raised_at", "ended_at")

    def get_detail(self, notice: Notice) -> str:
        return explain(notice.kind, notice.facts)


class NoticeFilter(filters.FilterSet):
    """`current=true` is what is not over; `raised_after` is inclusive."""

    current = filters.BooleanFilter(field_name="ended_at", lookup_expr="isnull", help_text="Not over yet.")
    raised_after = filters.IsoDateTimeFilter(field_name="raised_at", lookup_expr="gte")

    class Meta:
        model = Notice
        fields = ("kind", "level", "account", "operation")


class NoticeViewSet(viewsets.ReadOnlyModelViewSet[Notice]):
    """What a human must know: raised once, ended when it is over, never deleted."""

    queryset = Notice.objects.all()
    serializer_class = NoticeSerializer
    filterset_class = NoticeFilter
    lookup_value_regex = "[0-9]{1,18}"
