"""Backfills in the back office, with their progress, and the holes that the exchange itself has."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.decorators import action, display

from exchange.backoffice import NOTHING, Ledger, shown_time, time_column
from market import backfill
from market.models import Backfill, KlineHole
from market.spans import Span, count

# Rows of a page at most
MOST_ASKED_FOR = 200
BACKFILL_COLOURS: dict[str, str] = {
    Backfill.Status.WAITING: "warning",
    Backfill.Status.RUNNING: "info",
    Backfill.Status.DONE: "success",
    Backfill.Status.STOPPED: "",
}


class PlainForm(forms.Form):
    """Nothing to type: the button is the act."""


def shown_row(page: ModelAdmin, request: HttpRequest, object_id: str) -> Any:
    """Return the row of an act's page, if the user may see it."""
    row = page.get_object(request, object_id)
    if row is None:
        raise Http404
    if not page.has_view_permission(request, row):
        raise PermissionDenied
    return row


def told(row: Backfill) -> dict[str, Any]:
    """Return how far a backfill is, for the bar that moves by itself."""
    per_cent = f"{row.progress * 100:.1f}"
    words = _("%(status)s, %(per_cent)s %%, %(rows)s candles, back to %(cursor)s UTC") % {
        "status": row.get_status_display(),
        "per_cent": per_cent,
        "rows": f"{row.rows:,}",
        "cursor": shown_time(row.cursor),
    }
    return {"progress": per_cent, "words": str(words), "is_over": row.status not in backfill.UNFINISHED}


@admin.register(Backfill)
class BackfillAdmin(Ledger):
    """Wishes for old candles and how far they came; one begins on its series' page."""

    when_empty = _("A backfill begins on its series' page.")
    list_display = (
        "name",
        "state",
        "bar",
        time_column("since", _("Since (UTC)")),
        time_column("until", _("Until (UTC)")),
        "requests",
        "asked_by",
        "pause",
        time_column("created_at", _("Asked (UTC)")),
    )
    list_filter = ("status", "series__market", "series__interval")
    search_fields = ("series__symbol",)
    search_help_text = _("Symbol, e.g. BTC-USDT")
    list_select_related = ("series",)
    actions = ("stop_selected", "resume_selected")
    actions_detail = ("stop", "resume")
    change_form_outer_before_template = "market/backfill.html"
    fields = ("series", ("since", "until", "cursor"), ("rows", "requests"), "error", ("started_at", "finished_at"))

    class Media:
        js = ("market/progress.js",)

    def get_urls(self) -> list[Any]:
        own = path("progress/", self.admin_site.admin_view(self.tell), name="market_backfill_progress")
        return [own, *super().get_urls()]

    def tell(self, request: HttpRequest) -> JsonResponse:
        """Answer how far each of these backfills is: `?ids=3,4`."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        ids = [int(text) for text in request.GET.get("ids", "").split(",") if text.isascii() and text.isdigit()]
        rows = Backfill.objects.filter(pk__in=[each for each in ids if each < 2**63][:MOST_ASKED_FOR])
        return JsonResponse({str(row.pk): told(row) for row in rows})

    def has_move_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return bool(request.user.has_perm("market.change_backfill"))

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        """Offer to stop what goes on, and to resume what was stopped."""
        status = Backfill.objects.filter(pk=object_id).values_list("status", flat=True).first()
        wanted = "resume" if status == Backfill.Status.STOPPED else "stop" if status in backfill.UNFINISHED else ""
        offered = super().get_actions_detail(request, object_id)
        return [each for each in offered if each.action_name == f"market_backfill_{wanted}"]

    @admin.action(description=_("Stop the selected backfills"), permissions=["move"])
    def stop_selected(self, request: HttpRequest, queryset: QuerySet[Backfill]) -> None:
        self._each(request, queryset, backfill.stop, _("%(count)s stopped; what is stored stays."))

    @admin.action(description=_("Resume the selected backfills"), permissions=["move"])
    def resume_selected(self, request: HttpRequest, queryset: QuerySet[Backfill]) -> None:
        self._each(request, queryset, backfill.resume, _("%(count)s go on where they were."))

    def _each(
        self, request: HttpRequest, queryset: QuerySet[Backfill], do: Callable[[Backfill], bool], said: Any
    ) -> None:
        moved = sum(do(row) for row in queryset)
        self.message_user(request, said % {"count": moved}, messages.SUCCESS if moved else messages.WARNING)

    @action(description=_("Stop"), permissions=["move"], url_path="stop", icon="stop")
    def stop(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._move(request, object_id, _("Stop this backfill?"), backfill.stop, _("Stopped: %(row)s."))

    @action(description=_("Resume"), permissions=["move"], url_path="resume", icon="play_arrow")
    def resume(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._move(request, object_id, _("Resume this backfill?"), backfill.resume, _("It goes on: %(row)s."))

    def _move(
        self, request: HttpRequest, object_id: str, title: Any, do: Callable[[Backfill], bool], said: Any
    ) -> HttpResponse:
        row: Backfill = shown_row(self, request, object_id)
        if request.method != "POST":
            context = self.admin_site.each_context(request) | {
                "title": title,
                "words": _("What is stored stays, and it goes on where it was."),
                "opts": self.opts,
                "series": row.series,
                "form": PlainForm(),
            }
            return TemplateResponse(request, "market/act.html", context)
        if do(row):
            self.message_user(request, said % {"row": row}, messages.SUCCESS)
        else:
            self.message_user(request, _("Nothing was done: %(row)s.") % {"row": row}, messages.WARNING)
        return HttpResponseRedirect(reverse("admin:market_backfill_change", args=[row.pk]))

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, obj: Backfill | None = None, **kwargs: Any
    ) -> HttpResponse:
        if obj:
            context |= {"row": obj, "bar": progress_bar(obj), "colour": BACKFILL_COLOURS[obj.status]}
        return super().render_change_form(request, context, *args, obj=obj, **kwargs)

    @display(description=_("Series"))
    def name(self, row: Backfill) -> str:
        return str(row.series)

    @display(description=_("Status"), label=BACKFILL_COLOURS)
    def state(self, row: Backfill) -> tuple[str, str]:
        return row.status, row.get_status_display()

    @display(description=_("Progress"))
    def bar(self, row: Backfill) -> SafeString:
        return progress_bar(row)

    @display(description=_("Pauses because"))
    def pause(self, row: Backfill) -> str:
        return row.error or NOTHING


def progress_bar(row: Backfill) -> SafeString:
    """Return a bar that `progress.js` moves while the backfill goes on."""
    found = told(row)
    return format_html(
        '<span class="pelusa-progress" data-backfill="{}" data-over="{}" data-address="{}">'
        '<progress max="100" value="{}"></progress> <span>{}</span></span>',
        row.pk,
        "yes" if found["is_over"] else "",
        reverse("admin:market_backfill_progress"),
        found["progress"],
        found["words"],
    )


@admin.register(KlineHole)
class KlineHoleAdmin(Ledger):
    """Candles that the exchange was asked for and did not have. Believed when it lacked them twice."""

    when_empty = _("The exchange had every candle that it was asked for.")
    list_display = (
        "of_series",
        time_column("start", _("From (UTC)")),
        time_column("stop", _("To before (UTC)")),
        "candles",
        "is_believed",
        time_column("seen_at", _("First asked in vain (UTC)")),
        time_column("asked_at", _("Last asked in vain (UTC)")),
    )
    list_filter = ("series__market", "series__interval")
    search_fields = ("series__symbol",)
    search_help_text = _("Symbol, e.g. BTC-USDT")
    list_select_related = ("series",)
    ordering = ("-id",)
    fields = ("series", ("start", "stop"), ("seen_at", "asked_at", "confirmed_at"))

    @display(description=_("Series"))
    def of_series(self, hole: KlineHole) -> str:
        return str(hole.series)

    @display(description=_("Candles"))
    def candles(self, hole: KlineHole) -> str:
        return f"{count(Span(hole.start, hole.stop), hole.series.interval):,}"

    @display(description=_("Believed"), boolean=True)
    def is_believed(self, hole: KlineHole) -> bool:
        return hole.confirmed_at is not None
