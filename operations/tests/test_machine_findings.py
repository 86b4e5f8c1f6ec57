"""What the state machine found, each as the shortest story that shows it."""

from decimal import Decimal as D

import pytest
from django.utils import timezone

from exchange.models import Account
from operations import execution, protection
from operations.lifecycle import AlarmFacts, carry_out
from operations.models import Lane, Operation, Order
from pelusa.testing import DATABASES, PaperExchange, list_instruments, make_account, make_strategy
from strategies.models import Strategy
from strategies.rules import Verdict

pytestmark = pytest.mark.django_db(databases=DATABASES)

OPEN = Verdict("open", "entry", {"leg": "long"})
CLOSE = Verdict("close", "exit", {"leg": "long"})


@pytest.fixture
def account(paper: PaperExchange) -> Account:
    list_instruments()
    return make_account()


def decide(strategy: Strategy, verdict: Verdict = OPEN, *, alarm_id: int = 1) -> Order:
    return carry_out(strategy, AlarmFacts(alarm_id, "long", timezone.now()), verdict).orders.get()


def run(strategy: Strategy) -> None:
    execution.run_lane(Lane.objects.get(account=strategy.account, symbol=strategy.symbol))


def test_an_operation_that_ended_while_it_lacked_its_stop_is_not_uncovered_for_ever(
    account: Account, paper: PaperExchange
) -> None:
    strategy = make_strategy(account, leg={"stop_loss_per_order": D(1)})
    decide(strategy)
    run(strategy)
    paper.control("faults", reject_stops={"code": 101415, "msg": "suspended"})
    protection.look_after(account)
    assert Operation.objects.get().uncovered_since
    decide(strategy, CLOSE, alarm_id=2)
    run(strategy)
    assert Operation.objects.get().status == Operation.Status.CLOSED
    protection.look_after(account)
    assert Operation.objects.get().uncovered_since is None


def test_a_late_note_does_not_take_an_orders_history_back(account: Account, paper: PaperExchange) -> None:
    strategy = make_strategy(account)
    order = decide(strategy)
    slow = Order.objects.get(pk=order.pk)
    run(strategy)
    execution.note(slow, "cancel: no answer within 5 s")
    assert [event.status for event in order.events.all()] == ["created", "submitted", "filled", "filled"]
