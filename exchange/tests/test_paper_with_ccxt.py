"""An independent client trades on the paper exchange: ccxt's own BingX class is the judge."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from typing import Any

import ccxt
import pytest

from exchange.paper.testing import Caller, running
from exchange.paper.venue import Venue

BTC = "BTC/USDT:USDT"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    venue = Venue(seed=7)
    with running(venue) as port:
        yield port


@pytest.fixture
def caller(port: int) -> Iterator[Caller]:
    caller = Caller(port)
    caller.control("POST", "/reset")
    caller.control("POST", "/accounts", key="paper-key", secret="paper-secret")
    caller.control("POST", "/prices", **{"BTC-USDT": "50000", "BTC-USD": "50000"})
    yield caller
    caller.close()


@pytest.fixture
def bingx(port: int, caller: Caller) -> Iterator[Any]:
    client = ccxt.bingx(
        {"apiKey": "paper-key", "secret": "paper-secret", "enableRateLimit": False, "options": {"defaultType": "swap"}}
    )
    client.urls["api"] = dict.fromkeys(client.urls["api"], f"http://127.0.0.1:{port}/openApi")
    client.load_markets()
    yield client
    client.session.close()


def buy(bingx: Any, amount: float = 0.01, **params: Any) -> Any:
    return bingx.create_order(BTC, "market", "buy", amount, None, {"positionSide": "LONG"} | params)


def test_markets_carry_the_exchange_s_precisions(bingx: Any) -> None:
    market = bingx.market(BTC)
    assert market["linear"]
    assert market["active"]
    assert (market["precision"]["amount"], market["precision"]["price"]) == (0.0001, 0.1)
    assert market["limits"]["cost"]["min"] == 2
    assert {"ETH/USDT:USDT", "1000PEPE/USDT:USDT", "ETH/USDC:USDC", "BTC/USD:BTC", "BTC/USDT"} <= set(bingx.markets)


def test_time_and_prices(bingx: Any) -> None:
    assert abs(bingx.fetch_time() - bingx.milliseconds()) < 2000
    assert bingx.fetch_ticker(BTC)["last"] == 50000
    assert bingx.fetch_mark_price(BTC)["markPrice"] == 50000
    book = bingx.fetch_order_book(BTC, 5)
    assert book["bids"][0][0] < book["asks"][0][0]
    assert bingx.fetch_funding_rate(BTC)["fundingRate"] == 0.0001


def test_the_balance_is_paper_money(bingx: Any) -> None:
    balance = bingx.fetch_balance()
    assert balance["USDT"]["total"] == 100000
    assert balance["USDT"]["free"] == 100000


def test_a_market_order_in_hedge_mode_fills_at_once(bingx: Any) -> None:
    order = buy(bingx, clientOrderId="MyOrder-1")
    assert order["status"] == "closed"
    assert (order["average"], order["filled"]) == (50000, 0.01)
    [position] = bingx.fetch_positions([BTC])
    assert (position["side"], position["contracts"], position["entryPrice"]) == ("long", 0.01, 50000)


def test_an_order_is_found_by_both_ids(bingx: Any) -> None:
    placed = buy(bingx, clientOrderId="MyOrder-2")
    by_id = bingx.fetch_order(placed["id"], BTC)
    by_client = bingx.fetch_order("", BTC, {"clientOrderId": "myorder-2"})
    assert by_id["id"] == by_client["id"] == placed["id"]
    assert by_id["clientOrderId"] == "myorder-2"
    assert by_id["fee"]["cost"] == 0.25


def test_a_limit_order_rests_and_is_cancelled(bingx: Any) -> None:
    order = bingx.create_order(BTC, "limit", "buy", 0.01, 40000, {"positionSide": "LONG"})
    assert [each["id"] for each in bingx.fetch_open_orders(BTC)] == [order["id"]]
    assert bingx.cancel_order(order["id"], BTC)["status"] == "canceled"
    assert bingx.fetch_open_orders(BTC) == []
    assert bingx.fetch_order(order["id"], BTC)["status"] == "canceled"
    with pytest.raises(ccxt.ExchangeError):
        bingx.cancel_order(order["id"], BTC)


def test_an_unknown_order_is_not_found(bingx: Any) -> None:
    with pytest.raises(ccxt.OrderNotFound):
        bingx.fetch_order("1735950529123455000", BTC)


def test_attached_stops_become_orders_of_their_own(bingx: Any, caller: Caller) -> None:
    buy(bingx, stopLoss={"triggerPrice": 49000}, takeProfit={"triggerPrice": 52000})
    stops = bingx.fetch_open_orders(BTC)
    assert [(each["side"], each["amount"]) for each in stops] == [("sell", 0.01), ("sell", 0.01)]
    assert {each["stopLossPrice"] or each["takeProfitPrice"] for each in stops} == {49000, 52000}
    caller.control("POST", "/prices", **{"BTC-USDT": "48900"})
    assert bingx.fetch_positions([BTC]) == []
    assert bingx.fetch_open_orders(BTC) == []


def test_a_stop_order_fires_when_the_price_crosses(bingx: Any, caller: Caller) -> None:
    buy(bingx)
    stop = bingx.create_order(BTC, "market", "sell", 0.01, None, {"positionSide": "LONG", "stopLossPrice": 49500})
    assert bingx.fetch_order(stop["id"], BTC)["status"] == "open"
    caller.control("POST", "/prices", **{"BTC-USDT": "49400"})
    fired = bingx.fetch_order(stop["id"], BTC)
    assert (fired["status"], fired["average"]) == ("closed", 49400)
    assert bingx.fetch_positions([BTC]) == []


def test_my_trades(bingx: Any) -> None:
    order = buy(bingx)
    [trade] = bingx.fetch_my_trades(BTC, params={"tradingUnit": "COIN"})
    assert (trade["order"], trade["price"], trade["amount"], trade["fee"]["cost"]) == (order["id"], 50000, 0.01, 0.25)


def test_leverage_margin_mode_and_position_mode(bingx: Any) -> None:
    bingx.set_leverage(7, BTC, {"side": "LONG"})
    bingx.set_leverage(9, BTC, {"side": "SHORT"})
    leverage = bingx.fetch_leverage(BTC)
    assert (leverage["longLeverage"], leverage["shortLeverage"]) == (7, 9)
    bingx.set_margin_mode("isolated", BTC)
    assert bingx.fetch_margin_mode(BTC)["marginMode"] == "isolated"
    assert bingx.fetch_position_mode()["hedged"] is True
    bingx.set_position_mode(False)
    assert bingx.fetch_position_mode()["hedged"] is False


def test_one_way_orders_reduce_and_flip(bingx: Any) -> None:
    bingx.set_position_mode(False)
    bingx.create_order(BTC, "market", "buy", 0.02)
    bingx.create_order(BTC, "market", "sell", 0.01, None, {"reduceOnly": True})
    [position] = bingx.fetch_positions([BTC])
    assert (position["side"], position["contracts"]) == ("long", 0.01)
    bingx.create_order(BTC, "market", "sell", 0.03)
    [position] = bingx.fetch_positions([BTC])
    assert (position["side"], position["contracts"]) == ("short", 0.02)


def test_closed_orders_and_position_history(bingx: Any, caller: Caller) -> None:
    buy(bingx)
    caller.control("POST", "/prices", **{"BTC-USDT": "51000"})
    bingx.create_order(BTC, "market", "sell", 0.01, None, {"positionSide": "LONG"})
    assert {each["side"] for each in bingx.fetch_closed_orders(BTC)} == {"buy", "sell"}
    [past] = bingx.fetch_position_history(BTC)
    assert past["realizedPnl"] == 10
    assert bingx.fetch_balance()["USDT"]["total"] == float(Decimal(100_010) - Decimal("0.25") - Decimal("0.255"))


def test_close_all_positions(bingx: Any) -> None:
    buy(bingx)
    bingx.create_order(BTC, "market", "sell", 0.02, None, {"positionSide": "SHORT"})
    assert len(bingx.fetch_positions([BTC])) == 2
    bingx.close_all_positions()
    assert bingx.fetch_positions([BTC]) == []


def test_candles_are_paged_without_holes(bingx: Any) -> None:
    since = bingx.parse8601("2024-03-01T00:00:00Z")
    rows = bingx.fetch_ohlcv(BTC, "1h", since, 500, {"until": since + 500 * 3_600_000})
    assert len(rows) == 500
    assert rows[0][0] == since
    assert all(after[0] - before[0] == 3_600_000 for before, after in pairwise(rows))


def test_a_batch_is_placed_and_cancelled(bingx: Any) -> None:
    orders = bingx.create_orders(
        [
            {
                "symbol": BTC,
                "type": "limit",
                "side": "buy",
                "amount": 0.01,
                "price": price,
                "params": {"positionSide": "LONG"},
            }
            for price in (40000, 41000)
        ]
    )
    assert len(bingx.fetch_open_orders(BTC)) == 2
    bingx.cancel_orders([each["id"] for each in orders], BTC)
    assert bingx.fetch_open_orders(BTC) == []


def test_cancel_all(bingx: Any) -> None:
    for price in (40000, 41000, 42000):
        bingx.create_order(BTC, "limit", "buy", 0.01, price, {"positionSide": "LONG"})
    bingx.cancel_all_orders(BTC)
    assert bingx.fetch_open_orders(BTC) == []


def test_refusals_arrive_as_ccxt_s_own_errors(bingx: Any) -> None:
    with pytest.raises(ccxt.InsufficientFunds):
        buy(bingx, 1000)
    with pytest.raises(ccxt.InvalidOrder):
        bingx.create_order(BTC, "market", "sell", 0.01, None, {"positionSide": "LONG"})
    wrong = ccxt.bingx({"apiKey": "paper-key", "secret": "wrong", "options": {"defaultType": "swap"}})
    wrong.urls["api"] = bingx.urls["api"]
    with contextlib.closing(wrong.session), pytest.raises(ccxt.AuthenticationError):
        wrong.fetch_balance()


def test_a_transfer_moves_paper_money(bingx: Any) -> None:
    bingx.transfer("USDT", 1000, "spot", "swap")
    assert bingx.fetch_balance()["USDT"]["total"] == 101000
    assert bingx.fetch_balance({"type": "spot"})["USDT"]["total"] == 99000


def test_edit_order_cancels_and_replaces(bingx: Any) -> None:
    order = bingx.create_order(BTC, "limit", "buy", 0.01, 40000, {"positionSide": "LONG"})
    bingx.edit_order(order["id"], BTC, "limit", "buy", 0.02, 41000, {"positionSide": "LONG"})
    assert [(each["amount"], each["price"]) for each in bingx.fetch_open_orders(BTC)] == [(0.02, 41000)]


SPOT = "BTC/USDT"


def test_spot_market_orders_by_base_and_by_quote(bingx: Any) -> None:
    bought = bingx.create_order(SPOT, "market", "buy", 0.01)
    assert (bought["status"], bought["filled"], bought["average"]) == ("closed", 0.01, 50000)
    bingx.create_market_buy_order_with_cost(SPOT, 100)
    balance = bingx.fetch_balance({"type": "spot"})
    assert balance["USDT"]["total"] == 100000 - 500 - 100
    assert balance["BTC"]["total"] == pytest.approx(1 + (0.01 + 0.002) * 0.999)


def test_spot_limit_order_locks_money_until_cancelled(bingx: Any) -> None:
    order = bingx.create_order(SPOT, "limit", "buy", 0.1, 40000, {"clientOrderId": "spot_1"})
    balance = bingx.fetch_balance({"type": "spot"})
    assert (balance["USDT"]["free"], balance["USDT"]["used"]) == (96000, 4000)
    assert bingx.fetch_order(order["id"], SPOT)["status"] == "open"
    assert [each["id"] for each in bingx.fetch_open_orders(SPOT)] == [order["id"]]
    bingx.cancel_order(order["id"], SPOT)
    assert bingx.fetch_order(order["id"], SPOT)["status"] == "canceled"
    assert bingx.fetch_balance({"type": "spot"})["USDT"]["free"] == 100000


def test_spot_limit_order_fills_when_the_price_comes(bingx: Any, caller: Caller) -> None:
    order = bingx.create_order(SPOT, "limit", "sell", 0.1, 51000)
    caller.control("POST", "/prices", **{"BTC-USDT": "51500"})
    filled = bingx.fetch_order(order["id"], SPOT)
    assert (filled["status"], filled["average"], filled["fee"]["currency"]) == ("closed", 51000, "USDT")
    [trade] = bingx.fetch_my_trades(SPOT)
    assert (trade["order"], trade["amount"], trade["fee"]["cost"]) == (order["id"], 0.1, 5.1)


def test_spot_stop_order_fires(bingx: Any, caller: Caller) -> None:
    order = bingx.create_order(SPOT, "market", "sell", 0.1, None, {"stopLossPrice": 49000})
    assert bingx.fetch_order(order["id"], SPOT)["status"] == "open"
    caller.control("POST", "/prices", **{"BTC-USDT": "48900"})
    assert bingx.fetch_order(order["id"], SPOT)["average"] == 48900


def test_spot_without_money_is_refused(bingx: Any) -> None:
    with pytest.raises(ccxt.InsufficientFunds):
        bingx.create_order(SPOT, "market", "buy", 10)


def test_spot_candles_and_closed_orders(bingx: Any) -> None:
    since = bingx.parse8601("2024-03-01T00:00:00Z")
    rows = bingx.fetch_ohlcv(SPOT, "1d", since, 20, {"until": since + 20 * 86_400_000})
    assert [row[0] for row in rows] == [since + day * 86_400_000 for day in range(20)]
    bingx.create_order(SPOT, "market", "buy", 0.01)
    assert [each["filled"] for each in bingx.fetch_closed_orders(SPOT)] == [0.01]


COIN = "BTC/USD:BTC"


def coin_buy(bingx: Any, contracts: int = 5, **params: Any) -> Any:
    return bingx.create_order(COIN, "market", "buy", contracts, None, {"positionSide": "LONG"} | params)


def test_coin_margined_orders_count_contracts(bingx: Any) -> None:
    assert bingx.market(COIN)["contractSize"] == 100
    order = coin_buy(bingx)
    found = bingx.fetch_order(order["id"], COIN)
    assert (found["status"], found["average"], found["filled"]) == ("closed", 50000, 5)
    [position] = bingx.fetch_positions([COIN], {"subType": "inverse"})
    assert (position["side"], position["contracts"], position["entryPrice"]) == ("long", 5, 50000)
    [trade] = bingx.fetch_my_trades(COIN, params={"orderId": order["id"]})
    assert (trade["price"], trade["fee"]["currency"], trade["fee"]["cost"]) == (50000, "BTC", 0.000005)


def test_coin_margined_profit_is_paid_in_the_coin(bingx: Any, caller: Caller) -> None:
    coin_buy(bingx, 500)
    caller.control("POST", "/prices", **{"BTC-USD": "62500"})
    bingx.create_order(COIN, "market", "sell", 500, None, {"positionSide": "LONG"})
    fees = Decimal(50_000) / 50_000 * Decimal("0.0005") + Decimal(50_000) / 62_500 * Decimal("0.0005")
    profit = Decimal(50_000) * (Decimal(1) / 50_000 - Decimal(1) / 62_500)
    assert bingx.fetch_balance({"subType": "inverse"})["BTC"]["total"] == float(10 + profit - fees)


def test_coin_margined_limit_order_is_cancelled(bingx: Any) -> None:
    order = bingx.create_order(COIN, "limit", "buy", 5, 40000, {"positionSide": "LONG"})
    assert [each["id"] for each in bingx.fetch_open_orders(COIN)] == [order["id"]]
    bingx.cancel_order(order["id"], COIN)
    assert bingx.fetch_open_orders(COIN) == []
    assert bingx.fetch_order(order["id"], COIN)["status"] == "canceled"


def test_coin_margined_leverage_mode_and_candles(bingx: Any) -> None:
    bingx.set_leverage(3, COIN, {"side": "LONG"})
    assert bingx.fetch_leverage(COIN)["longLeverage"] == 3
    bingx.set_margin_mode("isolated", COIN)
    assert bingx.fetch_margin_mode(COIN)["marginMode"] == "isolated"
    assert len(bingx.fetch_ohlcv(COIN, "1h", bingx.milliseconds() - 100 * 3_600_000, 50)) >= 49
    assert bingx.fetch_ticker(COIN)["last"] == 50000


def test_coin_margined_positions_close_together(bingx: Any) -> None:
    coin_buy(bingx)
    bingx.close_all_positions({"subType": "inverse"})
    assert bingx.fetch_positions([COIN], {"subType": "inverse"}) == []
