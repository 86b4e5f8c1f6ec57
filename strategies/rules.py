"""What a strategy answers to an alarm. Pure: no database, network or clock; live, paper and replay share it."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from market.intervals import is_on_grid, next_open
from strategies.gates import Gate

# TradingView's clock and ours may differ, and a message travels
FUTURE_TOLERANCE = timedelta(seconds=60)
PASSED_BY_EXITS = frozenset({"strategy_off", "before_active_dates", "after_active_dates", "alarm_too_old"})


@dataclass(frozen=True, slots=True)
class Signal:
    """An alarm that made sense. `kind` order or indicator, `action` open or close, `leg` long or short."""

    alarm_id: int
    kind: str
    action: str
    leg: str
    interval: str
    alarm_time: datetime
    received_at: datetime


@dataclass(frozen=True, slots=True)
class LegRules:
    """The part of a leg that decides when; intervals as ours (1m … 1M), empty where there is no gate."""

    entry_interval: str
    close_interval: str
    entry_confirmation_interval: str = ""
    close_confirmation_interval: str = ""
    pyramiding: int = 1


@dataclass(frozen=True, slots=True)
class StrategyRules:
    """The part of a strategy that decides when. `max_alarm_age` in seconds."""

    is_active: bool
    active_from: datetime | None
    active_until: datetime | None
    max_alarm_age: int
    legs: dict[str, LegRules]


@dataclass(frozen=True, slots=True)
class Standing:
    """What the strategy holds on the signal's leg: a live operation, and entries stacked in it."""

    is_live: bool = False
    entries: int = 0
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """`outcome` is open, close or ignored; `reason` a machine word; `facts` the values that were compared."""

    outcome: str
    reason: str
    facts: dict[str, Any] = field(default_factory=dict)


def ignore(reason: str, **facts: Any) -> Verdict:
    return Verdict("ignored", reason, facts)


def decide(signal: Signal, rules: StrategyRules, gate: Gate, standing: Standing, now: datetime) -> Verdict:
    """Return what the strategy does about the signal at `now`, and because of what."""
    refusal = _out_of_service(signal, rules, now)
    if refusal and not (refusal.reason in PASSED_BY_EXITS and _leaves_what_is_held(signal, standing)):
        return refusal
    leg = rules.legs.get(signal.leg)
    if leg is None:
        return ignore("no_such_leg", leg=signal.leg)
    if signal.kind == "indicator":
        return _turn_gate(signal, leg)
    if signal.action == "open":
        age = {"age": int(_age(signal, now).total_seconds()), "max_age": rules.max_alarm_age}
        return _enter(signal, leg, gate, standing, age)
    return _leave(signal, leg, standing)


def _leaves_what_is_held(signal: Signal, standing: Standing) -> bool:
    """Tell whether the alarm closes what the strategy holds and happened after that began.

    Staying in a position is the greater risk: a strategy that is off, or an alarm that waited, still may leave.
    """
    is_close = signal.kind == "order" and signal.action == "close"
    return is_close and standing.is_live and (standing.since is None or happened_at(signal) >= standing.since)


def happened_at(signal: Signal) -> datetime:
    """Return when the alarm happened, by its own time or by its arrival, whichever is earlier.

    A time on its interval's grid names the bar, which fires when it closes: up to one interval later.
    """
    is_bar = is_on_grid(signal.alarm_time, signal.interval)
    fired_at = next_open(signal.alarm_time, signal.interval) if is_bar else signal.alarm_time
    return min(fired_at, signal.received_at)


def _out_of_service(signal: Signal, rules: StrategyRules, now: datetime) -> Verdict | None:
    if not rules.is_active:
        return ignore("strategy_off")
    came = signal.received_at
    if rules.active_from and came < rules.active_from:
        return ignore("before_active_dates", active_from=_shown(rules.active_from), received_at=_shown(came))
    if rules.active_until and came >= rules.active_until:
        return ignore("after_active_dates", active_until=_shown(rules.active_until), received_at=_shown(came))
    return _out_of_time(signal, rules.max_alarm_age, now)


def _out_of_time(signal: Signal, max_age: int, now: datetime) -> Verdict | None:
    ahead = signal.alarm_time - signal.received_at
    if ahead > FUTURE_TOLERANCE:
        return ignore("alarm_from_the_future", alarm_time=_shown(signal.alarm_time), ahead=int(ahead.total_seconds()))
    age = _age(signal, now)
    # A gate alarm is a statement about the market, not an act: it stays true until another replaces it
    if signal.kind == "order" and age > timedelta(seconds=max_age):
        return ignore("alarm_too_old", age=int(age.total_seconds()), max_age=max_age)
    return None


def _turn_gate(signal: Signal, leg: LegRules) -> Verdict:
    opens = signal.action == "open"
    expected = leg.entry_confirmation_interval if opens else leg.close_confirmation_interval
    facts = {"leg": signal.leg, "action": signal.action, "interval": signal.interval, "expected": expected or None}
    if signal.interval != expected:
        return ignore("not_a_gate", **facts)
    return ignore("opens_gate" if opens else "shuts_gate", **facts)


def _enter(signal: Signal, leg: LegRules, gate: Gate, standing: Standing, age: dict[str, Any]) -> Verdict:
    if signal.interval != leg.entry_interval:
        return _wrong_interval(signal, leg.entry_interval)
    if leg.entry_confirmation_interval and not gate.is_open:
        return _shut_gate(signal, leg, gate)
    if standing.entries >= leg.pyramiding:
        return ignore("pyramiding_reached", entries=standing.entries, pyramiding=leg.pyramiding)
    facts = _intervals(signal, leg.entry_interval) | age
    facts |= {"entries": standing.entries, "pyramiding": leg.pyramiding}
    if gate.opened and leg.entry_confirmation_interval:
        return Verdict("open", "entry_gate_open", facts | _gate_facts(leg, gate))
    return Verdict("open", "entry", facts)


def _leave(signal: Signal, leg: LegRules, standing: Standing) -> Verdict:
    if signal.interval != leg.close_interval:
        return _wrong_interval(signal, leg.close_interval)
    if not standing.is_live:
        return ignore("nothing_to_close", leg=signal.leg)
    return Verdict("close", "exit", _intervals(signal, leg.close_interval))


def _intervals(signal: Signal, expected: str) -> dict[str, Any]:
    return {"leg": signal.leg, "interval": signal.interval, "expected": expected}


def _wrong_interval(signal: Signal, expected: str) -> Verdict:
    return ignore("other_interval", action=signal.action, **_intervals(signal, expected))


def _shut_gate(signal: Signal, leg: LegRules, gate: Gate) -> Verdict:
    reason = "gate_never_opened" if gate.opened is None else "gate_shut"
    return ignore(reason, leg=signal.leg, **_gate_facts(leg, gate))


def _gate_facts(leg: LegRules, gate: Gate) -> dict[str, Any]:
    """Return the newest confirmation of either kind; None where none was ever seen."""
    return {
        "gate_interval": leg.entry_confirmation_interval,
        "opened_by": gate.opened.alarm_id if gate.opened else None,
        "opened_at": _shown(gate.opened.event_time) if gate.opened else None,
        "shut_interval": leg.close_confirmation_interval,
        "shut_by": gate.shut.alarm_id if gate.shut else None,
        "shut_at": _shown(gate.shut.event_time) if gate.shut else None,
    }


def _age(signal: Signal, now: datetime) -> timedelta:
    return now - happened_at(signal)


def _shown(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")
