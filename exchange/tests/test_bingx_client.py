import ipaddress
import logging
import os
import socket
import ssl
import struct
import threading
import time
import traceback
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import requests
import responses
import urllib3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from loguru import logger

from exchange import bingx, tallies
from exchange.bingx import BingX, KeyPermission
from exchange.errors import (
    Duplicate,
    ExchangeError,
    NotSent,
    OrderNotFound,
    OutcomeUnknown,
    RateLimited,
    Refused,
    RetrySoon,
)
from exchange.phrasing import to_ms
from exchange.refusals import EPOCH, ClockSkew
from exchange.signing import sign, text_to_sign
from exchange.tests import recordings
from exchange.tests.scripted_server import (
    BROKEN_CHUNKS,
    BROKEN_GZIP,
    CLOSE,
    ENDLESS_HEADERS,
    HALF_A_BODY,
    NO_HTTP,
    RESET,
    SILENCE,
    ScriptedServer,
    answer,
    ok,
    refusal,
)
from exchange.types import (
    MarginMode,
    Market,
    OrderRequest,
    OrderType,
    PositionMode,
    PositionSide,
    ReportStatus,
    Side,
)
from pelusa.tests.planted import planted

D = Decimal
KEY, SECRET = planted("exchange key"), planted("exchange secret")
NOW = datetime(2026, 11, 22, 10, 0, 0, 123456, tzinfo=UTC)
ECHO = {
    "orderId": 1735950529123455000,
    "symbol": "BTC-USDT",
    "side": "BUY",
    "positionSide": "LONG",
    "type": "MARKET",
    "quantity": 0.01,
    "clientOrderID": "p1abc",
    "clientOrderId": "",
    "status": "FILLED",
    "avgPrice": "68196.0",
    "executedQty": "0.0100",
}
ENTRY = OrderRequest(
    market=Market.USDTM,
    symbol="BTC-USDT",
    side=Side.BUY,
    position_side=PositionSide.LONG,
    order_type=OrderType.MARKET,
    quantity=D("0.01"),
    client_order_id="p1abc",
    signed_at=NOW - timedelta(seconds=1),
)


def client_of(server, **options) -> BingX:
    options = {"key": KEY, "secret": SECRET, "clock": lambda: NOW, "read_timeout": 2.0} | options
    return BingX(base_url=server if isinstance(server, str) else server.url, **options)


@pytest.fixture(autouse=True)
def no_long_pauses(monkeypatch):
    monkeypatch.setattr(bingx, "READ_PAUSES", (0.01, 0.01))


@pytest.fixture
def server():
    with ScriptedServer() as scripted:
        yield scripted


# What is said: every call, its verb, address and parameters, with the recorded answer that it gets.

NET, ONE_DAY = recordings.bingx_net, timedelta(days=1)
WRITE_ANSWER = {"code": 0, "msg": ""}
SWAP_ORDER = NET("PerpetualFutures/Trading/GetOrder")
COIN_ORDER = recordings.ccxt("fetchOrder", "inverse swap order")
SPOT_CANCEL = NET("Spot/Trading/CancelOrder")
SPAN = {"start": NOW - ONE_DAY, "end": NOW}
SPAN_MS = {"startTime": str(to_ms(NOW - ONE_DAY)), "endTime": str(to_ms(NOW))}

CALLS = [
    (
        lambda c: c.leverage(Market.USDTM, "BTC-USDT"),
        ("GET", "/openApi/swap/v2/trade/leverage", {"symbol": "BTC-USDT"}),
        NET("PerpetualFutures/Account/GetLeverage"),
    ),
    (
        lambda c: c.leverage(Market.COINM, "SOL-USD"),
        ("GET", "/openApi/cswap/v1/trade/leverage", {"symbol": "SOL-USD"}),
        NET("PerpetualFutures/Account/GetLeverage"),
    ),
    (
        lambda c: c.set_leverage(Market.USDTM, "BTC-USDT", PositionSide.BOTH, 10),
        ("POST", "/openApi/swap/v2/trade/leverage", {"leverage": "10", "side": "BOTH", "symbol": "BTC-USDT"}),
        NET("PerpetualFutures/Account/SetLeverage"),
    ),
    (
        lambda c: c.set_leverage(Market.COINM, "SOL-USD", PositionSide.LONG, 10),
        ("POST", "/openApi/cswap/v1/trade/leverage", {"leverage": "10", "side": "LONG", "symbol": "SOL-USD"}),
        WRITE_ANSWER,
    ),
    (
        lambda c: c.margin_mode(Market.USDTM, "BTC-USDT"),
        ("GET", "/openApi/swap/v2/trade/marginType", {"symbol": "BTC-USDT"}),
        recordings.ccxt("fetchMarginMode", "linear"),
    ),
    (
        lambda c: c.margin_mode(Market.COINM, "SOL-USD"),
        ("GET", "/openApi/cswap/v1/trade/marginType", {"symbol": "SOL-USD"}),
        recordings.ccxt("fetchMarginMode", "inverse"),
    ),
    (
        lambda c: c.set_margin_mode(Market.USDTM, "BTC-USDT", MarginMode.ISOLATED),
        ("POST", "/openApi/swap/v2/trade/marginType", {"marginType": "ISOLATED", "symbol": "BTC-USDT"}),
        NET("PerpetualFutures/Account/SetMarginMode"),
    ),
    (
        lambda c: c.set_margin_mode(Market.COINM, "SOL-USD", MarginMode.CROSSED),
        ("POST", "/openApi/cswap/v1/trade/marginType", {"marginType": "CROSSED", "symbol": "SOL-USD"}),
        WRITE_ANSWER,
    ),
    (
        lambda c: c.position_mode(),
        ("GET", "/openApi/swap/v1/positionSide/dual", {}),
        NET("PerpetualFutures/Account/GetPositionMode"),
    ),
    (
        lambda c: c.set_position_mode(PositionMode.HEDGE),
        ("POST", "/openApi/swap/v1/positionSide/dual", {"dualSidePosition": "true"}),
        NET("PerpetualFutures/Account/SetPositionMode"),
    ),
    (
        lambda c: c.balances(Market.USDTM),
        ("GET", "/openApi/swap/v3/user/balance", {}),
        NET("PerpetualFutures/Account/GetBalances"),
    ),
    (
        lambda c: c.balances(Market.COINM),
        ("GET", "/openApi/cswap/v1/user/balance", {}),
        NET("PerpetualFutures/Account/GetBalances"),
    ),
    (
        lambda c: c.balances(Market.SPOT),
        ("GET", "/openApi/spot/v1/account/balance", {}),
        NET("Spot/Account/GetBalances"),
    ),
    (
        lambda c: c.positions(Market.USDTM),
        ("GET", "/openApi/swap/v2/user/positions", {}),
        NET("PerpetualFutures/Trading/GetPositions"),
    ),
    (
        lambda c: c.positions(Market.USDTM, "LTC-USDT"),
        ("GET", "/openApi/swap/v2/user/positions", {"symbol": "LTC-USDT"}),
        recordings.ccxt("fetchPositions", "linear"),
    ),
    (
        lambda c: c.positions(Market.COINM, "SOL-USD"),
        ("GET", "/openApi/cswap/v1/user/positions", {"symbol": "SOL-USD"}),
        recordings.ccxt("fetchPositions", "inverse"),
    ),
    (
        lambda c: c.order(Market.USDTM, "OP-USDT", exchange_order_id="1736012449498123500"),
        ("GET", "/openApi/swap/v2/trade/order", {"orderId": "1736012449498123500", "symbol": "OP-USDT"}),
        SWAP_ORDER,
    ),
    (
        lambda c: c.order(Market.USDTM, "OP-USDT", client_order_id="l*****e"),
        ("GET", "/openApi/swap/v2/trade/order", {"clientOrderId": "l*****e", "symbol": "OP-USDT"}),
        SWAP_ORDER,
    ),
    (
        lambda c: c.order(Market.COINM, "SOL-USD", exchange_order_id="1816342420721254400"),
        ("GET", "/openApi/cswap/v1/trade/orderDetail", {"orderId": "1816342420721254400", "symbol": "SOL-USD"}),
        COIN_ORDER,
    ),
    (
        lambda c: c.order(Market.SPOT, "BRG-USDT", client_order_id="abc_1"),
        ("GET", "/openApi/spot/v1/trade/query", {"clientOrderID": "abc_1", "symbol": "BRG-USDT"}),
        NET("Spot/Trading/GetOrder"),
    ),
    (
        lambda c: c.cancel_order(Market.USDTM, "OP-USDT", exchange_order_id="1736012449498123500"),
        ("DELETE", "/openApi/swap/v2/trade/order", {"orderId": "1736012449498123500", "symbol": "OP-USDT"}),
        NET("PerpetualFutures/Trading/CancelOrder"),
    ),
    (
        lambda c: c.cancel_order(Market.COINM, "SOL-USD", exchange_order_id="1816342420721254400"),
        ("DELETE", "/openApi/cswap/v1/trade/cancelOrder", {"orderId": "1816342420721254400", "symbol": "SOL-USD"}),
        COIN_ORDER,
    ),
    (
        lambda c: c.cancel_order(Market.SPOT, "NEMS-USDT", client_order_id="abc_1"),
        ("POST", "/openApi/spot/v1/trade/cancel", {"clientOrderID": "abc_1", "symbol": "NEMS-USDT"}),
        SPOT_CANCEL,
    ),
    (
        lambda c: c.open_orders(Market.USDTM),
        ("GET", "/openApi/swap/v2/trade/openOrders", {}),
        NET("PerpetualFutures/Trading/GetOpenOrders"),
    ),
    (
        lambda c: c.open_orders(Market.COINM, "SOL-USD"),
        ("GET", "/openApi/cswap/v1/trade/openOrders", {"symbol": "SOL-USD"}),
        NET("PerpetualFutures/Trading/GetOpenOrders"),
    ),
    (
        lambda c: c.open_orders(Market.SPOT, "LTC-USDT"),
        ("GET", "/openApi/spot/v1/trade/openOrders", {"symbol": "LTC-USDT"}),
        recordings.ccxt("fetchOpenOrders", "spot"),
    ),
    (
        lambda c: c.past_orders(Market.USDTM, "PYTH-USDT", **SPAN),
        ("GET", "/openApi/swap/v1/trade/fullOrder", {"symbol": "PYTH-USDT", "limit": "1000"} | SPAN_MS),
        NET("PerpetualFutures/Trading/GetOrders"),
    ),
    (
        lambda c: c.past_orders(Market.COINM, "SOL-USD", **SPAN),
        ("GET", "/openApi/cswap/v1/trade/orderHistory", {"symbol": "SOL-USD", "limit": "1000"} | SPAN_MS),
        NET("PerpetualFutures/Trading/GetOrders"),
    ),
    (
        lambda c: c.past_orders(Market.SPOT, "SWCH-USDT", **SPAN),
        (
            "GET",
            "/openApi/spot/v1/trade/historyOrders",
            {"symbol": "SWCH-USDT", "pageIndex": "1", "pageSize": "100"} | SPAN_MS,
        ),
        NET("Spot/Trading/GetOrders"),
    ),
    (
        lambda c: c.fills(
            Market.COINM,
            "SOL-USD",
            exchange_order_id="1817441228670648320",
            start=datetime(2024, 7, 28, tzinfo=UTC),
            end=datetime(2024, 7, 29, tzinfo=UTC),
        ),
        (
            "GET",
            "/openApi/cswap/v1/trade/allFillOrders",
            {"orderId": "1817441228670648320", "pageIndex": "1", "pageSize": "1000"},
        ),
        recordings.ccxt("fetchMyTrades", "Inverse swap trade (10 USD"),
    ),
    (
        lambda c: c.fills(Market.SPOT, "BTC-USDT", **SPAN),
        ("GET", "/openApi/spot/v1/trade/myTrades", {"symbol": "BTC-USDT", "limit": "1000"} | SPAN_MS),
        NET("Spot/Trading/GetUserTrades"),
    ),
]
PUBLIC_CALLS = [
    (
        lambda c: c.instruments(Market.USDTM),
        ("GET", "/openApi/swap/v2/quote/contracts", {}),
        NET("PerpetualFutures/ExchangeData/GetContracts"),
    ),
    (
        lambda c: c.instruments(Market.COINM),
        ("GET", "/openApi/cswap/v1/market/contracts", {}),
        recordings.ccxt("fetchInverseSwapMarkets"),
    ),
    (
        lambda c: c.instruments(Market.SPOT),
        ("GET", "/openApi/spot/v1/common/symbols", {}),
        NET("Spot/ExchangeData/GetSymbols"),
    ),
    (
        lambda c: c.price(Market.USDTM, NET("PerpetualFutures/ExchangeData/GetLastTradePrice")["data"]["symbol"]),
        (
            "GET",
            "/openApi/swap/v1/ticker/price",
            {"symbol": NET("PerpetualFutures/ExchangeData/GetLastTradePrice")["data"]["symbol"]},
        ),
        NET("PerpetualFutures/ExchangeData/GetLastTradePrice"),
    ),
    (
        lambda c: c.price(Market.COINM, "SOL-USD"),
        ("GET", "/openApi/cswap/v1/market/ticker", {"symbol": "SOL-USD"}),
        {"code": 0, "msg": "", "timestamp": 1, "data": [{"symbol": "SOL-USD", "lastPrice": "138.3"}]},
    ),
    (
        lambda c: c.price(Market.SPOT, recordings.ccxt("fetchTicker", "public spot")["data"][0]["symbol"]),
        (
            "GET",
            "/openApi/spot/v1/ticker/24hr",
            {"symbol": recordings.ccxt("fetchTicker", "public spot")["data"][0]["symbol"]},
        ),
        recordings.ccxt("fetchTicker", "public spot"),
    ),
    (
        lambda c: c.klines(Market.USDTM, "BTC-USDT", "1m", start=None, end=None, limit=5),
        ("GET", "/openApi/swap/v3/quote/klines", {"symbol": "BTC-USDT", "interval": "1m", "limit": "5"}),
        NET("PerpetualFutures/ExchangeData/GetKlines"),
    ),
    (
        lambda c: c.klines(Market.COINM, "BTC-USD", "1m", start=None, end=None, limit=3),
        ("GET", "/openApi/cswap/v1/market/klines", {"symbol": "BTC-USD", "interval": "1m", "limit": "3"}),
        NET("PerpetualFutures/ExchangeData/GetKlines"),
    ),
    (
        lambda c: c.klines(Market.SPOT, "BTC-USDT", "1m", start=None, end=None),
        (
            "GET",
            "/openApi/spot/v1/market/kline",
            {"symbol": "BTC-USDT", "interval": "1m", "limit": "1000", "timeZone": "0"},
        ),
        NET("Spot/ExchangeData/GetKlines"),
    ),
]


@pytest.mark.parametrize(("call", "expected", "recorded"), CALLS, ids=[f"{c[1][0]} {c[1][1]}" for c in CALLS])
def test_a_signed_call_is_signed_as_received_and_reads_the_recorded_answer(server, call, expected, recorded):
    server.script = [answer(recorded)]
    client = client_of(server)
    result = call(client)
    [request] = server.received
    assert (request.method, request.path, request.business) == expected
    assert request.method == "POST" or result, "a read brings something"
    assert request.headers["x-bx-apikey"] == KEY
    assert request.body == b""
    assert request.parameters["recvWindow"] == "5000"
    assert request.parameters["timestamp"] == str(to_ms(NOW))
    *sent, (last, signature) = request.pairs
    assert last == "signature"
    assert sent == sorted(sent)
    assert signature == sign(SECRET, text_to_sign(sent))


@pytest.mark.parametrize(("call", "expected", "recorded"), PUBLIC_CALLS, ids=[c[1][1] for c in PUBLIC_CALLS])
def test_a_public_call_carries_no_key_and_reads_the_recorded_answer(server, call, expected, recorded):
    server.script = [answer(recorded)]
    assert call(client_of(server, key="", secret=""))
    [request] = server.received
    assert (request.method, request.path, request.business) == expected
    assert "x-bx-apikey" not in request.headers
    assert "signature" not in request.parameters


def test_every_address_is_one_that_ccxt_or_bingx_net_calls_too():
    theirs = {(c["method"], c["path"]) for c in recordings.read("ccxt-static/request_bingx_2026_wire.json")["cases"]}
    theirs |= {(e["method"], e["path"]) for e in recordings.read("bingx-net/INDEX.json")["rest"]}
    theirs |= {tuple(c["endpoint"].split()) for c in recordings.ccxt_cases()}
    ours = {call[1][:2] for call in CALLS + PUBLIC_CALLS}
    assert ours <= theirs


def test_permissions_come_bare_and_name_the_right_to_withdraw(server):
    server.script = [answer({"apiKey": KEY, "permissions": [2, 3, 5], "ipAddresses": [], "note": "x"})]
    assert KeyPermission.WITHDRAW in client_of(server).permissions()
    assert server.received[0].path == "/openApi/v1/account/apiPermissions"


def test_a_bare_answer_is_taken_for_permissions_only(server):
    server.respond = lambda _: answer({"permissions": [2], "balances": []})
    with pytest.raises(OutcomeUnknown):
        client_of(server).balances(Market.SPOT)


@pytest.mark.parametrize("name", ["positions", "leverage", "margin_mode"])
def test_spot_has_no_positions_leverage_or_margin_mode(server, name):
    with pytest.raises(ValueError, match="spot has no"):
        getattr(client_of(server), name)(Market.SPOT, "BTC-USDT")
    assert server.received == []


# Orders


def placed(server, request, echo=None) -> dict[str, str]:
    server.script = [ok({"order": echo or ECHO})]
    client_of(server).place_order(request)
    return server.received[-1].business


def test_a_market_entry_in_hedge_mode(server):
    assert placed(server, ENTRY) == {
        "symbol": "BTC-USDT",
        "side": "BUY",
        "positionSide": "LONG",
        "type": "MARKET",
        "quantity": "0.01",
        "clientOrderId": "p1abc",
    }


def test_an_order_signs_exactly_the_committed_time_whatever_the_clocks_say(server):
    server.script = [ok({"order": ECHO})]
    client = client_of(server, clock=lambda: NOW + timedelta(hours=1), clock_offset=timedelta(hours=3))
    client.place_order(ENTRY)
    assert server.received[0].parameters["timestamp"] == str(to_ms(ENTRY.signed_at))
    assert server.received[0].parameters["timestamp"] == "1795341599123", "milliseconds, cut and not rounded"


def test_the_receive_window_is_the_one_that_was_asked_for(server):
    server.script = [ok({"order": ECHO})]
    client_of(server, recv_window_ms=1500).place_order(ENTRY)
    assert server.received[0].parameters["recvWindow"] == "1500"


def test_a_filled_echo_is_reported_at_once(server):
    server.script = [ok({"order": ECHO})]
    report = client_of(server).place_order(ENTRY)
    assert (report.status, report.avg_price, report.filled_quantity) == (ReportStatus.FILLED, D("68196.0"), D("0.01"))
    assert report.exchange_order_id == "1735950529123455000"


def test_reduce_only_is_said_in_one_way_mode_and_never_in_hedge_mode(server):
    close = replace(ENTRY, side=Side.SELL, reduce_only=True)
    assert "reduceOnly" not in placed(server, close)
    one_way = replace(close, position_side=PositionSide.BOTH)
    assert placed(server, one_way)["reduceOnly"] == "true"


def test_a_limit_order_names_price_and_time_in_force_without_exponents(server):
    request = replace(ENTRY, order_type=OrderType.LIMIT, price=D("1E+3"), quantity=D("1E-7"))
    said = placed(server, request)
    assert (said["price"], said["quantity"], said["timeInForce"]) == ("1000", "0.0000001", "GTC")


def test_a_stop_names_its_trigger_and_no_client_id_on_a_perpetual(server):
    stop = replace(ENTRY, side=Side.SELL, order_type=OrderType.STOP_MARKET, trigger_price=D("60000"))
    said = placed(server, stop, ECHO | {"type": "STOP_MARKET", "clientOrderID": "", "status": "NEW"})
    assert (said["stopPrice"], said["workingType"], said["type"]) == ("60000", "MARK_PRICE", "STOP_MARKET")
    assert not {"clientOrderId", "clientOrderID"} & set(said)


def test_spot_spells_the_id_differently_and_has_no_legs(server):
    spot = replace(ENTRY, market=Market.SPOT, position_side=PositionSide.BOTH)
    echo = NET("Spot/Trading/PlaceOrder")["data"]
    server.script = [answer({"code": 0, "msg": "", "debugMsg": "", "data": echo})]
    report = client_of(server).place_order(spot)
    assert server.received[0].path == "/openApi/spot/v1/trade/order"
    assert server.received[0].business == {
        "symbol": "BTC-USDT",
        "side": "BUY",
        "type": "MARKET",
        "quantity": "0.01",
        "newClientOrderId": "p1abc",
    }
    assert report.client_order_id == "p1abc"


def test_a_coin_m_echo_lies_directly_in_data(server):
    request = replace(ENTRY, market=Market.COINM, symbol="SOL-USD", quantity=D(2))
    server.script = [ok(ECHO | {"symbol": "SOL-USD", "quantity": 2})]
    report = client_of(server).place_order(request)
    assert server.received[0].path == "/openApi/cswap/v1/trade/order"
    assert (report.symbol, report.quantity) == ("SOL-USD", 2)


@pytest.mark.parametrize(
    "change",
    [
        {"quantity": D(0)},
        {"quantity": D("-1")},
        {"quantity": D("NaN")},
        {"quantity": D("1e400000")},
        {"client_order_id": "UPPER"},
        {"client_order_id": ""},
        {"client_order_id": "x" * 41},
        {"client_order_id": "a&side=SELL"},
        {"order_type": OrderType.LIMIT},
        {"order_type": OrderType.LIMIT, "price": D(0)},
        {"order_type": OrderType.STOP_MARKET},
        {"reduce_only": True},
        {"market": Market.SPOT},
        {"market": Market.SPOT, "position_side": PositionSide.BOTH, "client_order_id": "a-b"},
        {"market": Market.SPOT, "position_side": PositionSide.BOTH, "reduce_only": True},
        {"signed_at": NOW.replace(tzinfo=None)},
    ],
)
def test_an_order_that_contradicts_itself_is_never_sent(server, change):
    with pytest.raises((ValueError, ArithmeticError)):
        client_of(server).place_order(replace(ENTRY, **change))
    assert server.received == []


@pytest.mark.parametrize("ids", [{}, {"client_order_id": "a", "exchange_order_id": "1"}, {"client_order_id": ""}])
def test_an_order_is_named_by_exactly_one_id(server, ids):
    for call in (client_of(server).order, client_of(server).cancel_order):
        with pytest.raises(ValueError, match="either"):
            call(Market.USDTM, "BTC-USDT", **ids)
    assert server.received == []


@pytest.mark.parametrize("ids", [{"client_order_id": "mine"}, {"exchange_order_id": "1"}])
def test_another_order_s_fate_never_passes_for_the_one_asked_for(server, ids):
    server.respond = lambda _: answer(SWAP_ORDER)
    with pytest.raises(OutcomeUnknown, match="another"):
        client_of(server).order(Market.USDTM, "OP-USDT", **ids)


# What may have happened: real sockets that answer, reset, hang and lie.

UNKNOWN_AFTER_SENDING = {
    "reset": RESET,
    "closed without a word": CLOSE,
    "no answer in time": SILENCE,
    "half a body": HALF_A_BODY,
    "broken chunks": BROKEN_CHUNKS,
    "not HTTP": NO_HTTP,
    "endless headers": ENDLESS_HEADERS,
    "broken gzip": BROKEN_GZIP,
    "500 html": answer(b"<html>Internal Server Error</html>", 500),
    "502 html": answer(b"<html>Bad Gateway</html>", 502),
    "504": answer(b"", 504),
    "500 with a refusal's code": refusal(101204, "Insufficient margin", status=500),
    "403 html of a firewall": answer(b"<html>Forbidden</html>", 403),
    "200 html": answer(b"<html>maintenance</html>"),
    "empty 200": answer(b""),
    "no code": answer({"msg": "ok", "data": {}}),
    "code null": answer({"code": None, "data": {}}),
    "code of a strange kind": answer({"code": {"a": 1}, "data": {}}),
    "a list": answer([]),
    "deep nesting": answer(b"[" * 50_000),
    "NaN": answer(b'{"code": 0, "data": NaN}'),
    "not UTF-8": answer(b'{"code": 0, "msg": "\xff\xfe"}'),
    "a redirect": answer(b"", 302, Location="http://127.0.0.1:9/"),
    "a redirect nobody can read": answer(b"", 302, Location="http://[\xff"),
    "code 0 on a 404": answer({"code": 0, "data": {"order": ECHO}}, 404),
    "code 0 and no order": ok({}),
    "code 0 and no data": answer({"code": 0, "msg": ""}),
    "code 0 and an order without an id": ok({"order": {"symbol": "BTC-USDT"}}),
    "code 0 and a broken number": ok({"order": ECHO | {"executedQty": "much"}}),
    "code 0 and another's id": ok({"order": ECHO | {"clientOrderID": "other"}}),
    "code 0 and an unknown side": ok({"order": ECHO | {"side": "SHRUG"}}),
    "unheard-of code": refusal(123456, "???"),
    "system error": refusal(109500, "The current system is busy"),
    "old system error": refusal(80012, "service unavailable"),
    "RPC time-out": refusal(101500, "rpc timeout"),
    "being processed": refusal(80019, "order is being processed"),
    "busy": refusal(100500, "busy"),
    "order missing, on a submit": refusal(109421, "order not exist"),
}


@pytest.mark.parametrize("step", UNKNOWN_AFTER_SENDING.values(), ids=UNKNOWN_AFTER_SENDING.keys())
def test_after_sending_only_a_clear_no_is_a_no(server, step):
    server.script = [step]
    with pytest.raises(OutcomeUnknown):
        client_of(server, read_timeout=0.3).place_order(ENTRY)
    assert len(server.received) == 1, "a write is never repeated"


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (refusal(101204, "Insufficient margin"), Refused),
        (refusal(100001, "Signature verification failed"), Refused),
        (refusal(101400, "clientOrderID unique check failed"), Duplicate),
        (refusal(101214, "funding"), RetrySoon),
        (refusal(100421, "Null timestamp or timestamp mismatch"), ClockSkew),
        (refusal(100410, "rate limited"), RateLimited),
        (refusal(100410, "rate limited", status=500), RateLimited),
        (refusal(109429, "rate limited", status=429), RateLimited),
        (answer(b"<html>slow down</html>", 429), RateLimited),
        (answer(b"", 418), RateLimited),
        (answer({"code": 100419, "msg": "IP does not match", "success": False, "timestamp": 1705274099347}), Refused),
        (answer({"code": "101204", "msg": "as text"}), Refused),
        (refusal(101204, "with another HTTP status", status=400), Refused),
    ],
)
def test_a_clear_no_is_refused_once(server, step, expected):
    server.script = [step]
    with pytest.raises(expected) as caught:
        client_of(server).place_order(ENTRY)
    assert type(caught.value) is expected
    assert len(server.received) == 1


def test_a_rate_limit_names_the_moment(server):
    server.script = [refusal(100410, "... will be unblocked after 1727193814249")]
    with pytest.raises(RateLimited) as caught:
        client_of(server).balances(Market.USDTM)
    assert caught.value.retry_at == EPOCH + timedelta(milliseconds=1727193814249)
    assert len(server.received) == 1, "a limit is not tested by asking again"


def closed_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return listener.getsockname()[1]


def test_a_closed_port_means_not_sent():
    with pytest.raises(NotSent):
        client_of(f"http://127.0.0.1:{closed_port()}").place_order(ENTRY)


def test_what_went_wrong_is_counted_by_kind_and_endpoint_and_nothing_of_it_by_what_the_exchange_said(server):
    tallies.take()
    server.respond = lambda _: refusal(101204, "Insufficient margin of somebody")
    with pytest.raises(Refused):
        client_of(server).place_order(ENTRY)
    with pytest.raises(NotSent):
        client_of(f"http://127.0.0.1:{closed_port()}").place_order(ENTRY)
    endpoint = ("endpoint", "POST /openApi/swap/v2/trade/order")
    errors = {labels: amount for (name, labels), amount in tallies.take().items() if name == "exchange_errors"}
    assert errors == {(endpoint, ("kind", "Refused")): 1, (endpoint, ("kind", "NotSent")): 1}


def test_a_name_that_does_not_resolve_means_not_sent():
    with pytest.raises(NotSent):
        client_of("http://no-such-host.invalid").place_order(ENTRY)


def test_a_connection_that_is_never_accepted_means_not_sent():
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        try:
            began = time.monotonic()
            with pytest.raises(NotSent):
                client_of(f"http://127.0.0.1:{listener.getsockname()[1]}", connect_timeout=0.3).place_order(ENTRY)
            assert time.monotonic() - began < 2
        finally:
            for one in waiting:
                one.close()


def test_without_a_key_nothing_is_sent(server):
    for client in (client_of(server, key=""), client_of(server, secret=" \n")):
        for call in (lambda c: c.place_order(ENTRY), lambda c: c.balances(Market.USDTM)):
            with pytest.raises(NotSent, match="no API key"):
                call(client)
    assert server.received == []


def test_a_key_with_a_pasted_newline_is_cleaned_and_one_that_no_header_can_carry_is_not_sent(server):
    server.script = [ok({"order": ECHO})]
    client_of(server, key=f" {KEY}\r\n", secret=f"{SECRET}\n").place_order(ENTRY)
    *sent, (_, signature) = server.received[0].pairs
    assert server.received[0].headers["x-bx-apikey"] == KEY
    assert signature == sign(SECRET, text_to_sign(sent))
    with pytest.raises(NotSent):
        client_of(server, key="a\nb").place_order(ENTRY)
    assert len(server.received) == 1


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Return a certificate for 127.0.0.1 that its owner signed, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "scripted")])
    built = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - ONE_DAY)
        .not_valid_after(datetime.now(UTC) + ONE_DAY)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    pem = built.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "cert.pem").write_bytes(pem)
    (folder / "both.pem").write_bytes(pem + secret)
    return folder


@pytest.fixture
def tls_server(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "both.pem")
    with ScriptedServer(tls=context) as scripted:
        yield scripted


def trusting(server, certificate) -> BingX:
    client = client_of(server)
    client._wire._session.verify = str(certificate / "cert.pem")
    return client


def test_a_certificate_that_nobody_signed_means_not_sent(tls_server):
    with pytest.raises(NotSent):
        client_of(tls_server).place_order(ENTRY)
    assert tls_server.received == []


def test_a_server_that_speaks_no_tls_means_not_sent(server):
    with pytest.raises(NotSent):
        client_of(server.url.replace("http:", "https:"), connect_timeout=0.3).place_order(ENTRY)
    assert server.received == []


@pytest.mark.parametrize("linger", [b"", struct.pack("ii", 1, 0)], ids=["closed", "reset"])
def test_a_handshake_that_is_cut_short_means_not_sent(linger):
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def cut() -> None:
            connection, _ = listener.accept()
            connection.recv(100)
            if linger:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            connection.close()

        thread = threading.Thread(target=cut)
        thread.start()
        with pytest.raises(NotSent):
            client_of(f"https://127.0.0.1:{listener.getsockname()[1]}").place_order(ENTRY)
        thread.join(5)


def test_an_order_goes_over_tls_and_a_reset_after_it_is_unknown(tls_server, certificate):
    tls_server.script = [ok({"order": ECHO}), RESET]
    client = trusting(tls_server, certificate)
    assert client.place_order(ENTRY).status is ReportStatus.FILLED
    with pytest.raises(OutcomeUnknown):
        client.place_order(ENTRY)
    assert len(tls_server.received) == 2


def test_connections_are_kept_and_one_that_the_server_dropped_while_idle_is_replaced(server):
    server.script = [ok({"order": ECHO}), ok({"order": ECHO})]
    client = client_of(server)
    client.place_order(ENTRY)
    client.place_order(ENTRY)
    assert server.connections == 1
    server.script = [answer(ok_body(), Connection="close"), ok({"order": ECHO})]
    client.place_order(ENTRY)
    client.place_order(ENTRY)
    assert server.connections == 2
    assert len(server.received) == 4


def ok_body() -> dict:
    return {"code": 0, "msg": "", "data": {"order": ECHO}}


def test_a_kept_connection_that_dies_under_a_write_leaves_it_unknown_and_unrepeated(server):
    server.script = [ok({"order": ECHO}), CLOSE, ok({"order": ECHO})]
    client = client_of(server)
    client.place_order(ENTRY)
    with pytest.raises(OutcomeUnknown):
        client.place_order(ENTRY)
    assert [request.connection for request in server.received] == [1, 1]
    assert len(server.script) == 1


WRITES = {
    "place": lambda c: c.place_order(ENTRY),
    "cancel": lambda c: c.cancel_order(Market.USDTM, "BTC-USDT", client_order_id="p1abc"),
    "leverage": lambda c: c.set_leverage(Market.USDTM, "BTC-USDT", PositionSide.LONG, 5),
    "margin mode": lambda c: c.set_margin_mode(Market.USDTM, "BTC-USDT", MarginMode.CROSSED),
    "position mode": lambda c: c.set_position_mode(PositionMode.HEDGE),
}


@pytest.mark.parametrize(
    "step", [RESET, CLOSE, answer(b"", 502), refusal(100421, "timestamp")], ids=["reset", "closed", "502", "clock"]
)
@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_no_write_is_ever_sent_twice(server, write, step):
    server.respond = lambda _: step
    with pytest.raises(ExchangeError):
        write(client_of(server))
    assert len(server.received) == 1


# Reads


@pytest.mark.parametrize(
    "step",
    [RESET, CLOSE, HALF_A_BODY, answer(b"", 502), answer(b"<html>")],
    ids=["reset", "closed", "half", "502", "html"],
)
def test_a_lost_answer_to_a_read_is_asked_for_again_signed_afresh(server, step):
    times = iter([NOW, NOW + timedelta(seconds=1), NOW + timedelta(seconds=2)])
    server.script = [step, step, answer(NET("PerpetualFutures/Account/GetBalances"))]
    assert client_of(server, clock=lambda: next(times)).balances(Market.USDTM)
    stamps = [int(request.parameters["timestamp"]) for request in server.received]
    assert stamps == [to_ms(NOW), to_ms(NOW) + 1000, to_ms(NOW) + 2000]
    assert len({request.parameters["signature"] for request in server.received}) == 3


def test_a_read_gives_up_after_three_attempts(server):
    server.respond = lambda _: RESET
    with pytest.raises(OutcomeUnknown):
        client_of(server).balances(Market.USDTM)
    assert len(server.received) == 3


def test_a_read_gives_up_early_when_each_attempt_is_slow(server, monkeypatch):
    monkeypatch.setattr(bingx, "READ_BUDGET", 0.4)
    server.respond = lambda _: SILENCE
    with pytest.raises(OutcomeUnknown):
        client_of(server, read_timeout=0.3).balances(Market.USDTM)
    assert len(server.received) == 2


@pytest.mark.parametrize("code", [100001, 100413, 109500, 123456, 109421])
def test_a_business_answer_to_a_read_is_not_asked_for_again(server, code):
    server.respond = lambda _: refusal(code)
    with pytest.raises(ExchangeError) as caught:
        client_of(server).order(Market.USDTM, "BTC-USDT", client_order_id="p1abc")
    assert caught.value.code == str(code)
    assert len(server.received) == 1


def test_a_missing_order_is_said_to_be_missing(server):
    server.script = [refusal(109421, "order not exist"), refusal(80016, "order does not exist")]
    for _ in range(2):
        with pytest.raises(OrderNotFound):
            client_of(server).order(Market.USDTM, "BTC-USDT", client_order_id="p1abc")


class Clocked:
    """An exchange whose clock differs from ours and that refuses what it thinks is stale."""

    def __init__(self, server: ScriptedServer, ahead: timedelta) -> None:
        self.now_ms = to_ms(NOW + ahead)
        server.respond = self.respond

    def respond(self, request):
        if request.path.endswith("server/time"):
            return ok({"serverTime": self.now_ms})
        if abs(self.now_ms - int(request.parameters["timestamp"])) > 5000:
            return refusal(100421, "Null timestamp or timestamp mismatch")
        return answer(NET("PerpetualFutures/Account/GetBalances"))


@pytest.mark.parametrize("ahead", [timedelta(seconds=20), timedelta(seconds=-20)], ids=str)
def test_a_read_blamed_for_its_clock_compares_clocks_and_asks_once_more(server, ahead):
    Clocked(server, ahead)
    client = client_of(server)
    assert client.balances(Market.USDTM)
    assert client.clock_offset == ahead - timedelta(microseconds=NOW.microsecond % 1000)
    assert len(server.received) == 3
    assert client.balances(Market.USDTM)
    assert len(server.received) == 4, "the difference is kept"


def test_a_clock_that_is_blamed_twice_is_given_up(server):
    server.respond = lambda r: ok({"serverTime": to_ms(NOW)}) if "time" in r.path else refusal(100421, "timestamp")
    with pytest.raises(ClockSkew):
        client_of(server).balances(Market.USDTM)
    assert len(server.received) == 3


def test_a_time_server_that_blames_the_clock_ends_the_matter(server):
    server.respond = lambda _: refusal(100421, "timestamp")
    with pytest.raises(ClockSkew):
        client_of(server).balances(Market.USDTM)
    assert len(server.received) == 2


def test_a_write_blamed_for_its_clock_is_told_so_and_does_nothing_more(server):
    Clocked(server, timedelta(seconds=20))
    with pytest.raises(RetrySoon):
        client_of(server).place_order(ENTRY)
    assert len(server.received) == 1


# Candles: an exchange with BingX's habits (newest first, at most 1000, the newest kept)


class KlineHouse:
    def __init__(self, count: int, *, end_is_inclusive: bool, start_is_inclusive: bool) -> None:
        self.first = to_ms(datetime(2026, 1, 1, tzinfo=UTC))
        self.times = [self.first + 60_000 * n for n in range(count)]
        self.end_is_inclusive, self.start_is_inclusive = end_is_inclusive, start_is_inclusive

    def respond(self, request):
        said = request.parameters
        start, end = int(said.get("startTime", 0)), int(said.get("endTime", 10**14))
        kept = [
            t
            for t in self.times
            if (start <= t if self.start_is_inclusive else start < t)
            and (t <= end if self.end_is_inclusive else t < end)
        ]
        rows = [
            {"open": "1.10", "high": "2", "low": "0.5", "close": "1.5", "volume": "3", "time": t}
            for t in kept[::-1][: min(int(said.get("limit", 500)), 1000)]
        ]
        return ok(rows)


@pytest.mark.parametrize("end_is_inclusive", [True, False])
@pytest.mark.parametrize("start_is_inclusive", [True, False])
@pytest.mark.parametrize("count", [1, 999, 1000, 1001, 2500])
def test_paging_backwards_finds_every_candle_once_whichever_way_bingx_counts_its_bounds(
    server, count, start_is_inclusive, end_is_inclusive
):
    house = KlineHouse(count, start_is_inclusive=start_is_inclusive, end_is_inclusive=end_is_inclusive)
    server.respond = house.respond
    client = client_of(server)
    start, end, found = EPOCH + timedelta(milliseconds=house.first), datetime(2026, 2, 1, tzinfo=UTC), []
    while page := client.klines(Market.USDTM, "BTC-USDT", "1m", start=start, end=end):
        assert [k.open_time for k in page] == sorted(k.open_time for k in page)
        found, end = page + found, page[0].open_time
    assert [to_ms(k.open_time) for k in found] == house.times


def test_a_limit_is_met_exactly_and_bounds_are_kept(server):
    house = KlineHouse(300, start_is_inclusive=True, end_is_inclusive=True)
    server.respond = house.respond
    start = EPOCH + timedelta(milliseconds=house.first)
    end = start + timedelta(minutes=200)
    klines = client_of(server).klines(Market.USDTM, "BTC-USDT", "1m", start=start, end=end, limit=100)
    assert [to_ms(k.open_time) for k in klines] == house.times[100:200]


def test_candles_as_texts_keep_the_same_bounds(server):
    house = KlineHouse(300, start_is_inclusive=True, end_is_inclusive=True)
    server.respond = house.respond
    start = EPOCH + timedelta(milliseconds=house.first)
    asked = {"start": start, "end": start + timedelta(minutes=200), "limit": 100}
    texts = client_of(server).kline_texts(Market.USDTM, "BTC-USDT", "1m", **asked)
    assert [text[0] for text in texts] == house.times[100:200]


def test_a_start_without_an_end_asks_up_to_now(server):
    server.respond = lambda _: ok([])
    client_of(server).klines(Market.COINM, "BTC-USD", "1h", start=NOW - ONE_DAY, end=None)
    said = server.received[0].business
    assert said["startTime"] == str(to_ms(NOW - ONE_DAY) - 1)
    assert said["endTime"] == str(to_ms(NOW + timedelta(hours=1)))


@pytest.mark.parametrize(("interval", "limit"), [("1M ", 10), ("45m", 10), ("1m", 0), ("1m", 1001)])
def test_an_interval_or_limit_that_bingx_lacks_is_not_asked_for(server, interval, limit):
    with pytest.raises(ValueError, match="interval"):
        client_of(server).klines(Market.USDTM, "BTC-USDT", interval, start=None, end=None, limit=limit)
    assert server.received == []


# Ranges


class OrderHouse:
    """Answers fullOrder as BingX does: at most seven days, at most `limit`, nobody knows which end is kept."""

    def __init__(self, times: list[int]) -> None:
        self.times = times

    def respond(self, request):
        said = request.parameters
        start, end = int(said["startTime"]), int(said["endTime"])
        if end - start > 7 * 86_400_000:
            return refusal(109400, "the time range is too wide")
        mine = [(n, t) for n, t in enumerate(self.times) if start <= t <= end]
        rows = [{**SWAP_ORDER["data"]["order"], "orderId": 10**18 + n, "time": t} for n, t in mine]
        return ok({"orders": rows[: int(said["limit"])]})


def test_past_orders_are_found_whole_over_months_and_in_crowded_minutes(server):
    first = to_ms(NOW - timedelta(days=60))
    crowded = [first + 40 * 86_400_000 + 7 * n for n in range(2300)]
    times = [first + 86_400_000 * n for n in range(60)] + crowded
    server.respond = OrderHouse(times).respond
    found = client_of(server).past_orders(Market.USDTM, "OP-USDT", start=NOW - timedelta(days=60), end=NOW)
    assert [order.exchange_order_id for order in found] == [str(10**18 + n) for n in range(len(times))]


def test_more_orders_in_a_millisecond_than_a_page_holds_are_not_passed_over(server):
    server.respond = OrderHouse([to_ms(NOW)] * 1000).respond
    with pytest.raises(OutcomeUnknown):
        client_of(server).past_orders(Market.USDTM, "OP-USDT", start=NOW - timedelta(seconds=1), end=NOW)


@pytest.mark.parametrize("start", [NOW, NOW + ONE_DAY, datetime(1970, 1, 1, tzinfo=UTC)])
def test_an_empty_or_absurd_range_is_not_asked_for(server, start):
    with pytest.raises(ValueError, match="range"):
        client_of(server).past_orders(Market.USDTM, "OP-USDT", start=start, end=NOW)
    assert server.received == []


class FillHouse:
    """Answers fillHistory as BingX does: start exclusive, end inclusive, ascending, pages, a total."""

    def __init__(self, moments: list[datetime], *, total: int | None = None, is_paging: bool = True) -> None:
        self.moments, self.total, self.is_paging = moments, total, is_paging

    def row(self, number: int, moment: datetime) -> dict:
        local = moment.astimezone(UTC) + timedelta(hours=8)
        return {
            "symbol": "BTC-USDT",
            "qty": "0.001",
            "price": "50000.5",
            "quoteQty": "50.0005",
            "commission": "-0.025",
            "commissionAsset": "USDT",
            "orderId": "1735950529123455000",
            "tradeId": str(number),
            "filledTime": local.strftime("%Y-%m-%dT%H:%M:%S.000+0800"),
            "filledTm": local.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "side": "buy",
            "positionSide": "long",
            "role": "taker",
        }

    def respond(self, request):
        said = request.parameters
        start, end, size = int(said["startTs"]), int(said["endTs"]), int(said["pageSize"])
        if end - start > 7 * 86_400_000:
            return refusal(109400, "the time range is too wide")
        mine = [self.row(n, m) for n, m in enumerate(self.moments) if start < to_ms(m) <= end]
        skip = (int(said["pageIndex"]) - 1) * size if self.is_paging else 0
        total = len(mine) if self.total is None else self.total
        return ok({"fill_history_orders": mine[skip : skip + size] or None, "total": total})


def test_usdt_m_fills_are_paged_through_and_timed_right(server):
    moments = [NOW - timedelta(days=20) + timedelta(minutes=10 * n) for n in range(2500)]
    server.respond = FillHouse(moments).respond
    fills = client_of(server).fills(Market.USDTM, "BTC-USDT", start=moments[0], end=NOW)
    assert [int(fill.exchange_trade_id) for fill in fills] == list(range(2500))
    assert all(moment - fill.filled_at < timedelta(seconds=1) for moment, fill in zip(moments, fills, strict=True))
    assert fills[0].fee == D("0.025")
    assert max(int(request.parameters["pageIndex"]) for request in server.received) == 2


def test_the_fill_of_the_very_first_millisecond_is_not_lost_to_an_exclusive_start(server):
    server.respond = FillHouse([NOW]).respond
    client = client_of(server)
    [fill] = client.fills(Market.USDTM, "BTC-USDT", exchange_order_id="7", start=NOW, end=NOW + timedelta(seconds=1))
    assert server.received[0].parameters["orderId"] == "7"
    assert fill.filled_at == NOW.replace(microsecond=0)


@pytest.mark.parametrize("house", [FillHouse([NOW], total=3), FillHouse([NOW] * 1500, total=1500, is_paging=False)])
def test_a_list_of_fills_that_is_shorter_than_its_own_total_is_unreadable(server, house):
    server.respond = house.respond
    with pytest.raises(OutcomeUnknown, match="fewer"):
        client_of(server).fills(Market.USDTM, "BTC-USDT", start=NOW - timedelta(hours=1), end=NOW)


def test_no_data_at_all_is_not_taken_for_no_fills(server):
    server.respond = lambda _: answer({"code": 0, "data": None})
    with pytest.raises(OutcomeUnknown):
        client_of(server).fills(Market.USDTM, "BTC-USDT", start=NOW - timedelta(hours=1), end=NOW)


def test_coin_m_fills_of_a_range_are_asked_for_order_by_order(server):
    fill = recordings.ccxt("fetchMyTrades", "Inverse swap trade (10 USD")["data"][0]
    filled = COIN_ORDER["data"]["order"]

    def respond(request):
        if request.path.endswith("allFillOrders"):
            return ok([fill | {"orderId": request.parameters["orderId"]}])
        if request.path.endswith("orderHistory"):
            return ok({"orders": [filled, filled | {"orderId": "77", "executedQty": "0"}]})
        return ok({"orders": None})

    server.respond = respond
    day = datetime(2024, 7, 28, tzinfo=UTC)
    fills = client_of(server).fills(Market.COINM, "SOL-USD", start=day, end=day + ONE_DAY)
    assert [f.exchange_order_id for f in fills] == ["1816342420721254400"]
    assert fills[0].fee_asset == "SOL"


# Nothing secret gets out


def everything_told(error: BaseException) -> str:
    """Return all that an error could show: its chain with texts, arguments and tracebacks."""
    told, seen = [], error
    while seen is not None:
        assert isinstance(seen, ExchangeError | ValueError), "errors of requests and urllib3 hold the URL"
        told += [str(seen), repr(seen), repr(seen.args), repr(vars(seen)), *traceback.format_exception(seen)]
        seen = seen.__cause__ or seen.__context__
    return "\n".join(told)


ECHOING = {
    "their words repeat the key and the secret": refusal(100413, f"Incorrect apiKey {KEY} {SECRET}"),
    "a page repeats them": answer(f"<html>{KEY} {SECRET}</html>".encode(), 500),
    "a header without a colon": answer(b"", 500, **{"Broken Header": "x"}),
    "a rate limit repeats them": refusal(100410, f"{KEY} {SECRET}"),
    "an unheard-of code": refusal(123456, f"{SECRET}"),
}


@pytest.mark.parametrize(
    "step", (UNKNOWN_AFTER_SENDING | ECHOING).values(), ids=(UNKNOWN_AFTER_SENDING | ECHOING).keys()
)
@pytest.mark.parametrize("call", [WRITES["place"], lambda c: c.balances(Market.USDTM)], ids=["write", "read"])
def test_no_failure_tells_key_secret_signature_or_signed_url(server, step, call, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    told = []
    sink = logger.add(told.append, level=0, diagnose=False, backtrace=True)
    server.respond = lambda _: step
    client = client_of(server, read_timeout=0.2)
    try:
        with pytest.raises(ExchangeError) as caught:
            call(client)
        logger.opt(exception=caught.value).error("failed")
    finally:
        logger.remove(sink)
    told += [everything_told(caught.value), caplog.text, repr(client), str(client), *capfd.readouterr()]
    told += [str(record.__dict__) for record in caplog.records]
    text = "\n".join(map(str, told))
    signatures = {request.parameters["signature"] for request in server.received}
    assert signatures
    for secret in (KEY, SECRET, "signature=", "timestamp=", *signatures):
        assert secret not in text


@pytest.mark.parametrize("url", ["http://no-such-host.invalid", "closed", "tls"])
def test_a_connection_that_fails_tells_nothing_either(url, tls_server, caplog):
    caplog.set_level(logging.DEBUG)
    url = {"closed": f"http://127.0.0.1:{closed_port()}", "tls": tls_server.url}.get(url, url)
    with pytest.raises(NotSent) as caught:
        client_of(url).place_order(ENTRY)
    text = everything_told(caught.value) + caplog.text + str([r.__dict__ for r in caplog.records])
    assert not [secret for secret in (KEY, SECRET, "signature", "p1abc") if secret in text]


def test_urllib3_logs_paths_and_never_queries_even_about_broken_headers(server, caplog):
    caplog.set_level(logging.DEBUG)
    server.script = [answer(ok_body(), **{"Broken Header": "x"}), ok({"order": ECHO})]
    client_of(server).place_order(ENTRY)
    assert "/openApi/swap/v2/trade/order?..." in caplog.text
    assert "signature" not in caplog.text


def test_a_vendor_s_words_are_one_printable_line_of_bounded_length(server):
    server.script = [refusal(101204, "no\r\nmoney\x1b[31m‮ {ip} " + "x" * 5000 + "ab" * 32)]
    with pytest.raises(Refused) as caught:
        client_of(server).place_order(ENTRY)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 500


def test_a_repr_names_the_exchange_only(server):
    client = client_of(server)
    assert repr(client) == f"BingX({server.url})"
    assert KEY not in repr(client._wire)


# The environment


def test_proxies_netrc_and_redirects_are_ignored(server, monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port()}")
    with ScriptedServer() as elsewhere:
        elsewhere.respond = lambda _: ok({"order": ECHO})
        server.script = [ok({"order": ECHO}), answer(b"", 307, Location=f"{elsewhere.url}/openApi/steal")]
        client = client_of(server)
        client.place_order(ENTRY)
        assert "authorization" not in server.received[0].headers
        with pytest.raises(OutcomeUnknown):
            client.place_order(ENTRY)
        assert elsewhere.received == []


@pytest.mark.parametrize(
    "url", ["ftp://x", "open-api.bingx.com", "", "http://", "http://user:pw@x", "http://x?a=1", "file:///etc"]
)
def test_a_base_url_that_is_none_is_refused_when_the_client_is_made(url):
    with pytest.raises(ValueError, match="base_url"):
        BingX(base_url=url)


@responses.activate
@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (requests.ConnectionError("reset"), OutcomeUnknown),
        (requests.ReadTimeout("slow"), OutcomeUnknown),
        (requests.ConnectTimeout("slow"), NotSent),
        (requests.exceptions.ChunkedEncodingError("cut"), OutcomeUnknown),
        (urllib3.exceptions.ProtocolError("cut"), OutcomeUnknown),
    ],
)
def test_failures_planted_by_the_responses_package_are_judged_alike(failure, expected):
    responses.post("http://bingx.test/openApi/swap/v2/trade/order", body=failure)
    with pytest.raises(expected):
        client_of("http://bingx.test").place_order(ENTRY)


def test_no_test_here_may_reach_the_live_exchange():
    assert not os.environ.get("BINGX_API_KEY")
