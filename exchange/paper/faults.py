"""What may go wrong on the way, on purpose: switched by `POST /paper/faults`, off by default, drawn from one seed.

Each group of endpoints (orders, cancels, lookups, account, market, or all) has its own odds, in [0, 1]:

before the exchange accepts    lost_before, reset_before, rate_limit, busy_before, error_before (503),
                               delay (executed `delay_ms`: [from, to] later)
after it has accepted          timeout_after, reset_after, gateway_after (504), garbage_after, codeless_after,
                               busy_after (109500), error_after (500)

The other switches stand in `Faults.clear` with what a perfect exchange has.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, cast

from exchange.paper.books import Order
from exchange.paper.refusals import Refusal
from exchange.paper.wire import Json

GROUPS = frozenset({"orders", "cancels", "lookups", "account", "market", "all"})
BEFORE = ("lost_before", "reset_before", "rate_limit", "busy_before", "error_before")
AFTER = (
    "timeout_after",
    "reset_after",
    "gateway_after",
    "garbage_after",
    "codeless_after",
    "busy_after",
    "error_after",
)
ODDS = frozenset((*BEFORE, *AFTER, "delay"))
# With these BingX was seen to say that it is asked too often; 418 bans the address.
RATE_LIMIT_STATUSES = (200, 418, 429, 500)
DEDUPE = ("strict", "one-second", "none")


@dataclass(frozen=True, slots=True)
class Fate:
    """What will happen to one request: at most one fault before, a delay, at most one fault after."""

    before: str = ""
    delay_ms: int = 0
    after: str = ""


NO_FATE = Fate()


@dataclass(slots=True)
class Odds:
    """The odds of one group of endpoints."""

    odds: dict[str, float] = field(default_factory=dict)
    delay_ms: tuple[int, int] = (0, 0)


class Faults:
    """The switches. Drawing advances one random stream, so a seed and an order of requests fix every fault."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.seed = 0
        self.random = random.Random(0)
        self.groups: dict[str, Odds] = {}
        self.hold_ms = 30_000
        self.clock_offset_ms = 0
        self.rate_limit_ms = 25_000
        self.rate_limit_status = 200
        self.lookup_lag_ms = 0
        self.lag_everywhere = False
        self.stale_cancel = 0.0
        self.dedupe = "strict"
        self.bare_order = 0.0
        self.partial_fills: tuple[int, int] = (1, 0)
        self.reject_entries: tuple[int, str] | None = None
        self.reject_exits: tuple[int, str] | None = None
        self.reject_stops: tuple[int, str] | None = None
        self.signed_one_way = False
        self.stop_client_ids = False
        self.kline_holes: list[tuple[str, int, int]] = []
        self.kline_repeat = 0
        self.kline_truncate = 0
        self.kline_future = False
        self.rate_limits = False
        self.error_limits = False
        self.drawn: Counter[str] = Counter()

    def configure(self, wanted: Mapping[str, Any]) -> None:
        """Apply the switches named; a group replaces what it was, `null` switches off, `"reset": true` clears first.

        Raises ValueError when a switch is unknown or has a wrong value; nothing is changed then.
        """
        changes = [_change_of(name, value) for name, value in wanted.items() if name not in ("reset", "seed")]
        if wanted.get("reset"):
            self.clear()
        if "seed" in wanted:
            self.seed = int(wanted["seed"])
            self.random = random.Random(self.seed)
        for name, value in changes:
            if name in GROUPS:
                self.groups[name] = cast(Odds, value)
            else:
                setattr(self, name, value)

    def describe(self) -> dict[str, Json]:
        """Return what differs from a perfect exchange, and what was drawn so far; `switches` are the on ones."""
        groups: dict[str, Json] = {
            name: {kind: Decimal(str(odds)) for kind, odds in group.odds.items()} | {"delay_ms": list(group.delay_ms)}
            for name, group in self.groups.items()
        }
        return {
            "seed": self.seed,
            "groups": groups,
            "dedupe": self.dedupe,
            "lookup_lag_ms": self.lookup_lag_ms,
            "rate_limits": self.rate_limits,
            "switches": self._switched_on(),
            "drawn": dict(self.drawn),
        }

    def _switched_on(self) -> dict[str, Json]:
        perfect = Faults()
        values = {name: getattr(self, name) for name in sorted(SWITCHES)}
        changed = {name: value for name, value in values.items() if value != getattr(perfect, name)}
        return {name: Decimal(str(value)) if isinstance(value, float) else value for name, value in changed.items()}

    def draw(self, group: str) -> Fate:
        """Decide the fate of one request."""
        odds = self.groups.get(group) or self.groups.get("all")
        if odds is None:
            return NO_FATE
        delay = self.random.randint(*odds.delay_ms) if self._happens(odds, "delay") else 0
        before = next((kind for kind in BEFORE if self._happens(odds, kind)), "")
        after = "" if before else next((kind for kind in AFTER if self._happens(odds, kind)), "")
        return Fate(before, delay, after)

    def _happens(self, odds: Odds, kind: str) -> bool:
        chance = odds.odds.get(kind, 0.0)
        return bool(chance) and self._count(kind, self.random.random() < chance)

    def _count(self, kind: str, happens: bool) -> bool:
        self.drawn[kind] += happens
        return happens

    def is_cancel_stale(self) -> bool:
        return self._count("stale_cancel", self.random.random() < self.stale_cancel)

    def is_order_bare(self) -> bool:
        return bool(self.bare_order) and self.random.random() < self.bare_order

    def slicing(self) -> tuple[int, int]:
        return self.partial_fills

    def hides(self, order: Order, now_ms: int) -> bool:
        """Say whether the look-up lag still covers an order."""
        return bool(self.lookup_lag_ms) and now_ms - order.time_ms < self.lookup_lag_ms

    def check_rejected(self, order: Order) -> None:
        """Raise the Refusal that was ordered for entries, exits or stops."""
        is_stop = order.is_stop or order.type.startswith("TRAILING")
        wanted = self.reject_stops if is_stop else self.reject_exits if order.is_closing else self.reject_entries
        if wanted:
            self.drawn["rejected"] += 1
            raise Refusal(*wanted)


def _change_of(name: str, value: Any) -> tuple[str, object]:
    """Check one switch and return it in the form that it is kept in."""
    try:
        return name, _READERS[name](value)
    except KeyError:
        raise ValueError(f"there is no fault named {name!r}") from None
    except (TypeError, AttributeError, InvalidOperation) as error:
        raise ValueError(f"{name}: {error}") from error


def _odds(value: Any) -> Odds:
    members = dict(value or {})
    low, high = members.pop("delay_ms", [0, 0])
    unknown = set(members) - ODDS
    if unknown:
        raise ValueError(f"there is no fault named {', '.join(sorted(unknown))!r}")
    return Odds({kind: _chance(chance) for kind, chance in members.items()}, (int(low), int(high)))


def _chance(value: Any) -> float:
    chance = float(value or 0)
    if not 0 <= chance <= 1:
        raise ValueError(f"{chance} is no probability")
    return chance


def _whole(value: Any) -> int:
    return int(value or 0)


def _status(value: Any) -> int:
    if value not in RATE_LIMIT_STATUSES:
        raise ValueError(f"rate_limit_status must be one of {RATE_LIMIT_STATUSES}")
    return int(value)


def _dedupe(value: Any) -> str:
    if value not in DEDUPE:
        raise ValueError(f"dedupe must be one of {', '.join(DEDUPE)}")
    return str(value)


def _slices(value: Any) -> tuple[int, int]:
    members = dict(value or {})
    return max(1, int(members.get("slices", 1))), int(members.get("every_ms", 0))


def _rejection(value: Any) -> tuple[int, str] | None:
    members = dict(value or {})
    return (int(members["code"]), str(members.get("msg", "rejected on request"))) if members else None


def _holes(value: Any) -> list[tuple[str, int, int]]:
    return [(str(symbol), int(start), int(stop)) for symbol, start, stop in list(value or [])]


NUMBERS = ("hold_ms", "rate_limit_ms", "lookup_lag_ms", "clock_offset_ms", "kline_repeat", "kline_truncate")
FLAGS = ("lag_everywhere", "signed_one_way", "rate_limits", "error_limits", "stop_client_ids", "kline_future")
_READERS: dict[str, Callable[[Any], object]] = {
    **dict.fromkeys(GROUPS, _odds),
    **dict.fromkeys(NUMBERS, _whole),
    **dict.fromkeys(FLAGS, bool),
    **dict.fromkeys(("stale_cancel", "bare_order"), _chance),
    **dict.fromkeys(("reject_entries", "reject_exits", "reject_stops"), _rejection),
    "rate_limit_status": _status,
    "dedupe": _dedupe,
    "partial_fills": _slices,
    "kline_holes": _holes,
}
SWITCHES = frozenset(_READERS) - GROUPS
