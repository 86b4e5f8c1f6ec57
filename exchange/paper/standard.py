"""The standard contract, an old product: read-only here, empty until `POST /paper/accounts` gives it rows.

https://bingx-api.github.io/docs-v3/#/en/Standard%20Contract
"""

from __future__ import annotations

from exchange.paper.calls import Body, Call, endpoint
from exchange.paper.spot_market import timed
from exchange.paper.wire import Json

ZEROS = "0.00000000000000000000"


@endpoint("GET", "/contract/v1/balance", group="account")
def balances(call: Call) -> Body:
    usual: dict[str, Json] = dict.fromkeys(("balance", "crossWalletBalance", "availableBalance"), ZEROS)
    usual |= {"asset": "USDT", "crossUnPnl": "0", "maxWithdrawAmount": ZEROS, "marginAvailable": False}
    usual["updateTime"] = call.now_ms
    return timed(call, _rows(call, "balances", usual) or [usual])


@endpoint("GET", "/contract/v1/allPosition", group="account")
def positions(call: Call) -> Body:
    """The symbol has a slash, and numbers are numbers."""
    usual: dict[str, Json] = {"symbol": "BTC/USDT", "initialMargin": 0, "unrealizedProfit": 0, "leverage": 20}
    usual |= {"isolated": True, "entryPrice": 0, "positionSide": "LONG", "positionAmt": 0, "currentPrice": 0}
    return timed(call, _rows(call, "positions", usual | {"time": call.now_ms}))


@endpoint("GET", "/contract/v1/allOrders", group="lookups")
def orders(call: Call) -> Body:
    symbol, order_id, count = call.need("symbol"), call.whole("orderId"), call.limit("limit", 500, 1000)
    usual: dict[str, Json] = {"orderId": 0, "symbol": symbol, "positionSide": "LONG", "status": "CLOSED"}
    usual |= {"avgPrice": 0, "cumQuote": 0, "executedQty": 0, "margin": 0, "leverage": 20, "isolated": True}
    usual |= {"closePrice": 0, "positionId": 0, "time": call.now_ms, "updateTime": call.now_ms}
    begin, end = call.whole("startTime") or 0, call.whole("endTime") or call.now_ms
    named = [row for row in _rows(call, "orders", usual) if str(row["symbol"]).replace("/", "-") == symbol]
    found = [row for row in named if order_id in (None, row["orderId"]) and begin <= _time(row) <= end]
    return timed(call, found[:count])


def _rows(call: Call, name: str, usual: dict[str, Json]) -> list[dict[str, Json]]:
    return [usual | row for row in call.account.standard.get(name, [])]


def _time(row: dict[str, Json]) -> int:
    return int(str(row["time"]))
