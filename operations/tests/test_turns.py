"""An order whose turn under the rate limits does not come: nothing is sent or unknown, and it goes a moment later."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal as D

import pytest
from django.utils import timezone

from exchange import pacing
from exchange.errors import RateLimited
from exchange.models import Account
from operations import execution
from operations.lifecycle import AlarmFacts, carry_out
from operations.models import Lane, Operation, Order
from operations.protection import protect
from operations.states import OrderStatus
from pelusa.testing import DATABASES, PaperExchange, list_instruments, make_account, make_strategy
from strategies.models import Strategy
from strategies.rules import Verdict

pytestmark = pytest.mark.django_db(databases=DATABASES)

OPEN = Verdict("open", "entry", {"leg": "long"})
CLOSE = Verdict("close", "exit", {"leg": "long"})


@pytest.fixture
def account(paper: PaperExchange, settings: object, monkeypatch: pytest.MonkeyPatch) -> Account:
    """An account whose orders are paced as at the real exchange, by this process alone."""
    settings.PACED_ENVIRONMENTS = {"paper"}  # type: ignore[attr-defined]
    settings.PACING_REDIS_URL = ""  # type: ignore[attr-defined]
    monkeypatch.setattr("exchange.bingx.WRITE_PATIENCE", 0.1)
    list_instruments()
    return make_account()


@pytest.fixture
def strategy(account: Account) -> Strategy:
    return make_strategy(account, leg={"stop_loss_per_order": D(2)})


def waiting_order(strategy: Strategy, verdict: Verdict = OPEN, alarm_id: int = 1) -> Order:
    decision = carry_out(strategy, AlarmFacts(alarm_id, "long", timezone.now()), verdict)
    return decision.orders.get()


def run(strategy: Strategy) -> None:
    execution.run_lane(Lane.objects.get(account=strategy.account, symbol=strategy.symbol))


@contextmanager
def no_turns(account: Account) -> Iterator[None]:
    """Leave no place for orders at our address for a while; afterwards the pause that followed from it is over."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(pacing.ENDPOINT_AT_ADDRESS, 3, (0, 10))
        yield
    account.lanes.update(paused_until=None)


def test_an_order_without_a_turn_waits_unsent_and_goes_with_the_same_id(
    strategy: Strategy, paper: PaperExchange
) -> None:
    order = waiting_order(strategy)
    with no_turns(strategy.account):
        run(strategy)
        order.refresh_from_db()
        assert (order.status, order.submitted_at) == (OrderStatus.CREATED, None)
        assert paper.ledger() == []
        paused_until = Lane.objects.get(pk=order.lane_id).paused_until
        assert paused_until is not None
        assert paused_until <= timezone.now() + timedelta(seconds=11)
    run(strategy)
    order.refresh_from_db()
    assert order.status == OrderStatus.FILLED
    assert [each["client_order_id"] for each in paper.ledger()] == [order.client_order_id]


def test_an_exit_without_a_turn_leaves_its_stop_standing_and_goes_later(
    strategy: Strategy, paper: PaperExchange
) -> None:
    entry = waiting_order(strategy)
    run(strategy)
    protect(Operation.objects.get(pk=entry.operation_id))
    stop = Order.objects.get(role=Order.Role.STOP_LOSS)
    assert stop.status == OrderStatus.ACCEPTED
    order = waiting_order(strategy, CLOSE, 2)
    with no_turns(strategy.account):
        run(strategy)
        order.refresh_from_db()
        stop.refresh_from_db()
        assert (order.status, stop.status) == (OrderStatus.CREATED, OrderStatus.ACCEPTED)
    run(strategy)
    order.refresh_from_db()
    stop.refresh_from_db()
    assert (order.status, stop.status) == (OrderStatus.FILLED, OrderStatus.CANCELED)
    assert paper.positions() == []


def test_a_stop_without_a_turn_is_placed_by_the_next_round(strategy: Strategy, paper: PaperExchange) -> None:
    entry = waiting_order(strategy)
    run(strategy)
    with no_turns(strategy.account):
        protect(Operation.objects.get(pk=entry.operation_id))
        assert Order.objects.get(role=Order.Role.STOP_LOSS).status == OrderStatus.CREATED
    protect(Operation.objects.get(pk=entry.operation_id))
    assert Order.objects.get(role=Order.Role.STOP_LOSS).status == OrderStatus.ACCEPTED
    assert len(paper.ledger()) == 2


def test_an_order_that_is_sent_again_without_a_turn_keeps_the_time_of_its_first_sending(
    strategy: Strategy, paper: PaperExchange
) -> None:
    order = waiting_order(strategy)
    paper.control("faults", orders={"reset_before": 1})
    run(strategy)
    order.refresh_from_db()
    assert order.status == OrderStatus.SUBMITTED
    paper.control("faults", orders=None)
    first_sent_at = order.submitted_at
    again = Order.objects.select_related("lane__account", "operation__strategy", "decision").get(pk=order.pk)
    with no_turns(strategy.account), pytest.raises(RateLimited):
        execution.resend(again)
    order.refresh_from_db()
    assert (order.status, order.submitted_at) == (OrderStatus.SUBMITTED, first_sent_at)
    assert paper.ledger() == []
    execution.resend(again)
    order.refresh_from_db()
    assert order.status == OrderStatus.FILLED
    assert [each["client_order_id"] for each in paper.ledger()] == [order.client_order_id]
