"""A look-up whose SQL is kept asks what Django would ask, each time anew."""

import importlib
import pkgutil
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from django.core.exceptions import ObjectDoesNotExist
from django.db import OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model, QuerySet
from django.db.transaction import TransactionManagementError
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

import alarms
import operations
from exchange.models import Account
from operations.kept import Kept
from pelusa import roles, tokens
from pelusa.testing import DATABASES, end_connection

pytestmark = pytest.mark.django_db(databases=DATABASES)

VALUES: dict[type, Callable[[int], Any]] = {
    int: lambda number: 5 + number,
    str: lambda number: f"it's {number} %",
    datetime: lambda number: timezone.now(),
}
ACCOUNT = Kept[Account](lambda pk: Account.objects.filter(pk=pk), int)


def look_ups() -> dict[str, Kept[Any]]:
    """Return every look-up that is kept by a module of these applications."""
    found = {}
    for package in (operations, alarms):
        for each in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            module = importlib.import_module(each.name)
            found |= {f"{each.name}.{name}": at for name, at in vars(module).items() if isinstance(at, Kept)}
    return found


LOOK_UPS = look_ups() | {"pelusa.tokens.BY_KEY": tokens.BY_KEY, "pelusa.roles.HELD": roles.HELD}


@pytest.mark.parametrize("name", LOOK_UPS)
def test_a_kept_look_up_asks_what_django_would_ask(name: str) -> None:
    kept = LOOK_UPS[name]
    values = _values(kept)
    queryset = kept.queryset(*values)
    with transaction.atomic(using=queryset.db):
        # The first call makes the text, the second uses it
        kept.all(*values)
        with CaptureQueriesContext(connections[queryset.db]) as asked:
            kept.all(*values)
            list(queryset)
    ours, theirs = asked.captured_queries
    assert ours["sql"] == theirs["sql"]


@pytest.mark.parametrize("name", LOOK_UPS)
def test_a_look_up_that_locks_reads_one_table_and_so_locks_no_other(name: str) -> None:
    query = _example(LOOK_UPS[name]).query
    sql = str(query)
    assert not query.select_for_update or (sql.count("SELECT"), sql.count("JOIN")) == (1, 0), sql


def test_each_call_asks_for_its_own_values() -> None:
    main, other = (Account.objects.create(name=name) for name in ("main", "other"))
    assert [ACCOUNT.get(each.pk).name for each in (main, other, main)] == ["main", "other", "main"]


def test_no_row_is_kept() -> None:
    account = Account.objects.create(name="main")
    before = ACCOUNT.get(account.pk)
    Account.objects.update(is_active=False)
    after = ACCOUNT.get(account.pk)
    assert (before.is_active, after.is_active) == (True, False)


def test_a_row_is_what_django_makes_of_it() -> None:
    account = Account.objects.create(name="main")
    ours, theirs = ACCOUNT.get(account.pk), Account.objects.get(pk=account.pk)
    assert _columns(ours) == _columns(theirs)
    assert ours._state.db == theirs._state.db


def _values(kept: Kept[Any]) -> list[Any]:
    return [VALUES[kind](number) for number, kind in enumerate(kept._kinds)]


def _example(kept: Kept[Any]) -> QuerySet[Any, Any]:
    return kept.queryset(*_values(kept))


def _columns(row: Model) -> dict[str, Any]:
    return {name: value for name, value in vars(row).items() if name != "_state"}


def test_a_row_that_is_not_there_is_said_to_be_missing() -> None:
    assert ACCOUNT.first(99) is None
    with pytest.raises(ObjectDoesNotExist):
        ACCOUNT.get(99)


def test_a_value_that_is_no_parameter_of_the_text_is_refused() -> None:
    with pytest.raises(ValueError, match="not every value"):
        Kept[Account](lambda most: Account.objects.all()[:most], int).all(1)


@pytest.mark.parametrize("values", [(), (None,), ("5",), (5, 5)])
def test_values_of_another_kind_are_refused(values: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError):
        ACCOUNT.all(*values)


@pytest.mark.django_db(transaction=True)
def test_rows_are_locked_inside_a_transaction_only() -> None:
    account = Account.objects.create(name="main")
    locking = Kept[Account](lambda pk: Account.objects.select_for_update().filter(pk=pk), int)
    with transaction.atomic():
        assert locking.get(account.pk) == account
    with pytest.raises(TransactionManagementError):
        locking.get(account.pk)


def pings(connection: BaseDatabaseWrapper) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SHOW SESSION STATUS LIKE 'Com_admin_commands'")
        return int(cursor.fetchone()[1])


@pytest.mark.servers
@pytest.mark.django_db(databases=DATABASES, transaction=True)
def test_the_first_look_up_of_a_request_is_its_own_ping() -> None:
    account, connection = Account.objects.create(name="main"), connections[Account.objects.db]
    before = pings(connection)
    # As each request and each task begins
    connection.close_if_unusable_or_obsolete()
    assert ACCOUNT.get(account.pk) == account
    assert pings(connection) == before
    connection.close_if_unusable_or_obsolete()
    assert Account.objects.get(pk=account.pk) == account
    assert pings(connection) == before + 1


@pytest.mark.servers
@pytest.mark.django_db(databases=DATABASES, transaction=True)
def test_a_look_up_opens_a_connection_anew_that_the_server_ended_since_the_last_request() -> None:
    account, connection = Account.objects.create(name="main"), connections[Account.objects.db]
    end_connection(connection)
    connection.close_if_unusable_or_obsolete()
    assert ACCOUNT.get(account.pk) == account


@pytest.mark.servers
@pytest.mark.django_db(databases=DATABASES, transaction=True)
def test_what_a_transaction_lost_with_its_connection_is_not_asked_anew() -> None:
    account, connection = Account.objects.create(name="main"), connections[Account.objects.db]
    connection.close_if_unusable_or_obsolete()

    @transaction.atomic
    def lose_it() -> None:
        end_connection(connection)
        ACCOUNT.get(account.pk)

    with pytest.raises(OperationalError):
        lose_it()
