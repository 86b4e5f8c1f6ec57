"""Counts per reason: which reasons, how often, and each number a link to exactly those rows."""

import re
from datetime import timedelta
from html import unescape

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from exchange import backoffice
from operations.models import Decision
from pelusa.testing import DATABASES
from pelusa.tests.browsing import browser_of, page, queries_of
from pelusa.tests.making import make_account, make_alarm, make_decision, make_operation, make_order, make_strategy
from strategies.models import Strategy

pytestmark = pytest.mark.django_db(databases=DATABASES)

WHY = reverse("why")
COUNT = re.compile(r'<a href="([^"]+)"><b>(\d+)</b>')


def counts(browser: Client, **query: str) -> dict[str, int]:
    """Return the page's numbers by the address that each leads to."""
    return {unescape(url): int(times) for url, times in COUNT.findall(page(browser, WHY, **query))}


@pytest.fixture
def strategy() -> Strategy:
    """A strategy that was denied twice and ignored once, whose exit was refused; and an alarm that nobody answered."""
    now = timezone.now()
    strategy = make_strategy(make_account(), name="mine")
    for outcome, reason in (("denied", "kill_switch"), ("denied", "kill_switch"), ("ignored", "gate_never_opened")):
        facts = {"leg": "long", "gate_interval": "1h", "accounts": "desk", "who": "maria", "why": "news"}
        make_decision(make_alarm(received_at=now), strategy, outcome=outcome, reason=reason, facts=facts)
    make_order(make_operation(strategy), status="denied", reason="kill_switch")
    refusal = {"status": "rejected", "reason": "refused", "code": "101204", "detail": "Not enough money."}
    make_order(make_operation(strategy), **refusal)
    make_alarm(received_at=now, status="ignored", reason="no_strategy", detail="Nobody waits for it.")
    return strategy


def test_every_number_leads_to_exactly_its_rows(strategy: Strategy) -> None:
    browser = browser_of("viewer")
    found = counts(browser)
    assert sorted(found.values()) == [1, 1, 1, 2]
    for url, times in found.items():
        assert browser.get(url).context["cl"].result_count == times, url


def test_each_reason_is_told_by_the_newest_sentence(strategy: Strategy) -> None:
    text = unescape(page(browser_of("viewer"), WHY))
    for sentence in (
        "maria pulled it: news",
        "no 'indicator open long' on 1h",
        "Not enough money.",
        "No strategy waits for alarms named",
    ):
        assert sentence in text


def test_one_strategy_is_counted_alone(strategy: Strategy) -> None:
    other = make_strategy(strategy.account, name="other")
    make_decision(make_alarm(received_at=timezone.now()), other, outcome="ignored", reason="strategy_off")
    browser = browser_of("viewer")
    found = counts(browser, strategy=str(strategy.pk))
    assert sum(found.values()) == 4
    assert all(f"strategy={strategy.pk}" in url for url in found)
    for url, times in found.items():
        assert browser.get(url).context["cl"].result_count == times, url


def test_what_is_older_than_the_span_does_not_count(strategy: Strategy) -> None:
    Decision.objects.update(created_at=timezone.now() - timedelta(hours=2))
    browser = browser_of("viewer")
    assert not any("decision" in url for url in counts(browser, since="hour"))
    assert any("decision" in url for url in counts(browser, since="day"))


def test_the_page_says_when_it_counted_a_part_of_the_time_only(
    strategy: Strategy, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = browser_of("viewer")
    assert "began before" not in page(browser, WHY)
    monkeypatch.setattr(backoffice, "ROWS_LOOKED_AT", 2)
    text = page(browser, WHY)
    assert "began before" in text
    assert "newest 2 rows" in text


def test_it_costs_the_same_with_more_rows(strategy: Strategy) -> None:
    browser = browser_of("viewer")
    few = queries_of(lambda: browser.get(WHY))
    for _ in range(20):
        make_decision(make_alarm(received_at=timezone.now()), strategy, outcome="ignored", reason="strategy_off")
    assert queries_of(lambda: browser.get(WHY)) == few <= 26


def test_with_nothing_it_says_so_and_a_strange_choice_is_the_last_day() -> None:
    assert "None in this time." in page(browser_of("viewer"), WHY, since="century", strategy="x")


def test_who_may_not_see_decisions_sees_no_reasons() -> None:
    assert browser_of("").get(WHY).status_code == 403
    assert Client().get(WHY).status_code == 302


def test_it_is_one_click_from_the_first_page_and_from_a_strategy(strategy: Strategy) -> None:
    browser = browser_of("viewer")
    assert f'href="{WHY}"' in page(browser, reverse("overview_alarms"))
    its_page = reverse("admin:strategies_strategy_change", args=[strategy.pk])
    assert f'href="{WHY}?strategy={strategy.pk}"' in page(browser, its_page)
