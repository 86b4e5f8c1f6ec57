"""Every kind of fault: off by default, on when the control address asks for it, off again when it is cleared."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest

from exchange.paper.faults import BEFORE, GROUPS, ODDS, SWITCHES
from exchange.paper.testing import Caller, running
from exchange.paper.venue import Venue
from exchange.refusals import unblocked_at

BTC = {"symbol": "BTC-USDT"}
CLOSE = {"side": "SELL", "positionSide": "LONG"}
STOP = CLOSE | {"type": "STOP_MARKET", "stopPrice": "49000"}
REFUSAL = {"code": 109500, "msg": "on request"}


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with running(Venue()) as port:
        yield port


@pytest.fixture
def caller(port: int) -> Iterator[Caller]:
    caller = Caller(port)
    start_over(caller)
    yield caller
    caller.close()


def start_over(caller: Caller) -> None:
    caller.control("POST", "/reset")
    known = {"key": "paper-key", "secret": "paper-secret", "position_mode": "hedge"}
    caller.control("POST", "/accounts", **known)
    caller.control("POST", "/prices", **{"BTC-USDT": "50000"})


@contextmanager
def patience(caller: Caller, seconds: float) -> Iterator[None]:
    """Let the caller wait so long for an answer, only here."""
    usual = caller.timeout
    _reconnect(caller, seconds)
    try:
        yield
    finally:
        _reconnect(caller, usual)


def _reconnect(caller: Caller, timeout: float) -> None:
    caller.close()
    caller.timeout = timeout
    caller.__post_init__()


# What a caller sees, in a word


def of_an_order(caller: Caller) -> str:
    try:
        answer = caller.order()
    except TimeoutError:
        return "silence"
    except json.JSONDecodeError:
        return str(caller.last_status) if caller.last_status != 200 else "unreadable"
    except ConnectionError:
        return "reset"
    return str(answer.get("code", "codeless"))


def of_a_second(caller: Caller) -> str:
    began = time.monotonic()
    caller.order()
    return "slow" if time.monotonic() - began >= 1 else "fast"


def of_a_silence(caller: Caller) -> str:
    try:
        caller.order()
    except TimeoutError:
        return "silence"
    except ConnectionError:
        return "closed"
    return "an answer"


def of_a_rate_limit(caller: Caller) -> str:
    until = int(caller.order()["msg"].rsplit(" ", 1)[1])
    return "short" if until - time.time() * 1000 < 5000 else "long"


def of_a_status(caller: Caller) -> str:
    caller.order()
    return str(caller.last_status)


def of_many_requests(caller: Caller) -> str:
    codes = {caller.call("GET", "/swap/v3/user/balance")["code"] for _ in range(7)}
    return "limited" if 100410 in codes else "free"


def of_an_error_again_and_again(caller: Caller) -> str:
    codes = [caller.public("/swap/v1/ticker/price", symbol="NOPE")["code"] for _ in range(22)]
    assert codes[:21] == [109425] * 21
    return str(codes[-1])


def of_a_look_up(caller: Caller) -> str:
    caller.order(clientOrderID="seen")
    return str(caller.call("GET", "/swap/v2/trade/order", clientOrderId="seen", **BTC)["code"])


def of_a_list(caller: Caller) -> str:
    caller.order(type="LIMIT", price="40000")
    return str(len(caller.data("GET", "/swap/v2/trade/openOrders")["orders"]))


def of_a_cancel(caller: Caller) -> str:
    order_id = caller.order(type="LIMIT", price="40000")["data"]["order"]["orderId"]
    return str(caller.data("DELETE", "/swap/v2/trade/order", orderId=order_id, **BTC)["order"]["status"])


def of_an_id_used_twice(caller: Caller) -> str:
    caller.order(clientOrderID="twice")
    return str(caller.order(clientOrderID="twice")["code"])


def of_an_echo(caller: Caller) -> str:
    return "wrapped" if "order" in caller.order()["data"] else "bare"


def of_the_fills(caller: Caller) -> str:
    caller.order()
    return str(len(caller.control("GET", "/ledger")["orders"][0]["fills"]))


def of_an_entry_an_exit_and_a_stop(caller: Caller) -> str:
    codes = [caller.order()["code"], caller.order(**STOP)["code"], caller.order(**CLOSE)["code"]]
    return " ".join("no" if code == REFUSAL["code"] else "yes" for code in codes)


def of_a_one_way_short(caller: Caller) -> str:
    caller.call("POST", "/swap/v1/positionSide/dual", dualSidePosition="false")
    caller.order(side="SELL", positionSide="BOTH")
    [position] = caller.data("GET", "/swap/v2/user/positions")
    return f"{position['positionSide']} {position['positionAmt']}"


def of_a_stop_s_id(caller: Caller) -> str:
    caller.order()
    order_id = caller.order(clientOrderID="stop", **STOP)["data"]["order"]["orderId"]
    return str(caller.data("GET", "/swap/v2/trade/order", orderId=order_id, **BTC)["order"]["clientOrderId"])


END = (int(time.time()) // 60 - 600) * 60_000


def of_old_candles(caller: Caller) -> str:
    rows = caller.public("/swap/v3/quote/klines", interval="1m", endTime=END, limit=4, **BTC)["data"]
    return " ".join(str((END - row["time"]) // 60_000) for row in rows)


def of_the_newest_candle(caller: Caller) -> str:
    newest = caller.public("/swap/v3/quote/klines", interval="1m", limit=1, **BTC)["data"][0]["time"]
    now = caller.public("/swap/v2/server/time")["data"]["serverTime"]
    return "future" if newest > now else "running"


class Kind(NamedTuple):
    """A switch, what it is set to, how one looks, and what one sees without and with it."""

    value: Any
    look: Callable[[Caller], str]
    without: str
    seen: str
    # What must be on in both cases for the switch to show.
    beside: dict[str, Any] = {}


KINDS = {
    "lost_before": Kind(1, of_an_order, "0", "silence"),
    "reset_before": Kind(1, of_an_order, "0", "reset"),
    "rate_limit": Kind(1, of_an_order, "0", "100410"),
    "busy_before": Kind(1, of_an_order, "0", "100500"),
    "delay": Kind(1, of_a_second, "fast", "slow"),
    "timeout_after": Kind(1, of_an_order, "0", "silence"),
    "reset_after": Kind(1, of_an_order, "0", "reset"),
    "gateway_after": Kind(1, of_an_order, "0", "504"),
    "garbage_after": Kind(1, of_an_order, "0", "unreadable"),
    "codeless_after": Kind(1, of_an_order, "0", "codeless"),
    "error_before": Kind(1, of_an_order, "0", "503"),
    "error_after": Kind(1, of_an_order, "0", "500"),
    "busy_after": Kind(1, of_an_order, "0", "109500"),
    "hold_ms": Kind(50, of_a_silence, "silence", "closed", {"orders": {"lost_before": 1}}),
    "rate_limit_ms": Kind(900, of_a_rate_limit, "long", "short", {"orders": {"rate_limit": 1}}),
    "rate_limit_status": Kind(418, of_a_status, "200", "418", {"orders": {"rate_limit": 1}}),
    "rate_limits": Kind(True, of_many_requests, "free", "limited"),
    "error_limits": Kind(True, of_an_error_again_and_again, "109425", "100410"),
    "clock_offset_ms": Kind(-60_000, of_an_order, "0", "100421"),
    "lookup_lag_ms": Kind(60_000, of_a_look_up, "0", "109421"),
    "lag_everywhere": Kind(True, of_a_list, "1", "0", {"lookup_lag_ms": 60_000}),
    "stale_cancel": Kind(1, of_a_cancel, "CANCELLED", "PENDING"),
    "dedupe": Kind("none", of_an_id_used_twice, "101400", "0"),
    "bare_order": Kind(1, of_an_echo, "wrapped", "bare"),
    "partial_fills": Kind({"slices": 3}, of_the_fills, "1", "3"),
    "reject_entries": Kind(REFUSAL, of_an_entry_an_exit_and_a_stop, "yes yes yes", "no yes yes"),
    "reject_stops": Kind(REFUSAL, of_an_entry_an_exit_and_a_stop, "yes yes yes", "yes no yes"),
    "reject_exits": Kind(REFUSAL, of_an_entry_an_exit_and_a_stop, "yes yes yes", "yes yes no"),
    "signed_one_way": Kind(True, of_a_one_way_short, "SHORT 0.0100", "BOTH -0.0100"),
    "stop_client_ids": Kind(True, of_a_stop_s_id, "", "stop"),
    "kline_holes": Kind([["BTC-USDT", END - 180_000, END - 60_000]], of_old_candles, "1 2 3 4", "1 4"),
    "kline_repeat": Kind(2, of_old_candles, "1 2 3 4", "1 2 2 3 4 4"),
    "kline_truncate": Kind(3, of_old_candles, "1 2 3 4", "1 2 3"),
    "kline_future": Kind(True, of_the_newest_candle, "running", "future"),
}


def test_every_kind_of_fault_is_shown_here() -> None:
    assert set(KINDS) == ODDS | SWITCHES


@pytest.mark.parametrize("name", KINDS)
def test_a_fault_is_off_by_default_on_when_asked_and_off_when_cleared(caller: Caller, name: str) -> None:
    kind = KINDS[name]
    switch = {name: kind.value} if name in SWITCHES else {"orders": {name: kind.value, "delay_ms": [1000, 1000]}}
    for is_on in (False, True, False):
        start_over(caller)
        assert caller.control("GET", "/faults")["switches"] == {}
        caller.control("POST", "/faults", **kind.beside | (switch if is_on else {}))
        expected = kind.seen if is_on else kind.without
        with patience(caller, 0.2 if expected == "silence" else 10):
            assert kind.look(caller) == expected


@pytest.mark.parametrize("group", sorted(GROUPS))
def test_the_odds_of_a_group_are_those_of_its_addresses_alone(caller: Caller, group: str) -> None:
    asked = {
        "orders": ("POST", "/swap/v2/trade/order/test"),
        "cancels": ("DELETE", "/swap/v2/trade/allOpenOrders"),
        "lookups": ("GET", "/swap/v2/trade/openOrders"),
        "account": ("GET", "/swap/v3/user/balance"),
        "market": ("GET", "/swap/v2/server/time"),
    }
    caller.control("POST", "/faults", **{group: {"codeless_after": 1}})
    suffers = {name for name, (verb, path) in asked.items() if "code" not in caller.call(verb, path)}
    assert suffers == (set(asked) if group == "all" else {group})


@pytest.mark.parametrize("fault", sorted(ODDS))
def test_what_fails_before_has_left_nothing_and_what_fails_after_has_executed(caller: Caller, fault: str) -> None:
    caller.control("POST", "/faults", orders={fault: 1, "delay_ms": [20, 20]}, hold_ms=200)
    of_an_order(caller)
    assert len(caller.control("GET", "/ledger")["orders"]) == (fault not in BEFORE)


@pytest.mark.parametrize("status", [418, 429, 500])
def test_an_address_that_is_shut_keeps_the_status(caller: Caller, status: int) -> None:
    caller.control("POST", "/faults", rate_limits=True, rate_limit_status=status)
    assert of_many_requests(caller) == "limited"
    assert caller.last_status == status


def test_who_repeats_an_error_is_told_when_he_may_come_back_and_others_are_served(caller: Caller) -> None:
    caller.control("POST", "/faults", error_limits=True, rate_limit_ms=60_000)
    for _ in range(21):
        assert caller.order(quantity="1000")["code"] == 101204
    refusal = caller.order()
    until = unblocked_at(refusal["msg"])
    assert refusal["code"] == 100410
    assert until is not None
    assert timedelta(0) < until - datetime.now(UTC) <= timedelta(minutes=1)
    assert caller.call("GET", "/swap/v3/user/balance")["code"] == 0
    caller.control("DELETE", "/faults")
    assert caller.order()["code"] == 0


def test_what_is_on_is_told(caller: Caller) -> None:
    caller.control("POST", "/faults", kline_repeat=3, stale_cancel=0.5, reject_stops=REFUSAL)
    assert caller.control("GET", "/faults")["switches"] == {
        "kline_repeat": 3,
        "stale_cancel": 0.5,
        "reject_stops": [REFUSAL["code"], REFUSAL["msg"]],
    }
