"""S14: a key that may withdraw money sends no entry; what is held is still closed."""

import pytest
from django.urls import reverse
from django.utils import timezone

from exchange.key_rights import read_rights
from exchange.models import Account
from operations import execution, tasks
from operations.lifecycle import AlarmFacts, carry_out
from operations.models import Lane, Notice, Operation, Order
from pelusa.testing import DATABASES, PaperExchange, list_instruments, make_account, make_strategy
from pelusa.tests.browsing import browser_of
from pelusa.tests.making import client_of
from strategies.models import Strategy
from strategies.reasons import explain
from strategies.rules import Verdict

pytestmark = pytest.mark.django_db(databases=DATABASES)

OPEN, CLOSE = Verdict("open", "entry", {"leg": "long"}), Verdict("close", "exit", {"leg": "long"})
TRADES, WITHDRAWS = [1, 2, 3], [1, 2, 3, 5]


@pytest.fixture
def account(paper: PaperExchange) -> Account:
    list_instruments()
    return make_account()


def allow(paper: PaperExchange, account: Account, permissions: list[int]) -> None:
    paper.control("accounts", key=account.api_key, secret=account.api_secret, permissions=permissions)


def act(strategy: Strategy, verdict: Verdict, alarm_id: int) -> Order:
    carry_out(strategy, AlarmFacts(alarm_id, "long", timezone.now(), None, None), verdict)
    execution.run_lane(Lane.objects.get())
    return Order.objects.latest("pk")


def test_entries_are_denied_with_a_sentence_and_exits_go_on(account: Account, paper: PaperExchange) -> None:
    strategy = make_strategy(account, leg={"pyramiding": 5})
    act(strategy, OPEN, 1)
    allow(paper, account, WITHDRAWS)
    tasks.check_keys()
    denied = act(strategy, OPEN, 2)
    assert (denied.status, denied.reason) == ("denied", "key_may_withdraw")
    assert "may withdraw money: exits only" in explain(denied.reason, {})
    assert act(strategy, CLOSE, 3).status == "filled"
    assert Operation.objects.get().status == Operation.Status.CLOSED


def test_a_human_is_told_once_until_the_key_is_harmless_again(account: Account, paper: PaperExchange) -> None:
    allow(paper, account, WITHDRAWS)
    for _ in range(2):
        tasks.check_keys()
    assert Notice.objects.get().kind == "key_may_withdraw"
    allow(paper, account, TRADES)
    tasks.check_keys()
    assert Notice.objects.get().ended_at
    assert act(make_strategy(account), OPEN, 1).status == "filled"


def test_what_was_known_stays_while_the_exchange_is_silent(account: Account, paper: PaperExchange) -> None:
    allow(paper, account, WITHDRAWS)
    assert read_rights(account)
    Account.objects.update(api_key="a key that nobody knows")
    tasks.check_keys()
    assert Account.objects.get().may_withdraw


@pytest.mark.django_db(databases=DATABASES, transaction=True)
def test_saving_such_an_account_says_so_at_once(account: Account, paper: PaperExchange) -> None:
    allow(paper, account, WITHDRAWS)
    form = {"name": "desk", "environment": "paper", "is_active": "on", "position_mode": "hedge"}
    form |= {"new_api_key": account.api_key, "new_api_secret": account.api_secret}
    url = reverse("admin:exchange_account_change", args=[account.pk])
    answer = browser_of("operator").post(url, form, follow=True)
    assert "may withdraw money" in answer.content.decode()
    assert Account.objects.get().may_withdraw


def test_the_api_says_so_too(account: Account, paper: PaperExchange) -> None:
    allow(paper, account, WITHDRAWS)
    body = {"api_key": account.api_key, "api_secret": account.api_secret}
    answer = client_of("operator").patch(f"/api/v1/accounts/{account.pk}/", body, format="json")
    assert answer.json()["may_withdraw"] is True
    assert Account.objects.get().may_withdraw
