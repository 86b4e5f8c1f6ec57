"""The life of an order. Read this first; nothing here knows a database.

There is deliberately no FAILED: an outcome that we do not know leaves an order SUBMITTED until the exchange,
asked by `client_order_id`, has told.
"""

from enum import StrEnum


class OrderStatus(StrEnum):
    CREATED = "created"
    DENIED = "denied"
    SUBMITTED = "submitted"
    ACCEPTED = "accepted"
    PARTIALLY_FILLED = "partially_filled"
    PENDING_CANCEL = "pending_cancel"
    FILLED = "filled"
    CANCELED = "canceled"
    REJECTED = "rejected"
    EXPIRED = "expired"


S = OrderStatus

IN_FLIGHT = frozenset({S.SUBMITTED, S.PENDING_CANCEL})
WORKING = frozenset({S.ACCEPTED, S.PARTIALLY_FILLED, S.PENDING_CANCEL})
UNFINISHED = WORKING | {S.CREATED, S.SUBMITTED}
CLOSED = frozenset({S.DENIED, S.FILLED, S.CANCELED, S.REJECTED, S.EXPIRED})
# Ended without ever having been at the exchange
NEVER_TRADED = frozenset({S.DENIED, S.REJECTED})

TRANSITIONS: dict[OrderStatus, frozenset[OrderStatus]] = {
    S.CREATED: frozenset({S.DENIED, S.SUBMITTED}),
    S.SUBMITTED: frozenset({S.ACCEPTED, S.PARTIALLY_FILLED, S.FILLED, S.REJECTED, S.CANCELED, S.EXPIRED}),
    # A resting order can still be refused by the exchange after it was accepted
    S.ACCEPTED: frozenset({S.PARTIALLY_FILLED, S.FILLED, S.PENDING_CANCEL, S.CANCELED, S.EXPIRED, S.REJECTED}),
    # To itself: more was filled
    S.PARTIALLY_FILLED: frozenset({S.PARTIALLY_FILLED, S.FILLED, S.PENDING_CANCEL, S.CANCELED, S.EXPIRED}),
    # Back to open: the exchange refused our cancel, or a fill crossed it
    S.PENDING_CANCEL: frozenset({S.CANCELED, S.ACCEPTED, S.PARTIALLY_FILLED, S.FILLED, S.EXPIRED}),
    # A fill that crossed our cancel; only reconcile learns of it
    S.CANCELED: frozenset({S.PARTIALLY_FILLED, S.FILLED}),
    S.DENIED: frozenset(),
    S.REJECTED: frozenset(),
    S.EXPIRED: frozenset(),
    S.FILLED: frozenset(),
}


class IllegalTransition(Exception):
    """The table has no such step: a bug, or an exchange that contradicts itself."""


def check_transition(old: OrderStatus, new: OrderStatus) -> None:
    """Raise `IllegalTransition` unless the table allows `old` to become `new`."""
    if new not in TRANSITIONS[old]:
        raise IllegalTransition(f"an order that is {old} cannot become {new}")
