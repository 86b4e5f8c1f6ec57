"""Balances and positions over the API: live, in one shape, several accounts at once, bounded in time."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from cryptography.fernet import Fernet

from exchange import bingx, survey
from exchange.connection import connect
from exchange.models import Account
from exchange.tests import recordings
from exchange.tests.scripted_server import SILENCE, Received, ScriptedServer, Step, answer, ok, refusal
from exchange.types import Market, OrderRequest, OrderType, PositionSide, Side
from pelusa.livesystem import free_port
from pelusa.testing import DATABASES, PaperExchange, make_account
from pelusa.tests.making import client_of

pytestmark = pytest.mark.django_db(databases=DATABASES)
BALANCES, POSITIONS = "/api/v1/balances/", "/api/v1/positions/"
WHOSE = {"account", "account_name", "environment", "market"}
BALANCE = {"asset", "balance", "equity", "available", "used_margin", "frozen", "unrealised_pnl", "realised_pnl"}
NET, CCXT, DOCS = recordings.bingx_net, recordings.ccxt, recordings.vendor_docs
RECORDED = {
    "/openApi/swap/v3/user/balance": CCXT("fetchBalance", "swap fetch balance"),
    "/openApi/cswap/v1/user/balance": DOCS("CoinBalances"),
    "/openApi/spot/v1/account/balance": CCXT("fetchBalance", "spot fetchBalance"),
    "/openApi/contract/v1/balance": DOCS("StandardBalances"),
    "/openApi/swap/v2/user/positions": CCXT("fetchPositions", "linear"),
    "/openApi/cswap/v1/user/positions": CCXT("fetchPositions", "inverse"),
    "/openApi/contract/v1/allPosition": DOCS("StandardPositions"),
}


@pytest.fixture(autouse=True)
def no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bingx, "READ_PAUSES", (0.01, 0.01))


@pytest.fixture
def live(settings: Any) -> Iterator[ScriptedServer]:
    """The address of real money is a scripted server that answers what was recorded."""
    with ScriptedServer(respond=lambda request: answer(RECORDED[request.path])) as server:
        point(settings, "live", server.url)
        yield server


def point(settings: Any, environment: str, url: str) -> None:
    settings.BINGX_URLS = settings.BINGX_URLS | {environment: url}
    settings.PACED_ENVIRONMENTS = ()


def an_account(name: str = "main", environment: str = "live", **columns: Any) -> Account:
    keys = {"api_key": f"key of {name}", "api_secret": f"secret of {name}"}
    return Account.objects.create(name=name, environment=environment, **keys | columns)


def ask(url: str, **query: Any) -> Any:
    found = client_of("viewer").get(url, query)
    assert found.status_code == 200, found.content
    return found.json()


def test_every_wallet_is_told_in_one_shape(live: ScriptedServer) -> None:
    account = an_account()
    told = ask(BALANCES, account=account.pk)
    assert told["failures"] == []
    assert {row["market"] for row in told["results"]} == {"usdtm", "coinm", "spot", "standard"}
    for row in told["results"]:
        assert row.keys() == WHOSE | BALANCE
        assert (row["account"], row["account_name"], row["environment"]) == (account.pk, "main", "live")
        assert all(isinstance(row[name], str) for name in BALANCE - {"realised_pnl"}), row
    by_market = {row["market"]: row for row in told["results"] if row["asset"] in ("USDT", "BTC")}
    assert by_market["usdtm"]["equity"] == "196.7431"
    assert by_market["coinm"]["balance"] == "0.14438227"
    assert (by_market["spot"]["available"], by_market["spot"]["frozen"]) == ("54.049459260000006", "5")
    assert by_market["standard"]["available"] == "23.72469206"


def test_every_position_is_told_in_one_shape(live: ScriptedServer) -> None:
    told = ask(POSITIONS, account=an_account().pk)
    assert [row["market"] for row in told["results"]] == ["usdtm", "coinm", "standard"]
    swap, coin, standard = told["results"]
    assert swap.keys() == coin.keys() == standard.keys()
    assert {name: swap[name] for name in ("symbol", "position_side", "side", "quantity", "avg_entry_price")} == {
        "symbol": "LTC-USDT",
        "position_side": "LONG",
        "side": "BUY",
        "quantity": "0.1",
        "avg_entry_price": "95.61",
    }
    assert (coin["symbol"], coin["liquidation_price"], coin["leverage"]) == ("SOL-USD", "23.968303426677032", 10)
    assert (standard["symbol"], standard["margin_mode"], standard["margin"]) == ("BTC-USDT", "ISOLATED", "2")


@pytest.mark.parametrize("kind", ["usdtm", "coinm", "spot", "standard"])
def test_one_wallet_alone_is_asked_when_it_is_named(live: ScriptedServer, kind: str) -> None:
    told = ask(BALANCES, account=an_account().pk, type=kind)
    assert {row["market"] for row in told["results"]} == {kind}
    assert len(live.received) == 1


def test_the_paper_exchange_tells_what_was_bought(paper: PaperExchange) -> None:
    account = make_account()
    rules = (Market.USDTM, "BTC-USDT", Side.BUY, PositionSide.LONG, OrderType.MARKET)
    connect(account).place_order(OrderRequest(*rules, Decimal("0.01"), "w1", datetime.now(UTC)))
    [position] = ask(POSITIONS, account=account.pk)["results"]
    assert (position["symbol"], position["side"], position["quantity"]) == ("BTC-USDT", "BUY", "0.01")
    told = ask(BALANCES, account=account.pk)
    assert told["failures"] == []
    assert {row["market"] for row in told["results"]} == {"usdtm", "coinm", "spot", "standard"}
    usdt = next(row for row in told["results"] if (row["market"], row["asset"]) == ("usdtm", "USDT"))
    assert Decimal(usdt["used_margin"]) > 0


def test_an_account_that_is_away_is_told_beside_the_others(live: ScriptedServer, settings: Any) -> None:
    point(settings, "paper", f"http://127.0.0.1:{free_port()}")
    there, away = an_account(), an_account("lost", "paper")
    told = ask(BALANCES, type="usdtm")
    assert [row["account"] for row in told["results"]] == [there.pk]
    [failure] = told["failures"]
    assert failure.keys() == WHOSE | {"code", "message"}
    assert (failure["account"], failure["account_name"], failure["market"]) == (away.pk, "lost", "usdtm")
    assert failure["code"] == "exchange_away"
    assert failure["message"].endswith(".")


def test_without_an_account_the_active_ones_are_asked_and_a_named_one_always(live: ScriptedServer) -> None:
    busy, idle = an_account(), an_account("idle", is_active=False)
    assert {row["account"] for row in ask(BALANCES)["results"]} == {busy.pk}
    assert {row["account"] for row in ask(BALANCES, account=idle.pk)["results"]} == {idle.pk}


def test_nobody_to_ask_is_an_empty_answer() -> None:
    told = ask(BALANCES)
    assert (told["results"], told["failures"]) == ([], [])


def test_a_demo_account_is_asked_for_the_only_wallet_that_the_demo_has(settings: Any) -> None:
    with ScriptedServer(respond=lambda request: answer(RECORDED[request.path])) as server:
        point(settings, "vst", server.url)
        told = ask(BALANCES, account=an_account("demo", "vst").pk)
    assert {row["market"] for row in told["results"]} == {"usdtm"}
    assert [request.path for request in server.received] == ["/openApi/swap/v3/user/balance"]


def test_a_wallet_that_the_demo_does_not_have_is_said_to_be_none(settings: Any) -> None:
    with ScriptedServer() as server:
        point(settings, "vst", server.url)
        account = an_account("demo", "vst")
        [failure] = ask(BALANCES, type="spot")["failures"]
        assert (failure["account"], failure["market"], failure["code"]) == (account.pk, "spot", "no_such_wallet")
        assert refused({"account": account.pk, "type": "coinm"})[:2] == (502, "no_such_wallet")
    assert not server.received


def refused(query: dict[str, Any]) -> tuple[int, str, str]:
    found = client_of("viewer").get(BALANCES, query)
    error = found.json()["error"]
    assert set(error) == {"code", "message", "fields", "request_id"}
    return found.status_code, error["code"], error["message"]


@pytest.mark.parametrize(
    ("step", "status", "code"),
    [
        (refusal(100413, "Incorrect apiKey"), 502, "exchange_refused"),
        (answer(b"<html>"), 503, "exchange_away"),
        (ok({"what": 1}), 502, "exchange_unreadable"),
        (answer({"code": 100500}, status=504), 503, "exchange_away"),
        (refusal(100410, "rate limited"), 503, "exchange_busy"),
    ],
)
def test_the_only_account_that_fails_is_the_answer(live: ScriptedServer, step: Step, status: int, code: str) -> None:
    live.respond = lambda request: step
    assert refused({"account": an_account().pk, "type": "usdtm"})[:2] == (status, code)


def test_the_exchange_s_own_code_and_words_are_told_and_no_key(live: ScriptedServer) -> None:
    live.respond = lambda request: refusal(100413, "Incorrect apiKey key of main")
    _, _, message = refused({"account": an_account().pk, "type": "usdtm"})
    assert "100413" in message
    assert "Incorrect apiKey" in message
    assert "key of main" not in message


def test_one_wallet_of_the_only_account_that_fails_stands_beside_the_others(live: ScriptedServer) -> None:
    def respond(request: Received) -> Step:
        return refusal(100004, "Permission denied") if "contract" in request.path else answer(RECORDED[request.path])

    live.respond = respond
    told = ask(BALANCES, account=an_account().pk)
    assert {row["market"] for row in told["results"]} == {"usdtm", "coinm", "spot"}
    [failure] = told["failures"]
    assert (failure["market"], failure["code"]) == ("standard", "exchange_refused")


def test_ten_silent_accounts_cost_the_time_of_one(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = ThreadPoolExecutor(4)
    monkeypatch.setattr(survey, "_threads", lambda process_id: pool)
    with ScriptedServer(respond=lambda request: SILENCE) as server:
        point(settings, "live", server.url)
        accounts = [an_account(f"number {number}") for number in range(10)]
        began = time.monotonic()
        found = survey.survey(accounts, list(Market), survey.ask_balances, patience=0.5)
        took = time.monotonic() - began
    pool.shutdown(wait=False, cancel_futures=True)
    assert took < 3
    assert found.answers == []
    assert [failure.code for failure in found.failures] == ["exchange_slow"] * 30
    assert not any(failure.is_final for failure in found.failures)


def test_who_is_slow_hides_no_one_who_answered(live: ScriptedServer, settings: Any) -> None:
    with ScriptedServer(respond=lambda request: SILENCE) as silent:
        point(settings, "paper", silent.url)
        accounts = [an_account("slow", "paper"), an_account()]
        found = survey.survey(accounts, [Market.USDTM], survey.ask_balances, patience=1.5)
    assert [account.name for account, *_ in found.answers] == ["main"]
    assert [(failure.account.name, failure.code) for failure in found.failures] == [("slow", "exchange_slow")]


@pytest.mark.parametrize(
    ("url", "query", "field"),
    [
        (BALANCES, {"type": "moon"}, "type"),
        (BALANCES, {"account": "main"}, "account"),
        (BALANCES, {"account": "0"}, "account"),
        (POSITIONS, {"type": "spot"}, "type"),
    ],
)
def test_what_cannot_be_asked_is_named(url: str, query: dict[str, str], field: str) -> None:
    found = client_of("viewer").get(url, query)
    assert found.status_code == 400
    assert list(found.json()["error"]["fields"]) == [field]


@pytest.mark.parametrize("url", [BALANCES, POSITIONS])
def test_an_account_that_there_is_not_is_404_and_a_stranger_401(url: str) -> None:
    assert client_of("viewer").get(url, {"account": 4711}).status_code == 404
    assert client_of("").get(url).status_code == 403
    assert client_of(None).get(url).status_code == 401
    assert client_of("operator").post(url, {}).status_code == 405


def test_an_account_without_a_key_and_one_that_no_key_opens_are_told_and_not_asked(
    live: ScriptedServer, settings: Any
) -> None:
    an_account("bare", api_key="", api_secret="")
    an_account("sealed")
    settings.FIELD_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    told = ask(BALANCES, type="usdtm")
    assert {each["account_name"]: each["code"] for each in told["failures"]} == {
        "bare": "no_credentials",
        "sealed": "wrong_key",
    }
    assert not live.received


def test_the_connections_are_kept_between_requests(live: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = ThreadPoolExecutor(1)
    monkeypatch.setattr(survey, "_threads", lambda process_id: pool)
    account = an_account()
    for _ in range(3):
        ask(BALANCES, account=account.pk)
    pool.shutdown()
    assert len(live.received) == 12
    assert live.connections == 1
