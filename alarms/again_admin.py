"""The button that has an alarm processed again."""

from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action

from alarms.again import NotAgain, is_stuck, process_again, why_not
from alarms.models import Alarm
from exchange.backoffice import Ledger

if TYPE_CHECKING:
    _Page = Ledger
else:
    _Page = object


class ProcessesAgain(_Page):
    """It is offered for what waits or was set aside, and refused with the reason where it is not safe."""

    actions_detail = ("again",)

    def has_again_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return bool(request.user.has_perm("strategies.change_strategy"))

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        alarm = Alarm.objects.filter(pk=object_id).only("status", "reason").first()
        return list(super().get_actions_detail(request, object_id)) if alarm and is_stuck(alarm) else []

    @action(description=_("Process again"), permissions=["again"], url_path="again", icon="replay")
    def again(self, request: HttpRequest, object_id: str) -> HttpResponse:
        alarm = self.get_object(request, object_id)
        if alarm is None:
            raise Http404
        if not self.has_view_permission(request, alarm):
            raise PermissionDenied
        if request.method != "POST":
            return self._ask_again(request, alarm)
        try:
            process_again(alarm, request.user, timezone.now())
        except NotAgain as refusal:
            self.message_user(request, str(refusal), messages.WARNING)
        else:
            words = _("Alarm %(number)s is being processed.") % {"number": alarm.pk}
            self.message_user(request, words, messages.SUCCESS)
        return HttpResponseRedirect(_page_of(alarm))

    def _ask_again(self, request: HttpRequest, alarm: Alarm) -> TemplateResponse:
        context = self.admin_site.each_context(request) | {
            "title": _("Process this alarm again?"),
            "opts": self.opts,
            "subject": f"{alarm} · {alarm.strategy} · {alarm.ticker}",
            "words": _("Its strategies are asked as if it had just come: it may trade. None answers it twice."),
            "refusal": why_not(alarm, timezone.now()),
            "back": _page_of(alarm),
        }
        return TemplateResponse(request, "exchange/act.html", context)


def _page_of(alarm: Alarm) -> str:
    return reverse("admin:alarms_alarm_change", args=[alarm.pk])
