"""Every fault can be switched on, does what it says to the caller and to the books, and is repeatable by its seed."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from exchange.paper.faults import AFTER, Faults
from exchange.paper.testing import Caller, running
from exchange.paper.venue import Venue


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with running(Venue()) as port:
        yield port


@pytest.fixture
def caller(port: int) -> Iterator[Caller]:
    caller = Caller(port, timeout=0.5)
    caller.control("POST", "/reset")
    caller.control("POST", "/accounts", key="paper-key", secret="paper-secret")
    caller.control("POST", "/prices", **{"BTC-USDT": "50000"})
    yield caller
    caller.close()


def switch(caller: Caller, **faults: Any) -> Any:
    return caller.control("POST", "/faults", **faults)


def accepted(caller: Caller) -> list[str]:
    return [row["client_order_id"] for row in caller.control("GET", "/ledger?key=paper-key")["orders"]]


def test_faults_are_off_by_default(caller: Caller) -> None:
    assert caller.control("GET", "/faults")["groups"] == {}
    assert all(caller.order()["code"] == 0 for _ in range(50))


@pytest.mark.parametrize(("fault", "error"), [("timeout_after", TimeoutError), ("reset_after", ConnectionError)])
def test_an_answer_may_be_lost_after_the_order_was_executed(caller: Caller, fault: str, error: type[Exception]) -> None:
    switch(caller, orders={fault: 1})
    with pytest.raises(error):
        caller.order(clientOrderID="unheard")
    switch(caller, orders=None)
    assert accepted(caller) == ["unheard"]
    found = caller.data("GET", "/swap/v2/trade/order", symbol="BTC-USDT", clientOrderId="unheard")
    assert found["order"]["status"] == "FILLED"


def test_a_gateway_may_answer_504_after_the_order_was_executed(caller: Caller) -> None:
    switch(caller, orders={"gateway_after": 1})
    with pytest.raises(ValueError, match="Expecting value"):
        caller.order(clientOrderID="unheard")
    assert caller.last_status == 504
    assert accepted(caller) == ["unheard"]


def test_a_body_may_be_garbage_after_the_order_was_executed(caller: Caller) -> None:
    switch(caller, orders={"garbage_after": 1})
    with pytest.raises(json.JSONDecodeError):
        caller.order(clientOrderID="unheard")
    assert accepted(caller) == ["unheard"]


def test_a_body_may_lack_its_code_after_the_order_was_executed(caller: Caller) -> None:
    switch(caller, orders={"codeless_after": 1})
    assert "code" not in caller.order(clientOrderID="unheard")
    assert accepted(caller) == ["unheard"]


def test_the_exchange_may_say_busy_and_have_executed(caller: Caller) -> None:
    switch(caller, orders={"busy_after": 1})
    assert caller.order(clientOrderID="unheard")["code"] == 109500
    assert accepted(caller) == ["unheard"]


@pytest.mark.parametrize(
    ("fault", "error"),
    [("lost_before", TimeoutError), ("reset_before", (ConnectionError, http.client.RemoteDisconnected))],
)
def test_a_request_may_be_lost_before_it_is_accepted(caller: Caller, fault: str, error: Any) -> None:
    switch(caller, orders={fault: 1})
    with pytest.raises(error):
        caller.order(clientOrderID="lost")
    assert accepted(caller) == []


def test_a_group_suffers_alone(caller: Caller) -> None:
    switch(caller, lookups={"gateway_after": 1})
    assert caller.order(clientOrderID="fine")["code"] == 0
    caller.raw(
        "GET", f"/openApi/swap/v2/trade/openOrders?{caller.signed_query({})}", headers={"X-BX-APIKEY": "paper-key"}
    )
    assert caller.last_status == 504


def test_an_order_may_be_executed_late_although_the_caller_has_gone(caller: Caller) -> None:
    switch(caller, orders={"delay": 1, "delay_ms": [700, 700]})
    with pytest.raises(TimeoutError):
        caller.order(clientOrderID="late")
    assert accepted(caller) == []
    deadline = time.monotonic() + 5
    while not accepted(caller) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert accepted(caller) == ["late"]


def test_the_fence_stops_an_order_that_would_be_executed_after_its_window(caller: Caller) -> None:
    caller.timeout = 5
    caller.__post_init__()
    switch(caller, orders={"delay": 1, "delay_ms": [600, 600]})
    assert caller.order(clientOrderID="fenced", recvWindow=300)["code"] == 100421
    assert caller.order(clientOrderID="in-time", recvWindow=3000)["code"] == 0
    assert accepted(caller) == ["in-time"]


def test_a_rate_limit_names_when_it_ends_and_holds_until_then(caller: Caller) -> None:
    switch(caller, orders={"rate_limit": 1}, rate_limit_ms=400)
    refusal = caller.order(clientOrderID="limited")
    switch(caller, orders=None)
    assert refusal["code"] == 100410
    until = int(refusal["msg"].rsplit(" ", 1)[1])
    assert 0 < until - time.time() * 1000 <= 400
    assert caller.order(clientOrderID="limited")["code"] == 100410
    assert caller.call("GET", "/swap/v3/user/balance")["code"] == 0
    while time.time() * 1000 <= until:
        time.sleep(0.02)
    assert caller.order(clientOrderID="limited")["code"] == 0


def test_the_vendors_own_rate_limits_can_be_enforced(caller: Caller) -> None:
    switch(caller, rate_limits=True, rate_limit_ms=200)
    codes = [caller.call("GET", "/swap/v3/user/balance")["code"] for _ in range(7)]
    assert codes == [0] * 5 + [100410] * 2


def test_a_look_up_by_client_id_may_lag(caller: Caller) -> None:
    switch(caller, lookup_lag_ms=400)
    order_id = caller.order(clientOrderID="hidden")["data"]["order"]["orderId"]
    assert caller.call("GET", "/swap/v2/trade/order", symbol="BTC-USDT", clientOrderId="hidden")["code"] == 109421
    assert caller.call("GET", "/swap/v2/trade/order", symbol="BTC-USDT", orderId=order_id)["code"] == 0
    time.sleep(0.45)
    assert caller.call("GET", "/swap/v2/trade/order", symbol="BTC-USDT", clientOrderId="hidden")["code"] == 0


def test_the_lag_may_cover_lists_too(caller: Caller) -> None:
    switch(caller, lookup_lag_ms=60_000, lag_everywhere=True)
    caller.order(type="LIMIT", price="40000")
    assert caller.data("GET", "/swap/v2/trade/openOrders")["orders"] == []
    assert caller.data("GET", "/swap/v1/trade/fullOrder", limit=10)["orders"] == []


def test_a_cancel_may_answer_with_a_stale_status(caller: Caller) -> None:
    switch(caller, stale_cancel=1)
    order_id = caller.order(type="LIMIT", price="40000")["data"]["order"]["orderId"]
    named = {"symbol": "BTC-USDT", "orderId": order_id}
    assert caller.data("DELETE", "/swap/v2/trade/order", **named)["order"]["status"] == "PENDING"
    assert caller.data("GET", "/swap/v2/trade/order", **named)["order"]["status"] == "CANCELLED"


def test_dedupe_may_be_strict_or_a_second_long_or_absent(caller: Caller) -> None:
    caller.order(clientOrderID="twice")
    assert caller.order(clientOrderID="twice")["code"] == 101400
    switch(caller, dedupe="one-second")
    assert caller.order(clientOrderID="twice")["code"] == 109201
    time.sleep(1.01)
    assert caller.order(clientOrderID="twice")["code"] == 0
    switch(caller, dedupe="none")
    assert caller.order(clientOrderID="twice")["code"] == 0
    assert accepted(caller) == ["twice"] * 3


def test_entries_exits_and_stops_can_be_rejected_apart(caller: Caller) -> None:
    close = {"side": "SELL", "positionSide": "LONG"}
    caller.order()
    switch(caller, reject_entries={"code": 101209, "msg": "Maximum position value"})
    assert (caller.order()["code"], caller.order()["msg"]) == (101209, "Maximum position value")
    assert caller.order(type="STOP_MARKET", stopPrice="49000", **close)["code"] == 0
    switch(caller, reject_entries=None, reject_exits={"code": 101214, "msg": "settling"}, reject_stops={"code": 110411})
    assert caller.order()["code"] == 0
    assert caller.order(**close)["code"] == 101214
    assert caller.order(type="STOP_MARKET", stopPrice="49000", **close)["code"] == 110411


def test_a_market_order_may_fill_in_several_trades(caller: Caller) -> None:
    switch(caller, partial_fills={"slices": 3})
    caller.order(quantity="0.01")
    [row] = caller.control("GET", "/ledger")["orders"]
    assert [fill["quantity"] for fill in row["fills"]] == ["0.0033", "0.0033", "0.0034"]


def test_a_market_order_may_fill_little_by_little(caller: Caller) -> None:
    switch(caller, partial_fills={"slices": 2, "every_ms": 300})
    order = caller.order(quantity="0.01")["data"]["order"]
    assert (order["status"], order["executedQty"]) == ("PARTIALLY_FILLED", "0.0050")
    time.sleep(0.6)
    named = {"symbol": "BTC-USDT", "orderId": order["orderId"]}
    assert caller.data("GET", "/swap/v2/trade/order", **named)["order"]["status"] == "FILLED"


def test_a_slow_close_never_closes_more_than_is_left(caller: Caller) -> None:
    caller.order(quantity="0.01")
    switch(caller, partial_fills={"slices": 2, "every_ms": 200})
    close = {"side": "SELL", "positionSide": "LONG", "quantity": "0.01"}
    slow = caller.order(**close)["data"]["order"]
    caller.data("POST", "/swap/v2/trade/closeAllPositions")
    time.sleep(0.5)
    named = {"symbol": "BTC-USDT", "orderId": slow["orderId"]}
    assert caller.data("GET", "/swap/v2/trade/order", **named)["order"]["status"] in ("CANCELLED", "FILLED")
    assert caller.data("GET", "/swap/v2/user/positions") == []


def test_an_order_may_come_without_its_envelope(caller: Caller) -> None:
    switch(caller, bare_order=1)
    assert caller.order()["data"]["status"] == "FILLED"


def test_candles_may_have_holes(caller: Caller) -> None:
    start = 1_700_000_040_000
    asked = {"symbol": "BTC-USDT", "interval": "1m", "startTime": start, "endTime": start + 5 * 60_000}
    assert len(caller.public("/swap/v3/quote/klines", **asked)["data"]) == 5
    switch(caller, kline_holes=[["BTC-USDT", start + 60_000, start + 180_000]])
    rows = caller.public("/swap/v3/quote/klines", **asked)["data"]
    assert [(row["time"] - start) // 60_000 for row in rows] == [4, 3, 0]


def test_a_wrong_switch_changes_nothing(caller: Caller) -> None:
    before = caller.control("GET", "/faults")
    for wrong in (
        {"orders": {"nope": 1}},
        {"orders": {"delay": 2}},
        {"dedupe": "maybe"},
        {"orders": 7},
        {"reject_entries": {"msg": "x"}},
    ):
        assert "error" in switch(caller, lookup_lag_ms=9, **wrong)
        assert caller.last_status == 400
    assert caller.control("GET", "/faults") == before


def test_faults_are_cleared_together(caller: Caller) -> None:
    switch(caller, orders={"rate_limit": 1}, dedupe="none")
    caller.order()
    caller.control("DELETE", "/faults")
    assert caller.order()["code"] == 0
    assert caller.control("GET", "/faults")["dedupe"] == "strict"


def test_a_seed_and_an_order_of_requests_fix_every_fault() -> None:
    def fates(seed: int) -> list[Any]:
        faults = Faults()
        faults.configure({"seed": seed, "all": dict.fromkeys(AFTER, 0.2) | {"delay": 0.5, "delay_ms": [1, 900]}})
        return [faults.draw(group) for group in ("orders", "lookups", "cancels") * 50]

    assert fates(4) == fates(4)
    assert fates(4) != fates(5)
