"""Read BingX's answers: the only place that knows its spelling.

Numbers come as JSON strings or numbers, times as milliseconds (rarely seconds), words in any case and with two
spellings, orders wrapped in `order` or bare. Unknown words raise `Unreadable`, but for the status of an order: a word
that we do not know means that the order is still open and must be asked for again.
Source: https://bingx-api.github.io/docs-v3/ and the project's BingX fact page, sections 2 to 5.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from operator import itemgetter
from typing import Any

from loguru import logger

from exchange.decoding import (
    FIRST_MILLISECONDS,
    Row,
    Unreadable,
    flag,
    moment,
    number,
    number_above_zero,
    one,
    paid,
    pick,
    plain_numbers,
    required_moment,
    rows,
    side,
    text,
    whole,
    whole_or_none,
    word,
)
from exchange.phrasing import to_ms
from exchange.rounding import plain
from exchange.types import (
    BalanceReport,
    FillReport,
    InstrumentReport,
    KeyReport,
    KlineReport,
    KlineText,
    LeverageReport,
    MarginMode,
    Market,
    OrderReport,
    OrderRequest,
    PositionMode,
    PositionReport,
    PositionSide,
    ReportStatus,
    Side,
)

_STATUS = {
    "NEW": ReportStatus.ACCEPTED,
    "PENDING": ReportStatus.ACCEPTED,
    "WORKING": ReportStatus.ACCEPTED,
    "PARTIALLY_FILLED": ReportStatus.PARTIALLY_FILLED,
    "FILLED": ReportStatus.FILLED,
    "CANCELED": ReportStatus.CANCELED,
    "CANCELLED": ReportStatus.CANCELED,
    "EXPIRED": ReportStatus.EXPIRED,
    "FAILED": ReportStatus.REJECTED,
    "REJECTED": ReportStatus.REJECTED,
}
_SIDE_OF_LEG = {PositionSide.LONG: Side.BUY, PositionSide.SHORT: Side.SELL}
_ONLINE, _CLOSE_ONLY = 1, 25
_KLINE_NUMBERS = ("open", "high", "low", "close", "volume")
_KLINE_MEMBERS = itemgetter("time", *_KLINE_NUMBERS)


def parse_status(row: Row) -> ReportStatus:
    """Return an order's status; an unknown word, or none (the echo of 2023), is an open order."""
    said = text(row, "status", default="NEW").upper()
    if said not in _STATUS:
        logger.bind(word=said[:40]).warning("BingX uses a status that Pelusa does not know; the order counts as open")
    status = _STATUS.get(said, ReportStatus.ACCEPTED)
    has_filled = number(row, "executedQty", default=Decimal(0)) > 0
    return ReportStatus.PARTIALLY_FILLED if status is ReportStatus.ACCEPTED and has_filled else status


def parse_order(market: Market, row: Row, asked: OrderRequest | None = None) -> OrderReport:
    """Read one order; what its echo leaves out is taken from the request that it answers."""
    filled = number(row, "executedQty", default=Decimal(0))
    quantity = number_above_zero(row, "origQty", "quantity") or (asked.quantity if asked else filled)
    return OrderReport(
        market=market,
        symbol=text(row, "symbol", default=asked.symbol if asked else None),
        exchange_order_id=text(row, "orderId", "orderID"),
        client_order_id=_client_order_id(row, asked),
        status=_status_that_fits(row, filled),
        side=side(row, "side", default=asked.side if asked else None),
        position_side=word(row, PositionSide, "positionSide", default=_default_leg(market, asked)),
        order_type=text(row, "type", default=asked.order_type if asked else None).upper(),
        quantity=quantity,
        filled_quantity=filled,
        avg_price=_average_price(row, filled),
        trigger_price=number_above_zero(row, "stopPrice", "StopPrice"),
        fee=None if pick(row, "commission", "fee") is None else paid(row, "commission", "fee"),
        updated_at=moment(row, "updateTime", "transactTime", "time"),
    )


def _status_that_fits(row: Row, filled: Decimal) -> ReportStatus:
    """Return the status; one that calls an order filled and names no quantity is not believed: it is asked again."""
    status = parse_status(row)
    return ReportStatus.ACCEPTED if status is ReportStatus.FILLED and not filled else status


def _client_order_id(row: Row, asked: OrderRequest | None) -> str:
    """Return our id as echoed; another order's id in the answer to ours proves nothing of ours."""
    said = text(row, "clientOrderId", "clientOrderID", default="")
    if asked and said and said.lower() != asked.client_order_id.lower():
        raise Unreadable("the answer speaks of another client order id")
    return said or (asked.client_order_id if asked else "")


def _default_leg(market: Market, asked: OrderRequest | None) -> PositionSide | None:
    if asked:
        return asked.position_side
    return PositionSide.BOTH if market is Market.SPOT else None


def _average_price(row: Row, filled: Decimal) -> Decimal | None:
    """Return the achieved price; spot names the money instead, the perpetual's `cumQuote` is rounded and useless."""
    named = number_above_zero(row, "avgPrice")
    money = number_above_zero(row, "cummulativeQuoteQty")
    if named or not money or not filled:
        return named
    return money / filled


def parse_usdtm_fill(row: Row) -> FillReport:
    """Read a row of `fillHistory`, the list that has trade ids."""
    return FillReport(
        market=Market.USDTM,
        symbol=text(row, "symbol"),
        exchange_trade_id=text(row, "tradeId"),
        exchange_order_id=text(row, "orderId"),
        client_order_id=text(row, "clientOrderId", "clientOrderID", default=""),
        side=side(row, "side"),
        price=number(row, "price"),
        quantity=number(row, "qty", "volume"),
        fee=paid(row, "commission"),
        fee_asset=text(row, "commissionAsset", "currency"),
        filled_at=parse_fill_time(row),
    )


def parse_fill_time(row: Row) -> datetime:
    """Read when a fill happened: `filledTime` with its offset, or `filledTm` minus the eight hours that its Z hides.

    Two recorded order ids prove the trap: `filledTm` is wall time of UTC+8 although it ends in Z.
    """
    said = text(row, "filledTime", "filledTm")
    try:
        filled_at = datetime.fromisoformat(said)
    except ValueError:
        raise Unreadable("filledTime is no time") from None
    if filled_at.tzinfo is None:
        raise Unreadable("filledTime has no offset")
    is_mislabelled = pick(row, "filledTime") is None
    return filled_at.astimezone(UTC) - timedelta(hours=8 if is_mislabelled else 0)


def parse_coinm_fill(row: Row) -> FillReport:
    """Read a row of the COIN-M `allFillOrders`: quantities are contracts, the fee is paid in the coin."""
    return FillReport(
        market=Market.COINM,
        symbol=text(row, "symbol"),
        exchange_trade_id=text(row, "tradeId"),
        exchange_order_id=text(row, "orderId"),
        client_order_id=text(row, "clientOrderId", "clientOrderID", default=""),
        side=side(row, "side"),
        price=number(row, "tradePrice"),
        quantity=number(row, "volume"),
        fee=paid(row, "commission"),
        fee_asset=text(row, "currency"),
        filled_at=required_moment(row, "tradeTime"),
    )


def parse_spot_fill(row: Row) -> FillReport:
    """Read a row of spot `myTrades`: the fee is taken from the asset received."""
    is_buyer = flag(row, "isBuyer")
    if is_buyer is None:
        raise Unreadable("isBuyer is missing")
    return FillReport(
        market=Market.SPOT,
        symbol=text(row, "symbol"),
        exchange_trade_id=text(row, "id"),
        exchange_order_id=text(row, "orderId"),
        client_order_id=text(row, "clientOrderID", "clientOrderId", default=""),
        side=Side.BUY if is_buyer else Side.SELL,
        price=number(row, "price"),
        quantity=number(row, "qty"),
        fee=paid(row, "commission"),
        fee_asset=text(row, "commissionAsset"),
        filled_at=required_moment(row, "time"),
    )


def parse_positions(market: Market, data: Any) -> list[PositionReport]:
    """Read the positions that hold something."""
    found = [parse_position(market, row) for row in rows(data)]
    return [position for position in found if position.quantity]


def parse_position(market: Market, row: Row) -> PositionReport:
    """Read one position; in one-way mode its leg is BOTH and the sign, or the side that BingX names, gives `side`."""
    amount = number(row, "positionAmt")
    leg = word(row, PositionSide, "positionSide")
    return PositionReport(
        market=market,
        symbol=text(row, "symbol"),
        position_side=PositionSide.BOTH if flag(row, "onlyOnePosition") else leg,
        side=side_of_position(leg, amount),
        quantity=abs(amount),
        avg_entry_price=number(row, "avgPrice"),
        mark_price=number_above_zero(row, "markPrice"),
        unrealised_pnl=number(row, "unrealizedProfit", "unrealisedProfit", default=Decimal(0)),
        leverage=whole_or_none(row, "leverage"),
        margin_mode=margin_mode_of(row),
        liquidation_price=number_above_zero(row, "liquidationPrice"),
        margin=number_above_zero(row, "initialMargin", "margin"),
    )


def margin_mode_of(row: Row) -> MarginMode | None:
    """Return a position's or trade's margin mode; `None` when the row does not tell it."""
    is_isolated = flag(row, "isolated")
    return None if is_isolated is None else MarginMode.ISOLATED if is_isolated else MarginMode.CROSSED


def side_of_position(leg: PositionSide, amount: Decimal) -> Side:
    """Return which way a position stands: by its leg, in one-way mode by the sign of its amount."""
    if leg is PositionSide.LONG and amount < 0:
        raise Unreadable("a long position with a negative amount")
    return _SIDE_OF_LEG.get(leg) or (Side.SELL if amount < 0 else Side.BUY)


def parse_balances(market: Market, data: Any) -> list[BalanceReport]:
    """Read a wallet, one report an asset; an asset never used has empty fields, which are zeros."""
    if market is Market.SPOT:
        return [_parse_spot_balance(row) for row in rows(data, "balances")]
    if isinstance(data, dict) and isinstance(data.get("balance"), dict):
        data = [data["balance"]]
    return [_parse_margin_balance(market, row) for row in rows(data, "balance")]


def _parse_margin_balance(market: Market, row: Row) -> BalanceReport:
    """Read a margin wallet's row; BingX spells half of its words in two ways."""
    nothing = Decimal(0)
    return BalanceReport(
        market=market,
        asset=text(row, "asset"),
        balance=zero_if_empty(row, "balance"),
        equity=zero_if_empty(row, "equity"),
        available=zero_if_empty(row, "availableMargin"),
        unrealised_pnl=number(row, "unrealizedProfit", "unrealisedProfit", default=nothing),
        used_margin=number(row, "usedMargin", default=nothing),
        frozen=number(row, "freezedMargin", "frozenMargin", default=nothing),
        realised_pnl=_number_or_none(row, "realisedProfit", "realizedProfit"),
    )


def zero_if_empty(row: Row, name: str) -> Decimal:
    """Return an amount; an asset never used has an empty text, and an answer without the word tells nothing."""
    if name not in row:
        raise Unreadable(f"{name} is missing")
    return number(row, name, default=Decimal(0))


def _number_or_none(row: Row, *names: str) -> Decimal | None:
    return None if pick(row, *names) is None else number(row, *names)


def _parse_spot_balance(row: Row) -> BalanceReport:
    free, locked = zero_if_empty(row, "free"), zero_if_empty(row, "locked")
    total = free + locked
    return BalanceReport(Market.SPOT, text(row, "asset"), balance=total, equity=total, available=free, frozen=locked)


def parse_leverage(data: Any) -> LeverageReport:
    """Read the leverage of both legs and their ceilings, which older answers leave out."""
    row = one(data)
    return LeverageReport(
        long_leverage=whole(row, "longLeverage"),
        short_leverage=whole(row, "shortLeverage"),
        max_long_leverage=whole_or_none(row, "maxLongLeverage"),
        max_short_leverage=whole_or_none(row, "maxShortLeverage"),
    )


def parse_margin_mode(data: Any) -> MarginMode:
    """Read CROSSED or ISOLATED; SEPARATE_ISOLATED, which closes by position id, is not served and raises."""
    return word(one(data), MarginMode, "marginType")


def parse_position_mode(data: Any) -> PositionMode:
    """Read hedge ("true") or one-way ("false")."""
    is_hedge = flag(one(data), "dualSidePosition")
    if is_hedge is None:
        raise Unreadable("dualSidePosition is missing")
    return PositionMode.HEDGE if is_hedge else PositionMode.ONE_WAY


def parse_permissions(body: Row) -> frozenset[int]:
    """Read the ids of what a key may do, from the bare answer or an enveloped one."""
    found = one(body.get("data") or body, "apiInfos")
    ids = found.get("permissions")
    if not isinstance(ids, list):
        raise Unreadable("permissions is missing")
    return frozenset(whole({"permission": value}, "permission") for value in ids)


def parse_key(body: Row) -> KeyReport:
    """Read what a key may do and from where, from the bare answer or an enveloped one."""
    found = one(body.get("data") or body, "apiInfos")
    addresses = found.get("ipAddresses") or []
    if not isinstance(addresses, list):
        raise Unreadable("ipAddresses is no list")
    return KeyReport(parse_permissions(body), tuple(str(each) for each in addresses if each))


def parse_instruments(market: Market, data: Any) -> list[InstrumentReport]:
    """Read the exchange's list; one row that cannot be read is named in the log and left out, the others stand."""
    reports = []
    for row in rows(data, "symbols"):
        try:
            reports.append(_PARSE_INSTRUMENT[market](row))
        except Unreadable as error:
            logger.bind(market=market.value, symbol=str(row.get("symbol"))[:40]).warning(
                "instrument left out: {}", error.message
            )
    return reports


def _legs_of_symbol(symbol: str) -> tuple[str, str]:
    base, hyphen, quote = symbol.rpartition("-")
    if not (base and hyphen and quote):
        raise Unreadable("symbol has no two legs")
    return base, quote


def _grid(row: Row, name: str) -> Decimal:
    """Return a grid or size that is written as it is; one of zero would swallow every quantity."""
    size = number_above_zero(row, name)
    if size is None:
        raise Unreadable(f"{name} is missing or zero")
    return size


def _power_of_ten(row: Row, name: str) -> Decimal:
    """Return the grid of a number of decimals: 3 is 0.001."""
    decimals = whole(row, name)
    if not 0 <= decimals <= 20:
        raise Unreadable(f"{name} is out of range")
    return Decimal(1).scaleb(-decimals)


def _parse_usdtm_instrument(row: Row) -> InstrumentReport:
    status = whole(row, "status")
    symbol = text(row, "symbol")
    base, quote = _legs_of_symbol(symbol)
    return InstrumentReport(
        market=Market.USDTM,
        symbol=symbol,
        base_asset=text(row, "asset", default=base),
        quote_asset=text(row, "currency", default=quote),
        tick_size=_power_of_ten(row, "pricePrecision"),
        step_size=_power_of_ten(row, "quantityPrecision"),
        min_quantity=number(row, "tradeMinQuantity"),
        min_notional=number(row, "tradeMinUSDT"),
        contract_size=Decimal(1),
        max_long_leverage=whole_or_none(row, "maxLongLeverage"),
        max_short_leverage=whole_or_none(row, "maxShortLeverage"),
        is_open_allowed=status == _ONLINE and flag(row, "apiStateOpen") is not False,
        is_close_allowed=status in (_ONLINE, _CLOSE_ONLY) and flag(row, "apiStateClose") is not False,
        raw=dict(row),
    )


def _parse_coinm_instrument(row: Row) -> InstrumentReport:
    """Read a COIN-M contract: `minTickSize` is its value in USD, no tick, and orders are in whole contracts."""
    symbol = text(row, "symbol")
    base, quote = _legs_of_symbol(symbol)
    is_online = whole(row, "status") == _ONLINE
    return InstrumentReport(
        market=Market.COINM,
        symbol=symbol,
        base_asset=base,
        quote_asset=quote,
        tick_size=_power_of_ten(row, "pricePrecision"),
        step_size=Decimal(1),
        min_quantity=number(row, "minQty"),
        min_notional=number(row, "minTradeValue"),
        contract_size=_grid(row, "minTickSize"),
        max_long_leverage=None,
        max_short_leverage=None,
        is_open_allowed=is_online,
        is_close_allowed=is_online,
        raw=dict(row),
    )


def _parse_spot_instrument(row: Row) -> InstrumentReport:
    """Read a spot pair: `minQty` is deprecated by BingX, the step and `minNotional` rule."""
    symbol = text(row, "symbol")
    base, quote = _legs_of_symbol(symbol)
    is_online = whole(row, "status") == _ONLINE
    step = _grid(row, "stepSize")
    return InstrumentReport(
        market=Market.SPOT,
        symbol=symbol,
        base_asset=base,
        quote_asset=quote,
        tick_size=_grid(row, "tickSize"),
        step_size=step,
        min_quantity=step,
        min_notional=number(row, "minNotional"),
        contract_size=Decimal(1),
        max_long_leverage=None,
        max_short_leverage=None,
        is_open_allowed=is_online and flag(row, "apiStateBuy") is not False,
        is_close_allowed=is_online and flag(row, "apiStateSell") is not False,
        raw=dict(row),
    )


_PARSE_INSTRUMENT = {
    Market.USDTM: _parse_usdtm_instrument,
    Market.COINM: _parse_coinm_instrument,
    Market.SPOT: _parse_spot_instrument,
}


def parse_price(symbol: str, data: Any) -> Decimal:
    """Read the last price of one symbol, from an object or from a list with one row a symbol."""
    candidates = data if isinstance(data, list) else [data]
    row = next((row for row in candidates if isinstance(row, dict) and row.get("symbol") == symbol), None)
    price = number_above_zero(row, "price", "lastPrice") if row else None
    if price is None:
        raise Unreadable("the answer holds no price of that symbol")
    return price


def parse_prices(data: Any) -> dict[str, Decimal]:
    """Read the last prices of a product by symbol; a row without a price that can be read is left out."""
    prices = {}
    for row in rows(data):
        try:
            price = number_above_zero(row, "price", "lastPrice")
            if price is not None:
                prices[text(row, "symbol")] = price
        except Unreadable as error:
            logger.bind(symbol=str(row.get("symbol"))[:40]).warning("price left out: {}", error.message)
    return prices


def parse_klines(data: Any) -> list[KlineReport]:
    """Read candles, oldest first and each time once; BingX sends objects, arrays (spot), or one bare object."""
    found = [data] if isinstance(data, dict) else data or []
    if not isinstance(found, list):
        raise Unreadable("the answer holds no list of klines")
    klines = {kline.open_time: kline for kline in map(_parse_kline, found)}
    return [klines[open_time] for open_time in sorted(klines)]


def parse_kline_texts(data: Any) -> list[KlineText]:
    """Read candles as `parse_klines` does, in a tenth of its time: numbers stay texts as they came, unchecked."""
    found = _usual_kline_texts(data) if isinstance(data, list) and data else None
    if found is None:
        return [_texts_of(kline) for kline in parse_klines(data)]
    unique = {kline[0]: kline for kline in found}
    return [unique[open_time] for open_time in sorted(unique)]


def _usual_kline_texts(rows: list[Any]) -> list[KlineText] | None:
    """Return the rows when all have BingX's usual form (texts, and milliseconds as a number), `None` otherwise."""
    try:
        found = list(map(_KLINE_MEMBERS, rows))
    except (KeyError, TypeError):
        return None
    times, *columns = zip(*found, strict=True)
    is_usual = set(map(type, times)) == {int} and all(set(map(type, column)) == {str} for column in columns)
    return found if is_usual and min(times) >= FIRST_MILLISECONDS else None


def _texts_of(kline: KlineReport) -> KlineText:
    values = (kline.open, kline.high, kline.low, kline.close, kline.volume)
    written = [plain(value) for value in values]
    return to_ms(kline.open_time), written[0], written[1], written[2], written[3], written[4]


def _parse_kline(row: Any) -> KlineReport:
    if isinstance(row, list) and len(row) >= 6:
        row = dict(zip(("time", *_KLINE_NUMBERS), row, strict=False))
    if not isinstance(row, dict):
        raise Unreadable("a kline is neither an object nor an array")
    values = plain_numbers([row.get(name) for name in _KLINE_NUMBERS])
    values = values or [number(row, name) for name in _KLINE_NUMBERS]
    return KlineReport(required_moment(row, "time", "openTime"), *values)
