"""The values behind a decision, told as a table: what was looked at, what was asked of it, what was the case.

A decision keeps machine words as `facts`; which of them belong together is said here, once for strategies' conditions
and for limits. Pure; the words are made when they are shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext_lazy as _


@dataclass(frozen=True, slots=True)
class Compared:
    """One comparison as a person reads it; `alarm_id` is the alarm that made it so, where one did."""

    what: str
    asked: str
    was: str
    alarm_id: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """How some facts are told together; the row is told when all of them were kept."""

    facts: tuple[str, ...]
    what: Any
    asked: Any
    was: Any
    # Which fact names the alarm, and what is said when there was none
    alarm: str = ""
    never: Any = ""

    def tell(self, facts: Mapping[str, Any]) -> Compared:
        shown = {name: "–" if facts[name] in (None, "") else facts[name] for name in self.facts}
        shown.setdefault("leg", facts.get("leg", ""))
        alarm_id = facts[self.alarm] if self.alarm else None
        was = self.never if self.alarm and alarm_id is None else self.was
        what, asked, was = (str(each).format_map(shown) for each in (self.what, self.asked, was))
        return Compared(what, asked, was, alarm_id)


# More facts first: a fact that a row has told is told by no other
ROWS = (
    Row(("expected", "interval"), _("interval"), "{expected}", "{interval}"),
    Row(("age", "max_age"), _("age"), _("{max_age} s at most"), _("{age} s")),
    Row(("active_from", "received_at"), _("came"), _("from {active_from}"), "{received_at}"),
    Row(("active_until", "received_at"), _("came"), _("before {active_until}"), "{received_at}"),
    Row(("alarm_time", "ahead"), _("its own time"), _("not ahead of our clock"), _("{alarm_time}, {ahead} s ahead")),
    Row(
        ("gate_interval", "opened_by", "opened_at"),
        _("newest 'indicator open {leg}'"),
        _("on {gate_interval}"),
        "{opened_at}",
        "opened_by",
        _("never seen"),
    ),
    Row(
        ("shut_interval", "shut_by", "shut_at"),
        _("newest 'indicator close {leg}'"),
        _("on {shut_interval}, older than the opening"),
        "{shut_at}",
        "shut_by",
        _("never seen"),
    ),
    Row(("entries", "pyramiding"), _("entries stacked"), _("fewer than {pyramiding}"), "{entries}"),
    Row(("quantity", "min_quantity"), _("quantity"), _("{min_quantity} at least"), "{quantity}"),
    Row(("notional", "min_notional"), _("worth of the order"), _("{min_notional} at least"), "{notional}"),
    Row(
        ("held", "notional", "max_notional"),
        _("held, and the entry"),
        _("{max_notional} together at most"),
        "{held} + {notional}",
    ),
    Row(("notional", "max_notional"), _("worth of the entry"), _("{max_notional} at most"), "{notional}"),
    Row(("open", "max_operations"), _("operations open"), _("fewer than {max_operations}"), "{open}"),
    Row(("sent", "max_orders"), _("entries sent today"), _("fewer than {max_orders}"), "{sent}"),
    Row(("loss", "max_loss"), _("lost today"), _("less than {max_loss}"), "{loss}"),
    Row(
        ("price", "alarm_price", "deviation", "max_deviation"),
        _("market's price"),
        _("within {max_deviation} % of the alarm's {alarm_price}"),
        _("{price}, {deviation} % away"),
    ),
    Row(("loss", "until"), _("last loss"), _("entries again at {until} UTC"), "{loss}"),
    Row(("schedule", "opens_at"), _("time of the week"), "{schedule}", _("outside; opens {opens_at}")),
    Row(("environment", "ceiling"), _("environment"), _("{ceiling} at most"), "{environment}"),
    Row(("ours", "theirs"), _("position at the exchange"), _("{ours}, as our books say"), "{theirs}"),
    Row(("offset", "most"), _("the exchange's clock"), _("{most} s apart at most"), _("{offset} s apart")),
    Row(("seconds", "most"), _("entries within {seconds} s"), _("{most} at most"), _("more")),
    Row(("other", "leg"), _("other leg"), _("nothing held"), _("the {other} leg is held")),
)


def compared(facts: Mapping[str, Any]) -> tuple[Compared, ...]:
    """Return what was compared, in the order in which it is read."""
    return tuple(row.tell(facts) for row in _rows(facts))


def others(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts that no comparison tells."""
    told = {name for row in _rows(facts) for name in row.facts}
    return {name: value for name, value in facts.items() if name not in told}


def _rows(facts: Mapping[str, Any]) -> list[Row]:
    found: list[Row] = []
    for row in ROWS:
        is_whole = all(name in facts for name in row.facts) and bool(facts[row.facts[0]] or not row.alarm)
        if is_whole and not any(set(row.facts) <= set(each.facts) for each in found):
            found.append(row)
    return found
