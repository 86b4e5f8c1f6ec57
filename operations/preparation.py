"""What must be known before an order may be sent: its size, the market's price, the account's mode. Reads only."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.utils import timezone
from loguru import logger

from exchange.bingx import BingX
from exchange.clock import TOLERANCE, known_offset
from exchange.errors import ExchangeError
from exchange.models import Account
from exchange.rounding import round_down
from exchange.types import BalanceReport, Market, PositionMode
from market.models import Instrument
from operations.kept import Kept
from operations.limits import Denial, above_ceiling, check_entry
from operations.models import Operation, Order
from operations.states import CLOSED
from strategies.models import Leg
from strategies.sizing import CannotSize, Grid, Wish, size_entry

MODE_KEPT_FOR = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Prepared:
    """An order that is ready to be sent, or the reason why it must not be. `price` is the market's, for the limits."""

    quantity: Decimal | None = None
    price: Decimal | None = None
    priced_at: datetime | None = None
    leg: Leg | None = None
    denial: Denial | None = None


class NotYet(Exception):
    """The order must wait for something of its own operation; the sweep comes back."""


def prepare(order: Order, client: BingX) -> Prepared:
    """Return the order's size, or why it must not be sent. Raises an exchange's error when it cannot be known now."""
    denial = above_ceiling(order.lane.account)
    if denial:
        return Prepared(denial=denial)
    _read_mode_for(order, client)
    return _prepare_entry(order, client) if order.role == Order.Role.ENTRY else _prepare_exit(order, client)


def _read_mode_for(order: Order, client: BingX) -> None:
    account = order.lane.account
    try:
        if read_position_mode(account, Market(order.lane.market), client):
            order.lane.refresh_from_db(fields=["long_leverage", "short_leverage"])
    except ExchangeError as error:
        # An exit must not wait for it while the mode was ever known
        if order.role == Order.Role.ENTRY or account.position_mode_read_at is None:
            raise
        logger.warning("account {}: its position mode cannot be read: {}", account.name, error)


def _prepare_exit(order: Order, client: BingX) -> Prepared:
    """Return the price that tells crumbs on spot; an exit goes without it where it cannot be read."""
    if order.lane.market != Market.SPOT:
        return Prepared()
    try:
        return Prepared(price=client.price(Market.SPOT, order.lane.symbol))
    except ExchangeError as error:
        logger.warning("an exit in {} goes without a price: {}", order.lane.symbol, error)
        return Prepared()


def read_position_mode(account: Account, market: Market, client: BingX) -> bool:
    """Bring the account's position mode up to the exchange's, at most every five minutes; return whether it changed."""
    now = timezone.now()
    read_at = account.position_mode_read_at
    if market == Market.SPOT or (read_at and now - read_at < MODE_KEPT_FOR):
        return False
    before, account.position_mode = account.position_mode, client.position_mode().value
    account.position_mode_read_at = now
    account.save(update_fields=["position_mode", "position_mode_read_at"])
    if account.position_mode == before:
        return False
    # Each mode has leverages of its own
    account.lanes.update(long_leverage=None, short_leverage=None)
    logger.warning("account {}: position mode is {} now, it was {}", account.name, account.position_mode, before)
    return True


def doubt_position_mode(account: Account) -> None:
    """Have the mode read before the next order: what was refused may have been meant for another mode."""
    account.position_mode_read_at = None
    account.save(update_fields=["position_mode_read_at"])


def nets(account: Account, market: str) -> bool:
    """Tell whether long and short net in one position of this account and product."""
    return market != Market.SPOT and account.position_mode == PositionMode.ONE_WAY


def grid_of(instrument: Instrument) -> Grid:
    """Return the instrument's steps and floors as sizing knows them."""
    return Grid(
        symbol=instrument.symbol,
        step_size=instrument.step_size,
        min_quantity=instrument.min_quantity,
        min_notional=instrument.min_notional,
        contract_size=instrument.contract_size if instrument.market == Market.COINM else Decimal(0),
    )


def instrument_of(order: Order) -> Instrument | None:
    return instrument_at(order.lane.market, order.lane.symbol)


def instrument_at(market: str, symbol: str) -> Instrument | None:
    return _INSTRUMENT.first(market, symbol)


_INSTRUMENT = Kept[Instrument](
    lambda market, symbol: Instrument.objects.filter(market=market, symbol=symbol).order_by("pk"), str, str
)


def exit_quantity(order: Order) -> Decimal:
    """Return what an exit closes: its operation's whole share. Called under the lane's lock, when it is its turn.

    On spot the fee of a buy is taken from the coins, so the share need not be on the step.
    """
    held: Decimal = order.operation.held_quantity
    if order.lane.market != Market.SPOT:
        return held
    if order.operation.orders.filter(filled_quantity__gt=0, has_all_fills=False, status__in=CLOSED).exists():
        raise NotYet("the fills that tell the fee are not here yet")
    instrument = instrument_of(order)
    return round_down(held, instrument.step_size) if instrument else held


def _clock_denial(account: Account) -> Denial | None:
    offset = known_offset(account.environment)
    if abs(offset) <= TOLERANCE:
        return None
    return Denial("clock_off", {"offset": f"{offset.total_seconds():.1f}", "most": f"{TOLERANCE.total_seconds():.0f}"})


def crumbs(order: Order, quantity: Decimal, price: Decimal) -> Denial | None:
    """Return why a spot exit cannot be sold: it is worth less than the exchange takes."""
    instrument = instrument_of(order)
    if instrument is None or quantity * price >= instrument.min_notional:
        return None
    worth, least = f"{quantity * price:.4f}", f"{instrument.min_notional:f}"
    return Denial("crumbs", {"notional": worth, "min_notional": least, "symbol": instrument.symbol})


def _prepare_entry(order: Order, client: BingX) -> Prepared:
    instrument = instrument_of(order)
    denial = check_entry(order, instrument, timezone.now()) or _clock_denial(order.lane.account)
    if denial or instrument is None:
        return Prepared(denial=denial)
    leg = leg_of(order.operation)
    if leg is None:
        return Prepared(denial=Denial("no_such_leg", {"leg": order.operation.leg}))
    priced_at = timezone.now()
    price = client.price(Market(order.lane.market), order.lane.symbol)
    try:
        quantity = _size(order, leg, instrument, price, client)
        return Prepared(quantity=quantity, price=price, priced_at=priced_at, leg=leg)
    except CannotSize as refusal:
        return Prepared(denial=Denial(refusal.reason, dict(refusal.facts)))


def leg_of(operation: Operation) -> Leg | None:
    """Return the leg that an operation trades, as it is set now."""
    return _LEG.first(operation.strategy_id, operation.leg)


_LEG = Kept[Leg](lambda strategy, name: Leg.objects.filter(strategy=strategy, name=name).order_by("pk"), int, str)


def _size(order: Order, leg: Leg, instrument: Instrument, price: Decimal, client: BingX) -> Decimal:
    wish = wish_of(leg, order.decision.alarm_quantity if order.decision else None)
    equity = None
    if wish.needs_equity:
        equity = equity_in_quote(client.balances(Market(order.lane.market)), instrument, price)
    return size_entry(wish, grid_of(instrument), price, equity)


def wish_of(leg: Leg, alarm_quantity: Decimal | None = None) -> Wish:
    """Return what a leg asks for, as sizing knows it."""
    return Wish(
        sizing=leg.sizing,
        size=leg.size,
        leverage=leg.leverage,
        stop_percent=leg.stop_loss_per_order or leg.stop_loss_general,
        alarm_quantity=alarm_quantity,
    )


def equity_in_quote(balances: Sequence[BalanceReport], instrument: Instrument, price: Decimal) -> Decimal | None:
    """Return the money of the instrument's own wallet in quote units; None when the wallet lacks the asset."""
    held = {balance.asset: balance.equity for balance in balances}
    if instrument.market == Market.COINM:
        coins = held.get(instrument.base_asset)
        return coins * price if coins is not None else None
    # BingX's demo host keeps its money as VST whatever the quote asset is called
    return held.get(instrument.quote_asset, held.get("VST"))
