"""Make a strategy like another one: a free name, switched off, and a first version that says where it came from."""

from itertools import chain, count

from django.db import transaction

from strategies.models import Leg, Strategy
from strategies.versions import keep_version

_LONGEST = Strategy._meta.get_field("name").max_length or 0


def duplicate(strategy: Strategy, who: object) -> Strategy:
    """Return a new strategy that would trade as this one does, were it switched on."""
    with transaction.atomic():
        copy = Strategy.objects.get(pk=strategy.pk)
        legs = list(copy.legs.all())
        note = f"A copy of {copy.name}, version {copy.version}."
        copy.pk, copy.name, copy.is_active, copy.version = None, _free_name(copy.name), False, 0
        copy.save(force_insert=True)
        for leg in legs:
            _copy_leg(leg, copy)
        keep_version(copy, who, note=note[:200])
    return copy


def _copy_leg(leg: Leg, strategy: Strategy) -> None:
    leg.pk, leg.strategy = None, strategy
    leg.save(force_insert=True)


def _free_name(name: str) -> str:
    """Return `… copy`, or `… copy 2` and so on where that is taken; cut so that it fits."""
    endings = chain([" copy"], (f" copy {number}" for number in count(2)))
    names = (name[: _LONGEST - len(ending)] + ending for ending in endings)
    return next(each for each in names if not Strategy.objects.filter(name=each).exists())
