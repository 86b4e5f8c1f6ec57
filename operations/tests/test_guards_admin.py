"""The guards in the back office: a trader stops, an operator lets go on, mistakes in limits are named on the spot."""

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.urls import reverse

from operations.killswitch import pull, pulled_switch
from operations.models import KillSwitch, Limits
from operations.notices import end_notice, raise_notice
from pelusa.testing import DATABASES
from pelusa.tests.browsing import ELSEWHERE, browser_of, page, queries_of
from pelusa.tests.making import make_account, make_strategy

pytestmark = pytest.mark.django_db(databases=DATABASES)

SWITCHES = reverse("admin:operations_killswitch_changelist")
PULL, RELEASE = f"{SWITCHES}pull/", f"{SWITCHES}release/"
LIMITS = reverse("admin:operations_limits_changelist")
ADD = reverse("admin:operations_limits_add")
NOTICES = reverse("admin:operations_notice_changelist")


def change(limits: Limits) -> str:
    return reverse("admin:operations_limits_change", args=[limits.pk])


def test_a_link_moves_no_switch() -> None:
    text = page(browser_of("trader"), PULL)
    assert "Stop entries?" in text
    assert not ELSEWHERE.findall(text)
    assert not KillSwitch.objects.exists()


def test_a_trader_pulls_with_a_reason_and_it_is_audited() -> None:
    account = make_account()
    answer = browser_of("trader").post(PULL, {"account": account.pk, "reason": "odd fills"}, follow=True)
    assert "Pulled: kill switch of desk." in answer.content.decode()
    switch = pulled_switch(account.pk)
    assert switch
    assert (switch.reason, switch.changed_by[:6]) == ("odd fills", "trader")
    assert LogEntry.objects.get().change_message == "Pulled: odd fills"


def test_without_a_reason_nothing_is_pulled() -> None:
    answer = browser_of("trader").post(PULL, {"account": "", "reason": " "})
    assert "This field is required." in answer.content.decode()
    assert not KillSwitch.objects.exists()


def test_a_trader_is_not_offered_and_cannot_do_the_release() -> None:
    account = make_account()
    pull(None, "ana", "odd fills")
    browser = browser_of("trader")
    listed = page(browser, SWITCHES)
    assert PULL in listed
    assert RELEASE not in listed
    assert browser.get(RELEASE).status_code == 403
    assert browser.post(RELEASE, {"account": "", "reason": "over"}).status_code == 403
    assert pulled_switch(account.pk)


def test_an_operator_reads_why_and_releases() -> None:
    account, browser = make_account(), browser_of("operator")
    pull(None, "ana", "odd fills")
    assert "on, pulled by ana: odd fills" in page(browser, RELEASE)
    answer = browser.post(RELEASE, {"account": "", "reason": "all is well"}, follow=True)
    assert "Released: kill switch of all accounts." in answer.content.decode()
    assert pulled_switch(account.pk) is None
    again = browser.post(RELEASE, {"account": "", "reason": "all is well"}, follow=True)
    assert "It was off already" in again.content.decode()
    assert LogEntry.objects.count() == 1


def test_a_viewer_moves_nothing() -> None:
    browser = browser_of("viewer")
    listed = page(browser, SWITCHES)
    assert PULL not in listed
    for url in (PULL, RELEASE):
        assert browser.post(url, {"account": "", "reason": "x"}).status_code == 403
    assert not KillSwitch.objects.exists()


def limits_form(**typed: Any) -> dict[str, Any]:
    names = ["account", "strategy", "max_order_notional", "max_open_notional", "max_open_operations", "schedule"]
    names += ["max_orders_per_day", "max_daily_loss", "cool_down_after_loss", "max_price_deviation"]
    return dict.fromkeys(names, "") | typed


def test_an_operator_makes_and_changes_limits() -> None:
    account, browser = make_account(), browser_of("operator")
    answer = browser.post(ADD, limits_form(account=account.pk, max_order_notional="500.5", schedule="mon 08:00-09:00"))
    assert answer.status_code == 302, answer.content.decode()
    limits = Limits.objects.get()
    assert (limits.scope, str(limits.max_order_notional)) == (f"account:{account.pk}", "500.500000000000")
    assert browser.post(change(limits), limits_form(max_open_operations="3")).status_code == 302
    limits.refresh_from_db()
    assert (limits.account_id, limits.max_order_notional, limits.max_open_operations) == (account.pk, None, 3)
    listed = page(browser, LIMITS)
    assert "3 operations" in listed
    assert not ELSEWHERE.findall(listed)


def test_a_mistake_is_named_where_it_was_typed() -> None:
    account = make_account()
    strategy = make_strategy(account)
    Limits.objects.create(scope="all")
    browser = browser_of("operator")
    for typed, sentence in (
        ({"account": account.pk, "strategy": strategy.pk}, "Choose an account or a strategy, not both."),
        ({}, "There are limits for everything already: change those."),
        ({"account": account.pk, "max_daily_loss": "-1"}, "Must be above zero, or empty for no limit; was -1."),
        ({"account": account.pk, "schedule": "mon 8-9"}, "are no hours: write for example 08:00-20:00."),
    ):
        answer = browser.post(ADD, limits_form(**typed))
        assert answer.status_code == 200
        assert answer.content.decode().count(sentence) == 1, sentence
    assert Limits.objects.count() == 1


def test_a_trader_reads_limits_and_writes_none() -> None:
    limits, browser = Limits.objects.create(scope="all", max_open_operations=1), browser_of("trader")
    page(browser, change(limits))
    assert browser.post(change(limits), limits_form(max_open_operations="9")).status_code == 403
    assert browser.get(ADD).status_code == 403


def test_notices_are_read_in_sentences() -> None:
    account = make_account()
    pull(account, "ana", "odd fills")
    raise_notice("old", "strategy_stopped", strategy="wild", most=10, seconds=60)
    end_notice("old", "strategy_stopped")
    browser = browser_of("viewer")
    text = page(browser, NOTICES)
    assert "wild was switched off: it sent 10 entries within 60 s." in text
    current = page(browser, NOTICES, current="yes")
    assert "The kill switch of desk is on" in current
    assert "wild was switched off" not in current
    for query in ({"level__exact": "critical"}, {"account": str(account.pk)}, {"since": "day"}, {"q": "kill"}):
        assert "The kill switch of desk is on" in page(browser, NOTICES, **query)


def test_lists_cost_the_same_with_more_rows() -> None:
    browser = browser_of()
    pull(make_account(), "ana", "stop")
    Limits.objects.create(scope="all")
    few = [queries_of(lambda url=url: browser.get(url)) for url in (SWITCHES, LIMITS, NOTICES)]
    for number in range(3):
        account = make_account(f"more {number}")
        pull(account, "ana", "stop")
        Limits.objects.create(scope=f"account:{account.pk}", account=account)
    assert [queries_of(lambda url=url: browser.get(url)) for url in (SWITCHES, LIMITS, NOTICES)] == few
    assert max(few) <= 12
