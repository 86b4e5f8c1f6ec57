"""Read what BingX tells beside trading: income, fee rates, and the old standard contract's money, positions and trades.

The standard contract's numbers are JSON numbers or texts, its positions spell a symbol with a slash. Values that cannot
be read raise `Unreadable`, but for the kind of an income: a word that we do not know still moved money.
Source: https://bingx-api.github.io/docs-v3/, https://github.com/BingX-API/BingX-Standard-Contract-doc and the project's
BingX fact page, sections 3.2 and 6.
"""

from decimal import Decimal
from typing import Any

from loguru import logger

from exchange.decoding import (
    Row,
    moment,
    number,
    number_above_zero,
    one,
    required_moment,
    rows,
    text,
    whole,
    whole_or_none,
    word,
)
from exchange.parsing import margin_mode_of, side_of_position, zero_if_empty
from exchange.types import (
    BalanceReport,
    FeeRatesReport,
    IncomeKind,
    IncomeReport,
    Market,
    OldProduct,
    PositionReport,
    PositionSide,
    StandardOrderReport,
)

_INCOME_KIND = {
    "REALIZED_PNL": IncomeKind.REALISED_PNL,
    "REALISED_PNL": IncomeKind.REALISED_PNL,
    "INSURANCE_CLEAR": IncomeKind.INSURANCE,
    "SYSTEM_DEDUCTION": IncomeKind.DEDUCTION,
    **{kind.value: kind for kind in IncomeKind},
}


def parse_standard_balances(data: Any) -> list[BalanceReport]:
    """Read the standard contract's wallet: its balance leaves out what open positions would add."""
    return [_parse_standard_balance(row) for row in rows(data, "balance")]


def _parse_standard_balance(row: Row) -> BalanceReport:
    balance = zero_if_empty(row, "balance")
    unrealised = number(row, "crossUnPnl", default=Decimal(0))
    return BalanceReport(
        market=OldProduct.STANDARD,
        asset=text(row, "asset"),
        balance=balance,
        equity=balance + unrealised,
        available=zero_if_empty(row, "availableBalance"),
        unrealised_pnl=unrealised,
    )


def parse_standard_positions(data: Any) -> list[PositionReport]:
    """Read the standard contract's positions that hold something; numbers come as JSON numbers or texts."""
    found = [_parse_standard_position(row) for row in rows(data)]
    return [position for position in found if position.quantity]


def _parse_standard_position(row: Row) -> PositionReport:
    amount = number(row, "positionAmt")
    leg = word(row, PositionSide, "positionSide")
    return PositionReport(
        market=OldProduct.STANDARD,
        symbol=_hyphenated(text(row, "symbol")),
        position_side=leg,
        side=side_of_position(leg, amount),
        quantity=abs(amount),
        avg_entry_price=number(row, "entryPrice"),
        mark_price=number_above_zero(row, "currentPrice"),
        unrealised_pnl=number(row, "unrealizedProfit", "unrealisedProfit", default=Decimal(0)),
        leverage=whole_or_none(row, "leverage"),
        margin_mode=margin_mode_of(row),
        margin=number_above_zero(row, "initialMargin"),
    )


def _hyphenated(symbol: str) -> str:
    """Return the symbol as every other answer spells it; the standard contract's positions have a slash."""
    return symbol.replace("/", "-")


def parse_standard_order(row: Row) -> StandardOrderReport:
    """Read one closed trade of the standard contract."""
    return StandardOrderReport(
        symbol=_hyphenated(text(row, "symbol")),
        exchange_order_id=text(row, "orderId"),
        position_side=word(row, PositionSide, "positionSide"),
        status=text(row, "status").upper(),
        quantity=number(row, "executedQty"),
        avg_entry_price=number(row, "avgPrice"),
        close_price=number_above_zero(row, "closePrice"),
        margin=number(row, "margin"),
        leverage=whole(row, "leverage"),
        margin_mode=margin_mode_of(row),
        opened_at=required_moment(row, "time"),
        updated_at=moment(row, "updateTime"),
    )


def parse_income(market: Market, row: Row) -> IncomeReport:
    """Read one movement of money; a fee is negative, as BingX writes it."""
    return IncomeReport(
        market=market,
        exchange_income_id=text(row, "tranId", default=""),
        exchange_trade_id=text(row, "tradeId", default=""),
        kind=_income_kind(text(row, "incomeType")),
        symbol=text(row, "symbol", default=""),
        asset=text(row, "asset"),
        amount=number(row, "income"),
        happened_at=required_moment(row, "time"),
        note=text(row, "info", default=""),
    )


def _income_kind(said: str) -> IncomeKind:
    if said.upper() not in _INCOME_KIND:
        logger.bind(word=said[:40]).warning("BingX uses a kind of income that Pelusa does not know; it counts as OTHER")
    return _INCOME_KIND.get(said.upper(), IncomeKind.OTHER)


def parse_fee_rates(market: Market, data: Any) -> FeeRatesReport:
    """Read what trading costs; USDT-M wraps it once more, COIN-M writes texts and the others numbers."""
    row = one(data, "commission")
    return FeeRatesReport(market, number(row, "makerCommissionRate"), number(row, "takerCommissionRate"))
