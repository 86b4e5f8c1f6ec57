"""Strategies in the back office: one page, both legs, and every mistake named at its field."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import DecimalField, Field, ForeignKey, QuerySet
from django.forms.formsets import DELETION_FIELD_NAME
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST
from unfold.admin import StackedInline
from unfold.decorators import action, display
from unfold.forms import PaginationInlineFormSet

from exchange.backoffice import (
    NOTHING,
    ByAccount,
    PlainDecimalField,
    changed_columns,
    is_held,
    time_column,
    without_secrets,
)
from exchange.models import Account
from strategies.checking import check
from strategies.models import Leg, Strategy, StrategyVersion
from strategies.switching_admin import SwitchingPages
from strategies.transfer_admin import TransferPages
from strategies.validation import problems
from strategies.versions import content_of, differences, keep_version, restore, with_differences

# What the page of versions holds; the API has all
MOST_VERSIONS = 200
LEG_NAMES = tuple(Leg.Name.values)


class StrategyForm(forms.ModelForm):
    """The strategy's own columns; symbol and pair are found from the ticker."""

    class Meta:
        model = Strategy
        fields = (
            "name",
            "alarm_name",
            "ticker",
            "account",
            "market",
            "is_active",
            "active_from",
            "active_until",
            "max_alarm_age",
            "expects_alarm_every",
            "when_unprotected",
            "description",
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The legs' formset is validated after this form and finds mistakes in both together
        self.instance.form = self


class LegsFormSet(PaginationInlineFormSet):
    """Always two forms, long and short; one that is left empty is no leg."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        taken = {form.instance.name for form in self.initial_forms}
        free = [name for name in LEG_NAMES if name not in taken]
        for form, name in zip(self.extra_forms, free, strict=False):
            form.initial["name"] = name
        for form in self.forms:
            if "name" in form.fields:
                form.fields["name"].widget = forms.HiddenInput()
            form.leg_name = form.instance.name or form.initial.get("name", "")
            form.leg_label = Leg.Name(form.leg_name).label if form.leg_name else ""

    def clean(self) -> None:
        """Ask the strategy and its legs together what is wrong, and say it where it was typed."""
        super().clean()
        if any(self.errors) or self.instance.form.errors:
            return
        found = problems(self.instance, self.kept())
        for name, sentences in found.items():
            self._complain(name, sentences)
        if found:
            raise ValidationError(_("The strategy was not saved: see the fields that are marked."))

    def kept(self) -> list[Leg]:
        """Return the legs that saving would keep, as far as they can be read."""
        return [
            form.instance
            for form in self.forms
            if (form.has_changed() or form.instance.pk) and not form.cleaned_data.get(DELETION_FIELD_NAME)
        ]

    def _complain(self, name: str, sentences: list[str]) -> None:
        """Put the sentences at their field: `long.size` and `long` are of a leg, all else is the strategy's."""
        leg, _dot, column = name.partition(".")
        form = next((form for form in self.forms if form.leg_name == leg), None)
        if form is None:
            form, column = self.instance.form, name
        form.add_error(column if column in form.fields else None, sentences)


class LegInline(StackedInline):
    """One leg."""

    model = Leg
    formset = LegsFormSet
    max_num = len(LEG_NAMES)
    extra = len(LEG_NAMES)
    template = "strategies/legs.html"
    formfield_overrides = {DecimalField: {"form_class": PlainDecimalField}}
    fieldsets = (
        (_("When"), {"fields": ("name", ("entry_interval", "close_interval"))}),
        (_("Gate"), {"fields": (("entry_confirmation_interval", "close_confirmation_interval"),)}),
        (_("How much"), {"fields": (("sizing", "size"), ("pyramiding", "leverage"), "margin_mode")}),
        (
            _("Protection, in percent"),
            {
                "fields": (
                    ("take_profit_per_order", "stop_loss_per_order"),
                    ("take_profit_general", "stop_loss_general"),
                )
            },
        ),
    )

    def formfield_for_choice_field(self, db_field: "Field[Any, Any]", request: HttpRequest, **kwargs: Any) -> Any:
        """Choose nothing beforehand: a leg that nobody touched must be seen to be empty."""
        if not db_field.has_default():
            kwargs["choices"] = db_field.get_choices(
                blank_choice=[("", _("none") if db_field.blank else _("Select value"))]
            )
        return super().formfield_for_choice_field(db_field, request, **kwargs)

    def has_view_permission(self, request: HttpRequest, obj: Strategy | None = None) -> bool:
        return bool(request.user.has_perm("strategies.view_strategy")) or self._may_write(request, obj)

    def has_add_permission(self, request: HttpRequest, obj: Strategy | None = None) -> bool:
        return self._may_write(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Strategy | None = None) -> bool:
        return self._may_write(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Strategy | None = None) -> bool:
        return self._may_write(request, obj)

    def _may_write(self, request: HttpRequest, obj: Strategy | None) -> bool:
        """A leg is a part of its strategy: who may write the one may write the other."""
        return bool(request.user.has_perm("strategies.change_strategy" if obj else "strategies.add_strategy"))

    def get_extra(self, request: HttpRequest, obj: Strategy | None = None, **kwargs: Any) -> int:
        return self.max_num - (obj.legs.count() if obj else 0)


@admin.register(Strategy)
class StrategyAdmin(SwitchingPages, TransferPages):
    """Which alarms matter, when, and with how much money."""

    form = StrategyForm
    inlines = (LegInline,)
    when_empty = _("A strategy says which alarms are traded, on which account and how large.")
    list_display = (
        "name",
        "state",
        "ticker",
        "alarm_name",
        "account",
        "legs_in_short",
        time_column("updated_at", _("Changed (UTC)")),
    )
    list_filter = ("is_active", "market", ByAccount)
    search_fields = ("name", "alarm_name", "ticker", "symbol")
    readonly_fields = ("symbol", "created_at", "updated_at")
    actions = ("activate", "deactivate", "export_selected")
    actions_list = ("upload", "export")
    actions_detail = ("switch", "close", "duplicate", "versions")
    change_form_outer_before_template = "strategies/strategy.html"
    compressed_fields = False
    warn_unsaved_form = True

    class Media:
        js = ("strategies/check.js",)

    fieldsets = (
        (None, {"fields": (("name", "is_active"), ("alarm_name", "ticker"), ("account", "market", "symbol"))}),
        (
            _("When it listens"),
            {
                "fields": (
                    ("active_from", "active_until"),
                    ("max_alarm_age", "expects_alarm_every"),
                    "when_unprotected",
                ),
                "classes": ["collapse"],
            },
        ),
        (_("Notes"), {"fields": ("description", ("created_at", "updated_at")), "classes": ["collapse"]}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Strategy]:
        rows = super().get_queryset(request).select_related("account").prefetch_related("legs")
        return rows.defer(*without_secrets("account__"))

    def formfield_for_foreignkey(self, db_field: ForeignKey[Any, Any], request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "account":
            kwargs["queryset"] = Account.objects.defer(*without_secrets())
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def has_delete_permission(self, request: HttpRequest, obj: Strategy | None = None) -> bool:
        return super().has_delete_permission(request, obj) and not (obj and is_held(obj))

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Offer no deletion of many: what has traded is switched off."""
        return {name: action for name, action in super().get_actions(request).items() if name != "delete_selected"}

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.check_typed)
        name = "strategies_strategy_check"
        own = [path("check/", view, name=name), path("<int:object_id>/check/", view, name=name)]
        return own + list(super().get_urls())

    @method_decorator(require_POST)
    def check_typed(self, request: HttpRequest, object_id: int | None = None) -> HttpResponse:
        """Answer what saving would say to the form as it stands; nothing is saved."""
        strategy = get_object_or_404(self.get_queryset(request), pk=object_id) if object_id else None
        may = self.has_change_permission(request, strategy) if strategy else self.has_add_permission(request)
        if not may:
            raise PermissionDenied
        form = self.get_form(request, strategy, change=bool(strategy))(request.POST, instance=strategy)
        [(formset, inline)] = self.get_formsets_with_inlines(request, strategy)
        legs = formset(**self.get_formset_kwargs(request, form.instance, inline, formset.get_default_prefix()))
        return JsonResponse(check(form, legs))

    def save_model(self, request: HttpRequest, obj: Strategy, form: Any, change: bool) -> None:
        if change:
            obj.save(update_fields=[*changed_columns(form), "symbol", "pair", "updated_at"])
        else:
            obj.save()

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        keep_version(form.instance, request.user)

    @action(description=_("Versions"), permissions=["view"], url_path="versions", icon="history")
    def versions(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Show every version with what it changed; bring one back when it was asked for and confirmed."""
        strategy = get_object_or_404(Strategy, pk=object_id)
        number = request.POST.get("restore") or request.GET.get("restore")
        if number is None:
            return self._versions_page(request, strategy)
        version = get_object_or_404(strategy.versions, number=number if number.isdecimal() else None)
        if not self.has_change_permission(request, strategy):
            raise PermissionDenied
        if request.method != "POST":
            return self._versions_page(request, strategy, asked=version)
        return self._restore(request, version)

    def has_close_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return bool(request.user.has_perms(["operations.view_operation", "operations.close_operation"]))

    @action(description=_("Close everything"), permissions=["close"], url_path="close", icon="logout")
    def close(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Lead to the page that asks."""
        return HttpResponseRedirect(reverse("close_all", args=["strategy", object_id]))

    def _versions_page(
        self, request: HttpRequest, strategy: Strategy, asked: StrategyVersion | None = None
    ) -> HttpResponse:
        now = content_of(strategy, strategy.legs.all())
        context = self.admin_site.each_context(request) | {
            "title": _("Versions of %(strategy)s") % {"strategy": strategy.name},
            "opts": self.opts,
            "strategy": strategy,
            "versions": with_differences(list(strategy.versions.all()[:MOST_VERSIONS])),
            "asked": asked,
            "would_change": differences(now, asked.content) if asked else [],
            "may_restore": self.has_change_permission(request, strategy),
        }
        return TemplateResponse(request, "strategies/versions.html", context)

    def _restore(self, request: HttpRequest, version: StrategyVersion) -> HttpResponse:
        try:
            number = restore(version, request.user)
        except ValidationError as error:
            self.message_user(request, " ".join(error.messages), messages.ERROR)
        else:
            self.message_user(request, _("Restored as version %(number)s.") % {"number": number}, messages.SUCCESS)
        return HttpResponseRedirect(request.path)

    @display(description=_("State"), label={"on": "success", "off": "warning"}, ordering="is_active")
    def state(self, strategy: Strategy) -> tuple[str, Any]:
        return ("on", _("Active")) if strategy.is_active else ("off", _("Paused"))

    @display(description=_("Legs"))
    def legs_in_short(self, strategy: Strategy) -> str:
        return (
            " · ".join(f"{leg.get_name_display()} {leg.entry_interval} ×{leg.leverage}" for leg in strategy.legs.all())
            or NOTHING
        )
