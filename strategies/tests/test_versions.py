"""Each change of a strategy or its legs is one numbered version, which can be compared and brought back."""

from typing import Any

import pytest
from django.apps import apps
from django.urls import reverse
from django.utils import timezone, translation

from alarms.routing import route_pair
from operations.models import Decision
from pelusa.testing import DATABASES
from pelusa.tests.browsing import browser_of, page
from pelusa.tests.making import client_of, make_account, make_alarm, make_instrument, make_strategy
from strategies.models import BY_THE_LIMIT, Leg, Strategy, StrategyVersion
from strategies.tests.test_strategies_admin import edited
from strategies.versions import content_of, differences, keep_version, label_of

pytestmark = pytest.mark.django_db(databases=DATABASES)

WHOLE = {
    "name": "Mine",
    "alarm_name": "Stochastic_v1",
    "ticker": "BTCUSDT.P",
    "long": {"entry_interval": "5m", "close_interval": "5m", "size": "0.01"},
    "short": None,
}


@pytest.fixture(autouse=True)
def _listed() -> None:
    make_instrument()


@pytest.fixture
def strategy() -> Strategy:
    strategy = make_strategy()
    keep_version(strategy, "ana")
    return strategy


def url_of(strategy: Strategy) -> str:
    return f"/api/v1/strategies/{strategy.pk}/"


def versions_page(strategy: Strategy) -> str:
    return f"{reverse('admin:strategies_strategy_changelist')}{strategy.pk}/versions/"


def changes_of(strategy: Strategy) -> list[tuple[int, list[tuple[str, Any, Any]]]]:
    """Return what the API says of the versions, newest first."""
    rows = client_of("viewer").get(f"{url_of(strategy)}versions/").json()["results"]
    return [
        (row["number"], [(each["field"], each["before"], each["after"]) for each in row["changes"]]) for row in rows
    ]


def test_a_strategy_begins_with_version_one_and_a_change_with_its_leg_is_one_version() -> None:
    client = client_of("trader")
    made = client.post("/api/v1/strategies/", WHOLE | {"account": make_account().pk}, "json")
    assert made.status_code == 201, made.json()
    strategy = Strategy.objects.get()
    change = {"name": "Renamed", "long": {"leverage": 7}, "short": WHOLE["long"]}
    assert client.patch(url_of(strategy), change, "json").status_code == 200
    [(second, changes), first] = changes_of(strategy)
    assert (second, first) == (2, (1, []))
    assert changes[:2] == [("name", "Mine", "Renamed"), ("long.leverage", 1, 7)]
    assert ("short.size", None, "0.01") in changes
    assert [each.made_by[:6] for each in strategy.versions.all()] == ["trader", "trader"]


def test_what_changes_nothing_makes_no_version_and_a_whole_replacement_keeps_the_count(strategy: Strategy) -> None:
    client = client_of("trader")
    assert client.patch(url_of(strategy), {"name": strategy.name}, "json").status_code == 200
    assert strategy.versions.count() == 1
    assert client.put(url_of(strategy), WHOLE | {"account": strategy.account_id}, "json").status_code == 200
    strategy.refresh_from_db()
    assert (strategy.version, strategy.versions.count()) == (2, 2)


def test_the_page_that_saves_both_legs_makes_one_version(strategy: Strategy) -> None:
    url = reverse("admin:strategies_strategy_change", args=[strategy.pk])
    browser_of("trader").post(url, edited(strategy, name="Renamed", **{"legs-0-leverage": "7"}))
    [(number, changes), _first] = changes_of(strategy)
    assert number == 2
    assert {("name", "Stochastic 5m", "Renamed"), ("long.leverage", 1, 7)} <= set(changes)


def test_switching_makes_a_version(strategy: Strategy) -> None:
    chosen = {"action": "deactivate", "_selected_action": [strategy.pk], "confirmed": "yes"}
    browser_of("trader").post(reverse("admin:strategies_strategy_changelist"), chosen)
    assert changes_of(strategy)[0] == (2, [("is_active", True, False)])
    page = browser_of("trader").get(versions_page(strategy), headers={"accept-language": "es"}).content.decode()
    assert "sí → no" in page
    assert "True" not in page


def test_a_decision_remembers_which_version_decided(strategy: Strategy) -> None:
    client_of("trader").patch(url_of(strategy), {"is_active": False}, "json")
    make_alarm(status="received", alarm_time=timezone.now(), received_at=timezone.now())
    assert route_pair("BTCUSDT") == 1
    assert Decision.objects.get().strategy_version == 2


def test_an_old_version_is_brought_back_as_a_new_one_and_asks_first(strategy: Strategy) -> None:
    client_of("trader").patch(
        url_of(strategy), {"name": "Renamed", "long": {"size": "0.5"}, "short": WHOLE["long"]}, "json"
    )
    browser = browser_of("trader")
    asked = page(browser, versions_page(strategy), restore="1")
    assert "Restore version 1?" in asked
    assert strategy.versions.count() == 2
    browser.post(versions_page(strategy), {"restore": "1"})
    strategy.refresh_from_db()
    first, third = strategy.versions.get(number=1), strategy.versions.get(number=3)
    assert (strategy.name, strategy.version, third.content) == ("Stochastic 5m", 3, first.content)
    assert list(strategy.legs.values_list("name", flat=True)) == ["long"]
    assert third.note == "Restored from version 1."


def test_only_who_may_change_a_strategy_restores_and_everybody_who_reads_it_sees_its_versions(
    strategy: Strategy,
) -> None:
    client_of("trader").patch(url_of(strategy), {"long": {"leverage": 7}}, "json")
    viewer = browser_of("viewer")
    text = page(viewer, versions_page(strategy))
    assert "Long leg: leverage" in text
    assert "Restore this version" not in text
    assert viewer.post(versions_page(strategy), {"restore": "1"}).status_code == 403
    assert viewer.get(versions_page(strategy), {"restore": "1"}).status_code == 403
    assert browser_of("trader").get(versions_page(strategy), {"restore": "x"}).status_code == 404


def test_a_version_that_could_not_be_saved_today_is_refused_with_the_reason(strategy: Strategy) -> None:
    client_of("trader").patch(url_of(strategy), {"name": "Renamed"}, "json")
    make_strategy(strategy.account, name="Stochastic 5m")
    answer = browser_of("trader").post(versions_page(strategy), {"restore": "1"}, follow=True)
    assert "already exists" in answer.content.decode()
    strategy.refresh_from_db()
    assert (strategy.name, strategy.version) == ("Renamed", 2)


def test_a_version_that_is_older_than_a_column_leaves_it_as_it_is(strategy: Strategy) -> None:
    old = strategy.versions.get()
    StrategyVersion.objects.filter(pk=old.pk).update(content=without(old.content, "expects_alarm_every"))
    assert keep_version(strategy, "ana") == 1
    client_of("trader").patch(url_of(strategy), {"name": "Renamed", "expects_alarm_every": 90}, "json")
    browser_of("trader").post(versions_page(strategy), {"restore": "1"})
    strategy.refresh_from_db()
    assert (strategy.name, strategy.expects_alarm_every) == ("Stochastic 5m", 90)


def without(content: dict[str, object], name: str) -> dict[str, object]:
    return {key: value for key, value in content.items() if key != name}


def test_differences_are_named_for_people() -> None:
    before = {"name": "a", "long": {"size": "1", "leverage": 1}, "short": None}
    after = {"name": "b", "long": {"size": "2", "leverage": 1}, "short": {"leverage": 3}}
    found = [(each.field, each.label, each.before, each.after) for each in differences(before, after)]
    assert found == [
        ("name", "Name", "a", "b"),
        ("long.size", "Long leg: size", "1", "2"),
        ("short.leverage", "Short leg: leverage", None, 3),
    ]
    assert differences(after, after) == []
    assert label_of("max_alarm_age") == "Max alarm age"


def test_a_version_is_what_the_api_answers(strategy: Strategy) -> None:
    answer = client_of("viewer").get(url_of(strategy)).json()
    content = content_of(strategy, strategy.legs.all())
    shared = {name: value for name, value in answer.items() if name not in ("id", "created_at", "updated_at")}
    assert {name: content[name] for name in shared} == shared


def test_the_migration_gives_what_is_there_its_first_version() -> None:
    from importlib import import_module

    strategy = make_strategy()
    migration = import_module("strategies.migrations.0003_first_versions")
    editor = type("Editor", (), {"connection": type("Connection", (), {"alias": "default"})})
    migration.keep_first_versions(apps, editor)
    migration.keep_first_versions(apps, editor)
    strategy.refresh_from_db()
    assert (strategy.version, StrategyVersion.objects.count()) == (1, 1)
    assert Leg.objects.count() == 1


def test_what_pelusa_did_itself_is_said_in_the_readers_language() -> None:
    with translation.override("es"):
        assert StrategyVersion(made_by=BY_THE_LIMIT).author == "el límite de entradas por minuto"
        assert StrategyVersion(made_by="maria").author == "maria"
