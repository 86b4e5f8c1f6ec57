"""Strategies over the API: what is stored, what PATCH and PUT mean, and which field is wrong."""

import json
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from pelusa.testing import DATABASES
from pelusa.tests.making import (
    client_of,
    make_account,
    make_alarm,
    make_decision,
    make_instrument,
    make_operation,
    make_strategy,
)
from strategies.models import Leg, Strategy

pytestmark = pytest.mark.django_db(databases=DATABASES)
URL = "/api/v1/strategies/"

# interface.md, section 4
EXAMPLE = """
{"name": "Stochastic 5m", "alarm_name": "Stochastic_v1", "ticker": "BTCUSDT.P", "account": 1, "market": "usdtm",
 "is_active": true, "active_from": null, "active_until": null, "max_alarm_age": 60, "description": "",
 "long": {"entry_interval": "5m", "close_interval": "5m", "entry_confirmation_interval": "",
          "close_confirmation_interval": "", "pyramiding": 1, "leverage": 5, "margin_mode": "CROSSED",
          "sizing": "quantity", "size": "0.01", "take_profit_per_order": null, "stop_loss_per_order": "2.0",
          "take_profit_general": null, "stop_loss_general": null},
 "short": null}
"""
SHORTEST_LEG = {"entry_interval": "5m", "close_interval": "5m", "size": "0.01"}
SHORTEST = {"name": "S", "alarm_name": "S_v1", "ticker": "BTCUSDT.P", "long": SHORTEST_LEG}


@pytest.fixture(autouse=True)
def listed() -> None:
    make_instrument()
    make_instrument("BTC-USDT", "spot")
    make_instrument("BTC-USD", "coinm", step_size="1", min_quantity="1", min_notional="10", contract_size="100")


def body(**changes: Any) -> dict[str, Any]:
    return SHORTEST | {"account": make_account().pk} | changes


def leg(**changes: Any) -> dict[str, Any]:
    return SHORTEST_LEG | changes


def create(**changes: Any) -> Any:
    return client_of("trader").post(URL, body(**changes), format="json")


def created(**changes: Any) -> dict[str, Any]:
    answer = create(**changes)
    assert answer.status_code == 201, answer.json()
    return dict(answer.json())


def patched(strategy: dict[str, Any], **changes: Any) -> Any:
    return client_of("trader").patch(f"{URL}{strategy['id']}/", changes, format="json")


def wrong_fields(answer: Any) -> dict[str, list[str]]:
    assert answer.status_code == 400, answer.content
    return dict(answer.json()["error"]["fields"])


def test_the_example_of_the_contract_is_taken_and_read_back() -> None:
    sent = json.loads(EXAMPLE) | {"account": make_account().pk}
    answer = client_of("trader").post(URL, sent, format="json")
    assert answer.status_code == 201
    got = answer.json()
    assert (got["symbol"], got["long"]["stop_loss_per_order"]) == ("BTC-USDT", "2")
    sent["long"]["stop_loss_per_order"] = "2"
    assert {name: got[name] for name in sent} == sent
    assert client_of("viewer").get(f"{URL}{got['id']}/").json() == got
    assert Strategy.objects.get().pair == "BTCUSDT"


def test_what_is_left_out_takes_its_default() -> None:
    got = created()
    assert (got["market"], got["is_active"], got["max_alarm_age"], got["short"]) == ("usdtm", True, 60, None)
    long = got["long"]
    assert (long["pyramiding"], long["leverage"], long["margin_mode"], long["sizing"]) == (1, 1, "CROSSED", "quantity")
    assert (long["entry_confirmation_interval"], long["take_profit_general"]) == ("", None)


def test_what_was_read_can_be_put_back() -> None:
    got = created()
    answer = client_of("trader").put(f"{URL}{got['id']}/", got, format="json")
    assert answer.status_code == 200
    assert answer.json() | {"updated_at": None} == got | {"updated_at": None}


def test_what_to_do_when_unprotected_can_be_said_and_is_kept() -> None:
    got = created(when_unprotected="tell")
    assert got["when_unprotected"] == "tell"
    assert client_of("trader").put(f"{URL}{got['id']}/", got, format="json").json()["when_unprotected"] == "tell"
    assert patched(got, name="renamed").json()["when_unprotected"] == "tell"
    short = {name: value for name, value in got.items() if name != "when_unprotected"}
    assert client_of("trader").put(f"{URL}{got['id']}/", short, format="json").json()["when_unprotected"] == "close"
    assert wrong_fields(patched(got, when_unprotected="shrug")).keys() == {"when_unprotected"}


def test_both_legs_are_stored() -> None:
    got = created(short=leg(leverage=3))
    assert (got["long"]["leverage"], got["short"]["leverage"]) == (1, 3)
    assert sorted(Leg.objects.values_list("name", flat=True)) == ["long", "short"]


def test_patch_changes_the_given_keys_of_a_leg_and_nothing_else() -> None:
    before = created(description="mine", long=leg(leverage=5, stop_loss_per_order="2"), short=leg(leverage=3))
    after = patched(before, long={"leverage": 7}).json()
    assert after["long"] == before["long"] | {"leverage": 7}
    assert after | {"long": None, "updated_at": None} == before | {"long": None, "updated_at": None}


def test_patch_of_the_strategy_leaves_its_legs() -> None:
    before = created(short=leg())
    keys = set(Leg.objects.values_list("pk", flat=True))
    after = patched(before, is_active=False, ticker="BINGX:BTCUSDT.PS").json()
    assert (after["is_active"], after["ticker"], after["long"], after["short"]) == (
        False, "BINGX:BTCUSDT.PS", before["long"], before["short"],
    )  # fmt: skip
    assert set(Leg.objects.values_list("pk", flat=True)) == keys


def test_two_parts_at_once_do_not_undo_each_other() -> None:
    before = created(short=leg())
    with CaptureQueriesContext(connection) as queries:
        assert patched(before, name="renamed", long={"leverage": 7}).status_code == 200
    written = [query["sql"] for query in queries if query["sql"].startswith(("UPDATE", "INSERT", "DELETE"))]
    strategy, long_leg = [sql for sql in written if "strategies_" in sql and "version" not in sql]
    assert "description" not in strategy
    assert "leverage" in long_leg
    assert "pyramiding" not in long_leg


def test_patch_adds_a_leg_and_null_removes_one() -> None:
    got = created()
    assert patched(got, short=leg(leverage=2)).json()["short"]["leverage"] == 2
    after = patched(got, long=None).json()
    assert (after["long"], after["short"]["leverage"]) == (None, 2)
    assert list(Leg.objects.values_list("name", flat=True)) == ["short"]


def test_patch_that_adds_a_leg_needs_what_a_leg_needs() -> None:
    missing = {"short.entry_interval", "short.close_interval", "short.size"}
    assert set(wrong_fields(patched(created(), short={"leverage": 2}))) == missing


def test_patch_cannot_remove_the_last_leg() -> None:
    assert list(wrong_fields(patched(created(), long=None))) == ["long"]
    assert Leg.objects.count() == 1


def test_put_replaces_everything_that_is_left_out_by_its_default() -> None:
    before = created(description="mine", max_alarm_age=300, long=leg(leverage=5), short=leg())
    sent = SHORTEST | {"account": before["account"]}
    after = client_of("trader").put(f"{URL}{before['id']}/", sent, format="json").json()
    assert (after["description"], after["max_alarm_age"], after["short"]) == ("", 60, None)
    assert after["long"]["leverage"] == 1
    assert (after["id"], after["created_at"]) == (before["id"], before["created_at"])


def test_a_refused_change_leaves_everything_as_it_was() -> None:
    before = created()
    assert patched(before, name="other", long={"leverage": 0, "size": "5"}).status_code == 400
    assert client_of().get(f"{URL}{before['id']}/").json() == before


def test_the_legs_of_a_strategy_that_trades_can_be_changed() -> None:
    got = created()
    make_operation(Strategy.objects.get())
    assert patched(got, long={"size": "0.02", "entry_interval": "1h"}).json()["long"]["size"] == "0.02"


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"ticker": "BTCUSDT", "market": "spot"}, "market"), ({"ticker": "ETHUSDT"}, "ticker"), ({"long": None}, "long")],
)
def test_what_a_live_operation_needs_to_be_closed_stays(changes: dict[str, Any], field: str) -> None:
    make_instrument("ETH-USDT")
    got = created(short=leg())
    operation = make_operation(Strategy.objects.get())
    assert field in wrong_fields(patched(got, short=None, **changes))
    operation.status = "closed"
    operation.save(update_fields=["status"])
    assert patched(got, **{"short": None, **changes, "long": SHORTEST_LEG}).status_code == 200


def test_a_strategy_without_history_is_deleted_with_its_legs() -> None:
    got = created()
    assert client_of("trader").delete(f"{URL}{got['id']}/").status_code == 204
    assert not Leg.objects.exists()


@pytest.mark.parametrize("history", ["operation", "decision"])
def test_a_strategy_with_history_is_kept(history: str) -> None:
    strategy = make_strategy()
    if history == "operation":
        make_operation(strategy, status="closed")
    else:
        make_decision(make_alarm(), strategy, outcome="ignored", reason="gate_shut")
    answer = client_of("trader").delete(f"{URL}{strategy.pk}/")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")
    assert Leg.objects.count() == 1


@pytest.mark.parametrize(
    ("changes", "field", "says"),
    [
        ({"name": ""}, "name", "blank"),
        ({"alarm_name": " "}, "alarm_name", "blank"),
        ({"ticker": "NOSUCHUSDT.P"}, "ticker", "lists no NOSUCHUSDT.P on usdtm"),
        ({"ticker": "not a ticker"}, "ticker", "is not a ticker"),
        ({"ticker": "BTCUSD.PS"}, "ticker", "It is on coinm"),
        ({"market": "moon"}, "market", "moon"),
        ({"market": "spot"}, "market", "spot does not trade it"),
        ({"account": 999}, "account", "999"),
        ({"account": None}, "account", "null"),
        ({"max_alarm_age": 0}, "max_alarm_age", "1"),
        ({"expects_alarm_every": 0}, "expects_alarm_every", "1"),
        ({"expects_alarm_every": 600_000}, "expects_alarm_every", "527040"),
        ({"expects_alarm_every": "often"}, "expects_alarm_every", "integer"),
        ({"active_from": "2026-12-01T00:00:00Z", "active_until": "2026-11-01T00:00:00Z"}, "active_until", "later"),
        ({"active_from": "soon"}, "active_from", "format"),
        ({"long": None}, "long", "long leg, a short leg or both"),
        ({"long": "5m"}, "long", "dictionary"),
        ({"lnog": {}}, "lnog", "Is not known here"),
        ({"long": leg(entry_interval="7m")}, "long.entry_interval", "1m, 3m, 5m"),
        ({"long": leg(entry_interval="")}, "long.entry_interval", ""),
        ({"long": {"entry_interval": "5m", "size": "1"}}, "long.close_interval", "required"),
        ({"long": leg(entry_confirmation_interval="1 hour")}, "long.entry_confirmation_interval", "no interval"),
        ({"long": leg(close_confirmation_interval="60")}, "long.close_confirmation_interval", "no interval"),
        ({"long": leg(stoploss="2")}, "long.stoploss", "stop_loss_per_order"),
        ({"long": leg(pyramiding=0)}, "long.pyramiding", "1"),
        ({"long": leg(leverage=151)}, "long.leverage", "from 1 to 150 for BTC-USDT"),
        ({"short": leg(leverage=126)}, "short.leverage", "from 1 to 125 for BTC-USDT"),
        ({"long": leg(leverage=0)}, "long.leverage", "1"),
        ({"long": leg(margin_mode="LOOSE")}, "long.margin_mode", "LOOSE"),
        ({"long": leg(sizing="all")}, "long.sizing", "all"),
        ({"long": leg(size=None)}, "long.size", "needed for sizing by quantity"),
        ({"long": leg(size="0")}, "long.size", "above zero"),
        ({"long": leg(size="-1")}, "long.size", "above zero"),
        ({"long": leg(size="0.00009")}, "long.size", "smallest order in BTC-USDT is 0.0001"),
        ({"long": leg(size="1e3")}, "long.size", "plain digits"),
        ({"long": leg(size="NaN")}, "long.size", "plain digits"),
        ({"long": leg(size="1_000")}, "long.size", "plain digits"),
        ({"long": leg(size="١")}, "long.size", "plain digits"),
        ({"long": leg(size=True)}, "long.size", "plain digits"),
        ({"long": leg(size="0.0000000000001")}, "long.size", "plain digits"),
        ({"long": leg(sizing="notional", size="1.99")}, "long.size", "worth 2 USDT"),
        ({"long": leg(sizing="equity_percent", size="101")}, "long.size", "100"),
        ({"long": leg(sizing="risk_percent", size="1")}, "long.stop_loss_per_order", "stop loss"),
        ({"long": leg(stop_loss_per_order="100")}, "long.stop_loss_per_order", "below 100"),
        ({"long": leg(stop_loss_general="0")}, "long.stop_loss_general", "above 0"),
        ({"long": leg(take_profit_per_order="-1")}, "long.take_profit_per_order", "above 0"),
        ({"short": leg(take_profit_general="100")}, "short.take_profit_general", "below 100 for a short"),
        ({"ticker": "BTCUSDT", "market": "spot", "short": leg()}, "short", "Spot has no short leg"),
        ({"ticker": "BTCUSDT", "market": "spot", "long": leg(leverage=2)}, "long.leverage", "1 on spot"),
        (
            {"ticker": "BTCUSD.P", "market": "coinm", "long": leg(size="0.5")},
            "long.size",
            "smallest order in BTC-USD is 1",
        ),
    ],
)
def test_what_is_wrong_is_named_by_its_field(changes: dict[str, Any], field: str, says: str) -> None:
    answer = create(**changes)
    fields = wrong_fields(answer)
    assert list(fields) == [field]
    assert says in " ".join(fields[field])
    assert answer.json()["error"]["code"] == "invalid"
    assert not Strategy.objects.exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"ticker": "BTCUSDT", "market": "spot"},
        {"ticker": "BTCUSDT"},
        {"ticker": "BINGX:BTCUSDT.PS"},
        {"ticker": "BTCUSD.PS", "market": "coinm", "long": leg(size="1")},
        {"long": leg(size=0.01)},
        {"long": leg(size=1)},
        {"long": leg(sizing="alarm", size=None)},
        {"long": leg(sizing="alarm")},
        {"long": leg(sizing="notional", size="2")},
        {"long": leg(sizing="equity_percent", size="100")},
        {"long": leg(sizing="risk_percent", size="1", stop_loss_general="2.5")},
        {"long": leg(entry_confirmation_interval="1h", close_confirmation_interval="1M")},
        {"long": leg(take_profit_per_order="250")},
        {"long": None, "short": leg()},
    ],
)
def test_what_is_lawful_is_taken(changes: dict[str, Any]) -> None:
    assert created(**changes)["symbol"] in ("BTC-USDT", "BTC-USD")


def test_every_mistake_is_named_at_once() -> None:
    wrong = leg(size="0", stop_loss_general="0")
    answer = create(ticker="NOSUCHUSDT", long=wrong, short=wrong)
    halves = {f"{name}.{field}" for name in ("long", "short") for field in ("size", "stop_loss_general")}
    assert set(wrong_fields(answer)) == halves | {"ticker"}
    assert answer.json()["error"]["message"].startswith("5 fields are wrong: ")


def test_a_name_is_taken_once() -> None:
    answer = client_of("trader").post(URL, created(), format="json")
    assert list(wrong_fields(answer)) == ["name"]


def test_without_the_exchanges_list_the_sentence_says_so() -> None:
    from market.models import Instrument

    Instrument.objects.all().delete()
    assert "has not been read yet" in wrong_fields(create())["ticker"][0]


def test_a_page_takes_as_many_queries_for_one_strategy_as_for_many() -> None:
    client = client_of()
    account = make_account("one")
    make_strategy(account, name="first")
    with CaptureQueriesContext(connection) as few:
        client.get(URL)
    for number in range(8):
        make_strategy(account, name=f"strategy {number}")
    with CaptureQueriesContext(connection) as many:
        assert len(client.get(URL).json()["results"]) == 9
    assert len(many) == len(few) <= 6


def test_strategies_are_filtered() -> None:
    account = make_account("one")
    make_strategy(account, name="on")
    off = make_strategy(account, name="off", is_active=False)
    assert [row["id"] for row in client_of().get(URL, {"is_active": "false"}).json()["results"]] == [off.pk]
    query = {"account": str(account.pk), "ticker": "BTCUSDT.P"}
    assert len(client_of().get(URL, query).json()["results"]) == 2


def test_sizes_are_written_in_plain_digits() -> None:
    strategy = make_strategy(leg={"size": Decimal("1000.100000000000")})
    assert client_of().get(f"{URL}{strategy.pk}/").json()["long"]["size"] == "1000.1"


def test_the_browsable_pages_open() -> None:
    strategy = make_strategy()
    client = client_of("operator")
    for path in (URL, f"{URL}{strategy.pk}/"):
        answer = client.get(path, HTTP_ACCEPT="text/html")
        assert answer.status_code == 200
        assert answer["Content-Type"].startswith("text/html")
