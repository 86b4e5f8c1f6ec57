"""S13: stored secrets under new keys, and what happens where none opens them."""

from io import StringIO
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from exchange.encryption import WrongKey, key_id
from exchange.models import Account
from exchange.rotation import encrypted_columns, rotate, survey

pytestmark = pytest.mark.django_db

OLD, NEW = (Fernet.generate_key().decode() for _ in range(2))
SECRETS = ("planted-key-4711", "planted-secret-0815")


@pytest.fixture
def account(settings: Any) -> Account:
    settings.FIELD_ENCRYPTION_KEYS = [OLD]
    Account.objects.create(name="without credentials")
    return Account.objects.create(name="desk", api_key=SECRETS[0], api_secret=SECRETS[1])


def command(*options: str) -> str:
    output = StringIO()
    call_command("rotate_keys", *options, stdout=output)
    return output.getvalue()


def opened() -> tuple[str, str]:
    return Account.objects.values_list("api_key", "api_secret").get(name="desk")


def stored() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT api_key, api_secret FROM exchange_account")
        return str(cursor.fetchall())


def test_after_it_the_newest_key_alone_opens_everything(account: Account, settings: Any) -> None:
    settings.FIELD_ENCRYPTION_KEYS = [NEW, OLD]
    assert "Account.api_key: 1 rows" in command()
    settings.FIELD_ENCRYPTION_KEYS = [NEW]
    assert opened() == SECRETS
    assert not any(secret in stored() for secret in SECRETS)


def test_a_second_run_changes_nothing(account: Account, settings: Any) -> None:
    settings.FIELD_ENCRYPTION_KEYS = [NEW, OLD]
    rotate()
    before = stored()
    assert set(rotate().values()) == {0}
    assert stored() == before


def test_one_that_was_stopped_half_way_is_finished_by_the_next(account: Account, settings: Any) -> None:
    settings.FIELD_ENCRYPTION_KEYS = [NEW, OLD]
    account.save(update_fields=["api_key"])
    assert {column.name: dict(column.rows) for column in survey()}["exchange.Account.api_secret"] == {key_id(OLD): 1}
    changed = rotate()
    assert (changed["exchange.Account.api_key"], changed["exchange.Account.api_secret"]) == (0, 1)
    settings.FIELD_ENCRYPTION_KEYS = [NEW]
    assert opened() == SECRETS


def test_check_tells_which_keys_are_needed_and_changes_nothing(account: Account, settings: Any) -> None:
    settings.FIELD_ENCRYPTION_KEYS = [NEW, OLD]
    before = stored()
    assert f"key {key_id(OLD)} (still needed): 2 rows" in command("--check")
    assert stored() == before
    rotate()
    told = command("--check")
    assert f"key {key_id(OLD)} (may be taken out): 0 rows" in told
    assert not any(each in told for each in (OLD, NEW, *SECRETS))


def test_a_row_that_no_key_opens_stops_it_before_anything_is_written(account: Account, settings: Any) -> None:
    before = stored()
    settings.FIELD_ENCRYPTION_KEYS = [NEW]
    for options in ((), ("--check",)):
        with pytest.raises(CommandError, match=r"Account\.api_key"):
            command(*options)
    assert stored() == before


def test_a_wrong_key_raises_and_never_yields_ciphertext(account: Account, settings: Any) -> None:
    settings.FIELD_ENCRYPTION_KEYS = [NEW]
    with pytest.raises(WrongKey) as raised:
        Account.objects.get(name="desk")
    assert "gAAAA" not in str(raised.value)


def test_secrets_travel_in_no_query_of_it(account: Account, settings: Any) -> None:
    settings.FIELD_ENCRYPTION_KEYS = [NEW, OLD]
    with CaptureQueriesContext(connection) as queries:
        rotate()
    assert not any(secret in each["sql"] for each in queries.captured_queries for secret in SECRETS)


def test_every_encrypted_column_is_found() -> None:
    names = {f"{model._meta.label}.{column.name}" for model, column in encrypted_columns()}
    assert {"exchange.Account.api_key", "exchange.Account.api_secret"} <= names
