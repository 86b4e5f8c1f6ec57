"""The back office's sidebar and the badge that says whose money this is."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse_lazy
from django.utils.translation import gettext_lazy as _

BADGES = {
    "paper": (_("Paper money"), "info"),
    "vst": (_("Demo money (VST)"), "warning"),
    "live": (_("Real money"), "danger"),
}


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the sidebar's groups; unfold leaves out what the user may not see."""
    return [
        {"items": [_page(_("Overview"), "home", "index")]},
        _group(
            _("Trading"),
            _list(_("Strategies"), "tactic", "strategies", "strategy"),
            _list(_("Operations"), "swap_vert", "operations", "operation"),
            _at(_("Chart"), "candlestick_chart", "chart_page", "market.view_kline"),
            _list(_("Accounts"), "account_balance_wallet", "exchange", "account"),
        ),
        _group(
            _("Why"),
            _list(_("Alarms"), "notifications", "alarms", "alarm"),
            _at(_("Reasons"), "query_stats", "why", "operations.view_decision"),
            _list(_("Decisions"), "rule", "operations", "decision"),
            _list(_("Orders"), "receipt_long", "operations", "order"),
            _list(_("Fills"), "done_all", "operations", "fill"),
        ),
        _group(
            _("Safety"),
            _list(_("Kill switch"), "front_hand", "operations", "killswitch"),
            _list(_("Limits"), "shield", "operations", "limits"),
            _list(_("Notices"), "campaign", "operations", "notice"),
            _list(_("Lanes"), "traffic", "operations", "lane"),
        ),
        _group(
            _("Candles"),
            _list(_("Series"), "stacked_bar_chart", "market", "series"),
            _list(_("Backfills"), "history_toggle_off", "market", "backfill"),
            _list(_("Holes"), "data_alert", "market", "klinehole"),
            _list(_("Instruments"), "straighten", "market", "instrument"),
        ),
        _group(
            _("Money over time"),
            _list(_("Equity"), "show_chart", "exchange", "equitypoint"),
            _list(_("Wallets"), "savings", "exchange", "equitysnapshot"),
        ),
        _group(
            _("System"),
            _at(_("Health"), "monitor_heart", "health_page", "operations.view_order"),
            _at(_("Doctor"), "stethoscope", "doctor", "operations.pull_killswitch"),
            _list(_("Channels"), "send", "pelusa", "channel"),
            _list(_("Messages"), "outbox", "pelusa", "message"),
            _list(_("Users"), "person", "auth", "user"),
            _list(_("Roles"), "group", "auth", "group"),
            _list(_("API tokens"), "key", "knox", "authtoken"),
            _list(_("Address rules"), "rule_settings", "pelusa", "addressrule"),
            _list(_("Turned away"), "gpp_bad", "pelusa", "refusal"),
            _list(_("Failed log-ins"), "lock", "axes", "accessattempt"),
            _list(_("Log-ins"), "login", "axes", "accesslog"),
            _list(_("Schedules"), "schedule", "django_celery_beat", "periodictask"),
            _list(_("Audit"), "history", "pelusa", "auditentry"),
        ),
    ]


def environment_badge(request: HttpRequest) -> list[Any]:
    """Return the badge's words and colour: the ceiling for every account."""
    words, colour = BADGES[settings.PELUSA_TRADING]
    return [words, colour]


def _group(title: Any, *items: dict[str, Any]) -> dict[str, Any]:
    return {"title": title, "separator": True, "items": list(items)}


def _page(title: Any, icon: str, name: str) -> dict[str, Any]:
    return {"title": title, "icon": icon, "link": reverse_lazy(f"admin:{name}")}


def _list(title: Any, icon: str, app: str, model: str) -> dict[str, Any]:
    return _page(title, icon, f"{app}_{model}_changelist") | {"permission": _may_view(f"{app}.view_{model}")}


def _at(title: Any, icon: str, name: str, permission: str) -> dict[str, Any]:
    """Return the line of a page of our own, by the name of its address."""
    return {"title": title, "icon": icon, "link": reverse_lazy(name), "permission": _may_view(permission)}


def _may_view(permission: str) -> Callable[[HttpRequest], bool]:
    return lambda request: request.user.has_perm(permission)
