"""Who may do what: three groups, each holding what the one before it holds, and the API's permission class.

viewer reads; trader also writes strategies, closes operations, pulls the kill switch and says which candles are kept;
operator also releases it and writes limits, accounts, instruments, address rules, channels and the scheduler's tables.
Users, groups and tokens stay with the superuser.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.apps import AppConfig, apps
from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Group, Permission
from django.db import router
from django.db.models import Q, QuerySet
from rest_framework.permissions import DjangoModelPermissions

from operations.kept import Kept

if TYPE_CHECKING:
    # A view imports this module through the settings
    from rest_framework.request import Request
    from rest_framework.views import APIView

ROLES = ("viewer", "trader", "operator")

_OURS = ("alarms", "operations", "strategies", "market", "exchange")
# What each role adds: (app, model or * for all, actions)
GRANTS: dict[str, tuple[tuple[str, str, tuple[str, ...]], ...]] = {
    "viewer": (
        *((app, "*", ("view",)) for app in _OURS),
        ("pelusa", "addressrule", ("view",)),
        ("pelusa", "refusal", ("view",)),
        ("pelusa", "channel", ("view",)),
        ("pelusa", "message", ("view",)),
    ),
    "trader": (
        ("strategies", "strategy", ("add", "change", "delete")),
        ("strategies", "leg", ("add", "change", "delete")),
        ("operations", "operation", ("close",)),
        # Whoever sees that something is wrong may stop it; only an operator lets it go on
        ("operations", "killswitch", ("pull",)),
        ("market", "series", ("add", "change")),
        ("market", "backfill", ("add", "change")),
    ),
    "operator": (
        ("operations", "killswitch", ("release",)),
        ("operations", "limits", ("add", "change", "delete")),
        ("exchange", "account", ("add", "change", "delete")),
        ("market", "instrument", ("add", "change", "delete")),
        ("pelusa", "addressrule", ("add", "change", "delete")),
        ("pelusa", "channel", ("add", "change", "delete")),
        ("django_celery_beat", "*", ("view", "add", "change", "delete")),
        ("pelusa", "auditentry", ("view",)),
    ),
}


def make_roles(app_config: AppConfig, using: str = "default", **options: Any) -> None:
    """After an app was migrated: make the groups and give them what they hold of this app.

    Django makes an app's permissions in a receiver of the same signal, which may run after this one.
    """
    if not router.allow_migrate_model(using, Group) or not any(app == app_config.label for app, *_ in _grants()):
        return
    create_permissions(app_config, using=using, verbosity=0, apps=options.get("apps", apps))
    for position, role in enumerate(ROLES):
        group, _ = Group.objects.using(using).get_or_create(name=role)
        held = [grant for each in ROLES[: position + 1] for grant in GRANTS[each] if grant[0] == app_config.label]
        group.permissions.add(*_permissions(held, using))


def _grants() -> Iterable[tuple[str, str, tuple[str, ...]]]:
    return [grant for role in ROLES for grant in GRANTS[role]]


def _permissions(grants: Iterable[tuple[str, str, tuple[str, ...]]], using: str) -> list[Permission]:
    wanted = Q(pk__in=[])
    for app, model, actions in grants:
        of_model = Q(content_type__app_label=app) & (Q() if model == "*" else Q(content_type__model=model))
        for action in actions:
            wanted |= of_model & Q(codename__startswith=f"{action}_")
    return list(Permission.objects.using(using).filter(wanted))


def give_role(user: Any, role: str) -> None:
    """Make `role` the user's only one of ours; raise `Group.DoesNotExist` before the first migration."""
    group = Group.objects.get(name=role)
    user.groups.remove(*Group.objects.filter(name__in=ROLES).exclude(pk=group.pk))
    user.groups.add(group)


def _held_by(user_id: int) -> QuerySet[Any, Any]:
    """Return the permissions of a user's own and of his groups, each as application and code name."""
    own, of_groups = Permission.objects.filter(user=user_id), Permission.objects.filter(group__user=user_id)
    columns = ("content_type__app_label", "codename")
    return own.order_by().values_list(*columns).union(of_groups.order_by().values_list(*columns))


HELD = Kept[tuple[str, str]](_held_by, int)


def read_permissions(user: Any) -> None:
    """Give a user, for this request, the permissions that Django would read in two queries as soon as it is asked."""
    if user.is_active and not user.is_superuser and not hasattr(user, "_perm_cache"):
        user._perm_cache = {f"{app}.{codename}" for app, codename in HELD.all(user.pk)}


class RolePermissions(DjangoModelPermissions):
    """Closed by default: a user, with the model's permission for the method, or with the one that the act names.

    An act is a viewset action with `required_permission="app.codename"`. A view with neither rows nor an act of its
    own takes nobody but a superuser.
    """

    perms_map = {
        **DjangoModelPermissions.perms_map,
        "GET": ["%(app_label)s.view_%(model_name)s"],
        "HEAD": ["%(app_label)s.view_%(model_name)s"],
        "OPTIONS": ["%(app_label)s.view_%(model_name)s"],
    }

    def has_permission(self, request: Request, view: APIView) -> bool:
        user = request.user
        if not user or not user.is_authenticated:
            return False
        read_permissions(user)
        act = getattr(view, "required_permission", None)
        if act:
            return bool(user.has_perm(act))
        if getattr(view, "queryset", None) is None and not getattr(view, "_ignore_model_permissions", False):
            return bool(user.is_superuser)
        return bool(super().has_permission(request, view))
