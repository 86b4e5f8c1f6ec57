"""Tell an order's life as plain steps: what was meant, what was sent, what the exchange said, what was filled.

No database is asked (rows come with their events and fills) and no HTML is made: any page or answer can show it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from exchange.rounding import plain
from operations.models import Fill, Order, OrderEvent
from operations.states import OrderStatus
from strategies.compared import Compared
from strategies.reason_names import name_of
from strategies.reasons import explain


class Tone(StrEnum):
    """How a step reads at a glance."""

    PLAIN = "plain"
    GOOD = "good"
    WAITING = "waiting"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened, `at` a time in UTC, `after_ms` milliseconds after the story began.

    `facts` are label and value; `compared` what was asked and what was the case; `raw` is a message as it came.
    """

    kind: str
    title: str
    at: datetime | None
    after_ms: int | None
    text: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    tone: Tone = Tone.PLAIN
    raw: str = ""
    compared: tuple[Compared, ...] = ()

    @property
    def after(self) -> str:
        """How long after, in the unit that a person reads at once."""
        if self.after_ms is None:
            return ""
        if abs(self.after_ms) < TEN_SECONDS:
            return f"{self.after_ms:+d} ms"
        minutes, seconds = divmod(self.after_ms / 1000, 60)
        hours, minutes = divmod(int(minutes), 60)
        return f"+{hours} h {minutes:02d} min" if hours else f"+{minutes} min {seconds:04.1f} s"


@dataclass(frozen=True, slots=True)
class OrderLife:
    """An order and all that happened to it, in order."""

    order_id: int
    title: str
    status: str
    tone: Tone
    steps: tuple[Step, ...]


TEN_SECONDS = 10_000
TONES = {
    OrderStatus.CREATED: Tone.PLAIN,
    OrderStatus.SUBMITTED: Tone.WAITING,
    OrderStatus.ACCEPTED: Tone.WAITING,
    OrderStatus.PARTIALLY_FILLED: Tone.WAITING,
    OrderStatus.PENDING_CANCEL: Tone.WAITING,
    OrderStatus.FILLED: Tone.GOOD,
    OrderStatus.CANCELED: Tone.PLAIN,
    OrderStatus.EXPIRED: Tone.BAD,
    OrderStatus.DENIED: Tone.BAD,
    OrderStatus.REJECTED: Tone.BAD,
}
SPEAKERS = {
    "us": gettext_lazy("Pelusa: {status}"),
    "answer": gettext_lazy("The exchange answered: {status}"),
    "query": gettext_lazy("The exchange, asked: {status}"),
    "fills": gettext_lazy("From its fills: {status}"),
}

# An order that was sent and not answered stays as it is: what is said of it meanwhile
IN_FLIGHT_TITLES = {
    "us": gettext_lazy("Sent to the exchange"),
    "answer": gettext_lazy("No clear answer: the order stays in flight until the exchange has told"),
    "query": gettext_lazy("The exchange was asked"),
}


def milliseconds_between(start: datetime | None, moment: datetime | None) -> int | None:
    """Return whole milliseconds from `start` to `moment`; None when either is unknown."""
    if start is None or moment is None:
        return None
    return round((moment - start).total_seconds() * 1000)


def tell_order(order: Order, start: datetime) -> OrderLife:
    """Return the order's life; milliseconds count from `start`."""
    steps = [_tell_event(order, event, start) for event in order.events.all()]
    fills = sorted(order.fills.all(), key=lambda fill: (fill.filled_at, fill.pk))
    steps += [_tell_fill(fill, start) for fill in fills]
    return OrderLife(
        order_id=order.pk,
        title=f"{order.get_role_display()}: {instruction(order)}",
        status=order.get_status_display(),
        tone=TONES[OrderStatus(order.status)],
        steps=tuple(steps),
    )


def instruction(order: Order) -> str:
    """Return what the order tells the exchange to do, in one line."""
    quantity = plain(order.quantity) if order.quantity is not None else ""
    trigger = f"@ {plain(order.trigger_price)}" if order.trigger_price is not None else ""
    reduce_only = "reduce-only" if order.reduce_only else ""
    words = (order.side, quantity, order.lane.symbol, order.order_type, trigger, order.position_side, reduce_only)
    return " ".join(word for word in words if word)


def shown_facts(facts: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the values that were compared, as label and value."""
    return tuple((name_of(key), "–" if value is None else str(value)) for key, value in facts.items())


def _tell_event(order: Order, event: OrderEvent, start: datetime) -> Step:
    status = OrderStatus(event.status)
    return Step(
        kind=event.status,
        title=_title(event, status),
        at=event.at,
        after_ms=milliseconds_between(start, event.at),
        text=_words(order, event, status),
        facts=_facts(order, event, status),
        tone=TONES[status],
    )


def _title(event: OrderEvent, status: OrderStatus) -> str:
    if status == OrderStatus.CREATED:
        return _("Ordered: the row is committed, nothing is sent yet")
    if status == OrderStatus.SUBMITTED:
        return str(IN_FLIGHT_TITLES.get(event.source, IN_FLIGHT_TITLES["answer"]))
    return str(SPEAKERS.get(event.source, SPEAKERS["us"])).format(status=event.get_status_display())


def why(order: Order) -> str:
    """Return the sentence for an order that was denied, rejected or expired; empty for others."""
    facts = order.decision.facts if order.decision else {}
    return explain(order.reason, {**facts, "code": order.code, "detail": order.detail}) if order.reason else ""


def _words(order: Order, event: OrderEvent, status: OrderStatus) -> str:
    if status in (OrderStatus.DENIED, OrderStatus.REJECTED) and order.reason:
        return why(order)
    if event.source == "us" and status == OrderStatus.SUBMITTED:
        return " · ".join(part for part in (instruction(order), event.detail) if part)
    return event.detail


def _facts(order: Order, event: OrderEvent, status: OrderStatus) -> tuple[tuple[str, str], ...]:
    if event.source == "us" and status == OrderStatus.SUBMITTED:
        return ((_("our id"), order.client_order_id),)
    if event.source != "us" and status != OrderStatus.SUBMITTED and order.exchange_order_id:
        return ((_("their id"), order.exchange_order_id),)
    return ()


def _tell_fill(fill: Fill, start: datetime) -> Step:
    return Step(
        kind="fill",
        title=_("Filled {quantity} at {price}").format(quantity=plain(fill.quantity), price=plain(fill.price)),
        at=fill.filled_at,
        after_ms=milliseconds_between(start, fill.filled_at),
        facts=((_("fee"), f"{plain(fill.fee)} {fill.fee_asset}".strip()), (_("trade"), fill.exchange_trade_id)),
        tone=Tone.GOOD,
    )
