"""Is a leg's gate open? Pure: the newest confirmations go in, the answer comes out."""

from dataclasses import dataclass
from datetime import datetime


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
