"""The exchange as a process: command line, end, books after a kill, many connections, nonsense on the wire."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

import exchange
from exchange.paper.control import control
from exchange.paper.routes import ENDPOINTS
from exchange.paper.testing import Caller, running
from exchange.paper.venue import Venue
from exchange.paper.wire import Request

ROOT = Path(exchange.__file__).parent.parent


@contextmanager
def process(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], Caller]]:
    argv = [
        sys.executable,
        "-m",
        "exchange.paper",
        "--port",
        "0",
        "--key",
        "paper-key",
        "--secret",
        "paper-secret",
        *arguments,
    ]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        line = child.stdout.readline()
        found = re.fullmatch(r"paper exchange listens on http://127\.0\.0\.1:(\d+)\n", line)
        assert found, line
        caller = Caller(int(found[1]))
        try:
            yield child, caller
        finally:
            caller.close()
            child.kill()


def test_it_stops_within_a_second_of_sigterm() -> None:
    with process() as (child, caller):
        assert caller.order()["code"] == 0
        child.send_signal(signal.SIGTERM)
        assert child.wait(1) == 0


def test_prices_and_seed_come_from_the_command_line() -> None:
    with process("--price", "BTC-USDT=50000", "ETH-USDT=3000", "--seed", "7") as (_, caller):
        assert caller.public("/swap/v1/ticker/price", symbol="BTC-USDT")["data"]["price"] == "50000.0"
        assert caller.public("/swap/v1/ticker/price", symbol="ETH-USDT")["data"]["price"] == "3000.00"
        asked = {"symbol": "SOL-USDT", "interval": "1h", "endTime": 1_700_000_000_000, "limit": 5}
        ours = caller.public("/swap/v3/quote/klines", **asked)
    with running(Venue(seed=7)) as port:
        assert Caller(port).public("/swap/v3/quote/klines", **asked)["data"] == ours["data"]


@pytest.mark.parametrize(
    "wrong", [["--price", "BTC-USDT"], ["--price", "NOPE=1"], ["--key", "alone"], ["--control-from", "everybody"]]
)
def test_a_wrong_command_line_is_explained(wrong: list[str]) -> None:
    argv = [sys.executable, "-m", "exchange.paper", "--port", "0", *wrong]
    ended = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 2
    assert "error:" in ended.stderr


def books(caller: Caller) -> dict[str, Any]:
    return {
        "ledger": caller.control("GET", "/ledger"),
        "balance": caller.data("GET", "/swap/v3/user/balance"),
        "positions": caller.data("GET", "/swap/v2/user/positions"),
        "open": caller.data("GET", "/swap/v2/trade/openOrders"),
        "leverage": caller.data("GET", "/swap/v2/trade/leverage", symbol="BTC-USDT"),
        "mode": caller.data("GET", "/swap/v2/trade/marginType", symbol="ETH-USDT"),
        "spot": caller.data("GET", "/spot/v1/account/balance"),
        "incomes": caller.data("GET", "/swap/v2/user/income"),
    }


def trade(caller: Caller) -> None:
    caller.data("POST", "/swap/v2/trade/leverage", symbol="BTC-USDT", side="LONG", leverage=7)
    caller.data("POST", "/swap/v2/trade/marginType", symbol="ETH-USDT", marginType="ISOLATED")
    caller.order(clientOrderID="kept", stopLoss=json.dumps({"type": "STOP_MARKET", "stopPrice": 45000}))
    caller.order(type="LIMIT", price="40000")
    caller.order(side="SELL", positionSide="LONG", quantity="0.004")
    caller.data("POST", "/spot/v1/trade/order", symbol="BTC-USDT", side="BUY", type="MARKET", quantity="0.01")


def test_the_books_survive_a_kill(tmp_path: Path) -> None:
    state = ("--state", str(tmp_path / "books.sqlite3"))
    with process("--price", "BTC-USDT=50000", *state) as (child, caller):
        trade(caller)
        before = books(caller)
        child.kill()
        child.wait()
    with process(*state) as (_, caller):
        assert books(caller) == before
        assert caller.order(clientOrderID="kept")["code"] == 101400
        later = caller.order(clientOrderID="later")["data"]["order"]["orderId"]
        assert later > max(int(row["order_id"]) for row in before["ledger"]["orders"])


def test_every_answered_order_survives_a_kill_in_the_middle(tmp_path: Path) -> None:
    state = ("--state", str(tmp_path / "books.sqlite3"))
    answered: list[str] = []
    with process("--price", "BTC-USDT=50000", *state) as (child, caller):
        killer = threading.Timer(0.4, child.kill)
        killer.start()
        with suppress(OSError, HTTPException):
            while True:
                name = f"n{len(answered)}"
                assert caller.order(clientOrderID=name, quantity="0.0001")["code"] == 0
                answered.append(name)
        killer.join()
    with process(*state) as (_, caller):
        kept = [row["client_order_id"] for row in caller.control("GET", "/ledger")["orders"]]
    assert answered
    assert kept[: len(answered)] == answered
    assert len(kept) - len(answered) in (0, 1)


def test_a_reset_forgets_trading_and_keeps_the_keys() -> None:
    with process("--price", "BTC-USDT=50000") as (_, caller):
        trade(caller)
        caller.control("POST", "/reset")
        assert caller.control("GET", "/ledger")["orders"] == []
        assert caller.data("GET", "/swap/v3/user/balance")[0]["balance"] == "100000.0000"


def test_thirty_connections_are_served_at_once() -> None:
    with process("--price", "BTC-USDT=50000") as (_, caller):
        callers = [Caller(caller.port) for _ in range(30)]
        codes: list[int] = []

        def place(one: Caller, number: int) -> None:
            codes.extend(one.order(clientOrderID=f"c{number}-{turn}", quantity="0.0001")["code"] for turn in range(10))
            one.close()

        threads = [threading.Thread(target=place, args=(one, number)) for number, one in enumerate(callers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert codes == [0] * 300
        assert len(caller.control("GET", "/ledger")["orders"]) == 300


def test_latency_is_added_to_each_answer() -> None:
    with process("--latency-ms", "150") as (_, caller):
        start = time.monotonic()
        caller.public("/swap/v2/server/time")
        assert time.monotonic() - start >= 0.15


@pytest.mark.parametrize(
    ("peer", "status"),
    [("127.0.0.1", 200), ("::1", 200), ("::ffff:127.0.0.1", 200), ("10.0.0.7", 403), ("172.18.0.3", 200), ("", 403)],
)
def test_control_addresses_answer_this_machine_and_whom_it_trusts(peer: str, status: int) -> None:
    venue = Venue()
    venue.control_from.append(ip_network("172.18.0.0/16"))
    assert control(venue, Request("GET", "/paper/health", "", {}, b"", peer))[0] == status


NONSENSE = [
    {},
    {"symbol": "BTC-USDT"},
    {"symbol": "BTC-USD", "orderId": "-1"},
    {"symbol": "BTC-USDT", "orderId": "9" * 30, "startTs": "x", "endTs": "1", "tradingUnit": "COIN"},
    {"symbol": "BTC-USDT", "interval": "1M", "startTime": "9" * 19, "endTime": "9" * 19, "limit": "0"},
    {"symbol": "BTC-USDT", "interval": "1w", "endTime": "0", "timeZone": "99999999999"},
    {
        "symbol": "BTC-USDT",
        "side": "BUY",
        "type": "LIMIT",
        "quantity": "1e-999",
        "price": "1e12",
        "positionSide": "LONG",
    },
    {
        "symbol": "BTC-USDT",
        "batchOrders": "[[]]",
        "data": "{}",
        "orderIdList": "7",
        "clientOrderIDs": ",,",
        "stopLoss": "[1]",
    },
    {
        "symbol": "BTC-USDT",
        "quantity": "0",
        "amount": "Infinity",
        "type": "1",
        "asset": "\x00",
        "fromAccount": "spot",
        "toAccount": "fund",
    },
    {
        "symbol": "BTC-USDT",
        "pageIndex": "0",
        "pageSize": "1",
        "limit": "10",
        "orderId": "0",
        "leverage": "0",
        "side": "LONG",
    },
]


@pytest.fixture(scope="module")
def venue_port() -> Iterator[int]:
    venue = Venue()
    venue.register("paper-key", "paper-secret")
    with running(venue) as port:
        yield port


@pytest.mark.parametrize(("verb", "path"), sorted(ENDPOINTS), ids=lambda each: each.replace("/openApi", ""))
def test_nonsense_has_a_business_answer_everywhere(venue_port: int, verb: str, path: str) -> None:
    caller = Caller(venue_port)
    for params in NONSENSE:
        answer = caller.call(verb, path.removeprefix("/openApi"), **params)
        assert caller.last_status == 200
        assert isinstance(answer, dict)
        assert {"code", "apiKey", "transferErrorMsg"} & set(answer)
    caller.close()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x00\xff\r\n\r\n", b" 400 "),
        (b"GET /x HTTP/1.1\r\nContent-Length: -5\r\n\r\n", b" 400 "),
        (b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b" 400 "),
        (b"POST /x HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", b" 413 "),
        (b"GET /" + b"x" * 70_000, b" 431 "),
    ],
)
def test_broken_http_is_refused_and_the_next_caller_served(venue_port: int, sent: bytes, status: bytes) -> None:
    with socket.create_connection(("127.0.0.1", venue_port), timeout=5) as line:
        line.sendall(sent)
        assert status in line.recv(4096)
    assert Caller(venue_port).public("/swap/v2/server/time")["code"] == 0


def test_a_request_may_arrive_byte_by_byte_and_two_at_once(venue_port: int) -> None:
    request = b"GET /openApi/swap/v2/server/time HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection(("127.0.0.1", venue_port), timeout=5) as line:
        for byte in request:
            line.sendall(bytes([byte]))
        assert b"serverTime" in line.recv(4096)
        line.sendall(request + request)
        seen = b""
        while seen.count(b"serverTime") < 2:
            seen += line.recv(4096)
