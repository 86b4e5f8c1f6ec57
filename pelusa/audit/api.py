"""The audit over the API: read only, for operators."""

from django_filters import rest_framework as filters
from rest_framework import serializers, viewsets

from pelusa.audit.rows import AuditEntry


class AuditSerializer(serializers.ModelSerializer[AuditEntry]):
    """One act; `changes` holds each field's value before and after."""

    changes = serializers.DictField(
        child=serializers.ListField(min_length=2, max_length=2), help_text="Field: [before, after]."
    )

    class Meta:
        model = AuditEntry
        fields = (
            "id",
            "at",
            "act",
            "through",
            "who",
            "user_id",
            "token",
            "address",
            "request_id",
            "object_type",
            "object_id",
            "object_name",
            "changes",
            "note",
            "entry_hash",
        )


class AuditFilter(filters.FilterSet):
    """`after` is inclusive and `before` exclusive."""

    after = filters.IsoDateTimeFilter(field_name="at", lookup_expr="gte")
    before = filters.IsoDateTimeFilter(field_name="at", lookup_expr="lt")

    class Meta:
        model = AuditEntry
        fields = ("act", "through", "who", "user_id", "object_type", "object_id", "request_id")


class AuditViewSet(viewsets.ReadOnlyModelViewSet[AuditEntry]):
    """Who did what, when, from where, and what it was before."""

    queryset = AuditEntry.objects.all()
    serializer_class = AuditSerializer
    filterset_class = AuditFilter
    lookup_value_regex = "[0-9]{1,18}"
