"""R37: chance drives the engine against the exchange's faults, deaths, sleeps and late requests; the laws hold.

`PELUSA_MACHINE_EXAMPLES=1000` runs as many examples with chances of their own; `PELUSA_MACHINE_SEED` repeats a run.
"""

import os
import secrets
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from decimal import Decimal
from functools import partial
from itertools import count
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from alarms import tasks as alarm_tasks
from alarms.intake import record_alarm
from alarms.models import Alarm
from exchange.connection import connect
from exchange.models import Account
from exchange.types import Market, PositionMode
from market.instruments import refresh
from operations import killswitch
from operations import tasks as operation_tasks
from operations.lifecycle import NothingToClose, close_by_hand
from operations.models import (
    Decision,
    Fill,
    KillSwitch,
    Lane,
    Notice,
    Operation,
    Order,
    OrderEvent,
)
from operations.tests.oracle import IN_TURN, OPEN_THERE, Books, check_always, check_at_rest, unrest
from operations.tests.perils import Perils
from pelusa.celery import app
from pelusa.testing import DATABASES, PaperExchange, alarm_body, make_account, make_strategy, wait_until
from strategies.models import Leg, Strategy

EXAMPLES = int(os.environ.get("PELUSA_MACHINE_EXAMPLES", "0"))
SEED = int(os.environ.get("PELUSA_MACHINE_SEED", "0")) or secrets.randbits(32)
FEW_EXAMPLES = 15
STEPS = 30

Signal = tuple[str, str, str]
ALARMS = st.sampled_from(
    [
        ("one", "BTCUSDT.P", "long"),
        ("one", "BTCUSDT.P", "short"),
        ("two", "ETHUSDT.P", "long"),
        ("coins", "BTCUSD.P", "long"),
        ("spot", "BTCUSDT", "long"),
    ]
)
PRICES = {"BTC-USDT": 50000, "ETH-USDT": 3000, "BTC-USD": 50000}
AFTER = ["timeout_after", "reset_after", "gateway_after", "garbage_after", "codeless_after", "busy_after"]
BEFORE = ["lost_before", "reset_before", "busy_before", "rate_limit"]
SUSPENDED = {"code": 101415, "msg": "suspended"}
QUIRKS = [
    {"dedupe": "none"},
    {"dedupe": "one-second"},
    {"lookup_lag_ms": 600_000},
    {"lookup_lag_ms": 600_000, "lag_everywhere": True},
    {"stale_cancel": 1.0},
    {"bare_order": 1.0},
    {"partial_fills": {"slices": 3, "every_ms": 0}},
    {"partial_fills": {"slices": 3, "every_ms": 30}},
    {"reject_entries": {"code": 101204, "msg": "Insufficient margin"}},
    {"reject_exits": SUSPENDED},
    {"reject_stops": SUSPENDED},
]
Peril = tuple[str, int] | None
PERILS: st.SearchStrategy[Peril] = st.one_of(
    st.none(),
    st.tuples(st.just("dies"), st.integers(1, 90)),
    st.tuples(st.just("sleeps"), st.integers(1, 16)),
    st.tuples(st.sampled_from(["is late", "reset_before"]), st.just(0)),
    st.tuples(st.sampled_from(AFTER + BEFORE), st.just(0)),
)
MOST_SLEEPERS = 3
BELLS = st.integers(0, 8)
SWEEPS = [
    entry["task"] for entry in app.conf.beat_schedule.values() if entry["task"].startswith(("alarms.", "operations."))
]
# In the order of what points at what
TABLES = [OrderEvent, Fill, Order, Notice, Decision, Operation, Lane, KillSwitch]
Task = Callable[..., Any]


def task_of(name: str) -> Task:
    module = alarm_tasks if name.startswith("alarms.") else operation_tasks
    return getattr(module, name.rpartition(".")[2], lambda *ids: None)


class Machine(RuleBasedStateMachine):
    """One trader with two accounts, seven strategies on six lanes, and everything that can go wrong."""

    bodies = Bundle("bodies")

    def __init__(self, paper: PaperExchange, perils: Perils) -> None:
        super().__init__()
        self.paper, self.perils = paper, perils
        self.faults: dict[str, Any] = {}
        self.distinct: set[bytes] = set()
        self.numbers = count()
        self.steps_since_rest = 0
        forget_everything(paper, perils)

    # What the world does

    @initialize(target=bodies, alarm=ALARMS)
    def first_alarm(self, alarm: Signal) -> bytes:
        return self.alarm(alarm, "open", None, 5)

    @rule(target=bodies, alarm=ALARMS, deed=st.sampled_from(["open", "open", "close"]), peril=PERILS, bells=BELLS)
    def alarm(self, alarm: Signal, deed: str, peril: Peril, bells: int) -> bytes:
        name, ticker, leg = alarm
        moment = timezone.now() - timedelta(seconds=5) + timedelta(milliseconds=next(self.numbers))
        body = alarm_body(f"order {deed} {leg}", at=moment, ticker=ticker, Strategy=name)
        with self._in_peril(peril):
            self._deliver(body)
            self._answer(bells)
        return body

    @rule(alarm=ALARMS, peril=PERILS, bells=BELLS)
    def flip(self, alarm: Signal, peril: Peril, bells: int) -> None:
        self.alarm(alarm, "close", None, 0)
        self.alarm(alarm, "open", peril, bells)

    @rule(body=bodies, peril=PERILS)
    def resend(self, body: bytes, peril: Peril) -> None:
        with self._in_peril(peril):
            self._deliver(body)

    def _deliver(self, body: bytes) -> None:
        """Deliver as TradingView does: again, when no answer came."""
        self.distinct.add(body)
        while not self.perils.run(lambda: record_alarm(body, "127.0.0.1")):
            pass

    @rule(seconds=st.sampled_from([1, 2, 4, 8, 12, 12, 61, 400]))
    def time_passes(self, seconds: int) -> None:
        self.perils.offset += timedelta(seconds=seconds)
        # The look-up may lag, but not longer than the fence waits
        self.faults.pop("lag_everywhere", None)
        self._apply_faults()

    @rule(
        symbol=st.sampled_from(list(PRICES)), permille=st.sampled_from([-30, -12, 0, 12, 30]), rounds=st.integers(0, 1)
    )
    def price_moves(self, symbol: str, permille: int, rounds: int) -> None:
        self.paper.control("prices", **{symbol: str(PRICES[symbol] * (1000 + permille) // 1000)})
        self.sweep_everything(None, rounds)

    # What fails

    @rule(
        group=st.sampled_from(["orders", "orders", "cancels", "lookups", "account", "market", "all"]),
        kind=st.sampled_from(AFTER + BEFORE),
        odds=st.sampled_from([0.4, 1.0]),
    )
    def fault(self, group: str, kind: str, odds: float) -> None:
        self.faults[group] = {**self.faults.get(group, {}), kind: odds}
        self._apply_faults()

    @rule(quirk=st.sampled_from(QUIRKS))
    def quirk(self, quirk: dict[str, Any]) -> None:
        self.faults |= quirk
        self._apply_faults()

    @rule()
    def faults_end(self) -> None:
        self.faults = {}
        self._apply_faults()

    def _apply_faults(self, **more: Any) -> None:
        # Opens the endpoints that a rate limit has shut, too
        self.paper._session.delete(f"{self.paper.url}/paper/faults", timeout=10)
        switches = self.faults | more
        if switches:
            self.paper.control("faults", seed=next(self.numbers), hold_ms=20, rate_limit_ms=30_000, **switches)

    @contextmanager
    def _in_peril(self, peril: Peril) -> Iterator[None]:
        """Let one thing go wrong while the block runs; who fell asleep goes on sleeping."""
        kind, steps = peril or ("", 0)
        if kind == "dies":
            self.perils.steps_to_death = steps
        elif kind == "sleeps" and len(self.perils.sleepers) < MOST_SLEEPERS:
            self.perils.steps_to_sleep = steps
        elif kind == "is late":
            self.perils.is_next_order_late = True
        elif kind in AFTER + BEFORE:
            self._apply_faults(orders={kind: 1.0})
        try:
            yield
        finally:
            self.perils.calm()
            if kind in AFTER + BEFORE:
                self._apply_faults()

    # No precondition may depend on what our processes did: they are not the same twice to the millisecond

    @rule()
    def wake(self) -> None:
        if self.perils.sleepers:
            self.perils.sleepers.pop(0).wake()

    @rule()
    def late_orders_arrive(self) -> None:
        self.perils.deliver_late()

    @rule()
    def bells_are_lost(self) -> None:
        self.perils.bells.clear()

    # What the trader does

    @rule(is_all=st.booleans(), wakes=st.booleans())
    def the_kill_switch_is_on_for_a_while(self, is_all: bool, wakes: bool) -> None:
        account = None if is_all else Account.objects.get(name="hedging")
        killswitch.pull(account, "trader", "to see what happens")
        pulled_at = timezone.now()
        self.sweep_everything(None, 1)
        if wakes:
            self.perils.wake_all()
        submitted = OrderEvent.objects.filter(source="us", status="submitted", order__role=Order.Role.ENTRY)
        if account:
            submitted = submitted.filter(order__lane__account=account)
        late = list(submitted.filter(at__gt=pulled_at).select_related("order"))
        assert not late, f"sent after the kill switch was pulled: {[each.order for each in late]}"
        killswitch.release(account, "trader", "seen enough")

    @rule(number=st.integers(0, 5), peril=PERILS, bells=BELLS)
    def close_by_hand(self, number: int, peril: Peril, bells: int) -> None:
        live = list(Operation.objects.filter(status__in=Operation.STACKABLE).order_by("id")[:6])
        if live:
            with self._in_peril(peril):
                self.perils.run(lambda: _close_by_hand(live[number % len(live)]))
                self._answer(bells)

    # What our processes do

    @rule(peril=PERILS, bells=BELLS)
    def work(self, peril: Peril, bells: int) -> None:
        with self._in_peril(peril):
            self._answer(bells)

    def _answer(self, bells: int) -> None:
        """Answer that many bells, oldest first; who dies on the way takes the bell along."""
        for _ in range(min(bells, len(self.perils.bells))):
            name, row_id = self.perils.bells.popleft()
            self.perils.run(partial(task_of(name), row_id))

    @rule(peril=PERILS, name=st.sampled_from(SWEEPS), bells=BELLS)
    def sweep(self, peril: Peril, name: str, bells: int) -> None:
        with self._in_peril(peril):
            self.perils.run(task_of(name))
            self._answer(bells)

    @rule(peril=PERILS, rounds=st.integers(1, 2))
    def sweep_everything(self, peril: Peril, rounds: int) -> None:
        with self._in_peril(peril):
            for name in SWEEPS * rounds:
                self.perils.run(task_of(name))
                while self.perils.bells:
                    self._answer(1)

    # What must hold

    @invariant()
    def the_laws_hold(self) -> None:
        self.steps_since_rest += 1
        check_always(Books(self.paper))
        self._check_alarms()

    def _check_alarms(self) -> None:
        stored = Alarm.objects.exclude(status=Alarm.Status.DUPLICATE).count()
        assert stored == len(self.distinct), f"{len(self.distinct)} alarms were sent, {stored} stored"

    @precondition(lambda self: self.steps_since_rest > STEPS // 3)
    @rule()
    def all_heals(self) -> None:
        """The faults end and everything comes to rest, whatever happened; then life goes on."""
        self.steps_since_rest = 0
        self.faults_end()
        self.perils.deliver_late()
        self.perils.wake_all()
        for _ in range(60):
            wait_until(self._no_order_trickles, what="for partial fills")
            self.sweep_everything(None, 1)
            if not unrest():
                break
            self.perils.offset += timedelta(seconds=12)
        self.the_laws_hold()
        assert not unrest(), f"no rest: {unrest()}"
        check_at_rest(Books(self.paper), self.paper)

    def _no_order_trickles(self) -> bool:
        return not any(row["type"] == "MARKET" and row["status"] in OPEN_THERE for row in self.paper.ledger())

    def teardown(self) -> None:
        # What broke already would only be hidden by what follows from it
        if sys.exception() is None:
            self.all_heals()
            self._count()

    def _count(self) -> None:
        self.perils.tally += Counter(
            {
                "examples": 1,
                "alarms": len(self.distinct),
                "redeliveries": Alarm.objects.filter(status=Alarm.Status.DUPLICATE).count(),
                "orders": Order.objects.count(),
                "orders at the exchange": len(self.paper.ledger()),
                "sent again": OrderEvent.objects.filter(detail__startswith="sent again").count(),
                "never arrived": Order.objects.filter(reason="never_arrived").count(),
                "unknown outcomes": OrderEvent.objects.filter(detail__startswith="outcome unknown").count(),
                "operations": Operation.objects.count(),
                "stops fired": Order.objects.exclude(role__in=IN_TURN).filter(filled_quantity__gt=0).count(),
            }
        )


def _close_by_hand(operation: Operation) -> None:
    with suppress(NothingToClose):
        close_by_hand(operation, "trader")


def forget_everything(paper: PaperExchange, perils: Perils) -> None:
    """Return to where an example begins: accounts, strategies and instruments, and nothing that ever happened."""
    perils.wake_all()
    perils.forget()
    for table in TABLES:
        if table is Order:
            Order.objects.exclude(entry=None)._raw_delete("default")
        table.objects.all()._raw_delete("default")
    Alarm.objects.exclude(original=None)._raw_delete("alarms")
    Alarm.objects.all()._raw_delete("alarms")
    Strategy.objects.update(is_active=True)
    Account.objects.update(position_mode_read_at=None)
    paper.start_over()
    paper.control("prices", **{symbol: str(price) for symbol, price in PRICES.items()})
    for account in Account.objects.filter(name="netting"):
        connect(account).set_position_mode(PositionMode.ONE_WAY)


def make_world() -> None:
    """Two accounts, one of them one-way; strategies that share lanes, alarms and legs, with and without stops."""
    for market in Market:
        refresh(market)
    hedging, netting = make_account("hedging"), make_account("netting", position_mode=Account.Mode.ONE_WAY)
    each = {"stop_loss_per_order": Decimal(1), "take_profit_per_order": Decimal(2)}
    general = {"stop_loss_general": Decimal(1), "take_profit_general": Decimal(2)}
    one = {"alarm_name": "one", "max_alarm_age": 3600}
    first = make_strategy(hedging, name="first", leg={"pyramiding": 3, **each}, **one)
    Leg.objects.create(strategy=first, name="short", entry_interval="5m", close_interval="5m", size="0.01", **each)
    make_strategy(hedging, name="second", leg={"size": Decimal("0.02"), "pyramiding": 2, **general}, **one)
    third = make_strategy(netting, name="third", leg=each, **one | {"max_alarm_age": 60})
    Leg.objects.create(strategy=third, name="short", entry_interval="5m", close_interval="5m", size="0.02", **general)
    two = {"alarm_name": "two", "ticker": "ETHUSDT.P", "symbol": "ETH-USDT", "pair": "ETHUSDT"}
    for account in (hedging, netting):
        make_strategy(account, name=f"bare {account.name}", leg={"size": Decimal("0.5"), "pyramiding": 2}, **two)
    coins = {"alarm_name": "coins", "ticker": "BTCUSD.P", "market": "coinm", "symbol": "BTC-USD", "pair": "BTCUSD"}
    make_strategy(hedging, name="coins", leg={"size": Decimal(5), **each}, **coins)
    spot = {"alarm_name": "spot", "ticker": "BTCUSDT", "market": "spot"}
    make_strategy(hedging, name="spot", leg={"stop_loss_per_order": Decimal(1)}, **spot)


def how_long() -> settings:
    """A few examples that are the same every time; or as many as the environment asks for, with other chances."""
    return settings(
        max_examples=EXAMPLES or FEW_EXAMPLES,
        stateful_step_count=STEPS,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        print_blob=True,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )


@pytest.mark.timeout(600 + 30 * EXAMPLES)
@pytest.mark.django_db(databases=DATABASES, transaction=True)
def test_books_equal_the_exchange_whatever_fails(paper: PaperExchange, perils: Perils) -> None:
    make_world()

    def machine() -> Machine:
        return Machine(paper, perils)

    if EXAMPLES:
        print(f"PELUSA_MACHINE_EXAMPLES={EXAMPLES} PELUSA_MACHINE_SEED={SEED}")  # noqa: T201
        machine = seed(SEED)(machine)
    run_state_machine_as_test(machine, settings=how_long())
    if EXAMPLES:
        print(dict(perils.tally))  # noqa: T201
