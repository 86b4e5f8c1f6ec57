"""Alarms in the back office: what came, and what became of it. Nothing here can be changed."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display
from unfold.views import ChangeList

from alarms.again_admin import ProcessesAgain
from alarms.models import Alarm
from alarms.timeline import sentence_of, tell, words_of
from exchange import backoffice
from exchange.backoffice import (
    A_DAY,
    Bounded,
    ByValue,
    Ledger,
    LookAheadList,
    Since,
    among_newest,
    bounded,
    first_id_from,
    shown_time,
)
from operations.admin import DecisionLine, line_of
from operations.models import Decision
from strategies.models import Strategy
from strategies.reason_names import name_of
from strategies.reasons import SENTENCES

# How many alarms of an outcome or a reason a list pages through
MOST_FOUND = 1_000
STATUS_COLOURS: dict[str, str] = {
    Alarm.Status.RECEIVED: "info",
    Alarm.Status.PROCESSED: "success",
    Alarm.Status.IGNORED: "",
    Alarm.Status.INVALID: "danger",
    Alarm.Status.DUPLICATE: "warning",
}


@dataclass(frozen=True, slots=True)
class AlarmLine:
    """An alarm as one line of a page: its words, and each strategy's answer or why nobody answered."""

    alarm: Alarm
    words: str
    sentence: str
    colour: str
    answers: tuple[DecisionLine, ...]


def lines_of(alarms: Iterable[Alarm]) -> list[AlarmLine]:
    """Return the alarms' lines; all their decisions come in two queries from the other database."""
    rows = list(alarms)
    decisions = Decision.objects.filter(alarm_id__in=[alarm.pk for alarm in rows]).select_related("strategy")
    decisions = decisions.prefetch_related("orders")
    answers: defaultdict[int, list[DecisionLine]] = defaultdict(list)
    for decision in decisions.order_by("id"):
        answers[decision.alarm_id].append(line_of(decision))
    return [
        AlarmLine(alarm, words_of(alarm), sentence_of(alarm), STATUS_COLOURS[alarm.status], tuple(answers[alarm.pk]))
        for alarm in rows
    ]


class AlarmList(LookAheadList):
    """A page of alarms with what became of each."""

    @property
    def looked_at(self) -> int:
        return backoffice.ROWS_LOOKED_AT if self.query and _is_text(self.query) else super().looked_at

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        for line in lines_of(self.result_list):
            line.alarm.line = line  # type: ignore[attr-defined]


class ByStrategy(ByValue):
    title = _("strategy")
    parameter_name = "strategy"
    column = "strategy"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        names = Strategy.objects.order_by("alarm_name").values_list("alarm_name", flat=True).distinct()
        return [(name, name) for name in names]


class ByTicker(ByValue):
    title = _("ticker")
    parameter_name = "ticker"
    column = "ticker"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        tickers = Strategy.objects.order_by("ticker").values_list("ticker", flat=True).distinct()
        return [(ticker, ticker) for ticker in tickers]


class ByAnswer(Bounded):
    """Alarms by what strategies answered: decisions live in another database, so the numbers are read first."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Alarm]) -> QuerySet[Alarm]:
        value = self.value()
        return queryset.filter(pk__in=self.found(value)) if value else queryset

    def found(self, value: str) -> set[int]:
        answers = among_newest(Decision.objects.filter(**{self.column: value})).order_by("-id")
        return set(answers.values_list("alarm_id", flat=True)[:MOST_FOUND])


class ByOutcome(ByAnswer):
    title = _("outcome")
    parameter_name = "outcome"
    column = "outcome"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return Decision.Outcome.choices


class ByReason(ByAnswer):
    """A reason of a strategy's answer, or of the alarm itself where no strategy answered."""

    title = _("reason")
    parameter_name = "reason"
    column = "reason"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return [(word, name_of(word)) for word in sorted(SENTENCES)]

    def found(self, value: str) -> set[int]:
        own = among_newest(Alarm.objects.filter(reason=value)).order_by("-id")
        return super().found(value) | set(own.values_list("pk", flat=True)[:MOST_FOUND])


# What the message says, column by column
WORDS = (
    bounded("kind", _("kind"), Alarm.Kind.choices),
    bounded("action", _("action"), Alarm.Action.choices),
    bounded("leg", _("leg"), Alarm.LegName.choices),
)


class SinceReceived(Since):
    column = "received_at"
    is_in_order = True


@admin.register(Alarm)
class AlarmAdmin(ProcessesAgain, Ledger):
    """The list says what became of each alarm; its page says why, step by step."""

    when_empty = _("TradingView posts alarms to the webhook; the composer of each strategy says what to paste there.")
    list_display = ("received", "what", "ticker", "interval", "strategy", "state", "outcome")
    list_filter = (SinceReceived, ByTicker, ByStrategy, ByOutcome, ByReason, "status", *WORDS)
    search_fields = ("ticker", "strategy", "reason", "raw")
    search_help_text = _("Number, day (2026-01-31), ticker or words")
    exported = (
        "id",
        "received_at",
        "source_ip",
        "kind",
        "action",
        "leg",
        "ticker",
        "interval",
        "strategy",
        "price",
        "quantity",
        "alarm_time",
        "status",
        "reason",
        "detail",
        "processed_at",
        "original_id",
        "raw",
    )
    change_form_outer_before_template = "alarms/timeline.html"
    fieldsets = (
        (
            _("The row"),
            {
                "classes": ["collapse"],
                "fields": (
                    "status",
                    "reason",
                    "detail",
                    "pair",
                    "is_perpetual_only",
                    "attempts",
                    "original",
                    "received_at",
                    "processed_at",
                ),
            },
        ),
    )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return AlarmList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Alarm], search_term: str
    ) -> tuple[QuerySet[Alarm], bool]:
        """A number is an alarm's own, a day is its 24 hours in UTC, a ticker is found by its index.

        Anything else is looked for in the text of the newest alarms.
        """
        term = search_term.strip()
        if not term:
            return queryset, False
        if term.isdecimal() and len(term) < 19:
            return queryset.filter(pk=int(term)), False
        day = _day(term)
        if day:
            return _of_day(queryset, day), False
        if Alarm.objects.filter(ticker=term).exists():
            return queryset.filter(ticker=term), False
        found, may_repeat = super().get_search_results(request, queryset, term)
        return among_newest(found), may_repeat

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, obj: Alarm | None = None, **kwargs: Any
    ) -> HttpResponse:
        if obj:
            context |= _story_of(obj)
        return super().render_change_form(request, context, *args, obj=obj, **kwargs)

    def get_urls(self) -> list[Any]:
        story = self.admin_site.admin_view(self.story)
        return [path("<int:object_id>/story/", story, name="alarms_alarm_story"), *super().get_urls()]

    def story(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Answer with the alarm's story as it is now, for the page that shows it."""
        alarm = self.get_object(request, str(object_id))
        if alarm is None:
            raise Http404
        if not self.has_view_permission(request, alarm):
            raise PermissionDenied
        return TemplateResponse(request, "alarms/story.html", _story_of(alarm))

    @display(description=_("Received (UTC)"))
    def received(self, alarm: Alarm) -> str:
        return shown_time(alarm.received_at)

    @display(description=_("Alarm"))
    def what(self, alarm: Alarm) -> str:
        return words_of(alarm)

    @display(description=_("Status"), label=STATUS_COLOURS)
    def state(self, alarm: Alarm) -> tuple[str, str]:
        return alarm.status, alarm.get_status_display()

    @display(description=_("What became of it"))
    def outcome(self, alarm: Alarm) -> SafeString:
        return render_to_string("alarms/outcome.html", {"line": alarm.line})  # type: ignore[attr-defined]


def _story_of(alarm: Alarm) -> dict[str, Any]:
    return {"timeline": tell(alarm), "line": lines_of([alarm])[0]}


def _of_day(alarms: QuerySet[Alarm], day: datetime) -> QuerySet[Alarm]:
    first = first_id_from(Alarm, "received_at", day - A_DAY)
    last = first_id_from(Alarm, "received_at", day + 2 * A_DAY)
    return alarms.filter(pk__gte=first, pk__lt=last, received_at__gte=day, received_at__lt=day + A_DAY)


def _is_text(term: str) -> bool:
    """Tell whether a search can be answered by reading text only."""
    word = term.strip()
    return not (word.isdecimal() or _day(word) or Alarm.objects.filter(ticker=word).exists())


def _day(term: str) -> datetime | None:
    try:
        return datetime.strptime(term, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return None
