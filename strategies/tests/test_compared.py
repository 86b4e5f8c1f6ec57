"""What was compared is read as a table: what was looked at, what was asked, what was the case."""

from datetime import UTC, datetime

import pytest

from strategies.compared import ROWS, Compared, Row, compared, others
from strategies.gates import Confirmation, Gate
from strategies.reasons import SENTENCES
from strategies.rules import LegRules, Signal, Standing, StrategyRules, decide

NOW = datetime(2026, 11, 26, 10, 0, tzinfo=UTC)
LEG = LegRules("5m", "5m", "1h", "4h")
RULES = StrategyRules(True, None, None, 60, {"long": LEG})


def facts_of(gate: Gate, interval: str = "5m") -> dict[str, object]:
    signal = Signal(9, "order", "open", "long", interval, NOW, NOW)
    return decide(signal, RULES, gate, Standing(), NOW).facts


def test_a_shut_gate_names_both_alarms_and_what_each_had_to_be() -> None:
    told = compared(facts_of(Gate(Confirmation(3, NOW), Confirmation(4, NOW))))
    assert told == (
        Compared("newest 'indicator open long'", "on 1h", "2026-11-26 10:00:00 UTC", 3),
        Compared("newest 'indicator close long'", "on 4h, older than the opening", "2026-11-26 10:00:00 UTC", 4),
    )


def test_an_entry_shows_every_condition_that_held() -> None:
    told = {each.what: (each.asked, each.was) for each in compared(facts_of(Gate(Confirmation(3, NOW))))}
    assert told["interval"] == ("5m", "5m")
    assert told["age"] == ("60 s at most", "0 s")
    assert told["entries stacked"] == ("fewer than 1", "0")
    assert told["newest 'indicator close long'"] == ("on 4h, older than the opening", "never seen")


def test_a_gate_that_was_never_opened_says_so() -> None:
    assert compared(facts_of(Gate()))[0] == Compared("newest 'indicator open long'", "on 1h", "never seen", None)


def test_another_interval_stands_beside_the_one_that_was_asked() -> None:
    assert compared(facts_of(Gate(), "15m")) == (Compared("interval", "5m", "15m"),)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(row.facts))
def test_every_row_is_told_of_facts_that_a_sentence_names_too(row: Row) -> None:
    named = set(row.facts) - {"opened_at", "shut_at"}
    sentences = [str(sentence) for sentence in SENTENCES.values()]
    assert any(all("{" + name + "}" in sentence for name in named) for sentence in sentences)


def test_what_is_told_as_a_comparison_is_not_told_again() -> None:
    facts = {"scope": "Everything together", "held": "1", "notional": "2", "max_notional": "2"}
    assert [each.what for each in compared(facts)] == ["held, and the entry"]
    assert others(facts) == {"scope": "Everything together"}


def test_facts_that_nobody_knows_are_left_as_they_are() -> None:
    assert compared({"colour": "red"}) == ()
    assert others({"colour": "red"}) == {"colour": "red"}
