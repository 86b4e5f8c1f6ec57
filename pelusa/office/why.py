"""Counts per reason: why alarms did not trade, how often each reason was given, and a way to exactly those rows.

Three places say no, one after the other: nobody answers an alarm, a strategy answers no or we deny its order, the
exchange refuses. Each is counted among the newest rows only, so the page costs the same with millions stored.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from alarms.admin import STATUS_COLOURS
from alarms.models import Alarm
from alarms.timeline import sentence_of
from exchange import backoffice
from exchange.backoffice import Since, among_newest
from operations.admin import ORDER_COLOURS, OUTCOME_COLOURS
from operations.history import why as why_not
from operations.models import Decision, Order
from operations.states import OrderStatus
from strategies.models import Strategy
from strategies.reason_names import name_of
from strategies.reasons import explain

# An alarm that no strategy answered; where some did, their own reasons are counted
ALONE = Q(status__in=(Alarm.Status.INVALID, Alarm.Status.DUPLICATE)) | Q(
    reason__in=("no_strategy", "no_strategy_name", "unknown_ticker", "quarantined")
)


class ChoiceForm(forms.Form):
    """Which rows are counted: of what span, of which strategy."""

    since = forms.ChoiceField(label=_("Time"), choices=[(word, label) for word, (label, _span) in Since.spans.items()])
    strategy = forms.ModelChoiceField(
        Strategy.objects.order_by("name"), label=_("Strategy"), required=False, empty_label=_("all")
    )


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen, and when its span began."""

    word: str
    since: datetime
    strategy: Strategy | None

    @property
    def query(self) -> dict[str, object]:
        """How the lists are asked for the same."""
        return {"since": self.word} | ({"strategy": self.strategy.pk} if self.strategy else {})


@dataclass(frozen=True, slots=True)
class Kind:
    """Rows that say why: their page, the column of how they ended with its words, and what tells one in a sentence."""

    title: Any
    model: type[Model]
    end: str
    parameter: str
    labels: Mapping[str, Any]
    colours: Mapping[str, str]
    tell: Callable[[Any], str]
    related: tuple[str, ...] = ()

    @property
    def list(self) -> str:
        options = self.model._meta
        return reverse(f"admin:{options.app_label}_{options.model_name}_changelist")


@dataclass(frozen=True, slots=True)
class Count:
    """How often something ended so for one reason, the newest time in a sentence, and the list of them all."""

    count: int
    percent: int
    end: Any
    colour: str
    reason: str
    sentence: str
    url: str


@dataclass(frozen=True, slots=True)
class Place:
    """One of the places that say no, the most frequent reason first."""

    title: Any
    counts: list[Count]
    is_cut: bool


ANSWERS = Kind(
    _("Answers of strategies"),
    Decision,
    "outcome",
    "outcome",
    dict(Decision.Outcome.choices),
    OUTCOME_COLOURS,
    lambda decision: explain(decision.reason, decision.facts),
)
ORDERS = Kind(
    _("Orders that the exchange did not carry out"),
    Order,
    "status",
    "status__exact",
    dict(Order.STATUS_CHOICES),
    ORDER_COLOURS,
    why_not,
    ("decision",),
)
UNANSWERED = Kind(
    _("Alarms that no strategy answered"),
    Alarm,
    "status",
    "status__exact",
    dict(Alarm.Status.choices),
    STATUS_COLOURS,
    sentence_of,
)


@require_safe
def why(request: HttpRequest) -> HttpResponse:
    """Show the counts of the last day, or of what is chosen."""
    if not request.user.has_perm("operations.view_decision"):
        raise PermissionDenied
    form = ChoiceForm({"since": "day"} | request.GET.dict())
    asked = form.cleaned_data if form.is_valid() else {}
    word = asked.get("since") or "day"
    choice = Choice(word, timezone.now() - Since.spans[word][1], asked.get("strategy"))
    context: dict[str, Any] = admin.site.each_context(request) | {
        "title": _("Why it did not trade"),
        "form": form,
        "places": places(request, choice),
        "looked_at": backoffice.ROWS_LOOKED_AT,
    }
    return TemplateResponse(request, "pelusa/why.html", context)


def places(request: HttpRequest, choice: Choice) -> list[Place]:
    """Return what was said at each place, as far as the user may see it; what nobody answered is of no strategy."""
    decisions, orders = Decision.objects.filter(created_at__gte=choice.since), _orders(choice)
    if choice.strategy:
        decisions = decisions.filter(strategy=choice.strategy)
    found = [_place(ANSWERS, decisions, choice)]
    if request.user.has_perm("operations.view_order"):
        found.append(_place(ORDERS, orders, choice))
    if choice.strategy is None and request.user.has_perm("alarms.view_alarm"):
        found.append(_place(UNANSWERED, Alarm.objects.filter(ALONE, received_at__gte=choice.since), choice))
    return found


def _orders(choice: Choice) -> QuerySet[Order]:
    """Return the orders that were sent and have a reason; for one that we denied its strategy's answer tells it."""
    orders = Order.objects.filter(created_at__gte=choice.since).exclude(reason="").exclude(status=OrderStatus.DENIED)
    return orders.filter(operation__strategy=choice.strategy) if choice.strategy else orders


def _place(kind: Kind, rows: QuerySet[Any], choice: Choice) -> Place:
    # Counted here: for GROUP BY a database walks a whole index
    found = list(among_newest(rows).order_by("pk").values_list("pk", kind.end, "reason"))
    newest = {(end, reason): pk for pk, end, reason in found}
    examples = kind.model._default_manager.select_related(*kind.related).in_bulk(list(newest.values()))
    counts = Counter((end, reason) for _pk, end, reason in found)
    told = [
        _count(kind, choice, end, reason, times, 100 * times // len(found), kind.tell(examples[newest[end, reason]]))
        for (end, reason), times in counts.most_common()
    ]
    return Place(kind.title, told, bool(found) and _is_cut(kind.model, choice))


def _count(kind: Kind, choice: Choice, end: str, reason: str, times: int, percent: int, sentence: str) -> Count:
    query = urlencode({kind.parameter: end, "reason": reason} | choice.query)
    label, colour = kind.labels[end], kind.colours[end]
    return Count(times, percent, label, colour, name_of(reason), sentence, f"{kind.list}?{query}")


def _is_cut(model: type[Model], choice: Choice) -> bool:
    """Tell whether the span began before the rows that are looked at."""
    column = "received_at" if model is Alarm else "created_at"
    oldest = among_newest(model._default_manager.all()).order_by("pk").values_list("pk", column).first()
    return oldest is not None and oldest[1] >= choice.since and model._default_manager.filter(pk__lt=oldest[0]).exists()


def urls() -> list[URLPattern]:
    """Return the page's address."""
    return [path("why/", admin.site.admin_view(why), name="why")]
