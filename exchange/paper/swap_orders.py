"""USDT-M orders and fills. https://bingx-api.github.io/docs-v3/#/en/Swap/Trades%20Endpoints"""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal

from exchange.paper import refusals
from exchange.paper.admission import PERPETUAL_TYPES, check_perpetual, check_unique, clean_client_id
from exchange.paper.books import Fill, Order, Position
from exchange.paper.calls import Body, Call, answer, endpoint
from exchange.paper.instruments import BY_MARKET, Instrument
from exchange.paper.ledger import made_since
from exchange.paper.refusals import Refusal
from exchange.paper.shapes import fill_history_row, fill_row, order_echo, order_row
from exchange.paper.swap_account import leverage_of
from exchange.paper.wire import Json, scalar_text
from exchange.types import Market

MONTH_MS = 30 * 86_400_000
WEEK_MS = 7 * 86_400_000
TIMES_IN_FORCE = ("GTC", "IOC", "FOK", "PostOnly")
WORKING_TYPES = ("MARK_PRICE", "CONTRACT_PRICE", "INDEX_PRICE")


def read_order(call: Call, instrument: Instrument) -> Order:
    """Return the order that the parameters describe, cut to the grid, not yet checked against the books."""
    price, stop_price = call.amount("price"), call.amount("stopPrice")
    kind = call.one_of("type", PERPETUAL_TYPES, call.need("type"))
    order = Order(
        order_id=call.venue.ledger.new_id(),
        account=call.account.key,
        market=instrument.market,
        symbol=instrument.symbol,
        side=call.one_of("side", ("BUY", "SELL"), call.need("side")),
        position_side=call.one_of("positionSide", ("LONG", "SHORT", "BOTH"), "LONG"),
        type=kind,
        time_ms=call.now_ms,
        quantity=instrument.cut_quantity(call.amount("quantity")),
        price=price if kind.startswith("TRAILING") else instrument.cut_price(price),
        stop_price=instrument.cut_price(stop_price),
        quote_quantity=call.amount("quoteOrderQty"),
        client_order_id=clean_client_id(sent_client_id(call)) if keeps_client_id(call, kind) else "",
        time_in_force=call.one_of("timeInForce", TIMES_IN_FORCE, "GTC"),
        working_type=call.one_of("workingType", WORKING_TYPES, "MARK_PRICE"),
        reduce_only=call.flag("reduceOnly"),
        close_position=call.flag("closePosition"),
        stop_loss=call.text("stopLoss"),
        take_profit=call.text("takeProfit"),
        stop_guaranteed=call.text("stopGuaranteed"),
        price_rate=call.amount("priceRate"),
        activation_price=call.amount("activationPrice"),
    )
    if kind.endswith("MARKET") and not kind.startswith("TRAILING"):
        order.price = Decimal(0)
    if order.quote_quantity and not order.quantity and instrument.market == Market.USDTM:
        order.quantity = instrument.cut_quantity(
            order.quote_quantity / (order.price or call.venue.matcher.price_of(instrument))
        )
    order.leverage = leverage_of(call.account, instrument, order.position_side)
    return order


def sent_client_id(call: Call) -> str:
    """Both spellings are accepted on input."""
    return call.text("clientOrderID") or call.text("clientOrderId")


def keeps_client_id(call: Call, kind: str) -> bool:
    """Stops, targets and triggers lose their client id: BingX knows it on MARKET and LIMIT orders only."""
    return kind in ("MARKET", "LIMIT") or call.venue.faults.stop_client_ids


def admit(call: Call, instrument: Instrument) -> Order:
    """Check an order without placing it.

    Raises the Refusal that it deserves.
    """
    order = read_order(call, instrument)
    check_unique(call.venue.ledger, order, call.venue.faults.dedupe, call.now_ms)
    check_perpetual(call.venue.matcher, call.account, instrument, order)
    call.venue.faults.check_rejected(order)
    return order


@endpoint("POST", "/swap/v2/trade/order", group="orders")
def place(call: Call) -> Body:
    order = admit(call, call.instrument(Market.USDTM))
    call.venue.matcher.accept(order)
    echo = order_echo(order, sent_client_id(call) if order.client_order_id else "")
    return answer(echo if call.venue.faults.is_order_bare() else {"order": echo})


@endpoint("POST", "/swap/v2/trade/order/test", group="orders")
def place_nothing(call: Call) -> Body:
    order = admit(call, call.instrument(Market.USDTM))
    return answer({"order": order_echo(order, sent_client_id(call))})


@endpoint("POST", "/swap/v2/trade/batchOrders", group="orders")
def place_batch(call: Call) -> Body:
    rows: list[Json] = []
    for members in read_list(call, "batchOrders", 5):
        part = Call(call.venue, {name: scalar_text(value) for name, value in members.items()}, call.now_ms, call.holder)
        try:
            order = admit(part, part.instrument(Market.USDTM))
            part.venue.matcher.accept(order)
            rows.append(order_echo(order, sent_client_id(part)))
        except Refusal as refusal:
            rows.append(
                {
                    "symbol": part.text("symbol"),
                    "clientOrderID": sent_client_id(part),
                    "code": refusal.code,
                    "msg": refusal.message,
                }
            )
    return answer({"orders": rows})


def read_list(call: Call, name: str, most: int) -> list[dict[str, Json]]:
    """Return a JSON array parameter of objects, numbers as written."""
    try:
        rows = json.loads(call.need(name), parse_float=str, parse_int=str)
    except ValueError:
        rows = None
    if not isinstance(rows, list) or not 0 < len(rows) <= most or not all(isinstance(row, dict) for row in rows):
        raise refusals.bad_parameter(f"Mismatch type of {name}, it must be a JSON array of 1 to {most} orders")
    return rows


def find(call: Call, market: Market, *, is_cancel: bool = False) -> Order:
    """Return the order that `orderId` or the client id names, in either spelling.

    Raises Refusal 109421 when there is none, or while the look-up lag hides it.
    """
    order_id, client_id = call.whole("orderId"), sent_client_id(call).lower()
    if order_id is None and not client_id:
        raise refusals.missing("orderId")
    order = call.venue.ledger.find_order(call.account.key, market, order_id, client_id)
    faults = call.venue.faults
    is_hidden = order and faults.hides(order, call.now_ms) and (order_id is None or faults.lag_everywhere)
    symbol = call.text("symbol")
    if order is None or symbol not in ("", order.symbol) or (is_hidden and not is_cancel):
        raise refusals.no_such_order()
    return order


@endpoint("GET", "/swap/v2/trade/order", group="lookups")
def query(call: Call) -> Body:
    call.instrument(Market.USDTM)
    return answer({"order": order_row(find(call, Market.USDTM), call.account.is_hedge)})


@endpoint("GET", "/swap/v2/trade/openOrder", group="lookups")
def query_open(call: Call) -> Body:
    call.instrument(Market.USDTM)
    order = find(call, Market.USDTM)
    if not order.is_open:
        raise refusals.no_such_order()
    return answer({"order": order_row(order, call.account.is_hedge)})


@endpoint("DELETE", "/swap/v2/trade/order", group="cancels")
def cancel(call: Call) -> Body:
    call.instrument(Market.USDTM)
    order = find(call, Market.USDTM, is_cancel=True)
    stale = order_row(order, call.account.is_hedge)
    call.venue.matcher.cancel(order)
    row = stale if call.venue.faults.is_cancel_stale() else order_row(order, call.account.is_hedge)
    return answer({"order": row})


@endpoint("DELETE", "/swap/v2/trade/batchOrders", group="cancels")
def cancel_batch(call: Call) -> Body:
    call.instrument(Market.USDTM)
    ids = _ids(call, "orderIdList") or _ids(call, "clientOrderIdList") or _ids(call, "clientOrderIDList")
    if not 0 < len(ids) <= 10:
        raise refusals.missing("orderIdList")
    name = "orderId" if call.text("orderIdList") else "clientOrderID"
    done: list[Json] = []
    failed: list[Json] = []
    for each in ids:
        part = Call(call.venue, {"symbol": call.text("symbol"), name: each}, call.now_ms, call.holder)
        try:
            order = find(part, Market.USDTM, is_cancel=True)
            call.venue.matcher.cancel(order)
            done.append(order_row(order, call.account.is_hedge))
        except Refusal as refusal:
            failed.append({name: each, "errorCode": refusal.code, "errorMessage": refusal.message})
    return answer({"success": done, "failed": failed or None})


def _ids(call: Call, name: str) -> list[str]:
    try:
        members = json.loads(call.text(name, "[]"), parse_int=str)
    except ValueError:
        raise refusals.bad_parameter(f"Mismatch type of {name}, it must be a JSON array") from None
    return [str(each) for each in members]


@endpoint("DELETE", "/swap/v2/trade/allOpenOrders", group="cancels")
def cancel_all(call: Call) -> Body:
    rows: list[Json] = []
    for order in open_orders_asked(call, Market.USDTM):
        call.venue.matcher.cancel(order)
        rows.append(order_row(order, call.account.is_hedge))
    return answer({"success": rows, "failed": None})


def open_orders_asked(call: Call, market: Market) -> list[Order]:
    """Return the pending orders, of one symbol and type when they are named."""
    symbol = call.instrument(market).symbol if call.text("symbol") else None
    kind, faults = call.text("type"), call.venue.faults
    found = call.venue.ledger.open_orders_of(call.account.key, market, symbol)
    return [
        each
        for each in found
        if kind in ("", each.type) and not (faults.lag_everywhere and faults.hides(each, call.now_ms))
    ]


@endpoint("GET", "/swap/v2/trade/openOrders", group="lookups")
def open_orders(call: Call) -> Body:
    return answer(
        {"orders": [order_row(each, call.account.is_hedge) for each in open_orders_asked(call, Market.USDTM)]}
    )


@endpoint("GET", "/swap/v2/trade/allOrders", group="lookups")
def finished_orders(call: Call) -> Body:
    return answer({"orders": history(call, Market.USDTM, lambda order: not order.is_open)})


@endpoint("GET", "/swap/v1/trade/fullOrder", group="lookups")
def all_orders(call: Call) -> Body:
    return answer({"orders": history(call, Market.USDTM, lambda order: True)})


def orders_in_range(call: Call, market: Market, wanted: Callable[[Order], bool], count: int) -> list[Order]:
    """Return the account's orders newest first, at most 7 days of them, after `orderId` when it is given."""
    begin, end = call.whole("startTime"), call.whole("endTime")
    if begin and end and end - begin > WEEK_MS:
        raise refusals.bad_parameter("the time range must not be longer than 7 days")
    end = end or call.now_ms
    begin, symbol, after = begin or end - WEEK_MS, call.text("symbol"), call.whole("orderId") or 0
    lag = call.venue.faults
    found = [
        each
        for each in reversed(made_since(call.venue.ledger.orders_of[call.account.key], begin))
        if each.market == market
        and symbol in ("", each.symbol)
        and begin <= each.time_ms <= end
        and each.order_id > after
        and wanted(each)
        and not (lag.lag_everywhere and lag.hides(each, call.now_ms))
    ]
    return found[:count]


def history(call: Call, market: Market, wanted: Callable[[Order], bool]) -> list[Json]:
    if call.text("symbol"):
        call.instrument(market)
    found = orders_in_range(call, market, wanted, call.limit("limit", 500, 1000))
    extra: dict[str, Json] = {"isTwap": False, "mainOrderId": ""}
    return [order_row(each, call.account.is_hedge) | extra for each in found]


@endpoint("GET", "/swap/v2/trade/forceOrders", group="lookups")
def liquidations(call: Call) -> Body:
    return answer({"orders": []})


def _fills(call: Call, first: str, last: str, longest_ms: int) -> list[tuple[Fill, Order]]:
    """Return the fills after `first` up to `last`, oldest first, of one order or symbol when it is named."""
    begin, end = call.need_whole(first), call.need_whole(last)
    if end - begin > longest_ms:
        raise refusals.bad_parameter(f"the time range must not be longer than {longest_ms // 86_400_000} days")
    symbol, order_id, ledger = call.text("symbol"), call.whole("orderId"), call.venue.ledger
    lag = call.venue.faults
    found = ledger.fills_of_order[order_id] if order_id else made_since(ledger.fills_of[call.account.key], begin)
    wanted = [
        each
        for each in found
        if begin < each.time_ms <= end
        and (each.account, each.market) == (call.account.key, Market.USDTM)
        and symbol in ("", each.symbol)
    ]
    pairs = [(each, ledger.orders[each.order_id]) for each in wanted]
    return [pair for pair in pairs if not (lag.lag_everywhere and lag.hides(pair[1], call.now_ms))]


@endpoint("GET", "/swap/v2/trade/allFillOrders", group="lookups")
def fills(call: Call) -> Body:
    unit = call.one_of("tradingUnit", ("COIN", "CONT"), call.need("tradingUnit"))
    found = _fills(call, "startTs", "endTs", MONTH_MS)
    rows: list[Json] = [fill_row(each, order, unit == "CONT", call.account.is_hedge) for each, order in reversed(found)]
    return answer({"fill_orders": rows})


@endpoint("GET", "/swap/v2/trade/fillHistory", "/swap/v1/trade/fillHistory", group="lookups")
def fill_history(call: Call) -> Body:
    found, count = _fills(call, "startTs", "endTs", WEEK_MS), call.limit("pageSize", 50, 1000)
    page, after = call.whole("pageIndex") or 1, call.whole("lastFillId") or 0
    found = [pair for pair in found if pair[0].trade_id > after]
    rows: list[Json] = [fill_history_row(each) for each, _ in found[(page - 1) * count : page * count]]
    return answer({"fill_history_orders": rows, "total": len(found)})


def close_now(call: Call, position: Position) -> Order:
    """Close a position at the market and return the order."""
    instrument = BY_MARKET[position.market][position.symbol]
    order = Order(
        order_id=call.venue.ledger.new_id(),
        account=position.account,
        market=position.market,
        symbol=position.symbol,
        side="SELL" if position.quantity > 0 else "BUY",
        position_side=position.side,
        type="MARKET",
        time_ms=call.now_ms,
        quantity=instrument.cut_quantity(position.size),
        reduce_only=position.side == "BOTH",
        leverage=position.leverage,
    )
    call.venue.matcher.accept(order)
    return order


@endpoint("POST", "/swap/v2/trade/closeAllPositions", group="orders")
def close_all_positions(call: Call) -> Body:
    symbol = call.instrument(Market.USDTM).symbol if call.text("symbol") else None
    live = call.venue.ledger.live_positions(call.account.key, Market.USDTM, symbol)
    return answer({"success": [close_now(call, each).order_id for each in live], "failed": None})


@endpoint("POST", "/swap/v1/trade/closePosition", group="orders")
def close_position(call: Call) -> Body:
    position = call.venue.ledger.live[call.account.key].get(call.need_whole("positionId"))
    if position is None:
        raise refusals.no_position()
    order = close_now(call, position)
    row: dict[str, Json] = {
        "orderId": order.order_id,
        "positionId": str(position.position_id),
        "symbol": order.symbol,
        "side": "Ask" if order.side == "SELL" else "Bid",
        "type": "Market",
        "positionSide": order.position_side,
        "origQty": str(order.quantity),
    }
    return answer(row) | {"timestamp": 0}


@endpoint("POST", "/swap/v1/trade/amend", group="orders")
def amend(call: Call) -> Body:
    order, instrument = find(call, Market.USDTM), call.instrument(Market.USDTM)
    quantity = instrument.cut_quantity(call.amount("quantity"))
    if not order.is_open or quantity <= order.executed:
        raise refusals.already_final(order.status)
    if quantity < instrument.min_quantity:
        raise refusals.below_minimum(instrument.min_quantity, instrument.base)
    order.quantity, order.updated_ms = quantity, call.now_ms
    call.venue.ledger.touch(order)
    row: Json = {
        "orderId": order.order_id,
        "clientOrderId": order.client_order_id,
        "symbol": order.symbol,
        "quantity": quantity,
    }
    return answer(row) | {"timestamp": 0}


@endpoint("POST", "/swap/v1/trade/cancelReplace", group="orders")
def cancel_replace(call: Call) -> Body:
    """Cancel one order and place another; with STOP_ON_FAILURE nothing is placed when the cancel fails."""
    is_strict = (
        call.one_of("cancelReplaceMode", ("STOP_ON_FAILURE", "ALLOW_FAILURE"), call.need("cancelReplaceMode"))
        == "STOP_ON_FAILURE"
    )
    names = {"orderId": call.text("cancelOrderId"), "clientOrderID": call.text("cancelClientOrderId")}
    target = Call(call.venue, {"symbol": call.text("symbol")} | names, call.now_ms, call.holder)
    cancelled: Json = None
    message = ""
    try:
        old = find(target, Market.USDTM, is_cancel=True)
        call.venue.matcher.cancel(old)
        cancelled = order_row(old, call.account.is_hedge)
    except Refusal as refusal:
        if is_strict:
            raise
        message = refusal.message
    order = admit(call, call.instrument(Market.USDTM))
    call.venue.matcher.accept(order)
    row: dict[str, Json] = {
        "cancelResult": "false" if message else "true",
        "cancelMsg": message,
        "cancelResponse": cancelled,
        "replaceResult": "true",
        "replaceMsg": "",
        "newOrderResponse": order_echo(order, sent_client_id(call)),
    }
    return answer(row)
