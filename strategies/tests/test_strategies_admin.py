"""A strategy and its legs on one page: saved together, wrong together, and every mistake named at its field."""

from decimal import Decimal
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.urls import reverse

from operations.models import Operation
from pelusa.testing import DATABASES
from pelusa.tests.browsing import browser_of, page, queries_of
from pelusa.tests.making import make_account, make_instrument, make_operation, make_strategy
from strategies.models import Leg, Strategy

pytestmark = pytest.mark.django_db(databases=DATABASES)

LIST = reverse("admin:strategies_strategy_changelist")
ADD = reverse("admin:strategies_strategy_add")
UNTOUCHED = {"pyramiding": "1", "leverage": "1", "margin_mode": "CROSSED", "sizing": "quantity"}
USUAL = UNTOUCHED | {"entry_interval": "5m", "close_interval": "15m", "size": "0.01"}


@pytest.fixture(autouse=True)
def _listed() -> None:
    make_instrument()


def change_page(strategy: Strategy) -> str:
    return reverse("admin:strategies_strategy_change", args=[strategy.pk])


def filled_in(
    *, long: dict[str, str] | None = None, short: dict[str, str] | None = None, **columns: Any
) -> dict[str, Any]:
    """Return what a browser posts for a new strategy: two leg forms, untouched where none is given."""
    form = {
        "name": "Mine",
        "alarm_name": "Stochastic_v1",
        "ticker": "BTCUSDT.P",
        "market": "usdtm",
        "is_active": "on",
        "max_alarm_age": "60",
        "when_unprotected": "close",
    }
    form |= {f"{name}_{part}": "" for name in ("active_from", "active_until") for part in (0, 1)}
    form |= {"legs-TOTAL_FORMS": "2", "legs-INITIAL_FORMS": "0"}
    for number, (name, leg) in enumerate((("long", long), ("short", short))):
        form |= {
            f"legs-{number}-{column}": value for column, value in {"name": name, **UNTOUCHED, **(leg or {})}.items()
        }
    return form | columns


def edited(strategy: Strategy, **columns: Any) -> dict[str, Any]:
    """Return what a browser posts for a stored strategy whose page was changed in `columns`."""
    form = filled_in(name=strategy.name, account=strategy.account_id)
    legs = {leg.name: leg for leg in strategy.legs.all()}
    ordered = [*legs, *(name for name in ("long", "short") if name not in legs)]
    form["legs-INITIAL_FORMS"] = str(len(legs))
    for number, name in enumerate(ordered):
        leg = legs.get(name)
        row = {"id": leg.pk, "strategy": strategy.pk, **USUAL, "close_interval": leg.close_interval} if leg else {}
        form |= {f"legs-{number}-{column}": value for column, value in {"name": name, **row}.items()}
    return form | columns


def complaints(answer: Any) -> dict[str, Any]:
    """Return the errors of the page, the legs' with their name before a dot."""
    assert answer.status_code == 200, "it was saved"
    found = dict(answer.context["adminform"].form.errors)
    for form in answer.context["inline_admin_formsets"][0].formset.forms:
        found |= {f"{form.leg_name}.{name}": errors for name, errors in form.errors.items()}
    return found


def test_both_legs_are_saved_from_one_page() -> None:
    answer = browser_of("trader").post(
        ADD, filled_in(account=make_account().pk, long=USUAL, short=USUAL | {"leverage": "3"})
    )
    assert answer.status_code == 302, complaints(answer)
    strategy = Strategy.objects.get()
    assert (strategy.symbol, strategy.pair) == ("BTC-USDT", "BTCUSDT")
    legs = {leg.name: leg for leg in strategy.legs.all()}
    assert (legs["long"].leverage, legs["short"].leverage, legs["long"].size) == (1, 3, Decimal("0.01"))


@pytest.mark.parametrize("name", ["long", "short"])
def test_a_leg_that_nobody_touched_is_no_leg(name: str) -> None:
    browser_of("trader").post(ADD, filled_in(account=make_account().pk, **{name: USUAL}))
    assert [leg.name for leg in Leg.objects.all()] == [name]


def test_the_page_of_a_new_strategy_shows_both_legs_and_chooses_no_interval() -> None:
    text = page(browser_of("trader"), ADD)
    assert text.index("Long leg") < text.index("Short leg")
    assert 'value="5m" selected' not in text
    assert 'value="1m" selected' not in text


def test_a_strategy_without_legs_is_refused() -> None:
    assert complaints(browser_of("trader").post(ADD, filled_in(account=make_account().pk)))
    assert not Strategy.objects.exists()


def test_an_unknown_ticker_is_named_at_the_ticker() -> None:
    answer = browser_of("trader").post(ADD, filled_in(account=make_account().pk, ticker="NOSUCHUSDT.P", long=USUAL))
    assert "NOSUCHUSDT" in str(complaints(answer)["ticker"])
    assert not Strategy.objects.exists()


def test_a_size_below_the_exchanges_least_is_named_at_its_own_leg() -> None:
    answer = browser_of("trader").post(
        ADD, filled_in(account=make_account().pk, long=USUAL, short=USUAL | {"size": "0.00001"})
    )
    found = complaints(answer)
    assert set(found) == {"short.size"}
    assert "0.0001" in str(found["short.size"])
    assert "see the fields that are marked" in answer.content.decode()


def test_an_impossible_interval_is_named_at_its_field() -> None:
    answer = browser_of("trader").post(ADD, filled_in(account=make_account().pk, long=USUAL | {"entry_interval": "7m"}))
    assert "long.entry_interval" in complaints(answer)


def test_a_short_leg_on_spot_is_named_at_the_short_leg() -> None:
    make_instrument(market="spot")
    answer = browser_of("trader").post(
        ADD, filled_in(account=make_account().pk, ticker="BTCUSDT", market="spot", long=USUAL, short=USUAL)
    )
    assert "Spot has no short leg" in str(complaints(answer)["short.__all__"])


def test_a_leg_is_added_to_a_stored_strategy_and_another_removed() -> None:
    strategy = make_strategy()
    browser = browser_of("trader")
    short = {f"legs-1-{column}": value for column, value in USUAL.items()}
    answer = browser.post(change_page(strategy), edited(strategy, **short))
    assert answer.status_code == 302, complaints(answer)
    assert {leg.name for leg in strategy.legs.all()} == {"long", "short"}
    answer = browser.post(change_page(strategy), edited(strategy, **{"legs-0-DELETE": "on"}))
    assert answer.status_code == 302, complaints(answer)
    assert {leg.name for leg in strategy.legs.all()} == {"short"}


def test_a_leg_whose_operation_is_live_cannot_be_removed() -> None:
    strategy = make_strategy()
    make_operation(strategy)
    short = {f"legs-1-{column}": value for column, value in USUAL.items()}
    answer = browser_of("trader").post(change_page(strategy), edited(strategy, **short, **{"legs-0-DELETE": "on"}))
    assert "close it first" in str(complaints(answer)["long.__all__"])
    assert {leg.name for leg in strategy.legs.all()} == {"long"}


def test_a_changed_ticker_is_resolved_again() -> None:
    make_instrument("ETH-USDT")
    strategy = make_strategy()
    answer = browser_of("trader").post(change_page(strategy), edited(strategy, ticker="ETHUSDT.P"))
    assert answer.status_code == 302, complaints(answer)
    strategy.refresh_from_db()
    assert (strategy.ticker, strategy.symbol, strategy.pair) == ("ETHUSDT.P", "ETH-USDT", "ETHUSDT")


def test_figures_are_shown_without_trailing_zeros() -> None:
    text = page(browser_of("trader"), change_page(make_strategy()))
    assert 'value="0.01"' in text
    assert "0.010000000000" not in text


def test_switching_strategies_off_and_on_is_audited() -> None:
    first, second = make_strategy(), make_strategy(make_account("other"), name="second", is_active=False)
    browser = browser_of("trader")
    both = {"_selected_action": [first.pk, second.pk], "confirmed": "yes"}
    browser.post(LIST, both | {"action": "deactivate"})
    assert not Strategy.objects.filter(is_active=True).exists()
    browser.post(LIST, both | {"action": "activate"})
    assert not Strategy.objects.filter(is_active=False).exists()
    said = list(LogEntry.objects.order_by("id").values_list("object_id", "change_message"))
    assert said[0] == (str(first.pk), "Deactivated.")
    assert {words for _, words in said[1:]} == {"Activated."}


def test_a_viewer_switches_and_changes_nothing() -> None:
    strategy = make_strategy()
    browser = browser_of("viewer")
    text = page(browser, change_page(strategy))
    assert "Long leg" in text
    assert browser.post(change_page(strategy), edited(strategy, name="Theirs")).status_code == 403
    browser.post(LIST, {"action": "deactivate", "_selected_action": [strategy.pk]})
    strategy.refresh_from_db()
    assert strategy.is_active
    assert strategy.name != "Theirs"


def test_a_strategy_with_a_history_is_not_deleted() -> None:
    traded, fresh = make_strategy(), make_strategy(make_account("other"), name="fresh")
    make_operation(traded)
    browser = browser_of("trader")
    for strategy, status in ((traded, 403), (fresh, 302)):
        url = reverse("admin:strategies_strategy_delete", args=[strategy.pk])
        assert browser.post(url, {"post": "yes"}).status_code == status
    browser.post(LIST, {"action": "delete_selected", "_selected_action": [traded.pk], "post": "yes"})
    assert list(Strategy.objects.all()) == [traded]
    assert Operation.objects.exists()


def test_the_page_of_a_strategy_costs_the_same_with_both_legs() -> None:
    strategy = make_strategy()
    browser = browser_of()
    one = queries_of(lambda: browser.get(change_page(strategy)))
    Leg.objects.create(strategy=strategy, name="short", entry_interval="5m", close_interval="5m", size=1)
    assert queries_of(lambda: browser.get(change_page(strategy))) == one <= 12


def test_how_often_a_strategy_expects_an_alarm_is_a_choice_with_bounds() -> None:
    strategy = make_strategy()
    assert "Empty: silence is no news" in browser_of().get(change_page(strategy)).content.decode()
    for wrong in ("0", "600000", "often"):
        answer = browser_of("trader").post(change_page(strategy), edited(strategy, expects_alarm_every=wrong))
        assert "expects_alarm_every" in complaints(answer)
    for given, stored in (("90", 90), ("", None)):
        answer = browser_of("trader").post(change_page(strategy), edited(strategy, expects_alarm_every=given))
        assert answer.status_code == 302
        strategy.refresh_from_db()
        assert strategy.expects_alarm_every == stored
