"""Close everything of a strategy or an account: it lists, pulls the brake first, and tells what it could not."""

from collections.abc import Iterable
from typing import Any

import pytest
from django.db import OperationalError
from django.urls import reverse

from operations.killswitch import pull, pulled_switch
from operations.lifecycle import close_by_hand
from operations.models import Operation, Order
from pelusa.audit.rows import AuditEntry
from pelusa.office import closing
from pelusa.testing import DATABASES
from pelusa.tests.browsing import browser_of, page, queries_of
from pelusa.tests.making import make_account, make_operation, make_strategy
from strategies.models import Strategy

pytestmark = pytest.mark.django_db(databases=DATABASES)


def of_strategy(strategy: Strategy) -> str:
    return reverse("close_all", args=["strategy", strategy.pk])


def of_account(strategy: Strategy) -> str:
    return reverse("close_all", args=["account", strategy.account_id])


def post(url: str, operations: Iterable[Operation], who: str = "trader", **said: str) -> str:
    numbers = {"operation": [each.pk for each in operations]}
    answer = browser_of(who).post(url, numbers | said, follow=True)
    assert answer.status_code == 200
    return answer.content.decode()


def statuses() -> list[str]:
    return list(Operation.objects.order_by("pk").values_list("status", flat=True))


@pytest.fixture
def held() -> list[Operation]:
    """Two operations of one strategy, and one of another on the same account."""
    one = make_strategy(make_account())
    other = make_strategy(one.account, name="other", alarm_name="other")
    return [make_operation(one), make_operation(one, symbol="ETH-USDT", leg="short"), make_operation(other)]


def test_the_page_lists_what_will_be_closed_with_its_quantity_and_closes_nothing(held: list[Operation]) -> None:
    text = page(browser_of("trader"), of_strategy(held[0].strategy))
    assert text.count('name="operation"') == 2
    for words in ("BTC-USDT LONG", "ETH-USDT SHORT", "0.01 BTC @ 50000.1", "It goes out at the market", "checked"):
        assert words in text
    assert statuses() == ["open"] * 3
    assert page(browser_of("trader"), of_account(held[0].strategy)).count('name="operation"') == 3


def test_everything_of_a_strategy_is_closed_and_nothing_else(held: list[Operation]) -> None:
    text = post(of_strategy(held[0].strategy), held)
    assert statuses() == ["closing", "closing", "open"]
    assert "2 operations are being closed" in text
    assert set(Order.objects.values_list("role", "operation_id")) == {("EXIT", each.pk) for each in held[:2]}
    assert not pulled_switch(held[0].account_id)


def test_everything_of_an_account_is_closed_behind_its_own_kill_switch(
    held: list[Operation], django_capture_on_commit_callbacks: Any
) -> None:
    other = make_account("other")
    with django_capture_on_commit_callbacks(execute=True):
        text = post(of_account(held[0].strategy), held, brake="yes")
    assert statuses() == ["closing"] * 3
    switch = pulled_switch(held[0].account_id)
    assert switch
    assert switch.reason == "Everything of desk is being closed."
    assert "The kill switch of desk is on" in text
    assert not pulled_switch(other.pk)
    acts = list(AuditEntry.objects.order_by("pk").filter(act__in=["pulled", "closed"]).values_list("act", flat=True))
    assert acts == ["pulled", "closed", "closed", "closed"]


def test_one_that_cannot_be_closed_hinders_none_of_the_others(
    held: list[Operation], monkeypatch: pytest.MonkeyPatch
) -> None:
    def close(operation: Operation, user: object) -> Order:
        if operation.pk == held[1].pk:
            raise OperationalError("Lock wait timeout exceeded")
        return close_by_hand(operation, user)

    monkeypatch.setattr(closing, "close_by_hand", close)
    text = post(of_account(held[0].strategy), held)
    assert statuses() == ["closing", "open", "closing"]
    assert "2 operations are being closed" in text
    assert f"Operation {held[1].pk} is NOT being closed" in text


def test_a_brake_that_fails_is_told_and_hinders_no_exit(held: list[Operation], monkeypatch: pytest.MonkeyPatch) -> None:
    def stuck(*_: object) -> bool:
        raise OperationalError("Lock wait timeout exceeded")

    monkeypatch.setattr(closing, "pull", stuck)
    text = post(of_account(held[0].strategy), held, brake="yes")
    assert "The kill switch of desk is NOT on" in text
    assert statuses() == ["closing"] * 3


def test_what_was_not_on_the_list_is_not_closed_but_asked_for(held: list[Operation]) -> None:
    text = post(of_account(held[0].strategy), held[:2])
    assert statuses() == ["closing", "closing", "open"]
    assert "More was opened meanwhile" in text
    assert text.count('name="operation"') == 1


def test_closing_twice_orders_once(held: list[Operation]) -> None:
    post(of_account(held[0].strategy), held)
    post(of_account(held[0].strategy), held)
    assert Order.objects.count() == 3
    assert "being closed already" in page(browser_of("trader"), of_account(held[0].strategy))


def test_a_switch_that_is_on_already_is_said_and_stays(held: list[Operation]) -> None:
    pull(None, "maria", "news")
    text = page(browser_of("trader"), of_account(held[0].strategy))
    assert "is on already" in text
    assert 'name="brake"' not in text


@pytest.mark.parametrize("who", ["", "viewer"])
def test_only_who_may_close_may_even_look(held: list[Operation], who: str) -> None:
    for url in (of_strategy(held[0].strategy), of_account(held[0].strategy)):
        assert browser_of(who).get(url).status_code == 403
        assert browser_of(who).post(url, {"operation": [held[0].pk], "brake": "yes"}).status_code == 403
    assert statuses() == ["open"] * 3
    assert not pulled_switch(held[0].account_id)


def test_what_is_not_there_and_what_is_no_number_do_no_harm(held: list[Operation]) -> None:
    browser = browser_of("trader")
    for words in (["strategy", 99], ["account", 99], ["everybody", 1]):
        assert browser.get(reverse("close_all", args=words)).status_code == 404
    browser.post(of_account(held[0].strategy), {"operation": ["x", "²", "9" * 40]})
    assert statuses() == ["open"] * 3


def test_nothing_held_is_said() -> None:
    text = page(browser_of("trader"), of_strategy(make_strategy()))
    assert "there is nothing to close" in text
    assert "pelusa-danger" not in text


def test_the_list_costs_the_same_however_long(held: list[Operation]) -> None:
    browser = browser_of("trader")
    before = queries_of(lambda: page(browser, of_account(held[0].strategy)))
    for number in range(20):
        make_operation(held[0].strategy, symbol=f"C{number}-USDT")
    assert queries_of(lambda: page(browser, of_account(held[0].strategy))) == before <= 14


def test_the_strategys_page_leads_there_for_who_may_close(held: list[Operation]) -> None:
    url = reverse("admin:strategies_strategy_close", args=[held[0].strategy_id])
    answer = browser_of("trader").get(url)
    assert answer["Location"] == of_strategy(held[0].strategy)
    form = reverse("admin:strategies_strategy_change", args=[held[0].strategy_id])
    assert url in page(browser_of("trader"), form)
    assert url not in page(browser_of("viewer"), form)


def test_the_kill_switch_is_pulled_in_two_taps() -> None:
    account = make_account()
    browser = browser_of("trader")
    pull_page = reverse("admin:operations_killswitch_pull")
    assert pull_page in page(browser, reverse("admin:index"))
    form = browser.get(pull_page, {"account": account.pk}).context["form"]
    browser.post(pull_page, {name: str(form[name].value()) for name in form.fields})
    switch = pulled_switch(account.pk)
    assert switch
    assert (switch.account_id, switch.reason) == (account.pk, "Pulled by hand.")
