"""Switch a strategy on or off, by hand or because it ran wild."""

from datetime import datetime

from django.db import transaction

from exchange.acts import tell_act_after
from strategies.models import Strategy
from strategies.versions import keep_version


def switch_strategy(strategy: Strategy, *, is_on: bool, who: object, now: datetime) -> bool:
    """Switch it, keep that as a version, and tell of it; return False when it stood there already."""
    with transaction.atomic():
        stood = Strategy.objects.filter(pk=strategy.pk, is_active=not is_on)
        if not stood.update(is_active=is_on, updated_at=now):
            return False
        tell_act_after("changed", strategy, who=who, before={"is_active": not is_on}, after={"is_active": is_on})
        keep_version(strategy, who)
    return True
