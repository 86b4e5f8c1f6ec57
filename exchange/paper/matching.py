"""Orders meet prices here: accept, fill, trigger, cancel. Nothing else changes the books."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from exchange.paper import refusals
from exchange.paper.attached import attached_orders
from exchange.paper.books import ZERO, Account, Fill, Income, Order, Position
from exchange.paper.instruments import BY_MARKET, Instrument
from exchange.paper.ledger import Ledger
from exchange.paper.margins import Wallet, blend, money, profit_of, value_of, wallet_of
from exchange.paper.prices import Quotes
from exchange.types import Market

# What a fault may ask for: (slices, milliseconds between them).
Slicing = Callable[[], tuple[int, int]]


class Matcher:
    """The matching engine over one ledger and one set of prices."""

    def __init__(self, ledger: Ledger, quotes: Quotes, clock_ms: Callable[[], int], slicing: Slicing) -> None:
        self.ledger = ledger
        self.quotes = quotes
        self.clock_ms = clock_ms
        self._slicing = slicing
        self._swept_second = clock_ms() // 1000

    def price_of(self, instrument: Instrument, second: int | None = None) -> Decimal:
        return self.quotes.price(instrument.symbol, instrument.price_precision, second)

    def wallet(self, account: Account, market: Market, asset: str) -> Wallet:
        positions = self.ledger.live_positions(account.key, market)
        return wallet_of(
            account, market, asset, positions, self.ledger.open_orders_of(account.key, market), self.price_of
        )

    def accept(self, order: Order) -> None:
        """Put a checked order into the books and execute what can be executed at once."""
        instrument = BY_MARKET[order.market][order.symbol]
        price = self.price_of(instrument)
        self.ledger.add(order)
        if order.type == "MARKET":
            self._fill_market(order, price)
        elif order.type == "LIMIT":
            order.status = "PENDING"
            self._take_or_rest(order, price)
        else:
            self._watch(order, price)
        order.updated_ms = self.clock_ms()
        self.ledger.touch(order)

    def _fill_market(self, order: Order, price: Decimal) -> None:
        slices, every_ms = self._slicing()
        instrument = BY_MARKET[order.market][order.symbol]
        order.slice_quantity = instrument.cut_quantity(order.quantity / slices) or order.quantity
        order.slice_every_ms = every_ms
        order.status = "PENDING"
        self._fill_slice(order, price)
        while not every_ms and order.is_open:
            self._fill_slice(order, price)

    def _fill_slice(self, order: Order, price: Decimal) -> None:
        quantity = order.slice_quantity
        if not quantity or order.remaining < 2 * quantity:
            quantity = order.remaining
        order.slice_due_ms = self.clock_ms() + order.slice_every_ms
        quantity = min(quantity, self._closable(order)) if order.is_closing else quantity
        if quantity:
            self.fill(order, quantity, price, is_maker=False)
        else:
            self.cancel(order)

    def _take_or_rest(self, order: Order, price: Decimal) -> None:
        """A limit order that crosses is filled at the better, current price; IOC and FOK never rest."""
        if crosses(order, price):
            self.fill(order, order.remaining, price, is_maker=False)
        elif order.time_in_force in ("IOC", "FOK"):
            order.status = "CANCELLED"

    def _watch(self, order: Order, price: Decimal) -> None:
        """Remember on which side of the price a conditional order waits."""
        order.extreme = price
        if order.is_stop:
            order.fires_above = (order.side == "BUY") != order.is_take_profit
        else:
            order.fires_above = order.stop_price >= price

    def fill(self, order: Order, quantity: Decimal, price: Decimal, *, is_maker: bool) -> None:
        """Execute a quantity at a price: position or wallets, fee, fill, incomes, order."""
        instrument = BY_MARKET[order.market][order.symbol]
        rate = instrument.maker_fee if is_maker else instrument.taker_fee
        fill = Fill(
            trade_id=self.ledger.new_id(),
            order_id=order.order_id,
            account=order.account,
            market=order.market,
            symbol=order.symbol,
            side=order.side,
            position_side=order.position_side,
            quantity=quantity,
            price=price,
            commission=ZERO,
            commission_asset=instrument.margin_asset,
            profit=ZERO,
            time_ms=self.clock_ms(),
            is_maker=is_maker,
        )
        if order.market == Market.SPOT:
            self._settle_spot(instrument, fill, rate)
        else:
            self._settle_position(instrument, order, fill, rate)
        self.ledger.add(fill)
        self._book(order, fill)
        if not order.is_open and not order.is_closing and order.market != Market.SPOT:
            self._place_attached(order)

    def _book(self, order: Order, fill: Fill) -> None:
        order.executed += fill.quantity
        order.executed_value += fill.quantity * fill.price
        order.commission += fill.commission
        order.profit += fill.profit
        order.updated_ms = fill.time_ms
        order.status = "FILLED" if order.executed >= order.quantity else "PARTIALLY_FILLED"
        self.ledger.touch(order)

    def _settle_spot(self, instrument: Instrument, fill: Fill, rate: Decimal) -> None:
        """Swap the two assets; the fee is taken from what is received."""
        account = self.ledger.accounts[fill.account]
        quote_amount = money(fill.quantity * fill.price)
        if fill.side == "BUY":
            fill.commission_asset, received = instrument.base, fill.quantity
            account.credit(Market.SPOT, instrument.quote, -quote_amount)
        else:
            fill.commission_asset, received = instrument.quote, quote_amount
            account.credit(Market.SPOT, instrument.base, -fill.quantity)
        fill.commission = -(received * rate).quantize(Decimal("0.000000000001"))
        account.credit(Market.SPOT, fill.commission_asset, received + fill.commission)
        self.ledger.touch(account)

    def _settle_position(self, instrument: Instrument, order: Order, fill: Fill, rate: Decimal) -> None:
        account = self.ledger.accounts[fill.account]
        fill.commission = -money(value_of(instrument, fill.quantity, fill.price) * rate)
        signed = fill.quantity if fill.side == "BUY" else -fill.quantity
        fill.profit = self._move_position(account, instrument, order, signed, fill)
        name = f"{fill.market}:{instrument.margin_asset}"
        account.credit(fill.market, instrument.margin_asset, fill.profit + fill.commission)
        account.realised[name] = account.realised.get(name, ZERO) + fill.profit
        self.ledger.touch(account)
        self._note_income(fill, "TRADING_FEE", fill.commission)
        if fill.profit:
            self._note_income(fill, "REALIZED_PNL", fill.profit)

    def _note_income(self, fill: Fill, kind: str, amount: Decimal) -> None:
        income = Income(
            self.ledger.new_id(),
            fill.account,
            fill.market,
            fill.symbol,
            kind,
            amount,
            fill.commission_asset,
            fill.time_ms,
            fill.trade_id,
        )
        self.ledger.add(income)

    def _move_position(
        self, account: Account, instrument: Instrument, order: Order, signed: Decimal, fill: Fill
    ) -> Decimal:
        """Move the position by a signed quantity and return the realised profit."""
        position = self.ledger.live_position(account.key, order.market, order.symbol, order.position_side)
        profit, rest = ZERO, signed
        if position and (position.quantity > 0) != (signed > 0):
            closed = min(abs(signed), position.size) * (1 if position.quantity > 0 else -1)
            profit = profit_of(instrument, closed, position.avg_price, fill.price)
            self._shrink(position, closed, profit, fill)
            rest, position = signed + closed, None
        if rest:
            position = position or self._new_position(account, order)
            position.avg_price = blend(instrument, position.quantity, position.avg_price, rest, fill.price)
            position.quantity += rest
            position.peak_quantity = max(position.peak_quantity, position.size)
            self._stamp(position, fill, profit if rest == signed else ZERO)
        return profit

    def _shrink(self, position: Position, closed: Decimal, profit: Decimal, fill: Fill) -> None:
        position.quantity -= closed
        position.closed_quantity += abs(closed)
        position.closed_value += abs(closed) * fill.price
        if not position.quantity:
            self._drop_protection(position)
        self._stamp(position, fill, profit)

    def _stamp(self, position: Position, fill: Fill, profit: Decimal) -> None:
        position.realised += profit + fill.commission
        position.commission += fill.commission
        position.updated_ms = fill.time_ms
        self.ledger.touch(position)

    def _new_position(self, account: Account, order: Order) -> Position:
        isolated = account.margin_type(order.market, order.symbol) != "CROSSED"
        return Position(
            account.key,
            order.market,
            order.symbol,
            order.position_side,
            self.ledger.new_id(),
            order.leverage,
            isolated,
            self.clock_ms(),
        )

    def _drop_protection(self, position: Position) -> None:
        """A position that is gone takes its attached and whole-position stops with it; free-standing ones stay."""
        for order in self.ledger.open_orders_of(position.account, position.market, position.symbol):
            if order.position_side == position.side and (order.is_attached or order.close_position):
                order.status, order.updated_ms = "CANCELLED", self.clock_ms()
                self.ledger.touch(order)

    def _place_attached(self, parent: Order) -> None:
        for order in attached_orders(parent, self.ledger.new_id, self.clock_ms()):
            self.ledger.add(order)
            self._watch(order, self.price_of(BY_MARKET[order.market][order.symbol]))

    def cancel(self, order: Order) -> None:
        """Take an open order out of the market.

        Raises Refusal 109422 when it is final.
        """
        if not order.is_open:
            raise refusals.already_final(order.status)
        order.status, order.updated_ms = "CANCELLED", self.clock_ms()
        self.ledger.touch(order)

    def sweep(self) -> None:
        """Let the prices since the last sweep meet the waiting orders."""
        now = self.clock_ms()
        first, self._swept_second = self._swept_second + 1, now // 1000
        seconds = range(max(first, self._swept_second - 600), self._swept_second + 1)
        waiting = [order for orders in self.ledger.open_orders.values() for order in list(orders.values())]
        for order in waiting:
            self._meet(order, seconds, now)

    def sweep_symbol(self, symbol: str) -> None:
        """Let the current price of one symbol meet its waiting orders at once."""
        for orders in list(self.ledger.open_orders.values()):
            for order in [each for each in orders.values() if each.symbol == symbol]:
                self._meet(order, range(0), self.clock_ms())

    def _meet(self, order: Order, seconds: range, now_ms: int) -> None:
        instrument = BY_MARKET[order.market][order.symbol]
        if order.type == "MARKET":
            if now_ms >= order.slice_due_ms:
                self._fill_slice(order, self.price_of(instrument))
            return
        placed = order.time_ms // 1000
        for second in (each for each in seconds if each > placed):
            self._meet_price(order, instrument, self.price_of(instrument, second))
        self._meet_price(order, instrument, self.price_of(instrument))

    def _meet_price(self, order: Order, instrument: Instrument, price: Decimal) -> None:
        if not order.is_open:
            return
        if order.type == "LIMIT" or order.is_armed:
            if crosses(order, price):
                self._fill_reduced(order, order.price, is_maker=True)
        elif fires(order, price):
            self._trigger(order, instrument, price)

    def _trigger(self, order: Order, instrument: Instrument, price: Decimal) -> None:
        if order.price and not order.type.startswith("TRAILING"):
            order.is_armed, order.status = True, "PENDING"
            self.ledger.touch(order)
            self._meet_price(order, instrument, price)
        else:
            self._fill_reduced(order, price, is_maker=False)

    def _fill_reduced(self, order: Order, price: Decimal, *, is_maker: bool) -> None:
        """Fill what is left of an order, but never close more than there is."""
        if order.close_position:
            order.quantity = self._closable(order)
        quantity = order.remaining
        if order.is_closing or order.is_stop:
            quantity = min(quantity, self._closable(order))
        if quantity:
            self.fill(order, quantity, price, is_maker=is_maker)
        if order.is_open:
            self.cancel(order)

    def _closable(self, order: Order) -> Decimal:
        """Return how much of a position an order's side can close."""
        position = self.ledger.live_position(order.account, order.market, order.symbol, order.position_side)
        held = position.quantity if position else ZERO
        return max(ZERO, held if order.side == "SELL" else -held)


def crosses(order: Order, price: Decimal) -> bool:
    return price <= order.price if order.side == "BUY" else price >= order.price


def fires(order: Order, price: Decimal) -> bool:
    """Say whether a conditional order is triggered by this price; a trailing one follows the extreme first."""
    if order.type.startswith("TRAILING"):
        return _trails(order, price)
    return price >= order.stop_price if order.fires_above else price <= order.stop_price


def _trails(order: Order, price: Decimal) -> bool:
    is_sell = order.side == "SELL"
    if order.activation_price and not order.is_activated:
        order.is_activated = price >= order.activation_price if is_sell else price <= order.activation_price
        order.extreme = price
        return False
    order.extreme = max(order.extreme, price) if is_sell else min(order.extreme, price)
    distance = order.extreme * order.price_rate if order.price_rate else order.price
    return price <= order.extreme - distance if is_sell else price >= order.extreme + distance
