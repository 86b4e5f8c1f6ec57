"""R38: take one law of the engine away, and what it protects breaks.

Each test plays its scenario twice: first under the law, then without it. The exchange forgets client order ids here, as
the weakest one that we prepare for does, so that nothing but our own laws stands between a retry and a second order.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal as D
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.utils import timezone

from alarms import intake
from alarms.models import Alarm
from exchange.connection import connect
from exchange.errors import OrderNotFound
from exchange.models import Account
from exchange.types import Market, ReportStatus
from operations import execution, killswitch, lifecycle, limits, protection, reconcile, transitions
from operations.lifecycle import AlarmFacts, carry_out
from operations.models import Decision, KillSwitch, Lane, Operation, Order, OrderEvent
from operations.states import OrderStatus
from operations.tests.perils import Perils
from pelusa import doorbell
from pelusa.livesystem import free_port
from pelusa.testing import DATABASES, PaperExchange, alarm_body, list_instruments, make_account, make_strategy
from strategies.models import Strategy
from strategies.rules import Verdict

pytestmark = pytest.mark.django_db(databases=DATABASES, transaction=True)

OPEN = Verdict("open", "entry", {"leg": "long"})
CLOSE = Verdict("close", "exit", {"leg": "long"})
Remove = Callable[[], None]


@pytest.fixture
def account(paper: PaperExchange, perils: Perils) -> Account:
    list_instruments()
    account = make_account()
    forget_client_order_ids(paper)
    return account


@pytest.fixture
def strategy(account: Account) -> Strategy:
    return make_strategy(account, max_alarm_age=3600, leg={"pyramiding": 9})


def forget_client_order_ids(paper: PaperExchange, **faults: Any) -> None:
    paper.control("faults", reset=True, dedupe="none", **faults)


def decide(strategy: Strategy, verdict: Verdict = OPEN) -> Order:
    alarm_id = Decision.objects.count() + 1
    return carry_out(strategy, AlarmFacts(alarm_id, "long", timezone.now()), verdict).orders.get()


def run(strategy: Strategy) -> None:
    execution.run_lane(Lane.objects.get(account=strategy.account, symbol=strategy.symbol))


def again(order: Order) -> Order:
    return Order.objects.select_related("lane__account", "operation__strategy", "decision").get(pk=order.pk)


def settle(order: Order, *, times: int = 1, apart: float = 3, perils: Perils) -> None:
    for _ in range(times):
        reconcile.settle(again(order))
        pass_time(perils, apart)


def pass_time(perils: Perils, seconds: float) -> None:
    perils.offset += timedelta(seconds=seconds)


def times_executed(paper: PaperExchange, order: Order) -> int:
    return sum(row["client_order_id"] == order.client_order_id for row in paper.ledger())


# Unknown is not failed


def test_without_the_fence_a_late_request_doubles_the_order(
    strategy: Strategy, paper: PaperExchange, perils: Perils, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask_while_it_is_on_its_way() -> int:
        perils.is_next_order_late = True
        order = decide(strategy)
        run(strategy)
        settle(order, times=2, apart=2.1, perils=perils)
        perils.deliver_late()
        settle(order, times=2, apart=8, perils=perils)
        return times_executed(paper, order)

    assert ask_while_it_is_on_its_way() == 1
    monkeypatch.setattr(reconcile, "fence_of", lambda order: order.submitted_at)
    assert ask_while_it_is_on_its_way() == 2


def test_without_the_committed_time_stamp_a_process_that_paused_doubles_the_order(
    strategy: Strategy, paper: PaperExchange, perils: Perils, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pause_between_commit_and_wire() -> int:
        paused: list[tuple[Any, ...]] = []
        order = decide(strategy)
        with monkeypatch.context() as while_paused:
            while_paused.setattr(execution, "_send", lambda *args: paused.append(args))
            run(strategy)
        pass_time(perils, 12)
        settle(order, times=2, perils=perils)
        assert again(order).status == OrderStatus.FILLED, "sent again behind the fence"
        execution._send(*paused.pop())
        return times_executed(paper, order)

    assert pause_between_commit_and_wire() == 1
    signed = execution.request_of
    monkeypatch.setattr(execution, "request_of", lambda order: replace(signed(order), signed_at=timezone.now()))
    assert pause_between_commit_and_wire() == 2


def test_without_asking_first_an_order_whose_answer_was_lost_is_doubled(
    strategy: Strategy, paper: PaperExchange, perils: Perils, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose_the_answer() -> int:
        forget_client_order_ids(paper, orders={"reset_after": 1})
        order = decide(strategy)
        run(strategy)
        forget_client_order_ids(paper)
        pass_time(perils, 12)
        settle(order, times=2, perils=perils)
        return times_executed(paper, order)

    def assume_that_it_never_arrived(*args: object) -> None:
        raise OrderNotFound("not asked")

    assert lose_the_answer() == 1
    monkeypatch.setattr(reconcile, "_ask", assume_that_it_never_arrived)
    monkeypatch.setattr(reconcile, "_find_elsewhere", lambda *args: None)
    assert lose_the_answer() == 2


def test_without_the_second_miss_a_look_up_that_lags_once_doubles_the_order(
    strategy: Strategy, paper: PaperExchange, perils: Perils, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lag_at_the_first_look() -> int:
        forget_client_order_ids(paper, orders={"reset_after": 1})
        order = decide(strategy)
        run(strategy)
        pass_time(perils, 12)
        forget_client_order_ids(paper, lookup_lag_ms=600_000, lag_everywhere=True)
        settle(order, perils=perils)
        forget_client_order_ids(paper)
        settle(order, perils=perils)
        return times_executed(paper, order)

    assert lag_at_the_first_look() == 1
    monkeypatch.setattr(reconcile, "MISSES_THAT_PROVE", 1)
    assert lag_at_the_first_look() == 2


def test_without_the_guard_on_the_attempt_a_late_refusal_loses_the_order(
    strategy: Strategy, paper: PaperExchange, perils: Perils, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse_the_first_sending_after_the_second() -> tuple[int, str]:
        paused: list[tuple[Any, ...]] = []
        order = decide(strategy)
        with monkeypatch.context() as while_paused:
            while_paused.setattr(execution, "_send", lambda *args: paused.append(args))
            run(strategy)
        pass_time(perils, 12)
        settle(order, perils=perils)
        forget_client_order_ids(paper, orders={"reset_after": 1})
        settle(order, perils=perils)
        forget_client_order_ids(paper)
        with monkeypatch.context() as without_network:
            without_network.setitem(settings.BINGX_URLS, "paper", f"http://127.0.0.1:{free_port()}")
            execution._send(paused.pop()[0], connect(again(order).lane.account))
        settle(order, perils=perils)
        return times_executed(paper, order), again(order).status

    assert refuse_the_first_sending_after_the_second() == (1, OrderStatus.FILLED)
    real = transitions.move
    monkeypatch.setattr(execution, "move", lambda *args, of_attempt=False, **columns: real(*args, **columns))
    assert refuse_the_first_sending_after_the_second() == (1, OrderStatus.REJECTED)


# One winner


class Careless:
    """`Order` for whoever updates by primary key alone."""

    Role = Order.Role
    objects = SimpleNamespace(filter=lambda *, pk, **guards: Order.objects.filter(pk=pk))


def test_without_the_guarded_update_a_stale_report_loses_what_was_filled(
    strategy: Strategy, paper: PaperExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_down_an_old_report() -> D:
        forget_client_order_ids(paper, orders={"reset_after": 1})
        order = decide(strategy)
        run(strategy)
        forget_client_order_ids(paper)
        slow = again(order)
        filled = connect(slow.lane.account).order(Market.USDTM, "BTC-USDT", client_order_id=order.client_order_id)
        reconcile.settle(again(order))
        half = replace(filled, status=ReportStatus.PARTIALLY_FILLED, filled_quantity=filled.filled_quantity / 2)
        transitions.apply_report(slow, half, source="query")
        return again(order).filled_quantity

    assert write_down_an_old_report() == D("0.01")
    monkeypatch.setattr(transitions, "Order", Careless)
    assert write_down_an_old_report() == D("0.005")


@contextmanager
def without_constraint(name: str) -> Iterator[None]:
    constraints = Decision._meta.constraints
    removed = next(each for each in constraints if each.name == name)
    # SQLite makes the table anew from what the model says
    Decision._meta.constraints = [each for each in constraints if each is not removed]
    with connection.schema_editor() as editor:
        editor.remove_constraint(Decision, removed)
    try:
        yield
    finally:
        for table in (OrderEvent, Order, Decision):
            table.objects.all()._raw_delete("default")  # type: ignore[attr-defined]
        Decision._meta.constraints = constraints
        with connection.schema_editor() as editor:
            editor.add_constraint(Decision, removed)


def test_without_the_unique_decision_two_routers_at_once_double_the_order(
    strategy: Strategy, paper: PaperExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = AlarmFacts(1, "long", timezone.now())
    looked_too_early = SimpleNamespace(first=lambda *alarm_and_strategy: None)
    monkeypatch.setattr(lifecycle, "_DECIDED", looked_too_early)
    carry_out(strategy, facts, OPEN)
    with pytest.raises(IntegrityError):
        carry_out(strategy, facts, OPEN)
    with without_constraint("strategy_decides_once_on_an_alarm"):
        carry_out(strategy, facts, OPEN)
        run(strategy)
        assert len(paper.ledger()) == 2


def test_without_the_head_of_the_lane_a_later_order_overtakes(
    account: Account, paper: PaperExchange, perils: Perils, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier, later = (make_strategy(account, name=name, leg={"pyramiding": 9}) for name in ("earlier", "later"))

    def lose_the_first_of_two() -> list[str]:
        perils.is_next_order_late = True
        orders = [decide(earlier), decide(later)]
        run(earlier)
        run(later)
        perils.deliver_late()
        settle(orders[0], perils=perils)
        run(later)
        wanted = [order.client_order_id for order in orders]
        return [name for name in (row["client_order_id"] for row in paper.ledger()) if name in wanted] == wanted

    def whatever_waits(lane: Lane, **_: bool) -> Order | None:
        waiting = lane.orders.filter(status=OrderStatus.CREATED).order_by("id")
        return waiting.select_related("lane__account", "operation__strategy", "decision").first()

    assert lose_the_first_of_two()
    monkeypatch.setattr(execution, "next_order", whatever_waits)
    assert not lose_the_first_of_two()


# Before the wire


def test_without_the_second_look_at_its_age_an_entry_is_sent_into_another_market(
    account: Account, paper: PaperExchange, perils: Perils, monkeypatch: pytest.MonkeyPatch
) -> None:
    strategy = make_strategy(account, max_alarm_age=60)

    def wait_too_long() -> int:
        order = decide(strategy)
        pass_time(perils, 61)
        run(strategy)
        return times_executed(paper, order)

    assert wait_too_long() == 0
    monkeypatch.setattr(limits, "_age_denial", lambda *args: None)
    assert wait_too_long() == 1


def test_without_the_switch_being_read_at_the_claim_an_entry_is_sent_after_it_was_pulled(
    strategy: Strategy, paper: PaperExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pull_while_an_entry_is_prepared() -> int:
        order = decide(strategy)
        prepare = execution.prepare

        def prepare_slowly(*args: Any) -> Any:
            prepared = prepare(*args)
            killswitch.pull(None, "trader", "enough")
            return prepared

        with monkeypatch.context() as slow:
            slow.setattr(execution, "prepare", prepare_slowly)
            run(strategy)
        KillSwitch.objects.update(is_on=False)
        return times_executed(paper, order)

    assert pull_while_an_entry_is_prepared() == 0
    monkeypatch.setattr(killswitch, "pulled_switch", lambda account_id: None)
    assert pull_while_an_entry_is_prepared() == 1


def test_without_the_release_of_its_stop_a_closed_operation_sells_another_ones_share(
    account: Account, paper: PaperExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    near = make_strategy(account, name="near", leg={"stop_loss_per_order": D(1), "pyramiding": 9})
    far = make_strategy(account, name="far", leg={"stop_loss_per_order": D(50), "pyramiding": 9})
    decide(far)
    run(far)

    def close_and_let_the_price_fall() -> list[D]:
        decide(near)
        run(near)
        protection.protect(Operation.objects.filter(strategy=near, status="open").get())
        decide(near, CLOSE)
        run(near)
        paper.control("prices", **{"BTC-USDT": "49000"})
        paper.control("prices", **{"BTC-USDT": "50000"})
        return [D(row["quantity"]) for row in paper.positions()]

    assert close_and_let_the_price_fall() == [D("0.01")]
    monkeypatch.setattr(execution, "release_protection", lambda order, client: True)
    assert close_and_let_the_price_fall() == []
    assert Operation.objects.get(strategy=far).held_quantity == D("0.01")


# The bell


def test_without_robust_a_broken_bell_tells_the_sender_that_a_stored_alarm_failed(
    strategy: Strategy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_the_bell(task: str, row_id: int, group: str = "") -> None:
        raise ConnectionError("the broker is away")

    def deliver() -> int:
        client = Client(raise_request_exception=False)
        answer = client.post(f"/webhook/{settings.WEBHOOK_SECRETS[0]}", alarm_body(), content_type="text/plain")
        return answer.status_code

    monkeypatch.setattr(doorbell._doorbell, "ring", break_the_bell)
    assert deliver() == 200
    monkeypatch.setattr(intake, "ring_on_commit", ring_but_not_robustly)
    assert deliver() == 500
    assert Alarm.objects.count() == 2


def ring_but_not_robustly(task: str, row_id: int, *, using: str, group: str = "") -> None:
    transaction.on_commit(partial(doorbell._doorbell.ring, task, row_id), using=using)


def test_without_using_the_bell_rings_for_an_order_that_nobody_can_see_yet(
    strategy: Strategy, perils: Perils, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bells_before_the_commit() -> int:
        perils.bells.clear()
        with transaction.atomic():
            decide(strategy)
            return len(perils.bells)

    assert bells_before_the_commit() == 0
    real = lifecycle.ring_on_commit
    monkeypatch.setattr(lifecycle, "ring_on_commit", lambda task, row_id, using: real(task, row_id, using="market"))
    assert bells_before_the_commit() == 1
