"""The back office's page of health: may Pelusa trade now, does each part answer, who lives, what waits, what lags."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from exchange.backoffice import NOTHING, shown_time
from market.intervals import floor, next_open
from market.models import Series
from pelusa.doctor.page import PERMISSION as DOCTOR
from pelusa.health import health
from pelusa.monitoring.faults import AWAY
from pelusa.monitoring.models import Heartbeat
from pelusa.monitoring.vitals import read_waiting

# Whoever may see orders may know whether they can be sent
PERMISSION = "operations.view_order"
SHOWN_FOR = timedelta(hours=1)
LATE_SHOWN = 10
PARTS = {
    "database": _("Database"),
    "paper exchange": _("Paper exchange"),
    "broker": _("Broker"),
    "worker": _("Worker"),
    "beat": _("Beat"),
    "disk": _("Disk"),
    "queue": _("Queue"),
    "exchange clock": _("Exchange's clock"),
}
# Nobody is asked: what they last wrote down tells
KNOWN_FROM_ROWS = ("worker", "beat", "disk", "queue", "exchange clock")
WAITING = {
    "alarm": _("Alarm that waits to be decided on"),
    "order": _("Order that waits to be sent"),
    "in_flight": _("Order whose outcome is not known"),
}


@require_safe
def health_page(request: HttpRequest) -> HttpResponse:
    """Show the whole page, whose part keeps itself fresh."""
    context = admin.site.each_context(request) | {"title": _("Health")} | _found_for(request)
    return TemplateResponse(request, "pelusa/health.html", context)


@require_safe
def health_now(request: HttpRequest) -> HttpResponse:
    """Answer with the HTML of the part as it is now."""
    return TemplateResponse(request, "pelusa/health_now.html", _found_for(request))


def latest_for(request: HttpRequest) -> dict[str, Any]:
    """Return what this process's heart last found, for one line on another page; it costs nothing."""
    latest = {"health": health.latest(), "health_at": health.found_at}
    return latest | {"may_see_health": request.user.has_perm(PERMISSION)}


def _found_for(request: HttpRequest) -> dict[str, Any]:
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied
    now = timezone.now()
    found = health()
    return {
        "health": found,
        "parts": [
            (_name_of(name), check, not name.startswith(KNOWN_FROM_ROWS)) for name, check in found["checks"].items()
        ],
        "processes": list(_processes(now)),
        "waiting": [
            (WAITING[what], shown_time(at) if at else "", _age(at, now)) for what, at in read_waiting().items()
        ],
        "late": list(_late(now)),
        "may_examine": request.user.has_perm(DOCTOR),
    }


def _name_of(name: str) -> str:
    """Return how a person calls a part: its kind, and which of several it is."""
    kind = next((kind for kind in PARTS if name.startswith(kind)), None)
    return f"{PARTS[kind]}{name.removeprefix(kind)}" if kind else name


def _processes(now: datetime) -> Iterator[dict[str, Any]]:
    for row in Heartbeat.objects.filter(beat_at__gt=now - SHOWN_FOR):
        yield {
            "row": row,
            "lives": now - row.beat_at <= AWAY,
            "started_at": shown_time(row.started_at),
            "beat_ago": _age(row.beat_at, now),
            "worked_ago": _age(row.worked_at, now),
        }


def _late(now: datetime) -> Iterator[tuple[Series, str, timedelta]]:
    """Yield the followed series that lack most, each with its newest candle and how much of closed time is missing."""
    followed = Series.objects.filter(is_followed=True)
    lags = [(_missing(row.last_open_time, row.interval, now), row) for row in followed if row.last_open_time]
    for missing, row in sorted(lags, key=lambda lag: lag[0], reverse=True)[:LATE_SHOWN]:
        yield row, shown_time(row.last_open_time), missing


def _missing(newest: datetime, interval: str, now: datetime) -> timedelta:
    """Return how much time has closed in candles since the newest one that is stored."""
    return max(floor(now, interval) - next_open(newest, interval), timedelta())


def _age(moment: datetime | None, now: datetime) -> str:
    return str(timedelta(seconds=max(round((now - moment).total_seconds()), 0))) if moment else NOTHING


def urls() -> list[URLPattern]:
    """Return the address of the page and of its part."""
    return [
        path("health/", admin.site.admin_view(health_page), name="health_page"),
        path("health/now/", admin.site.admin_view(health_now), name="health_now"),
    ]
