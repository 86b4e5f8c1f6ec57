"""The last day in numbers: how many alarms, decisions and orders came to what, each number a link to its rows."""

from collections import Counter
from datetime import datetime
from typing import Any

from django.db.models import Func, Model, QuerySet, Subquery
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from alarms.admin import STATUS_COLOURS
from alarms.models import Alarm
from exchange import backoffice
from operations.admin import ORDER_COLOURS, OUTCOME_COLOURS
from operations.models import Decision, Lane, Order
from operations.states import OrderStatus

# What the tiles' links filter by
SPAN_WORD = "day"


def tile_groups(request: HttpRequest, since: datetime) -> list[dict[str, Any]]:
    """Return the groups that the user may see, each with its tiles."""
    alarms = _newest(Alarm).filter(received_at__gte=since)
    decisions = _newest(Decision).filter(created_at__gte=since)
    orders = _newest(Order).filter(created_at__gte=since)
    groups = [
        _tiles(request, _("Alarms"), alarms, "status", Alarm.Status.choices, STATUS_COLOURS),
        _tiles(request, _("Decisions"), decisions, "outcome", Decision.Outcome.choices, OUTCOME_COLOURS),
        _tiles(request, _("Orders"), orders, "status", Order.STATUS_CHOICES, ORDER_COLOURS),
        _to_settle(request),
    ]
    return [group for group in groups if group]


def _newest(model: type[Model]) -> QuerySet[Any]:
    """Return the newest rows in one query: all of them are read, so the bound may be asked for within it."""
    rows = model._default_manager.order_by()
    # MAX and not the first of a sorted query: only that is a constant to MariaDB, which else walks the whole key
    newest = rows.annotate(newest=Func("pk", function="MAX")).values("newest")
    return rows.filter(pk__gt=Subquery(newest) - backoffice.ROWS_LOOKED_AT)


def _tiles(
    request: HttpRequest, title: Any, rows: QuerySet[Any], column: str, choices: Any, colours: Any
) -> dict[str, Any] | None:
    """Return one tile for each value that occurred, each a link to its rows; None when the user may not see them."""
    options = rows.model._meta
    if not request.user.has_perm(f"{options.app_label}.view_{options.model_name}"):
        return None
    # Counted here: for GROUP BY a database walks the whole index of the column
    counts = Counter(rows.values_list(column, flat=True))
    url = reverse(f"admin:{options.app_label}_{options.model_name}_changelist")
    word = column if column == "outcome" else f"{column}__exact"
    tiles = [
        {
            "label": label,
            "count": counts[value],
            "colour": colours[value],
            "url": f"{url}?{word}={value}&since={SPAN_WORD}",
        }
        for value, label in choices
        if value in counts
    ]
    is_cut = sum(counts.values()) >= backoffice.ROWS_LOOKED_AT
    return {
        "title": title,
        "tiles": tiles,
        "url": f"{url}?since={SPAN_WORD}",
        "cut_at": backoffice.ROWS_LOOKED_AT if is_cut else 0,
    }


def _to_settle(request: HttpRequest) -> dict[str, Any] | None:
    """Return what waits for an answer or a person, however old: orders in flight and frozen lanes."""
    if not (request.user.has_perm("operations.view_order") and request.user.has_perm("operations.view_lane")):
        return None
    orders = f"{reverse('admin:operations_order_changelist')}?status__exact={OrderStatus.SUBMITTED}"
    lanes = f"{reverse('admin:operations_lane_changelist')}?frozen_at__isempty=0"
    tiles = [
        _alert(_("in flight"), Order.objects.filter(status=OrderStatus.SUBMITTED).count(), orders),
        _alert(_("frozen lanes"), Lane.objects.filter(frozen_at__isnull=False).count(), lanes),
    ]
    return {"title": _("To be settled now"), "tiles": tiles, "url": orders}


def _alert(label: Any, count: int, url: str) -> dict[str, Any]:
    return {"label": label, "count": count, "colour": "warning" if count else "success", "url": url}
