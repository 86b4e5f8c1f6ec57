"""Pages of a table, newest first: stable while rows are added, and as quick at the end as at the beginning."""

from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _
from django_filters.rest_framework import DjangoFilterBackend
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request

MOST = 500
LARGEST_ID = 2**63 - 1
BOOLEANS = {"true": True, "1": True, "false": False, "0": False, "": False}


class NewestFirst(CursorPagination):
    """`?limit=` rows a page (1 to 500, usually 50), `?cursor=` for the next; `?latest=true` is the newest row alone."""

    ordering = "-id"
    page_size = 50
    page_size_query_param = "limit"
    cursor_query_description = "As the page before named it."
    latest_query_param = "latest"

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any] | None:
        if self.wants_latest(request):
            return self.latest(queryset, request)
        return super().paginate_queryset(queryset, request, view)

    def wants_latest(self, request: Request) -> bool:
        text = request.query_params.get(self.latest_query_param, "").lower()
        if text not in BOOLEANS:
            raise ValidationError({self.latest_query_param: [_("Must be true or false.")]})
        return BOOLEANS[text]

    def latest(self, queryset: QuerySet[Any], request: Request) -> list[Any]:
        """Return the newest row as a page without neighbours."""
        self.request, self.cursor = request, None
        self.base_url = request.build_absolute_uri()
        self.has_next = self.has_previous = False
        self.page = list(queryset.order_by(self.ordering)[:1])
        return self.page

    def get_page_size(self, request: Request) -> int:
        """Return the page's size; a wrong one is a 400, since a silent default would look like the end of the data."""
        text = request.query_params.get(self.page_size_query_param, str(self.page_size))
        if not (text.isascii() and text.isdigit() and len(text) <= 6 and 1 <= int(text) <= MOST):
            raise ValidationError(
                {self.page_size_query_param: [_("Must be a whole number from 1 to %(most)s.") % {"most": MOST}]}
            )
        return int(text)

    def decode_cursor(self, request: Request) -> Cursor | None:
        """Read the cursor; whatever we did not write ourselves is a 400, never a query that breaks."""
        try:
            cursor = super().decode_cursor(request)
        except NotFound:
            raise self._not_ours() from None
        if cursor is not None and cursor.position is not None and not _is_id(str(cursor.position)):
            raise self._not_ours()
        return cursor

    def _not_ours(self) -> ValidationError:
        return ValidationError({self.cursor_query_param: [_("Must be one that a page named as next or previous.")]})

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        """Describe the three parameters for OpenAPI."""
        size = {"type": "integer", "minimum": 1, "maximum": MOST, "default": self.page_size}
        return [
            _parameter(self.cursor_query_param, self.cursor_query_description, {"type": "string"}),
            _parameter(self.page_size_query_param, "Rows a page.", size),
            _parameter(self.latest_query_param, "The newest row alone.", {"type": "boolean", "default": False}),
        ]

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Describe a page for OpenAPI."""
        neighbour = {"type": "string", "format": "uri", "nullable": True}
        properties = {"next": neighbour, "previous": neighbour, "results": schema}
        return {"type": "object", "required": list(properties), "properties": properties}


class NamedFilters(DjangoFilterBackend):
    """django-filter where a request names a filter; where it names none, no form is made to find nothing in it."""

    def filter_queryset(self, request: Request, queryset: Any, view: Any) -> Any:
        filterset = self.get_filterset_class(view, queryset)
        if filterset is None or request.query_params.keys().isdisjoint(filterset.base_filters):
            return queryset
        return super().filter_queryset(request, queryset, view)


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= LARGEST_ID


def _parameter(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "description": description, "schema": schema}
