"""Pause, resume and duplicate: each asks first, is audited, and does what it said."""

from typing import Any

import pytest
from django.urls import reverse
from django.utils.html import escape

from operations.models import Operation
from pelusa.audit.recording import history_of
from pelusa.testing import DATABASES
from pelusa.tests.browsing import browser_of, page
from pelusa.tests.making import make_account, make_operation, make_strategy
from strategies.copying import duplicate
from strategies.models import Leg, Strategy
from strategies.versions import content_of, keep_version

pytestmark = pytest.mark.django_db(databases=DATABASES)


def act_of(strategy: Strategy, name: str) -> str:
    return reverse(f"admin:strategies_strategy_{name}", args=[strategy.pk])


def test_a_copy_has_the_same_rules_a_free_name_and_is_paused() -> None:
    strategy = make_strategy(when_unprotected="tell", max_alarm_age=7, leg={"leverage": 9})
    Leg.objects.create(strategy=strategy, name="short", entry_interval="1h", close_interval="4h", size=2)
    keep_version(strategy, "ana")
    copy = duplicate(strategy, "ana")
    before, after = content_of(strategy, strategy.legs.all()), content_of(copy, copy.legs.all())
    assert (copy.name, copy.is_active) == ("Stochastic 5m copy", False)
    assert after == before | {"name": copy.name, "is_active": False}
    assert [(each.number, each.note) for each in copy.versions.all()] == [(1, "A copy of Stochastic 5m, version 1.")]
    strategy.refresh_from_db()
    assert (strategy.is_active, strategy.legs.count(), strategy.version) == (True, 2, 1)


def test_copies_of_one_strategy_have_names_of_their_own_that_fit() -> None:
    strategy = make_strategy(name="x" * 100)
    names = [duplicate(strategy, "ana").name for _ in range(3)]
    assert [name[-7:] for name in names] == ["xx copy", " copy 2", " copy 3"]
    assert {len(name) for name in names} == {100}


def test_duplicating_asks_first_and_leads_to_the_copy() -> None:
    strategy = make_strategy()
    browser = browser_of("trader")
    assert "with the same rules" in page(browser, act_of(strategy, "duplicate"))
    assert Strategy.objects.count() == 1
    answer = browser.post(act_of(strategy, "duplicate"))
    copy = Strategy.objects.exclude(pk=strategy.pk).get()
    assert answer.headers["Location"] == reverse("admin:strategies_strategy_change", args=[copy.pk])
    assert [each.act for each in history_of("strategies.strategy", str(copy.pk))][-1] == "added"


@pytest.mark.django_db(databases=DATABASES, transaction=True)
def test_pausing_asks_first_and_keeps_what_is_held() -> None:
    strategy = make_strategy()
    make_operation(strategy)
    browser = browser_of("trader")
    assert "No new entries" in page(browser, act_of(strategy, "switch"))
    strategy.refresh_from_db()
    assert strategy.is_active
    browser.post(act_of(strategy, "switch"), {"on": "False"})
    strategy.refresh_from_db()
    assert (strategy.is_active, Operation.objects.get().status) == (False, "open")
    assert history_of("strategies.strategy", str(strategy.pk)).first().changes == {"is_active": [True, False]}  # type: ignore[union-attr]


def test_a_page_that_was_left_open_does_not_undo_what_was_done_since() -> None:
    strategy = make_strategy(is_active=False)
    # It was paused meanwhile; the page still asks whether to pause
    browser_of("trader").post(act_of(strategy, "switch"), {"on": "False"})
    strategy.refresh_from_db()
    assert not strategy.is_active


def test_resuming_many_says_whose_money_it_moves_before_it_does() -> None:
    rows = [
        make_strategy(is_active=False),
        make_strategy(make_account("real", environment="live"), name="b", is_active=False),
    ]
    chosen: dict[str, Any] = {"action": "activate", "_selected_action": [each.pk for each in rows]}
    url = reverse("admin:strategies_strategy_changelist")
    browser = browser_of("trader")
    asked = browser.post(url, chosen).content.decode()
    assert "each account" in asked
    assert [escape(each.account.get_environment_display()) in asked for each in rows] == [True, True]
    assert not Strategy.objects.filter(is_active=True).exists()
    browser.post(url, chosen | {"confirmed": "yes"})
    assert Strategy.objects.filter(is_active=True).count() == 2


@pytest.mark.parametrize("name", ["switch", "duplicate"])
def test_a_viewer_does_none_of_it(name: str) -> None:
    strategy = make_strategy()
    browser = browser_of("viewer")
    assert browser.post(act_of(strategy, name), {"on": "False"}).status_code == 403
    assert Strategy.objects.get().is_active
