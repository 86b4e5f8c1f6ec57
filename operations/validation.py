"""What is wrong with a row of limits before it is saved, by field, in sentences. The API and the admin ask the same."""

from collections.abc import Iterator
from decimal import Decimal

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as _lazy

from exchange.rounding import plain
from operations import schedules
from operations.killswitch import scope_of
from operations.models import Limits

Problem = tuple[str, str]

POSITIVE = (
    "max_order_notional",
    "max_open_notional",
    "max_open_operations",
    "max_orders_per_day",
    "max_entries_per_minute",
    "max_daily_loss",
    "cool_down_after_loss",
    "max_price_deviation",
)
OF_WHOM = ("account", "strategy")
_WHOSE = {"everything": _lazy("everything"), "account": _lazy("this account"), "strategy": _lazy("this strategy")}


def problems(limits: Limits) -> dict[str, list[str]]:
    """Return every complaint by field, none when the limits may be saved; fill in their scope on the way."""
    limits.scope = scope_of(limits.account_id, limits.strategy_id)
    found: dict[str, list[str]] = {}
    for name, sentence in _complaints(limits):
        found.setdefault(name, []).append(sentence)
    return found


def _complaints(limits: Limits) -> Iterator[Problem]:
    yield from _of_scope(limits)
    for name in POSITIVE:
        value = getattr(limits, name)
        if value is not None and value <= 0:
            yield (
                name,
                _("Must be above zero, or empty for no limit; was %(value)s.") % {"value": plain(Decimal(value))},
            )
    if limits.schedule.strip():
        try:
            schedules.parse(limits.schedule)
        except ValueError as error:
            yield "schedule", str(error)


def _of_scope(limits: Limits) -> Iterator[Problem]:
    if limits.account_id is not None and limits.strategy_id is not None:
        yield "strategy", _("Choose an account or a strategy, not both.")
        return
    stored = Limits.objects.filter(pk=limits.pk).values(*(f"{name}_id" for name in OF_WHOM)).first()
    for name in OF_WHOM:
        if stored and stored[f"{name}_id"] != getattr(limits, f"{name}_id"):
            yield name, _("Cannot be changed: make other limits for it.")
            return
    if Limits.objects.filter(scope=limits.scope).exclude(pk=limits.pk).exists():
        name = next((name for name in OF_WHOM if getattr(limits, f"{name}_id") is not None), "account")
        of_whom = _WHOSE["everything" if limits.scope == "all" else name]
        yield name, _("There are limits for %(of_whom)s already: change those.") % {"of_whom": of_whom}
