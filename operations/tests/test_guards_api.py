"""The kill switch, the limits and the notices as clients use them: less right to stop than to let go on."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from operations.killswitch import pull, pulled_switch
from operations.models import KillSwitch, Limits, Notice
from operations.notices import end_notice, raise_notice
from pelusa.testing import DATABASES
from pelusa.tests.making import client_of, make_account, make_strategy

pytestmark = pytest.mark.django_db(databases=DATABASES)

SWITCH, LIMITS, NOTICES = "/api/v1/kill-switch/", "/api/v1/limits/", "/api/v1/notices/"


def post(client: APIClient, path: str, **body: Any) -> Any:
    return client.post(path, body, format="json")


def complaints(answer: Any) -> dict[str, list[str]]:
    assert answer.status_code == 400, answer.json()
    return dict(answer.json()["error"]["fields"])


# The kill switch


def test_a_trader_pulls_the_switch_for_all_and_reads_who_and_why() -> None:
    account = make_account()
    answer = post(client_of("trader"), f"{SWITCH}pull/", reason="odd fills")
    assert answer.status_code == 200
    everything, own = answer.json()["switches"]
    assert (everything["account"], everything["is_on"], everything["reason"]) == (None, True, "odd fills")
    assert everything["changed_by"].startswith("trader")
    assert (own["account"], own["account_name"], own["is_on"], own["changed_at"]) == (account.pk, "desk", False, None)
    assert pulled_switch(account.pk)
    assert client_of("viewer").get(SWITCH).json() == answer.json()


def test_a_trader_pulls_one_accounts_switch() -> None:
    account, other = make_account(), make_account("other")
    assert post(client_of("trader"), f"{SWITCH}pull/", account=account.pk, reason="odd fills").status_code == 200
    assert pulled_switch(account.pk)
    assert pulled_switch(other.pk) is None


def test_a_trader_cannot_release_what_a_trader_can_pull() -> None:
    account = make_account()
    pull(None, "ana", "stop")
    answer = post(client_of("trader"), f"{SWITCH}release/", reason="all is well")
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "permission_denied")
    assert pulled_switch(account.pk)
    answer = post(client_of("operator"), f"{SWITCH}release/", reason="all is well")
    assert (answer.status_code, answer.json()["switches"][0]["is_on"]) == (200, False)
    assert pulled_switch(account.pk) is None


def test_a_viewer_moves_nothing() -> None:
    assert post(client_of("viewer"), f"{SWITCH}pull/", reason="stop").status_code == 403
    assert not KillSwitch.objects.exists()


@pytest.mark.parametrize("body", [{}, {"reason": " "}, {"reason": None}])
def test_a_switch_is_moved_for_a_reason(body: dict[str, Any]) -> None:
    for name, role in (("pull", "trader"), ("release", "operator")):
        assert "reason" in complaints(post(client_of(role), f"{SWITCH}{name}/", **body))


def test_an_account_that_is_not_there_is_named() -> None:
    assert "account" in complaints(post(client_of("trader"), f"{SWITCH}pull/", account=999, reason="stop"))


def test_what_halts_from_outside_is_told(settings: Any, tmp_path: Any) -> None:
    settings.VAR_DIR = tmp_path
    assert client_of().get(SWITCH).json()["is_halted"] is False
    (tmp_path / "HALT").write_text("maintenance")
    state = client_of().get(SWITCH).json()
    assert (state["is_halted"], state["halted_because"]) == (True, "the file HALT maintenance")


# Limits


def test_an_operator_makes_changes_and_removes_limits() -> None:
    account, operator = make_account(), client_of("operator")
    answer = post(operator, LIMITS, account=account.pk, max_order_notional="500.50", schedule="mon-fri 08:00-20:00")
    assert answer.status_code == 201, answer.json()
    row = answer.json()
    assert (row["account"], row["strategy"], row["max_order_notional"]) == (account.pk, None, "500.5")
    assert Limits.objects.get().scope == f"account:{account.pk}"
    new = {"max_order_notional": None, "max_open_operations": 3}
    changed = operator.patch(f"{LIMITS}{row['id']}/", new, format="json")
    assert changed.status_code == 200, changed.json()
    assert (changed.json()["max_order_notional"], changed.json()["max_open_operations"]) == (None, 3)
    assert changed.json()["schedule"] == "mon-fri 08:00-20:00"
    assert operator.delete(f"{LIMITS}{row['id']}/").status_code == 204


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("max_order_notional", "0", "Must be above zero, or empty for no limit; was 0."),
        ("max_daily_loss", "-5.5", "Must be above zero, or empty for no limit; was -5.5."),
        ("max_open_operations", 0, "Must be above zero, or empty for no limit; was 0."),
        ("max_price_deviation", "0.0", "Must be above zero, or empty for no limit; was 0."),
        ("schedule", "mon-fri 8-20", "'8-20' are no hours: write for example 08:00-20:00."),
        ("max_losses", 5, None),
    ],
)
def test_what_makes_no_limit_is_refused_with_a_sentence(field: str, value: Any, sentence: str | None) -> None:
    found = complaints(post(client_of("operator"), LIMITS, **{field: value}))
    assert list(found) == [field]
    if sentence:
        assert found[field] == [sentence]
    assert not Limits.objects.exists()


def test_limits_are_one_row_a_scope() -> None:
    account, operator = make_account(), client_of("operator")
    strategy = make_strategy(account)
    for body, name, words in (
        ({}, "account", "everything"),
        ({"account": account.pk}, "account", "this account"),
        ({"strategy": strategy.pk}, "strategy", "this strategy"),
    ):
        assert post(operator, LIMITS, max_open_operations=1, **body).status_code == 201
        found = complaints(post(operator, LIMITS, max_open_operations=2, **body))
        assert found == {name: [f"There are limits for {words} already: change those."]}
    assert [row["id"] for row in operator.get(LIMITS, {"strategy": strategy.pk}).json()["results"]] == [
        Limits.objects.get(strategy=strategy).pk
    ]


def test_limits_are_of_an_account_or_a_strategy_and_stay_so() -> None:
    account, operator = make_account(), client_of("operator")
    strategy = make_strategy(account)
    found = complaints(post(operator, LIMITS, account=account.pk, strategy=strategy.pk))
    assert found == {"strategy": ["Choose an account or a strategy, not both."]}
    row = post(operator, LIMITS, account=account.pk).json()
    found = complaints(operator.patch(f"{LIMITS}{row['id']}/", {"account": None}, format="json"))
    assert found == {"account": ["Cannot be changed: make other limits for it."]}


def test_a_trader_reads_limits_and_writes_none() -> None:
    row = Limits.objects.create(scope="all", max_open_operations=1)
    trader = client_of("trader")
    assert trader.get(LIMITS).json()["results"][0]["max_open_operations"] == 1
    assert post(trader, LIMITS, max_open_operations=9).status_code == 403
    assert trader.patch(f"{LIMITS}{row.pk}/", {"max_open_operations": 9}).status_code == 403


# Notices


def test_notices_are_read_in_sentences_and_written_by_nobody() -> None:
    account = make_account()
    raise_notice("old", "strategy_stopped", strategy="wild", most=10, seconds=60)
    end_notice("old", "strategy_stopped")
    pull(account, "ana", "stop")
    client = client_of()
    newest, oldest = client.get(NOTICES).json()["results"]
    assert oldest["detail"] == "wild was switched off: it sent 10 entries within 60 s."
    assert oldest["ended_at"]
    assert (newest["kind"], newest["account"], newest["ended_at"]) == ("kill_switch_on", account.pk, None)
    assert [row["id"] for row in client.get(NOTICES, {"current": "true"}).json()["results"]] == [newest["id"]]
    assert [row["id"] for row in client.get(NOTICES, {"account": account.pk}).json()["results"]] == [newest["id"]]
    superuser = client_of("superuser")
    assert post(superuser, NOTICES).status_code == 405
    assert superuser.delete(f"{NOTICES}{newest['id']}/").status_code == 405
    assert Notice.objects.count() == 2
