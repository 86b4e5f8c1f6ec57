"""What would become of a message now: read, decided and checked as a real one is, and nothing is written or sent."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Max

from alarms.intake import alarm_of
from alarms.messages import read_message
from alarms.models import Alarm
from alarms.routing import decide_on, strategies_for, why_nobody
from market.models import Instrument
from operations.limits import Denial, check_entry
from operations.models import Decision, Lane, Operation, Order
from strategies.models import Strategy
from strategies.reasons import explain
from strategies.rules import Verdict


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What one strategy would answer, with its sentence; `denial` is what our own limits would say to an entry."""

    strategy: Strategy
    verdict: Verdict
    sentence: str
    denial: str = ""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """The alarm as it would be understood, each strategy's answer, or why nobody would answer."""

    alarm: Alarm
    answers: tuple[Rehearsed, ...]
    nobody: str = ""

    @property
    def is_all_paper(self) -> bool:
        """Tell whether whoever would answer trades paper money."""
        return all(each.strategy.account.environment == "paper" for each in self.answers)


def rehearse(body: bytes, now: datetime) -> Rehearsal:
    """Return what would become of the message; raise `Unreadable` as the webhook would. Reads only."""
    alarm = alarm_of(read_message(body), body, "", now)
    # Gates count what arrived before it
    alarm.pk = (Alarm.objects.aggregate(newest=Max("pk"))["newest"] or 0) + 1
    answers = tuple(_rehearse(strategy, alarm, now) for strategy in strategies_for(alarm))
    return Rehearsal(alarm, answers, "" if answers else explain(*why_nobody(alarm)))


def _rehearse(strategy: Strategy, alarm: Alarm, now: datetime) -> Rehearsed:
    verdict = decide_on(strategy, alarm)
    denial = _denial(strategy, alarm, now) if verdict.outcome == Decision.Outcome.OPEN else None
    said = explain(denial.reason, denial.facts) if denial else ""
    return Rehearsed(strategy, verdict, explain(verdict.reason, verdict.facts), said)


def _denial(strategy: Strategy, alarm: Alarm, now: datetime) -> Denial | None:
    """Ask the limits about the entry that it would be; what depends on its size is asked only of a real one."""
    lane = Lane(account=strategy.account, market=strategy.market, symbol=strategy.symbol)
    operation = Operation(strategy=strategy, account=strategy.account, leg=alarm.leg)
    decision = Decision(alarm_received_at=alarm.received_at, alarm_happened_at=alarm.received_at)
    order = Order(lane=lane, operation=operation, decision=decision, role=Order.Role.ENTRY, created_at=now)
    instrument = Instrument.objects.filter(market=strategy.market, symbol=strategy.symbol).first()
    return check_entry(order, instrument, now)
