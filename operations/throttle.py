"""Stop a strategy that runs wild: more entries within a minute than a trader means.

Knight Capital sent four million orders for 212 in three quarters of an hour, and mails warned of it that nobody read.
So too many entries switch the strategy off at once, and only a person switches it on again.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from operations.exposure import entries_since
from operations.models import Limits, Operation, Order
from operations.notices import end_notice, raise_notice
from strategies.models import BY_THE_LIMIT, Strategy
from strategies.switching import switch_strategy

# For every strategy, beside what its limits say; None: only what they say. TradingView itself stops an alert of more
# than 15 in 3 minutes, so a strategy with an alert to enter on each leg cannot mean more than 10 a minute.
MOST_ENTRIES: int | None = None
WINDOW = timedelta(minutes=1)
NOTICE = "strategy_stopped"


def most_entries(limits: Iterable[Limits]) -> int | None:
    """Return how many entries a strategy may send within the window; None is any number."""
    named = [MOST_ENTRIES, *(each.max_entries_per_minute for each in limits)]
    return min((most for most in named if most is not None), default=None)


def is_runaway(strategy: Strategy, most: int, now: datetime) -> bool:
    """Tell whether one entry more would be too many; refused ones count. One that trades again ends its notice."""
    entries = entries_since(Order.objects.filter(operation__strategy_id=strategy.pk), now - WINDOW)
    if not entries:
        end_notice(_key(strategy), NOTICE)
    return entries >= most


def stop(operation: Operation, most: int, now: datetime) -> None:
    """Switch the operation's strategy off and tell a human. Exits of what it holds go on."""
    strategy, seconds = operation.strategy, int(WINDOW.total_seconds())
    switch_strategy(strategy, is_on=False, who=BY_THE_LIMIT, now=now)
    end_notice(_key(strategy), NOTICE)
    raise_notice(
        _key(strategy),
        NOTICE,
        account=operation.account,
        operation=operation,
        strategy=strategy.name,
        most=most,
        seconds=seconds,
    )


def _key(strategy: Strategy) -> str:
    return f"strategy:{strategy.pk}"
