"""What was won or lost since a moment, and which operation ended with a loss. Net of fees, in quote money.

Results come from the orders, not from the operation's own figures: an order's average price and filled quantity are
written in the commit in which its end is learned, while fills are fetched a moment later. Fees come from the fills;
for what has none yet a taker's fee is assumed, so that a loss is seen too large rather than too late. An order counts
on the day on which we learned of its fill.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from exchange.types import Market
from operations.books import Execution, book
from operations.exposure import ZERO, Quote, contract_sizes, operations_of, orders_of, price_of, worth_of
from operations.models import Fill, Limits, Operation, Order

# What BingX's lists of instruments name; an account's own fees may be lower
TAKER_FEES = {Market.USDTM: Decimal("0.0005"), Market.COINM: Decimal("0.0005"), Market.SPOT: Decimal("0.001")}


@dataclass(frozen=True, slots=True)
class Loss:
    """An operation that ended with less than it began."""

    operation_id: int
    closed_at: datetime
    amount: Decimal


def result_since(limits: Limits, moment: datetime, quote: Quote) -> Decimal:
    """Return what the orders filled since `moment` realised, less their fees; a loss is negative.

    Raises `exposure.PriceUnknown` when an order's price is not known yet.
    """
    since = orders_of(limits).filter(filled_quantity__gt=0, answered_at__gte=moment)
    results = _results(set(since.values_list("operation_id", flat=True)), quote, moment)
    return sum(results.values(), ZERO)


def last_loss(limits: Limits, moment: datetime, quote: Quote) -> Loss | None:
    """Return the operation that was the last to close with a loss, later than `moment`."""
    closed = operations_of(limits).filter(status=Operation.Status.CLOSED, closed_at__gt=moment)
    ends = {pk: at for pk, at in closed.values_list("pk", "closed_at") if at}
    if not ends:
        return None
    results = _results(set(ends), quote, None)
    losses = [Loss(pk, ends[pk], -result) for pk, result in results.items() if result < 0]
    return max(losses, key=lambda loss: loss.closed_at, default=None)


def _results(operations: set[int], quote: Quote, moment: datetime | None) -> dict[int, Decimal]:
    """Return the net result of each operation, or the part of it since `moment`."""
    filled = Order.objects.filter(operation_id__in=operations, filled_quantity__gt=0)
    rows = list(filled.select_related("lane", "operation", "decision").order_by("answered_at", "id"))
    sizes = contract_sizes(rows)
    fees = _fees(rows, quote, sizes)
    by_operation: dict[int, list[Order]] = defaultdict(list)
    for order in rows:
        by_operation[order.operation_id].append(order)
    return {
        pk: _realised(orders, quote, sizes, moment) - sum((fees[each.pk] for each in _later(orders, moment)), ZERO)
        for pk, orders in by_operation.items()
    }


def _realised(orders: list[Order], quote: Quote, sizes: dict[str, Decimal], moment: datetime | None) -> Decimal:
    """Return what all orders of one operation realised, less what those before `moment` had."""
    lane, leg = orders[0].lane, orders[0].operation.leg
    size = sizes.get(lane.symbol, ZERO) if lane.market == Market.COINM else ZERO
    executions = {each.pk: _execution_of(each, quote) for each in orders}
    later = {each.pk for each in _later(orders, moment)}
    earlier = [execution for pk, execution in executions.items() if pk not in later]
    result = book(executions.values(), leg, size).realised_pnl - book(earlier, leg, size).realised_pnl
    # COIN-M settles in coins: they count at the price at which the last of them were won or lost
    return result * price_of(orders[-1], quote) if size else result


def _execution_of(order: Order, quote: Quote) -> Execution:
    return Execution(order.role == Order.Role.ENTRY, price_of(order, quote), order.filled_quantity, ZERO)


def _later(orders: list[Order], moment: datetime | None) -> list[Order]:
    return [each for each in orders if moment is None or (each.answered_at and each.answered_at >= moment)]


def _fees(orders: Iterable[Order], quote: Quote, sizes: dict[str, Decimal]) -> dict[int, Decimal]:
    """Return the fees of each order in quote money: its fills', and a taker's for what has no fill here yet."""
    orders = list(orders)
    paid: dict[int, Decimal] = defaultdict(Decimal)
    booked: dict[int, Decimal] = defaultdict(Decimal)
    lanes = {each.pk: each.lane for each in orders}
    for fill in Fill.objects.filter(order_id__in=list(lanes)):
        in_coins = lanes[fill.order_id].market == Market.COINM or _is_base(fill, lanes[fill.order_id].symbol)
        paid[fill.order_id] += fill.fee * fill.price if in_coins else fill.fee
        booked[fill.order_id] += fill.quantity
    for order in orders:
        missing = order.filled_quantity - booked[order.pk]
        if missing > 0:
            rate = TAKER_FEES[Market(order.lane.market)]
            paid[order.pk] += rate * worth_of(order, missing, quote, sizes)
    return paid


def _is_base(fill: Fill, symbol: str) -> bool:
    return fill.fee_asset == symbol.partition("-")[0]
