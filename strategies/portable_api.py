"""Export and import of strategies over the API: a document of them, and what would become of one."""

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from strategies.api import DifferenceSerializer, StrategySerializer
from strategies.importing import Act, Plan, Unreadable, carry_out, plan_import, strategies_in
from strategies.models import Strategy
from strategies.portable import FORMAT, VERSION, document_of, exportable


class PortableStrategySerializer(StrategySerializer):
    """A strategy as another installation can take it."""

    account = serializers.CharField(help_text="The account's name.")  # type: ignore[assignment]

    class Meta(StrategySerializer.Meta):
        fields = tuple(
            name for name in StrategySerializer.Meta.fields if name not in ("id", "symbol", "created_at", "updated_at")
        )
        read_only_fields: Any = ()


class DocumentSerializer(serializers.Serializer[Any]):
    """An export of strategies."""

    format = serializers.CharField(help_text=f"Always {FORMAT}.")
    version = serializers.IntegerField(help_text=f"Of the format; {VERSION} now.")
    exported_at = serializers.DateTimeField(required=False)
    strategies = PortableStrategySerializer(many=True)


class PlannedSerializer(serializers.Serializer[Any]):
    """What becomes of one strategy of a document."""

    name = serializers.CharField()
    act = serializers.ChoiceField([each.value for each in Act])
    strategy = serializers.IntegerField(
        source="strategy_id", allow_null=True, help_text="The one that is there already."
    )
    changes = DifferenceSerializer(many=True)
    problems = serializers.DictField(child=serializers.ListField(child=serializers.CharField()))


class PlanSerializer(serializers.Serializer[Any]):
    """What becomes of a document; it is possible when nothing of it is refused."""

    is_possible = serializers.BooleanField()
    strategies = PlannedSerializer(source="items", many=True)


class QuerySerializer(serializers.Serializer[Any]):
    """How to import."""

    dry_run = serializers.BooleanField(default=False, help_text="Only say what would be done.")
    as_they_were = serializers.BooleanField(
        default=False,
        help_text="Switch strategies on that were on when they were exported; else all come switched off.",
    )


class ExportView(APIView):
    """Strategies as one document."""

    queryset = Strategy.objects.all()

    @extend_schema(
        parameters=[OpenApiParameter("id", int, many=True, description="Only these; may be given several times.")],
        responses=DocumentSerializer,
    )
    def get(self, request: Request) -> Response:
        """Return all strategies, or those that are named."""
        rows = exportable(self.queryset.all())
        if "id" in request.query_params:
            rows = rows.filter(pk__in=_numbers(request.query_params.getlist("id")))
        return Response(document_of(rows, timezone.now()))


def _numbers(said: list[str]) -> Any:
    try:
        return serializers.ListField(child=serializers.IntegerField(min_value=1, max_value=2**63 - 1)).run_validation(
            said
        )
    except ValidationError as error:
        raise ValidationError({"id": error.detail}) from None


class ImportView(APIView):
    """A document of strategies, taken whole or not at all."""

    # A POST needs the right to add; an import may change as well
    queryset = Strategy.objects.all()

    @extend_schema(parameters=[QuerySerializer], request=DocumentSerializer, responses=PlanSerializer)
    def post(self, request: Request) -> Response:
        """Import the document, or with `dry_run=true` say what would become of it."""
        if not request.user.has_perm("strategies.change_strategy"):
            raise PermissionDenied
        asked = QuerySerializer(data=request.query_params)
        asked.is_valid(raise_exception=True)
        try:
            entries = strategies_in(request.data)
        except Unreadable as problem:
            raise ValidationError(str(problem)) from None
        plan = plan_import(entries, request.user, as_they_were=asked.validated_data["as_they_were"])
        if not asked.validated_data["dry_run"]:
            if not plan.is_possible:
                raise ValidationError({"strategies": _refusals(plan)})
            carry_out(plan)
        return Response(PlanSerializer(plan).data)


def _refusals(plan: Plan) -> dict[str, Any]:
    return {str(position): each.problems for position, each in enumerate(plan.items) if each.problems}
