"""USDT-M balances, positions, leverage and modes. https://bingx-api.github.io/docs-v3/#/en/Swap/Account%20Endpoints"""

from __future__ import annotations

from decimal import Decimal

from exchange.paper import refusals
from exchange.paper.admission import pending_closes
from exchange.paper.books import ZERO, Account, Income, Order, Position
from exchange.paper.calls import Body, Call, answer, endpoint
from exchange.paper.instruments import BY_MARKET, MAKER_FEE, TAKER_FEE, Instrument
from exchange.paper.ledger import made_since
from exchange.paper.shapes import padded, position_row, wallet_row
from exchange.paper.wire import Json
from exchange.types import Market

MARGIN_TYPES = ("CROSSED", "ISOLATED", "SEPARATE_ISOLATED")
WEEK_MS = 7 * 86_400_000
# Incomes are kept for three months.
QUARTER_MS = 90 * 86_400_000
INCOME_WORDS = {
    "TRADING_FEE": "Buy to Open",
    "REALIZED_PNL": "Realized PnL",
    "FUNDING_FEE": "Funding Fee",
    "TRANSFER": "Transfer",
}


@endpoint("GET", "/swap/v3/user/balance", group="account")
def balances(call: Call) -> Body:
    """One row an asset; an unused one has empty texts, as recorded."""
    rows: list[Json] = []
    for asset in ("USDT", "USDC"):
        wallet = call.venue.matcher.wallet(call.account, Market.USDTM, asset)
        row = wallet_row(call.account, wallet)
        is_used = asset == "USDT" or wallet.balance or wallet.used
        rows.append(row if is_used else dict.fromkeys(row, "") | {"asset": asset, "realisedProfit": "0"})
    return answer(rows)


@endpoint("GET", "/swap/v2/user/balance", group="account")
def balance(call: Call) -> Body:
    return answer({"balance": wallet_row(call.account, call.venue.matcher.wallet(call.account, Market.USDTM, "USDT"))})


@endpoint("GET", "/swap/v2/user/positions", group="account")
def positions(call: Call) -> Body:
    symbol = call.instrument(Market.USDTM).symbol if call.text("symbol") else None
    found = call.venue.ledger.live_positions(call.account.key, Market.USDTM, symbol)
    return answer([_position(call, each) for each in found])


def _position(call: Call, position: Position) -> Json:
    instrument = BY_MARKET[position.market][position.symbol]
    is_signed = call.venue.faults.signed_one_way and position.side == "BOTH"
    return position_row(
        position,
        instrument,
        call.venue.matcher.price_of(instrument),
        frozen_quantity(call, position),
        call.account.is_hedge,
        "BOTH" if is_signed else position.shown_side,
    )


def frozen_quantity(call: Call, position: Position) -> Decimal:
    """Return what resting closing orders hold of a position."""
    leave = "SELL" if position.quantity > 0 else "BUY"
    probe = Order(0, position.account, position.market, position.symbol, leave, position.side, "LIMIT", 0)
    return pending_closes(call.venue.ledger, probe)


@endpoint("GET", "/swap/v2/trade/leverage", group="account")
def leverage(call: Call) -> Body:
    return answer(leverage_row(call, call.instrument(Market.USDTM)))


def leverage_row(call: Call, instrument: Instrument) -> dict[str, Json]:
    account, matcher = call.account, call.venue.matcher
    longs, shorts = (leverage_of(account, instrument, side) for side in ("LONG", "SHORT"))
    price = matcher.price_of(instrument)
    money = matcher.wallet(account, instrument.market, instrument.margin_asset).available
    volume = {name: money * factor / price for name, factor in (("Long", longs), ("Short", shorts))}
    row: dict[str, Json] = {
        "longLeverage": longs,
        "shortLeverage": shorts,
        "maxLongLeverage": instrument.max_leverage,
        "maxShortLeverage": instrument.max_leverage,
    }
    for name, coins in volume.items():
        row[f"available{name}Vol"] = padded(instrument.cut_quantity(coins), instrument.quantity_precision)
        row[f"available{name}Val"] = padded(coins * price, 4)
        row[f"maxPosition{name}Val"] = "5000000"
    return row


def leverage_of(account: Account, instrument: Instrument, side: str) -> int:
    """In one-way mode one leverage serves both directions."""
    return account.leverage(instrument.market, instrument.symbol, side if account.is_hedge else "BOTH")


@endpoint("POST", "/swap/v2/trade/leverage", group="account")
def set_leverage(call: Call) -> Body:
    instrument = call.instrument(Market.USDTM)
    wanted = change_leverage(call, instrument)
    echo: dict[str, Json] = {"leverage": wanted, "symbol": instrument.symbol}
    return answer(echo | leverage_row(call, instrument))


def change_leverage(call: Call, instrument: Instrument) -> int:
    """Set a side's leverage; an open position takes it over at once."""
    call.need("side")
    sides = ("LONG", "SHORT") if call.account.is_hedge else ("BOTH",)
    side, wanted = call.one_of("side", sides), call.need_whole("leverage")
    if wanted < 1:
        raise refusals.missing("leverage")
    if wanted > instrument.max_leverage:
        raise refusals.leverage_too_high(instrument.max_leverage)
    call.account.leverages[f"{instrument.market}:{instrument.symbol}:{side}"] = wanted
    position = call.venue.ledger.live_position(call.account.key, instrument.market, instrument.symbol, side)
    if position:
        position.leverage = wanted
        call.venue.ledger.touch(position)
    call.venue.ledger.touch(call.account)
    return wanted


@endpoint("GET", "/swap/v2/trade/marginType", group="account")
def margin_type(call: Call) -> Body:
    symbol = call.instrument(Market.USDTM).symbol
    return answer({"marginType": call.account.margin_type(Market.USDTM, symbol), "symbol": symbol})


@endpoint("POST", "/swap/v2/trade/marginType", group="account")
def set_margin_type(call: Call) -> Body:
    change_margin_type(call, call.instrument(Market.USDTM))
    return {"code": 0, "msg": ""}


def change_margin_type(call: Call, instrument: Instrument) -> None:
    call.need("marginType")
    wanted, ledger = call.one_of("marginType", MARGIN_TYPES), call.venue.ledger
    key, market, symbol = call.account.key, instrument.market, instrument.symbol
    is_same = wanted == call.account.margin_type(market, symbol)
    if not is_same and (ledger.live_positions(key, market, symbol) or ledger.open_orders_of(key, market, symbol)):
        raise refusals.margin_type_is_busy()
    call.account.margin_types[f"{market}:{symbol}"] = wanted
    ledger.touch(call.account)


@endpoint("GET", "/swap/v1/positionSide/dual", group="account")
def position_mode(call: Call) -> Body:
    return answer({"dualSidePosition": "true" if call.account.is_hedge else "false"})


@endpoint("POST", "/swap/v1/positionSide/dual", group="account")
def set_position_mode(call: Call) -> Body:
    call.need("dualSidePosition")
    wanted, ledger, key = call.one_of("dualSidePosition", ("true", "false")), call.venue.ledger, call.account.key
    is_hedge = wanted == "true"
    if is_hedge != call.account.is_hedge and (
        ledger.live_positions(key, Market.USDTM) or ledger.open_orders_of(key, Market.USDTM)
    ):
        raise refusals.position_mode_is_busy()
    call.account.is_hedge = is_hedge
    ledger.touch(call.account)
    return answer({"dualSidePosition": wanted})


@endpoint("GET", "/swap/v2/user/commissionRate", group="account")
def commission_rate(call: Call) -> Body:
    return answer({"commission": {"takerCommissionRate": TAKER_FEE, "makerCommissionRate": MAKER_FEE}})


@endpoint("GET", "/swap/v2/user/income", group="account")
def incomes(call: Call) -> Body:
    symbol, kind, count = call.text("symbol"), call.text("incomeType"), call.limit("limit", 100, 1000)
    begin, end = call.whole("startTime") or call.now_ms - WEEK_MS, call.whole("endTime") or call.now_ms
    begin = max(begin, call.now_ms - QUARTER_MS)
    found = [
        each
        for each in made_since(call.venue.ledger.incomes_of[call.account.key], begin)
        if each.market == Market.USDTM
        and symbol in ("", each.symbol)
        and kind in ("", each.kind)
        and begin <= each.time_ms <= end
    ]
    return answer([_income(each) for each in sorted(found, key=_when, reverse=True)[:count]])


def _when(income: Income) -> tuple[int, int]:
    return income.time_ms, income.income_id


def _income(each: Income) -> Json:
    return {
        "symbol": each.symbol,
        "incomeType": each.kind,
        "income": padded(each.amount, 4),
        "asset": each.asset,
        "info": INCOME_WORDS.get(each.kind, each.kind),
        "time": each.time_ms,
        "tranId": str(each.income_id),
        "tradeId": str(each.trade_id) if each.trade_id else "",
    }


@endpoint("POST", "/swap/v2/trade/positionMargin", group="account")
def position_margin(call: Call) -> Body:
    change_position_margin(call, call.instrument(Market.USDTM))
    return {"code": 0, "msg": "", "amount": call.amount("amount"), "type": call.whole("type")}


def change_position_margin(call: Call, instrument: Instrument) -> None:
    """Add (type 1) or take (type 2) margin of an isolated position; never more than is free."""
    side = call.text("positionSide", "LONG") if call.account.is_hedge else "BOTH"
    position = call.venue.ledger.live_position(call.account.key, instrument.market, instrument.symbol, side)
    if position is None:
        raise refusals.no_position()
    amount = call.amount("amount") if call.need("type") == "1" else -call.amount("amount")
    free = call.venue.matcher.wallet(call.account, instrument.market, instrument.margin_asset).available
    if not position.isolated or amount > free or position.added_margin + amount < ZERO:
        raise refusals.insufficient_margin()
    position.added_margin += amount
    call.venue.ledger.touch(position)


@endpoint("GET", "/swap/v1/trade/assetMode", "/swap/v1/user/assetMode", group="account")
def asset_mode(call: Call) -> Body:
    return answer({"assetMode": "singleAssetMode"})


@endpoint("GET", "/swap/v1/maintMarginRatio", group="account")
def maintenance_tiers(call: Call) -> Body:
    symbol = call.instrument(Market.USDTM).symbol
    bounds = (("0", "150000", "0.003800", "0.000000"), ("150000", "900000", "0.004000", "30.000000"))
    rows: list[Json] = [
        {
            "tier": f"Tier {place}",
            "symbol": symbol,
            "minPositionVal": low,
            "maxPositionVal": high,
            "maintMarginRatio": ratio,
            "maintAmount": amount,
        }
        for place, (low, high, ratio, amount) in enumerate(bounds, 1)
    ]
    return answer(rows) | {"timestamp": call.now_ms}


@endpoint("POST", "/swap/v1/trade/getVst", "/swap/v2/trade/getVst", group="account")
def refill(call: Call) -> Body:
    call.account.credit(Market.USDTM, "USDT", Decimal(20_000))
    call.venue.ledger.touch(call.account)
    return answer({"amount": 20_000}) | {"timestamp": call.now_ms}


@endpoint("GET", "/swap/v1/trade/positionHistory", "/swap/v2/trade/positionHistory", group="account")
def position_history(call: Call) -> Body:
    symbol, count = call.instrument(Market.USDTM).symbol, call.limit("pageSize", 100, 100)
    page = call.whole("pageIndex") or 1
    flat = [
        each
        for each in call.venue.ledger.flat[call.account.key].values()
        if (each.market, each.symbol) == (Market.USDTM, symbol)
    ]
    flat.sort(key=lambda each: each.updated_ms, reverse=True)
    rows: list[Json] = [_closed_position(each) for each in flat[(page - 1) * count : page * count]]
    return answer({"positionHistory": rows})


def _closed_position(each: Position) -> Json:
    instrument = BY_MARKET[each.market][each.symbol]
    leave = each.closed_value / each.closed_quantity if each.closed_quantity else ZERO
    return {
        "positionId": str(each.position_id),
        "symbol": each.symbol,
        "isolated": each.isolated,
        "positionSide": each.side,
        "openTime": each.opened_ms,
        "updateTime": each.updated_ms,
        "avgPrice": padded(each.avg_price, instrument.price_precision),
        "avgClosePrice": padded(leave, instrument.price_precision),
        "realisedProfit": padded(each.realised - each.commission, 4),
        "netProfit": padded(each.realised, 4),
        "positionAmt": padded(each.peak_quantity, instrument.quantity_precision),
        "closePositionAmt": padded(each.closed_quantity, instrument.quantity_precision),
        "leverage": each.leverage,
        "closeAllPositions": True,
        "positionCommission": padded(each.commission, 4),
        "totalFunding": "0",
    }
