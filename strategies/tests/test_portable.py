"""Strategies leave as a document and come back from one: looked at first, then all of it or nothing."""

import json
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from exchange.models import Account
from pelusa.audit.recording import history_of
from pelusa.testing import DATABASES
from pelusa.tests.browsing import browser_of, page, queries_of
from pelusa.tests.making import client_of, make_account, make_instrument, make_operation, make_strategy
from strategies.models import Leg, Strategy
from strategies.versions import keep_version

pytestmark = pytest.mark.django_db(databases=DATABASES)
EXPORT, IMPORT = "/api/v1/strategies/export/", "/api/v1/strategies/import/"
UPLOAD = "admin:strategies_strategy_upload"


@pytest.fixture(autouse=True)
def _listed() -> None:
    make_instrument()


@pytest.fixture
def strategy() -> Strategy:
    strategy = make_strategy(when_unprotected="tell", expects_alarm_every=30, leg={"leverage": 5})
    keep_version(strategy, "ana")
    return strategy


def exported(**query: Any) -> dict[str, Any]:
    answer = client_of("viewer").get(EXPORT, query)
    assert answer.status_code == 200, answer.content
    return dict(answer.json())


def taken(document: Any, role: str = "trader", **query: Any) -> Any:
    address = IMPORT + "?" + "&".join(f"{name}={value}" for name, value in query.items())
    return client_of(role).post(address, document, format="json")


def changed(document: dict[str, Any], position: int = 0, **columns: Any) -> dict[str, Any]:
    entries = [dict(each) for each in document["strategies"]]
    entries[position] |= columns
    return document | {"strategies": entries}


def acts(answer: Any) -> list[tuple[str, str]]:
    assert answer.status_code == 200, answer.content
    return [(each["name"], each["act"]) for each in answer.json()["strategies"]]


def test_a_document_names_its_format_its_accounts_and_no_secret(strategy: Strategy) -> None:
    document = exported()
    [entry] = document["strategies"]
    assert (document["format"], document["version"]) == ("pelusa-strategies", 1)
    assert (entry["account"], entry["when_unprotected"], entry["expects_alarm_every"]) == ("desk", "tell", 30)
    assert (entry["long"]["leverage"], entry["long"]["size"], entry["short"]) == (5, "0.01", None)
    assert not {"id", "symbol", "created_at", "updated_at"} & entry.keys()
    assert "secret" not in json.dumps(document)


def test_it_has_the_apis_shape(strategy: Strategy) -> None:
    read = client_of("viewer").get(f"/api/v1/strategies/{strategy.pk}/").json()
    [entry] = exported()["strategies"]
    assert entry == {name: read[name] for name in entry} | {"account": "desk"}
    assert read.keys() - entry.keys() == {"id", "symbol", "created_at", "updated_at"}


def test_one_several_or_all_are_exported(strategy: Strategy) -> None:
    other = make_strategy(make_account("other"), name="other")
    assert {each["name"] for each in exported()["strategies"]} == {"Stochastic 5m", "other"}
    assert [each["name"] for each in exported(id=other.pk)["strategies"]] == ["other"]
    assert len(exported(id=[other.pk, strategy.pk])["strategies"]) == 2
    assert client_of("viewer").get(EXPORT, {"id": "x"}).json()["error"]["fields"].keys() == {"id.0"}


def test_what_was_exported_is_made_again_elsewhere_and_is_switched_off(strategy: Strategy) -> None:
    document = exported()
    Strategy.objects.all().delete()
    assert acts(taken(document, dry_run="true")) == [("Stochastic 5m", "make")]
    assert not Strategy.objects.exists()
    assert acts(taken(document)) == [("Stochastic 5m", "make")]
    made = Strategy.objects.get()
    assert (made.is_active, made.symbol, made.pair, made.version) == (False, "BTC-USDT", "BTCUSDT", 1)
    assert [(each.number, each.note) for each in made.versions.all()] == [(1, "Imported.")]
    assert changed(exported(), is_active=True)["strategies"] == document["strategies"]


def test_what_was_on_comes_on_when_that_was_asked_for(strategy: Strategy) -> None:
    document = exported()
    Strategy.objects.all().delete()
    taken(document, as_they_were="true")
    assert Strategy.objects.get().is_active


def test_what_is_there_already_and_the_same_goes_on_as_it_is(strategy: Strategy) -> None:
    assert acts(taken(exported())) == [("Stochastic 5m", "keep")]
    strategy.refresh_from_db()
    assert (strategy.is_active, strategy.version) == (True, 1)


def test_a_change_names_each_field_and_is_audited_and_kept_as_a_version(strategy: Strategy) -> None:
    long = exported()["strategies"][0]["long"] | {"leverage": 9}
    document = changed(exported(), long=long, description="new")
    answer = taken(document)
    [told] = answer.json()["strategies"]
    fields = [(each["field"], each["before"], each["after"]) for each in told["changes"]]
    assert fields == [("is_active", True, False), ("description", "", "new"), ("long.leverage", 5, 9)]
    assert (told["act"], told["strategy"], told["problems"]) == ("change", strategy.pk, {})
    strategy.refresh_from_db()
    assert (strategy.is_active, strategy.description, strategy.legs.get().leverage) == (False, "new", 9)
    assert [each.number for each in strategy.versions.all()] == [2, 1]
    said = [each.changes for each in history_of("strategies.strategy", str(strategy.pk))]
    assert {"long.leverage": [5, 9]} in said


def test_one_that_is_refused_stops_all_of_it_and_every_mistake_has_its_field(strategy: Strategy) -> None:
    [entry] = exported()["strategies"]
    good = entry | {"name": "good"}
    bad = entry | {
        "name": "bad",
        "ticker": "NOSUCHUSDT.P",
        "long": entry["long"] | {"size": "0", "entry_interval": "5m"},
    }
    typo = entry | {"name": "typo", "long": entry["long"] | {"stop_los": "2"}}
    document = exported() | {"strategies": [good, bad, typo]}
    dry = taken(document, dry_run="true").json()
    assert dry["is_possible"] is False
    assert [each["act"] for each in dry["strategies"]] == ["make", "refuse", "refuse"]
    assert dry["strategies"][1]["problems"].keys() == {"ticker", "long.size"}
    answer = taken(document)
    assert answer.status_code == 400
    assert set(answer.json()["error"]["fields"]) == {
        "strategies.1.ticker", "strategies.1.long.size", "strategies.2.long.stop_los",
    }  # fmt: skip
    assert [each.name for each in Strategy.objects.all()] == ["Stochastic 5m"]


def test_an_account_that_is_not_here_is_named_with_those_that_are(strategy: Strategy) -> None:
    answer = taken(changed(exported(), account="moon"), dry_run="true").json()
    assert "'moon'" in answer["strategies"][0]["problems"]["account"][0]
    assert "desk" in answer["strategies"][0]["problems"]["account"][0]
    by_number = taken(changed(exported(), account=strategy.account_id), dry_run="true").json()
    assert by_number["strategies"][0]["act"] == "refuse"


def test_a_name_that_comes_twice_is_refused(strategy: Strategy) -> None:
    [entry] = exported()["strategies"]
    twins = exported() | {"strategies": [entry, entry | {"name": "STOCHASTIC 5M"}]}
    assert [act for _, act in acts(taken(twins, dry_run="true"))] == ["refuse", "refuse"]


def test_what_a_live_operation_needs_cannot_be_imported_away(strategy: Strategy) -> None:
    make_operation(strategy)
    make_instrument("ETH-USDT")
    answer = taken(changed(exported(), ticker="ETHUSDT.P"))
    assert answer.json()["error"]["fields"].keys() == {"strategies.0.ticker"}


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({}, "no export"),
        ([], "no export"),
        ({"format": "pelusa-strategies", "version": 2, "strategies": []}, "version 1"),
        ({"format": "pelusa-strategies", "version": 1, "strategies": []}, "no strategies"),
        ({"format": "pelusa-strategies", "version": 1, "strategies": [{}] * 501}, "at most 500"),
    ],
)
def test_what_is_no_document_says_why(document: Any, says: str) -> None:
    answer = taken(document)
    assert answer.status_code == 400
    assert says in answer.json()["error"]["message"]


@pytest.mark.parametrize("entry", [None, 7, "x", {}, {"name": None}, {"name": {"a": 1}}, {"name": "x", "long": 7}])
def test_an_entry_of_any_shape_is_refused_and_breaks_nothing(entry: Any) -> None:
    make_account()
    document = {"format": "pelusa-strategies", "version": 1, "strategies": [entry]}
    assert taken(document, dry_run="true").json()["is_possible"] is False


def test_a_viewer_exports_and_imports_nothing(strategy: Strategy) -> None:
    assert taken(exported(), "viewer").status_code == 403
    viewer = browser_of("viewer")
    assert viewer.get(reverse(UPLOAD)).status_code == 403
    assert viewer.get(reverse("admin:strategies_strategy_export")).json()["strategies"]


def test_an_export_costs_the_same_for_one_strategy_as_for_many(strategy: Strategy) -> None:
    client = client_of("viewer")
    one = queries_of(lambda: client.get(EXPORT))
    for number in range(5):
        other = make_strategy(strategy.account, name=f"other {number}")
        Leg.objects.create(strategy=other, name="short", entry_interval="5m", close_interval="5m", size=1)
    assert queries_of(lambda: client.get(EXPORT)) == one


def test_the_page_shows_what_a_file_would_do_and_does_it_when_confirmed(strategy: Strategy) -> None:
    [entry] = exported()["strategies"]
    document = exported() | {"strategies": [entry | {"name": "brought"}]}
    browser = browser_of("trader")
    file = SimpleUploadedFile("s.json", json.dumps(document).encode(), "application/json")
    shown = browser.post(reverse(UPLOAD), {"document": file})
    assert "brought" in shown.content.decode()
    assert Strategy.objects.count() == 1
    confirmed = {"text": shown.context["text"], "confirmed": shown.context["plan"].fingerprint}
    answer = browser.post(reverse(UPLOAD), confirmed)
    assert answer.status_code == 302
    assert (Strategy.objects.get(name="brought").is_active, Strategy.objects.count()) == (False, 2)


def test_the_page_says_which_field_is_refused_and_offers_nothing_to_confirm(strategy: Strategy) -> None:
    text = json.dumps(changed(exported(), ticker="NOSUCHUSDT.P"))
    answer = browser_of("trader").post(reverse(UPLOAD), {"text": text}).content.decode()
    assert "The exchange lists no NOSUCHUSDT" in answer
    assert 'name="confirmed"' not in answer
    assert "no JSON" in browser_of("trader").post(reverse(UPLOAD), {"text": "{"}).content.decode()


def test_what_changed_since_it_was_shown_is_shown_again(strategy: Strategy) -> None:
    browser = browser_of("trader")
    text = json.dumps(changed(exported(), description="new"))
    shown = browser.post(reverse(UPLOAD), {"text": text})
    Strategy.objects.update(description="by another")
    again = browser.post(reverse(UPLOAD), {"text": text, "confirmed": shown.context["plan"].fingerprint})
    assert "Something changed meanwhile" in again.content.decode()
    assert Strategy.objects.get().description == "by another"


def test_the_selected_strategies_are_exported_from_the_list(strategy: Strategy) -> None:
    make_strategy(make_account("other"), name="other")
    chosen = {"action": "export_selected", "_selected_action": [strategy.pk]}
    answer = browser_of("viewer").post(reverse("admin:strategies_strategy_changelist"), chosen)
    assert [each["name"] for each in answer.json()["strategies"]] == ["Stochastic 5m"]
    assert "attachment" in answer.headers["Content-Disposition"]
    assert "Import" in page(browser_of("trader"), reverse("admin:strategies_strategy_changelist"))


def test_an_account_whose_key_cannot_be_opened_does_not_stop_an_export(strategy: Strategy) -> None:
    with_lost_key = Account.objects.filter(pk=strategy.account_id)
    assert with_lost_key.update(api_key="") == 1
    assert exported()["strategies"][0]["account"] == "desk"
