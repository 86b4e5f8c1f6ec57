"""The examination as a page of the back office, for whoever may pull the brake."""

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext_lazy as _

from pelusa.doctor.examine import examine
from pelusa.doctor.findings import SAFE, Level, by_subject, exit_status, verdict

# Traders and operators: who is told that something is wrong must be able to stop it
PERMISSION = "operations.pull_killswitch"
COLOURS = {Level.OK: "success", Level.ADVICE: "info", Level.UNKNOWN: "warning", Level.DANGER: "danger"}
SUBJECTS = {
    "machine": _("This machine"),
    "databases": _("Databases"),
    "queue": _("Queue"),
    "webhook": _("Webhook"),
    "proxy": _("Proxy"),
    "instruments": _("Instruments"),
    "accounts": _("Accounts"),
    "strategies": _("Strategies"),
}
WORDS = {Level.OK: _("OK"), Level.ADVICE: _("Advice"), Level.UNKNOWN: _("Unknown"), Level.DANGER: _("Danger")}


def doctor(request: HttpRequest) -> HttpResponse:
    """Examine everything and show it; the address that the browser used is the one that is knocked at."""
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied
    found = examine(address_of(request))
    lines = [
        (SUBJECTS.get(subject, subject), [(WORDS[each.level], COLOURS[each.level], each) for each in group])
        for subject, group in by_subject(found).items()
    ]
    context: dict[str, Any] = admin.site.each_context(request) | {
        "title": _("Doctor"),
        "verdict": verdict(found),
        "is_safe": exit_status(found) == SAFE,
        "subjects": lines,
    }
    return TemplateResponse(request, "pelusa/doctor.html", context)


def address_of(request: HttpRequest) -> str:
    """Return the address under which the browser reached us; its host is one of ALLOWED_HOSTS.

    A proxy's word that it ended TLS is taken even with BEHIND_TLS off: it only chooses where we knock.
    """
    is_tls = request.is_secure() or request.headers.get("X-Forwarded-Proto", "").strip().lower() == "https"
    return f"{'https' if is_tls or settings.BEHIND_TLS else 'http'}://{request.get_host()}"
