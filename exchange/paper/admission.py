"""What is checked before an order enters the books, in BingX's order and with its codes."""

from __future__ import annotations

import re
from decimal import Decimal

from exchange.paper import refusals
from exchange.paper.attached import read_attached
from exchange.paper.books import ZERO, Account, Order
from exchange.paper.instruments import Instrument
from exchange.paper.ledger import Ledger
from exchange.paper.margins import money, value_of
from exchange.paper.matching import Matcher, crosses

CLIENT_ID = re.compile(r"[A-Za-z0-9_.:/-]{1,40}")
STOPS = ("STOP_MARKET", "TAKE_PROFIT_MARKET", "STOP", "TAKE_PROFIT")
TRIGGERS = ("TRIGGER_MARKET", "TRIGGER_LIMIT")
TRAILING = ("TRAILING_STOP_MARKET", "TRAILING_TP_SL")
PERPETUAL_TYPES = frozenset(("MARKET", "LIMIT", *STOPS, *TRIGGERS, *TRAILING))
NEEDS_PRICE = frozenset(("LIMIT", "STOP", "TAKE_PROFIT", "TRIGGER_LIMIT"))
NEEDS_STOP_PRICE = frozenset((*STOPS, *TRIGGERS))


def clean_client_id(text: str) -> str:
    """Lower-case a client order id as the server does.

    Raises Refusal 109400 when it is longer than 40 characters or holds strange ones.
    """
    if text and not CLIENT_ID.fullmatch(text):
        raise refusals.bad_parameter("clientOrderID must be 1 to 40 letters, digits, '-' or '_'")
    return text.lower()


def check_unique(ledger: Ledger, order: Order, mode: str, now_ms: int) -> None:
    """Refuse a client order id that was used before: ever (`strict`) or within a second (`one-second`)."""
    if not order.client_order_id or mode == "none":
        return
    earlier = ledger.by_client_id.get((order.account, order.market, order.client_order_id), [])
    if mode == "strict" and earlier:
        raise refusals.duplicate_client_id()
    if any(now_ms - each.time_ms < 1000 for each in earlier):
        raise refusals.duplicate_within_a_second()


def check_perpetual(matcher: Matcher, account: Account, instrument: Instrument, order: Order) -> None:
    """Raise the Refusal that this order on a perpetual deserves, if any."""
    price = matcher.price_of(instrument)
    _check_mode(account, order)
    _check_form(order)
    _check_attached(order, order.price or price)
    _check_size(instrument, order, price)
    if order.is_stop or order.type in TRAILING:
        _check_stop(matcher, instrument, order, price)
    elif order.is_closing:
        _check_close(matcher, instrument, order)
    elif order.type not in TRIGGERS:
        _check_margin(matcher, account, instrument, order, price)
    if order.time_in_force == "PostOnly" and order.type == "LIMIT" and crosses(order, price):
        raise refusals.would_take()


def _check_mode(account: Account, order: Order) -> None:
    if account.is_hedge and order.position_side == "BOTH":
        raise refusals.hedge_needs_a_side()
    if not account.is_hedge and order.position_side != "BOTH":
        raise refusals.one_way_needs_both()
    if account.is_hedge and order.reduce_only:
        raise refusals.hedge_knows_no_reduce_only()


def _check_form(order: Order) -> None:
    if order.type in NEEDS_PRICE and order.price <= 0:
        raise refusals.missing("price")
    if order.type in NEEDS_STOP_PRICE and order.stop_price <= 0:
        raise refusals.missing("stopPrice")
    if order.type in TRAILING and not (order.price or order.price_rate):
        raise refusals.missing("priceRate")


def _check_attached(order: Order, price: Decimal) -> None:
    """An attached stop or target must lie on its side of the price."""
    for kind in ("stop_loss", "take_profit"):
        text = getattr(order, kind)
        if not text:
            continue
        stop, is_take_profit = Decimal(read_attached(text, kind)["stopPrice"]), kind == "take_profit"
        must_be_above = (order.side == "BUY") == is_take_profit
        if stop <= price if must_be_above else stop >= price:
            raise refusals.wrong_stop_price(is_take_profit, must_be_above, price)


def _check_size(instrument: Instrument, order: Order, price: Decimal) -> None:
    """Minimum quantity for every order, minimum notional for those that open."""
    if order.close_position:
        return
    if order.quantity < instrument.min_quantity:
        raise refusals.below_minimum(instrument.min_quantity, instrument.base)
    paid = order.price or price
    if (
        not (order.is_closing or order.is_stop)
        and value_of_quote(instrument, order.quantity, paid) < instrument.min_notional
    ):
        raise refusals.below_notional(instrument.min_notional)


def value_of_quote(instrument: Instrument, quantity: Decimal, price: Decimal) -> Decimal:
    """Return the notional in the quote: contracts have a fixed one."""
    return quantity * instrument.contract_size if instrument.contract_size != 1 else quantity * price


def _held(matcher: Matcher, order: Order) -> Decimal:
    """Return what this order's side could close, never negative."""
    position = matcher.ledger.live_position(order.account, order.market, order.symbol, order.position_side)
    quantity = position.quantity if position else ZERO
    return max(ZERO, quantity if order.side == "SELL" else -quantity)


def _check_close(matcher: Matcher, instrument: Instrument, order: Order) -> None:
    held = _held(matcher, order)
    if not held:
        raise refusals.nothing_to_reduce() if order.position_side == "BOTH" else refusals.nothing_to_close()
    if order.position_side == "BOTH":
        order.quantity = min(order.quantity, held)
        return
    available = held - pending_closes(matcher.ledger, order)
    if order.quantity > available:
        raise refusals.more_than_available(available, instrument.base)


def pending_closes(ledger: Ledger, order: Order) -> Decimal:
    """Return what resting limit orders of the same side are about to close."""
    resting = ledger.open_orders_of(order.account, order.market, order.symbol)
    same = [each for each in resting if each.position_side == order.position_side and each.side == order.side]
    return sum((each.remaining for each in same if each.is_closing and each.type in ("LIMIT", "MARKET")), ZERO)


def _check_stop(matcher: Matcher, instrument: Instrument, order: Order, price: Decimal) -> None:
    held = _held(matcher, order)
    if not held:
        raise refusals.no_position()
    if order.is_stop:
        must_be_above = (order.side == "BUY") != order.is_take_profit
        if order.stop_price <= price if must_be_above else order.stop_price >= price:
            raise refusals.wrong_stop_price(order.is_take_profit, must_be_above, price)
    siblings = _sibling_stops(matcher.ledger, order)
    if order.close_position:
        if any(each.close_position for each in siblings):
            raise refusals.close_position_exists(order.is_take_profit)
        return
    available = held - sum((each.remaining for each in siblings if not each.close_position), ZERO)
    if order.quantity > available:
        raise refusals.more_than_available(max(ZERO, available), instrument.base)


def _sibling_stops(ledger: Ledger, order: Order) -> list[Order]:
    """Return the pending stops (or targets) of the same side."""
    return [
        each
        for each in ledger.open_orders_of(order.account, order.market, order.symbol)
        if each.is_stop
        and each.is_take_profit == order.is_take_profit
        and (each.side, each.position_side) == (order.side, order.position_side)
    ]


def _check_margin(matcher: Matcher, account: Account, instrument: Instrument, order: Order, price: Decimal) -> None:
    """The part of the order that opens needs margin and fee; netting against a one-way position is free."""
    opening = max(ZERO, order.quantity - _held(matcher, order)) if order.position_side == "BOTH" else order.quantity
    value = value_of(instrument, opening, order.price or price)
    needed = money(value / order.leverage + value * instrument.taker_fee)
    if needed > matcher.wallet(account, order.market, instrument.margin_asset).available:
        raise refusals.insufficient_margin()
