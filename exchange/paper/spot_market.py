"""Spot market data: numbers are numbers here and candles are arrays. https://bingx-api.github.io/docs-v3/#/en/Spot/Market%20Data"""

from __future__ import annotations

from decimal import Decimal

from exchange.paper import kline_rows
from exchange.paper.calls import Body, Call, endpoint
from exchange.paper.instruments import LAUNCHED_MS, Instrument
from exchange.paper.swap_market import bars, day_figures, levels, price_text, recent_prices
from exchange.paper.wire import Json, Raw, plain
from exchange.types import Market

SPOT = Market.SPOT
# Days of spot candles begin at midnight in UTC+8 unless `timeZone=0` is sent.
NATIVE_ZONE = 8


def timed(call: Call, data: Json) -> Body:
    """Spot market answers carry a time stamp and no `msg`."""
    return {"code": 0, "timestamp": call.now_ms, "data": data}


def described(data: Json) -> Body:
    return {"code": 0, "msg": "", "debugMsg": "", "data": data}


@endpoint("GET", "/spot/v1/common/symbols", group="market", is_signed=False)
def symbols(call: Call) -> Body:
    rows: list[Json] = [
        {
            "symbol": each.symbol,
            "minQty": each.min_quantity,
            "maxQty": each.spot_max_quantity,
            "minNotional": each.min_notional,
            "maxNotional": Decimal(500_000),
            "status": 1,
            "tickSize": each.tick,
            "stepSize": each.step,
            "apiStateSell": True,
            "apiStateBuy": True,
            "timeOnline": LAUNCHED_MS,
            "offTime": 0,
            "maintainTime": 0,
            "displayName": each.symbol,
        }
        for each in call.instruments(SPOT)
    ]
    return described({"symbols": rows})


@endpoint(
    "GET", "/spot/v1/market/kline", "/spot/v2/market/kline", "/spot/v2/quote/klines", group="market", is_signed=False
)
def spot_klines(call: Call) -> Body:
    return timed(call, _rows(call, 1440))


@endpoint("GET", "/market/his/v1/kline", "/spot/v2/quote/historicalKlines", group="market", is_signed=False)
def old_klines(call: Call) -> Body:
    return timed(call, _rows(call, 500))


def _rows(call: Call, most: int) -> Raw:
    instrument = call.instrument(SPOT)
    path = call.venue.quotes.path_of(instrument.symbol)
    found = bars(call, instrument, default_zone=NATIVE_ZONE, most=most)
    return kline_rows.arrays(found, path.decimals, instrument.price_precision)


@endpoint("GET", "/spot/v1/ticker/24hr", "/spot/v2/quote/ticker", group="market", is_signed=False)
def ticker(call: Call) -> Body:
    return timed(call, [_ticker(call, each) for each in call.instruments(SPOT)])


def _ticker(call: Call, each: Instrument) -> Json:
    first, high, low, last, volume = day_figures(call, each)
    return {
        "symbol": each.symbol,
        "openPrice": first,
        "highPrice": high,
        "lowPrice": low,
        "lastPrice": last,
        "priceChange": last - first,
        "priceChangePercent": f"{(last - first) / first * 100:.2f}%",
        "volume": volume,
        "quoteVolume": (volume * last).quantize(Decimal("0.01")),
        "openTime": call.now_ms - 86_400_000,
        "closeTime": call.now_ms,
        "askPrice": last + each.tick,
        "askQty": Decimal("2.20125"),
        "bidPrice": last,
        "bidQty": Decimal("0.8962"),
    }


@endpoint(
    "GET", "/spot/v1/ticker/price", "/spot/v2/ticker/price", "/spot/v2/quote/price", group="market", is_signed=False
)
def last_price(call: Call) -> Body:
    """The symbol may come with an underscore, as in the old pages."""
    call.params["symbol"] = call.need("symbol").replace("_", "-")
    each = call.instrument(SPOT)
    trade: Json = {
        "timestamp": call.now_ms,
        "tradeId": str(call.now_ms),
        "price": price_text(call, each),
        "amount": "",
        "type": 1,
        "volume": plain(each.min_quantity),
    }
    return timed(call, [{"symbol": each.symbol.replace("-", "_"), "trades": [trade]}])


@endpoint("GET", "/spot/v1/ticker/bookTicker", group="market", is_signed=False)
def old_book_ticker(call: Call) -> Body:
    return timed(call, [_book(call, call.instrument(SPOT), "bidVolume", "askVolume")])


@endpoint("GET", "/spot/v2/quote/bookTicker", group="market", is_signed=False)
def book_ticker(call: Call) -> Body:
    return timed(call, [_book(call, call.instrument(SPOT), "bidQty", "askQty")])


def _book(call: Call, each: Instrument, bid_name: str, ask_name: str) -> Json:
    price = call.venue.matcher.price_of(each)
    return {
        "eventType": "bookTicker",
        "time": call.now_ms,
        "symbol": each.symbol,
        "bidPrice": price_text(call, each),
        bid_name: "8.994776",
        "askPrice": f"{price + each.tick:.{each.price_precision}f}",
        ask_name: "0.5",
    }


@endpoint(
    "GET", "/spot/v1/market/depth", "/spot/v2/market/depth", "/spot/v2/quote/depth", group="market", is_signed=False
)
def depth(call: Call) -> Body:
    call.params["symbol"] = call.need("symbol").replace("_", "-")
    bids, asks = levels(call, call.instrument(SPOT), call.limit("limit", 20, 1000))
    return timed(call, {"bids": bids, "asks": asks[::-1], "ts": call.now_ms})


@endpoint("GET", "/spot/v1/market/trades", "/spot/v2/quote/trades", group="market", is_signed=False)
def trades(call: Call) -> Body:
    each = call.instrument(SPOT)
    rows: list[Json] = [
        {"id": second, "price": price, "qty": each.min_quantity, "time": second * 1000, "buyerMaker": second % 2 == 0}
        for second, price in recent_prices(call, each, call.limit("limit", 100, 1000))
    ]
    return timed(call, rows)
