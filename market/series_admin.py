"""Series in the back office: which candles are kept, from when to when, and what is missing of them."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django import forms
from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django_celery_beat.models import PeriodicTask
from unfold.decorators import action, display
from unfold.views import ChangeList
from unfold.widgets import UnfoldAdminTextInputWidget

from exchange.backoffice import NOTHING, Ledger, LookAheadList, shown_number, shown_time, time_column
from exchange.errors import ExchangeError
from market import backfill, following
from market.backfills_admin import PlainForm, progress_bar, shown_row
from market.chart import series_of, trouble_of
from market.coverage import coverage
from market.coverage_bar import draw_bar
from market.models import Backfill, Kline, Series
from market.moments import read_end, read_start
from market.paging import probable_now
from market.spans import Span, count
from market.summary import Summary, span_of, summaries
from pelusa.doorbell import ring_on_commit

CANDLES_SHOWN, GAPS_SHOWN, BACKFILLS_SHOWN = 20, 50, 10
# At once, of a series that nobody follows
GAPS_FILLED = 10


class MomentField(forms.CharField):
    """A day or a time in UTC."""

    widget = UnfoldAdminTextInputWidget(attrs={"placeholder": "2024-01-31"})
    read: Callable[[str], datetime] = staticmethod(read_start)

    def clean(self, value: Any) -> datetime | None:
        text = super().clean(value)
        try:
            return self.read(text) if text else None
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None


class EndField(MomentField):
    read = staticmethod(read_end)


class SinceForm(forms.Form):
    since = MomentField(
        required=False,
        label=_("Complete since (UTC)"),
        help_text=_("A day such as 2024-01-31, or a time. Empty: from the oldest candle that is stored."),
    )


class RangeForm(forms.Form):
    since = MomentField(label=_("Since (UTC)"), help_text=_("A day such as 2024-01-31, or a time."))
    until = EndField(
        required=False, label=_("Until (UTC)"), help_text=_("A day is included. Empty: up to the newest candle.")
    )


class PaceForm(forms.Form):
    every = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=86_400,
        widget=UnfoldAdminTextInputWidget,
        label=_("Every so many seconds"),
        help_text=_("Empty: take the series back into the common schedule."),
    )


class NewSeriesForm(forms.ModelForm):
    """Which candles to keep; the symbol in the exchange's or TradingView's spelling."""

    symbol = forms.CharField(
        label=_("Symbol"),
        max_length=40,
        widget=UnfoldAdminTextInputWidget,
        help_text=_("BTC-USDT, or BTCUSDT.P as TradingView writes it."),
    )
    since = SinceForm.base_fields["since"]

    class Meta:
        model = Series
        fields = ("market", "symbol", "interval", "is_followed")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if {"market", "symbol", "interval"} <= cleaned.keys():
            try:
                self.found = series_of(cleaned["symbol"], cleaned["market"], cleaned["interval"])
            except following.UnknownSeries as error:
                self.add_error("symbol", f"{error}.")
            except ExchangeError as error:
                self.add_error("symbol", trouble_of(error).detail)
        return cleaned

    def _post_clean(self) -> None:
        """The row is made by `find_series`, which knows what the exchange lists; a second one is the same one."""

    def save(self, commit: bool = True) -> Series:
        if self.cleaned_data["is_followed"]:
            follow_from(self.found, self.cleaned_data["since"])
        return self.found


def follow_from(series: Series, since: datetime | None) -> None:
    """Follow, and have a worker fetch the first candles now."""
    following.follow(series, since=since)
    ring_on_commit(following.REPAIR, series.pk, using="market")


def repair_now(series: Series) -> None:
    """Have a worker go through the whole of a series that is followed."""
    Series.objects.filter(pk=series.pk).update(checked_at=None)
    ring_on_commit(following.REPAIR, series.pk, using="market")


class SummedUp(LookAheadList):
    """A page of series, each with its summary."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        found = summaries(self.result_list)
        for row in self.result_list:
            row.summary = found[row.pk]


class Act(NamedTuple):
    """Something to do with a series after a page asked how; `do` returns what is said of it."""

    title: Any
    words: Any
    form: type[forms.Form]
    do: Callable[[Series, Any, dict[str, Any]], Any]


def _follow(series: Series, user: Any, said: dict[str, Any]) -> Any:
    follow_from(series, said["since"])
    return _("%(series)s is followed.") % {"series": series}


def _unfollow(series: Series, user: Any, said: dict[str, Any]) -> Any:
    following.unfollow(series)
    return _("%(series)s is no longer followed; its candles stay.") % {"series": series}


def _repair(series: Series, user: Any, said: dict[str, Any]) -> Any:
    if series.is_followed:
        repair_now(series)
        return _("All of %(series)s is gone through now, and what is missing is fetched.") % {"series": series}
    return _fill(series, user)


def _fill(series: Series, user: Any) -> Any:
    """Begin a backfill of each gap, the newest first: a series that nobody follows is not brought up to now."""
    span = span_of(series, probable_now())
    missing = coverage(series, since=span.start, until=span.stop).missing
    if not missing:
        raise ValueError(_("Nothing is missing"))
    for gap in missing[: -GAPS_FILLED - 1 : -1]:
        backfill.begin(series, gap.start, until=gap.stop, asked_by=user.get_username())
    filled = {"filled": min(len(missing), GAPS_FILLED), "all": len(missing)}
    return _("%(filled)s of %(all)s gaps are being filled: the backfills below say how far they are.") % filled


def _backfill(series: Series, user: Any, said: dict[str, Any]) -> Any:
    return _begun(backfill.begin(series, said["since"], until=said["until"], asked_by=user.get_username()))


def _begun(row: Backfill) -> Any:
    url = reverse("admin:market_backfill_change", args=[row.pk])
    return format_html('<a href="{}">{}</a>', url, _("The backfill of %(row)s has begun.") % {"row": row})


def _schedule(series: Series, user: Any, said: dict[str, Any]) -> Any:
    if not said["every"]:
        following.unschedule(series)
        return _("%(series)s is back in the common schedule.") % {"series": series}
    following.schedule(series, timedelta(seconds=said["every"]))
    return _("%(series)s has a schedule of its own.") % {"series": series}


ACTS = {
    "follow": Act(
        _("Follow this series?"),
        _("New candles are fetched as they close, and gaps are repaired, from now on."),
        SinceForm,
        _follow,
    ),
    "unfollow": Act(
        _("No longer follow this series?"),
        _("No new candles are fetched. What is stored stays; a schedule of its own is deleted."),
        PlainForm,
        _unfollow,
    ),
    "repair": Act(
        _("Fill the gaps of this series now?"),
        _("All of it is gone through, and what is missing is fetched. It costs few requests: near gaps share one."),
        PlainForm,
        _repair,
    ),
    "backfill": Act(
        _("Fetch old candles?"),
        _("Newest first, a thousand a request, as a task: leave the page whenever you like. It can be stopped."),
        RangeForm,
        _backfill,
    ),
    "schedule": Act(
        _("A schedule of its own?"),
        _("It becomes a row of Schedules, where it can also be changed, switched off or given hours."),
        PaceForm,
        _schedule,
    ),
}


@admin.register(Series)
class SeriesAdmin(Ledger):
    """Which candles are kept, and what is missing of them. What changes is an act, never a field."""

    form = NewSeriesForm
    when_empty = _("Candles that a chart asked for, or that are to be followed, stand here.")
    list_display = (
        "name",
        "followed",
        "bar",
        time_column("first_open_time", _("First (UTC)")),
        time_column("last_open_time", _("Last (UTC)")),
        "candles",
        "missing",
        "pace",
        "trouble",
    )
    list_filter = ("market", "interval", "is_followed")
    search_fields = ("symbol",)
    search_help_text = _("Symbol, e.g. BTC-USDT")
    actions = ("follow_selected", "unfollow_selected", "repair_selected")
    actions_detail = ("follow", "unfollow", "repair", "backfill", "schedule")
    change_form_outer_before_template = "market/series.html"
    add_fieldsets = ((None, {"fields": (("market", "symbol", "interval"), ("is_followed", "since"))}),)
    fieldsets = (
        (
            _("The row"),
            {
                "classes": ["collapse"],
                "fields": (
                    "market",
                    "symbol",
                    "interval",
                    "wanted_since",
                    "complete_until",
                    "checked_at",
                    "repaired_at",
                ),
            },
        ),
    )

    class Media:
        js = ("market/progress.js",)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return SummedUp

    def get_fieldsets(self, request: HttpRequest, obj: Series | None = None) -> Any:
        return self.fieldsets if obj else self.add_fieldsets

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return bool(request.user.has_perm("market.add_series"))

    def has_keep_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return bool(request.user.has_perm("market.change_series"))

    def has_fill_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return bool(request.user.has_perm("market.add_backfill"))

    def has_schedule_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return bool(request.user.has_perms(["market.change_series", "django_celery_beat.add_periodictask"]))

    def save_model(self, request: HttpRequest, obj: Series, form: Any, change: bool) -> None:
        """The form has made and followed it."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Nothing hangs on a series that a form could fill."""

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        """Offer what fits: only a series that is followed can be left."""
        is_followed = Series.objects.filter(pk=object_id, is_followed=True).exists()
        hidden = "follow" if is_followed else "unfollow"
        offered = super().get_actions_detail(request, object_id)
        return [each for each in offered if each.action_name != f"market_series_{hidden}"]

    @admin.action(description=_("Follow the selected series"), permissions=["keep"])
    def follow_selected(self, request: HttpRequest, queryset: QuerySet[Series]) -> None:
        self._each(request, queryset, lambda series: follow_from(series, None), _("%(count)s series are followed."))

    @admin.action(description=_("No longer follow the selected series"), permissions=["keep"])
    def unfollow_selected(self, request: HttpRequest, queryset: QuerySet[Series]) -> None:
        self._each(request, queryset, following.unfollow, _("%(count)s series are no longer followed."))

    @admin.action(description=_("Repair the selected series now"), permissions=["keep"])
    def repair_selected(self, request: HttpRequest, queryset: QuerySet[Series]) -> None:
        followed = queryset.filter(is_followed=True)
        self._each(request, followed, repair_now, _("%(count)s series that are followed are gone through now."))

    def _each(self, request: HttpRequest, queryset: QuerySet[Series], do: Callable[[Series], None], said: Any) -> None:
        rows = list(queryset)
        for series in rows:
            do(series)
        self.message_user(request, said % {"count": len(rows)}, messages.SUCCESS)

    @action(description=_("Follow"), permissions=["keep"], url_path="follow", icon="visibility")
    def follow(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._act(request, object_id, "follow")

    @action(description=_("No longer follow"), permissions=["keep"], url_path="unfollow", icon="visibility_off")
    def unfollow(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._act(request, object_id, "unfollow")

    @action(description=_("Fill the gaps now"), permissions=["keep"], url_path="repair", icon="build")
    def repair(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._act(request, object_id, "repair")

    @action(description=_("Backfill"), permissions=["fill"], url_path="backfill", icon="history")
    def backfill(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._act(request, object_id, "backfill")

    @action(description=_("Schedule"), permissions=["schedule"], url_path="schedule", icon="schedule")
    def schedule(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._act(request, object_id, "schedule")

    def _act(self, request: HttpRequest, object_id: str, name: str) -> HttpResponse:
        """Ask, and act on the POST of that page: a link must change nothing."""
        series, act = shown_row(self, request, object_id), ACTS[name]
        form = act.form(request.POST if request.method == "POST" else None)
        if not form.is_valid():
            return self._ask(request, series, act, form)
        try:
            said = act.do(series, request.user, form.cleaned_data)
        except ExchangeError as error:
            form.add_error(None, trouble_of(error).detail)
        except ValueError as error:
            form.add_error(None, f"{error}.")
        if form.errors:
            return self._ask(request, series, act, form)
        self.log_change(request, series, f"{name}: {request.POST.get('since') or request.POST.get('every') or ''}")
        self.message_user(request, said, messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:market_series_change", args=[series.pk]))

    def _ask(self, request: HttpRequest, series: Series, act: Act, form: forms.Form) -> TemplateResponse:
        context = self.admin_site.each_context(request) | {
            "title": act.title,
            "words": act.words,
            "opts": self.opts,
            "series": series,
            "form": form,
        }
        return TemplateResponse(request, "market/act.html", context)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, obj: Series | None = None, **kwargs: Any
    ) -> HttpResponse:
        if obj:
            context |= page_of(obj)
        return super().render_change_form(request, context, *args, obj=obj, **kwargs)

    @display(description=_("Series"), ordering="symbol")
    def name(self, series: Series) -> str:
        return str(series)

    @display(description=_("Followed"), boolean=True)
    def followed(self, series: Series) -> bool:
        return series.is_followed

    @display(description=_("Coverage"))
    def bar(self, series: Series) -> SafeString | str:
        return bar_of(_summary(series)) or NOTHING

    @display(description=_("Candles"))
    def candles(self, series: Series) -> str:
        found = _summary(series)
        return f"{found.candles:,}" if found.is_exact else f"≥ {found.candles:,}"

    @display(description=_("Missing"))
    def missing(self, series: Series) -> Any:
        found = _summary(series)
        return f"{found.missing_candles:,}" if found.is_exact else _("open the series to count")

    @display(description=_("Schedule"))
    def pace(self, series: Series) -> Any:
        if not series.is_followed:
            return NOTHING
        return _("its own") if series.has_own_schedule else _("common")

    @display(description=_("Last error"))
    def trouble(self, series: Series) -> str:
        return series.last_error or NOTHING


def _summary(series: Series) -> Summary:
    found: Summary = series.summary  # type: ignore[attr-defined]
    return found


def bar_of(found: Any) -> SafeString:
    """Return the bar of a summary or of a coverage."""
    label = _("%(candles)s candles, %(missing)s missing") % {
        "candles": f"{found.candles:,}",
        "missing": f"{found.missing_candles:,}",
    }
    unknown = getattr(found, "unknown", ())
    return draw_bar(found.span, missing=found.missing, holes=found.holes, unknown=unknown, label=label)


def page_of(series: Series) -> dict[str, Any]:
    """Return what a series' own page shows: its coverage, counted, its newest candles, backfills and schedule."""
    span = span_of(series, probable_now())
    found = coverage(series, since=span.start, until=span.stop)
    return {
        "series": series,
        "bar": bar_of(found),
        "figures": [
            (_("From (UTC)"), shown_time(found.first)),
            (_("To (UTC)"), shown_time(found.last)),
            (_("Candles"), f"{found.candles:,}"),
            (_("Missing"), f"{found.missing_candles:,}"),
            (_("Wanted since (UTC)"), shown_time(series.wanted_since)),
            (_("Last repaired (UTC)"), shown_time(series.repaired_at)),
        ],
        "missing": _lines(series, found.missing),
        "holes": _lines(series, found.holes),
        "more_missing": max(len(found.missing) - GAPS_SHOWN, 0),
        "newest": newest_candles(series),
        "backfills": [{"row": row, "bar": progress_bar(row)} for row in series.backfills.all()[:BACKFILLS_SHOWN]],
        "own_schedule": PeriodicTask.objects.filter(name=following.schedule_name(series)).first(),
    }


def newest_candles(series: Series) -> list[tuple[str, ...]]:
    """Return the newest candles as texts, newest first."""
    rows = Kline.objects.filter(series=series).order_by("-open_time")
    columns = rows.values_list("open_time", "open", "high", "low", "close", "volume")
    return [(shown_time(moment), *map(shown_number, numbers)) for moment, *numbers in columns[:CANDLES_SHOWN]]


def _lines(series: Series, spans: Sequence[Span]) -> list[tuple[str, str, str]]:
    return [
        (shown_time(span.start), shown_time(span.stop), f"{count(span, series.interval):,}")
        for span in spans[:GAPS_SHOWN]
    ]
