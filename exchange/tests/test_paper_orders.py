"""Orders on the USDT-M perpetual: what is refused and with which code, what is filled and what it costs."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from exchange.paper.books import SNOWFLAKE_EPOCH_MS
from exchange.paper.testing import Caller, running
from exchange.paper.venue import Venue

CLOSE_LONG = {"side": "SELL", "positionSide": "LONG"}


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with running(Venue()) as port:
        yield port


@pytest.fixture
def caller(port: int) -> Iterator[Caller]:
    caller = Caller(port)
    caller.control("POST", "/reset")
    caller.control("POST", "/accounts", key="paper-key", secret="paper-secret")
    caller.control("POST", "/prices", **{"BTC-USDT": "50000"})
    yield caller
    caller.close()


def set_price(caller: Caller, price: object) -> None:
    caller.control("POST", "/prices", **{"BTC-USDT": str(price)})


def positions(caller: Caller) -> Any:
    return caller.data("GET", "/swap/v2/user/positions", symbol="BTC-USDT")


def wallet(caller: Caller) -> Any:
    return caller.data("GET", "/swap/v3/user/balance")[0]


def query(caller: Caller, body: Any) -> Any:
    return caller.data("GET", "/swap/v2/trade/order", symbol="BTC-USDT", orderId=body["data"]["order"]["orderId"])[
        "order"
    ]


def one_way(caller: Caller) -> None:
    caller.data("POST", "/swap/v1/positionSide/dual", dualSidePosition="false")


def test_a_market_order_fills_at_once_at_the_price_for_a_taker_fee(caller: Caller) -> None:
    order = query(caller, caller.order())
    assert (order["status"], order["avgPrice"], order["executedQty"]) == ("FILLED", "50000.0", "0.0100")
    assert Decimal(order["commission"]) == -Decimal("0.01") * 50000 * Decimal("0.0005")
    assert Decimal(wallet(caller)["balance"]) == Decimal("99999.75")


def test_the_order_id_tells_its_time(caller: Caller) -> None:
    body = caller.order()
    order_id = body["data"]["order"]["orderId"]
    server = caller.public("/swap/v2/server/time")["data"]["serverTime"]
    assert 0 <= server - ((order_id >> 22) + SNOWFLAKE_EPOCH_MS) < 2000


def test_the_client_id_is_lower_cased_and_echoed_as_sent(caller: Caller) -> None:
    body = caller.order(clientOrderID="AbC-1")
    assert body["data"]["order"]["clientOrderID"] == "AbC-1"
    found = caller.data("GET", "/swap/v2/trade/order", symbol="BTC-USDT", clientOrderId="ABC-1")["order"]
    assert found["clientOrderId"] == "abc-1"


@pytest.mark.parametrize("client_id", ["x" * 41, "with space", "ñandú"])
def test_a_strange_client_id_is_refused(caller: Caller, client_id: str) -> None:
    assert caller.order(clientOrderID=client_id)["code"] == 109400


def test_a_client_id_is_good_once(caller: Caller) -> None:
    caller.order(clientOrderID="once")
    assert caller.order(clientOrderID="ONCE") == {
        "code": 101400,
        "msg": "clientOrderID unique check failed",
        "data": {},
    }
    assert Decimal(positions(caller)[0]["positionAmt"]) == Decimal("0.01")


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"symbol": "NOPE-USDT"}, 109425),
        ({"side": "HOLD"}, 109400),
        ({"type": "MAGIC"}, 109400),
        ({"quantity": "many"}, 109400),
        ({"quantity": "NaN"}, 109400),
        ({"quantity": "1e400"}, 109400),
        ({"quantity": "-1"}, 109400),
        ({"quantity": ""}, 101400),
        ({"quantity": "0.00009"}, 101400),
        ({"quantity": "1000"}, 101204),
        ({"positionSide": "BOTH"}, 109400),
        ({"reduceOnly": "true"}, 109400),
        ({"type": "LIMIT"}, 109400),
        ({"type": "STOP_MARKET", **CLOSE_LONG}, 109400),
        ({"type": "LIMIT", "price": "50001", "timeInForce": "PostOnly"}, 101215),
        ({"type": "LIMIT", "price": "100", "quantity": "0.0001"}, 110422),
        ({"stopLoss": "49000"}, 109400),
        ({"stopLoss": '{"type":"STOP_MARKET","stopPrice":50100}'}, 110411),
        ({"takeProfit": '{"type":"TAKE_PROFIT_MARKET","stopPrice":49000}'}, 110413),
        (CLOSE_LONG, 101205),
        ({"type": "STOP_MARKET", "stopPrice": "49000", **CLOSE_LONG}, 109420),
    ],
)
def test_a_wrong_order_is_refused_and_leaves_nothing(caller: Caller, wrong: dict[str, Any], code: int) -> None:
    assert caller.order(**wrong)["code"] == code
    assert caller.control("GET", "/ledger")["orders"] == []
    assert wallet(caller)["balance"] == "100000.0000"


def test_the_minimum_is_named_in_the_refusal(caller: Caller) -> None:
    assert caller.order(quantity="0.00009")["msg"] == "The minimum order amount is 0.0001 BTC."


def test_excess_decimals_are_cut_off(caller: Caller) -> None:
    body = caller.order(quantity="0.012399", type="LIMIT", price="40000.1999")
    order = body["data"]["order"]
    assert (order["quantity"], order["price"]) == (Decimal("0.0123"), Decimal("40000.1"))


def test_a_quote_amount_buys_what_it_can(caller: Caller) -> None:
    body = caller.order(quantity="", quoteOrderQty="777")
    assert body["data"]["order"]["executedQty"] == "0.0155"


def test_entries_average_and_a_close_realises(caller: Caller) -> None:
    caller.order(quantity="0.01")
    set_price(caller, 53000)
    caller.order(quantity="0.02")
    assert positions(caller)[0]["avgPrice"] == "52000.0"
    set_price(caller, 55000)
    closed = query(caller, caller.order(quantity="0.015", **CLOSE_LONG))
    assert Decimal(closed["profit"]) == 3000 * Decimal("0.015")
    assert [row["positionAmt"] for row in positions(caller)] == ["0.0150"]


def test_long_and_short_live_side_by_side_in_hedge_mode(caller: Caller) -> None:
    caller.order()
    caller.order(side="SELL", positionSide="SHORT", quantity="0.03")
    shown = {row["positionSide"]: (row["positionAmt"], row["onlyOnePosition"]) for row in positions(caller)}
    assert shown == {"LONG": ("0.0100", False), "SHORT": ("0.0300", False)}


def test_closing_more_than_there_is_is_refused_in_hedge_mode(caller: Caller) -> None:
    caller.order()
    refusal = caller.order(quantity="0.02", **CLOSE_LONG)
    assert (refusal["code"], refusal["msg"]) == (
        110424,
        "The order size must be less than the available amount of 0.01 BTC",
    )


def test_a_resting_close_holds_its_share_of_the_position(caller: Caller) -> None:
    caller.order(quantity="0.03")
    caller.order(type="LIMIT", price="60000", quantity="0.02", **CLOSE_LONG)
    assert positions(caller)[0]["availableAmt"] == "0.0100"
    assert caller.order(quantity="0.02", **CLOSE_LONG)["code"] == 110424


def test_an_unused_asset_has_empty_texts(caller: Caller) -> None:
    unused = caller.data("GET", "/swap/v3/user/balance")[1]
    assert (unused["asset"], unused["balance"], unused["userId"]) == ("USDC", "", "")


def test_margin_is_used_held_and_given_back(caller: Caller) -> None:
    caller.data("POST", "/swap/v2/trade/leverage", symbol="BTC-USDT", side="LONG", leverage=10)
    caller.order(quantity="0.1")
    resting = caller.order(type="LIMIT", price="40000", quantity="0.1")["data"]["order"]
    row = wallet(caller)
    assert (row["usedMargin"], row["freezedMargin"]) == ("500.0000", "400.0000")
    caller.data("DELETE", "/swap/v2/trade/order", symbol="BTC-USDT", orderId=resting["orderId"])
    caller.order(quantity="0.1", **CLOSE_LONG)
    row = wallet(caller)
    assert (row["usedMargin"], row["freezedMargin"], row["balance"]) == ("0.0000", "0.0000", "99995.0000")


def test_a_limit_order_rests_until_the_price_comes_and_pays_the_maker_fee(caller: Caller) -> None:
    body = caller.order(type="LIMIT", price="49000")
    assert query(caller, body)["status"] == "PENDING"
    set_price(caller, 48000)
    order = query(caller, body)
    assert (order["status"], order["avgPrice"]) == ("FILLED", "49000.0")
    assert Decimal(order["commission"]) == -Decimal("0.01") * 49000 * Decimal("0.0002")


def test_a_limit_order_that_crosses_takes_the_better_price(caller: Caller) -> None:
    assert query(caller, caller.order(type="LIMIT", price="51000"))["avgPrice"] == "50000.0"


@pytest.mark.parametrize("time_in_force", ["IOC", "FOK"])
def test_what_cannot_fill_at_once_is_cancelled(caller: Caller, time_in_force: str) -> None:
    assert query(caller, caller.order(type="LIMIT", price="40000", timeInForce=time_in_force))["status"] == "CANCELLED"


@pytest.mark.parametrize(
    ("entry", "kind", "stop", "crossing"),
    [
        ("LONG", "STOP_MARKET", 49000, 48990),
        ("LONG", "TAKE_PROFIT_MARKET", 51000, 51010),
        ("SHORT", "STOP_MARKET", 51000, 51010),
        ("SHORT", "TAKE_PROFIT_MARKET", 49000, 48990),
    ],
)
def test_stops_and_targets_fire_on_their_side_of_the_price(
    caller: Caller, entry: str, kind: str, stop: int, crossing: int
) -> None:
    into, out = ("BUY", "SELL") if entry == "LONG" else ("SELL", "BUY")
    caller.order(side=into, positionSide=entry)
    body = caller.order(side=out, positionSide=entry, type=kind, stopPrice=stop)
    assert body["data"]["order"]["status"] == "NEW"
    set_price(caller, 50010 if crossing < 50000 else 49990)
    assert query(caller, body)["status"] == "NEW"
    set_price(caller, crossing)
    order = query(caller, body)
    assert (order["status"], order["avgPrice"]) == ("FILLED", f"{crossing}.0")
    assert positions(caller) == []


def test_a_stop_limit_becomes_a_limit_order(caller: Caller) -> None:
    caller.order()
    body = caller.order(type="STOP", stopPrice="49000", price="48900", **CLOSE_LONG)
    set_price(caller, 48800)
    assert query(caller, body)["status"] == "PENDING"
    set_price(caller, 48950)
    assert query(caller, body)["avgPrice"] == "48900.0"


def test_a_trigger_order_opens(caller: Caller) -> None:
    body = caller.order(type="TRIGGER_MARKET", stopPrice="51000")
    set_price(caller, 51000)
    assert query(caller, body)["status"] == "FILLED"
    assert positions(caller)[0]["positionAmt"] == "0.0100"


def test_a_stop_loses_its_client_id_unless_switched(caller: Caller) -> None:
    caller.order(quantity="0.02")
    stop = {"type": "STOP_MARKET", "stopPrice": "49000", "quantity": "0.01", "clientOrderID": "stop-1", **CLOSE_LONG}
    assert caller.order(**stop)["data"]["order"]["clientOrderID"] == ""
    assert caller.call("GET", "/swap/v2/trade/order", symbol="BTC-USDT", clientOrderId="stop-1")["code"] == 109421
    caller.control("POST", "/faults", stop_client_ids=True)
    caller.order(**stop)
    assert caller.call("GET", "/swap/v2/trade/order", symbol="BTC-USDT", clientOrderId="stop-1")["code"] == 0


def test_a_trailing_stop_follows_the_price(caller: Caller) -> None:
    caller.order()
    body = caller.order(type="TRAILING_STOP_MARKET", priceRate="0.01", **CLOSE_LONG)
    for price in (52000, 51600):
        set_price(caller, price)
        assert query(caller, body)["status"] == "NEW"
    set_price(caller, 51400)
    assert query(caller, body)["avgPrice"] == "51400.0"


@pytest.mark.parametrize("kind", ["STOP_MARKET", "TAKE_PROFIT_MARKET"])
def test_pending_stops_may_not_cover_more_than_the_position(caller: Caller, kind: str) -> None:
    stop = {"type": kind, "stopPrice": "49000" if kind == "STOP_MARKET" else "51000", **CLOSE_LONG}
    caller.order(quantity="0.03")
    assert caller.order(quantity="0.02", **stop)["code"] == 0
    assert caller.order(quantity="0.02", **stop)["code"] == 110424
    assert caller.order(quantity="0.01", **stop)["code"] == 0


@pytest.mark.parametrize(
    ("kind", "stop", "code"),
    [("STOP_MARKET", 51000, 110411), ("TAKE_PROFIT_MARKET", 49000, 110413)],
)
def test_a_stop_on_the_wrong_side_is_refused(caller: Caller, kind: str, stop: int, code: int) -> None:
    caller.order()
    assert caller.order(type=kind, stopPrice=stop, **CLOSE_LONG)["code"] == code


def test_one_whole_position_stop_a_side_and_it_closes_whatever_there_is(caller: Caller) -> None:
    caller.order()
    whole = {"type": "STOP_MARKET", "stopPrice": "49000", "closePosition": "true", "quantity": "", **CLOSE_LONG}
    body = caller.order(**whole)
    assert caller.order(**whole)["code"] == 110406
    caller.order(quantity="0.05")
    set_price(caller, 48000)
    assert query(caller, body)["executedQty"] == "0.0600"
    assert positions(caller) == []


def test_attached_stops_are_orders_of_their_own_after_the_fill(caller: Caller) -> None:
    stop = json.dumps({"type": "STOP_MARKET", "stopPrice": 47000, "workingType": "MARK_PRICE"})
    target = json.dumps({"type": "TAKE_PROFIT_MARKET", "stopPrice": 56000})
    body = caller.order(type="LIMIT", price="49000", stopLoss=stop, takeProfit=target)
    assert body["data"]["order"]["stopLoss"] == stop
    assert query(caller, body)["stopLoss"]["stopPrice"] == 47000
    set_price(caller, 48900)
    found = caller.data("GET", "/swap/v2/trade/openOrders", symbol="BTC-USDT")["orders"]
    assert {(row["type"], row["origQty"], row["stopPrice"]) for row in found} == {
        ("STOP_MARKET", "0.0100", "47000.0"),
        ("TAKE_PROFIT_MARKET", "0.0100", "56000.0"),
    }


def test_a_position_that_is_gone_takes_its_attached_stops_and_leaves_the_free_ones(caller: Caller) -> None:
    caller.order(stopLoss=json.dumps({"type": "STOP_MARKET", "stopPrice": 47000}))
    caller.order(quantity="0.02")
    free = caller.order(type="STOP_MARKET", stopPrice="46000", quantity="0.02", **CLOSE_LONG)
    caller.order(quantity="0.03", **CLOSE_LONG)
    left = caller.data("GET", "/swap/v2/trade/openOrders", symbol="BTC-USDT")["orders"]
    assert [row["orderId"] for row in left] == [free["data"]["order"]["orderId"]]
    set_price(caller, 45000)
    assert query(caller, free)["status"] == "CANCELLED"
    assert positions(caller) == []


def test_one_way_mode_nets_reduces_and_flips(caller: Caller) -> None:
    one_way(caller)
    assert caller.order()["code"] == 109400
    caller.order(positionSide="BOTH", quantity="0.03")
    caller.order(positionSide="BOTH", side="SELL", quantity="0.05", reduceOnly="true")
    assert positions(caller) == []
    assert caller.order(positionSide="BOTH", side="SELL", reduceOnly="true")["code"] == 101290
    caller.order(positionSide="BOTH", quantity="0.01")
    caller.order(positionSide="BOTH", side="SELL", quantity="0.03")
    [row] = positions(caller)
    assert (row["positionSide"], row["positionAmt"], row["onlyOnePosition"]) == ("SHORT", "0.0200", True)


def test_one_way_positions_can_be_shown_with_a_sign(caller: Caller) -> None:
    one_way(caller)
    caller.control("POST", "/faults", signed_one_way=True)
    caller.order(positionSide="BOTH", side="SELL", quantity="0.02")
    [row] = positions(caller)
    assert (row["positionSide"], row["positionAmt"]) == ("BOTH", "-0.0200")


def test_the_position_mode_is_busy_while_there_is_something_open(caller: Caller) -> None:
    caller.order()
    assert caller.call("POST", "/swap/v1/positionSide/dual", dualSidePosition="false")["code"] == 104103
    assert caller.call("POST", "/swap/v1/positionSide/dual", dualSidePosition="true")["code"] == 0


def test_the_margin_type_is_busy_while_there_is_something_open(caller: Caller) -> None:
    caller.order(type="LIMIT", price="40000")
    assert caller.call("POST", "/swap/v2/trade/marginType", symbol="BTC-USDT", marginType="ISOLATED")["code"] == 109424
    assert caller.call("POST", "/swap/v2/trade/marginType", symbol="ETH-USDT", marginType="ISOLATED") == {
        "code": 0,
        "msg": "",
    }


def test_leverage_has_an_address_of_its_own_and_a_limit(caller: Caller) -> None:
    caller.order(leverage=3)
    assert positions(caller)[0]["leverage"] == 20
    assert (
        caller.call("POST", "/swap/v2/trade/leverage", symbol="BTC-USDT", side="LONG", leverage=126)["code"] == 101414
    )
    assert caller.call("POST", "/swap/v2/trade/leverage", symbol="BTC-USDT", side="BOTH", leverage=5)["code"] == 109400
    caller.data("POST", "/swap/v2/trade/leverage", symbol="BTC-USDT", side="LONG", leverage=5)
    assert positions(caller)[0]["leverage"] == 5


def test_a_final_order_cannot_be_cancelled(caller: Caller) -> None:
    order_id = caller.order()["data"]["order"]["orderId"]
    assert caller.call("DELETE", "/swap/v2/trade/order", symbol="BTC-USDT", orderId=order_id)["code"] == 109422


def test_another_accounts_order_does_not_exist(caller: Caller) -> None:
    order_id = caller.order(clientOrderID="mine")["data"]["order"]["orderId"]
    caller.control("POST", "/accounts", key="other", secret="other-secret")
    caller.key, caller.secret = "other", "other-secret"
    assert caller.call("GET", "/swap/v2/trade/order", symbol="BTC-USDT", orderId=order_id)["code"] == 109421
    assert caller.order(clientOrderID="mine")["code"] == 0


def test_fills_are_told_with_and_without_trade_ids(caller: Caller) -> None:
    order_id = caller.order(clientOrderID="told")["data"]["order"]["orderId"]
    now = caller.public("/swap/v2/server/time")["data"]["serverTime"]
    period = {"symbol": "BTC-USDT", "startTs": now - 60_000, "endTs": now + 1000}
    [plain] = caller.data("GET", "/swap/v2/trade/allFillOrders", tradingUnit="COIN", **period)["fill_orders"]
    assert (plain["orderId"], plain["volume"], plain["clientOrderID"]) == (str(order_id), "0.01", "told")
    for version in ("v1", "v2"):
        [row] = caller.data("GET", f"/swap/{version}/trade/fillHistory", **period)["fill_history_orders"]
        assert (row["orderId"], row["qty"], row["role"]) == (str(order_id), "0.01", "taker")
        assert row["tradeId"].isdigit()


def test_a_fill_time_marked_z_is_eight_hours_late(caller: Caller) -> None:
    caller.order()
    now = caller.public("/swap/v2/server/time")["data"]["serverTime"]
    period = {"symbol": "BTC-USDT", "startTs": now - 60_000, "endTs": now + 1000}
    [row] = caller.data("GET", "/swap/v2/trade/allFillOrders", tradingUnit="COIN", **period)["fill_orders"]
    assert row["filledTm"].endswith("Z")
    assert row["filledTime"].endswith("+0800")
    assert row["filledTm"][:19] == row["filledTime"][:19]


def test_a_missing_fill_range_is_named(caller: Caller) -> None:
    refusal = caller.call("GET", "/swap/v2/trade/allFillOrders", symbol="BTC-USDT", tradingUnit="COIN")
    assert (refusal["code"], "startTs" in refusal["msg"]) == (109400, True)


def test_incomes_add_up_to_the_balance(caller: Caller) -> None:
    caller.order()
    set_price(caller, 51000)
    caller.order(**CLOSE_LONG)
    incomes = caller.data("GET", "/swap/v2/user/income")
    assert {row["incomeType"] for row in incomes} == {"TRADING_FEE", "REALIZED_PNL"}
    assert 100_000 + sum(Decimal(row["income"]) for row in incomes) == Decimal(wallet(caller)["balance"])


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_traded_fills_positions_and_money_agree(caller: Caller, seed: int) -> None:
    dice = random.Random(seed)
    caller.control("POST", "/faults", partial_fills={"slices": 3})
    for _ in range(120):
        set_price(caller, dice.randint(40_000, 60_000))
        kind = dice.choice(["MARKET", "LIMIT", "STOP_MARKET"])
        price = dice.randint(38_000, 62_000)
        side, leg = dice.choice(["BUY", "SELL"]), dice.choice(["LONG", "SHORT"])
        caller.order(
            type=kind,
            price=price,
            stopPrice=price,
            side=side,
            positionSide=leg,
            quantity=f"0.{dice.randint(1, 99):03d}",
        )
    ledger = caller.control("GET", "/ledger")
    fills = [fill for order in ledger["orders"] for fill in order["fills"]]
    for leg in ("LONG", "SHORT"):
        net = sum(
            Decimal(each["quantity"]) * (1 if each["side"] == "BUY" else -1)
            for each in fills
            if each["position_side"] == leg
        )
        held = sum(Decimal(each["quantity"]) for each in ledger["positions"] if each["side"] == leg)
        assert net == held
        assert held >= 0 if leg == "LONG" else held <= 0
    money = sum(Decimal(each["profit"]) + Decimal(each["commission"]) for each in fills)
    assert Decimal(wallet(caller)["balance"]) == 100_000 + money
    assert all(
        Decimal(order["executed"]) == sum(Decimal(each["quantity"]) for each in order["fills"])
        for order in ledger["orders"]
    )


def test_the_ledger_keeps_every_accepted_order_in_order(caller: Caller) -> None:
    for number in range(3):
        caller.order(clientOrderID=f"n{number}")
    caller.order(quantity="1000", clientOrderID="refused")
    rows = caller.control("GET", "/ledger?key=paper-key")["orders"]
    assert [(row["sequence"], row["client_order_id"], len(row["fills"])) for row in rows] == [
        (1, "n0", 1),
        (2, "n1", 1),
        (3, "n2", 1),
    ]
    assert caller.control("GET", "/ledger?key=nobody")["orders"] == []


def test_a_key_is_registered_once_with_one_secret(caller: Caller) -> None:
    assert caller.control("POST", "/accounts", key="paper-key", secret="paper-secret")["key"] == "paper-key"
    caller.control("POST", "/accounts", key="paper-key", secret="another")
    assert caller.last_status == 409
    assert caller.order()["code"] == 0


def test_control_addresses_refuse_nonsense(caller: Caller) -> None:
    for path, body in (
        ("/prices", b'{"BTC-USDT": "much"}'),
        ("/prices", b'{"NOPE": 1}'),
        ("/faults", b'{"nope": 1}'),
        ("/accounts", b"[]"),
    ):
        caller.raw("POST", f"/paper{path}", body)
        assert caller.last_status == 400
    caller.raw("GET", "/paper/nothing")
    assert caller.last_status == 404


def test_prices_move_again_when_let_go(caller: Caller) -> None:
    caller.control("POST", "/prices", **{"BTC-USDT": None})
    price = caller.public("/swap/v1/ticker/price", symbol="BTC-USDT")["data"]["price"]
    assert price != "50000.0"


@pytest.mark.parametrize("offset_ms", [-40_000, 40_000])
def test_lists_of_a_range_hold_what_happened_in_it_although_the_clock_jumped(caller: Caller, offset_ms: int) -> None:
    caller.order(clientOrderID="before")
    caller.control("POST", "/faults", clock_offset_ms=offset_ms)
    moved = caller.public("/swap/v2/server/time")["data"]["serverTime"]
    caller.call(
        "POST",
        "/swap/v2/trade/order",
        timestamp=moved,
        symbol="BTC-USDT",
        side="BUY",
        positionSide="LONG",
        type="MARKET",
        quantity="0.01",
        clientOrderID="meanwhile",
    )
    caller.control("DELETE", "/faults")
    caller.order(clientOrderID="after")

    def ids(begin: int, end: int) -> set[str]:
        rows = caller.data("GET", "/swap/v1/trade/fullOrder", startTime=begin, endTime=end, limit=10)["orders"]
        return {row["clientOrderId"] for row in rows}

    def fills(begin: int, end: int) -> int:
        return len(caller.data("GET", "/swap/v2/trade/fillHistory", startTs=begin, endTs=end)["fill_history_orders"])

    assert ids(moved - 5000, moved + 5000) == {"meanwhile"}
    assert ids(moved - abs(offset_ms) - 5000, moved + abs(offset_ms) + 5000) == {"before", "meanwhile", "after"}
    assert (fills(moved - 5000, moved + 5000), fills(moved - 60_000, moved + 60_000)) == (1, 3)
    now = moved - offset_ms
    assert ids(now - 5000, now + 5000) == {"before", "after"}
