"""The back office of who may ask: rules about addresses, who was turned away, who logged in and who failed to."""

from typing import Any
from urllib.parse import urlencode

import axes.admin  # noqa: F401  it registers what is replaced below
from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.conf import settings
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.decorators import display

from exchange.backoffice import Ledger, Since, changed_columns, time_column
from pelusa.address_forms import AddressRuleForm, Change
from pelusa.addresses import Rule, Rules, merged
from pelusa.gatekeeping import environment_rules
from pelusa.models import AddressRule, Refusal, stored_rules
from pelusa.refusals import OTHERS, UNKNOWN
from strategies.reason_names import name_of

SURE = "_sure"

# Importing axes' admin registered its own; the log of failures is not written, attempts and refusals tell them
for _model in (AccessAttempt, AccessLog, AccessFailureLog):
    admin.site.unregister(_model)


@admin.register(AddressRule)
class AddressRuleAdmin(ModelAdmin):
    """Rules beside those of the environment; a change holds within five seconds in every process."""

    form = AddressRuleForm
    list_display = ("prefix", "ruling", "shown_entries", "is_enabled", "note")
    list_filter = ("verdict", "is_enabled")
    list_before_template = "pelusa/environment_rules.html"
    compressed_fields = False
    when_empty = _("Only the rules of the environment, above, are in force.")
    # One at a time: each is asked about
    actions: Any = None

    @display(description=_("Verdict"), label={"allow": "success", "deny": "danger"})
    def ruling(self, row: AddressRule) -> tuple[str, Any]:
        return row.verdict, row.get_verdict_display()

    @display(description=_("Addresses"))
    def shown_entries(self, row: AddressRule) -> str:
        return ", ".join(row.entries.split())

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """List the rules below those of the environment, which no page changes."""
        # Not `environment`: the badge in the page's head is called so
        own = {"lines_of_environment": environment_lines(), "observes_only": settings.IP_OBSERVE_ONLY}
        return super().changelist_view(request, (extra_context or {}) | own)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Store a rule; one that shuts out its author, or lets everybody in, asks first."""
        if request.method == "POST" and SURE not in request.POST:
            dangers = self._dangers(request, object_id)
            if dangers:
                return self._ask(request, dangers)
        return super().changeform_view(request, object_id, form_url, extra_context)

    def _dangers(self, request: HttpRequest, object_id: str | None) -> list[Any]:
        """Return what the posted rule would do that nobody wants; nothing when it would not be stored."""
        row = self.get_object(request, object_id) if object_id else None
        may = self.has_change_permission(request, row) if object_id else self.has_add_permission(request)
        form = self.get_form(request, row, change=row is not None)(request.POST, instance=row)
        if not may or (object_id and row is None) or not form.is_valid():
            return []
        return change_of(request, form.instance).dangers()

    def _ask(self, request: HttpRequest, dangers: list[Any]) -> HttpResponse:
        posted = [(name, value) for name, values in request.POST.lists() for value in values]
        context = self.admin_site.each_context(request) | {
            "title": _("Are you sure?"),
            "opts": self.opts,
            "dangers": dangers,
            "posted": [pair for pair in posted if pair[0] != "csrfmiddlewaretoken"],
            "sure": SURE,
        }
        return TemplateResponse(request, "pelusa/sure.html", context)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Ask, as every deletion does, and say what would follow."""
        row = self.get_object(request, object_id)
        if request.method == "GET" and row and self.has_delete_permission(request, row):
            row.is_enabled = False
            for danger in change_of(request, row).dangers():
                self.message_user(request, danger, messages.WARNING)
        return super().delete_view(request, object_id, extra_context)

    def save_model(self, request: HttpRequest, obj: AddressRule, form: Any, change: bool) -> None:
        obj.save(update_fields=changed_columns(form) if change else None)


def change_of(request: HttpRequest, row: AddressRule) -> Change:
    """Return what storing the row as it is would change for whoever asks."""
    environment = environment_rules()
    others = environment.beside(stored_rules(without=row.pk or 0))
    own = _rules_of(row)
    return Change(
        before=environment.beside(stored_rules()),
        after=others.beside(own),
        author=request.client_address,  # type: ignore[attr-defined]
        path=reverse("admin:pelusa_addressrule_changelist"),
        rule=row.rule if row.is_enabled else None,
        allows=row.verdict == AddressRule.Verdict.ALLOW,
    )


def _rules_of(row: AddressRule) -> Rules:
    if not row.is_enabled:
        return Rules()
    own = merged([row.rule])
    return Rules(deny=own) if row.verdict == AddressRule.Verdict.DENY else Rules(allow=own)


def environment_lines() -> list[tuple[str, str, str]]:
    """Return each rule of the environment as its setting, its prefix and its addresses."""
    rules = environment_rules()
    return [*_lines("IP_ALLOW", rules.allow), *_lines("IP_DENY", rules.deny)]


def _lines(name: str, rules: tuple[Rule, ...]) -> list[tuple[str, str, str]]:
    # A network of one address is written as the address
    return [
        (
            name,
            rule.prefix or "/",
            ", ".join(str(each).removesuffix(f"/{each.max_prefixlen}") for each in rule.networks),
        )
        for rule in rules
    ]


REASONS: dict[str, Any] = {
    "forbidden_address": _("Address not allowed"),
    "would_be_forbidden": _("Address not allowed, let through: rules only observe"),
    "wrong_secret": _("Wrong or missing webhook secret"),
    "too_large": _("Message too large"),
    "bad_host": _("Host that is not ours"),
    "not_authenticated": _("No token"),
    "authentication_failed": _("Wrong token"),
    "permission_denied": _("May not do this"),
    "method_not_allowed": _("Method not taken"),
    "throttled": _("Too many requests"),
    "wrong_password": _("Wrong user name or password"),
    "locked_out": _("Locked out after wrong passwords"),
}


class SinceSeen(Since):
    column = "last_seen_at"


@admin.register(Refusal)
class RefusalAdmin(Ledger):
    """Who was turned away, how often, and why."""

    list_display = (
        "address",
        "why",
        "prefix",
        "count",
        time_column("first_seen_at", _("First seen (UTC)")),
        time_column("last_seen_at", _("Last seen (UTC)")),
        "deny",
    )
    list_filter = (SinceSeen, "prefix")
    search_fields = ("address", "reason")
    when_empty = _("Who is turned away is counted here, with the reason.")
    ordering = ("-last_seen_at", "-pk")
    fields = ("address", "why", "prefix", "count", "first_seen_at", "last_seen_at")

    @display(description=_("Reason"))
    def why(self, row: Refusal) -> Any:
        return REASONS.get(row.reason) or name_of(row.reason)

    @display(description="")
    def deny(self, row: Refusal) -> SafeString | str:
        """Lead to the form of a rule; who may not add one is refused there."""
        if row.address in (OTHERS, UNKNOWN):
            return ""
        asked = urlencode({"verdict": "deny", "prefix": "/", "entries": row.address, "note": row.reason})
        url = f"{reverse('admin:pelusa_addressrule_add')}?{asked}"
        return format_html('<a class="pelusa-link" href="{}">{}</a>', url, _("Deny this address"))


@admin.register(AccessAttempt)
class FailedLoginAdmin(Ledger):
    """Wrong passwords of the last quarter of an hour. A superuser who deletes them ends the lock."""

    list_display = (
        "username",
        "ip_address",
        "failures_since_start",
        "is_locked",
        time_column("attempt_time", _("Last (UTC)")),
    )
    search_fields = ("username", "ip_address")
    fields = ("username", "ip_address", "failures_since_start", "attempt_time", "user_agent", "path_info")
    actions = ("delete_selected",)
    when_empty = _("Nobody gave a wrong password in the last quarter of an hour.")

    def has_delete_permission(self, request: HttpRequest, obj: AccessAttempt | None = None) -> bool:
        return bool(request.user.is_superuser)

    @display(description=_("Locked out"), boolean=True)
    def is_locked(self, row: AccessAttempt) -> bool:
        return bool(row.failures_since_start >= settings.AXES_FAILURE_LIMIT)


@admin.register(AccessLog)
class LoginAdmin(Ledger):
    """Who logged in, from where, and out again."""

    list_display = (
        "username",
        "ip_address",
        time_column("attempt_time", _("In (UTC)")),
        time_column("logout_time", _("Out (UTC)")),
    )
    search_fields = ("username", "ip_address")
    fields = ("username", "ip_address", "attempt_time", "logout_time", "user_agent")
