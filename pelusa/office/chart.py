"""A chart of any series with what happened on it; opened where an operation, an alarm or a strategy points."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from alarms.models import Alarm
from exchange.models import MarketChoices
from market.intervals import INTERVALS
from market.models import Series
from market.writing import milliseconds
from operations.models import Decision, Operation
from pelusa.office.marks import Stretch, as_json, lines_of, marks_of
from strategies.models import Strategy

PERMISSIONS = ("market.view_kline", "operations.view_order", "alarms.view_alarm")
LIVE_SHOWN = 20
# The year 2200
MOST_MILLISECONDS = 7_258_118_400_000


@dataclass(frozen=True, slots=True)
class Place:
    """Which candles, around which moment (None: the newest), and whose marks."""

    market: str
    symbol: str
    interval: str
    at: datetime | None = None
    strategy_id: int | None = None
    operation_id: int | None = None


class PlaceForm(forms.Form):
    """What a person chooses above the chart."""

    market = forms.ChoiceField(label=_("Market"), choices=MarketChoices.choices)
    symbol = forms.CharField(label=_("Symbol"), max_length=40)
    interval = forms.ChoiceField(label=_("Interval"), choices=[(each, each) for each in INTERVALS])


class MarksForm(PlaceForm):
    """What the page's script asks for: milliseconds since 1970."""

    interval = None  # type: ignore[assignment]
    since = forms.IntegerField(min_value=0, max_value=MOST_MILLISECONDS)
    until = forms.IntegerField(min_value=0, max_value=MOST_MILLISECONDS)
    strategy = forms.IntegerField(required=False, min_value=1)
    operation = forms.IntegerField(required=False, min_value=1)


def _check(request: HttpRequest) -> None:
    if not request.user.has_perms(PERMISSIONS):
        raise PermissionDenied


@require_safe
def chart(request: HttpRequest) -> HttpResponse:
    """Show the chart; its script asks for candles and marks."""
    _check(request)
    place = place_of(request)
    context = admin.site.each_context(request) | {
        "title": _("Chart"),
        "form": PlaceForm(initial={"market": place.market, "symbol": place.symbol, "interval": place.interval}),
        "place": _as_data(place),
        "symbols": list(Series.objects.order_by("symbol").values_list("symbol", flat=True).distinct()[:200]),
        "strategy": Strategy.objects.filter(pk=place.strategy_id).first() if place.strategy_id else None,
        "operation": Operation.objects.filter(pk=place.operation_id).first() if place.operation_id else None,
    }
    return TemplateResponse(request, "pelusa/chart.html", context)


def place_of(request: HttpRequest) -> Place:
    """Return where the chart opens: at what the address names, else at the newest candles of what is traded last."""
    for name, find in (("operation", _at_operation), ("alarm", _at_alarm), ("strategy", _at_strategy)):
        number = request.GET.get(name, "")
        if number.isascii() and number.isdecimal() and len(number) < 19:
            return find(int(number))
    form = PlaceForm(request.GET)
    if form.is_valid():
        return Place(form.cleaned_data["market"], form.cleaned_data["symbol"].upper(), form.cleaned_data["interval"])
    newest = Operation.objects.order_by("-id").first()
    return _at_operation(newest.pk) if newest else Place(MarketChoices.USDTM.value, "BTC-USDT", "5m")


def _at_operation(number: int) -> Place:
    operation = Operation.objects.select_related("strategy").filter(pk=number).first()
    if operation is None:
        raise Http404
    interval = _interval_of(operation.strategy, operation.leg)
    at = operation.opened_at or operation.created_at
    return Place(operation.market, operation.symbol, interval, at, operation.strategy_id, operation.pk)


def _at_alarm(number: int) -> Place:
    alarm = Alarm.objects.filter(pk=number).first()
    if alarm is None:
        raise Http404
    decision = Decision.objects.filter(alarm_id=number).select_related("strategy").order_by("id").first()
    interval = alarm.interval or "5m"
    if decision is None:
        return Place(MarketChoices.USDTM.value, alarm.pair, interval, alarm.received_at)
    strategy = decision.strategy
    return Place(strategy.market, strategy.symbol, interval, alarm.received_at, strategy.pk, decision.operation_id)


def _at_strategy(number: int) -> Place:
    strategy = Strategy.objects.filter(pk=number).first()
    if strategy is None:
        raise Http404
    return Place(strategy.market, strategy.symbol, _interval_of(strategy, ""), None, strategy.pk)


def _interval_of(strategy: Strategy, leg: str) -> str:
    legs = list(strategy.legs.order_by("name"))
    chosen = next((each for each in legs if each.name == leg), legs[0] if legs else None)
    return chosen.entry_interval if chosen else "5m"


def _as_data(place: Place) -> dict[str, Any]:
    """Return what the script starts with."""
    return {
        "market": place.market,
        "symbol": place.symbol,
        "interval": place.interval,
        "at": milliseconds(place.at) if place.at else None,
        "strategy": place.strategy_id,
        "operation": place.operation_id,
        "candles": reverse("chart"),
        "marks": reverse("chart_marks"),
        "words": {
            "failed": str(_("The candles could not be fetched; they are asked for again.")),
            "missing": str(_("Some candles are missing: {reason}")),
            "nothing": str(_("Nothing happened here.")),
        },
    }


@require_safe
def marks(request: HttpRequest) -> HttpResponse:
    """Answer what happened within a stretch, and the lines of the operation or of all live ones of the symbol."""
    _check(request)
    form = MarksForm(request.GET)
    if not form.is_valid():
        return JsonResponse({"error": form.errors.get_json_data()}, status=400)
    asked = form.cleaned_data
    since, until = (datetime.fromtimestamp(asked[name] // 1000, UTC) for name in ("since", "until"))
    stretch = Stretch(asked["market"], asked["symbol"], since, until, asked["strategy"])
    return JsonResponse(as_json(marks_of(stretch), lines_of(_operations(stretch, asked["operation"]))))


def _operations(stretch: Stretch, number: int | None) -> list[Operation]:
    if number:
        return list(Operation.objects.filter(pk=number))
    live = Operation.objects.filter(status__in=Operation.LIVE, market=stretch.market, symbol=stretch.symbol)
    return list(live.order_by("-id")[:LIVE_SHOWN])


def urls() -> list[URLPattern]:
    """Return the page's address and the script's."""
    return [
        path("chart/", admin.site.admin_view(chart), name="chart_page"),
        path("chart/marks/", admin.site.admin_view(marks), name="chart_marks"),
    ]
