"""Say things to BingX: where each product keeps its endpoints, how values and orders are spelled, how ranges are cut.

The mirror of `exchange.parsing`; pure. Source: https://bingx-api.github.io/docs-v3/ and the project's BingX fact page,
sections 3 to 5.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from exchange.decoding import Row, Unreadable
from exchange.refusals import EPOCH
from exchange.rounding import plain
from exchange.types import IncomeKind, Market, OrderRequest, OrderType, PositionSide, Side

Value = str | int | Decimal | bool | datetime | None
Parameters = dict[str, Value]

MILLISECOND = timedelta(milliseconds=1)
# fullOrder, allOrders and fillHistory refuse a longer range.
LONGEST_WINDOW = timedelta(days=7)
LONGEST_RANGE = timedelta(days=400)

INTERVALS = {
    "1m": timedelta(minutes=1),
    "3m": timedelta(minutes=3),
    "5m": timedelta(minutes=5),
    "15m": timedelta(minutes=15),
    "30m": timedelta(minutes=30),
    "1h": timedelta(hours=1),
    "2h": timedelta(hours=2),
    "4h": timedelta(hours=4),
    "6h": timedelta(hours=6),
    "8h": timedelta(hours=8),
    "12h": timedelta(hours=12),
    "1d": timedelta(days=1),
    "3d": timedelta(days=3),
    "1w": timedelta(weeks=1),
    "1M": timedelta(days=31),
}


@dataclass(frozen=True)
class Routes:
    """Where a product keeps its endpoints; an empty path: the product has none."""

    instruments: str
    price: str
    klines: str
    place: str
    order: str
    cancel: tuple[str, str]
    open_orders: str
    past_orders: str
    fills: str
    balances: str
    fee_rates: str
    positions: str = ""
    leverage: str = ""
    margin_mode: str = ""
    income: str = ""


ROUTES = {
    Market.USDTM: Routes(
        instruments="/openApi/swap/v2/quote/contracts",
        price="/openApi/swap/v1/ticker/price",
        klines="/openApi/swap/v3/quote/klines",
        place="/openApi/swap/v2/trade/order",
        order="/openApi/swap/v2/trade/order",
        cancel=("DELETE", "/openApi/swap/v2/trade/order"),
        open_orders="/openApi/swap/v2/trade/openOrders",
        past_orders="/openApi/swap/v1/trade/fullOrder",
        fills="/openApi/swap/v2/trade/fillHistory",
        balances="/openApi/swap/v3/user/balance",
        fee_rates="/openApi/swap/v2/user/commissionRate",
        positions="/openApi/swap/v2/user/positions",
        leverage="/openApi/swap/v2/trade/leverage",
        margin_mode="/openApi/swap/v2/trade/marginType",
        income="/openApi/swap/v2/user/income",
    ),
    Market.COINM: Routes(
        instruments="/openApi/cswap/v1/market/contracts",
        price="/openApi/cswap/v1/market/ticker",
        klines="/openApi/cswap/v1/market/klines",
        place="/openApi/cswap/v1/trade/order",
        order="/openApi/cswap/v1/trade/orderDetail",
        cancel=("DELETE", "/openApi/cswap/v1/trade/cancelOrder"),
        open_orders="/openApi/cswap/v1/trade/openOrders",
        past_orders="/openApi/cswap/v1/trade/orderHistory",
        fills="/openApi/cswap/v1/trade/allFillOrders",
        balances="/openApi/cswap/v1/user/balance",
        fee_rates="/openApi/cswap/v1/user/commissionRate",
        positions="/openApi/cswap/v1/user/positions",
        leverage="/openApi/cswap/v1/trade/leverage",
        margin_mode="/openApi/cswap/v1/trade/marginType",
    ),
    Market.SPOT: Routes(
        instruments="/openApi/spot/v1/common/symbols",
        price="/openApi/spot/v1/ticker/24hr",
        klines="/openApi/spot/v1/market/kline",
        place="/openApi/spot/v1/trade/order",
        order="/openApi/spot/v1/trade/query",
        cancel=("POST", "/openApi/spot/v1/trade/cancel"),
        open_orders="/openApi/spot/v1/trade/openOrders",
        past_orders="/openApi/spot/v1/trade/historyOrders",
        fills="/openApi/spot/v1/trade/myTrades",
        balances="/openApi/spot/v1/account/balance",
        fee_rates="/openApi/spot/v1/user/commissionRate",
    ),
}
SERVER_TIME = "/openApi/swap/v2/server/time"
POSITION_MODE = "/openApi/swap/v1/positionSide/dual"
PERMISSIONS = "/openApi/v1/account/apiPermissions"
STANDARD_BALANCES = "/openApi/contract/v1/balance"
STANDARD_POSITIONS = "/openApi/contract/v1/allPosition"
STANDARD_ORDERS = "/openApi/contract/v1/allOrders"

# The server lower-cases ids on the perpetuals, spot takes no hyphen.
_CLIENT_ORDER_ID = {
    Market.USDTM: re.compile(r"[a-z0-9_-]{1,40}"),
    Market.COINM: re.compile(r"[a-z0-9_-]{1,40}"),
    Market.SPOT: re.compile(r"[a-z0-9_]{1,40}"),
}
_INCOME_KINDS = {
    IncomeKind.REALISED_PNL: "REALIZED_PNL",
    IncomeKind.INSURANCE: "INSURANCE_CLEAR",
    IncomeKind.DEDUCTION: "SYSTEM_DEDUCTION",
}
_STOPS = {OrderType.STOP_MARKET, OrderType.TAKE_PROFIT_MARKET}
_OPENING_SIDE = {PositionSide.LONG: Side.BUY, PositionSide.SHORT: Side.SELL}


def route(market: Market, name: str) -> str:
    """Return an endpoint's path; raise `ValueError` when the product has none."""
    path: str = getattr(ROUTES[market], name)
    if not path:
        raise ValueError(f"{market.value} has no {name}")
    return path


def to_ms(moment: datetime) -> int:
    """Return epoch milliseconds, rounded down; raise `ValueError` for a time without zone."""
    if moment.tzinfo is None:
        raise ValueError("a time without zone")
    return (moment - EPOCH) // MILLISECOND


def written(parameters: Parameters) -> dict[str, str]:
    """Return as text what is not `None`: decimals without exponent, booleans in lower case, times in milliseconds."""
    return {name: _written(value) for name, value in parameters.items() if value is not None}


def _written(value: str | int | Decimal | bool | datetime) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return str(to_ms(value))
    return plain(value) if isinstance(value, Decimal) else str(value)


def income_kind(kind: IncomeKind | None) -> str | None:
    """Return BingX's word for a kind of income; raise `ValueError` for OTHER, which is what it has no word for."""
    if kind is IncomeKind.OTHER:
        raise ValueError("OTHER cannot be asked for: ask for all kinds")
    return _INCOME_KINDS.get(kind, kind.value) if kind else None


def order_id(market: Market, client_order_id: str | None, exchange_order_id: str | None) -> Parameters:
    """Return the one parameter that names an order; raise `ValueError` unless exactly one id is given."""
    if bool(client_order_id) == bool(exchange_order_id):
        raise ValueError("give either client_order_id or exchange_order_id")
    spelling = "clientOrderID" if market is Market.SPOT else "clientOrderId"
    return {spelling: client_order_id} if client_order_id else {"orderId": exchange_order_id}


def order(request: OrderRequest) -> Parameters:
    """Return an order's business parameters; raise `ValueError` for one that contradicts itself.

    On the perpetuals a conditional order carries no client order id (BingX takes one for MARKET and LIMIT only), and
    `reduceOnly` is said in one-way mode alone: in hedge mode the leg says it, and BingX refuses the word.
    """
    _require_sense(request)
    parameters: Parameters = {"symbol": request.symbol, "side": request.side.value, "quantity": request.quantity}
    parameters |= {"type": request.order_type.value} | _prices(request)
    is_stop = request.order_type in _STOPS
    if request.market is Market.SPOT:
        stop_type: Parameters = {"type": "TAKE_STOP_MARKET"} if is_stop else {}
        return parameters | stop_type | {"newClientOrderId": request.client_order_id}
    parameters["positionSide"] = request.position_side.value
    if is_stop:
        parameters["workingType"] = "MARK_PRICE"
    else:
        parameters["clientOrderId"] = request.client_order_id
    if request.reduce_only and request.position_side is PositionSide.BOTH:
        parameters["reduceOnly"] = True
    return parameters


def _prices(request: OrderRequest) -> Parameters:
    if request.order_type is OrderType.LIMIT:
        return {"price": request.price, "timeInForce": "GTC"}
    return {"stopPrice": request.trigger_price} if request.order_type in _STOPS else {}


def _require_sense(request: OrderRequest) -> None:
    if request.quantity <= 0:
        raise ValueError("quantity must be above zero")
    if not _CLIENT_ORDER_ID[request.market].fullmatch(request.client_order_id):
        raise ValueError("client_order_id must be 1 to 40 lower-case letters, digits or _ (on perpetuals also -)")
    if request.order_type is OrderType.LIMIT and not (request.price and request.price > 0):
        raise ValueError("a limit order needs a price")
    if request.order_type in _STOPS and not (request.trigger_price and request.trigger_price > 0):
        raise ValueError("a conditional order needs a trigger price")
    if request.market is Market.SPOT and request.position_side is not PositionSide.BOTH:
        raise ValueError("spot has no legs")
    if request.reduce_only and _opens(request):
        raise ValueError("an order that opens cannot be reduce-only")


def _opens(request: OrderRequest) -> bool:
    if request.market is Market.SPOT:
        return request.side is Side.BUY
    return _OPENING_SIDE.get(request.position_side) is request.side


def windows(start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Cut a range into windows that BingX accepts, oldest first; raise `ValueError` for an empty or absurd range."""
    if not start < end or end - start > LONGEST_RANGE:
        raise ValueError("the range must be above zero and at most 400 days")
    while start < end:
        until = min(start + LONGEST_WINDOW, end)
        yield start, until
        start = until


def rows_by_windows(
    ask: Callable[[datetime, datetime], list[Row]], start: datetime, end: datetime, most: int
) -> Iterator[Row]:
    """Yield the rows of a range, halving each window that comes back full; rows on a seam come twice."""
    pending = list(windows(start, end))[::-1]
    while pending:
        since, until = pending.pop()
        rows = ask(since, until)
        if len(rows) < most:
            yield from rows
        elif until - since <= MILLISECOND:
            raise Unreadable("more rows in one millisecond than BingX returns")
        else:
            middle = since + (until - since) // 2
            pending += [(middle, until), (since, middle)]
