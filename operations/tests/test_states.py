"""The table of an order's life."""

import pytest

from operations.states import (
    CLOSED,
    IN_FLIGHT,
    TRANSITIONS,
    UNFINISHED,
    WORKING,
    IllegalTransition,
    OrderStatus,
    check_transition,
)

EXPECTED = {
    "created": {"denied", "submitted"},
    "submitted": {"accepted", "partially_filled", "filled", "rejected", "canceled", "expired"},
    "accepted": {"partially_filled", "filled", "pending_cancel", "canceled", "expired", "rejected"},
    "partially_filled": {"partially_filled", "filled", "pending_cancel", "canceled", "expired"},
    "pending_cancel": {"canceled", "accepted", "partially_filled", "filled", "expired"},
    "canceled": {"partially_filled", "filled"},
    "denied": set(),
    "rejected": set(),
    "expired": set(),
    "filled": set(),
}


@pytest.mark.parametrize("old", OrderStatus)
@pytest.mark.parametrize("new", OrderStatus)
def test_a_step_is_lawful_only_when_the_house_rules_have_it(old: OrderStatus, new: OrderStatus) -> None:
    if new in EXPECTED[old]:
        check_transition(old, new)
        return
    with pytest.raises(IllegalTransition):
        check_transition(old, new)


def test_every_state_is_in_the_table_and_there_is_no_failed() -> None:
    assert set(TRANSITIONS) == set(OrderStatus)
    assert "failed" not in set(OrderStatus)


def test_a_state_has_ended_or_has_not() -> None:
    assert set(OrderStatus) == UNFINISHED | CLOSED
    assert not UNFINISHED & CLOSED
    assert IN_FLIGHT <= UNFINISHED
    assert WORKING <= UNFINISHED
