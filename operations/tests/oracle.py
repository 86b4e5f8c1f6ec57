"""What must hold between our books and the exchange's: always, and when everything has come to rest.

Each check raises AssertionError and names both sides. They read rows and the paper exchange's ledger, nothing else.
"""

from collections import Counter, defaultdict
from decimal import Decimal
from itertools import pairwise
from typing import Any

from alarms.models import Alarm
from exchange.models import Account
from exchange.types import Market
from operations.models import Fill, Lane, Notice, Operation, Order, OrderEvent
from operations.states import CLOSED, TRANSITIONS, UNFINISHED, OrderStatus
from pelusa.testing import PaperExchange
from strategies.models import Leg

Row = dict[str, Any]
IN_TURN = (Order.Role.ENTRY, Order.Role.EXIT)
OPEN_THERE = ("NEW", "PENDING", "PARTIALLY_FILLED")
ZERO = Decimal(0)


class Books:
    """Both books, read once: ours first, since the exchange's may only have moved on meanwhile."""

    def __init__(self, paper: PaperExchange) -> None:
        self.orders = list(Order.objects.select_related("lane__account", "operation").order_by("id"))
        self.fills: dict[int, list[Fill]] = defaultdict(list)
        for fill in Fill.objects.all():
            self.fills[fill.order_id].append(fill)
        self.operations = list(Operation.objects.select_related("account", "strategy"))
        self.keys = {account.pk: account.api_key for account in Account.objects.all()}
        self.rows = paper.ledger()
        self._by_name = {(row["account"], row["client_order_id"]): row for row in self.rows}
        self._by_id = {(row["account"], row["order_id"]): row for row in self.rows}
        self.row_of = {order.pk: self._find(order) for order in self.orders}

    def _find(self, order: Order) -> Row | None:
        key = order.lane.account.api_key
        return self._by_id.get((key, order.exchange_order_id)) or self._by_name.get((key, order.client_order_id))

    def executed(self, order: Order) -> Decimal:
        row = self.row_of[order.pk]
        return Decimal(row["executed"]) if row else ZERO

    def unknown_rows(self) -> list[Row]:
        """Return the exchange's orders that no row of ours names."""
        known = {(row["account"], row["order_id"]) for row in self.row_of.values() if row}
        return [row for row in self.rows if (row["account"], row["order_id"]) not in known]


# Always


def check_always(books: Books) -> None:
    """Check what may not break for a moment, whatever fails."""
    check_one_order_an_id(books)
    check_one_order_an_intention(books)
    check_strangers(books)
    check_turns(books)
    check_flips(books)
    check_bookings(books)
    check_nothing_is_sold_twice(books)
    check_lives()


def check_one_order_an_id(books: Books) -> None:
    names = Counter((row["account"], row["client_order_id"]) for row in books.rows if row["client_order_id"])
    doubled = [name for name, count in names.items() if count > 1]
    assert not doubled, f"sent twice: {doubled}"


def check_one_order_an_intention(books: Books) -> None:
    """One executed order a decision, one exit of an operation on its way, one stop and one target an entry."""
    executed = Counter(order.decision_id for order in books.orders if order.decision_id and books.executed(order))
    assert not [each for each, count in executed.items() if count > 1], "a decision was executed twice"
    exits = Counter(
        order.operation_id
        for order in books.orders
        if order.role == Order.Role.EXIT and (order.status in UNFINISHED or _is_open_there(books, order))
    )
    assert not [each for each, count in exits.items() if count > 1], "two exits of one operation are on their way"
    covers = Counter(
        (order.entry_id, order.role)
        for order in books.orders
        if order.role not in IN_TURN and (order.status in UNFINISHED or _is_open_there(books, order))
    )
    assert not [each for each, count in covers.items() if count > 1], "two stops or targets cover one entry"


def _is_open_there(books: Books, order: Order) -> bool:
    row = books.row_of[order.pk]
    return row is not None and row["status"] in OPEN_THERE


def check_strangers(books: Books) -> None:
    """What we cannot name at the exchange is a stop whose answer was lost, and for each there is one that we miss."""
    strangers = Counter(_likeness(row) for row in books.unknown_rows())
    ours = Counter(
        (
            order.lane.account.api_key,
            order.lane.symbol,
            order.side,
            order.position_side,
            order.order_type,
            order.quantity,
            order.trigger_price,
        )
        for order in books.orders
        if order.status == OrderStatus.SUBMITTED and not order.exchange_order_id and order.role not in IN_TURN
    )
    assert not strangers - ours, f"orders at the exchange that nobody answers for: {dict(strangers - ours)}"


def _likeness(row: Row) -> tuple[Any, ...]:
    text = ("account", "symbol", "side", "position_side", "type")
    return (*(row[name] for name in text), Decimal(row["quantity"]), Decimal(row["stop_price"]))


def check_turns(books: Books) -> None:
    """Orders of a lane stand at the exchange in the order of our ids; only exits may pass one that is unresolved."""
    of_lane: dict[int, list[Order]] = defaultdict(list)
    for order in books.orders:
        if order.role in IN_TURN and books.row_of[order.pk]:
            of_lane[order.lane_id].append(order)
    for orders in of_lane.values():
        passed: list[Order] = []
        for order in sorted(orders, key=lambda each: int((books.row_of[each.pk] or {})["order_id"])):
            overtakers = [each for each in passed if each.pk > order.pk]
            assert all(each.role == Order.Role.EXIT for each in overtakers), f"{order} was overtaken by {overtakers}"
            assert all(each.operation_id != order.operation_id for each in overtakers), f"{order} came after its exit"
            passed.append(order)


def check_flips(books: Books) -> None:
    """A strategy that was told to leave is out before it enters again, whatever became of its first exit."""
    left: dict[int, list[Order]] = defaultdict(list)
    for order in books.orders:
        if order.role == Order.Role.EXIT:
            left[order.operation_id].append(order)
    for exits in left.values():
        operation, last = exits[0].operation, max((_place(books, each) for each in exits), default=0)
        for order in books.orders:
            is_next = order.operation.strategy_id == operation.strategy_id and order.lane_id == exits[0].lane_id
            if is_next and order.role == Order.Role.ENTRY and order.pk > exits[0].pk and books.row_of[order.pk]:
                assert int((books.row_of[order.pk] or {})["order_id"]) > last, (
                    f"{order} entered before {operation} was left"
                )


def _place(books: Books, order: Order) -> int:
    """Return the order's place in the exchange's own order, 0 when it never traded there."""
    return int((books.row_of[order.pk] or {})["order_id"]) if books.executed(order) else 0


def check_bookings(books: Books) -> None:
    """We never book more than the exchange executed, nor an execution that it does not know."""
    for order in books.orders:
        row = books.row_of[order.pk]
        assert order.filled_quantity <= books.executed(order), f"{order}: booked {order.filled_quantity}, there {row}"
        known = {fill["trade_id"] for fill in row["fills"]} if row else set()
        strange = {fill.exchange_trade_id for fill in books.fills[order.pk]} - known
        assert not strange, f"{order}: fills {strange} are not its own"


def check_nothing_is_sold_twice(books: Books) -> None:
    """What left an operation at the exchange is never more than what entered it."""
    for operation in books.operations:
        of_it = [order for order in books.orders if order.operation_id == operation.pk]
        entered = sum((books.executed(order) for order in of_it if order.role == Order.Role.ENTRY), ZERO)
        left = sum((books.executed(order) for order in of_it if order.role != Order.Role.ENTRY), ZERO)
        assert left <= entered, f"{operation}: {left} left it at the exchange, {entered} entered"


def check_lives() -> None:
    """Each order's events, oldest first, are steps of the table; a note repeats the state in which it was made."""
    lives: dict[int, list[OrderStatus]] = defaultdict(list)
    for order_id, status in OrderEvent.objects.order_by("id").values_list("order_id", "status"):
        lives[order_id].append(OrderStatus(status))
    for order_id, statuses in lives.items():
        for old, new in pairwise(statuses):
            assert old == new or new in TRANSITIONS[old], f"order {order_id} went from {old} to {new}: {statuses}"
    latest = Order.objects.filter(pk__in=lives).values_list("pk", "status")
    behind = {pk: status for pk, status in latest if status != lives[pk][-1]}
    assert not behind, f"the last event of these orders is another: {behind}"


# At rest


def unrest() -> list[str]:
    """Return what is still on its way; empty: everything has come to rest."""
    alarms = Alarm.objects.filter(status=Alarm.Status.RECEIVED)
    orders = Order.objects.filter(status__in=[each.value for each in UNFINISHED])
    standing = orders.filter(status=OrderStatus.ACCEPTED).exclude(role__in=IN_TURN)
    moving = orders.exclude(pk__in=standing)
    lacking = Order.objects.filter(filled_quantity__gt=0, has_all_fills=False)
    lacking = lacking.exclude(pk__in=orders)
    operations = Operation.objects.filter(status__in=[Operation.Status.OPENING, Operation.Status.CLOSING])
    uncovered = Operation.objects.filter(uncovered_since__isnull=False)
    frozen = Lane.objects.exclude(frozen_reason="")
    return [
        *(f"{alarm} is not routed" for alarm in alarms),
        *(f"{order} of {order.operation} is {order.status}" for order in moving.select_related("operation")),
        *(f"{order} lacks fills" for order in lacking),
        *(f"{each} is {each.status}, holds {each.held_quantity}" for each in operations),
        *(f"{each} is uncovered" for each in uncovered),
        *(f"{each} is frozen: {each.frozen_reason}" for each in frozen),
    ]


def check_at_rest(books: Books, paper: PaperExchange) -> None:
    """Check that both books are equal to the last digit, and that all that is held is covered."""
    assert not books.unknown_rows(), f"orders that we do not know: {books.unknown_rows()}"
    for order in books.orders:
        check_order_is_equal(books, order)
    for operation in books.operations:
        check_operation(books, operation)
    check_positions(books, paper)
    check_no_alarm_is_lost()
    told = ("unsettled_order", "unprotected", "books_differ")
    notices = list(Notice.objects.filter(ended_at__isnull=True, kind__in=told))
    assert not notices, f"told to a human and not over: {[(each.kind, each.facts) for each in notices]}"


def check_order_is_equal(books: Books, order: Order) -> None:
    row = books.row_of[order.pk]
    if row is None:
        assert order.status in (OrderStatus.DENIED, OrderStatus.REJECTED), f"{order} is {order.status}, unknown there"
        return
    assert order.filled_quantity == Decimal(row["executed"]), f"{order}: {order.filled_quantity}, there {row}"
    assert (order.status in CLOSED) == (row["status"] not in OPEN_THERE), f"{order}: {order.status}, there {row}"
    ours = sorted((fill.exchange_trade_id, fill.price, fill.quantity, fill.fee) for fill in books.fills[order.pk])
    theirs = sorted(
        (fill["trade_id"], Decimal(fill["price"]), Decimal(fill["quantity"]), -Decimal(fill["commission"]))
        for fill in row["fills"]
    )
    assert ours == theirs, f"{order}: fills differ"


def check_operation(books: Books, operation: Operation) -> None:
    of_it = [order for order in books.orders if order.operation_id == operation.pk]
    entered = sum((order.received_quantity for order in of_it if order.role == Order.Role.ENTRY), ZERO)
    left = sum((order.filled_quantity for order in of_it if order.role != Order.Role.ENTRY), ZERO)
    held = entered - left
    assert (operation.quantity, operation.held_quantity) == (entered, held), f"{operation} adds up wrongly"
    crumbs = Decimal("0.0001") if operation.market == Market.SPOT else ZERO
    if operation.status == Operation.Status.OPEN:
        assert held > crumbs, f"{operation} is open and holds {held}"
    else:
        assert held <= crumbs, f"{operation} is {operation.status} and holds {held}"
    check_cover(books, operation, of_it)


def check_cover(books: Books, operation: Operation, of_it: list[Order]) -> None:
    """What the leg asks for stands at the exchange for all that is held, and nothing stands for what is gone."""
    leg = Leg.objects.filter(strategy=operation.strategy_id, name=operation.leg).first()
    assert leg
    asked = {
        Order.Role.STOP_LOSS: leg.stop_loss_per_order or leg.stop_loss_general,
        Order.Role.TAKE_PROFIT: leg.take_profit_per_order or leg.take_profit_general,
    }
    is_open = operation.status == Operation.Status.OPEN
    for role, percent in asked.items():
        standing = [order for order in of_it if order.role == role and _is_open_there(books, order)]
        rows = [books.row_of[order.pk] or {} for order in standing]
        covered = sum((Decimal(row["quantity"]) - Decimal(row["executed"]) for row in rows), ZERO)
        wanted = operation.held_quantity if is_open and percent else ZERO
        assert covered == wanted, f"{operation} ({operation.status}): {role} covers {covered} of {wanted}"


def check_positions(books: Books, paper: PaperExchange) -> None:
    """The perpetual positions are the sums of what our operations hold; hedge legs apart, one-way ones net."""
    ours: dict[tuple[str, ...], Decimal] = defaultdict(Decimal)
    for each in books.operations:
        if each.market != Market.SPOT:
            side = "BOTH" if each.account.position_mode == Account.Mode.ONE_WAY else each.position_side
            signed = each.held_quantity if each.leg == "long" else -each.held_quantity
            ours[books.keys[each.account_id], each.market, each.symbol, side] += signed
    theirs = {
        (row["account"], row["market"], row["symbol"], row["side"]): Decimal(row["quantity"])
        for row in paper.positions()
    }
    held = {key: quantity for key, quantity in ours.items() if quantity}
    assert held == theirs, f"our positions {held}, theirs {theirs}"


def check_no_alarm_is_lost() -> None:
    """Every decision to trade has its order, and every alarm an answer."""
    assert not Alarm.objects.filter(status=Alarm.Status.RECEIVED).exists()
    for operation in Operation.objects.prefetch_related("decisions__orders"):
        for decision in operation.decisions.all():
            assert decision.orders.count() == 1, f"{decision} has {decision.orders.count()} orders"
