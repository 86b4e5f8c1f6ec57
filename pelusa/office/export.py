"""A list as a file: the rows that its filters show, newest first, streamed block by block."""

import csv
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import BadRequest, PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from exchange.backoffice import Ledger
from exchange.rounding import plain
from pelusa.actors import SYSTEM, current_actor
from pelusa.audit.chain import append
from pelusa.sheets import neutral

# The list's template says so too
MOST_ROWS = 50_000
BLOCK = 2_000
MOST_SAID = 1_000

Row = tuple[Any, ...]


@require_POST
def export(request: HttpRequest, app: str, model: str) -> HttpResponseBase:
    """Send what the list shows to whoever may see it, as CSV or JSON; it is written down before the first row."""
    page = _page_of(app, model)
    if not page.has_view_permission(request):
        raise PermissionDenied
    kind = request.POST.get("format", "")
    if kind not in WRITERS:
        raise BadRequest(_("format is csv or json"))
    rows = rows_of(_filtered(page, request), page.exported)
    said = f"{kind} {request.GET.urlencode()}".strip()[:MOST_SAID]
    append(
        current_actor() or SYSTEM, "exported", object_type=f"{app}.{model}", object_name=str(_name_of(page)), note=said
    )
    content_type, write = WRITERS[kind]
    answer = StreamingHttpResponse(write(page.exported, rows), content_type=content_type)
    answer["Content-Disposition"] = f'attachment; filename="{model}-{timezone.now():%Y%m%dT%H%M%SZ}.{kind}"'
    return answer


def _page_of(app: str, model: str) -> Ledger:
    """Return the page of a list that may be exported."""
    try:
        page = admin.site._registry.get(apps.get_model(app, model))
    except LookupError:
        raise Http404 from None
    if not isinstance(page, Ledger) or not page.exported:
        raise Http404
    return page


def _name_of(page: Ledger) -> Any:
    return page.opts.verbose_name_plural


def _filtered(page: Ledger, request: HttpRequest) -> QuerySet[Any]:
    try:
        found: QuerySet[Any] = page.get_changelist_instance(request).queryset
    except IncorrectLookupParameters as error:
        raise BadRequest(_("no such filter")) from error
    return found


def rows_of(queryset: QuerySet[Any], columns: tuple[str, ...], most: int = MOST_ROWS) -> Iterator[Row]:
    """Yield the newest rows' columns, `most` at most: block by block along the key, so that nothing is read twice."""
    newest, left = queryset.order_by("-pk"), most
    last = None
    while left:
        block = newest.filter(pk__lt=last) if last is not None else newest
        rows = list(block.values_list("pk", *columns)[: min(BLOCK, left)])
        yield from (values for _key, *values in rows)
        if len(rows) < min(BLOCK, left):
            return
        last, left = rows[-1][0], left - len(rows)


def value_of(value: Any) -> Any:
    """Return a value as JSON holds it: times in ISO and UTC, money as a string with all its digits. Pure."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return plain(value) if isinstance(value, Decimal) else value


def cell_of(value: Any) -> str:
    """Return a value as a cell that no spreadsheet reckons with; numbers stay numbers. Pure."""
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, dict | list):
        return neutral(json.dumps(value, ensure_ascii=False))
    if isinstance(value, bool):
        return "true" if value else "false"
    return neutral(value_of(value))


class _Line:
    """A file of one line, for the CSV writer."""

    def write(self, text: str) -> str:
        return text


def as_csv(columns: tuple[str, ...], rows: Iterator[Row]) -> Iterator[str]:
    writer = csv.writer(_Line())
    # With the mark spreadsheets read UTF-8
    yield "\ufeff" + writer.writerow(columns)
    for row in rows:
        yield writer.writerow([cell_of(value) for value in row])


def as_json(columns: tuple[str, ...], rows: Iterator[Row]) -> Iterator[str]:
    before = "[\n"
    for row in rows:
        members = {name: value_of(value) for name, value in zip(columns, row, strict=True)}
        yield before + json.dumps(members, ensure_ascii=False)
        before = ",\n"
    yield "\n]\n" if before == ",\n" else "[]\n"


Writer = Callable[[tuple[str, ...], Iterator[Row]], Iterator[str]]
WRITERS: dict[str, tuple[str, Writer]] = {
    "csv": ("text/csv; charset=utf-8", as_csv),
    "json": ("application/json", as_json),
}


def urls() -> list[URLPattern]:
    """Return the address of every list's file."""
    return [path("export/<slug:app>/<slug:model>/", admin.site.admin_view(export), name="export")]
