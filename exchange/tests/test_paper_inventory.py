"""Everything that the client asks of BingX is served here, well formed, with BingX's permissions and rate limits.

A client that gains an endpoint fails here until the exchange has it too.
"""

from __future__ import annotations

import ast
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from exchange import phrasing
from exchange.pacing import PACES
from exchange.paper import presets
from exchange.paper.rates import DEFAULT_LIMIT, LIMITS, TRADING, TRADING_GROUP, USUAL_GROUP
from exchange.paper.routes import ENDPOINTS
from exchange.paper.testing import Caller, running
from exchange.paper.venue import Venue, now_ms
from exchange.phrasing import ROUTES, Routes
from exchange.types import Market

EXCHANGE = Path(phrasing.__file__).parent
SYMBOLS = {Market.USDTM: "BTC-USDT", Market.COINM: "BTC-USD", Market.SPOT: "BTC-USDT"}
SIZES = {Market.USDTM: "0.01", Market.COINM: "2", Market.SPOT: "0.01"}
# Roles whose endpoint is asked and changed under one address.
CHANGED_TOO = ("leverage", "margin_mode")
# What each role's rows must hold; `data.` and the name of the list are peeled off first.
FIELDS: dict[str, dict[Market, str]] = {
    "instruments": {
        Market.USDTM: "symbol pricePrecision quantityPrecision tradeMinQuantity tradeMinUSDT status apiStateOpen",
        Market.COINM: "symbol pricePrecision minTickSize minTradeValue minQty status",
        Market.SPOT: "symbol tickSize stepSize minNotional status apiStateBuy apiStateSell",
    },
    "price": {
        Market.USDTM: "symbol price time",
        Market.COINM: "symbol lastPrice",
        Market.SPOT: "symbol lastPrice",
    },
    "klines": {
        Market.USDTM: "open close high low volume time",
        Market.COINM: "open close high low volume time",
        Market.SPOT: "",
    },
    "place": dict.fromkeys(Market, "symbol orderId side type"),
    "order": dict.fromkeys(Market, "symbol orderId side type status executedQty"),
    "cancel": dict.fromkeys(Market, "symbol orderId status"),
    "open_orders": dict.fromkeys(Market, "symbol orderId side type status"),
    "past_orders": dict.fromkeys(Market, "symbol orderId side type status"),
    "fills": {
        Market.USDTM: "symbol orderId tradeId qty price commission commissionAsset side filledTime",
        Market.COINM: "symbol orderId tradeId volume tradePrice commission currency side tradeTime",
        Market.SPOT: "symbol orderId id qty price commission commissionAsset isBuyer time",
    },
    "balances": {
        Market.USDTM: "asset balance equity availableMargin unrealizedProfit",
        Market.COINM: "asset balance equity availableMargin unrealizedProfit",
        Market.SPOT: "asset free locked",
    },
    "positions": dict.fromkeys(Market, "symbol positionId positionSide positionAmt avgPrice leverage isolated"),
    "leverage": dict.fromkeys(Market, "longLeverage shortLeverage"),
    "margin_mode": dict.fromkeys(Market, "marginType"),
    "fee_rates": dict.fromkeys(Market, "takerCommissionRate makerCommissionRate"),
    "income": dict.fromkeys(Market, "symbol incomeType income asset info time tranId tradeId"),
}
# Addresses that are the same for every product.
SHARED: dict[str, tuple[str, tuple[str, ...]]] = {
    phrasing.SERVER_TIME: ("serverTime", ("GET",)),
    phrasing.POSITION_MODE: ("dualSidePosition", ("GET", "POST")),
    phrasing.PERMISSIONS: ("apiKey permissions ipAddresses note", ("GET",)),
    phrasing.STANDARD_BALANCES: ("asset balance crossUnPnl availableBalance", ("GET",)),
    phrasing.STANDARD_POSITIONS: ("symbol positionSide positionAmt entryPrice currentPrice leverage", ("GET",)),
    phrasing.STANDARD_ORDERS: ("symbol orderId status executedQty avgPrice closePrice time", ("GET",)),
}
WRAPPERS = ("orders", "order", "symbols", "balances", "fills", "fill_history_orders", "commission")


class Act(NamedTuple):
    """One address of the client, with the verb that it uses there."""

    verb: str
    path: str
    market: Market | None
    role: str

    @property
    def name(self) -> str:
        return f"{self.verb} {self.path}"


def acts() -> Iterator[Act]:
    for path, (_, verbs) in SHARED.items():
        yield from (Act(verb, path, None, "") for verb in verbs)
    for market, routes in ROUTES.items():
        for role in FIELDS:
            found = getattr(routes, role)
            verb, path = found if isinstance(found, tuple) else ("POST" if role == "place" else "GET", found)
            verbs = ([verb, "POST"] if role in CHANGED_TOO else [verb]) if path else []
            yield from (Act(each, path, market, role) for each in verbs)


ACTS = list(acts())
SIGNED = [act for act in ACTS if (act.verb, act.path) in ENDPOINTS and ENDPOINTS[act.verb, act.path].is_signed]


class Clock:
    """The exchange's clock, which a test may hold so that no slow machine spreads its requests over two seconds."""

    held_ms: int | None = None

    def __call__(self) -> int:
        return now_ms() if self.held_ms is None else self.held_ms


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def port(clock: Clock) -> Iterator[int]:
    with running(Venue(seed=2, clock_ms=clock)) as port:
        yield port


@pytest.fixture
def caller(port: int, clock: Clock) -> Iterator[Caller]:
    clock.held_ms = None
    caller = Caller(port)
    caller.control("POST", "/reset")
    caller.control("POST", "/accounts", key="paper-key", secret="paper-secret")
    caller.control("POST", "/prices", **{"BTC-USDT": "50000", "BTC-USD": "50000"})
    yield caller
    caller.close()


def ask(caller: Caller, act: Act, **params: Any) -> Any:
    return caller.call(act.verb, act.path.removeprefix("/openApi"), **params)


# What may happen to a request goes by these groups.
GROUPS_OF_ROLES = {
    "market": "instruments price klines",
    "orders": "place",
    "cancels": "cancel",
    "lookups": "order open_orders past_orders fills",
    "account": "balances positions leverage margin_mode fee_rates income",
}


# Nothing of the client's is missing


def test_every_role_of_a_product_s_routes_is_examined_here() -> None:
    assert {each.name for each in fields(Routes)} == set(FIELDS)


def test_every_address_in_the_client_s_sources_is_examined_here() -> None:
    written = {
        str(node.value)
        for source in EXCHANGE.glob("*.py")
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Constant) and str(node.value).startswith("/openApi/")
    }
    assert len(written) > 30
    assert written - {act.path for act in ACTS} == set()


def test_every_address_of_the_client_is_served() -> None:
    assert [act.name for act in ACTS if (act.verb, act.path) not in ENDPOINTS] == []


# Each is well formed


def order_of(market: Market, **changes: str) -> dict[str, str]:
    usual = {"symbol": SYMBOLS[market], "side": "BUY", "type": "LIMIT", "price": "40000", "quantity": SIZES[market]}
    return usual | ({} if market == Market.SPOT else {"positionSide": "LONG"}) | changes


def id_of(answer: Any) -> str:
    return str(answer["data"].get("order", answer["data"])["orderId"])


def prepare(caller: Caller, market: Market) -> dict[str, str]:
    """Leave a filled and a resting order behind; return their ids by `filled` and `resting`."""
    place = next(act for act in ACTS if (act.market, act.role) == (market, "place"))
    filled = id_of(ask(caller, place, **order_of(market, type="MARKET", price="")))
    return {"filled": filled, "resting": id_of(ask(caller, place, **order_of(market)))}


def asked_of(act: Act, ids: dict[str, str]) -> dict[str, str]:
    """Return the parameters of an honest request."""
    assert act.market
    now, symbol = int(time.time() * 1000), {"symbol": SYMBOLS[act.market]}
    span = {"startTs": str(now - 60_000), "endTs": str(now + 1000), "tradingUnit": "COIN"}
    by_role: dict[str, dict[str, str]] = {
        "place": order_of(act.market),
        "order": symbol | {"orderId": ids["filled"]},
        "cancel": symbol | {"orderId": ids["resting"]},
        "fills": symbol | span | {"orderId": ids["filled"]},
        "past_orders": symbol | {"limit": "10"},
        "klines": symbol | {"interval": "1m"},
        "instruments": {},
        "balances": {},
    }
    changes = {"leverage": {"side": "LONG", "leverage": "5"}, "margin_mode": {"marginType": "CROSSED"}}
    return by_role.get(act.role, symbol) | (changes.get(act.role, {}) if act.verb == "POST" else {})


def first_row(data: Any) -> Any:
    """Peel wrappers and lists off, down to the first row."""
    while isinstance(data, list) and data and isinstance(data[0], dict):
        data = data[0]
    wrapped = [data[name] for name in WRAPPERS if isinstance(data, dict) and isinstance(data.get(name), dict | list)]
    return first_row(wrapped[0]) if wrapped else data


@pytest.mark.parametrize("act", [act for act in ACTS if act.market], ids=lambda act: f"{act.market}-{act.name}")
def test_an_honest_request_has_a_well_formed_answer(caller: Caller, act: Act) -> None:
    assert act.market
    answer = ask(caller, act, **asked_of(act, prepare(caller, act.market)))
    assert answer["code"] == 0, answer
    row = first_row(answer.get("data"))
    if (act.role, act.verb) == ("margin_mode", "POST"):
        assert not row, "says nothing"
    elif (act.role, act.market) == ("klines", Market.SPOT):
        assert [len(each) for each in row] == [8] * 500
    else:
        assert set(FIELDS[act.role][act.market].split()) <= set(row)


@pytest.mark.parametrize("act", [act for act in ACTS if not act.market], ids=lambda act: act.name)
def test_the_shared_addresses_answer_well_formed(caller: Caller, act: Act) -> None:
    rows = {name: [{"asset": "USDT"} if name == "balances" else {"symbol": "BTC-USDT"}] for name in presets.STANDARD}
    caller.control("POST", "/accounts", key="paper-key", secret="paper-secret", standard=rows)
    answer = ask(caller, act, dualSidePosition="true", symbol="BTC-USDT")
    has_envelope = act.path != phrasing.PERMISSIONS
    assert ("code" in answer) == has_envelope
    assert set(SHARED[act.path][0].split()) <= set(first_row(answer["data"]) if has_envelope else answer)


def test_every_address_suffers_the_faults_of_its_group() -> None:
    wanted = {role: group for group, roles in GROUPS_OF_ROLES.items() for role in roles.split()}
    assert set(wanted) == set(FIELDS)
    groups = {act.name: ENDPOINTS[act.verb, act.path].group for act in ACTS if act.market}
    assert groups == {act.name: wanted[act.role] for act in ACTS if act.market}


# With BingX's permissions and limits


@pytest.mark.parametrize("act", SIGNED, ids=lambda act: act.name)
def test_reading_needs_the_read_permission_and_changing_the_trading_one(caller: Caller, act: Act) -> None:
    def code(*permissions: int) -> int:
        known = {"key": "paper-key", "secret": "paper-secret", "permissions": list(permissions)}
        caller.control("POST", "/accounts", **known)
        return int(ask(caller, act).get("code", 0))

    assert code() == code(1, 3, 4) == 100004
    assert (code(2) == 100004) == (act.verb != "GET")
    trading, other = (1, 3) if act.market == Market.SPOT else (3, 1)
    assert code(2, trading) != 100004
    assert (code(2, other) == 100004) == (act.verb != "GET")


@pytest.mark.parametrize("act", SIGNED, ids=lambda act: act.name)
def test_each_address_has_its_limit_a_second_when_limits_are_on(caller: Caller, clock: Clock, act: Act) -> None:
    limit = LIMITS.get(act.name, DEFAULT_LIMIT)
    clock.held_ms = now_ms()
    caller.control("POST", "/faults", rate_limits=True, rate_limit_ms=60_000)
    codes = [ask(caller, act).get("code", 0) for _ in range(limit + 2)]
    assert 100410 not in codes[:limit]
    assert codes[limit:] == [100410] * 2


def test_market_data_is_limited_for_the_address_as_a_whole(caller: Caller) -> None:
    caller.control("POST", "/faults", rate_limits=True, rate_limit_ms=60_000)
    codes = [caller.public("/swap/v2/server/time")["code"] for _ in range(250)]
    codes += [caller.public("/swap/v1/ticker/price", symbol="BTC-USDT")["code"] for _ in range(251)]
    assert codes == [0] * 500 + [100410]


def test_the_client_s_own_pace_is_never_too_fast_here() -> None:
    signed = {f"{verb} {path}" for (verb, path), endpoint in ENDPOINTS.items() if endpoint.is_signed} & set(PACES)
    assert len(signed) > 30
    too_fast = {name for name in signed if PACES[name].per_second > LIMITS.get(name, DEFAULT_LIMIT)}
    assert too_fast == set()
    groups = {name: TRADING_GROUP if name in TRADING else USUAL_GROUP for name in signed}
    assert {name: PACES[name].group for name in signed} == groups


def test_limits_name_addresses_that_exist() -> None:
    served = {f"{verb} {path}" for verb, path in ENDPOINTS}
    assert (set(LIMITS) | TRADING) - served == set()
