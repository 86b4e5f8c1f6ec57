"""S14: a key that may withdraw money sends no entry; what is held is still closed."""

import socket
from time import monotonic
from typing import Any

import pytest
from django.db import connection
from django.urls import reverse
from django.utils import timezone

from exchange.api import AccountSerializer
from exchange.connection import connect
from exchange.errors import NotSent
from exchange.key_rights import read_rights
from exchange.models import Account
from operations import execution, tasks
from operations.lifecycle import AlarmFacts, carry_out
from operations.models import Lane, Notice, Operation, Order
from pelusa.livesystem import free_port
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


def move_to(environment: str, url: str, settings: Any) -> None:
    settings.PELUSA_TRADING = "live"
    settings.BINGX_URLS = settings.BINGX_URLS | {environment: url}
    Account.objects.update(environment=environment)


def test_real_money_waits_until_the_key_was_read_once_and_exits_go_on(
    account: Account, paper: PaperExchange, settings: Any
) -> None:
    strategy = make_strategy(account, leg={"pyramiding": 5})
    act(strategy, OPEN, 1)
    move_to("live", paper.url, settings)
    strategy = Strategy.objects.select_related("account").get()
    denied = act(strategy, OPEN, 2)
    assert (denied.status, denied.reason) == ("denied", "key_not_checked")
    assert "exits only, until it has" in explain(denied.reason, {})
    assert act(strategy, CLOSE, 3).status == "filled"
    tasks.check_keys()
    assert act(strategy, OPEN, 4).status == "filled"


@pytest.mark.parametrize(("environment", "kind"), [("live", "key_not_checked"), ("vst", "key_unread")])
def test_a_key_that_was_never_read_is_told_once_and_demo_money_trades(
    account: Account, paper: PaperExchange, settings: Any, environment: str, kind: str
) -> None:
    move_to(environment, f"http://127.0.0.1:{free_port()}", settings)
    for _ in range(2):
        tasks.check_keys()
    assert Notice.objects.get().kind == kind
    move_to(environment, paper.url, settings)
    order = act(make_strategy(Account.objects.get()), OPEN, 1)
    assert (order.status, order.reason) == (("denied", "key_not_checked") if environment == "live" else ("filled", ""))
    tasks.check_keys()
    assert Notice.objects.get().ended_at


def test_what_was_read_once_is_believed_while_the_exchange_is_silent(
    account: Account, paper: PaperExchange, settings: Any
) -> None:
    move_to("live", paper.url, settings)
    tasks.check_keys()
    move_to("live", f"http://127.0.0.1:{free_port()}", settings)
    tasks.check_keys()
    assert not Notice.objects.exists()
    assert not Account.objects.get().is_key_unproven


def test_a_key_that_cannot_be_opened_hinders_no_other_accounts_check(account: Account, settings: Any) -> None:
    lost = Account.objects.create(name="another", environment="live", api_key="k" * 20, api_secret="s" * 20)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE exchange_account SET api_key = 'sealed with a lost key' WHERE id = %s", [lost.pk])
    tasks.check_keys()
    assert Notice.objects.get().account_id == lost.pk
    assert Account.objects.values_list("rights_read_at", flat=True).get(pk=account.pk)


def test_another_key_over_the_api_is_unproven_until_the_exchange_answers(account: Account, settings: Any) -> None:
    Account.objects.update(rights_read_at=timezone.now())
    move_to("live", f"http://127.0.0.1:{free_port()}", settings)
    body = {"api_key": "another key", "api_secret": "another secret"}
    told = client_of("operator").patch(f"/api/v1/accounts/{account.pk}/", body, format="json").json()
    assert told["rights_read_at"] is None
    assert told["key_note"].startswith("What the key may do is not known yet: ")
    assert told["key_note"].endswith("No entry is sent until it is known.")
    assert Account.objects.get().is_key_unproven


def test_saving_over_the_api_does_not_wait_for_an_exchange_that_hangs(
    account: Account, paper: PaperExchange, settings: Any
) -> None:
    """It listens, takes the request, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        move_to("live", f"http://127.0.0.1:{silent.getsockname()[1]}", settings)
        body = {"api_key": "another key", "api_secret": "another secret"}
        began = monotonic()
        answer = client_of("operator").patch(f"/api/v1/accounts/{account.pk}/", body, format="json")
    assert monotonic() - began < 20
    assert (answer.status_code, answer.json()["may_withdraw"]) == (200, False)
    assert "not known yet" in answer.json()["key_note"]


@pytest.mark.django_db(databases=DATABASES, transaction=True)
def test_another_key_in_the_back_office_is_unproven_too(account: Account, settings: Any) -> None:
    Account.objects.update(rights_read_at=timezone.now())
    move_to("live", f"http://127.0.0.1:{free_port()}", settings)
    form = {"name": "desk", "environment": "live", "is_active": "on", "position_mode": "hedge"}
    form |= {"new_api_key": "another key", "new_api_secret": "another secret"}
    url = reverse("admin:exchange_account_change", args=[account.pk])
    answer = browser_of("operator").post(url, form, follow=True)
    assert "No entry is sent until it is known" in answer.content.decode()
    assert Account.objects.get().is_key_unproven


def test_saving_something_else_writes_nothing_about_the_key(account: Account) -> None:
    """Another request entered another key while this one was on its way."""
    Account.objects.update(rights_read_at=timezone.now())
    old = Account.objects.get()
    Account.objects.update(rights_read_at=None)
    serializer = AccountSerializer(old, data={"name": "renamed"}, partial=True)
    serializer.is_valid(raise_exception=True)
    serializer.save()
    assert Account.objects.get().rights_read_at is None


def test_what_the_paper_exchange_said_of_a_key_proves_nothing_about_real_money(account: Account, settings: Any) -> None:
    Account.objects.update(rights_read_at=timezone.now())
    settings.PELUSA_TRADING = "live"
    form = {"name": "desk", "environment": "live", "is_active": "on", "position_mode": "hedge"}
    browser_of("operator").post(reverse("admin:exchange_account_change", args=[account.pk]), form)
    assert Account.objects.get().environment == "live"
    assert Account.objects.get().is_key_unproven


def test_no_test_reaches_a_real_exchange() -> None:
    with pytest.raises(socket.gaierror, match="no test may ask"):
        socket.create_connection(("open-api.bingx.com", 443), timeout=1)
    with pytest.raises(NotSent):
        connect(Account(environment="live", api_key="k", api_secret="s")).permissions()
