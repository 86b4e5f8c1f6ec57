"""What is held and on its way, and what was entered: the sums that limits are compared with.

Everything is counted from the orders themselves, in one statement each, so that a fill that arrives meanwhile is seen
either before or after and never falls between two reads. Nothing is reserved, so nothing can leak: an order that ends
unfilled is simply no longer counted.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models import QuerySet

from exchange.types import Market
from market.models import Instrument
from operations.models import Limits, Operation, Order
from operations.states import IN_FLIGHT, NEVER_TRADED, WORKING, OrderStatus

ZERO = Decimal(0)
ON_THE_WAY = IN_FLIGHT | WORKING
SENT = [each.value for each in OrderStatus if each not in (OrderStatus.CREATED, OrderStatus.DENIED)]
COUNTED = [each.value for each in OrderStatus if each not in NEVER_TRADED | {OrderStatus.CREATED}]


class PriceUnknown(Exception):
    """An order's worth cannot be told yet: it names the symbol."""

    def __init__(self, symbol: str) -> None:
        super().__init__(symbol)
        self.symbol = symbol


@dataclass(frozen=True, slots=True)
class Quote:
    """The market's price of one instrument as it was read for this claim."""

    market: str
    symbol: str
    price: Decimal


@dataclass(slots=True)
class Share:
    """What one operation entered, what left it, and what is on its way in; worths in quote money."""

    entered: Decimal = ZERO
    entered_worth: Decimal = ZERO
    left: Decimal = ZERO
    coming: Decimal = ZERO
    coming_worth: Decimal = ZERO

    @property
    def worth(self) -> Decimal:
        """What is held, at the average price of its entries, and what is coming, at the price it was sized with."""
        if not self.left:
            return self.entered_worth + self.coming_worth
        held = max(self.entered - self.left, ZERO)
        return self.coming_worth + (self.entered_worth * held / self.entered if self.entered else ZERO)

    @property
    def is_entered(self) -> bool:
        return bool(self.entered or self.coming)


def orders_of(limits: Limits) -> QuerySet[Order]:
    """Return the orders that a row of limits is about: of its account, of its strategy, or all."""
    if limits.strategy_id is not None:
        return Order.objects.filter(operation__strategy_id=limits.strategy_id)
    if limits.account_id is not None:
        return Order.objects.filter(lane__account_id=limits.account_id)
    return Order.objects.all()


def operations_of(limits: Limits) -> QuerySet[Operation]:
    """Return the operations that a row of limits is about."""
    if limits.strategy_id is not None:
        return Operation.objects.filter(strategy_id=limits.strategy_id)
    if limits.account_id is not None:
        return Operation.objects.filter(account_id=limits.account_id)
    return Operation.objects.all()


def entries_since(orders: QuerySet[Order], moment: datetime) -> int:
    """Count the entries among `orders` that were sent at `moment` or later, whatever became of them."""
    return orders.filter(role=Order.Role.ENTRY, status__in=SENT, submitted_at__gte=moment).count()


def live_operations(limits: Limits) -> set[int]:
    """Return the live operations that hold something or have an entry on its way; a mere row does not count."""
    entries = orders_of(limits).filter(operation__status__in=Operation.LIVE, role=Order.Role.ENTRY, status__in=COUNTED)
    found = entries.values_list("operation_id", "status", "filled_quantity")
    return {operation for operation, status, filled in found if filled or status in ON_THE_WAY}


def live_notional(limits: Limits, quote: Quote) -> Decimal:
    """Return the worth of all that is held and on its way, in quote money; quote assets are added as if they were one.

    Raises `PriceUnknown` for an order that was sent without any price being known.
    """
    orders = orders_of(limits).filter(operation__status__in=Operation.LIVE, status__in=COUNTED)
    shares: dict[int, Share] = {}
    rows = list(orders.select_related("lane", "decision"))
    sizes = contract_sizes(rows)
    for order in rows:
        share = shares.setdefault(order.operation_id, Share())
        if order.role == Order.Role.ENTRY:
            _add_entry(share, order, quote, sizes)
        else:
            share.left += order.filled_quantity
    return sum((share.worth for share in shares.values()), ZERO)


def _add_entry(share: Share, order: Order, quote: Quote, sizes: dict[str, Decimal]) -> None:
    if order.filled_quantity:
        share.entered += order.filled_quantity
        share.entered_worth += worth_of(order, order.filled_quantity, quote, sizes)
    if order.status in ON_THE_WAY and order.quantity:
        coming = order.quantity - order.filled_quantity
        share.coming += coming
        share.coming_worth += worth_of(order, coming, quote, sizes)


def worth_of(order: Order, quantity: Decimal, quote: Quote, sizes: dict[str, Decimal]) -> Decimal:
    """Return what `quantity` of the order is worth in quote money; raise `PriceUnknown` when that cannot be told."""
    if order.lane.market != Market.COINM:
        return quantity * price_of(order, quote)
    if order.lane.symbol not in sizes:
        raise PriceUnknown(order.lane.symbol)
    return quantity * sizes[order.lane.symbol]


def price_of(order: Order, quote: Quote) -> Decimal:
    """Return the order's own price, else the market's: as it is now for the same instrument, else as it was submitted.

    Raises `PriceUnknown` when there is none, nor one that its alarm named.
    """
    achieved: Decimal | None = order.avg_price or order.trigger_price
    if achieved:
        return achieved
    if (order.lane.market, order.lane.symbol) == (quote.market, quote.symbol):
        return quote.price
    known: Decimal | None = order.market_price or (order.decision.alarm_price if order.decision else None)
    if known:
        return known
    raise PriceUnknown(order.lane.symbol)


def contract_sizes(orders: Iterable[Order]) -> dict[str, Decimal]:
    """Return the quote worth of a contract by COIN-M symbol; asks nothing when no order is on COIN-M."""
    symbols = {order.lane.symbol for order in orders if order.lane.market == Market.COINM}
    if not symbols:
        return {}
    found = Instrument.objects.filter(market=Market.COINM, symbol__in=symbols)
    return dict(found.values_list("symbol", "contract_size"))
