"""The back office's first page: what every account is worth, what is held, what is wrong, what the last alarms became.

It is read in the morning on a phone, so the first answer holds what matters and costs a dozen queries; it then keeps
itself fresh in three parts, each asked for by itself.
"""

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from alarms.admin import lines_of
from alarms.models import Alarm
from operations.killswitch import all_switches, halt
from operations.models import Notice
from pelusa.office.health_page import latest_for
from pelusa.office.holdings import holdings
from pelusa.office.tiles import tile_groups
from pelusa.office.worth import account_cards
from strategies.reasons import explain

ALARMS_SHOWN = 10
NOTICES_SHOWN = 10
SPAN = timedelta(days=1)


def first_page(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add what the page shows at once, as far as the user may see it; no query grows with the tables."""
    return context | {"title": _("Overview")} | now_of(request) | accounts_of(request)


def now_of(request: HttpRequest) -> dict[str, Any]:
    """Return what changes from one moment to the next: health, the brake, what is wrong, what is held."""
    found: dict[str, Any] = latest_for(request)
    if request.user.has_perm("operations.view_killswitch"):
        found |= {"switches": [switch for switch in all_switches() if switch.is_on], "halt": halt()}
    if request.user.has_perm("operations.view_notice"):
        found["troubles"] = [(each, explain(each.kind, each.facts)) for each in _current_notices()]
    if request.user.has_perm("operations.view_operation"):
        found["holdings"] = holdings()
    return found


def _current_notices() -> "QuerySet[Notice]":
    current = Notice.objects.filter(ended_at__isnull=True, current_key__isnull=False)
    return current.exclude(level=Notice.Level.INFO).order_by("-id")[:NOTICES_SHOWN]


def accounts_of(request: HttpRequest) -> dict[str, Any]:
    """Return each account's card, which changes every few minutes."""
    if not request.user.has_perm("exchange.view_account"):
        return {}
    return {"cards": account_cards(timezone.now())}


def alarms_of(request: HttpRequest) -> dict[str, Any]:
    """Return the last alarms with what became of each, and the last day in numbers."""
    found: dict[str, Any] = {"tile_groups": tile_groups(request, timezone.now() - SPAN)}
    if request.user.has_perm("alarms.view_alarm"):
        found["last_alarms"] = lines_of(Alarm.objects.order_by("-id")[:ALARMS_SHOWN])
    return found


PARTS = {"now": now_of, "accounts": accounts_of, "alarms": alarms_of}


@require_safe
def part(request: HttpRequest, name: str) -> HttpResponse:
    """Answer with the HTML of one part as it is now."""
    if not request.user.is_authenticated:
        raise PermissionDenied
    return TemplateResponse(request, f"pelusa/overview/{name}.html", PARTS[name](request))


def urls() -> list[URLPattern]:
    """Return the address of each part."""
    view = admin.site.admin_view(part)
    return [path(f"overview/{name}/", view, {"name": name}, name=f"overview_{name}") for name in PARTS]
