"""Is a leg's gate open? Pure: the newest confirmations go in, the answer comes out."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from market.spans import back

# TradingView's alerts expire in silence: an open gate that nobody confirmed for so many candles is worth a look
STALE_AFTER = 20


@dataclass(frozen=True, slots=True)
class Confirmation:
    """One `indicator` alarm: its id says when it arrived, its time says when it happened."""

    alarm_id: int
    event_time: datetime

    def is_newer_than(self, other: "Confirmation") -> bool:
        """Order by event time; arrival breaks a tie, so a resend cannot flip a gate."""
        return (self.event_time, self.alarm_id) > (other.event_time, other.alarm_id)


@dataclass(frozen=True, slots=True)
class Gate:
    """A leg's newest `indicator open` and `indicator close` on their confirmation intervals."""

    opened: Confirmation | None = None
    shut: Confirmation | None = None

    @property
    def is_open(self) -> bool:
        """No opening ever seen: shut. No shutting ever seen: it counts as older."""
        if self.opened is None:
            return False
        return self.shut is None or self.opened.is_newer_than(self.shut)

    @property
    def turned_by(self) -> Confirmation | None:
        """Return the confirmation that made it what it is now; none while it was never opened."""
        return self.opened if self.is_open or self.opened is None else self.shut

    def state(self, interval: str, now: datetime) -> "GateState":
        """Say how it stands at `now`; `interval` is that of the confirmation that opens it, empty where no gate is."""
        if not interval:
            return GateState.ABSENT
        if self.opened is None:
            return GateState.NEVER_OPENED
        if not self.is_open:
            return GateState.SHUT
        is_old = self.opened.event_time < back(now, interval, STALE_AFTER)
        return GateState.STALE if is_old else GateState.OPEN


class GateState(StrEnum):
    """How a gate is shown; a stale one is open all the same."""

    ABSENT = "absent"
    OPEN = "open"
    STALE = "stale"
    SHUT = "shut"
    NEVER_OPENED = "never_opened"
