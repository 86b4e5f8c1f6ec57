"""A strategy's versions: numbered, never changed, each the whole of it with both legs as the API would answer it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from exchange.acts import tell_act
from exchange.rounding import plain
from strategies.models import Leg, Strategy, StrategyVersion
from strategies.validation import problems

COLUMNS = (
    "name",
    "alarm_name",
    "ticker",
    "account",
    "market",
    "symbol",
    "is_active",
    "active_from",
    "active_until",
    "max_alarm_age",
    "expects_alarm_every",
    "when_unprotected",
    "description",
)
LEG_COLUMNS = tuple(field.name for field in Leg._meta.concrete_fields if field.name not in ("id", "strategy", "name"))
LEGS = tuple(Leg.Name.values)


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that two versions do not share."""

    field: str
    label: str
    before: Any
    after: Any


def content_of(strategy: Strategy, legs: Iterable[Leg]) -> dict[str, Any]:
    """Return the strategy and its legs as JSON: decimals as text, times in ISO 8601, a missing leg as null."""
    by_name = {leg.name: leg for leg in legs}
    content = {name: _plain(strategy, name) for name in COLUMNS}
    for name in LEGS:
        leg = by_name.get(name)
        content[name] = {column: _plain(leg, column) for column in LEG_COLUMNS} if leg else None
    return content


def _plain(row: models.Model, name: str) -> Any:
    value = getattr(row, _field(type(row), name).attname)
    if isinstance(value, Decimal):
        return plain(value)
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """Return what two contents do not share, the strategy's fields before the legs'; `long.size` is a leg's."""
    one, other = _flat(before), _flat(after)
    names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    return [Difference(name, label_of(name), one.get(name), other.get(name)) for name in names]


def _flat(content: Mapping[str, Any]) -> dict[str, Any]:
    flat = {name: value for name, value in content.items() if name not in LEGS}
    for leg in LEGS:
        flat |= {f"{leg}.{name}": value for name, value in (content.get(leg) or {}).items()}
    return flat


def label_of(name: str) -> str:
    """Return how a person calls a field."""
    leg, dot, column = name.partition(".")
    if not dot:
        return capfirst(str(_field(Strategy, name).verbose_name))
    words = {"leg": Leg.Name(leg).label, "field": _field(Leg, column).verbose_name}
    return str(_("%(leg)s leg: %(field)s") % words)


def _field(model: type[models.Model], name: str) -> Any:
    return model._meta.get_field(name)


def keep_version(strategy: Strategy, who: object, note: str = "") -> int:
    """Keep the strategy as it is stored now, if it differs from its newest version; return the newest one's number.

    Called once, in the transaction that changed the strategy or its legs, when everything of it is written.
    """
    with transaction.atomic():
        stored = Strategy.objects.select_for_update().get(pk=strategy.pk)
        content = content_of(stored, stored.legs.all())
        newest = stored.versions.filter(number=stored.version).first()
        if newest is None or differences(newest.content, content):
            stored.version += 1
            columns = {"number": stored.version, "content": content, "note": note}
            StrategyVersion.objects.create(strategy=stored, made_by=str(who)[:150], **columns)
            Strategy.objects.filter(pk=stored.pk).update(version=stored.version)
    strategy.version = stored.version
    return stored.version


def restore(version: StrategyVersion, who: object) -> int:
    """Make the strategy what it was, as a new version; return its number.

    Raises `ValidationError` with what is wrong when it could not be saved so today, e.g. an account that is gone.
    """
    with transaction.atomic():
        strategy = Strategy.objects.select_for_update().get(pk=version.strategy_id)
        _fill(strategy, COLUMNS, version.content)
        strategy.full_clean(exclude=["symbol", "pair"])
        legs = [_leg(strategy, name, version.content[name]) for name in LEGS if version.content[name]]
        _refuse_mistakes(problems(strategy, legs))
        strategy.save(update_fields=[*COLUMNS, "pair", "updated_at"])
        strategy.legs.exclude(name__in=[leg.name for leg in legs]).delete()
        for leg in legs:
            leg.save(update_fields=LEG_COLUMNS if leg.pk else None)
        tell_act("restored", strategy, who=who, note=str(version))
        return keep_version(strategy, who, note=f"Restored from version {version.number}.")


def _fill(row: models.Model, columns: Sequence[str], content: Mapping[str, Any]) -> None:
    # A version that is older than a column says nothing about it
    for name in filter(content.__contains__, columns):
        field = _field(type(row), name)
        setattr(row, field.attname, field.to_python(content[name]))


def _leg(strategy: Strategy, name: str, content: Mapping[str, Any]) -> Leg:
    leg = strategy.legs.filter(name=name).first() or Leg(strategy=strategy, name=name)
    _fill(leg, LEG_COLUMNS, content)
    return leg


def _refuse_mistakes(found: Mapping[str, Iterable[str]]) -> None:
    if found:
        raise ValidationError([str(sentence) for sentences in found.values() for sentence in sentences])


def with_differences(versions: Sequence[StrategyVersion]) -> list[tuple[StrategyVersion, list[Difference]]]:
    """Return each version of one strategy with what it changed of the one before; the first one changed nothing."""
    before = StrategyVersion.objects.filter(
        strategy_id__in={each.strategy_id for each in versions}, number__in={each.number - 1 for each in versions}
    )
    contents = dict(before.values_list("number", "content"))
    return [
        (each, differences(contents[each.number - 1], each.content) if each.number - 1 in contents else [])
        for each in versions
    ]
