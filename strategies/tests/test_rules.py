"""What a strategy answers to an alarm."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from strategies.gates import Confirmation, Gate
from strategies.reasons import SENTENCES, explain
from strategies.rules import LegRules, Signal, Standing, StrategyRules, Verdict, decide

NOW = datetime(2026, 11, 22, 10, 0, 2, tzinfo=UTC)
EVENT = datetime(2026, 11, 22, 10, 0, 1, tzinfo=UTC)
LEG = LegRules(
    entry_interval="5m",
    close_interval="15m",
    entry_confirmation_interval="1h",
    close_confirmation_interval="4h",
    pyramiding=2,
)
RULES = StrategyRules(True, None, None, 60, {"long": LEG})
OPEN = Signal(9, "order", "open", "long", "5m", EVENT, EVENT)
CLOSE = replace(OPEN, action="close", interval="15m")
OPEN_GATE = Gate(opened=Confirmation(3, EVENT - timedelta(hours=1)))


def answer(
    signal: Signal = OPEN,
    rules: StrategyRules = RULES,
    gate: Gate = OPEN_GATE,
    standing: Standing = Standing(),
    now: datetime = NOW,
) -> Verdict:
    verdict = decide(signal, rules, gate, standing, now)
    assert verdict.reason in SENTENCES
    assert "–" not in explain(verdict.reason, verdict.facts), f"{verdict.reason} lacks a value that its sentence names"
    return verdict


def test_an_order_open_on_the_entry_interval_with_an_open_gate_opens() -> None:
    verdict = answer()
    assert (verdict.outcome, verdict.reason) == ("open", "entry_gate_open")
    assert verdict.facts["opened_by"] == 3


def test_a_leg_without_a_gate_opens_at_once() -> None:
    leg = replace(LEG, entry_confirmation_interval="", close_confirmation_interval="")
    assert answer(rules=replace(RULES, legs={"long": leg}), gate=Gate()).outcome == "open"


def test_a_gate_that_was_never_opened_is_shut() -> None:
    assert answer(gate=Gate()).reason == "gate_never_opened"


def test_a_gate_that_was_never_opened_is_shut_even_when_its_shutting_was_never_seen_either() -> None:
    assert answer(gate=Gate(shut=Confirmation(2, EVENT))).reason == "gate_never_opened"


def test_a_shut_gate_names_both_alarms() -> None:
    gate = Gate(opened=Confirmation(3, EVENT - timedelta(hours=2)), shut=Confirmation(4, EVENT - timedelta(hours=1)))
    verdict = answer(gate=gate)
    assert (verdict.outcome, verdict.reason) == ("ignored", "gate_shut")
    assert (verdict.facts["opened_by"], verdict.facts["shut_by"]) == (3, 4)


def test_event_time_orders_a_gate_whatever_arrived_first() -> None:
    late_arrival = Gate(opened=Confirmation(3, EVENT), shut=Confirmation(7, EVENT - timedelta(minutes=5)))
    assert answer(gate=late_arrival).outcome == "open"


@pytest.mark.parametrize(("opened", "shut", "is_open"), [(4, 3, True), (3, 4, False)])
def test_arrival_breaks_a_tie_of_event_times(opened: int, shut: int, is_open: bool) -> None:
    assert Gate(Confirmation(opened, EVENT), Confirmation(shut, EVENT)).is_open is is_open


def test_an_open_on_another_interval_is_ignored_and_names_the_expected_one() -> None:
    verdict = answer(replace(OPEN, interval="1h"))
    assert verdict.reason == "other_interval"
    assert verdict.facts["expected"] == "5m"


def test_a_close_closes_what_the_strategy_holds_whatever_the_gate_says() -> None:
    assert answer(CLOSE, gate=Gate(), standing=Standing(True, 1)).outcome == "close"


def test_a_close_with_nothing_held_is_ignored() -> None:
    assert answer(CLOSE).reason == "nothing_to_close"


def test_a_close_on_the_entry_interval_is_ignored() -> None:
    assert answer(replace(CLOSE, interval="5m"), standing=Standing(True, 1)).reason == "other_interval"


@pytest.mark.parametrize(("entries", "outcome"), [(0, "open"), (1, "open"), (2, "ignored"), (3, "ignored")])
def test_entries_are_stacked_up_to_the_pyramiding(entries: int, outcome: str) -> None:
    assert answer(standing=Standing(True, entries)).outcome == outcome


OFF = replace(RULES, is_active=False)
HOLDS = Standing(True, 1, since=EVENT - timedelta(minutes=10))


def test_a_strategy_that_is_off_takes_no_entry_and_still_leaves_what_it_holds() -> None:
    assert answer(rules=OFF).reason == "strategy_off"
    assert answer(CLOSE, rules=OFF, standing=HOLDS).outcome == "close"
    assert answer(CLOSE, rules=OFF).reason == "strategy_off"


def test_a_close_that_waited_too_long_still_leaves_what_is_held() -> None:
    assert answer(CLOSE, standing=HOLDS, now=EVENT + timedelta(hours=1)).outcome == "close"


def test_an_old_close_does_not_leave_what_was_entered_after_it() -> None:
    old = replace(CLOSE, alarm_time=EVENT - timedelta(minutes=11))
    assert answer(old, standing=HOLDS).reason == "alarm_too_old"


def test_a_close_from_the_future_is_not_believed() -> None:
    ahead = replace(CLOSE, alarm_time=EVENT + timedelta(hours=2, seconds=1))
    assert answer(ahead, standing=HOLDS).reason == "alarm_from_the_future"


@pytest.mark.parametrize(
    ("active_from", "active_until", "reason"),
    [
        (EVENT + timedelta(seconds=1), None, "before_active_dates"),
        (EVENT, None, "entry_gate_open"),
        (None, EVENT, "after_active_dates"),
        (None, EVENT + timedelta(seconds=1), "entry_gate_open"),
    ],
)
def test_active_dates_are_half_open(active_from: datetime | None, active_until: datetime | None, reason: str) -> None:
    assert answer(rules=replace(RULES, active_from=active_from, active_until=active_until)).reason == reason


@pytest.mark.parametrize(("age", "outcome"), [(60, "open"), (61, "ignored")])
def test_r24_the_age_limit_is_exact_to_the_second(age: int, outcome: str) -> None:
    assert answer(now=EVENT + timedelta(seconds=age)).outcome == outcome


def test_an_alarm_that_names_its_bar_is_as_old_as_the_bars_close() -> None:
    bar = datetime(2026, 11, 22, 9, 55, tzinfo=UTC)
    signal = replace(OPEN, alarm_time=bar, received_at=bar + timedelta(minutes=5, seconds=1))
    assert answer(signal, now=bar + timedelta(minutes=5, seconds=59)).outcome == "open"
    assert answer(signal, now=bar + timedelta(minutes=6, seconds=1)).reason == "alarm_too_old"


def test_r24_an_alarm_that_waited_here_grows_old_by_its_arrival() -> None:
    signal = replace(OPEN, alarm_time=EVENT + timedelta(seconds=30))
    assert answer(signal, now=EVENT + timedelta(seconds=61)).reason == "alarm_too_old"


def test_r24_a_days_old_alarm_is_not_traded() -> None:
    assert answer(replace(OPEN, alarm_time=EVENT - timedelta(days=1))).reason == "alarm_too_old"


@pytest.mark.parametrize(("ahead", "outcome"), [(60, "open"), (61, "ignored")])
def test_r24_an_alarm_from_the_future_is_ignored(ahead: int, outcome: str) -> None:
    assert answer(replace(OPEN, alarm_time=EVENT + timedelta(seconds=ahead))).outcome == outcome


def test_a_leg_that_the_strategy_lacks_is_named() -> None:
    assert answer(replace(OPEN, leg="short")).reason == "no_such_leg"


@pytest.mark.parametrize(
    ("action", "interval", "reason"),
    [
        ("open", "1h", "opens_gate"),
        ("close", "4h", "shuts_gate"),
        ("open", "4h", "not_a_gate"),
        ("close", "1h", "not_a_gate"),
    ],
)
def test_an_indicator_turns_a_gate_on_its_own_interval_only(action: str, interval: str, reason: str) -> None:
    verdict = answer(replace(OPEN, kind="indicator", action=action, interval=interval))
    assert (verdict.outcome, verdict.reason) == ("ignored", reason)


def test_an_indicator_does_not_grow_old() -> None:
    signal = replace(OPEN, kind="indicator", interval="1h", alarm_time=EVENT - timedelta(days=2))
    assert answer(signal).reason == "opens_gate"
