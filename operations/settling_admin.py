"""Settle now: have the exchange asked at once about an order that has not ended."""

from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action

from exchange.acts import tell_act
from exchange.backoffice import Ledger
from operations.models import Order
from operations.states import IN_FLIGHT, WORKING
from pelusa.doorbell import ring_on_commit

ASKABLE = IN_FLIGHT | WORKING
SETTLE = "operations.tasks.settle_order"

if TYPE_CHECKING:
    _Page = Ledger
else:
    _Page = object


class SettlesNow(_Page):
    """The button of an order's page; the asking itself is the sweep's own task, a little sooner."""

    actions_detail = ("settle",)

    def has_settle_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return bool(request.user.has_perm("operations.close_operation"))

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        """Offer to ask only about what has not ended."""
        is_askable = Order.objects.filter(pk=object_id, status__in=ASKABLE).exists()
        return list(super().get_actions_detail(request, object_id)) if is_askable else []

    @action(description=_("Settle now"), permissions=["settle"], url_path="settle", icon="contact_support")
    def settle(self, request: HttpRequest, object_id: str) -> HttpResponse:
        order = self.get_object(request, object_id)
        if order is None:
            raise Http404
        if not self.has_view_permission(request, order):
            raise PermissionDenied
        back = reverse("admin:operations_order_change", args=[order.pk])
        refusal = "" if order.status in ASKABLE else _("It has ended, or was never sent: there is nothing to ask.")
        if request.method != "POST":
            return self._ask(request, order, back, refusal)
        if refusal:
            self.message_user(request, refusal, messages.WARNING)
            return HttpResponseRedirect(back)
        tell_act("settled", order, who=request.user)
        ring_on_commit(SETTLE, order.pk, using="default")
        words = _("The exchange is being asked about %(order)s: look again in a moment.")
        self.message_user(request, words % {"order": order}, messages.SUCCESS)
        return HttpResponseRedirect(back)

    def _ask(self, request: HttpRequest, order: Order, back: str, refusal: Any) -> TemplateResponse:
        words = _(
            "The exchange is asked at once what became of it, as the sweep does by itself every few seconds. No new"
            " order is made of it."
        )
        context = self.admin_site.each_context(request) | {
            "title": _("Settle this order now?"),
            "opts": self.opts,
            "subject": f"{order} · {order.lane.symbol}",
            "words": words,
            "refusal": refusal,
            "back": back,
        }
        return TemplateResponse(request, "exchange/act.html", context)
