"""Tell what became of one alarm: received, understood, decided, ordered, answered, filled; milliseconds at each step.

Plain data, no HTML. Alarms live in another database than decisions, so two databases are read and nothing is joined.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from django.db.models import Prefetch
from django.utils.translation import gettext as _

from alarms.messages import Unreadable, read_message
from alarms.models import Alarm
from exchange.rounding import plain
from operations.history import OrderLife, Step, Tone, milliseconds_between, shown_facts, tell_order
from operations.models import Decision, Operation, Order
from strategies.compared import compared, others
from strategies.reasons import explain


@dataclass(frozen=True, slots=True)
class Answer:
    """What one strategy answered: its decision, and the lives of the orders that the decision made."""

    decision_id: int
    strategy_id: int
    strategy: str
    decided: Step
    orders: tuple[OrderLife, ...]
    operation_id: int | None = None
    operation: str = ""


@dataclass(frozen=True, slots=True)
class Timeline:
    """An alarm's arrival, then each strategy's answer."""

    arrival: tuple[Step, ...]
    answers: tuple[Answer, ...]
    original_id: int | None
    redelivery_ids: tuple[int, ...]

    def steps(self) -> Iterator[Step]:
        """Yield every step as it is read: arrival, then each strategy's decision with its orders."""
        yield from self.arrival
        for answer in self.answers:
            yield answer.decided
            for order in answer.orders:
                yield from order.steps


# What the message above says already
SAID = ("leg", "action")
OUTCOME_TONES = {
    Decision.Outcome.OPEN: Tone.GOOD,
    Decision.Outcome.CLOSE: Tone.GOOD,
    Decision.Outcome.IGNORED: Tone.PLAIN,
    Decision.Outcome.DENIED: Tone.BAD,
}


# Their sentences need nothing but the alarm; other sentences were stored as they were told
TOLD_BY_THE_ROW = frozenset({"no_strategy_name", "no_strategy", "unknown_ticker", "redelivery", "quarantined"})


def tell(alarm: Alarm) -> Timeline:
    """Return the alarm's timeline: a handful of queries, however many strategies answered."""
    redeliveries = list(alarm.redeliveries.order_by("id"))
    answers = tuple(_answer(alarm, decision) for decision in decisions_with_orders(alarm.pk))
    return Timeline(
        arrival=(
            _received(alarm),
            *(_redelivered(alarm, each) for each in redeliveries),
            _understood(alarm),
            *_ended(alarm, answers),
        ),
        answers=answers,
        original_id=alarm.original_id,
        redelivery_ids=tuple(each.pk for each in redeliveries),
    )


def decisions_with_orders(alarm_id: int) -> list[Decision]:
    """Return an alarm's decisions with all that the timeline shows of them, in the order in which they were made."""
    orders = Order.objects.select_related("lane").prefetch_related("events", "fills").order_by("id")
    with_protection = orders.prefetch_related(Prefetch("protection", orders))
    decisions = Decision.objects.filter(alarm_id=alarm_id).select_related("strategy", "operation")
    return list(decisions.prefetch_related(Prefetch("orders", with_protection)).order_by("id"))


def _received(alarm: Alarm) -> Step:
    facts = ((_("from"), alarm.source_ip or "–"),)
    return Step("received", _("Received"), alarm.received_at, 0, facts=facts, raw=alarm.raw)


def _redelivered(alarm: Alarm, again: Alarm) -> Step:
    return Step(
        kind="redelivered",
        title=_("Delivered again as alarm {number}; it trades nothing").format(number=again.pk),
        at=again.received_at,
        after_ms=milliseconds_between(alarm.received_at, again.received_at),
        facts=((_("from"), again.source_ip or "–"),),
    )


def _understood(alarm: Alarm) -> Step:
    is_readable = alarm.status != Alarm.Status.INVALID
    return Step(
        kind="understood",
        title=_("Understood as: {words}").format(words=words_of(alarm)) if is_readable else _("Not understood"),
        at=alarm.received_at,
        after_ms=0,
        text="" if is_readable else sentence_of(alarm),
        facts=_meaning(alarm),
        tone=Tone.PLAIN if is_readable else Tone.BAD,
    )


def words_of(alarm: Alarm) -> str:
    """Return the instruction in the message's words, e.g. `order open long`; the alarm's number when it has none."""
    return " ".join(word for word in (alarm.kind, alarm.action, alarm.leg) if word) or _("alarm {number}").format(
        number=alarm.pk
    )


def sentence_of(alarm: Alarm) -> str:
    """Return why the alarm as a whole ended as it did; empty while it waits."""
    if alarm.status == Alarm.Status.INVALID:
        return _unreadable_because(alarm)
    facts = {"original": alarm.original_id, "strategy": alarm.strategy, "ticker": alarm.ticker}
    if alarm.reason in TOLD_BY_THE_ROW:
        return explain(alarm.reason, facts | {"attempts": alarm.attempts})
    return alarm.detail or (explain(alarm.reason, facts) if alarm.reason else "")


def _unreadable_because(alarm: Alarm) -> str:
    """Read the message again, for the sentence in the reader's language; what differs by now keeps its own."""
    try:
        read_message(alarm.raw.encode())
    except Unreadable as problem:
        return problem.detail.told(_) if problem.reason == alarm.reason else alarm.detail
    return alarm.detail


def _meaning(alarm: Alarm) -> tuple[tuple[str, str], ...]:
    prices = ((_("price"), alarm.price), (_("entry price"), alarm.entry_price), (_("exit price"), alarm.exit_price))
    amounts = ((_("quantity"), alarm.quantity), *prices)
    facts = (
        (_("strategy"), alarm.strategy),
        (_("ticker"), alarm.ticker),
        (_("interval"), alarm.interval),
        *((label, plain(value) if value is not None else "") for label, value in amounts),
        (_("its own time"), f"{alarm.alarm_time:%Y-%m-%d %H:%M:%S} UTC" if alarm.alarm_time else ""),
    )
    return tuple((label, value) for label, value in facts if value)


def _ended(alarm: Alarm, answers: tuple[Answer, ...]) -> tuple[Step, ...]:
    """Return how it ended, unless the strategies' answers or the step before say so."""
    if answers or alarm.status == Alarm.Status.INVALID:
        return ()
    if alarm.status == Alarm.Status.RECEIVED:
        return (Step("waiting", _("Waiting for its turn"), None, None, tone=Tone.WAITING),)
    after = milliseconds_between(alarm.received_at, alarm.processed_at)
    return (Step("processed", alarm.get_status_display(), alarm.processed_at, after, text=sentence_of(alarm)),)


def _answer(alarm: Alarm, decision: Decision) -> Answer:
    orders = [order for made in decision.orders.all() for order in (made, *made.protection.all())]
    return Answer(
        decision_id=decision.pk,
        strategy_id=decision.strategy_id,
        strategy=decision.strategy.name,
        decided=_decided(alarm, decision),
        orders=tuple(tell_order(order, alarm.received_at) for order in orders),
        operation_id=decision.operation_id,
        operation=_title_of(decision.operation) if decision.operation else "",
    )


def _decided(alarm: Alarm, decision: Decision) -> Step:
    return Step(
        kind="decided",
        title=decision.get_outcome_display(),
        at=decision.created_at,
        after_ms=milliseconds_between(alarm.received_at, decision.created_at),
        text=explain(decision.reason, decision.facts),
        facts=shown_facts({name: value for name, value in others(decision.facts).items() if name not in SAID}),
        compared=compared(decision.facts),
        tone=OUTCOME_TONES[Decision.Outcome(decision.outcome)],
    )


def _title_of(operation: Operation) -> str:
    return _("Operation {number}: {symbol} {leg}, {status}").format(
        number=operation.pk, symbol=operation.symbol, leg=operation.leg, status=operation.get_status_display()
    )
