"""USDT-M market data without a key. https://bingx-api.github.io/docs-v3/#/en/Swap/Market%20Data"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal

from exchange.paper import kline_rows, klines, refusals
from exchange.paper.calls import Body, Call, answer, endpoint
from exchange.paper.instruments import LAUNCHED_MS, MAKER_FEE, TAKER_FEE, Instrument
from exchange.paper.kline_faults import spoil
from exchange.paper.klines import Bar
from exchange.paper.prices import VOLUME_DECIMALS, text_of
from exchange.paper.wire import Json, Raw, plain
from exchange.types import Market

EIGHT_HOURS_MS = 8 * 3_600_000
TIME = re.compile(r'"time":(\d+)')


@endpoint("GET", "/swap/v2/server/time", "/spot/v1/server/time", group="market", is_signed=False)
def server_time(call: Call) -> Body:
    return answer({"serverTime": call.now_ms})


@endpoint("GET", "/swap/v2/quote/contracts", group="market", is_signed=False)
def contracts(call: Call) -> Body:
    return answer([_contract(each) for each in call.instruments(Market.USDTM)])


def _contract(each: Instrument) -> Json:
    return {
        "contractId": each.contract_id,
        "symbol": each.symbol,
        "size": "0",
        "quantityPrecision": each.quantity_precision,
        "pricePrecision": each.price_precision,
        "feeRate": TAKER_FEE,
        "makerFeeRate": MAKER_FEE,
        "takerFeeRate": TAKER_FEE,
        "tradeMinLimit": 0,
        "tradeMinQuantity": each.min_quantity,
        "tradeMinUSDT": each.min_notional,
        "maxLongLeverage": each.max_leverage,
        "maxShortLeverage": each.max_leverage,
        "currency": each.quote,
        "asset": each.base,
        "status": 1,
        "apiStateOpen": "true",
        "apiStateClose": "true",
        "ensureTrigger": True,
        "triggerFeeRate": "0.00050000",
        "brokerState": True,
        "launchTime": LAUNCHED_MS,
        "maintainTime": 0,
        "offTime": 0,
        "displayName": each.symbol,
    }


@endpoint("GET", "/swap/v1/tradingRules", group="market", is_signed=False)
def trading_rules(call: Call) -> Body:
    each = call.instrument(Market.USDTM)
    rules: Json = {
        "minSizeCoin": f"{plain(each.min_quantity)} {each.base}",
        "minSizeUsd": f"{plain(each.min_notional)} {each.quote}",
        "maxMumOrder": "200",
        "protectionThreshold": "5%",
        "buyMaxPrice": "1.1",
        "buyMinPrice": "0.1",
        "sellMaxPrice": "10",
        "sellMinPrice": "0.9",
        "marketRatio": "0.05",
    }
    return answer(rules)


def price_text(call: Call, instrument: Instrument) -> str:
    return f"{call.venue.matcher.price_of(instrument):.{instrument.price_precision}f}"


@endpoint("GET", "/swap/v1/ticker/price", "/swap/v2/quote/price", group="market", is_signed=False)
def ticker_price(call: Call) -> Body:
    return _one_or_all(call, lambda each: {"symbol": each.symbol, "price": price_text(call, each), "time": call.now_ms})


def _one_or_all(call: Call, row_of: Callable[[Instrument], Json]) -> Body:
    rows: list[Json] = [row_of(each) for each in call.instruments(Market.USDTM)]
    return answer(rows[0] if call.text("symbol") else rows)


@endpoint("GET", "/swap/v2/quote/premiumIndex", group="market", is_signed=False)
def premium_index(call: Call) -> Body:
    next_funding = (call.now_ms // EIGHT_HOURS_MS + 1) * EIGHT_HOURS_MS
    return _one_or_all(
        call,
        lambda each: {
            "symbol": each.symbol,
            "markPrice": price_text(call, each),
            "indexPrice": price_text(call, each),
            "lastFundingRate": "0.00010000",
            "nextFundingTime": next_funding,
            "fundingIntervalHours": 8,
            "minFundingRate": "-0.02000000",
            "maxFundingRate": "0.02000000",
            "updateTime": call.now_ms,
        },
    )


@endpoint("GET", "/swap/v2/quote/bookTicker", group="market", is_signed=False)
def book_ticker(call: Call) -> Body:
    each = call.instrument(Market.USDTM)
    price = call.venue.matcher.price_of(each)
    row: Json = {
        "symbol": each.symbol,
        "bid_price": price,
        "bid_qty": Decimal(12663),
        "ask_price": price + each.tick,
        "ask_qty": Decimal(12885),
        "lastUpdateId": call.now_ms,
        "time": call.now_ms,
    }
    return answer({"book_ticker": row})


@endpoint("GET", "/swap/v2/quote/depth", group="market", is_signed=False)
def depth(call: Call) -> Body:
    each = call.instrument(Market.USDTM)
    count = call.limit("limit", 20, 1000)
    bids, asks = levels(call, each, count)
    # Asks are listed from high to low, as in the recorded answers.
    rows: dict[str, Json] = {
        "T": call.now_ms,
        "bids": bids,
        "asks": asks[::-1],
        "bidsCoin": bids,
        "asksCoin": asks[::-1],
    }
    return answer(rows)


def levels(call: Call, instrument: Instrument, count: int) -> tuple[list[Json], list[Json]]:
    """Return bids and asks, best first, one tick apart."""
    price, places = call.venue.matcher.price_of(instrument), instrument.price_precision
    size = plain(instrument.min_quantity * 1000)
    bids: list[Json] = [[f"{price - instrument.tick * step:.{places}f}", size] for step in range(count)]
    asks: list[Json] = [[f"{price + instrument.tick * step:.{places}f}", size] for step in range(1, count + 1)]
    return bids, asks


@endpoint("GET", "/swap/v2/quote/trades", "/swap/v1/market/historicalTrades", group="market", is_signed=False)
def trades(call: Call) -> Body:
    each = call.instrument(Market.USDTM)
    rows: list[Json] = [
        {
            "time": second * 1000,
            "isBuyerMaker": second % 2 == 0,
            "price": f"{price:.{each.price_precision}f}",
            "qty": plain(each.min_quantity * 10),
            "quoteQty": plain(each.min_quantity * 10 * price),
            "fillId": str(second),
        }
        for second, price in recent_prices(call, each, call.limit("limit", 500, 1000))
    ]
    return answer(rows)


def recent_prices(call: Call, instrument: Instrument, count: int) -> list[tuple[int, Decimal]]:
    """Return one price a second, newest first."""
    now = call.now_ms // 1000
    return [(second, call.venue.matcher.price_of(instrument, second)) for second in range(now, now - count, -1)]


@endpoint("GET", "/swap/v2/quote/openInterest", group="market", is_signed=False)
def open_interest(call: Call) -> Body:
    each = call.instrument(Market.USDTM)
    return answer({"openInterest": "3289641547.10", "symbol": each.symbol, "time": call.now_ms})


@endpoint("GET", "/swap/v2/quote/fundingRate", group="market", is_signed=False)
def funding_rates(call: Call) -> Body:
    each = call.instrument(Market.USDTM)
    count, start = call.limit("limit", 100, 1000), call.whole("startTime") or LAUNCHED_MS
    latest = min(call.now_ms, call.whole("endTime") or call.now_ms) // EIGHT_HOURS_MS
    moments = [index * EIGHT_HOURS_MS for index in range(latest, latest - count, -1) if index * EIGHT_HOURS_MS >= start]
    rows: list[Json] = [
        {"symbol": each.symbol, "fundingRate": "0.00010000", "fundingTime": moment} for moment in moments
    ]
    return answer(rows or None)


@endpoint("GET", "/swap/v2/quote/ticker", group="market", is_signed=False)
def ticker(call: Call) -> Body:
    return _one_or_all(call, lambda each: _ticker(call, each))


def _ticker(call: Call, each: Instrument) -> Json:
    first, high, low, last, volume = day_figures(call, each)
    price, places = last, each.price_precision
    return {
        "symbol": each.symbol,
        "priceChange": f"{last - first:.{places}f}",
        "priceChangePercent": f"{(last - first) / first * 100:.2f}",
        "lastPrice": f"{price:.{places}f}",
        "lastQty": plain(each.min_quantity * 10),
        "highPrice": f"{high:.{places}f}",
        "lowPrice": f"{low:.{places}f}",
        "volume": plain(volume),
        "quoteVolume": f"{volume * price:.2f}",
        "openPrice": f"{first:.{places}f}",
        "openTime": call.now_ms - 86_400_000,
        "closeTime": call.now_ms,
        "askPrice": f"{price + each.tick:.{places}f}",
        "askQty": "99",
        "bidPrice": f"{price:.{places}f}",
        "bidQty": "84",
    }


def day_figures(call: Call, instrument: Instrument) -> tuple[Decimal, Decimal, Decimal, Decimal, Decimal]:
    """Return open, high, low, last and volume of the last 24 hours."""
    path = call.venue.quotes.path_of(instrument.symbol)
    candle = path.running((call.now_ms // 60_000 - 1440) * 60, call.now_ms // 1000)
    last = call.venue.matcher.price_of(instrument)
    first, high, low = (Decimal(text_of(units, path.decimals, instrument.price_precision)) for units in candle[:3])
    volume = Decimal(candle.volume).scaleb(-VOLUME_DECIMALS)
    return first, max(high, last), min(low, last), last, volume


def bars(call: Call, instrument: Instrument, *, default_zone: int, most: int, oldest_ms: int = 0) -> list[Bar]:
    """Return the bars that a kline request asks for, newest first, spoilt as the faults want it."""
    interval = call.need("interval")
    if interval not in klines.GROUPS:
        raise refusals.bad_parameter("interval is invalid")
    begin, end = call.whole("startTime"), call.whole("endTime")
    zone = call.whole("timeZone")
    if zone not in (None, 0, 8):
        raise refusals.bad_parameter("timeZone must be 0 or 8")
    limit, zone = call.limit("limit", 500, most), default_zone if zone is None else zone
    begin = max(begin or 0, oldest_ms) or None
    quotes, symbol = call.venue.quotes, instrument.symbol
    found = klines.page(quotes.path_of(symbol), interval, begin, end, limit, call.now_ms, 3600 * zone)
    found = klines.close_at(found, quotes.pinned_units(symbol), call.now_ms)
    return spoil(found, call.venue.faults, symbol, call.now_ms)


@endpoint("GET", "/swap/v3/quote/klines", "/swap/v2/quote/klines", group="market", is_signed=False)
def swap_klines(call: Call) -> Body:
    instrument = call.instrument(Market.USDTM)
    return answer(kline_objects(call, instrument, bars(call, instrument, default_zone=0, most=1440)))


def kline_objects(call: Call, instrument: Instrument, found: list[Bar]) -> Raw:
    path = call.venue.quotes.path_of(instrument.symbol)
    return kline_rows.objects(found, path.decimals, instrument.price_precision)


@endpoint("GET", "/swap/v1/market/markPriceKlines", group="market", is_signed=False)
def mark_klines(call: Call) -> Body:
    """Two times instead of one, and both are the opening's."""
    instrument = call.instrument(Market.USDTM)
    rows = kline_objects(call, instrument, bars(call, instrument, default_zone=0, most=1440))
    return answer(Raw(TIME.sub(r'"openTime":\1,"closeTime":\1', rows)))
