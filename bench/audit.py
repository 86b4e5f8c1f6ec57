"""The oracle after a run: our books against the exchange's own ledger, to the last digit."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from alarms.models import Alarm
from operations.models import Decision, Operation, Order
from operations.states import UNFINISHED
from pelusa.livesystem import PaperExchange

IN_TURN = ("ENTRY", "EXIT")


@dataclass
class Findings:
    """Counts for the table, and a sentence for each thing that is wrong."""

    stored: int = 0
    redelivered: int = 0
    expected: int = 0
    at_exchange: int = 0
    missed: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    lost: int = 0
    unsettled: int = 0
    books: int = 0
    uncovered: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not (self.duplicates or self.lost or self.unsettled or self.books or self.uncovered)

    def lines(self) -> Iterator[tuple[str, object]]:
        yield "alarms stored", f"{self.stored} and {self.redelivered} redeliveries"
        yield "expected orders", self.expected
        yield "orders at the exchange", self.at_exchange
        yield "missed, with a reason", dict(self.missed) or 0
        yield "duplicates", self.duplicates
        yield "lost", self.lost
        yield "unsettled", self.unsettled
        yield "books that differ", self.books
        yield "uncovered operations", self.uncovered


def audit(acknowledged: dict[bytes, int], paper: PaperExchange) -> Findings:
    """Compare what was acknowledged, what we decided, what we booked and what the exchange did."""
    found, ledger, held = Findings(), paper.ledger(), paper.positions()
    _check_alarms(found, acknowledged)
    _check_decisions(found)
    _check_orders(found, ledger)
    _check_positions(found, held)
    _check_cover(found, ledger)
    return found


def _check_alarms(found: Findings, acknowledged: dict[bytes, int]) -> None:
    found.stored = Alarm.objects.exclude(status=Alarm.Status.DUPLICATE).count()
    found.redelivered = Alarm.objects.filter(status=Alarm.Status.DUPLICATE).count()
    originals = Counter(Alarm.objects.exclude(status=Alarm.Status.DUPLICATE).values_list("raw", flat=True))
    for body in acknowledged:
        if originals[body.decode()] != 1:
            found.lost += 1
            found.problems.append(f"an acknowledged alarm is stored {originals[body.decode()]} times: {body[:80]!r}")
    waiting = Alarm.objects.filter(status=Alarm.Status.RECEIVED).count()
    found.unsettled += waiting


def _check_decisions(found: Findings) -> None:
    """Every decision to act has exactly one order, and what arrival order calls for was decided."""
    for alarm in Alarm.objects.exclude(status=Alarm.Status.DUPLICATE).iterator():
        decisions = Decision.objects.filter(alarm_id=alarm.pk).count()
        if decisions != 1:
            found.lost += 1
            found.problems.append(f"alarm {alarm.pk} has {decisions} decisions")
    acts = Decision.objects.exclude(outcome=Decision.Outcome.IGNORED).prefetch_related("orders")
    for decision in acts:
        orders = list(decision.orders.all())
        found.expected += 1
        filled = [order for order in orders if order.status == "filled"]
        if len(filled) > 1:
            found.duplicates += 1
            found.problems.append(f"decision {decision.pk} was filled {len(filled)} times")
        elif not filled:
            _count_missed(found, decision, orders)


def _count_missed(found: Findings, decision: Decision, orders: list[Order]) -> None:
    reasons = [order.reason for order in orders if order.reason]
    if reasons:
        found.missed[reasons[-1]] += 1
        return
    found.lost += 1
    found.problems.append(f"decision {decision.pk} ({decision.outcome}) has no order that ended with a reason")


def _check_orders(found: Findings, ledger: list[dict[str, Any]]) -> None:
    theirs = [row for row in ledger if row["client_order_id"]]
    found.at_exchange = len(theirs)
    for client_order_id, times in Counter(row["client_order_id"] for row in theirs).items():
        if times > 1:
            found.duplicates += 1
            found.problems.append(f"{client_order_id} is {times} orders at the exchange")
    ours = {order.client_order_id: order for order in Order.objects.filter(role__in=IN_TURN)}
    found.unsettled += sum(order.status in UNFINISHED for order in ours.values())
    known = {row["client_order_id"]: row for row in theirs}
    for client_order_id, order in ours.items():
        _check_order(found, order, known.pop(client_order_id, None))
    for client_order_id in known:
        found.lost += 1
        found.problems.append(f"{client_order_id} is at the exchange and not in our books")
    _check_sequence(found, theirs, ours)


def _check_order(found: Findings, order: Order, row: dict[str, Any] | None) -> None:
    theirs = Decimal(row["executed"]) if row else Decimal(0)
    booked = sum((fill.quantity for fill in order.fills.all()), Decimal(0))
    if order.filled_quantity != theirs or booked != theirs:
        found.books += 1
        found.problems.append(f"{order}: we say {order.filled_quantity} ({booked} in fills), the exchange {theirs}")


def _check_sequence(found: Findings, theirs: list[dict[str, Any]], ours: dict[str, Order]) -> None:
    """Each lane's orders must have reached the exchange in the order of their alarms."""
    lanes: dict[int, list[int]] = defaultdict(list)
    for row in theirs:
        if row["client_order_id"] in ours:
            order = ours[row["client_order_id"]]
            lanes[order.lane_id].append(order.pk)
    for lane_id, sequence in lanes.items():
        if sequence != sorted(sequence):
            found.problems.append(f"lane {lane_id}: not in the order of arrival")
            found.books += 1


def _check_positions(found: Findings, held: list[dict[str, Any]]) -> None:
    """Compare each side of each account and symbol; a short is negative at the exchange, and so is our share of it."""
    theirs: dict[tuple[str, str, str], Decimal] = defaultdict(Decimal)
    ours: dict[tuple[str, str, str], Decimal] = defaultdict(Decimal)
    for position in held:
        theirs[position["account"], position["symbol"], position["side"]] += Decimal(position["quantity"])
    for operation in Operation.objects.filter(status__in=Operation.LIVE).select_related("account"):
        side = "BOTH" if operation.account.position_mode == "one_way" else operation.position_side
        share = operation.held_quantity if operation.leg == "long" else -operation.held_quantity
        ours[operation.account.api_key, operation.symbol, side] += share
    for key in theirs.keys() | ours.keys():
        if theirs[key] != ours[key]:
            found.books += 1
            found.problems.append(f"{key[1]} {key[2]}: we hold {ours[key]}, the exchange says {theirs[key]}")


def _check_cover(found: Findings, ledger: list[dict[str, Any]]) -> None:
    """Every operation that asks for a stop has one at the exchange for all that it holds, and nothing else does."""
    live = {
        row["order_id"]: row for row in ledger if row["status"] in ("NEW", "PENDING") and not row["client_order_id"]
    }
    protective = Order.objects.exclude(role__in=IN_TURN).filter(exchange_order_id__in=list(live))
    covered: dict[tuple[int, str], Decimal] = defaultdict(Decimal)
    for order in protective:
        covered[order.operation_id, order.role] += Decimal(live.pop(order.exchange_order_id)["quantity"])
    for operation in Operation.objects.select_related("strategy").prefetch_related("strategy__legs"):
        _check_operation_cover(found, operation, covered)
    for order_id in live:
        found.uncovered += 1
        found.problems.append(f"stop {order_id} at the exchange is nobody's")


def _check_operation_cover(found: Findings, operation: Operation, covered: dict[tuple[int, str], Decimal]) -> None:
    leg = next((leg for leg in operation.strategy.legs.all() if leg.name == operation.leg), None)
    wanted = operation.held_quantity if operation.status in Operation.LIVE else Decimal(0)
    for role, percent in (
        ("STOP_LOSS", leg and leg.stop_loss_per_order),
        ("TAKE_PROFIT", leg and leg.take_profit_per_order),
    ):
        expected = wanted if percent else Decimal(0)
        if covered[operation.pk, role] != expected:
            found.uncovered += 1
            found.problems.append(f"{operation} {role}: {covered[operation.pk, role]} of {expected} covered")
