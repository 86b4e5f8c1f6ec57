"""An account's page: there at once; balances, positions and differences live; its curve; whether it can trade."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.urls import reverse
from django.utils import timezone

from exchange.connection import connect
from exchange.models import Account
from exchange.types import Market, OrderRequest, OrderType, PositionSide, Side
from operations.killswitch import pull
from operations.models import Lane, Operation, Order
from pelusa.audit.rows import AuditEntry
from pelusa.doctor import connection
from pelusa.livesystem import free_port
from pelusa.office import account as pages
from pelusa.testing import DATABASES, PaperExchange, list_instruments, make_account
from pelusa.tests.browsing import browser_of, page, queries_of
from pelusa.tests.making import make_account as make_stored
from pelusa.tests.making import make_equity, make_operation, make_strategy

pytestmark = pytest.mark.django_db(databases=DATABASES)


def part(name: str, account: Account, who: str = "operator") -> str:
    return page(browser_of(who), reverse(f"account_{name}", args=[account.pk]))


def trade(account: Account, quantity: str = "0.01") -> None:
    """Buy at the exchange without our books knowing."""
    wish = {"client_order_id": "by0hand", "side": Side.BUY, "position_side": PositionSide.LONG}
    order = {"order_type": OrderType.MARKET, "quantity": Decimal(quantity), "signed_at": timezone.now()}
    connect(account).place_order(OrderRequest(market=Market.USDTM, symbol="BTC-USDT", **wish, **order))  # type: ignore[arg-type]


@pytest.fixture
def account(paper: PaperExchange) -> Account:
    list_instruments()
    return make_account()


@pytest.fixture
def unreachable(settings: Any) -> Account:
    settings.BINGX_URLS = settings.BINGX_URLS | {"paper": f"http://127.0.0.1:{free_port()}"}
    return make_stored()


def test_the_page_is_there_without_asking_the_exchange(unreachable: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "survey", None)
    browser, url = browser_of("operator"), reverse("admin:exchange_account_change", args=[unreachable.pk])
    text = page(browser, url)
    for name in ("now", "exchange", "doctor"):
        assert f'data-live="{reverse(f"account_{name}", args=[unreachable.pk])}"' in text
    assert queries_of(lambda: page(browser, url)) <= 28


def test_balances_positions_and_both_numbers_come_from_the_exchange(account: Account) -> None:
    strategy = make_strategy(account)
    make_operation(strategy, quantity=Decimal("0.03"), held_quantity=Decimal("0.03"))
    trade(account)
    text = part("exchange", account)
    assert "USDT-M perpetual" in text
    assert "USDT</b>" in text
    assert "0.01 @ " in text
    assert "ours 0.03 · theirs 0.01" in text
    assert "they differ" in text
    assert "Not told" not in text


def test_looking_changes_nothing_of_the_books(account: Account) -> None:
    operation = make_operation(make_strategy(account))
    lane = Lane.objects.create(account=account, market="usdtm", symbol="BTC-USDT")
    before = [list(model.objects.values()) for model in (Operation, Order, Lane)]
    for _ in range(2):
        assert "they differ" in part("exchange", account)
    assert [list(model.objects.values()) for model in (Operation, Order, Lane)] == before
    assert not Lane.objects.get(pk=lane.pk).frozen_facts
    assert Operation.objects.get(pk=operation.pk).status == "open"


def test_an_order_on_its_way_makes_no_difference_certain(account: Account) -> None:
    operation = make_operation(make_strategy(account))
    lane = Lane.objects.create(account=account, market="usdtm", symbol="BTC-USDT")
    sent = {"status": "submitted", "submitted_at": timezone.now(), "quantity": 1}
    Order.objects.create(lane=lane, operation=operation, role="EXIT", side="SELL", position_side="LONG", **sent)
    text = part("exchange", account)
    assert "in motion" in text
    assert "they differ" not in text


def test_what_did_not_answer_is_named_and_nothing_is_said_to_agree(unreachable: Account) -> None:
    make_operation(make_strategy(unreachable))
    text = part("exchange", unreachable)
    assert "Not told" in text
    for name in ("USDT-M perpetual", "Spot", "COIN-M perpetual"):
        assert f"<b>{name}</b>" in text
    assert "USDT-M perpetual: not compared" in text
    assert "Neither holds anything" not in text
    assert "There is no position" not in text


def test_a_lost_key_leaves_every_part_readable(account: Account, settings: Any) -> None:
    settings.FIELD_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    assert "give both again" in part("exchange", account)
    assert "FIELD_ENCRYPTION_KEYS does not open" in part("doctor", account)
    assert "Nothing is held" in part("now", account)


def test_the_account_says_what_stops_it(account: Account) -> None:
    lane = Lane.objects.create(account=account, market="usdtm", symbol="BTC-USDT", frozen_at=timezone.now())
    facts = {"symbol": "BTC-USDT", "side": "LONG", "ours": "1", "theirs": "2"}
    Lane.objects.filter(pk=lane.pk).update(frozen_reason="books_differ", frozen_facts=facts)
    pull(account, "maria", "odd fills")
    text = part("now", account)
    assert "odd fills" in text
    assert "This account&#x27;s kill switch is on" in text or "This account's kill switch is on" in text
    assert "Frozen: no entries there" in text
    assert "BTC-USDT" in text


def test_another_accounts_matters_are_not_shown(account: Account) -> None:
    other = make_stored("other")
    make_operation(make_strategy(other, name="theirs"))
    pull(other, "maria", "not mine")
    text = part("now", account)
    assert "theirs" not in text
    assert "not mine" not in text


def test_the_doctor_looks_at_this_account_alone(account: Account) -> None:
    make_stored("other")
    text = part("doctor", account)
    assert "clock is" in text
    assert "account other" not in text


def told(account: Account, span: str) -> dict[str, Any]:
    answer = browser_of("viewer").get(reverse("account_equity", args=[account.pk]), {"span": span})
    assert answer.status_code == 200
    return dict(answer.json())


def test_the_curve_is_of_the_span_that_was_asked_for() -> None:
    account, now = make_stored(), timezone.now()
    for days, equity in ((100, "900"), (20, "1000"), (3, "1100"), (0.5, "1110"), (0, "1105.5")):
        make_equity(account, now - timedelta(days=days), equity)
    found = {span: told(account, span) for span in pages.SPANS}
    assert {span: len(each["points"]) for span, each in found.items()} == {"day": 2, "week": 3, "month": 4, "all": 5}
    assert found["all"]["points"][-1][1] == "1105.5"
    assert found["day"]["words"].startswith("-4.50 USDT since")
    assert (found["day"]["tone"], found["all"]["tone"]) == ("loss", "gain")


def test_a_curve_of_nothing_says_so_and_another_span_is_not_there() -> None:
    account = make_stored()
    assert told(account, "day")["points"] == []
    assert "Nothing is noted yet" in told(account, "day")["words"]
    answer = browser_of().get(reverse("account_equity", args=[account.pk]), {"span": "decade"})
    assert answer.status_code == 404


def try_it(account: Account, who: str = "trader") -> str:
    answer = browser_of(who).post(reverse("account_test", args=[account.pk]))
    assert answer.status_code == 200
    return answer.content.decode()


def test_a_good_connection_says_how_fast_it_is_and_what_the_key_may(account: Account) -> None:
    text = try_it(account)
    assert text.count(" ms</small>") == 3
    assert "may not withdraw" in text
    assert "It may: trade spot, read, trade perpetuals." in text
    assert "It is in hedge mode" in text
    assert account.api_key not in text
    assert account.api_secret not in text
    entry = AuditEntry.objects.get(act="connection_tested")
    assert entry.object_id == str(account.pk)
    assert entry.who.startswith("trader")


def test_a_wrong_key_is_said_to_be_wrong_and_not_shown(account: Account) -> None:
    account.api_key = "no-such-key-4711-wxyz"
    account.save(update_fields=["api_key"])
    text = try_it(account)
    assert "Make a key at BingX that may read and trade" in text
    assert "4711" not in text


def test_no_key_and_no_exchange_are_said(unreachable: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "SECONDS", 2.0)
    assert "The exchange does not answer" in try_it(unreachable)
    Account.objects.update(api_key="", api_secret="")
    assert "The account has no API key" in try_it(unreachable)


def test_a_link_tests_nothing() -> None:
    account = make_stored()
    assert browser_of().get(reverse("account_test", args=[account.pk])).status_code == 405
    assert not AuditEntry.objects.filter(act="connection_tested").exists()


MAY = {
    "account_now": {"viewer", "trader", "operator"},
    "account_equity": {"viewer", "trader", "operator"},
    "account_doctor": {"trader", "operator"},
    "account_test": {"trader", "operator"},
}


@pytest.mark.parametrize("who", ["", "viewer", "trader", "operator"])
def test_each_role_reaches_what_the_table_says(who: str, account: Account) -> None:
    browser = browser_of(who)
    for name, whom in MAY.items():
        url = reverse(name, args=[account.pk])
        answer = browser.post(url) if name == "account_test" else browser.get(url)
        assert answer.status_code == (200 if who in whom else 403), name
    assert browser_of().get(reverse("account_now", args=[account.pk + 99])).status_code == 404


def test_what_our_rows_say_costs_the_same_however_much_is_held() -> None:
    strategy = make_strategy(make_stored())
    browser, url = browser_of("operator"), reverse("account_now", args=[strategy.account_id])
    make_operation(strategy)
    before = queries_of(lambda: page(browser, url))
    for number in range(20):
        make_operation(strategy, symbol=f"C{number}-USDT")
    assert queries_of(lambda: page(browser, url)) == before <= 12
