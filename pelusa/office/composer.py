"""The alarm composer: what to paste into TradingView for a strategy, and a rehearsal of it that trades nothing."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods

from alarms.composing import filled_in, templates_of
from alarms.intake import record_alarm
from alarms.messages import Unreadable, take_secret
from alarms.rehearsal import Rehearsal, rehearse
from exchange.acts import tell_act
from exchange.backoffice import without_secrets
from exchange.quotes import quotes
from exchange.types import Market
from pelusa.doctor.page import address_of
from strategies.models import Strategy

SEE, SEND = "strategies.view_strategy", "strategies.change_strategy"
MOST_CHARACTERS = 16_384


class MessageForm(forms.Form):
    """The message to try, as TradingView would post it."""

    message = forms.CharField(
        max_length=MOST_CHARACTERS, widget=forms.Textarea(attrs={"rows": 9, "spellcheck": "false"})
    )


@require_http_methods(["GET", "HEAD", "POST"])
def composer(request: HttpRequest, strategy_id: int) -> HttpResponse:
    """Show the messages; a POST tries one or, in paper, sends it the whole way."""
    strategy = _strategy(request, strategy_id)
    form = MessageForm(request.POST or None)
    if request.method != "POST" or not form.is_valid():
        return _page(request, strategy, form if request.method == "POST" else None)
    # Somebody may have pasted the secret too
    _secret, body = take_secret(form.cleaned_data["message"].encode())
    try:
        found = rehearse(body, timezone.now())
    except Unreadable as problem:
        form.add_error("message", problem.detail)
        return _page(request, strategy, form)
    if request.POST.get("act") == "send":
        return _send(request, strategy, body, found)
    return _page(request, strategy, form, found)


def _strategy(request: HttpRequest, strategy_id: int) -> Strategy:
    if not request.user.has_perm(SEE):
        raise PermissionDenied
    found = Strategy.objects.select_related("account").defer(*without_secrets("account__"))
    strategy = found.filter(pk=strategy_id).first()
    if strategy is None:
        raise Http404
    return strategy


def _page(
    request: HttpRequest, strategy: Strategy, form: MessageForm | None, rehearsal: Rehearsal | None = None
) -> HttpResponse:
    price = quotes.prices(strategy.account.environment, Market(strategy.market)).get(strategy.symbol)
    now = timezone.now()
    templates = templates_of(strategy, strategy.legs.order_by("name"))
    context: dict[str, Any] = admin.site.each_context(request) | {
        "title": _("Alarm composer"),
        "strategy": strategy,
        "address": f"{address_of(request)}{reverse('webhook')}/",
        "templates": [(each, filled_in(each, strategy.ticker, price, now)) for each in templates],
        "form": form,
        "rehearsal": rehearsal,
        "may_send": rehearsal is not None and _may_send(request, rehearsal),
    }
    return TemplateResponse(request, "pelusa/composer.html", context)


def _may_send(request: HttpRequest, rehearsal: Rehearsal) -> bool:
    return bool(request.user.has_perm(SEND)) and rehearsal.is_all_paper


def _send(request: HttpRequest, strategy: Strategy, body: bytes, rehearsal: Rehearsal) -> HttpResponse:
    """Store the message as an alarm like any other; whoever answers it trades paper money."""
    if not request.user.has_perm(SEND):
        raise PermissionDenied
    if not rehearsal.is_all_paper:
        messages.error(request, _("Not sent: a strategy that would answer does not trade paper money."))
        return HttpResponseRedirect(reverse("composer", args=[strategy.pk]))
    receipt = record_alarm(body, request.client_address)  # type: ignore[attr-defined]
    tell_act("test_alarm", strategy, note=f"alarm {receipt.alarm_id}")
    messages.success(request, _("Sent as alarm %(number)s.") % {"number": receipt.alarm_id})
    return HttpResponseRedirect(reverse("admin:alarms_alarm_change", args=[receipt.alarm_id]))


def urls() -> list[URLPattern]:
    """Return the page's address."""
    return [path("composer/<int:strategy_id>/", admin.site.admin_view(composer), name="composer")]
