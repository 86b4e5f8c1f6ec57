"""What stands above a strategy's form and refreshes itself: its gates, what it holds, what it made, what it answered.

Strategies lie below operations and alarms, so their page names these parts by address only.
"""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.views.decorators.http import require_safe

from operations.models import Limits
from pelusa.office.gateboard import boards_of
from pelusa.office.holdings import holdings
from pelusa.office.record import (
    MOST_DECISIONS,
    MOST_OPERATIONS,
    SPAN,
    figures_of,
    last_decisions,
    last_operations,
    reasons_since,
)
from strategies.models import Strategy


def now_of(request: HttpRequest, strategy: Strategy) -> dict[str, Any]:
    """Return what changes from one alarm to the next: the gates, and what is held."""
    found: dict[str, Any] = {}
    if request.user.has_perm("alarms.view_alarm"):
        found["boards"] = boards_of(strategy, timezone.now())
    if request.user.has_perm("operations.view_operation"):
        found["holdings"] = holdings(strategy)
    if request.user.has_perm("operations.view_limits"):
        found["limits"] = limits_of(strategy)
    return found


def limits_of(strategy: Strategy) -> list[Limits]:
    """Return the rows of limits that bind the strategy, the widest first."""
    everybody = Q(account__isnull=True, strategy__isnull=True)
    return list(
        Limits.objects.filter(everybody | Q(account=strategy.account_id) | Q(strategy=strategy)).order_by(
            "strategy", "account"
        )
    )


def record_of(request: HttpRequest, strategy: Strategy) -> dict[str, Any]:
    """Return what it made and answered."""
    found: dict[str, Any] = {"most_operations": MOST_OPERATIONS, "most_decisions": MOST_DECISIONS}
    if request.user.has_perm("operations.view_operation"):
        found |= {"figures": figures_of(strategy), "operations": last_operations(strategy)}
    if request.user.has_perm("operations.view_decision"):
        reasons = reasons_since(strategy, timezone.now() - SPAN)
        is_cut = sum(each.count for each in reasons) >= MOST_DECISIONS
        found |= {"decisions": last_decisions(strategy), "reasons": reasons, "is_cut": is_cut}
    return found


PARTS = {"now": now_of, "record": record_of}


@require_safe
def part(request: HttpRequest, strategy_id: int, name: str) -> HttpResponse:
    """Answer with the HTML of one part as it is now."""
    if not request.user.has_perm("strategies.view_strategy"):
        raise PermissionDenied
    strategy = Strategy.objects.filter(pk=strategy_id).prefetch_related("legs").first()
    if strategy is None:
        raise Http404
    context = {"strategy": strategy} | PARTS[name](request, strategy)
    return TemplateResponse(request, f"pelusa/strategy/{name}.html", context)


def urls() -> list[URLPattern]:
    """Return the address of each part."""
    view = admin.site.admin_view(part)
    return [
        path(f"strategy/<int:strategy_id>/{name}/", view, {"name": name}, name=f"strategy_{name}") for name in PARTS
    ]
