"""Pause, resume and duplicate strategies in the back office: each says first what it will do."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from unfold.admin import ModelAdmin
from unfold.decorators import action

from strategies import copying
from strategies.models import Strategy
from strategies.portable import exportable
from strategies.switching import switch_strategy

PAUSE = {
    "title": _("Pause?"),
    "button": _("Pause"),
    "words": _("No new entries. What is held stays with its stops and targets, and an alarm to close it is heeded."),
}
RESUME = {
    "title": _("Resume?"),
    "button": _("Resume"),
    "words": _("From now on alarms are answered, and entries are sent to the exchange with each account's money."),
    "is_danger": True,
}
COPY = {
    "title": _("Duplicate?"),
    "button": _("Duplicate"),
    "words": _("A new strategy with the same rules is made, paused, for you to change. It has no history."),
}


class SwitchingPages(ModelAdmin):
    """What a person does to strategies as they are."""

    def has_duplicate_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return self.has_add_permission(request)

    @admin.action(description=_("Resume"), permissions=["change"])
    def activate(self, request: HttpRequest, queryset: QuerySet[Strategy]) -> HttpResponse | None:
        return self._switch_selected(request, queryset, on=True)

    @admin.action(description=_("Pause"), permissions=["change"])
    def deactivate(self, request: HttpRequest, queryset: QuerySet[Strategy]) -> HttpResponse | None:
        return self._switch_selected(request, queryset, on=False)

    def _switch_selected(self, request: HttpRequest, queryset: QuerySet[Strategy], *, on: bool) -> HttpResponse | None:
        chosen = list(exportable(queryset))
        if "confirmed" not in request.POST:
            name = "activate" if on else "deactivate"
            return self._ask(request, RESUME if on else PAUSE, chosen, action=name)
        self._switch(request, chosen, on=on)
        return None

    @action(description=_("Pause or resume"), permissions=["change"], url_path="switch", icon="play_pause")
    def switch(self, request: HttpRequest, object_id: int) -> HttpResponse:
        strategy = get_object_or_404(exportable(Strategy.objects.all()), pk=object_id)
        # A link must not act, and a page that was left open must not undo what was done since
        if request.method != "POST":
            return self._ask(request, PAUSE if strategy.is_active else RESUME, [strategy], on=not strategy.is_active)
        self._switch(request, [strategy], on=request.POST.get("on") == "True")
        return HttpResponseRedirect(_page_of(strategy))

    @action(description=_("Duplicate"), permissions=["duplicate"], url_path="duplicate", icon="content_copy")
    def duplicate(self, request: HttpRequest, object_id: int) -> HttpResponse:
        strategy = get_object_or_404(exportable(Strategy.objects.all()), pk=object_id)
        if request.method != "POST":
            return self._ask(request, COPY, [strategy])
        copy = copying.duplicate(strategy, request.user)
        self.message_user(request, _("Made %(name)s; it is paused.") % {"name": copy.name}, messages.SUCCESS)
        return HttpResponseRedirect(_page_of(copy))

    def _ask(
        self, request: HttpRequest, words: dict[str, Any], strategies: Sequence[Strategy], **hidden: Any
    ) -> HttpResponse:
        back = _page_of(strategies[0]) if len(strategies) == 1 else reverse("admin:strategies_strategy_changelist")
        context = self.admin_site.each_context(request) | words
        context |= {"opts": self.opts, "strategies": strategies, "hidden": hidden, "back": back}
        return TemplateResponse(request, "strategies/act.html", context)

    def _switch(self, request: HttpRequest, strategies: Sequence[Strategy], *, on: bool) -> None:
        switched = 0
        for strategy in strategies:
            if not switch_strategy(strategy, is_on=on, who=request.user, now=timezone.now()):
                continue
            self.log_change(request, strategy, "Activated." if on else "Deactivated.")
            switched += 1
        words = ngettext("%(count)s strategy switched.", "%(count)s strategies switched.", switched)
        self.message_user(request, words % {"count": switched}, messages.SUCCESS if switched else messages.INFO)


def _page_of(strategy: Strategy) -> str:
    return reverse("admin:strategies_strategy_change", args=[strategy.pk])
