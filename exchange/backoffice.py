"""What the back office's pages share: ledgers that nobody types into, lists never counted, figures and times."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib.admin import AdminSite, ShowFacets, SimpleListFilter
from django.core.paginator import Paginator
from django.db.models import PROTECT, DecimalField, Model, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.views import ChangeList

from exchange.models import Account
from exchange.rounding import plain

ROWS_PER_PAGE = 50
# Where a column has no index, it is looked for among the newest rows only
ROWS_LOOKED_AT = 20_000
NOTHING = "–"
A_DAY = timedelta(days=1)


def shown_number(value: Decimal | None) -> str:
    """Return a price or quantity in full, without the column's trailing zeros."""
    return NOTHING if value is None else plain(value)


def shown_time(moment: datetime | None) -> str:
    """Return a time in UTC to the second; where milliseconds matter a story tells them."""
    return f"{moment:%Y-%m-%d %H:%M:%S}" if moment else NOTHING


class PlainDecimalField(forms.DecimalField):
    """A form's decimal without the column's trailing zeros."""

    def prepare_value(self, value: Any) -> Any:
        return plain(value) if isinstance(value, Decimal) else value


def number_column(name: str, label: Any) -> Callable[[Model], str]:
    """Return a list's column for a price or quantity."""

    @display(description=label)
    def column(row: Model) -> str:
        return shown_number(getattr(row, name))

    return column


def time_column(name: str, label: Any) -> Callable[[Model], str]:
    """Return a list's column for a time in UTC."""

    @display(description=label)
    def column(row: Model) -> str:
        return shown_time(getattr(row, name))

    return column


def without_secrets(path: str = "") -> list[str]:
    """Return what to defer so that an account, or rows that name one through `path`, are read without credentials."""
    # Decrypting is for trading: a page that lists accounts must also open when a key is lost
    return [f"{path}api_key", f"{path}api_secret"]


def is_held(row: Model) -> bool:
    """Say whether rows that must be kept point at this one: then it is switched off, never deleted."""
    relations = [each for each in row._meta.related_objects if each.on_delete is PROTECT]
    return any(each.related_model._default_manager.filter(**{each.field.name: row.pk}).exists() for each in relations)


def changed_columns(form: Any) -> list[str]:
    """Return the model's columns that a person changed in a form, so that nothing else of the row is written."""
    columns = {field.name for field in form.instance._meta.concrete_fields}
    return [name for name in form.changed_data if name in columns]


def among_newest(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Return those of the rows that are among the newest of their table: ids grow with time."""
    # Asked for by itself: with a subquery in its place MariaDB walks the whole key for a reason that is rare
    newest = rows.model._default_manager.order_by("-pk").values_list("pk", flat=True).first() or 0
    return rows.filter(pk__gt=newest - ROWS_LOOKED_AT)


def first_id_from(model: type[Model], column: str, moment: datetime) -> int:
    """Return where the ids of rows that came at `moment` or later begin; about twenty look-ups by key in a million."""
    rows = model._default_manager.order_by("pk").values_list("pk", column)
    newest = rows.reverse().first()
    if newest is None or newest[1] < moment:
        return newest[0] + 1 if newest else 0
    low, high = 0, newest[0]
    while low < high:
        middle = (low + high) // 2
        found = rows.filter(pk__gte=middle).first()
        if found is None or found[1] >= moment:
            high = middle
        else:
            low = found[0] + 1
    return low


class LookAheadPaginator(Paginator):
    """Pages of a table that is too large for COUNT(*); its template offers only the previous and the next."""

    template_name = "exchange/look_ahead_pages.html"


class LookAheadList(ChangeList):
    """A list that reads one page and one row more, whatever the table's size."""

    has_next = False

    @property
    def looked_at(self) -> int:
        """Among how many rows was looked, when something is asked that no index answers; 0 when among all."""
        return ROWS_LOOKED_AT if any(isinstance(each, Bounded) and each.value() for each in self.filter_specs) else 0

    def get_results(self, request: HttpRequest) -> None:
        """Read this page's rows; the row after them says whether another page follows."""
        start = max(self.page_num - 1, 0) * self.list_per_page
        rows = self.rows_between(start, start + self.list_per_page + 1)
        self.has_next = len(rows) > self.list_per_page
        self.result_list = rows[: self.list_per_page]
        self.result_count = self.full_result_count = len(self.result_list)
        self.can_show_all = self.multi_page = False
        self.paginator = LookAheadPaginator(self.result_list, self.list_per_page)

    def rows_between(self, start: int, stop: int) -> list[Any]:
        return list(self.queryset[start:stop])


class LargeTable(ModelAdmin):
    """Newest first, a page at a time; sorted by no column (most have no index) and no filter counted."""

    list_per_page = ROWS_PER_PAGE
    show_full_result_count = False
    sortable_by = ()
    show_facets = ShowFacets.NEVER
    list_disable_select_all = True
    list_before_template = "exchange/looked_at.html"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return LookAheadList


class Ledger(LargeTable):
    """Rows that the machine writes and people read: nothing is added, changed or deleted by hand."""

    actions: Any = None
    change_form_template = "exchange/ledger.html"
    list_after_template = "exchange/export.html"
    # Columns of the file that may be downloaded; none where there is no file
    exported: tuple[str, ...] = ()

    def __init__(self, model: type[Model], admin_site: AdminSite) -> None:
        super().__init__(model, admin_site)
        decimals = [field.name for field in model._meta.get_fields() if isinstance(field, DecimalField)]
        self.readonly_preprocess_fields = dict.fromkeys(decimals, _without_trailing_zeros)

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


def _without_trailing_zeros(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


class ByValue(SimpleListFilter):
    """A filter whose values come from a small table, so that a large one is not searched for distinct ones."""

    column = ""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(**{self.column: self.value()}) if self.value() else queryset


class Bounded(ByValue):
    """A filter by a column that has no index: it looks among the newest rows, and the page says so."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return among_newest(super().queryset(request, queryset)) if self.value() else queryset


def bounded(column: str, label: Any, choices: Iterable[tuple[str, Any]]) -> type[Bounded]:
    """Return the filter by one of a column's choices, asked for as Django's own would be."""

    class ByChoice(Bounded):
        title = label
        # Django takes a path through relations only from filters of its own
        parameter_name = f"{column.rpartition('__')[2]}__exact"

        def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
            return choices

    ByChoice.column = column
    return ByChoice


class ByAccount(ByValue):
    title = _("account")
    parameter_name = "account"
    column = "account"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return [(str(key), name) for key, name in Account.objects.values_list("pk", "name")]


class Since(SimpleListFilter):
    """How long ago `column` was."""

    title = _("time")
    parameter_name = "since"
    column = ""
    # Rows come in the order of their times, give or take a day: then ids say where the span begins
    is_in_order = False
    spans = {
        "hour": (_("Last hour"), timedelta(hours=1)),
        "day": (_("Last 24 hours"), timedelta(days=1)),
        "week": (_("Last 7 days"), timedelta(days=7)),
        "month": (_("Last 30 days"), timedelta(days=30)),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [(word, label) for word, (label, _span) in self.spans.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        _label, span = self.spans.get(self.value() or "", ("", None))
        if span is None:
            return queryset
        moment = timezone.now() - span
        if self.is_in_order:
            queryset = queryset.filter(pk__gte=first_id_from(queryset.model, self.column, moment - A_DAY))
        return queryset.filter(**{f"{self.column}__gte": moment})
