"""Operations, decisions, orders and fills in the back office: read-only, but for closing an operation."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.views import ChangeList

from exchange.backoffice import (
    NOTHING,
    Bounded,
    ByAccount,
    ByValue,
    Ledger,
    LookAheadList,
    Since,
    bounded,
    number_column,
    shown_number,
    shown_time,
    time_column,
    without_secrets,
)
from exchange.models import MarketChoices
from market.units import counted_in, settled_in
from operations import columns
from operations.history import TONES, OrderLife, Tone, tell_order, why
from operations.lifecycle import NothingToClose, close_by_hand
from operations.models import Decision, Fill, Lane, Operation, Order
from operations.settling_admin import SettlesNow
from strategies.models import Leg, Strategy
from strategies.reason_names import name_of
from strategies.reasons import SENTENCES, explain

# Symbols and names of strategies are shorter, or have spaces
LEAST_ORDER_ID = 17
# The label colours of unfold
COLOURS = {Tone.PLAIN: "", Tone.GOOD: "success", Tone.WAITING: "warning", Tone.BAD: "danger"}
OUTCOME_COLOURS: dict[str, str] = {
    Decision.Outcome.OPEN: "success",
    Decision.Outcome.CLOSE: "info",
    Decision.Outcome.IGNORED: "",
    Decision.Outcome.DENIED: "danger",
}
OPERATION_COLOURS: dict[str, str] = {
    Operation.Status.OPENING: "warning",
    Operation.Status.OPEN: "success",
    Operation.Status.CLOSING: "warning",
    Operation.Status.CLOSED: "",
    Operation.Status.ABORTED: "danger",
}
ORDER_COLOURS: dict[str, str] = {status.value: COLOURS[tone] for status, tone in TONES.items()}


class ByStrategy(ByValue):
    title = _("strategy")
    parameter_name = "strategy"
    column = "strategy"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return [(str(key), name) for key, name in Strategy.objects.values_list("pk", "name")]


class ByReason(Bounded):
    title = _("reason")
    parameter_name = "reason"
    column = "reason"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return [(word, name_of(word)) for word in sorted(SENTENCES)]


class ByOutcome(Bounded):
    title = _("outcome")
    parameter_name = "outcome"
    column = "outcome"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return Decision.Outcome.choices


class OfStrategy(Bounded):
    title = _("strategy")
    parameter_name = "strategy"
    column = "operation__strategy"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return [(str(key), name) for key, name in Strategy.objects.values_list("pk", "name")]


class SinceCreated(Since):
    column = "created_at"
    is_in_order = True


SIDES = (("BUY", _("Buy")), ("SELL", _("Sell")))
BY_LEG = bounded("leg", _("leg"), Leg.Name.choices)
BY_MARKET = bounded("lane__market", _("market"), MarketChoices.choices)
OF_ORDERS = (bounded("role", _("role"), Order.Role.choices), bounded("side", _("side"), SIDES), BY_MARKET)
OF_FILLS = (
    bounded("order__role", _("role"), Order.Role.choices),
    bounded("order__side", _("side"), SIDES),
    BY_MARKET,
)


class LiveFirst(LookAheadList):
    """Live operations, then the others; no index could sort them so, and the live ones are few."""

    def rows_between(self, start: int, stop: int) -> list[Operation]:
        live = list(self.queryset.filter(status__in=Operation.LIVE))
        others = self.queryset.exclude(status__in=Operation.LIVE)
        return live[start:stop] + list(others[max(start - len(live), 0) : max(stop - len(live), 0)])


class SinceFilled(Since):
    column = "filled_at"
    is_in_order = True


@admin.register(Operation)
class OperationAdmin(Ledger):
    """The live ones first; closing is the one thing that a person may do, and it goes through the lifecycle."""

    when_empty = _("An operation begins when an alarm opens a leg of a strategy.")
    list_display = (
        "number",
        "state",
        "what",
        "strategy",
        number_column("held_quantity", _("Held")),
        number_column("avg_entry_price", _("Entry")),
        number_column("avg_exit_price", _("Exit")),
        "result",
        time_column("opened_at", _("Opened (UTC)")),
    )
    list_filter = ("status", "leg", "market", ByStrategy, ByAccount, SinceCreated)
    search_fields = ("symbol", "strategy__name")
    search_help_text = _("Symbol, strategy or order id")
    actions = ("close_selected",)
    actions_detail = ("close",)
    exported = columns.OPERATIONS
    change_form_outer_before_template = "operations/operation.html"
    fieldsets = (
        (
            _("The row"),
            {
                "classes": ["collapse"],
                "fields": ("strategy", "market", "symbol", "leg", "status", "created_at", "opened_at", "closed_at"),
            },
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Operation]:
        return super().get_queryset(request).select_related("strategy", "account").defer(*without_secrets("account__"))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return LiveFirst

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Operation], search_term: str
    ) -> tuple[QuerySet[Operation], bool]:
        """Find an order's operation by either of its ids; anything else is looked for in symbol and strategy."""
        term = search_term.strip().lower()
        if len(term) >= LEAST_ORDER_ID and " " not in term:
            orders = Order.objects.filter(Q(client_order_id=term) | Q(exchange_order_id=term))
            return queryset.filter(pk__in=list(orders.values_list("operation_id", flat=True))), False
        return super().get_search_results(request, queryset, search_term)

    def has_close_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return bool(request.user.has_perm("operations.close_operation"))

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        """Offer to close only what can be closed."""
        is_closable = Operation.objects.filter(pk=object_id, status__in=Operation.STACKABLE).exists()
        return list(super().get_actions_detail(request, object_id)) if is_closable else []

    @admin.action(description=_("Close the selected operations"), permissions=["close"])
    def close_selected(self, request: HttpRequest, queryset: QuerySet[Operation]) -> HttpResponse | None:
        operations = list(queryset)
        if "confirmed" not in request.POST:
            return self._ask(request, operations)
        self._close(request, operations)
        return None

    @action(
        description=_("Close"), permissions=["close"], url_path="close", icon="logout", variant=ActionVariant.DANGER
    )
    def close(self, request: HttpRequest, object_id: str) -> HttpResponse:
        operation = self.get_object(request, object_id)
        if operation is None:
            raise Http404
        if not self.has_view_permission(request, operation):
            raise PermissionDenied
        # A link must not trade: the act is the POST of the confirmation page
        if request.method != "POST":
            return self._ask(request, [operation])
        self._close(request, [operation])
        return HttpResponseRedirect(reverse("admin:operations_operation_change", args=[operation.pk]))

    def _ask(self, request: HttpRequest, operations: list[Operation]) -> TemplateResponse:
        context = self.admin_site.each_context(request) | {
            "title": _("Close at the exchange?"),
            "opts": self.opts,
            "operations": operations,
            "closable": Operation.STACKABLE,
            "is_from_list": "action" in request.POST,
        }
        return TemplateResponse(request, "operations/close.html", context)

    def _close(self, request: HttpRequest, operations: Iterable[Operation]) -> None:
        for operation in operations:
            try:
                order = close_by_hand(operation, request.user)
            except NothingToClose as refusal:
                self.message_user(
                    request,
                    _("Operation %(number)s: %(reason)s.") % {"number": operation.pk, "reason": refusal},
                    messages.WARNING,
                )
                continue
            self.log_change(request, operation, f"Closed by hand: order {order.client_order_id}.")
            self.message_user(
                request, _("Operation %(number)s is being closed.") % {"number": operation.pk}, messages.SUCCESS
            )

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, obj: Operation | None = None, **kwargs: Any
    ) -> HttpResponse:
        if obj:
            context |= {"operation": obj, "lives": lives_of(obj), "decisions": decisions_of(obj)}
            context |= {"colour": OPERATION_COLOURS[obj.status], "figures": figures_of(obj)}
        return super().render_change_form(request, context, *args, obj=obj, **kwargs)

    @display(description=_("Operation"), ordering="pk")
    def number(self, operation: Operation) -> str:
        return f"#{operation.pk}"

    @display(description=_("Status"), label=OPERATION_COLOURS)
    def state(self, operation: Operation) -> tuple[str, str]:
        return operation.status, operation.get_status_display()

    @display(description=_("What"))
    def what(self, operation: Operation) -> str:
        return f"{operation.symbol} {operation.position_side}"

    @display(description=_("Result"))
    def result(self, operation: Operation) -> SafeString:
        return shown_result(operation)


def shown_result(operation: Operation) -> SafeString:
    """Return realised profit less fees, with its sign and its colour."""
    result = operation.realised_pnl - operation.fees
    word = "gain" if result > 0 else "loss" if result < 0 else "even"
    shown, asset = shown_number(result), settled_in(operation.market, operation.symbol)
    return format_html('<span class="pelusa-{}">{}{} {}</span>', word, "+" if result > 0 else "", shown, asset)


def operation_link(number: int | None) -> SafeString | str:
    """Return a link to an operation's page."""
    if number is None:
        return NOTHING
    return format_html('<a href="{}">#{}</a>', reverse("admin:operations_operation_change", args=[number]), number)


def figures_of(operation: Operation) -> list[tuple[Any, str]]:
    """Return the operation's figures as label and value."""
    held_in, paid_in = (of(operation.market, operation.symbol) for of in (counted_in, settled_in))
    return [
        (_("Entered"), f"{shown_number(operation.quantity)} {held_in}"),
        (_("Held now"), f"{shown_number(operation.held_quantity)} {held_in}"),
        (_("Average entry"), shown_number(operation.avg_entry_price)),
        (_("Average exit"), shown_number(operation.avg_exit_price)),
        (_("Realised, before fees"), f"{shown_number(operation.realised_pnl)} {paid_in}"),
        (_("Fees"), f"{shown_number(operation.fees)} {paid_in}"),
        (_("Result after fees"), shown_result(operation)),
        (_("Opened (UTC)"), shown_time(operation.opened_at)),
        (_("Closed (UTC)"), shown_time(operation.closed_at)),
    ]


def lives_of(operation: Operation) -> list[OrderLife]:
    """Return the lives of the operation's orders, oldest first: three queries."""
    orders = (
        operation.orders.select_related("decision", "entry__decision", "lane")
        .prefetch_related("events", "fills")
        .order_by("id")
    )
    return [life_of(order) for order in orders]


def life_of(order: Order) -> OrderLife:
    """Return the order's life; milliseconds count from its alarm's arrival, or from its row when it has none."""
    decision = order.decision or (order.entry.decision if order.entry else None)
    return tell_order(order, decision.alarm_received_at if decision else order.created_at)


@dataclass(frozen=True, slots=True)
class OrderLine:
    """An order as part of a line: how it stands, and what was filled or why nothing was."""

    order: Order
    words: str
    colour: str


@dataclass(frozen=True, slots=True)
class DecisionLine:
    """A decision as one line of a page, with its sentence and how its orders stand."""

    decision: Decision
    sentence: str
    colour: str
    orders: tuple[OrderLine, ...]


def line_of(decision: Decision) -> DecisionLine:
    """Return the decision's line; its orders are read already, or read now."""
    orders = tuple(
        OrderLine(order, why(order) or shown_fill(order), ORDER_COLOURS[order.status])
        for order in decision.orders.all()
    )
    sentence = explain(decision.reason, decision.facts)
    return DecisionLine(decision, sentence, OUTCOME_COLOURS[decision.outcome], orders)


def shown_fill(order: Order) -> str:
    """Return how much was filled, and at what price on average; nothing while nothing was."""
    return f"{shown_number(order.filled_quantity)} @ {shown_number(order.avg_price)}" if order.filled_quantity else ""


def decisions_of(operation: Operation) -> list[DecisionLine]:
    """Return the decisions that made or changed the operation, oldest first."""
    return [line_of(decision) for decision in operation.decisions.prefetch_related("orders").order_by("id")]


@admin.register(Decision)
class DecisionAdmin(Ledger):
    """Every answer of every strategy, with its reason as a sentence."""

    when_empty = _("Each strategy that an alarm concerns decides once, and says why.")
    list_display = (
        time_column("created_at", _("Decided (UTC)")),
        "strategy",
        "leg",
        "state",
        "sentence",
        "alarm",
        "number",
    )
    list_filter = (SinceCreated, ByStrategy, ByOutcome, ByReason, BY_LEG)
    search_fields = ("strategy__name", "reason")
    search_help_text = _("Strategy or reason")
    fields = (
        "alarm",
        "strategy",
        "leg",
        "outcome",
        "sentence",
        "facts",
        "operation",
        "alarm_price",
        "alarm_quantity",
        "alarm_received_at",
        "created_at",
    )
    list_select_related = ("strategy",)
    exported = columns.DECISIONS

    @display(description=_("Operation"))
    def number(self, decision: Decision) -> SafeString | str:
        return operation_link(decision.operation_id)

    @display(description=_("Outcome"), label=OUTCOME_COLOURS)
    def state(self, decision: Decision) -> tuple[str, str]:
        return decision.outcome, decision.get_outcome_display()

    @display(description=_("Why"))
    def sentence(self, decision: Decision) -> str:
        return explain(decision.reason, decision.facts)

    @display(description=_("Alarm"))
    def alarm(self, decision: Decision) -> SafeString:
        return format_html(
            '<a href="{}">#{}</a>', reverse("admin:alarms_alarm_change", args=[decision.alarm_id]), decision.alarm_id
        )


@admin.register(Order)
class OrderAdmin(SettlesNow, Ledger):
    """Every instruction to the exchange; its page tells its life."""

    when_empty = _("Orders follow from decisions, and from stops and targets.")
    list_display = (
        time_column("created_at", _("Ordered (UTC)")),
        "role",
        "state",
        "what",
        "filled",
        "sentence",
        "number",
    )
    list_filter = (SinceCreated, OfStrategy, "status", ByReason, *OF_ORDERS)
    search_fields = ("client_order_id", "exchange_order_id", "lane__symbol", "code")
    search_help_text = _("Our id, their id, symbol or code")
    list_select_related = ("lane", "decision", "entry__decision")
    exported = columns.ORDERS
    change_form_outer_before_template = "operations/order.html"
    fieldsets = (
        (
            _("The row"),
            {
                "classes": ["collapse"],
                "fields": (
                    "operation",
                    "decision",
                    "entry",
                    "client_order_id",
                    "exchange_order_id",
                    "quantity",
                    "trigger_price",
                    "filled_quantity",
                    "avg_price",
                    "reason",
                    "code",
                    "detail",
                    "has_all_fills",
                    "settle_misses",
                    "created_at",
                    "submitted_at",
                    "answered_at",
                    "closed_at",
                ),
            },
        ),
    )

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, obj: Order | None = None, **kwargs: Any
    ) -> HttpResponse:
        if obj:
            context |= {"order": obj, "life": life_of(obj)}
        return super().render_change_form(request, context, *args, obj=obj, **kwargs)

    @display(description=_("Status"), label=ORDER_COLOURS)
    def state(self, order: Order) -> tuple[str, str]:
        return order.status, order.get_status_display()

    @display(description=_("What"))
    def what(self, order: Order) -> str:
        return f"{order.side} {shown_number(order.quantity)} {order.lane.symbol} {order.position_side}"

    @display(description=_("Filled"))
    def filled(self, order: Order) -> str:
        return shown_fill(order) or NOTHING

    @display(description=_("Why not"))
    def sentence(self, order: Order) -> str:
        return why(order) or NOTHING

    @display(description=_("Operation"))
    def number(self, order: Order) -> SafeString | str:
        return operation_link(order.operation_id)


@admin.register(Lane)
class LaneAdmin(Ledger):
    """Each account and symbol: whether entries are held back there, since when and why."""

    when_empty = _("A lane comes with the first order of a symbol.")
    list_display = (
        "symbol",
        "market",
        "account",
        time_column("frozen_at", _("Frozen since (UTC)")),
        "sentence",
        time_column("paused_until", _("Paused until (UTC)")),
    )
    list_filter = (("frozen_at", admin.EmptyFieldListFilter), "market", ByAccount)
    search_fields = ("symbol", "account__name")
    fields = (
        "account",
        "market",
        "symbol",
        "frozen_at",
        "sentence",
        "paused_until",
        "long_leverage",
        "short_leverage",
        "margin_mode",
    )
    ordering = ("symbol", "market", "account")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Lane]:
        return super().get_queryset(request).select_related("account").defer(*without_secrets("account__"))

    @display(description=_("Why"))
    def sentence(self, lane: Lane) -> str:
        return explain(lane.frozen_reason, lane.frozen_facts) if lane.frozen_reason else NOTHING


@admin.register(Fill)
class FillAdmin(Ledger):
    """Every execution, as the exchange reported it."""

    when_empty = _("Each execution at the exchange comes here, by its own trade id.")
    list_display = (
        time_column("filled_at", _("Filled (UTC)")),
        "what",
        number_column("quantity", _("Quantity")),
        number_column("price", _("Price")),
        "paid",
        "role",
        "exchange_trade_id",
    )
    list_filter = (SinceFilled, *OF_FILLS)
    search_fields = ("exchange_trade_id", "order__client_order_id", "order__exchange_order_id", "lane__symbol")
    search_help_text = _("Trade, order id or symbol")
    list_select_related = ("order", "lane")
    fields = ("order", "exchange_trade_id", "quantity", "price", "fee", "fee_asset", "filled_at")
    exported = columns.FILLS

    @display(description=_("What"))
    def what(self, fill: Fill) -> str:
        return f"{fill.order.side} {fill.lane.symbol} {fill.order.position_side}"

    @display(description=_("Role"))
    def role(self, fill: Fill) -> str:
        return fill.order.get_role_display()

    @display(description=_("Fee"))
    def paid(self, fill: Fill) -> str:
        return f"{shown_number(fill.fee)} {fill.fee_asset}".strip()


from operations import guards_admin  # noqa: E402, F401 - registers the pages of the guards
