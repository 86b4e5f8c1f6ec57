"""Accounts in the back office: a secret goes in and never comes out."""

from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from exchange.models import Account
from pelusa.audit.rows import AuditEntry
from pelusa.livesystem import free_port
from pelusa.testing import DATABASES, PaperExchange
from pelusa.tests.browsing import browser_of, page
from pelusa.tests.making import make_history, make_strategy
from pelusa.tests.planted import planted

pytestmark = pytest.mark.django_db(databases=DATABASES)

KEY, SECRET = f"{planted('exchange key')}-wxyz", f"{planted('exchange secret')}-abcd"
LIST = reverse("admin:exchange_account_changelist")
ADD = reverse("admin:exchange_account_add")


@pytest.fixture
def account() -> Account:
    return Account.objects.create(name="desk", environment="paper", api_key=KEY, api_secret=SECRET)


def change_page(account: Account) -> str:
    return reverse("admin:exchange_account_change", args=[account.pk])


def filled_in(**columns: str) -> dict[str, str]:
    form = {
        "name": "desk",
        "environment": "paper",
        "is_active": "on",
        "position_mode": "hedge",
        "new_api_key": "",
        "new_api_secret": "",
    }
    return form | columns


def stored(account: Account) -> tuple[str, str]:
    fresh = Account.objects.get(pk=account.pk)
    return fresh.api_key, fresh.api_secret


def all_that_is_shown(browser: Client, account: Account) -> str:
    """Return every page on which the account occurs, and the audit log's rows."""
    urls = [LIST, change_page(account), reverse("admin:exchange_account_history", args=[account.pk])]
    urls += [
        reverse(f"admin:{name}_changelist")
        for name in ("strategies_strategy", "operations_operation", "pelusa_auditentry")
    ]
    return "".join(page(browser, url) for url in urls) + str([*LogEntry.objects.values(), *AuditEntry.objects.values()])


def test_no_page_ever_contains_what_was_typed(account: Account) -> None:
    browser = browser_of()
    make_strategy(account)
    typed = {
        "new_api_key": planted("exchange key", "typed") + "-qrst",
        "new_api_secret": planted("exchange secret", "typed") + "-uvwx",
    }
    refused = browser.post(change_page(account), filled_in(name="", **typed))
    assert refused.status_code == 200
    assert browser.post(change_page(account), filled_in(**typed)).status_code == 302
    shown = refused.content.decode() + all_that_is_shown(browser, account)
    for secret in (KEY, SECRET, *typed.values()):
        assert secret not in shown
    assert stored(account) == tuple(typed.values())


def test_the_page_says_that_a_key_is_set_and_its_last_four(account: Account) -> None:
    text = page(browser_of("operator"), change_page(account))
    assert "the key ends in …wxyz" in text
    assert "abcd" not in text


def test_empty_fields_keep_the_old_credentials(account: Account) -> None:
    browser_of("operator").post(change_page(account), filled_in(name="renamed"))
    account.refresh_from_db()
    assert account.name == "renamed"
    assert stored(account) == (KEY, SECRET)


def test_key_and_secret_are_replaced_together_or_not_at_all(account: Account) -> None:
    answer = browser_of("operator").post(change_page(account), filled_in(new_api_key="half"))
    assert "Key and secret are given together" in answer.content.decode()
    assert stored(account) == (KEY, SECRET)


def test_the_audit_says_that_a_key_was_replaced_but_not_by_what(account: Account) -> None:
    browser_of("operator").post(change_page(account), filled_in(new_api_key="k" * 20, new_api_secret="s" * 20))
    entry = LogEntry.objects.get()
    assert "API key" in entry.get_change_message()
    assert "kkkk" not in entry.change_message


@pytest.mark.parametrize("environment", ["vst", "live"])
def test_an_account_above_the_ceiling_is_refused(environment: str) -> None:
    typed = {"new_api_key": KEY, "new_api_secret": SECRET}
    answer = browser_of("operator").post(ADD, filled_in(environment=environment, **typed))
    assert "PELUSA_TRADING allows paper at most" in answer.content.decode()
    assert not Account.objects.exists()


def test_an_account_that_stands_above_the_ceiling_can_still_be_switched_off(settings: Any) -> None:
    account = Account.objects.create(name="desk", environment="live", api_key=KEY, api_secret=SECRET)
    browser_of("operator").post(change_page(account), filled_in(environment="live", is_active=""))
    account.refresh_from_db()
    assert not account.is_active


def test_an_account_at_the_exchange_needs_its_credentials(settings: Any) -> None:
    settings.PELUSA_TRADING = "vst"
    answer = browser_of("operator").post(ADD, filled_in(environment="vst"))
    assert answer.context["adminform"].form.errors.keys() == {"new_api_key", "new_api_secret"}


@pytest.mark.django_db(databases=DATABASES, transaction=True)
def test_a_paper_account_without_a_key_is_opened_at_the_paper_exchange(paper: PaperExchange) -> None:
    browser = browser_of()
    assert browser.post(ADD, filled_in()).status_code == 302
    assert "opened an account" in page(browser, LIST)
    account = Account.objects.get()
    assert account.api_key.startswith("paper-")
    assert account.api_secret


@pytest.mark.django_db(databases=DATABASES, transaction=True)
def test_a_paper_exchange_that_is_away_leaves_the_account_without_a_key_and_says_so(
    settings: Any, paper: PaperExchange
) -> None:
    browser = browser_of()
    settings.BINGX_PAPER_URL = f"http://127.0.0.1:{free_port()}"
    browser.post(ADD, filled_in())
    assert "has no key yet" in page(browser, LIST)
    account = Account.objects.get()
    assert stored(account) == ("", "")
    settings.BINGX_PAPER_URL = paper.url
    browser.post(change_page(account), filled_in())
    assert stored(account)[0].startswith("paper-")


def test_a_lost_key_closes_no_page_and_opens_no_secret(account: Account, settings: Any) -> None:
    make_strategy(account)
    settings.FIELD_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    shown = all_that_is_shown(browser_of(), account)
    assert "FIELD_ENCRYPTION_KEYS opens it" in shown
    assert KEY not in shown


def test_an_account_with_a_history_keeps_its_environment_and_stays() -> None:
    (strategy,) = make_history()
    account = strategy.account
    browser = browser_of("operator")
    assert 'name="environment"' not in page(browser, change_page(account))
    assert browser.post(reverse("admin:exchange_account_delete", args=[account.pk]), {"post": "yes"}).status_code == 403
    assert Account.objects.filter(pk=account.pk).exists()


def test_a_trader_reads_accounts_and_changes_none(account: Account) -> None:
    browser = browser_of("trader")
    assert "new_api_key" not in page(browser, change_page(account))
    assert browser.post(change_page(account), filled_in(name="theirs")).status_code == 403
    assert browser.get(ADD).status_code == 403
