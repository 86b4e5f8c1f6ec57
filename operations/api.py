"""Operations, orders, fills and decisions over the API: read by anybody with a role, closed by a trader."""

from typing import Any

from django.db.models import Prefetch
from django.utils.translation import gettext as _
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from exchange.conflicts import Conflict
from exchange.fields import PLAIN_DECIMALS
from operations.lifecycle import NothingToClose, close_by_hand
from operations.models import Decision, Fill, Operation, Order
from operations.states import OrderStatus
from strategies.reasons import explain

ORDER_FIELDS = (
    "client_order_id",
    "exchange_order_id",
    "role",
    "side",
    "order_type",
    "quantity",
    "filled_quantity",
    "avg_price",
    "trigger_price",
    "status",
    "reason",
    "code",
    "detail",
    "created_at",
    "submitted_at",
    "closed_at",
)


class OrderInOperation(serializers.ModelSerializer[Order]):
    """One instruction to the exchange, as part of its operation."""

    serializer_field_mapping = PLAIN_DECIMALS
    status = serializers.ChoiceField(choices=[(each.value, each.name) for each in OrderStatus], read_only=True)

    class Meta:
        model = Order
        fields = ("id", *ORDER_FIELDS)


class OrderSerializer(OrderInOperation):
    """One instruction to the exchange."""

    account = serializers.IntegerField(source="lane.account_id")
    market = serializers.CharField(source="lane.market")
    symbol = serializers.CharField(source="lane.symbol")

    class Meta:
        model = Order
        fields = ("id", "operation", "decision", "account", "market", "symbol", "position_side", *ORDER_FIELDS)


class OperationSerializer(serializers.ModelSerializer[Operation]):
    """One round trip of one strategy on one leg, with its orders from the first to the last."""

    serializer_field_mapping = PLAIN_DECIMALS
    position_side = serializers.ChoiceField(choices=["LONG", "SHORT"], read_only=True)
    orders = OrderInOperation(many=True, read_only=True)

    class Meta:
        model = Operation
        fields = (
            "id",
            "strategy",
            "account",
            "market",
            "symbol",
            "leg",
            "position_side",
            "status",
            "quantity",
            "held_quantity",
            "avg_entry_price",
            "avg_exit_price",
            "realised_pnl",
            "fees",
            "created_at",
            "opened_at",
            "closed_at",
            "orders",
        )


class FillSerializer(serializers.ModelSerializer[Fill]):
    """One execution of an order."""

    serializer_field_mapping = PLAIN_DECIMALS
    client_order_id = serializers.CharField(source="order.client_order_id")
    operation = serializers.IntegerField(source="order.operation_id")
    side = serializers.CharField(source="order.side")
    symbol = serializers.CharField(source="lane.symbol")

    class Meta:
        model = Fill
        fields = (
            "id",
            "order",
            "client_order_id",
            "operation",
            "symbol",
            "side",
            "exchange_trade_id",
            "price",
            "quantity",
            "fee",
            "fee_asset",
            "filled_at",
        )


class DecisionInAlarm(serializers.ModelSerializer[Decision]):
    """What one strategy answered, as part of its alarm."""

    detail = serializers.SerializerMethodField(help_text="The reason in a sentence.")

    class Meta:
        model = Decision
        fields = ("id", "strategy", "outcome", "reason", "detail", "operation")

    def get_detail(self, decision: Decision) -> str:
        return explain(decision.reason, decision.facts)


class DecisionSerializer(DecisionInAlarm):
    """What one strategy answered to one alarm, and because of what."""

    alarm = serializers.IntegerField(source="alarm_id")

    class Meta:
        model = Decision
        fields = (
            "id",
            "alarm",
            "strategy",
            "strategy_version",
            "leg",
            "outcome",
            "reason",
            "detail",
            "facts",
            "operation",
            "alarm_received_at",
            "created_at",
        )


class OperationFilter(filters.FilterSet):
    """`opened_after` is inclusive, `opened_before` is not; `live=true` is what is not yet flat."""

    live = filters.BooleanFilter(method="by_life", help_text="Not yet flat.")
    opened_after = filters.IsoDateTimeFilter(field_name="opened_at", lookup_expr="gte")
    opened_before = filters.IsoDateTimeFilter(field_name="opened_at", lookup_expr="lt")

    class Meta:
        model = Operation
        fields = ("strategy", "account", "market", "symbol", "leg", "status")

    def by_life(self, queryset: Any, name: str, value: bool) -> Any:
        return queryset.filter(status__in=Operation.LIVE) if value else queryset.exclude(status__in=Operation.LIVE)


class OrderFilter(filters.FilterSet):
    """`created_after` is inclusive, `created_before` is not."""

    account = filters.NumberFilter(field_name="lane__account_id")
    strategy = filters.NumberFilter(field_name="operation__strategy_id")
    symbol = filters.CharFilter(field_name="lane__symbol")
    created_after = filters.IsoDateTimeFilter(field_name="created_at", lookup_expr="gte")
    created_before = filters.IsoDateTimeFilter(field_name="created_at", lookup_expr="lt")

    class Meta:
        model = Order
        fields = ("operation", "decision", "client_order_id", "exchange_order_id", "role", "side", "status", "reason")


class FillFilter(filters.FilterSet):
    """`filled_after` is inclusive, `filled_before` is not."""

    operation = filters.NumberFilter(field_name="order__operation_id")
    client_order_id = filters.CharFilter(field_name="order__client_order_id")
    symbol = filters.CharFilter(field_name="lane__symbol")
    filled_after = filters.IsoDateTimeFilter(field_name="filled_at", lookup_expr="gte")
    filled_before = filters.IsoDateTimeFilter(field_name="filled_at", lookup_expr="lt")

    class Meta:
        model = Fill
        fields = ("order", "exchange_trade_id")


class DecisionFilter(filters.FilterSet):
    """`created_after` is inclusive, `created_before` is not."""

    alarm = filters.NumberFilter(field_name="alarm_id")
    created_after = filters.IsoDateTimeFilter(field_name="created_at", lookup_expr="gte")
    created_before = filters.IsoDateTimeFilter(field_name="created_at", lookup_expr="lt")

    class Meta:
        model = Decision
        fields = ("strategy", "leg", "outcome", "reason", "operation")


class OperationViewSet(viewsets.ReadOnlyModelViewSet[Operation]):
    """Round trips, from the first entry until flat."""

    queryset = Operation.objects.prefetch_related(Prefetch("orders", Order.objects.order_by("id")))
    serializer_class = OperationSerializer
    filterset_class = OperationFilter
    lookup_value_regex = "[0-9]{1,18}"
    required_permission: str | None = None

    @extend_schema(request=None, responses=OperationSerializer)
    @action(detail=True, methods=["post"], required_permission="operations.close_operation")
    def close(self, request: Request, pk: str | None = None) -> Response:
        """Order the close of this operation's share, and of nothing else; answer with the operation as it is then."""
        try:
            close_by_hand(self.get_object(), request.user)
        except NothingToClose as error:
            raise Conflict(_("Nothing is left to close: %(error)s.") % {"error": error}) from None
        return Response(self.get_serializer(self.get_object()).data)


class OrderViewSet(viewsets.ReadOnlyModelViewSet[Order]):
    """Instructions to the exchange."""

    queryset = Order.objects.select_related("lane")
    serializer_class = OrderSerializer
    filterset_class = OrderFilter
    lookup_value_regex = "[0-9]{1,18}"


class FillViewSet(viewsets.ReadOnlyModelViewSet[Fill]):
    """Executions, by the exchange's own trade ids."""

    queryset = Fill.objects.select_related("order", "lane")
    serializer_class = FillSerializer
    filterset_class = FillFilter
    lookup_value_regex = "[0-9]{1,18}"


class DecisionViewSet(viewsets.ReadOnlyModelViewSet[Decision]):
    """What strategies answered to alarms, and why."""

    queryset = Decision.objects.all()
    serializer_class = DecisionSerializer
    filterset_class = DecisionFilter
    lookup_value_regex = "[0-9]{1,18}"
