"""The audit in the back office: a page to read, and every object's history out of it."""

from collections.abc import Iterable
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist, PermissionDenied
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from exchange.backoffice import NOTHING, ByValue, Ledger, Since, time_column
from pelusa.audit.recording import history_of
from pelusa.audit.rows import AuditEntry
from pelusa.audit.watching import WATCHED
from strategies.versions import label_of

# What one page of an object's history holds
MOST_SHOWN = 200
ACTS: dict[str, tuple[str, Any]] = {
    "added": ("success", _("Added")),
    "changed": ("info", _("Changed")),
    "removed": ("danger", _("Removed")),
    "closed": ("warning", _("Closed by hand")),
    "settled": ("warning", _("Settled by hand")),
    "pulled": ("danger", _("Pulled")),
    "released": ("success", _("Released")),
    "restored": ("warning", _("Restored")),
    "started": ("info", _("Started")),
    "stopped": ("warning", _("Stopped")),
    "resumed": ("info", _("Resumed")),
    "test_alarm": ("info", _("Sent a test alarm")),
    "tested": ("info", _("Sent a test message")),
    "exported": ("info", _("Exported")),
    "processed_again": ("warning", _("Processed again")),
    "connection_tested": ("info", _("Connection tested")),
    "log_in": ("", _("Logged in")),
    "log_out": ("", _("Logged out")),
    "log_in_failed": ("danger", _("Failed to log in")),
}


class ByPerson(ByValue):
    title = _("who")
    parameter_name = "user"
    column = "user_id"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return [(str(key), name) for key, name in get_user_model().objects.values_list("pk", "username")]


class ByKind(ByValue):
    title = _("kind of object")
    parameter_name = "kind"
    column = "object_type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        parts = {label for label, watched in WATCHED.items() if watched.part_of}
        told = ("operations.Operation", "operations.KillSwitch", "market.Backfill")
        labels = [*(each for each in WATCHED if each not in parts), *told]
        return [(label.lower(), str(apps.get_model(label)._meta.verbose_name).capitalize()) for label in labels]


class ByAct(ByValue):
    title = _("act")
    parameter_name = "act"
    column = "act"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [(word, label) for word, (_colour, label) in ACTS.items()]


class SinceThen(Since):
    column = "at"


@admin.register(AuditEntry)
class AuditAdmin(Ledger):
    """Who did what, when, from where; what it was before and what after."""

    list_display = (time_column("at", _("When (UTC)")), "person", "deed", "thing", "before_and_after", "address")
    list_filter = (ByKind, ByPerson, ByAct, "through", SinceThen)
    search_fields = ("object_name", "object_id", "who", "address", "request_id", "note")
    search_help_text = _("Object, person, address, request id or note")
    fields = (
        "at",
        "who",
        "done",
        "thing",
        "before_and_after",
        "note",
        "through",
        "token",
        "address",
        "request_id",
        "entry_hash",
    )
    readonly_fields = ("done", "thing", "before_and_after")
    exported = (
        "id",
        "at",
        "through",
        "who",
        "act",
        "object_type",
        "object_id",
        "object_name",
        "changes",
        "note",
        "address",
        "request_id",
    )

    @display(description=_("Who"))
    def person(self, entry: AuditEntry) -> str:
        return entry.who or NOTHING

    @display(description=_("Act"), label={word: colour for word, (colour, _label) in ACTS.items()})
    def deed(self, entry: AuditEntry) -> tuple[str, Any]:
        return entry.act, _said(entry)

    @display(description=_("Act"))
    def done(self, entry: AuditEntry) -> Any:
        return _said(entry)

    @display(description=_("Object"))
    def thing(self, entry: AuditEntry) -> str:
        return f"{kind_of(entry)} {entry.object_name}".strip() or NOTHING

    @display(description=_("Before → after"))
    def before_and_after(self, entry: AuditEntry) -> SafeString:
        return changes_shown(entry)


def _said(entry: AuditEntry) -> Any:
    return ACTS[entry.act][1] if entry.act in ACTS else entry.act.replace("_", " ")


def kind_of(entry: AuditEntry) -> str:
    """Return what an entry is about in a word; a table that is gone keeps its label."""
    try:
        return str(apps.get_model(entry.object_type)._meta.verbose_name) if entry.object_type else ""
    except LookupError:
        return entry.object_type


def changes_shown(entry: AuditEntry) -> SafeString:
    """Return each field with what it was and what it became, and the note."""
    lines = [(_label_of(entry, name), _text(before), _text(after)) for name, (before, after) in entry.changes.items()]
    shown = format_html_join("", "<div><b>{}</b> {} → {}</div>", lines)
    note = format_html("<div>{}</div>", entry.note) if entry.note else ""
    return format_html("{}{}", shown, note) if lines or note else format_html("{}", NOTHING)


def _label_of(entry: AuditEntry, name: str) -> str:
    """Return how a person calls a field; one that is gone, or was a part's, keeps the name it was stored under."""
    try:
        if entry.object_type == "strategies.strategy":
            return label_of(name)
        return capfirst(str(apps.get_model(entry.object_type)._meta.get_field(name).verbose_name))
    except (LookupError, ValueError, FieldDoesNotExist):
        return name


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(_("yes") if value else _("no"))
    if isinstance(value, list):
        return ", ".join(map(str, value)) or NOTHING
    return NOTHING if value is None or value == "" else str(value)


def object_history(request: HttpRequest, app: str, model: str, object_id: str) -> HttpResponse:
    """Show what was done to one object, to whoever may see the object; what is removed has its history still."""
    try:
        kind = apps.get_model(app, model)
    except LookupError:
        raise Http404 from None
    if not request.user.has_perm(f"{app}.view_{model}"):
        raise PermissionDenied
    shown = Paginator(history_of(f"{app}.{model}", object_id), MOST_SHOWN).get_page(request.GET.get("page"))
    entries = list(shown)
    context = admin.site.each_context(request) | {
        "title": _("History"),
        "opts": kind._meta,
        "name": entries[0].object_name if entries else f"{kind._meta.verbose_name} {object_id}",
        "entries": [(entry, _said(entry), changes_shown(entry)) for entry in entries],
        "page": shown,
        "object_id": object_id,
        "all": reverse("admin:pelusa_auditentry_changelist"),
        "may_see_all": request.user.has_perm("pelusa.view_auditentry"),
    }
    return TemplateResponse(request, "pelusa/history.html", context)
