"""Who may do what: every address, every method, every role, against one table."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from market.tests.making import make_backfills
from operations.models import Decision, Fill, Limits, Notice, Operation, Order
from pelusa.actors import SYSTEM
from pelusa.audit.chain import append
from pelusa.roles import ROLES, RolePermissions, give_role, read_permissions
from pelusa.testing import DATABASES
from pelusa.tests.making import client_of, make_history, make_instrument
from pelusa.tests.planted import planted

pytestmark = pytest.mark.django_db(databases=DATABASES)

METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
EVERYBODY = frozenset({"nobody", "stranger", *ROLES})
USERS = frozenset({"nobody", *ROLES})
READERS = frozenset(ROLES)
TRADERS = frozenset({"trader", "operator"})
OPERATORS = frozenset({"operator"})
NOBODY: frozenset[str] = frozenset()

# Who is let in, by address and method; a method that is not named lets nobody in
READ = {"GET": READERS, "HEAD": READERS, "OPTIONS": READERS}
WRITE = {"PUT", "PATCH", "DELETE"}
TABLE: dict[str, dict[str, frozenset[str]]] = {
    "": dict.fromkeys(METHODS, EVERYBODY),
    "get-k-line-data": READ,
    # Leads to the one above
    "get-k-line-data/": dict.fromkeys(METHODS, EVERYBODY),
    # The language of the pages, kept in a cookie
    "i18n/setlang/": dict.fromkeys(METHODS, EVERYBODY),
    "webhook": {"POST": EVERYBODY},
    "webhook/": {"POST": EVERYBODY},
    "webhook/<str:secret>": {"POST": EVERYBODY},
    "webhook/<str:secret>/": {"POST": EVERYBODY},
    "health/live": {"GET": EVERYBODY, "HEAD": EVERYBODY},
    "health/seen": {},
    "health/ready": {"GET": USERS, "HEAD": USERS, "OPTIONS": USERS},
    "metrics": READ,
    "api/schema/": {"GET": USERS, "HEAD": USERS, "OPTIONS": USERS},
    # Pages for people with a session: with a token they lead to the login
    "api/docs/": dict.fromkeys(METHODS, EVERYBODY),
    "admin/doctor/": dict.fromkeys(METHODS, EVERYBODY),
    "admin/<slug:app>/<slug:model>/<path:object_id>/history/": dict.fromkeys(METHODS, EVERYBODY),
    "api/v1/": {"GET": USERS, "HEAD": USERS, "OPTIONS": USERS},
    "api/v1/alarms/": READ,
    "api/v1/alarms/<pk>/": READ,
    "api/v1/strategies/": READ | {"POST": TRADERS},
    "api/v1/strategies/export/": READ,
    "api/v1/strategies/import/": {"POST": TRADERS, "OPTIONS": READERS},
    "api/v1/strategies/<pk>/": READ | dict.fromkeys(WRITE, TRADERS),
    "api/v1/strategies/<pk>/versions/": READ,
    "api/v1/operations/": READ,
    "api/v1/operations/<pk>/": READ,
    "api/v1/operations/<pk>/close/": {"POST": TRADERS, "OPTIONS": TRADERS},
    "api/v1/orders/": READ,
    "api/v1/orders/<pk>/": READ,
    "api/v1/fills/": READ,
    "api/v1/fills/<pk>/": READ,
    "api/v1/decisions/": READ,
    "api/v1/decisions/<pk>/": READ,
    "api/v1/instruments/": READ,
    "api/v1/instruments/<pk>/": READ,
    "api/v1/klines/": READ,
    "api/v1/series/": READ | {"POST": TRADERS},
    "api/v1/series/<pk>/": READ,
    "api/v1/series/<pk>/follow/": {"POST": TRADERS, "OPTIONS": TRADERS},
    "api/v1/series/<pk>/unfollow/": {"POST": TRADERS, "OPTIONS": TRADERS},
    "api/v1/series/<pk>/backfill/": {"POST": TRADERS, "OPTIONS": TRADERS},
    "api/v1/backfills/": READ,
    "api/v1/backfills/<pk>/": READ,
    "api/v1/backfills/<pk>/stop/": {"POST": TRADERS, "OPTIONS": TRADERS},
    "api/v1/backfills/<pk>/resume/": {"POST": TRADERS, "OPTIONS": TRADERS},
    "api/v1/accounts/": READ | {"POST": OPERATORS},
    "api/v1/accounts/<pk>/": READ | dict.fromkeys(WRITE, OPERATORS),
    "api/v1/accounts/<pk>/equity/": READ,
    "api/v1/balances/": READ,
    "api/v1/positions/": READ,
    "api/v1/kill-switch/": READ,
    "api/v1/kill-switch/pull/": {"POST": TRADERS, "OPTIONS": TRADERS},
    "api/v1/kill-switch/release/": {"POST": OPERATORS, "OPTIONS": OPERATORS},
    "api/v1/limits/": READ | {"POST": OPERATORS},
    "api/v1/limits/<pk>/": READ | dict.fromkeys(WRITE, OPERATORS),
    "api/v1/audit/": dict.fromkeys(READ, OPERATORS),
    "api/v1/audit/<pk>/": dict.fromkeys(READ, OPERATORS),
    "api/v1/notices/": READ,
    "api/v1/notices/<pk>/": READ,
}
# The back office has its own tests; here it stands as one row
BACK_OFFICE = "admin/"


def addresses(patterns: list[Any] | None = None, before: str = "") -> Iterator[str]:
    """Yield every address of the project as its pattern reads."""
    for entry in get_resolver().url_patterns if patterns is None else patterns:
        here = before + str(entry.pattern).removeprefix("^").removesuffix("$").replace("(?P<pk>[0-9]{1,18})", "<pk>")
        if here == BACK_OFFICE:
            continue
        if isinstance(entry, URLResolver):
            yield from addresses(entry.url_patterns, here)
        else:
            assert isinstance(entry, URLPattern)
            yield here


def test_the_table_has_a_row_for_every_address_and_no_other() -> None:
    assert sorted(addresses()) == sorted(TABLE)


@pytest.fixture
def keys() -> dict[str, Any]:
    """One row of each kind, so that what is asked for is there."""
    [strategy] = make_history()
    newest: dict[str, Any] = {"orders": Order, "fills": Fill, "decisions": Decision, "operations": Operation}
    found = {name: model.objects.get().pk for name, model in newest.items()}
    alarm = Decision.objects.get().alarm_id
    own = {"strategies": strategy.pk, "accounts": strategy.account_id, "alarms": alarm}
    guards = {"limits": Limits.objects.create(scope="all").pk, "notices": Notice.objects.create(kind="x").pk}
    guards["audit"] = append(SYSTEM, "changed").pk
    [row] = make_backfills()
    candles = {"series": row.series_id, "backfills": row.pk}
    return found | own | guards | candles | {"instruments": make_instrument().pk}


@pytest.mark.parametrize("who", sorted(EVERYBODY))
@pytest.mark.parametrize("address", sorted(TABLE))
def test_each_role_is_let_in_where_the_table_says_and_nowhere_else(
    keys: dict[str, Any], address: str, who: str
) -> None:
    client = client_of({"stranger": None, "nobody": ""}.get(who, who), raises=False)
    kind = address.split("/")[2] if address.startswith("api/v1/") else ""
    path = "/" + address.replace("<pk>", str(keys.get(kind))).replace("<str:secret>", "x")
    for method in METHODS:
        status = client.generic(method, path, "{}", content_type="application/json").status_code
        allowed = who in TABLE[address].get(method, NOBODY)
        shut_out = 401 if who == "stranger" else 403
        assert status < 500 or status == 503, (method, path, who)
        if address.startswith("webhook"):
            assert (status == 405) is not allowed, (method, path, who)
        elif allowed:
            assert status not in (401, 403, 404, 405), (method, path, who, status)
        else:
            assert status in (shut_out, 405), (method, path, who, status)


def test_the_superuser_may_do_everything_and_a_user_that_is_switched_off_nothing() -> None:
    client = client_of("superuser")
    assert client.get("/api/v1/accounts/").status_code == 200
    from django.contrib.auth import get_user_model

    get_user_model().objects.update(is_active=False)
    assert client.get("/api/v1/accounts/").status_code == 401


def test_what_is_taken_away_is_gone_at_the_next_request() -> None:
    from django.contrib.auth import get_user_model
    from knox.models import AuthToken

    client, users = client_of("trader"), get_user_model().objects
    user = users.get()
    assert client.get("/api/v1/alarms/").status_code == 200
    user.groups.clear()
    assert client.get("/api/v1/alarms/").status_code == 403
    give_role(user, "viewer")
    assert client.get("/api/v1/alarms/").status_code == 200
    users.update(is_active=False)
    assert client.get("/api/v1/alarms/").status_code == 401
    users.update(is_active=True)
    assert client.get("/api/v1/alarms/").status_code == 200
    AuthToken.objects.all().delete()
    assert client.get("/api/v1/alarms/").status_code == 401


@pytest.mark.parametrize("groups", [(), ("viewer",), ("viewer", "operator")])
@pytest.mark.parametrize("is_active", [True, False])
def test_a_users_permissions_are_those_that_django_reads(groups: tuple[str, ...], is_active: bool) -> None:
    from django.contrib.auth import get_user_model

    users = get_user_model().objects
    user = users.create_user("ana", is_active=is_active)
    users.create_user("other").user_permissions.add(Permission.objects.get(codename="add_user"))
    user.user_permissions.add(*Permission.objects.filter(codename__in=("view_user", "view_alarm")))
    user.groups.add(*Group.objects.filter(name__in=groups))
    ours, theirs = users.get(pk=user.pk), users.get(pk=user.pk)
    read_permissions(ours)
    assert ours.get_all_permissions() == theirs.get_all_permissions()
    assert bool(ours.get_all_permissions()) is is_active


def names_of(role: str) -> set[str]:
    held = Group.objects.get(name=role).permissions.values_list("content_type__app_label", "codename")
    return {f"{app}.{codename}" for app, codename in held}


def test_each_role_holds_what_the_one_before_it_holds() -> None:
    assert names_of("viewer") < names_of("trader") < names_of("operator")
    assert all(".view_" in name for name in names_of("viewer"))
    assert "operations.close_operation" in names_of("trader") - names_of("viewer")
    assert "strategies.delete_strategy" in names_of("trader") - names_of("viewer")
    assert "operations.pull_killswitch" in names_of("trader") - names_of("viewer")
    assert "operations.release_killswitch" in names_of("operator") - names_of("trader")
    assert "operations.change_limits" in names_of("operator") - names_of("trader")
    assert "exchange.change_account" in names_of("operator") - names_of("trader")
    assert "django_celery_beat.add_periodictask" in names_of("operator") - names_of("trader")


def test_nobody_but_the_superuser_writes_books_users_or_tokens() -> None:
    books = ("alarms.", "auth.", "knox.", "operations.change_", "operations.add_", "operations.delete_")
    written = {name for name in names_of("operator") if ".view_" not in name and not name.endswith("_limits")}
    assert not [name for name in written if name.startswith(books)]


def test_migrating_again_changes_nothing_and_gives_back_what_is_missing() -> None:
    before = names_of("operator")
    Group.objects.get(name="operator").permissions.clear()
    call_command("migrate", database="default", verbosity=0, interactive=False)
    assert names_of("operator") == before
    assert Permission.objects.filter(codename="close_operation").count() == 1


def test_a_view_without_rows_or_an_act_of_its_own_takes_nobody() -> None:
    from django.contrib.auth import get_user_model
    from rest_framework.response import Response
    from rest_framework.test import APIRequestFactory, force_authenticate
    from rest_framework.views import APIView

    class Forgotten(APIView):
        permission_classes = [RolePermissions]

        def get(self, request: Any) -> Response:
            return Response("open")

    request = APIRequestFactory().get("/")
    assert Forgotten.as_view()(request).status_code == 401
    force_authenticate(request, get_user_model().objects.create_user("ana"))
    assert Forgotten.as_view()(request).status_code == 403


def test_a_password_alone_opens_nothing() -> None:
    from base64 import b64encode

    from django.contrib.auth import get_user_model

    get_user_model().objects.create_superuser("ana", password=planted("password"))
    basic = b64encode(f"ana:{planted('password')}".encode()).decode()
    assert Client().get("/api/v1/alarms/", HTTP_AUTHORIZATION=f"Basic {basic}").status_code == 401


def test_a_session_without_the_forms_token_changes_nothing() -> None:
    from django.contrib.auth import get_user_model

    client = Client(enforce_csrf_checks=True)
    client.force_login(get_user_model().objects.create_superuser("ana"))
    assert client.get("/api/v1/accounts/").status_code == 200
    answer = client.post("/api/v1/accounts/", {"name": "new"}, "application/json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "permission_denied")
