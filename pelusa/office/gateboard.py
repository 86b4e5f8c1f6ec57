"""The gate board: how each leg's gate stands, as an entry that arrived now would find it, and what it waits for."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from alarms.models import Alarm
from alarms.routing import gate_at, rules_of
from strategies.gates import STALE_AFTER, Confirmation, Gate, GateState
from strategies.models import Leg, Strategy
from strategies.rules import LegRules

# Gates count what has a lower id than the alarm that asks
AFTER_ALL = 2**63 - 1
LABELS = {
    GateState.ABSENT: (gettext_lazy("no gate"), ""),
    GateState.OPEN: (gettext_lazy("open"), "success"),
    GateState.STALE: (gettext_lazy("open, stale"), "warning"),
    GateState.SHUT: (gettext_lazy("shut"), "danger"),
    GateState.NEVER_OPENED: (gettext_lazy("never opened"), "danger"),
}


@dataclass(frozen=True, slots=True)
class Awaited:
    """One kind of confirmation that a leg waits for, and the newest of it that was seen."""

    words: str
    interval: str
    newest: Confirmation | None


@dataclass(frozen=True, slots=True)
class Board:
    """One leg's gate."""

    leg: str
    state: GateState
    label: Any
    colour: str
    rule: str
    turned_by: Confirmation | None
    awaited: tuple[Awaited, ...]


def boards_of(strategy: Strategy, now: datetime) -> list[Board]:
    """Return a board for each leg, long before short: two queries a leg that has a gate."""
    return [_board(strategy, name, leg, now) for name, leg in sorted(rules_of(strategy).legs.items())]


def _board(strategy: Strategy, name: str, leg: LegRules, now: datetime) -> Board:
    gate = _gate_now(strategy, name, leg)
    state = gate.state(leg.entry_confirmation_interval, now)
    label, colour = LABELS[state]
    turned_by = gate.turned_by if state is not GateState.ABSENT else None
    awaited = tuple(_awaited(name, leg, gate)) if state is not GateState.ABSENT else ()
    return Board(str(Leg.Name(name).label), state, label, colour, _rule(name, leg, state), turned_by, awaited)


def _gate_now(strategy: Strategy, name: str, leg: LegRules) -> Gate:
    """Ask as routing asks, for an entry that nobody sent."""
    whose = {"strategy": strategy.alarm_name, "pair": strategy.pair, "leg": name}
    return gate_at(Alarm(pk=AFTER_ALL, kind=Alarm.Kind.ORDER, action=Alarm.Action.OPEN, **whose), leg)


def _awaited(name: str, leg: LegRules, gate: Gate) -> Iterable[Awaited]:
    yield Awaited(f"indicator open {name}", leg.entry_confirmation_interval, gate.opened)
    if leg.close_confirmation_interval:
        yield Awaited(f"indicator close {name}", leg.close_confirmation_interval, gate.shut)


def _rule(name: str, leg: LegRules, state: GateState) -> str:
    words: dict[str, object] = {"leg": name, "entry": leg.entry_interval, "opens": leg.entry_confirmation_interval}
    words |= {"shuts": leg.close_confirmation_interval, "candles": STALE_AFTER}
    if state is GateState.ABSENT:
        return _("An 'order open %(leg)s' on %(entry)s enters at once: it waits for no confirmation.") % words
    if not leg.close_confirmation_interval:
        rule = _("'order open %(leg)s' on %(entry)s enters once an 'indicator open %(leg)s' on %(opens)s was seen.")
    else:
        rule = _(
            "'order open %(leg)s' on %(entry)s enters while the newest 'indicator open %(leg)s' on %(opens)s is newer"
            " than the newest 'indicator close %(leg)s' on %(shuts)s."
        )
    if state is not GateState.STALE:
        return rule % words
    late = _("It was last confirmed more than %(candles)s candles ago and still counts: does the alert still run?")
    return f"{rule % words} {late % words}"
