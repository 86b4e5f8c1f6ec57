"""What an account shows beside its trading, and how a control address makes it what a test wants it to be."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from exchange.bingx import BingX, KeyPermission
from exchange.paper.calls import Call
from exchange.paper.refusals import Refusal
from exchange.paper.routes import ENDPOINTS
from exchange.paper.testing import Caller, running
from exchange.paper.venue import Venue, now_ms
from exchange.types import MarginMode, Market, PositionMode

DAY = 86_400_000
D = Decimal


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with running(Venue()) as port:
        yield port


@pytest.fixture
def caller(port: int) -> Iterator[Caller]:
    caller = Caller(port)
    caller.control("POST", "/reset")
    preset(caller)
    caller.control("POST", "/prices", **{"BTC-USDT": "50000"})
    yield caller
    caller.close()


@pytest.fixture
def client(port: int, caller: Caller) -> Iterator[BingX]:
    client = BingX(base_url=f"http://127.0.0.1:{port}", key="paper-key", secret="paper-secret")
    yield client
    client.close()


def preset(caller: Caller, **wanted: Any) -> Any:
    return caller.control("POST", "/accounts", key="paper-key", secret="paper-secret", **wanted)


def spot_and_fund(caller: Caller) -> dict[str, str]:
    fund = caller.data("GET", "/fund/v1/account/balance")["assets"]
    spot = caller.data("GET", "/spot/v1/account/balance")["balances"]
    return {f"fund:{row['asset']}": row["free"] for row in fund} | {f"spot:{row['asset']}": row["free"] for row in spot}


# Wallets


def test_wallets_of_every_account_can_be_preset_and_others_stay(caller: Caller, client: BingX) -> None:
    preset(
        caller, balances={"usdtm:USDT": "12.5", "coinm:BTC": "0.3", "spot:ETH": 7, "fund:USDT": "99", "spot:BTC": None}
    )
    held = spot_and_fund(caller)
    assert (D(held["fund:USDT"]), held["spot:ETH"], held["spot:BTC"], held["spot:USDT"]) == (99, "7", "0", "100000")
    assert {each.asset: each.balance for each in client.balances(Market.USDTM)}["USDT"] == D("12.5")
    assert {each.asset: each.balance for each in client.balances(Market.COINM)}["BTC"] == D("0.3")


def test_the_funding_account_is_empty_at_first_and_shows_twenty_decimals(caller: Caller) -> None:
    rows = caller.data("GET", "/fund/v1/account/balance")["assets"]
    assert {row["free"] for row in rows} == {"0." + "0" * 20}
    assert [row["asset"] for row in caller.data("GET", "/fund/v1/account/balance", asset="ETH")["assets"]] == ["ETH"]


def test_all_accounts_together_are_worth_their_money(caller: Caller) -> None:
    nothing = dict.fromkeys(("coinm:BTC", "coinm:ETH", "coinm:SOL", "spot:ETH", "spot:SOL"), None)
    preset(
        caller, balances=nothing | {"usdtm:USDT": 1000, "spot:USDT": 5, "spot:BTC": 2, "fund:USDT": 1, "coinm:BTC": 1}
    )
    rows = caller.data("GET", "/account/v1/allAccountBalance")["result"]
    assert {row["accountType"]: D(row["usdtBalance"]) for row in rows} == {
        "sopt": 100_006,
        "USDTMPerp": 1000,
        "coinMPerp": 50_000,
    }
    [one] = caller.data("GET", "/account/v1/allAccountBalance", accountType="spot")["result"]
    assert one["accountType"] == "sopt"


def test_a_transfer_is_an_income_that_is_no_profit(caller: Caller) -> None:
    moved = {"asset": "USDT", "amount": 40}
    caller.call("POST", "/api/asset/v1/transfer", fromAccount="spot", toAccount="USDTMPerp", **moved)
    caller.call("POST", "/api/asset/v1/transfer", fromAccount="USDTMPerp", toAccount="fund", **moved)
    rows = caller.data("GET", "/swap/v2/user/income")
    assert [(row["incomeType"], row["income"]) for row in rows] == [("TRANSFER", "-40.0000"), ("TRANSFER", "40.0000")]
    assert D(spot_and_fund(caller)["fund:USDT"]) == 40
    too_much = {"asset": "USDT", "amount": 41, "fromAccount": "fund", "toAccount": "spot"}
    assert "transferErrorMsg" in caller.call("POST", "/api/asset/v1/transfer", **too_much)


# Incomes


def test_trades_write_their_fee_and_their_profit_as_incomes(caller: Caller) -> None:
    caller.order()
    caller.control("POST", "/prices", **{"BTC-USDT": "51000"})
    caller.order(side="SELL")
    rows = caller.data("GET", "/swap/v2/user/income", symbol="BTC-USDT")
    assert sorted((row["incomeType"], D(row["income"])) for row in rows) == [
        ("REALIZED_PNL", D(10)),
        ("TRADING_FEE", D("-0.255")),
        ("TRADING_FEE", D("-0.25")),
    ]
    assert [row["incomeType"] for row in caller.data("GET", "/swap/v2/user/income", incomeType="REALIZED_PNL")] == [
        "REALIZED_PNL"
    ]


def test_incomes_of_the_past_can_be_written_and_are_kept_for_three_months(caller: Caller) -> None:
    now = int(time.time() * 1000)
    past = [
        {"incomeType": "FUNDING_FEE", "income": "-0.5", "symbol": "BTC-USDT", "time": now - days * DAY}
        for days in (100, 60, 8, 1)
    ]
    caller.control("POST", "/incomes", key="paper-key", incomes=past)

    def ages(**asked: Any) -> list[int]:
        return [round((now - row["time"]) / DAY) for row in caller.data("GET", "/swap/v2/user/income", **asked)]

    assert ages() == [1], "without times the last seven days"
    assert ages(startTime=now - 200 * DAY) == [1, 8, 60]
    assert ages(startTime=now - 200 * DAY, limit=2) == [1, 8], "the newest are kept"
    assert ages(startTime=now - 70 * DAY, endTime=now - 5 * DAY) == [8, 60]
    assert caller.call("GET", "/swap/v2/user/income", limit=1001)["code"] == 109400
    assert caller.data("GET", "/swap/v3/user/balance")[0]["balance"] == "100000.0000"


def test_incomes_that_are_credited_move_the_wallet(caller: Caller) -> None:
    caller.control(
        "POST", "/incomes", key="paper-key", incomes=[{"incomeType": "FUNDING_FEE", "income": "-3"}], credit=True
    )
    assert caller.data("GET", "/swap/v3/user/balance")[0]["balance"] == "99997.0000"


# The key


def test_what_a_key_may_do_can_be_changed(caller: Caller, client: BingX) -> None:
    assert client.permissions() == {1, 2, 3}
    preset(caller, permissions=[2, 5])
    assert client.permissions() == {KeyPermission.READ, KeyPermission.WITHDRAW}
    assert caller.order()["code"] == 100004
    assert caller.call("POST", "/swap/v2/trade/leverage", symbol="BTC-USDT", side="LONG", leverage=5)["code"] == 100004


def test_a_key_may_be_bound_to_addresses(caller: Caller) -> None:
    preset(caller, ip_addresses=["192.0.2.1"])
    assert caller.call("GET", "/v1/account/apiPermissions")["code"] == 100419
    preset(caller, ip_addresses=["192.0.2.1", "127.0.0.1"])
    assert caller.call("GET", "/v1/account/apiPermissions")["ipAddresses"] == ["192.0.2.1", "127.0.0.1"]


@pytest.mark.parametrize("offset", [-20_000, 20_000])
def test_the_exchange_s_clock_may_be_wrong(caller: Caller, client: BingX, offset: int) -> None:
    assert abs(client.measure_clock()) < timedelta(seconds=2)
    caller.control("POST", "/faults", clock_offset_ms=offset)
    assert caller.order()["code"] == 100421
    assert abs(client.server_time() - datetime.now(UTC) - timedelta(milliseconds=offset)) < timedelta(seconds=2)
    assert client.balances(Market.USDTM), "a reader measures the clock and asks again"
    newest = caller.public("/swap/v3/quote/klines", symbol="BTC-USDT", interval="1m", limit=1)["data"][0]["time"]
    assert 0 <= time.time() * 1000 + offset - newest < 62_000
    caller.control("DELETE", "/faults")
    assert caller.order()["code"] == 0


# What it has chosen


def test_modes_and_leverages_can_be_preset(caller: Caller, client: BingX) -> None:
    preset(
        caller,
        position_mode="one_way",
        leverages={"usdtm:BTC-USDT:BOTH": 7, "coinm:BTC-USD:BOTH": 3},
        margin_modes={"usdtm:BTC-USDT": "ISOLATED", "coinm:BTC-USD": "ISOLATED"},
    )
    assert client.position_mode() is PositionMode.ONE_WAY
    for market, symbol, leverage in ((Market.USDTM, "BTC-USDT", 7), (Market.COINM, "BTC-USD", 3)):
        assert client.leverage(market, symbol).long_leverage == leverage
        assert client.margin_mode(market, symbol) is MarginMode.ISOLATED
    assert client.leverage(Market.USDTM, "ETH-USDT").long_leverage == 20
    preset(caller, position_mode="hedge")
    assert client.position_mode() is PositionMode.HEDGE


@pytest.mark.parametrize(
    "wrong",
    [
        {"balances": {"bank:USDT": 1}},
        {"balances": {"spot:USDT": -1}},
        {"position_mode": "both"},
        {"leverages": {"usdtm:BTC-USDT:LONG": 126}},
        {"leverages": {"usdtm:NOPE-USDT:LONG": 5}},
        {"leverages": {"spot:BTC-USDT:LONG": 5}},
        {"margin_modes": {"usdtm:BTC-USDT": "NONE"}},
        {"standard": {"money": []}},
        {"standard": {"orders": [1]}},
        {"permissions": 5},
        {"secrets": 1},
    ],
)
def test_a_wrong_preset_is_refused_and_changes_nothing(caller: Caller, wrong: dict[str, Any]) -> None:
    assert "error" in preset(caller, **{"permissions": [5]} | wrong)
    assert caller.last_status == 400
    assert caller.call("GET", "/v1/account/apiPermissions")["permissions"] == [1, 2, 3]


# The standard contract


def test_the_standard_contract_is_empty_at_first(caller: Caller) -> None:
    [wallet] = caller.data("GET", "/contract/v1/balance")
    assert (wallet["asset"], D(wallet["balance"])) == ("USDT", 0)
    assert caller.data("GET", "/contract/v1/allPosition") == []
    assert caller.data("GET", "/contract/v1/allOrders", symbol="BTC-USDT") == []
    assert caller.call("GET", "/contract/v1/allOrders")["code"] == 109400


def test_the_standard_contract_shows_what_it_was_given(caller: Caller) -> None:
    position = {"symbol": "ETH/USDT", "positionAmt": 1.5, "entryPrice": 3000, "positionSide": "SHORT"}
    orders = [{"orderId": 7, "symbol": "ETH-USDT", "time": 1000}, {"orderId": 8, "symbol": "BTC-USDT", "time": 2000}]
    preset(
        caller, standard={"balances": [{"asset": "USDT", "balance": "12"}], "positions": [position], "orders": orders}
    )
    [wallet] = caller.data("GET", "/contract/v1/balance")
    [held] = caller.data("GET", "/contract/v1/allPosition")
    assert (wallet["balance"], held["positionAmt"], held["positionSide"]) == ("12", D("1.5"), "SHORT")
    for asked, ids in (({"symbol": "ETH-USDT"}, [7]), ({"symbol": "BTC-USDT", "startTime": 2001}, [])):
        assert [row["orderId"] for row in caller.data("GET", "/contract/v1/allOrders", **asked)] == ids


def test_presets_survive_a_restart(tmp_path: Any) -> None:
    state = str(tmp_path / "books.sqlite3")
    for is_first in (True, False):
        venue = Venue(state=state)
        with running(venue) as port:
            caller = Caller(port)
            if is_first:
                preset(caller, standard={"positions": [{"positionAmt": 2}]}, balances={"fund:USDT": "4.5"})
            assert caller.data("GET", "/contract/v1/allPosition")[0]["positionAmt"] == 2
            assert D(spot_and_fund(caller)["fund:USDT"]) == D("4.5")


# The dead man's switch


@pytest.mark.parametrize(("product", "market"), [("swap/v2", Market.USDTM), ("spot/v1", Market.SPOT)])
def test_everything_is_cancelled_when_the_countdown_ends_unless_it_was_stopped(product: str, market: Market) -> None:
    clock = [now_ms()]
    venue = Venue(clock_ms=lambda: clock[0])
    account = venue.register("paper-key", "paper-secret")
    venue.pin("BTC-USDT", D(50_000))

    def post(address: str, **params: str) -> Any:
        handler = ENDPOINTS["POST", f"/openApi/{product}/trade/{address}"].handler
        return handler(Call(venue, params, clock[0], account))["data"]

    def is_open_after(seconds: int) -> bool:
        clock[0] += seconds * 1000
        venue.sweep()
        return bool(venue.ledger.open_orders_of("paper-key", market))

    resting = {"symbol": "BTC-USDT", "side": "BUY", "type": "LIMIT", "price": "40000", "quantity": "0.01"}
    post("order", positionSide="LONG", **resting)
    told = post("cancelAllAfter", type="ACTIVATE", timeOut="10")
    assert (told["status"], told["triggerTime"]) == ("ACTIVATED", clock[0] // 1000 + 10)
    assert post("cancelAllAfter", type="CLOSE")["status"] == "CLOSED"
    assert is_open_after(11)
    post("cancelAllAfter", type="ACTIVATE", timeOut="10")
    assert is_open_after(9)
    post("cancelAllAfter", type="ACTIVATE", timeOut="10")
    assert is_open_after(9)
    assert not is_open_after(2)
    with pytest.raises(Refusal):
        post("cancelAllAfter", type="ACTIVATE", timeOut="9")
