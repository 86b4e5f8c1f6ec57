"""While a strategy is typed its form is told what saving would say, and what its figures mean."""

from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from exchange.models import Account
from exchange.quotes import quotes
from pelusa.testing import DATABASES
from pelusa.tests.browsing import browser_of, page, queries_of
from pelusa.tests.making import make_account, make_instrument, make_operation, make_strategy
from strategies.advice import notes_of
from strategies.models import Leg, Strategy
from strategies.tests.test_strategies_admin import USUAL, complaints, edited, filled_in
from strategies.validation import resolve

pytestmark = pytest.mark.django_db(databases=DATABASES)

D = Decimal
ADD = reverse("admin:strategies_strategy_add")
NAME = "admin:strategies_strategy_check"


@pytest.fixture(autouse=True)
def _listed(monkeypatch: pytest.MonkeyPatch) -> None:
    make_instrument()
    monkeypatch.setattr(quotes, "prices", lambda environment, market: {"BTC-USDT": D(50000)})


def answer_to(form: dict[str, Any], strategy: Strategy | None = None, browser: Client | None = None) -> dict[str, Any]:
    url = reverse(NAME, args=[strategy.pk] if strategy else [])
    answer = (browser or browser_of("trader")).post(url, form)
    assert answer.status_code == 200
    return dict(answer.json())


def note(name: str, *, leg: dict[str, Any] | None = None, **columns: Any) -> tuple[str, bool]:
    """Return what is said at a field of a strategy with a long leg, and whether it is a warning."""
    account = Account.objects.first() or make_account()
    strategy = Strategy(**{"ticker": "BTCUSDT.P", "market": "usdtm", "account": account} | columns)
    resolve(strategy)
    long = Leg(**{"name": "long", "entry_interval": "5m", "close_interval": "5m", "size": D("0.01")} | (leg or {}))
    found = [(each.sentence, each.is_warning) for each in notes_of(strategy, [long]) if each.field == name]
    return found[0] if found else ("", False)


def test_an_empty_form_breaks_nothing_and_is_not_ready() -> None:
    said = answer_to(filled_in(name="", alarm_name="", ticker=""))
    assert set(said["problems"]) == {"name", "alarm_name", "ticker", "account", "legs-0-name"}
    assert not Strategy.objects.exists()


def test_what_can_be_saved_has_no_problem_and_is_not_saved() -> None:
    said = answer_to(filled_in(account=make_account().pk, long=USUAL))
    assert said["problems"] == {}
    assert not Strategy.objects.exists()


@pytest.mark.parametrize(
    ("columns", "leg"),
    [
        ({"ticker": "NOSUCHUSDT.P"}, USUAL),
        ({"max_alarm_age": "0"}, USUAL),
        ({"market": "moon"}, USUAL),
        ({}, USUAL | {"size": "0.00001"}),
        ({}, USUAL | {"size": "abc"}),
        ({}, USUAL | {"entry_interval": "7m"}),
        ({}, USUAL | {"leverage": "151"}),
        ({}, USUAL | {"sizing": "risk_percent", "size": "1"}),
        ({}, USUAL | {"stop_loss_general": "100"}),
        ({}, None),
    ],
)
def test_it_says_what_saving_says_at_the_same_fields(columns: dict[str, str], leg: dict[str, str] | None) -> None:
    form = filled_in(account=make_account().pk, long=leg, **columns)
    said = answer_to(form)["problems"]
    saved = complaints(browser_of("trader").post(ADD, form))
    as_typed = {name.replace("long.", "legs-0-"): errors for name, errors in saved.items()}
    # A complaint about a leg as a whole hangs at its name
    expected = {name.replace("__all__", "name"): [str(each) for each in errors] for name, errors in as_typed.items()}
    assert said == expected


def test_a_name_that_is_taken_is_said_at_once() -> None:
    strategy = make_strategy()
    said = answer_to(filled_in(name=strategy.name, account=strategy.account_id, long=USUAL))
    assert "already exists" in said["problems"]["name"][0]


def test_a_stored_strategy_is_asked_about_what_it_holds_and_stays_as_it_is() -> None:
    strategy = make_strategy()
    make_operation(strategy)
    make_instrument("ETH-USDT")
    said = answer_to(edited(strategy, ticker="ETHUSDT.P"), strategy)
    assert "close it first" in said["problems"]["ticker"][0]
    assert (
        "close it first"
        in answer_to(edited(strategy, **{"legs-0-DELETE": "on"}), strategy)["problems"]["legs-0-name"][0]
    )
    strategy.refresh_from_db()
    assert (strategy.ticker, strategy.legs.count()) == ("BTCUSDT.P", 1)


def test_the_ticker_says_which_symbol_it_is_with_its_floors() -> None:
    said = answer_to(filled_in(account=make_account().pk, long=USUAL))
    assert said["notes"]["ticker"] == [
        {"sentence": "It is BTC-USDT: at least 0.0001 BTC and 2 USDT, in steps of 0.0001 BTC.", "is_warning": False}
    ]


def test_a_shared_alarm_name_says_with_whom() -> None:
    make_strategy(name="first")
    make_instrument("ETH-USDT")
    shared = "Shared with first on this ticker: one alarm moves all of them."
    assert note("alarm_name", alarm_name="Stochastic_v1")[0] == shared
    elsewhere = note("alarm_name", alarm_name="Stochastic_v1", ticker="ETHUSDT.P")
    assert "on another ticker" in elsewhere[0]


@pytest.mark.parametrize(
    ("leg", "says"),
    [
        ({"size": D("0.01234"), "leverage": 5}, "0.0123 BTC ≈ 615.00 USDT, margin 123.00 USDT at leverage 5."),
        ({"sizing": "notional", "size": D(100)}, "100 USDT ≈ 0.002 BTC, margin 100.00 USDT at leverage 1."),
        (
            {"sizing": "equity_percent", "size": D(10), "leverage": 3},
            "10 % of the equity as margin buys 30 % of it at leverage 3.",
        ),
        (
            {"sizing": "risk_percent", "size": D(1), "stop_loss_per_order": D(2)},
            "A stop at 2 % loses 1 % of the equity: 50 % of it is bought.",
        ),
        ({"sizing": "alarm", "size": None}, "The alarm's own quantity is taken; this stays empty."),
    ],
)
def test_a_size_is_said_with_its_unit(leg: dict[str, Any], says: str) -> None:
    assert note("long.size", leg=leg) == (says, False)


def test_a_risk_that_the_leverage_cannot_carry_is_a_warning() -> None:
    leg = {"sizing": "risk_percent", "size": D(2), "stop_loss_per_order": D("0.5"), "leverage": 3}
    assert note("long.leverage", leg=leg) == ("Too low for this risk and stop: it takes at least 4.0.", True)
    assert note("long.leverage", leg=leg | {"leverage": 4}) == ("", False)


@pytest.mark.parametrize(("mode", "says"), [("ISOLATED", "it is liquidated 2 %"), ("CROSSED", "has lost its margin")])
def test_a_stop_behind_the_liquidation_is_a_warning(mode: str, says: str) -> None:
    leg = {"leverage": 50, "stop_loss_general": D(2), "margin_mode": mode}
    sentence, is_warning = note("long.stop_loss_general", leg=leg)
    assert says in sentence
    assert is_warning
    near = note("long.stop_loss_general", leg=leg | {"stop_loss_general": D("1.5")})
    assert near == ("75 % of the margin at leverage 50.", False)


def test_a_gate_that_cannot_work_is_a_warning() -> None:
    field = "long.close_confirmation_interval"
    assert note(field, leg={"close_confirmation_interval": "1h"})[1]
    assert note(field, leg={"entry_confirmation_interval": "1h"}) == (
        "Nothing shuts the gate once it was opened.",
        True,
    )
    both = {"entry_confirmation_interval": "1h", "close_confirmation_interval": "1h"}
    assert note(field, leg=both) == ("", False)


def test_only_who_may_save_is_answered_and_only_to_a_post() -> None:
    strategy = make_strategy()
    for url in (reverse(NAME), reverse(NAME, args=[strategy.pk])):
        assert browser_of("viewer").post(url, filled_in()).status_code == 403
        assert browser_of("trader").get(url).status_code == 405
        assert Client().post(url).status_code == 302
    assert browser_of("trader").post(reverse(NAME, args=[404]), filled_in()).status_code == 404


def test_the_form_names_whom_to_ask_only_to_whom_may_save() -> None:
    strategy = make_strategy()
    change = reverse("admin:strategies_strategy_change", args=[strategy.pk])
    assert f'data-check="{reverse(NAME)}"' in page(browser_of("trader"), ADD)
    assert f'data-check="{reverse(NAME, args=[strategy.pk])}"' in page(browser_of("trader"), change)
    assert "data-check" not in page(browser_of("viewer"), change)


def test_an_answer_costs_few_queries() -> None:
    strategy = make_strategy()
    for number in range(20):
        make_strategy(strategy.account, name=f"shares {number}")
    browser = browser_of("trader")
    both = edited(strategy, **{f"legs-1-{column}": value for column, value in USUAL.items()})
    # Two thirds are the models' own constraints, each asked without a table in a savepoint
    assert queries_of(lambda: answer_to(both, strategy, browser)) <= 40
