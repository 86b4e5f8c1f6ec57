"""COIN-M perpetuals: quantities are contracts, money is the coin. https://bingx-api.github.io/docs-v3/#/en/Coin-M%20Futures"""

from __future__ import annotations

from exchange.paper import refusals
from exchange.paper.books import Fill, Order, Position
from exchange.paper.calls import Body, Call, endpoint
from exchange.paper.instruments import BY_MARKET, LAUNCHED_MS, MAKER_FEE, TAKER_FEE, Instrument
from exchange.paper.margins import liquidation_price, margin_of, profit_of
from exchange.paper.shapes import order_row, padded, wallet_row
from exchange.paper.swap_account import (
    change_leverage,
    change_margin_type,
    change_position_margin,
    frozen_quantity,
    leverage_of,
)
from exchange.paper.swap_market import bars, day_figures, kline_objects, levels, price_text
from exchange.paper.swap_orders import admit, close_now, find, open_orders_asked, orders_in_range
from exchange.paper.wire import Json, plain
from exchange.types import Market

COIN = Market.COINM
MONTH_MS = 30 * 86_400_000


def stamped(call: Call, data: Json) -> Body:
    return {"code": 0, "msg": "", "timestamp": call.now_ms, "data": data}


@endpoint("GET", "/cswap/v1/market/contracts", group="market", is_signed=False)
def contracts(call: Call) -> Body:
    """`minTickSize` is the value of one contract in USD, not a tick."""
    rows: list[Json] = [
        {
            "symbol": each.symbol,
            "pricePrecision": each.price_precision,
            "minTickSize": plain(each.contract_size),
            "minTradeValue": plain(each.min_notional),
            "minQty": f"{each.min_quantity:.8f}",
            "status": 1,
            "timeOnline": LAUNCHED_MS,
            "displayName": each.symbol,
        }
        for each in call.instruments(COIN)
    ]
    return stamped(call, rows)


@endpoint("GET", "/cswap/v1/market/klines", group="market", is_signed=False)
def coin_klines(call: Call) -> Body:
    """Only the last 30 days exist; the day boundary is UTC whatever `timeZone` says."""
    call.params.pop("timeZone", None)
    instrument = call.instrument(COIN)
    found = bars(call, instrument, default_zone=0, most=1000, oldest_ms=call.now_ms - MONTH_MS)
    return stamped(call, kline_objects(call, instrument, found))


@endpoint("GET", "/cswap/v1/market/ticker", group="market", is_signed=False)
def ticker(call: Call) -> Body:
    return stamped(call, [_ticker(call, each) for each in call.instruments(COIN)])


def _ticker(call: Call, each: Instrument) -> Json:
    first, high, low, last, volume = day_figures(call, each)
    places = each.price_precision
    return {
        "symbol": each.symbol,
        "priceChange": f"{last - first:.{places}f}",
        "priceChangePercent": f"{(last - first) / first * 100:.2f}%",
        "lastPrice": f"{last:.{places}f}",
        "lastQty": "10",
        "highPrice": f"{high:.{places}f}",
        "lowPrice": f"{low:.{places}f}",
        "volume": plain(volume),
        "quoteVolume": f"{volume * last:.2f}",
        "openPrice": f"{first:.{places}f}",
        "closeTime": str(call.now_ms),
        "bidPrice": f"{last:.{places}f}",
        "bidQty": "84",
        "askPrice": f"{last + each.tick:.{places}f}",
        "askQty": "99",
    }


@endpoint("GET", "/cswap/v1/market/premiumIndex", group="market", is_signed=False)
def premium_index(call: Call) -> Body:
    rows: list[Json] = [
        {
            "symbol": each.symbol,
            "lastFundingRate": "0.0001",
            "markPrice": price_text(call, each),
            "indexPrice": price_text(call, each),
            "nextFundingTime": (call.now_ms // 28_800_000 + 1) * 28_800_000,
        }
        for each in call.instruments(COIN)
    ]
    return stamped(call, rows)


@endpoint("GET", "/cswap/v1/market/openInterest", group="market", is_signed=False)
def open_interest(call: Call) -> Body:
    symbol = call.instrument(COIN).symbol
    return stamped(call, [{"symbol": symbol, "openInterest": "1152.6776", "timestamp": call.now_ms}])


@endpoint("GET", "/cswap/v1/market/depth", group="market", is_signed=False)
def depth(call: Call) -> Body:
    bids, asks = levels(call, call.instrument(COIN), call.limit("limit", 20, 1000))
    return stamped(call, {"T": call.now_ms, "bids": bids, "asks": asks[::-1]})


@endpoint("GET", "/cswap/v1/user/balance", group="account")
def balance(call: Call) -> Body:
    asked = call.text("symbol")
    coins = [asked.split("-")[0]] if asked else sorted({each.base for each in BY_MARKET[COIN].values()})
    rows = [wallet_row(call.account, call.venue.matcher.wallet(call.account, COIN, coin)) for coin in coins]
    hidden = ("userId", "realisedProfit")
    shown: list[Json] = [{name: value for name, value in row.items() if name not in hidden} for row in rows]
    return stamped(call, shown)


@endpoint("GET", "/cswap/v1/user/positions", group="account")
def positions(call: Call) -> Body:
    symbol = call.instrument(COIN).symbol if call.text("symbol") else None
    return stamped(
        call, [_position(call, each) for each in call.venue.ledger.live_positions(call.account.key, COIN, symbol)]
    )


def _position(call: Call, position: Position) -> Json:
    instrument = BY_MARKET[COIN][position.symbol]
    price = call.venue.matcher.price_of(instrument)
    return {
        "symbol": position.symbol,
        "positionId": str(position.position_id),
        "positionSide": position.shown_side,
        "isolated": position.isolated,
        "positionAmt": plain(position.size),
        "availableAmt": plain(position.size - frozen_quantity(call, position)),
        "unrealizedProfit": padded(profit_of(instrument, position.quantity, position.avg_price, price), 8),
        "initialMargin": padded(margin_of(instrument, position), 8),
        "liquidationPrice": liquidation_price(instrument, position),
        "avgPrice": padded(position.avg_price, instrument.price_precision),
        "leverage": position.leverage,
        "markPrice": padded(price, instrument.price_precision),
        "riskRate": "0.00123783",
        "maxMarginReduction": plain(position.added_margin),
        "updateTime": position.updated_ms,
    }


@endpoint("GET", "/cswap/v1/user/commissionRate", group="account")
def commission_rate(call: Call) -> Body:
    return stamped(call, {"takerCommissionRate": plain(TAKER_FEE), "makerCommissionRate": plain(MAKER_FEE)})


@endpoint("GET", "/cswap/v1/trade/leverage", group="account")
def leverage(call: Call) -> Body:
    return stamped(call, _leverage(call, call.instrument(COIN)))


def _leverage(call: Call, instrument: Instrument) -> Json:
    return {
        "symbol": instrument.symbol,
        "longLeverage": leverage_of(call.account, instrument, "LONG"),
        "shortLeverage": leverage_of(call.account, instrument, "SHORT"),
        "maxLongLeverage": instrument.max_leverage,
        "maxShortLeverage": instrument.max_leverage,
        "availableLongVol": "0",
        "availableShortVol": "0",
    }


@endpoint("POST", "/cswap/v1/trade/leverage", group="account")
def set_leverage(call: Call) -> Body:
    instrument = call.instrument(COIN)
    change_leverage(call, instrument)
    return stamped(call, _leverage(call, instrument))


@endpoint("GET", "/cswap/v1/trade/marginType", group="account")
def margin_type(call: Call) -> Body:
    symbol = call.instrument(COIN).symbol
    return stamped(call, {"symbol": symbol, "marginType": call.account.margin_type(COIN, symbol)})


@endpoint("POST", "/cswap/v1/trade/marginType", group="account")
def set_margin_type(call: Call) -> Body:
    change_margin_type(call, call.instrument(COIN))
    return stamped(call, [])


@endpoint("POST", "/cswap/v1/trade/positionMargin", group="account")
def position_margin(call: Call) -> Body:
    change_position_margin(call, call.instrument(COIN))
    return {"code": 0, "msg": "", "timestamp": call.now_ms}


@endpoint("POST", "/cswap/v1/trade/order", "/cswap/v2/trade/order", group="orders")
def place(call: Call) -> Body:
    """The fields stand directly in `data`, without the client id.

    The vendor's page shows them there, ccxt (4.5.90, createOrder) reads them from the top: both find them.
    """
    order = admit(call, call.instrument(COIN))
    call.venue.matcher.accept(order)
    row: dict[str, Json] = {
        "orderId": order.order_id,
        "symbol": order.symbol,
        "positionSide": order.position_side,
        "side": order.side,
        "type": order.type,
        "price": order.price,
        "quantity": order.quantity,
        "stopPrice": order.stop_price,
        "workingType": order.working_type,
        "timeInForce": order.time_in_force,
    }
    return stamped(call, row) | row


def coin_order_row(call: Call, order: Order) -> Json:
    """As USDT-M's, but the quantity is a number, `origQty` and `cumQuote` are empty, the position side mixed case."""
    side = order.position_side if order.position_side == "BOTH" else order.position_side.capitalize()
    changed: dict[str, Json] = {"positionSide": side, "quantity": order.quantity, "origQty": "", "cumQuote": ""}
    return order_row(order, call.account.is_hedge) | changed


@endpoint("GET", "/cswap/v1/trade/orderDetail", group="lookups")
def query(call: Call) -> Body:
    call.instrument(COIN)
    return stamped(call, {"order": coin_order_row(call, find(call, COIN))})


@endpoint("DELETE", "/cswap/v1/trade/cancelOrder", group="cancels")
def cancel(call: Call) -> Body:
    call.instrument(COIN)
    order = find(call, COIN, is_cancel=True)
    stale = coin_order_row(call, order)
    call.venue.matcher.cancel(order)
    return stamped(call, {"order": stale if call.venue.faults.is_cancel_stale() else coin_order_row(call, order)})


@endpoint("DELETE", "/cswap/v1/trade/allOpenOrders", group="cancels")
@endpoint("POST", "/cswap/v1/trade/allOpenOrders", group="cancels")
def cancel_all(call: Call) -> Body:
    done: list[Json] = []
    for order in open_orders_asked(call, COIN):
        call.venue.matcher.cancel(order)
        done.append(str(order.order_id))
    return stamped(call, {"success": done, "failed": []})


@endpoint("GET", "/cswap/v1/trade/openOrders", group="lookups")
def open_orders(call: Call) -> Body:
    return stamped(call, {"orders": [coin_order_row(call, each) for each in open_orders_asked(call, COIN)]})


@endpoint("GET", "/cswap/v1/trade/orderHistory", group="lookups")
def order_history(call: Call) -> Body:
    found = orders_in_range(call, COIN, lambda order: not order.is_open, call.limit("limit", 500, 1000))
    return stamped(call, {"orders": [coin_order_row(call, each) for each in found]})


@endpoint("GET", "/cswap/v1/trade/forceOrders", group="lookups")
def liquidations(call: Call) -> Body:
    return stamped(call, {"orders": []})


@endpoint("GET", "/cswap/v1/trade/allFillOrders", group="lookups")
def fills(call: Call) -> Body:
    order_id = call.whole("orderId")
    if order_id is None:
        raise refusals.missing("orderId")
    count, page = call.limit("pageSize", 100, 1000), call.whole("pageIndex") or 1
    order = find(call, COIN)
    found = call.venue.ledger.fills_of_order[order.order_id]
    return stamped(call, [_fill(each, order) for each in found[(page - 1) * count : page * count]])


def _fill(fill: Fill, order: Order) -> Json:
    instrument = BY_MARKET[COIN][fill.symbol]
    return {
        "orderId": str(fill.order_id),
        "symbol": fill.symbol,
        "type": order.type,
        "side": fill.side,
        "positionSide": fill.position_side,
        "tradeId": str(fill.trade_id),
        "volume": plain(fill.quantity),
        "tradePrice": padded(fill.price, instrument.price_precision),
        "amount": f"{fill.quantity * instrument.contract_size:.8f}",
        "realizedPnl": f"{fill.profit:.8f}",
        "commission": f"{fill.commission:.8f}",
        "currency": fill.commission_asset,
        "buyer": fill.side == "BUY",
        "maker": fill.is_maker,
        "tradeTime": fill.time_ms,
    }


@endpoint("POST", "/cswap/v1/trade/closeAllPositions", group="orders")
def close_all_positions(call: Call) -> Body:
    symbol = call.instrument(COIN).symbol if call.text("symbol") else None
    live = call.venue.ledger.live_positions(call.account.key, COIN, symbol)
    return stamped(call, {"success": [str(close_now(call, each).order_id) for each in live], "failed": []})
