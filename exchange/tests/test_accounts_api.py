"""Accounts over the API: credentials go in and never come out."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection

from exchange.models import Account
from pelusa.livesystem import free_port
from pelusa.testing import DATABASES, PaperExchange
from pelusa.tests.making import client_of, make_account, make_strategy
from pelusa.tests.planted import planted

pytestmark = pytest.mark.django_db(databases=DATABASES)
URL = "/api/v1/accounts/"
KEYS = {"api_key": planted("exchange key"), "api_secret": planted("exchange secret")}


def create(**body: Any) -> Any:
    return client_of("operator").post(URL, body, format="json")


def wrong_fields(answer: Any) -> dict[str, list[str]]:
    assert answer.status_code == 400, answer.content
    return dict(answer.json()["error"]["fields"])


def test_a_paper_account_needs_no_key_and_is_opened_at_the_paper_exchange(paper: PaperExchange) -> None:
    answer = create(name="desk", environment="paper")
    assert answer.status_code == 201
    told = answer.json()
    assert told.pop("rights_read_at")
    assert told == {
        "id": Account.objects.get().pk,
        "name": "desk",
        "environment": "paper",
        "is_active": True,
        "position_mode": "hedge",
        "may_withdraw": False,
        "key_note": "The key may not withdraw money.",
    }
    account = Account.objects.get()
    assert account.api_key
    assert account.api_secret


def test_without_a_paper_exchange_no_account_is_made(settings: Any) -> None:
    settings.BINGX_PAPER_URL = f"http://127.0.0.1:{free_port()}"
    answer = create(name="desk")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "exchange_away")
    assert not Account.objects.exists()


def test_credentials_are_written_and_never_read(settings: Any) -> None:
    settings.PELUSA_TRADING = "live"
    answer = create(name="main", environment="live", **KEYS)
    assert answer.status_code == 201
    client = client_of("operator")
    pages = [answer, client.get(URL), client.get(f"{URL}{answer.json()['id']}/"), client.options(URL)]
    for page in pages:
        assert not any(value in page.content.decode() for value in KEYS.values())
    account = Account.objects.get()
    assert (account.api_key, account.api_secret) == tuple(KEYS.values())
    with connection.cursor() as cursor:
        cursor.execute("SELECT api_key, api_secret FROM exchange_account")
        assert not any(value in str(cursor.fetchall()) for value in KEYS.values())


def test_a_list_opens_when_no_key_fits_what_is_stored(settings: Any) -> None:
    from cryptography.fernet import Fernet

    make_account()
    settings.FIELD_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    assert client_of().get(URL).json()["results"][0]["name"] == "desk"


def test_new_credentials_replace_both_and_empty_ones_keep_both() -> None:
    account = make_account()
    url = f"{URL}{account.pk}/"
    client = client_of("operator")
    assert client.patch(url, {"api_key": "", "api_secret": "", "name": "renamed"}, format="json").status_code == 200
    account.refresh_from_db()
    assert (account.name, account.api_secret) == ("renamed", planted("exchange secret"))
    assert client.patch(url, KEYS, format="json").status_code == 200
    account.refresh_from_db()
    assert (account.api_key, account.api_secret) == tuple(KEYS.values())
    assert list(wrong_fields(client.patch(url, {"api_key": "only the key"}, format="json"))) == ["api_secret"]


@pytest.mark.parametrize("given", [{}, {"api_key": "only"}, {"api_secret": "only"}])
def test_real_money_needs_key_and_secret(settings: Any, given: dict[str, str]) -> None:
    settings.PELUSA_TRADING = "live"
    assert set(wrong_fields(create(name="main", environment="live", **given))) == {"api_key", "api_secret"} - set(given)


def test_an_account_above_the_ceiling_is_refused() -> None:
    sentences = wrong_fields(create(name="main", environment="live", **KEYS))
    assert sentences == {"environment": ["PELUSA_TRADING allows paper at most."]}


def test_an_account_stays_in_its_environment(settings: Any) -> None:
    settings.PELUSA_TRADING = "live"
    account = make_account()
    client = client_of("operator")
    url = f"{URL}{account.pk}/"
    assert list(wrong_fields(client.patch(url, {"environment": "live"}, format="json"))) == ["environment"]
    assert (
        client.put(url, {"name": "desk", "environment": "paper", "is_active": False}, format="json").status_code == 200
    )
    account.refresh_from_db()
    assert not account.is_active


@pytest.mark.parametrize(
    ("body", "field"),
    [({"environment": "moon"}, "environment"), ({"name": ""}, "name"), ({"position_mode": "x"}, "position_mode")],
)
def test_a_wrong_field_is_named(body: dict[str, str], field: str) -> None:
    assert list(wrong_fields(create(**{"name": "desk", **body}))) == [field]


def test_a_name_is_taken_once() -> None:
    make_account("desk")
    assert list(wrong_fields(create(name="desk"))) == ["name"]


def test_an_account_with_a_strategy_cannot_be_deleted() -> None:
    busy, idle = make_account("busy"), make_account("idle")
    make_strategy(busy)
    client = client_of("operator")
    answer = client.delete(f"{URL}{busy.pk}/")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")
    assert client.delete(f"{URL}{idle.pk}/").status_code == 204
    assert [account.name for account in Account.objects.all()] == ["busy"]


@contextmanager
def unchanged() -> Iterator[None]:
    before = list(Account.objects.values())
    yield
    assert list(Account.objects.values()) == before


@pytest.mark.parametrize("role", ["viewer", "trader"])
def test_only_an_operator_writes_accounts(role: str) -> None:
    account = make_account()
    client = client_of(role)
    with unchanged():
        assert client.post(URL, {"name": "new"}, format="json").status_code == 403
        assert client.patch(f"{URL}{account.pk}/", KEYS, format="json").status_code == 403
        assert client.delete(f"{URL}{account.pk}/").status_code == 403
    assert client.get(URL).status_code == 200
