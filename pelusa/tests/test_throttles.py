"""How much one user or one address may ask of the API, and how many tokens it may guess."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from pelusa import throttles, tokens
from pelusa.testing import DATABASES, alarm_body
from pelusa.tests.making import client_of
from pelusa.tests.planted import planted
from pelusa.throttles import Allowance
from pelusa.tokens import WRONG_TOKENS

pytestmark = pytest.mark.django_db(databases=DATABASES)
ALARMS = "/api/v1/alarms/"
ATTACKER = "203.0.113.9"


@pytest.fixture(autouse=True)
def unspent(settings: Any) -> Iterator[None]:
    """Nothing that another test took, nor what this one takes."""
    settings.API_REQUESTS_PER_MINUTE = 5
    for each in (throttles.allowance, tokens.guesses):
        each.cache_clear()
    yield
    for each in (throttles.allowance, tokens.guesses):
        each.cache_clear()


def guess(remote: str = ATTACKER, token: str = "0" * 64) -> Any:
    headers: dict[str, Any] = {"REMOTE_ADDR": remote, "HTTP_AUTHORIZATION": f"Token {token}"}
    return Client().get(ALARMS, **headers)


def test_a_user_who_asks_too_much_is_429_and_told_when_to_come_back_and_others_are_not() -> None:
    busy, other = client_of(), client_of()
    statuses = [busy.get(ALARMS).status_code for _ in range(6)]
    assert statuses == [200] * 5 + [429]
    refused = busy.get(ALARMS)
    assert refused.json()["error"]["code"] == "throttled"
    assert 0 < int(refused.headers["Retry-After"]) <= 61
    assert other.get(ALARMS).status_code == 200


def test_the_webhook_is_never_throttled(settings: Any) -> None:
    settings.WEBHOOK_SECRETS = [planted("webhook secret")]
    statuses = {
        Client().post(f"/webhook/{settings.WEBHOOK_SECRETS[0]}", alarm_body(), "application/json").status_code
        for _ in range(throttles.OF_STRANGERS + 10)
    }
    assert statuses == {200}


def test_guessed_tokens_end_soon_and_then_ask_no_database(django_assert_num_queries: Any) -> None:
    assert [guess(token=f"{n:064x}").status_code for n in range(WRONG_TOKENS)] == [401] * WRONG_TOKENS
    with django_assert_num_queries(0):
        refused = guess()
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "throttled")
    assert refused.headers["Retry-After"]


def test_who_guesses_shuts_out_his_own_address_alone() -> None:
    for _ in range(WRONG_TOKENS + 1):
        guess()
    assert client_of().get(ALARMS).status_code == 200
    assert client_of().get(ALARMS, REMOTE_ADDR=ATTACKER).status_code == 429


def test_a_header_that_names_another_address_does_not_help_who_guesses() -> None:
    headers: dict[str, Any] = {"REMOTE_ADDR": ATTACKER, "HTTP_AUTHORIZATION": f"Token {'0' * 64}"}
    answers = [Client().get(ALARMS, HTTP_X_FORWARDED_FOR=f"192.0.2.{n}", **headers).status_code for n in range(30)]
    assert answers.count(401) == WRONG_TOKENS


def test_a_right_token_spends_nothing() -> None:
    client = client_of()
    for _ in range(4):
        client.get(ALARMS)
    assert not tokens.guesses().is_spent("127.0.0.1", 1)


def test_while_redis_is_away_the_process_counts_alone() -> None:
    alone = Allowance("redis://127.0.0.1:1/0")
    assert [bool(alone.take("user/ana", 2)) for _ in range(3)] == [False, False, True]


@pytest.mark.servers
def test_processes_share_what_they_count(settings: Any) -> None:
    name = f"user/{id(settings)}"
    one, other = Allowance(settings.PACING_REDIS_URL), Allowance(settings.PACING_REDIS_URL)
    assert [bool(each.take(name, 2)) for each in (one, other, one, other)] == [False, False, True, True]
