"""R12: killed at every step between the alarm and the fill; what remains is taken up by the sweeps, once."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from alarms import intake, routing
from alarms import tasks as alarm_tasks
from alarms.models import Alarm
from exchange.bingx import BingX
from operations import execution, lifecycle, reconcile, transitions
from operations import tasks as operation_tasks
from operations.models import Lane, Operation, Order
from operations.states import CLOSED
from pelusa import doorbell
from pelusa.testing import DATABASES, PaperExchange, alarm_body, list_instruments, make_account, make_strategy

pytestmark = pytest.mark.django_db(databases=DATABASES, transaction=True)


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it, and what was not committed is rolled back."""


# Each names a call of the way; the process dies before it or right after it
STEPS: dict[str, tuple[Any, str]] = {
    "the bell of the alarm": (intake, "ring_on_commit"),
    "the routing of the alarm": (routing, "_route"),
    "the decision": (routing, "decide_on"),
    "the decision's rows": (routing, "carry_out"),
    "the order's row": (lifecycle, "_create_order"),
    "the alarm's status": (routing, "_finish"),
    "the preparation": (execution, "prepare"),
    "the claim": (execution, "_claim"),
    "the sending": (execution, "_send"),
    "the wire": (BingX, "place_order"),
    "the answer": (execution, "apply_report"),
    "the move": (transitions, "check_transition"),
    "the operation's share": (transitions, "refresh_share"),
    "the fills": (BingX, "fills"),
    "the fills' rows": (reconcile, "_has_all"),
    "the figures": (reconcile, "_refigure"),
}


@pytest.fixture(autouse=True)
def no_bells(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sweeps must be able to do all the work alone."""
    monkeypatch.setattr(doorbell._doorbell, "ring", lambda task, row_id, group="": None)


def kill_once(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, *, after: bool) -> list[str]:
    """Let the first call of a step be the process's last, before it or after it; return where deaths are noted."""
    real: Callable[..., Any] = getattr(owner, name)
    deaths: list[str] = []

    def step(*args: Any, **kwargs: Any) -> Any:
        if deaths:
            return real(*args, **kwargs)
        if after:
            real(*args, **kwargs)
        deaths.append(name)
        raise Killed

    monkeypatch.setattr(owner, name, step)
    return deaths


def sweeps() -> Iterator[Callable[[], None]]:
    """Yield what the sweeps do, one act a call: each may be where the process dies."""
    for pair in Alarm.objects.filter(status=Alarm.Status.RECEIVED).values_list("pair", flat=True).distinct():
        yield lambda pair=pair: routing.route_pair(pair)
    for lane in Lane.objects.select_related("account"):
        yield lambda lane=lane: execution.run_lane(lane)
    for order in Order.objects.filter(status__in=["submitted", "accepted"]):
        yield lambda order=order: operation_tasks.settle_order(order.pk)
    for order in Order.objects.filter(has_all_fills=False, filled_quantity__gt=0, status__in=CLOSED):
        yield lambda order=order: operation_tasks.collect_fills(order.pk)


def sweep_until_rest() -> None:
    """Sweep again and again, as beat does, surviving deaths, while time passes."""
    for _ in range(12):
        for act in sweeps():
            try:
                act()
            except Killed:
                continue
        pass_time()


def pass_time() -> None:
    """Let twelve seconds pass for what is in flight."""
    earlier = timedelta(seconds=12)
    for order in Order.objects.filter(status="submitted"):
        missed_at = order.missed_at - earlier if order.missed_at else None
        Order.objects.filter(pk=order.pk).update(submitted_at=order.submitted_at - earlier, missed_at=missed_at)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_killed_at_a_step_the_round_trip_still_happens_once(
    paper: PaperExchange, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    list_instruments()
    make_strategy(make_account(), max_alarm_age=3600)
    owner, name = STEPS[step]
    deaths = kill_once(monkeypatch, owner, name, after=after)
    for order in ("order open long", "order close long"):
        deliver(alarm_body(order))
        sweep_until_rest()
    assert deaths, f"nothing ever reached {name}"
    check_round_trip(paper)


def deliver(body: bytes) -> None:
    """Deliver as TradingView does: again, when no answer came."""
    for _ in range(2):
        try:
            intake.record_alarm(body, "127.0.0.1")
        except Killed:
            continue
        return


def check_round_trip(paper: PaperExchange) -> None:
    assert [row["side"] for row in paper.ledger()] == ["BUY", "SELL"]
    assert paper.positions() == []
    assert list(Order.objects.order_by("id").values_list("role", "status", "has_all_fills")) == [
        ("ENTRY", "filled", True),
        ("EXIT", "filled", True),
    ]
    operation = Operation.objects.get()
    assert (operation.status, operation.held_quantity) == (Operation.Status.CLOSED, 0)
    assert operation.avg_entry_price == operation.avg_exit_price == 50000
    assert not Alarm.objects.filter(status=Alarm.Status.RECEIVED).exists()
    assert Alarm.objects.exclude(status=Alarm.Status.DUPLICATE).count() == 2


def test_the_sweeps_find_what_waits(paper: PaperExchange, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sweeps above are called one by one; this one shows that the tasks which beat runs find the same rows."""
    list_instruments()
    make_strategy(make_account(), max_alarm_age=3600)
    rung: list[str] = []
    monkeypatch.setattr(doorbell._doorbell, "ring", lambda task, row_id, group="": rung.append(task))
    intake.record_alarm(alarm_body(), "127.0.0.1")
    Alarm.objects.update(received_at=timezone.now() - timedelta(seconds=2))
    alarm_tasks.sweep_alarms()
    Order.objects.update(created_at=timezone.now() - timedelta(seconds=2))
    rung.clear()
    operation_tasks.sweep_lanes()
    assert rung == ["operations.tasks.run_lane"]
