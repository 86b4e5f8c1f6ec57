"""Write down what people do: rows that they save and remove, their roles, their log-ins, and what apps tell.

Only while somebody is at it, a request's user or a command's: what tasks do by themselves is in the books and the log.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db.models import Model, QuerySet
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_delete, pre_save
from django.utils import timezone, translation

from exchange.acts import acted
from exchange.backoffice import without_secrets
from exchange.models import Account
from pelusa.actors import SYSTEM, Actor, current_actor
from pelusa.audit.chain import append
from pelusa.audit.rows import AuditEntry
from pelusa.audit.watching import WATCHED, differences, stored_values, watched_of
from pelusa.notifications.models import Channel

# Beyond it the log alone has them: whoever guesses passwords must not fill the table
MOST_FAILURES_AN_HOUR = 100


def listen() -> None:
    """Connect everything, once, when the apps are loaded."""
    receivers = (
        (pre_save, _remember),
        (pre_delete, _remember_the_last),
        (post_save, _saved),
        (post_delete, _deleted),
    )
    for label in WATCHED:
        for signal, receiver in receivers:
            signal.connect(receiver, sender=label, dispatch_uid=f"audit.{label}")
    user: Any = get_user_model()
    relations = (user.groups, user.user_permissions, Group.permissions, Channel.accounts)
    for through in (relation.through for relation in relations):
        m2m_changed.connect(_related, sender=through, dispatch_uid="audit")
    acted.connect(_acted, dispatch_uid="audit")
    user_logged_in.connect(_logged_in, dispatch_uid="audit")
    user_logged_out.connect(_logged_out, dispatch_uid="audit")
    user_login_failed.connect(_login_failed, dispatch_uid="audit")


@contextmanager
def rows_watched(queryset: QuerySet[Any]) -> Iterator[None]:
    """Write down what an UPDATE of many rows, of which no signal tells, changes in each."""
    rows = {row.pk: (row, stored_values(row, row._state.db)) for row in queryset}
    yield
    for row, before in rows.values():
        if after := stored_values(row, row._state.db):
            _record(current_actor(), "changed", row, before, after)


def _remember(sender: Any, instance: Model, raw: bool, using: str, **options: Any) -> None:
    if current_actor() and not raw and not instance._state.adding:
        instance._audit_before = stored_values(instance, using)  # type: ignore[attr-defined]


def _remember_the_last(sender: Any, instance: Model, using: str, **options: Any) -> None:
    _remember(sender, instance, False, using)


def _saved(sender: Any, instance: Model, created: bool, raw: bool, using: str, **options: Any) -> None:
    actor = current_actor()
    if actor and not raw:
        before = instance.__dict__.pop("_audit_before", {})
        _record(actor, "added" if created else "changed", instance, before, stored_values(instance, using))


def _deleted(sender: Any, instance: Model, **options: Any) -> None:
    actor = current_actor()
    if actor:
        _record(actor, "removed", instance, instance.__dict__.pop("_audit_before", {}), {})


def _related(sender: Any, instance: Model, action: str, reverse: bool, model: Any, **options: Any) -> None:
    """A role, a right or a channel's account was given or taken: names before and after."""
    actor = current_actor()
    if actor is None:
        return
    name = _relation_of(sender, instance, reverse)
    related = getattr(instance, name).all()
    # An account is named without opening its credentials
    names = sorted(map(str, related.defer(*without_secrets()) if related.model is Account else related))
    if action.startswith("pre_"):
        instance._audit_related = names  # type: ignore[attr-defined]
    elif (before := instance.__dict__.pop("_audit_related", names)) != names:
        _record(actor, "changed", instance, {name: before}, {name: names})


def _relation_of(through: Any, instance: Model, reverse: bool) -> str:
    if reverse:
        relations = [each for each in instance._meta.related_objects if getattr(each, "through", None) is through]
        return str(relations[0].get_accessor_name())
    return next(each.name for each in instance._meta.many_to_many if each.remote_field.through is through)


def _acted(
    sender: Any, act: str, about: Model, who: str, before: dict[str, Any], after: dict[str, Any], note: str, **_: Any
) -> None:
    """What an app told; without a person behind it, it was the system."""
    actor = current_actor() or Actor(SYSTEM.through, who or SYSTEM.who)
    _record(actor, act, about, dict(before), dict(after), note)


def _logged_in(sender: Any, user: Any, **options: Any) -> None:
    if actor := current_actor():
        _record(_as(actor, user), "log_in", user, {}, {})


def _logged_out(sender: Any, user: Any, **options: Any) -> None:
    if (actor := current_actor()) and user:
        _record(_as(actor, user), "log_out", user, {}, {})


def _as(actor: Actor, user: Any) -> Actor:
    return Actor(actor.through, user.get_username(), user.pk, actor.address, actor.request_id, actor.token)


def _login_failed(sender: Any, credentials: dict[str, Any], **options: Any) -> None:
    """Name the user who was tried; text that is nobody's name may be a password in the wrong box."""
    actor = current_actor()
    if actor is None or _are_failures_many():
        return
    users = get_user_model()
    tried = users.objects.filter(**{users.USERNAME_FIELD: str(credentials.get(users.USERNAME_FIELD, ""))[:150]}).first()
    if tried:
        _record(actor, "log_in_failed", tried, {}, {})
    else:
        append(actor, "log_in_failed", object_name="")


def _are_failures_many() -> bool:
    since = timezone.now() - timedelta(hours=1)
    return AuditEntry.objects.filter(act="log_in_failed", at__gte=since).count() >= MOST_FAILURES_AN_HOUR


def _record(
    actor: Actor | None, act: str, row: Model, before: dict[str, Any], after: dict[str, Any], note: str = ""
) -> None:
    """Append what was done to a row; a change of nothing is none."""
    watched = watched_of(row)
    changes = differences(watched, before, after)
    if act == "changed" and not changes:
        return
    whole = getattr(row, watched.part_of) if watched.part_of else row
    if whole is not row:
        act, changes = "changed", {f"{row.name}.{name}": pair for name, pair in changes.items()}  # type: ignore[attr-defined]
    append(actor or SYSTEM, act, changes=changes, note=note, **_named(whole))


def _named(row: Model) -> dict[str, str]:
    watched = watched_of(row)
    key = str(getattr(row, watched.key))
    return {"object_type": row._meta.label_lower, "object_id": key[:64], "object_name": _name_of(row)[:200]}


def _name_of(row: Any) -> str:
    if row._meta.label == "knox.AuthToken":
        return f"{row.token_key}… of {row.user}"
    by = watched_of(row).named_by
    # In English whoever acts: the books keep one language
    with translation.override(None):
        return str(getattr(row, by) if by else row)


def history_of(object_type: str, object_id: str) -> QuerySet[AuditEntry]:
    """Return what was done to one object, newest first."""
    return AuditEntry.objects.filter(object_type=object_type, object_id=object_id)
