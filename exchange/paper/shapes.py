"""Records as BingX's perpetual endpoints show them: which field is text, which a number, and the odd spellings.

https://bingx-api.github.io/docs-v3/#/en/Swap/Trades%20Endpoints and the recorded answers.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

from exchange.paper.attached import read_attached
from exchange.paper.books import ZERO, Account, Fill, Order, Position
from exchange.paper.instruments import BY_MARKET, Instrument
from exchange.paper.margins import Wallet, liquidation_price, margin_of, money, profit_of, value_of
from exchange.paper.wire import Json, plain

EIGHT_HOURS = timedelta(hours=8)
NO_ATTACHED: Json = {"type": "", "quantity": 0, "stopPrice": 0, "price": 0, "workingType": "", "stopGuaranteed": ""}


def padded(number: Decimal, places: int) -> str:
    """Write a decimal with at least `places` decimals, more when it has them (at most 12)."""
    text = plain(number.quantize(Decimal("1e-12"), rounding=ROUND_HALF_UP))
    decimals = len(text.partition(".")[2])
    return text if decimals >= places else f"{number:.{places}f}"


def order_echo(order: Order, sent_client_id: str) -> Json:
    """The answer to POST order: numbers are numbers here, ids in both spellings, the client id as sent."""
    instrument = BY_MARKET[order.market][order.symbol]
    return {
        "orderId": order.order_id,
        "orderID": str(order.order_id),
        "symbol": order.symbol,
        "positionSide": order.position_side,
        "side": order.side,
        "type": order.type,
        "price": order.price,
        "quantity": order.quantity,
        "quoteOrderQty": order.quote_quantity,
        "stopPrice": order.stop_price,
        "workingType": order.working_type,
        "clientOrderID": sent_client_id,
        "clientOrderId": "",
        "timeInForce": order.time_in_force,
        "priceRate": order.price_rate,
        "stopLoss": order.stop_loss,
        "takeProfit": order.take_profit,
        "reduceOnly": order.reduce_only,
        "activationPrice": order.activation_price,
        "closePosition": "true" if order.close_position else "",
        "stopGuaranteed": order.stop_guaranteed,
        "status": order.status,
        "avgPrice": padded(order.avg_price, instrument.price_precision),
        "executedQty": padded(order.executed, instrument.quantity_precision),
    }


def _moment(order: Order, milliseconds: int) -> int:
    """Finished and untriggered orders show whole seconds."""
    return milliseconds if order.status in ("PENDING", "PARTIALLY_FILLED") else milliseconds // 1000 * 1000


def order_row(order: Order, is_hedge: bool) -> dict[str, Json]:
    """An order as the queries show it; `cumQuote` is rounded to an integer as BingX does."""
    instrument = BY_MARKET[order.market][order.symbol]
    is_waiting = order.status == "NEW"
    return {
        "symbol": order.symbol,
        "orderId": order.order_id,
        "side": order.side,
        "positionSide": order.position_side,
        "type": order.type,
        "origQty": padded(order.quantity, instrument.quantity_precision),
        "price": _shown_price(order, instrument),
        "executedQty": padded(order.executed, instrument.quantity_precision),
        "avgPrice": padded(order.avg_price, instrument.price_precision),
        "cumQuote": "" if is_waiting else str(order.executed_value.quantize(Decimal(1), rounding=ROUND_HALF_UP)),
        "stopPrice": padded(order.stop_price, instrument.price_precision) if order.stop_price else "",
        "profit": "" if is_waiting else padded(order.profit, 4),
        "commission": "" if is_waiting else padded(order.commission, 6),
        "status": order.status,
        "time": _moment(order, order.time_ms),
        "updateTime": _moment(order, order.updated_ms),
        "clientOrderId": order.client_order_id,
        "leverage": f"{order.leverage}X" if order.leverage else "",
        "takeProfit": _attached(order.take_profit),
        "stopLoss": _attached(order.stop_loss),
        "advanceAttr": 0,
        "positionID": 0,
        "takeProfitEntrustPrice": 0,
        "stopLossEntrustPrice": 0,
        "orderType": "",
        "workingType": order.working_type,
        "onlyOnePosition": not is_hedge,
        "reduceOnly": order.is_closing or order.is_stop,
        "postOnly": order.time_in_force == "PostOnly",
        "stopGuaranteed": order.stop_guaranteed or False,
        "triggerOrderId": 0,
        "trailingStopRate": order.price_rate,
        "trailingStopDistance": order.price if order.type.startswith("TRAILING") else 0,
        "closePosition": "true" if order.close_position else "",
    }


def _shown_price(order: Order, instrument: Instrument) -> str:
    """A filled market order shows its price too; an untriggered conditional one shows 0."""
    price = order.price or (order.avg_price if order.type == "MARKET" else ZERO)
    return padded(price, instrument.price_precision) if price else "0"


def _attached(text: str) -> Json:
    """Objects here, strings in the POST echo."""
    if not text:
        return NO_ATTACHED
    kind = "take_profit" if "TAKE_PROFIT" in text else "stop_loss"
    values = read_attached(text, kind)
    return {
        "type": values.get("type", ""),
        "quantity": Decimal(values.get("quantity") or 0),
        "stopPrice": Decimal(values["stopPrice"]),
        "price": Decimal(values.get("price") or 0),
        "workingType": values.get("workingType", ""),
        "stopGuaranteed": "",
    }


def fill_times(milliseconds: int) -> tuple[str, str]:
    """Return `filledTm` and `filledTime`: the first is UTC+8 wall time wrongly marked Z, the second is right."""
    local = datetime.fromtimestamp(milliseconds // 1000, UTC) + EIGHT_HOURS
    text = local.strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}Z", f"{text}.{milliseconds % 1000:03d}+0800"


def fill_row(fill: Fill, order: Order, in_contracts: bool, is_hedge: bool) -> Json:
    """An execution as `allFillOrders` shows it: no trade id, order id as text."""
    instrument = BY_MARKET[fill.market][fill.symbol]
    filled_tm, filled_time = fill_times(fill.time_ms)
    volume = fill.quantity / instrument.min_quantity if in_contracts else fill.quantity
    return {
        "filledTm": filled_tm,
        "volume": plain(volume),
        "price": padded(fill.price, instrument.price_precision),
        "amount": padded(fill.quantity * fill.price, 4),
        "commission": padded(fill.commission, 4),
        "currency": fill.commission_asset,
        "orderId": str(fill.order_id),
        "liquidatedPrice": "",
        "liquidatedMarginRatio": "",
        "filledTime": filled_time,
        "clientOrderID": order.client_order_id,
        "symbol": fill.symbol,
        "onlyOnePosition": not is_hedge,
        "side": fill.side,
        "type": order.type,
        "positionSide": fill.position_side,
        "workingType": order.working_type,
    }


def fill_history_row(fill: Fill) -> Json:
    """An execution as `fillHistory` shows it: with its trade id."""
    instrument = BY_MARKET[fill.market][fill.symbol]
    filled_tm, filled_time = fill_times(fill.time_ms)
    return {
        "filledTm": filled_tm,
        "filledTime": filled_time,
        "qty": plain(fill.quantity),
        "quoteQty": padded(fill.quantity * fill.price, 4),
        "price": padded(fill.price, instrument.price_precision),
        "commission": padded(fill.commission, 4),
        "commissionAsset": fill.commission_asset,
        "orderId": str(fill.order_id),
        "tradeId": str(fill.trade_id),
        "symbol": fill.symbol,
        "role": "maker" if fill.is_maker else "taker",
        "side": fill.side.lower(),
        "positionSide": fill.position_side.lower(),
        "realisedPNL": padded(fill.profit, 4),
    }


def position_row(
    position: Position, instrument: Instrument, price: Decimal, frozen: Decimal, is_hedge: bool, side: str
) -> Json:
    """A position as USDT-M shows it: positive amount with its side, unless the caller asks for BOTH with a sign."""
    unrealised = profit_of(instrument, position.quantity, position.avg_price, price)
    margin = margin_of(instrument, position)
    amount = position.quantity if side == "BOTH" else position.size
    return {
        "positionId": str(position.position_id),
        "symbol": position.symbol,
        "currency": instrument.margin_asset,
        "positionAmt": padded(amount, instrument.quantity_precision),
        "availableAmt": padded(position.size - frozen, instrument.quantity_precision),
        "positionSide": side,
        "isolated": position.isolated,
        "avgPrice": padded(position.avg_price, instrument.price_precision),
        "initialMargin": padded(margin, 4),
        "margin": padded(margin + unrealised, 4),
        "leverage": position.leverage,
        "unrealizedProfit": padded(unrealised, 4),
        "realisedProfit": padded(position.realised, 4),
        "liquidationPrice": liquidation_price(instrument, position),
        "pnlRatio": padded((unrealised / margin).quantize(Decimal("0.0001")) if margin else ZERO, 4),
        "maxMarginReduction": padded(position.added_margin, 4),
        "riskRate": "0.0068",
        "markPrice": padded(price, instrument.price_precision),
        "positionValue": padded(money(value_of(instrument, position.size, price)), 4),
        "onlyOnePosition": not is_hedge,
        "createTime": position.opened_ms,
        "updateTime": position.updated_ms,
    }


def wallet_row(account: Account, wallet: Wallet) -> dict[str, Json]:
    return {
        "userId": str(account.uid),
        "asset": wallet.asset,
        "balance": padded(wallet.balance, 4),
        "equity": padded(wallet.equity, 4),
        "unrealizedProfit": padded(wallet.unrealised, 4),
        "realisedProfit": padded(wallet.realised, 4),
        "availableMargin": padded(wallet.available, 4),
        "usedMargin": padded(wallet.used, 4),
        "freezedMargin": padded(wallet.frozen, 4),
        "shortUid": str(account.uid),
    }
