"""What can go wrong at an exchange, cut by what the caller may do next.

* ExchangeError
  x NotSent          nothing left this machine: the act did not happen
  x Refused          they said no, with a code: the act did not happen
    - RateLimited    no, for now: `retry_at` says until when
    - RetrySoon      no, for a moment (funding, clock): the same act may be tried again
    - Duplicate      an order with this client order id exists already: ask for it
    - OrderNotFound  they know no such order (right after a submit this may lag)
    - AlreadyFinal   the order can no longer be changed: ask for it
  x OutcomeUnknown   it may have happened: ask, never repeat
"""

from __future__ import annotations

from datetime import datetime


class ExchangeError(Exception):
    """`code` is the exchange's own (text), `message` its words; neither ever holds a key or a signed URL."""

    def __init__(self, message: str, *, code: str = "", http_status: int | None = None) -> None:
        super().__init__(f"{code}: {message}" if code else message)
        self.message = message
        self.code = code
        self.http_status = http_status


class NotSent(ExchangeError):
    """No connection was made, so nothing happened."""


class OutcomeUnknown(ExchangeError):
    """Time-out, lost connection, 5xx, unreadable answer or a code that proves nothing."""


class Refused(ExchangeError):
    """A business code that proves that the act did not happen."""


class RateLimited(Refused):
    """Too many requests; `retry_at` is when this endpoint opens again, when they said so."""

    def __init__(
        self, message: str, *, code: str = "", http_status: int | None = None, retry_at: datetime | None = None
    ) -> None:
        super().__init__(message, code=code, http_status=http_status)
        self.retry_at = retry_at


class RetrySoon(Refused):
    """A passing refusal: clock skew, funding settlement, assets being processed."""


class Duplicate(Refused):
    """The client order id was used before: an earlier attempt exists."""


class OrderNotFound(Refused):
    """No such order, as far as this look-up goes."""


class AlreadyFinal(Refused):
    """Filled or cancelled already."""
