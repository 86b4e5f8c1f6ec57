"""Spot balances, orders and fills. https://bingx-api.github.io/docs-v3/#/en/Spot/Trades%20Endpoints"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal

from exchange.paper import refusals
from exchange.paper.admission import check_unique
from exchange.paper.books import ZERO, Fill, Order
from exchange.paper.calls import Body, Call, endpoint
from exchange.paper.instruments import SPOT_FEE, Instrument
from exchange.paper.ledger import made_since
from exchange.paper.matching import crosses
from exchange.paper.refusals import Refusal
from exchange.paper.spot_market import described
from exchange.paper.swap_orders import read_list
from exchange.paper.wire import Json, plain, scalar_text
from exchange.types import Market

SPOT = Market.SPOT
CLIENT_ID = re.compile(r"[A-Za-z0-9_]{1,40}")
TYPES = frozenset({"MARKET", "LIMIT", "TAKE_STOP_LIMIT", "TAKE_STOP_MARKET", "TRIGGER_LIMIT", "TRIGGER_MARKET"})
TIMES_IN_FORCE = ("GTC", "IOC", "FOK", "PostOnly", "POC")
TWO_HOURS_MS = 2 * 3_600_000


@endpoint("GET", "/spot/v1/account/balance", group="account")
def balance(call: Call) -> Body:
    rows: list[Json] = []
    for name, total in sorted(call.account.wallets.items()):
        market, _, asset = name.partition(":")
        if market == SPOT:
            locked = call.venue.locked(call.account, asset)
            rows.append({"asset": asset, "displayName": asset, "free": plain(total - locked), "locked": plain(locked)})
    return described({"balances": rows})


@endpoint("GET", "/spot/v1/user/commissionRate", group="account")
def commission_rate(call: Call) -> Body:
    return described({"takerCommissionRate": SPOT_FEE, "makerCommissionRate": SPOT_FEE})


def read_order(call: Call, instrument: Instrument) -> Order:
    kind = call.one_of("type", TYPES, call.need("type"))
    client_id = call.text("newClientOrderId")
    if client_id and not CLIENT_ID.fullmatch(client_id):
        raise Refusal(100400, "newClientOrderId must be 1 to 40 letters, digits or '_'")
    order = Order(
        order_id=call.venue.ledger.new_id(),
        account=call.account.key,
        market=SPOT,
        symbol=instrument.symbol,
        side=call.one_of("side", ("BUY", "SELL"), call.need("side")),
        position_side="BOTH",
        type=kind,
        time_ms=call.now_ms,
        quantity=instrument.cut_quantity(call.amount("quantity")),
        price=ZERO if kind.endswith("MARKET") else instrument.cut_price(call.amount("price")),
        stop_price=instrument.cut_price(call.amount("stopPrice")),
        client_order_id=client_id,
        time_in_force=call.one_of("timeInForce", TIMES_IN_FORCE, "GTC"),
    )
    if not order.quantity:
        order.quote_quantity = call.amount("quoteOrderQty")
        price = order.price or order.stop_price or call.venue.matcher.price_of(instrument)
        order.quantity = instrument.cut_quantity(order.quote_quantity / price)
    return order


def check(call: Call, instrument: Instrument, order: Order) -> None:
    """Raise the Refusal that this spot order deserves, if any."""
    price = call.venue.matcher.price_of(instrument)
    if order.type.endswith("LIMIT") and order.price <= 0:
        raise refusals.missing("price")
    if order.type not in ("MARKET", "LIMIT") and order.stop_price <= 0:
        raise refusals.missing("stopPrice")
    paid = order.price or order.stop_price or price
    if order.quantity * paid < instrument.min_notional and order.quote_quantity < instrument.min_notional:
        raise Refusal(101202, f"The minimum order amount is {plain(instrument.min_notional)} {instrument.quote}.")
    if order.type == "LIMIT" and order.time_in_force in ("PostOnly", "POC") and crosses(order, price):
        raise refusals.would_take()
    asset, needed = (
        (instrument.base, order.quantity) if order.side == "SELL" else (instrument.quote, order.quantity * paid)
    )
    if needed > call.account.wallet(SPOT, asset) - call.venue.locked(call.account, asset):
        raise refusals.insufficient_spot_balance(asset)


def accept(call: Call) -> Order:
    """Check an order and place it; returns it as it stands.

    Raises the Refusal that it deserves.
    """
    instrument = call.instrument(SPOT)
    order = read_order(call, instrument)
    check_unique(call.venue.ledger, order, call.venue.faults.dedupe, call.now_ms)
    check(call, instrument, order)
    call.venue.faults.check_rejected(order)
    call.venue.matcher.accept(order)
    return order


def status_of(order: Order) -> str:
    """Spot writes CANCELED with one L."""
    return "CANCELED" if order.status == "CANCELLED" else order.status


def echo(order: Order) -> dict[str, Json]:
    """The answer to placing and cancelling; conditional orders show their time in seconds."""
    is_conditional = order.type not in ("MARKET", "LIMIT")
    row: dict[str, Json] = {
        "symbol": order.symbol,
        "orderId": order.order_id,
        "transactTime": order.updated_ms // 1000 if is_conditional else order.updated_ms,
        "price": plain(order.price or order.avg_price.quantize(Decimal("1e-8"))),
        "stopPrice": plain(order.stop_price),
        "origQty": "0" if order.quote_quantity else plain(order.quantity),
        "executedQty": plain(order.executed),
        "cummulativeQuoteQty": plain(order.executed_value),
        "status": status_of(order),
        "type": order.type,
        "side": order.side,
        "clientOrderID": order.client_order_id,
    }
    return row


def row_of(call: Call, order: Order) -> dict[str, Json]:
    """An order as the queries show it: `StopPrice` with a capital, fee negative in the received asset."""
    base, quote = order.symbol.split("-")
    row = echo(order)
    del row["transactTime"], row["stopPrice"]
    row |= {
        "StopPrice": plain(order.stop_price),
        "time": order.time_ms,
        "updateTime": order.updated_ms,
        "origQuoteOrderQty": plain(order.quote_quantity),
        "fee": plain(order.commission),
        "feeAsset": base if order.side == "BUY" else quote,
        "avgPrice": plain(order.avg_price.quantize(Decimal("1e-8"))),
    }
    return row


def find(call: Call, *, is_cancel: bool = False) -> Order:
    """Return the order that is named; a client id is good for two hours.

    Raises Refusal 100404 when there is none, or while the look-up lag hides it.
    """
    order_id, client_id = call.whole("orderId"), call.text("clientOrderID") or call.text("clientOrderId")
    if order_id is None and not client_id:
        raise refusals.missing("orderId")
    order = call.venue.ledger.find_order(call.account.key, SPOT, order_id, client_id)
    if order is None or order.symbol != call.instrument(SPOT).symbol:
        raise Refusal(100404, "the order does not exist")
    faults = call.venue.faults
    is_hidden = faults.hides(order, call.now_ms) and (order_id is None or faults.lag_everywhere)
    is_forgotten = order_id is None and call.now_ms - order.time_ms > TWO_HOURS_MS
    if is_forgotten or (is_hidden and not is_cancel):
        raise Refusal(100404, "the order does not exist")
    return order


def cancel_found(call: Call, order: Order) -> dict[str, Json]:
    """Cancel and return the answer, stale when a fault says so."""
    if not order.is_open:
        raise Refusal(100404, f"the order is {status_of(order)} already")
    stale = echo(order)
    call.venue.matcher.cancel(order)
    return stale if call.venue.faults.is_cancel_stale() else echo(order)


@endpoint("POST", "/spot/v1/trade/order", group="orders")
def place(call: Call) -> Body:
    return described(echo(accept(call)))


@endpoint("POST", "/spot/v1/trade/batchOrders", group="orders")
def place_batch(call: Call) -> Body:
    rows: list[Json] = []
    for members in read_list(call, "data", 5):
        part = Call(call.venue, {name: scalar_text(value) for name, value in members.items()}, call.now_ms, call.holder)
        try:
            rows.append(echo(accept(part)))
        except Refusal as refusal:
            rows.append(
                {
                    "symbol": part.text("symbol"),
                    "clientOrderID": part.text("newClientOrderId"),
                    "errmsg": refusal.message,
                }
            )
    return described({"orders": rows})


@endpoint("POST", "/spot/v1/trade/cancel", group="cancels")
def cancel(call: Call) -> Body:
    return described(cancel_found(call, find(call, is_cancel=True)))


@endpoint("POST", "/spot/v1/trade/cancelOrders", group="cancels")
def cancel_some(call: Call) -> Body:
    name = "orderId" if call.text("orderIds") else "clientOrderID"
    rows: list[Json] = []
    fails: list[Json] = []
    for each in (call.text("orderIds") or call.need("clientOrderIDs")).split(","):
        part = Call(call.venue, {"symbol": call.need("symbol"), name: each}, call.now_ms, call.holder)
        try:
            rows.append(cancel_found(part, find(part, is_cancel=True)))
        except Refusal as refusal:
            fails.append({name: each, "code": refusal.code, "msg": refusal.message})
    return described({"orders": rows, "fails": fails})


@endpoint("POST", "/spot/v1/trade/cancelOpenOrders", group="cancels")
def cancel_all(call: Call) -> Body:
    symbol = call.instrument(SPOT).symbol if call.text("symbol") else None
    found = call.venue.ledger.open_orders_of(call.account.key, SPOT, symbol)
    return described({"orders": [cancel_found(call, each) for each in found]})


@endpoint("POST", "/spot/v1/trade/order/cancelReplace", group="orders")
def cancel_replace(call: Call) -> Body:
    mode = call.text("cancelReplaceMode") or call.text("CancelReplaceMode")
    names = {"orderId": call.text("cancelOrderId"), "clientOrderID": call.text("cancelClientOrderID")}
    target = Call(call.venue, {"symbol": call.need("symbol")} | names, call.now_ms, call.holder)
    cancelled: Json = {}
    result: dict[str, Json] = {"code": 0, "msg": "", "result": True}
    try:
        cancelled = cancel_found(target, find(target, is_cancel=True))
    except Refusal as refusal:
        if mode == "STOP_ON_FAILURE":
            raise
        result = {"code": refusal.code, "msg": refusal.message, "result": False}
    row: dict[str, Json] = {
        "cancelResult": result,
        "openResult": {"code": 0, "msg": "", "result": True},
        "orderOpenResponse": echo(accept(call)),
        "orderCancelResponse": cancelled,
    }
    return described(row)


@endpoint("GET", "/spot/v1/trade/query", group="lookups")
def query(call: Call) -> Body:
    return described(row_of(call, find(call)))


@endpoint("GET", "/spot/v1/trade/openOrders", group="lookups")
def open_orders(call: Call) -> Body:
    symbol = call.instrument(SPOT).symbol if call.text("symbol") else None
    found = call.venue.ledger.open_orders_of(call.account.key, SPOT, symbol)
    return described({"orders": [row_of(call, each) for each in found if not _is_hidden(call, each)]})


def _is_hidden(call: Call, order: Order) -> bool:
    return call.venue.faults.lag_everywhere and call.venue.faults.hides(order, call.now_ms)


@endpoint("GET", "/spot/v1/trade/historyOrders", group="lookups")
def order_history(call: Call) -> Body:
    symbol, count, page = call.instrument(SPOT).symbol, call.limit("pageSize", 100, 100), call.whole("pageIndex") or 1
    wanted, kind, after = call.text("status"), call.text("type"), call.whole("orderId") or 0
    found = [
        each
        for each in _newest(call, call.venue.ledger.orders_of[call.account.key], lambda each: each.time_ms)
        if each.symbol == symbol
        and wanted in ("", status_of(each))
        and kind in ("", each.type)
        and each.order_id > after
        and not _is_hidden(call, each)
    ]
    return described({"orders": [row_of(call, each) for each in found[(page - 1) * count : page * count]]})


def _newest(call: Call, records: list[Order], time_of: Callable[[Order], int]) -> list[Order]:
    begin, end = call.whole("startTime") or 0, call.whole("endTime") or call.now_ms
    recent = made_since(records, begin)
    return [each for each in reversed(recent) if each.market == SPOT and begin <= time_of(each) <= end]


@endpoint("GET", "/spot/v1/trade/myTrades", group="lookups")
def fills(call: Call) -> Body:
    symbol, count, order_id = call.instrument(SPOT).symbol, call.limit("limit", 500, 1000), call.whole("orderId")
    begin, end, after = call.whole("startTime") or 0, call.whole("endTime") or call.now_ms, call.whole("fromId") or 0
    ledger = call.venue.ledger
    found = ledger.fills_of_order[order_id] if order_id else made_since(ledger.fills_of[call.account.key], begin)
    rows: list[Json] = [
        _fill(each)
        for each in found
        if (each.account, each.market, each.symbol) == (call.account.key, SPOT, symbol)
        and begin <= each.time_ms <= end
        and each.trade_id > after
        and not _is_hidden(call, ledger.orders[each.order_id])
    ]
    return described({"fills": rows[-count:]})


def _fill(fill: Fill) -> Json:
    return {
        "symbol": fill.symbol,
        "id": fill.trade_id,
        "orderId": fill.order_id,
        "price": plain(fill.price),
        "qty": plain(fill.quantity),
        "quoteQty": plain(fill.quantity * fill.price),
        "commission": fill.commission,
        "commissionAsset": fill.commission_asset,
        "time": fill.time_ms,
        "isBuyer": fill.side == "BUY",
        "isMaker": fill.is_maker,
    }
