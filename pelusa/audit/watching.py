"""Which rows the audit watches, which of their columns, and which of those are secret."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db.models import ExpressionWrapper, F, Model, TextField

from exchange.rounding import plain

HIDDEN = "***"


@dataclass(frozen=True, slots=True)
class Watched:
    """What of a model is kept: all columns but some, or some only; of the secret ones only that they changed."""

    without: frozenset[str] = frozenset()
    only: frozenset[str] = frozenset()
    secret: frozenset[str] = frozenset()
    # The relation to what it is a part of: its history is the whole's
    part_of: str = ""
    key: str = "pk"
    # Where a row's text would read an account with its credentials
    named_by: str = ""


def _all_but(*names: str) -> Watched:
    return Watched(without=frozenset(names))


WATCHED: dict[str, Watched] = {
    "strategies.Strategy": _all_but("id", "pair", "version", "created_at", "updated_at"),
    "strategies.Leg": Watched(without=frozenset({"id", "strategy_id", "name"}), part_of="strategy"),
    "operations.Limits": Watched(without=frozenset({"id", "scope"}), named_by="scope"),
    "exchange.Account": Watched(
        without=frozenset({"id", "created_at", "rights_read_at", "position_mode_read_at"}),
        secret=frozenset({"api_key", "api_secret"}),
    ),
    "market.Instrument": _all_but("id", "refreshed_at"),
    "market.Series": Watched(
        only=frozenset({"market", "symbol", "interval", "is_followed", "has_own_schedule", "wanted_since"})
    ),
    "pelusa.Channel": Watched(
        without=frozenset({"id", "since", "paused_until", "failures", "lease", "leased_until"}),
        secret=frozenset({"url"}),
    ),
    "pelusa.AddressRule": _all_but("id", "created_at"),
    "auth.User": Watched(without=frozenset({"id", "last_login", "date_joined"}), secret=frozenset({"password"})),
    "auth.Group": _all_but("id"),
    "knox.AuthToken": Watched(only=frozenset({"user_id", "expiry"}), key="token_key"),
    "django_celery_beat.PeriodicTask": _all_but("id", "last_run_at", "total_run_count", "date_changed"),
    "django_celery_beat.IntervalSchedule": _all_but("id"),
    "django_celery_beat.CrontabSchedule": _all_but("id"),
    "django_celery_beat.SolarSchedule": _all_but("id"),
    "django_celery_beat.ClockedSchedule": _all_but("id"),
}
_BY_LABEL = {label.lower(): watched for label, watched in WATCHED.items()}


def watched_of(row: Model) -> Watched:
    """Return how a row is watched; one of a model that is not listed has no columns of interest."""
    return _BY_LABEL.get(row._meta.label_lower, Watched(only=frozenset({"pk"})))


def stored_values(row: Model, using: str) -> dict[str, Any]:
    """Return the row's watched columns as they are stored now, secrets in their stored form; {} when it is gone."""
    watched = watched_of(row)
    names = [field.attname for field in row._meta.concrete_fields if _is_kept(watched, field.attname)]
    # Encrypted columns are compared as they lie there: no key is needed to see that one changed
    raw = {f"stored_{name}": ExpressionWrapper(F(name), output_field=TextField()) for name in watched.secret}
    found = type(row)._base_manager.using(using).filter(pk=row.pk).values(*names, **raw).first()
    return {name.removeprefix("stored_"): value for name, value in (found or {}).items()}


def _is_kept(watched: Watched, name: str) -> bool:
    return name not in watched.secret and (name in watched.only if watched.only else name not in watched.without)


def differences(watched: Watched, before: dict[str, Any], after: dict[str, Any]) -> dict[str, list[Any]]:
    """Return what differs, each as [before, after], ready for JSON; of a secret only whether there was one."""
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return {name: [_shown(watched, name, each.get(name)) for each in (before, after)] for name in sorted(names)}


def _shown(watched: Watched, name: str, value: Any) -> Any:
    if name in watched.secret:
        return HIDDEN if value else None
    if isinstance(value, Decimal):
        return plain(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    return [str(each) for each in value] if isinstance(value, list) else str(value)
