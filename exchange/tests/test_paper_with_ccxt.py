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


# The three products alike

PRODUCTS = {"swap": (BTC, 0.01), "spot": (SPOT, 0.01), "coin": (COIN, 5)}
HOUR = 3_600_000


@pytest.fixture(params=PRODUCTS)
def product(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def place(bingx: Any, product: str, kind: str = "market", side: str = "buy", price: Any = None, **params: Any) -> Any:
    symbol, amount = PRODUCTS[product]
    leg = {} if product == "spot" else {"positionSide": "LONG"}
    return bingx.create_order(symbol, kind, side, amount, price, leg | params)


def move(caller: Caller, price: int) -> None:
    caller.control("POST", "/prices", **{"BTC-USDT": str(price), "BTC-USD": str(price)})


def test_each_product_lists_its_market_with_grid_and_floors(bingx: Any, product: str) -> None:
    market = bingx.market(PRODUCTS[product][0])
    assert market["active"]
    assert market["precision"]["price"] == (0.01 if product == "spot" else 0.1)
    assert (market["linear"], market["inverse"]) == {
        "swap": (True, False),
        "spot": (None, None),
        "coin": (False, True),
    }[product]


def test_each_product_quotes_its_price_and_its_book(bingx: Any, product: str) -> None:
    symbol = PRODUCTS[product][0]
    assert bingx.fetch_ticker(symbol)["last"] == 50000
    assert bingx.fetch_tickers([symbol])[symbol]["last"] == 50000
    book = bingx.fetch_order_book(symbol, 5)
    assert book["bids"][0][0] <= 50000 < book["asks"][0][0]


def test_each_product_has_minutes_up_to_now_that_join_up_with_its_price(bingx: Any, product: str) -> None:
    rows = bingx.fetch_ohlcv(PRODUCTS[product][0], "1m", limit=200)
    assert len(rows) == 200
    assert all(after[0] - before[0] == 60_000 for before, after in pairwise(rows))
    assert rows[-1][0] <= bingx.milliseconds() < rows[-1][0] + 62_000
    assert rows[-1][4] == 50000, "the running candle closes at the pinned price"
    assert all(low <= min(start, end) <= max(start, end) <= high for _, start, high, low, end, _ in rows)
    assert all(before[4] == after[1] for before, after in pairwise(rows[:-1]))


@pytest.mark.parametrize(("timeframe", "hours"), [("1h", 1), ("4h", 4), ("1d", 24)])
def test_each_product_has_longer_candles_on_utc_s_grid(bingx: Any, product: str, timeframe: str, hours: int) -> None:
    """COIN-M reaches back thirty days and stamps by UTC; ccxt asks spot for `timeZone=0`."""
    since = (bingx.milliseconds() // (24 * HOUR) - 20) * 24 * HOUR
    until = since + 10 * hours * HOUR
    rows = bingx.fetch_ohlcv(PRODUCTS[product][0], timeframe, since, 10, {"until": until})
    assert [row[0] for row in rows] == list(range(since, until, hours * HOUR))


@pytest.mark.parametrize("product", ["swap", "spot"])
def test_ccxt_s_own_paging_has_holes_because_it_believes_in_1440_rows(bingx: Any, product: str) -> None:
    """Against the real BingX too: a limit of 1440 passes, at most 1000 rows come back. COIN-M is paged by 1000."""
    since = bingx.milliseconds() // 60_000 * 60_000 - 3 * 1440 * 60_000
    rows = bingx.fetch_ohlcv(PRODUCTS[product][0], "1m", since, 1440, {"until": since + 1440 * 60_000})
    assert len(rows) == 1000
    assert rows[-1][0] == since + 1439 * 60_000


def test_each_product_has_its_balance_and_spends_it(bingx: Any, product: str) -> None:
    asked = {"swap": {}, "spot": {"type": "spot"}, "coin": {"subType": "inverse"}}[product]
    coin = "BTC" if product == "coin" else "USDT"
    before = bingx.fetch_balance(asked)[coin]
    place(bingx, product)
    after = bingx.fetch_balance(asked)[coin]
    assert before["free"] == before["total"] == (10 if product == "coin" else 100_000)
    assert after["free"] < before["free"]


def test_each_product_fills_market_orders_and_shows_the_fills(bingx: Any, product: str) -> None:
    symbol, amount = PRODUCTS[product]
    placed = place(bingx, product)
    order = bingx.fetch_order(placed["id"], symbol)
    assert (order["status"], order["average"], order["filled"]) == ("closed", 50000, amount)
    params = {"swap": {"tradingUnit": "COIN"}, "spot": {}, "coin": {"orderId": placed["id"]}}[product]
    [trade] = bingx.fetch_my_trades(symbol, params=params)
    assert (trade["order"], trade["amount"], trade["price"]) == (placed["id"], amount, 50000)
    assert trade["fee"]["cost"] > 0
    assert placed["id"] in {each["id"] for each in bingx.fetch_closed_orders(symbol)}


def test_coin_margined_fills_are_asked_for_by_order(bingx: Any) -> None:
    """BingX has no other list of COIN-M fills, so ccxt refuses to ask without the order."""
    with pytest.raises(ccxt.ArgumentsRequired):
        bingx.fetch_my_trades(COIN)


def test_each_product_rests_limit_orders_lists_and_cancels_them(bingx: Any, product: str) -> None:
    symbol = PRODUCTS[product][0]
    first, second = (place(bingx, product, "limit", price=price)["id"] for price in (40000, 41000))
    assert {each["id"] for each in bingx.fetch_open_orders(symbol)} == {first, second}
    bingx.cancel_order(first, symbol)
    assert bingx.fetch_order(first, symbol)["status"] == "canceled"
    assert [each["id"] for each in bingx.fetch_open_orders(symbol)] == [second]
    bingx.cancel_all_orders(symbol)
    assert bingx.fetch_open_orders(symbol) == []


def test_each_product_fills_a_limit_order_when_the_price_comes(bingx: Any, caller: Caller, product: str) -> None:
    symbol, amount = PRODUCTS[product]
    placed = place(bingx, product, "limit", price=49000)
    move(caller, 48500)
    order = bingx.fetch_order(placed["id"], symbol)
    assert (order["status"], order["average"], order["filled"]) == ("closed", 49000, amount)


def test_each_product_finds_an_order_by_both_ids_and_cancels_it_by_ours(bingx: Any, product: str) -> None:
    symbol = PRODUCTS[product][0]
    placed = place(bingx, product, "limit", price=40000, clientOrderId="ours_1")
    by_ours = bingx.fetch_order("", symbol, {"clientOrderId": "ours_1"})
    assert by_ours["id"] == bingx.fetch_order(placed["id"], symbol)["id"] == placed["id"]
    assert by_ours["clientOrderId"] == "ours_1"
    bingx.cancel_order("", symbol, {"clientOrderId": "ours_1"})
    assert bingx.fetch_order(placed["id"], symbol)["status"] == "canceled"


def test_each_product_refuses_an_id_of_ours_a_second_time(bingx: Any, product: str) -> None:
    place(bingx, product, "limit", price=40000, clientOrderId="ours_2")
    with pytest.raises(ccxt.ExchangeError, match="unique check failed"):
        place(bingx, product, "limit", price=40000, clientOrderId="ours_2")
    assert len(bingx.fetch_open_orders(PRODUCTS[product][0])) == 1


@pytest.mark.parametrize(("side", "price"), [("stopLossPrice", 48900), ("takeProfitPrice", 52100)])
def test_each_product_fires_stop_orders_when_the_price_crosses(
    bingx: Any, caller: Caller, product: str, side: str, price: int
) -> None:
    symbol, amount = PRODUCTS[product]
    place(bingx, product)
    stop = place(bingx, product, side="sell", **{side: 49000 if side == "stopLossPrice" else 52000})
    assert bingx.fetch_order(stop["id"], symbol)["status"] == "open"
    move(caller, price)
    fired = bingx.fetch_order(stop["id"], symbol)
    assert (fired["status"], fired["filled"], fired["average"]) == ("closed", amount, price)


PERPETUALS = ["swap", "coin"]
INVERSE = {"swap": {}, "coin": {"subType": "inverse"}}


def held(bingx: Any, product: str) -> dict[str, tuple[float, float]]:
    found = bingx.fetch_positions([PRODUCTS[product][0]], INVERSE[product])
    return {each["side"]: (each["contracts"], each["entryPrice"]) for each in found}


@pytest.mark.parametrize("product", PERPETUALS)
def test_the_perpetuals_hold_both_legs_apart_and_close_each(bingx: Any, product: str) -> None:
    amount = PRODUCTS[product][1]
    place(bingx, product)
    place(bingx, product, side="sell", positionSide="SHORT")
    assert held(bingx, product) == {"long": (amount, 50000), "short": (amount, 50000)}
    place(bingx, product, side="sell")
    assert held(bingx, product) == {"short": (amount, 50000)}


@pytest.mark.parametrize("product", PERPETUALS)
def test_attached_stops_wait_for_the_entry_and_then_cover_it(bingx: Any, caller: Caller, product: str) -> None:
    symbol, amount = PRODUCTS[product]
    stops = {"stopLoss": {"triggerPrice": 47000}, "takeProfit": {"triggerPrice": 53000}}
    entry = place(bingx, product, "limit", price=49000, **stops)
    assert [each["id"] for each in bingx.fetch_open_orders(symbol)] == [entry["id"]]
    move(caller, 48900)
    waiting = bingx.fetch_open_orders(symbol)
    assert {each["stopLossPrice"] or each["takeProfitPrice"] for each in waiting} == {47000, 53000}
    assert {each["side"] for each in waiting} == {"sell"}
    assert held(bingx, product) == {"long": (amount, 49000)}
    move(caller, 53100)
    assert held(bingx, product) == {}
    assert bingx.fetch_open_orders(symbol) == []


@pytest.mark.parametrize("product", PERPETUALS)
def test_a_stop_order_is_cancelled_by_its_id_alone(bingx: Any, product: str) -> None:
    """BingX takes a client order id for MARKET and LIMIT only."""
    symbol = PRODUCTS[product][0]
    place(bingx, product)
    stop = place(bingx, product, side="sell", stopLossPrice=49000, clientOrderId="never_kept")
    assert bingx.fetch_order(stop["id"], symbol)["clientOrderId"] in (None, "")
    with pytest.raises(ccxt.ExchangeError):
        bingx.cancel_order("", symbol, {"clientOrderId": "never_kept"})
    bingx.cancel_order(stop["id"], symbol)
    assert bingx.fetch_open_orders(symbol) == []


@pytest.mark.parametrize("product", PERPETUALS)
def test_leverage_and_margin_mode_are_set_and_read(bingx: Any, product: str) -> None:
    symbol = PRODUCTS[product][0]
    bingx.set_leverage(7, symbol, {"side": "LONG"})
    bingx.set_leverage(9, symbol, {"side": "SHORT"})
    leverage = bingx.fetch_leverage(symbol)
    assert (leverage["longLeverage"], leverage["shortLeverage"]) == (7, 9)
    assert bingx.fetch_margin_mode(symbol)["marginMode"] == "cross"
    bingx.set_margin_mode("isolated", symbol)
    assert bingx.fetch_margin_mode(symbol)["marginMode"] == "isolated"
    place(bingx, product)
    [position] = bingx.fetch_positions([symbol], INVERSE[product])
    assert (position["leverage"], position["marginMode"]) == (7, "isolated")
    with pytest.raises(ccxt.ExchangeError):
        bingx.set_margin_mode("cross", symbol)


@pytest.mark.parametrize("product", PERPETUALS)
def test_the_position_mode_is_the_account_s_and_serves_both_perpetuals(bingx: Any, product: str) -> None:
    """ccxt has one address for it, USDT-M's; BingX has no other."""
    symbol, amount = PRODUCTS[product]
    bingx.set_position_mode(False)
    assert bingx.fetch_position_mode()["hedged"] is False
    bingx.set_leverage(4, symbol, {"side": "BOTH"})
    with pytest.raises(ccxt.ExchangeError):
        place(bingx, product)
    bingx.create_order(symbol, "market", "sell", amount)
    assert held(bingx, product) == {"short": (amount, 50000)}
    bingx.create_order(symbol, "market", "buy", amount, None, {"reduceOnly": True})
    assert held(bingx, product) == {}


def test_the_position_mode_stays_while_anything_is_open(bingx: Any) -> None:
    buy(bingx)
    with pytest.raises(ccxt.ExchangeError):
        bingx.set_position_mode(False)


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        ("fetch_trades", (COIN,)),
        ("fetch_funding_rate_history", (COIN,)),
        ("fetch_position_history", (COIN,)),
        ("fetch_position_mode", (COIN,)),
        ("set_position_mode", (True, COIN)),
        ("create_orders", ([{"symbol": COIN, "type": "market", "side": "buy", "amount": 1}],)),
        ("create_order", (COIN, "market", "buy", 1, None, {"test": True})),
        ("edit_order", ("1", COIN, "limit", "buy", 1, 40000)),
        ("cancel_orders", (["1"], COIN)),
        ("cancel_all_orders_after", (30_000, {"type": "swap", "subType": "inverse"})),
    ],
)
def test_what_ccxt_refuses_to_do_on_coin_margined_markets(bingx: Any, call: str, arguments: tuple[Any, ...]) -> None:
    """ccxt raises before anything is sent, against the real BingX too: these cannot be tried here."""
    with pytest.raises(ccxt.NotSupported):
        getattr(bingx, call)(*arguments)


def test_fees_and_interest_are_quoted(bingx: Any) -> None:
    assert bingx.fetch_trading_fee(BTC)["taker"] == 0.0005
    assert bingx.fetch_trading_fee(SPOT)["taker"] == 0.001
    assert bingx.fetch_trading_fee(COIN)["taker"] == 0.0005
    assert bingx.fetch_open_interest(BTC)["openInterestValue"] > 0
    assert len(bingx.fetch_funding_rate_history(BTC, limit=3)) == 3
    assert bingx.fetch_mark_ohlcv(BTC, "1m", limit=3)[-1][4] == 50000


def test_the_dead_man_s_switch_is_armed_and_disarmed(bingx: Any) -> None:
    assert bingx.cancel_all_orders_after(30_000, {"type": "swap"})["data"]["status"] == "ACTIVATED"
    assert bingx.cancel_all_orders_after(0, {"type": "swap"})["data"]["status"] == "CLOSED"
    assert bingx.cancel_all_orders_after(30_000, {"type": "spot"})["data"]["status"] == "ACTIVATED"
