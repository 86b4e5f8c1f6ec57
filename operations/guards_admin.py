"""The guards in the back office: the kill switch with its two buttons, limits with their mistakes named, notices."""

from collections.abc import Callable
from copy import copy
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import DecimalField, ForeignKey, QuerySet
from django.forms.models import construct_instance
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from exchange.backoffice import (
    NOTHING,
    ByAccount,
    Ledger,
    PlainDecimalField,
    Since,
    changed_columns,
    shown_number,
    time_column,
    without_secrets,
)
from exchange.models import Account
from operations import killswitch
from operations.admin import operation_link
from operations.models import KillSwitch, Limits, Notice
from operations.validation import OF_WHOM, problems
from strategies.reasons import explain

LEVEL_COLOURS: dict[str, str] = {
    Notice.Level.INFO: "info",
    Notice.Level.WARNING: "warning",
    Notice.Level.CRITICAL: "danger",
}


class MoveForm(forms.Form):
    """Which switch, and why."""

    account = forms.ModelChoiceField(
        queryset=Account.objects.defer(*without_secrets()),
        required=False,
        empty_label=_("All accounts"),
        widget=UnfoldAdminSelectWidget,
        label=_("Account"),
    )
    reason = forms.CharField(max_length=1000, widget=UnfoldAdminTextInputWidget, label=_("Reason"))


@admin.register(KillSwitch)
class KillSwitchAdmin(Ledger):
    """The hand on the brake. A trader may pull it, an operator release it; each says why."""

    when_empty = _("No kill switch was ever pulled.")
    list_display = ("of_whom", "state", "reason", "changed_by", time_column("changed_at", _("Moved (UTC)")))
    fields = ("of_whom", "is_on", "reason", "changed_by", "changed_at")
    actions_list = ("pull", "release")

    def get_queryset(self, request: HttpRequest) -> QuerySet[KillSwitch]:
        return super().get_queryset(request).select_related("account").defer(*without_secrets("account__"))

    def has_pull_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return bool(request.user.has_perm("operations.pull_killswitch"))

    def has_release_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return bool(request.user.has_perm("operations.release_killswitch"))

    @action(
        description=_("Pull"), permissions=["pull"], url_path="pull", icon="front_hand", variant=ActionVariant.DANGER
    )
    def pull(self, request: HttpRequest) -> HttpResponse:
        return self._move(request, "pull", killswitch.pull)

    @action(description=_("Release"), permissions=["release"], url_path="release", icon="lock_open")
    def release(self, request: HttpRequest) -> HttpResponse:
        return self._move(request, "release", killswitch.release)

    def _move(
        self, request: HttpRequest, act: str, move: Callable[[Account | None, object, str], bool]
    ) -> HttpResponse:
        """Ask which switch and why; the act is the POST of that page, for a link must move nothing."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        form = MoveForm(request.POST or None, initial=self._first(request, act))
        if request.method != "POST" or not form.is_valid():
            return self._ask(request, act, form)
        account, reason = form.cleaned_data["account"], form.cleaned_data["reason"]
        moved = move(account, request.user, reason)
        self._tell(request, act, killswitch.scope_of(account.pk if account else None), reason, moved)
        return HttpResponseRedirect(reverse("admin:operations_killswitch_changelist"))

    def _first(self, request: HttpRequest, act: str) -> dict[str, Any]:
        """Return what the form starts with: who pulls in a hurry types nothing, who releases says why."""
        return {"account": request.GET.get("account")} | ({"reason": _("Pulled by hand.")} if act == "pull" else {})

    def _ask(self, request: HttpRequest, act: str, form: MoveForm) -> TemplateResponse:
        titles = {"pull": _("Stop entries?"), "release": _("Let entries go on?")}
        context = self.admin_site.each_context(request) | {
            "title": titles[act],
            "opts": self.opts,
            "act": act,
            "form": form,
            "switches": [switch for switch in killswitch.all_switches() if switch.is_on],
        }
        return TemplateResponse(request, "operations/kill_switch.html", context)

    def _tell(self, request: HttpRequest, act: str, scope: str, reason: str, moved: bool) -> None:
        switch = KillSwitch.objects.get(scope=scope)
        if not moved:
            words = _("It was on already: %(switch)s.") if act == "pull" else _("It was off already: %(switch)s.")
            self.message_user(request, words % {"switch": switch}, messages.WARNING)
            return
        self.log_change(request, switch, f"{'Pulled' if act == 'pull' else 'Released'}: {reason}")
        words = _("Pulled: %(switch)s.") if act == "pull" else _("Released: %(switch)s.")
        self.message_user(request, words % {"switch": switch}, messages.SUCCESS)

    @display(description=_("Of"))
    def of_whom(self, switch: KillSwitch) -> Any:
        return switch.account.name if switch.account else _("All accounts")

    @display(description=_("State"), label={"on": "danger", "off": "success"})
    def state(self, switch: KillSwitch) -> tuple[str, Any]:
        return ("on", _("On: no entries")) if switch.is_on else ("off", _("Off"))


class LimitsForm(forms.ModelForm):
    """Limits, and what is wrong with them where it was typed."""

    class Meta:
        model = Limits
        fields = (
            *OF_WHOM,
            "max_order_notional",
            "max_open_notional",
            "max_open_operations",
            "max_orders_per_day",
            "max_entries_per_minute",
            "max_daily_loss",
            "cool_down_after_loss",
            "max_price_deviation",
            "schedule",
        )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        limits = construct_instance(self, copy(self.instance), list(self.fields))
        for name, sentences in problems(limits).items():
            if name not in self.errors:
                self.add_error(name if name in self.fields else None, sentences)
        self.instance.scope = limits.scope
        return cleaned


@admin.register(Limits)
class LimitsAdmin(ModelAdmin):
    """What may be lost or risked at most; all rows that concern an entry apply."""

    when_empty = _("Without limits an entry is as large as its strategy says. Begin with one for everything.")
    form = LimitsForm
    list_display = ("of_whom", "in_short", "schedule")
    list_filter = (ByAccount,)
    search_fields = ("account__name", "strategy__name")
    formfield_overrides = {DecimalField: {"form_class": PlainDecimalField}}
    compressed_fields = False
    warn_unsaved_form = True
    fieldsets = (
        (
            _("Of whom"),
            {
                "fields": (OF_WHOM,),
                "description": _("Both empty: of everything together. They cannot be changed later."),
            },
        ),
        (_("How much"), {"fields": (("max_order_notional", "max_open_notional"), "max_open_operations")}),
        (_("Losses"), {"fields": (("max_daily_loss", "cool_down_after_loss"),)}),
        (
            _("How often and when"),
            {"fields": ("max_orders_per_day", "max_entries_per_minute", "max_price_deviation", "schedule")},
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Limits]:
        rows = super().get_queryset(request).select_related("account", "strategy")
        return rows.defer(*without_secrets("account__"))

    def get_readonly_fields(self, request: HttpRequest, obj: Limits | None = None) -> tuple[str, ...]:
        return OF_WHOM if obj else ()

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Offer no removal of many: each guard is taken away by itself."""
        return {name: act for name, act in super().get_actions(request).items() if name != "delete_selected"}

    def formfield_for_foreignkey(self, db_field: ForeignKey[Any, Any], request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "account":
            kwargs["queryset"] = Account.objects.defer(*without_secrets())
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def save_model(self, request: HttpRequest, obj: Limits, form: Any, change: bool) -> None:
        if change:
            obj.save(update_fields=changed_columns(form))
        else:
            obj.save()

    @display(description=_("Of"))
    def of_whom(self, limits: Limits) -> Any:
        return limits.strategy or (limits.account.name if limits.account else _("Everything together"))

    @display(description=_("At most"))
    def in_short(self, limits: Limits) -> str:
        return " · ".join(_shown(limits)) or NOTHING


def _shown(limits: Limits) -> list[str]:
    """Return each limit that is set, as a word and its value."""
    words = {
        "max_order_notional": _("%s an order"),
        "max_open_notional": _("%s open"),
        "max_open_operations": _("%s operations"),
        "max_orders_per_day": _("%s entries a day"),
        "max_entries_per_minute": _("%s entries a minute"),
        "max_daily_loss": _("%s lost a day"),
        "cool_down_after_loss": _("%s s rest after a loss"),
        "max_price_deviation": _("%s %% from the alarm"),
    }
    values = {name: getattr(limits, name) for name in words}
    return [
        str(words[name]) % (value if isinstance(value, int) else shown_number(value))
        for name, value in values.items()
        if value is not None
    ]


class SinceRaised(Since):
    column = "raised_at"


class Current(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "current"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("yes", _("Current")), ("no", _("Over"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Notice]) -> QuerySet[Notice]:
        return queryset.filter(ended_at__isnull=self.value() == "yes") if self.value() in ("yes", "no") else queryset


@admin.register(Notice)
class NoticeAdmin(Ledger):
    """What a human must know: raised once, ended when it is over, never deleted."""

    when_empty = _("What needs a person is said here, on the first page and to every channel.")
    list_display = (
        time_column("raised_at", _("Raised (UTC)")),
        "importance",
        "sentence",
        "number",
        time_column("ended_at", _("Over (UTC)")),
    )
    list_filter = (Current, "level", ByAccount, SinceRaised)
    search_fields = ("kind",)
    search_help_text = _("Kind, e.g. unsettled_order")
    fields = ("kind", "level", "sentence", "facts", "of_whom", "number", "raised_at", "ended_at")
    readonly_fields = ("sentence", "of_whom", "number")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Notice]:
        return super().get_queryset(request).select_related("account").defer(*without_secrets("account__"))

    @display(description=_("Level"), label=LEVEL_COLOURS)
    def importance(self, notice: Notice) -> tuple[str, str]:
        return notice.level, notice.get_level_display()

    @display(description=_("What"))
    def sentence(self, notice: Notice) -> str:
        return explain(notice.kind, notice.facts)

    @display(description=_("Account"))
    def of_whom(self, notice: Notice) -> str:
        return notice.account.name if notice.account else NOTHING

    @display(description=_("Operation"))
    def number(self, notice: Notice) -> SafeString | str:
        return operation_link(notice.operation_id)
