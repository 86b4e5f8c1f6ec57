"""R26. The hand on the brake: what it stops, what it lets through; nothing slips past while many workers send."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.utils import timezone

from exchange.connection import connect
from exchange.models import Account
from operations import execution
from operations.killswitch import all_switches, halt, pull, pulled_switch, release
from operations.lifecycle import AlarmFacts, carry_out
from operations.models import Decision, KillSwitch, Lane, Notice, Order, OrderEvent
from operations.preparation import prepare
from operations.states import OrderStatus
from pelusa.testing import DATABASES, PaperExchange, list_instruments, make_account, make_strategy, wait_until
from strategies.models import Strategy
from strategies.reasons import explain
from strategies.rules import Verdict

OPEN = Verdict("open", "entry", {"leg": "long"})
CLOSE = Verdict("close", "exit", {"leg": "long"})
one_process = pytest.mark.django_db(databases=DATABASES)
real_threads = pytest.mark.django_db(transaction=True, databases=DATABASES)


@pytest.fixture
def account(paper: PaperExchange) -> Account:
    list_instruments()
    return make_account()


@pytest.fixture
def strategy(account: Account) -> Strategy:
    return make_strategy(account)


def decide(strategy: Strategy, verdict: Verdict = OPEN, *, alarm_id: int = 0) -> Order:
    number = alarm_id or Decision.objects.count() + 1
    return carry_out(strategy, AlarmFacts(number, "long", timezone.now(), D(50000)), verdict).orders.get()


def trade(strategy: Strategy, verdict: Verdict = OPEN) -> Order:
    order = decide(strategy, verdict)
    execution.run_lane(Lane.objects.get(pk=order.lane_id))
    return Order.objects.select_related("decision").get(pk=order.pk)


def reason_of(order: Order) -> str:
    assert order.status == OrderStatus.DENIED
    assert order.decision
    assert order.decision.outcome == "denied"
    return explain(order.decision.reason, order.decision.facts)


@one_process
def test_a_pulled_switch_denies_entries_and_says_who_and_why(strategy: Strategy, paper: PaperExchange) -> None:
    assert pull(None, "ana", "the exchange behaves oddly")
    assert reason_of(trade(strategy)) == (
        "The kill switch of all accounts is on; ana pulled it: the exchange behaves oddly"
    )
    assert paper.ledger() == []


@one_process
def test_r26_the_claim_looks_once_more(strategy: Strategy, paper: PaperExchange) -> None:
    decided = decide(strategy)
    order = execution.next_order(decided.lane)
    assert order
    prepared = prepare(order, connect(strategy.account))
    assert prepared.denial is None
    pull(None, "ana", "stop")
    assert not execution._claim(order, prepared)
    assert reason_of(Order.objects.get(pk=order.pk)) == "The kill switch of all accounts is on; ana pulled it: stop"
    assert paper.ledger() == []


@one_process
def test_r26_exits_go_on(strategy: Strategy) -> None:
    trade(strategy)
    pull(strategy.account, "ana", "stop")
    assert trade(strategy, CLOSE).status == OrderStatus.FILLED


@one_process
def test_one_accounts_switch_is_not_anothers(account: Account, strategy: Strategy) -> None:
    other = make_strategy(make_account("second"), name="other")
    pull(account, "ana", "stop")
    assert reason_of(trade(strategy)) == "The kill switch of desk is on; ana pulled it: stop"
    assert trade(other).status == OrderStatus.FILLED


@one_process
def test_a_release_opens_what_its_pull_shut_and_no_other(account: Account, strategy: Strategy) -> None:
    pull(None, "ana", "stop")
    pull(account, "ana", "stop")
    assert release(None, "eva", "all is well")
    assert trade(strategy).status == OrderStatus.DENIED
    assert release(account, "eva", "all is well")
    assert trade(strategy).status == OrderStatus.FILLED


@one_process
def test_the_first_to_pull_stays_the_one_who_pulled(account: Account) -> None:
    assert pull(account, "ana", "first")
    assert not pull(account, "eva", "second")
    switch = pulled_switch(account.pk)
    assert switch
    assert (switch.changed_by, switch.reason) == ("ana", "first")
    assert release(account, "eva", "over")
    assert not release(account, "eva", "over")
    assert pulled_switch(account.pk) is None


@one_process
def test_a_reason_must_be_given(account: Account) -> None:
    for act in (pull, release):
        with pytest.raises(ValueError, match="say why"):
            act(account, "ana", "  ")
    assert not KillSwitch.objects.exists()


@one_process
def test_a_notice_stands_as_long_as_the_switch_is_on(account: Account) -> None:
    pull(account, "ana", "stop")
    notice = Notice.objects.get()
    assert (notice.kind, notice.account, notice.ended_at) == ("kill_switch_on", account, None)
    assert explain(notice.kind, notice.facts) == (
        "The kill switch of desk is on: entries are denied, exits go on. ana pulled it: stop"
    )
    release(account, "ana", "over")
    notice.refresh_from_db()
    assert notice.ended_at


@one_process
def test_every_account_has_a_switch_even_if_nobody_ever_touched_it(account: Account) -> None:
    pull(account, "ana", "stop")
    assert [(each.account, each.is_on) for each in all_switches()] == [(None, False), (account, True)]


@one_process
def test_the_environment_halts_entries(strategy: Strategy, settings: Any) -> None:
    settings.PELUSA_HALT = True
    assert reason_of(trade(strategy)) == "Entries are halted from outside by PELUSA_HALT. "


@one_process
def test_a_file_halts_entries_and_its_first_line_says_why(strategy: Strategy, settings: Any, tmp_path: Path) -> None:
    settings.VAR_DIR = tmp_path
    assert halt() is None
    trade(strategy)
    (tmp_path / "HALT").write_text("maintenance\nuntil noon\n")
    assert reason_of(trade(strategy)) == "Entries are halted from outside by the file HALT. maintenance"
    assert trade(strategy, CLOSE).status == OrderStatus.FILLED
    (tmp_path / "HALT").unlink()
    assert trade(strategy).status == OrderStatus.FILLED


@one_process
def test_a_halt_that_cannot_be_read_halts_too(settings: Any, tmp_path: Path) -> None:
    settings.VAR_DIR = tmp_path
    (tmp_path / "HALT").mkdir()
    found = halt()
    assert found
    assert "cannot be read" in found.why
    (tmp_path / "HALT").rmdir()
    (tmp_path / "HALT").touch()
    assert halt()


# On a real server, with real threads


def in_threads(count: int, work: Callable[[int], None]) -> None:
    """Run `work` in so many threads at once; raise what any of them raised."""

    def run(number: int) -> None:
        try:
            work(number)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(count) as pool:
        for done in [pool.submit(run, number) for number in range(count)]:
            done.result()


WORKERS, ACCOUNTS, ENTRIES = 32, 4, 6
SYMBOLS = ["BTC", "ETH", "LTC", "ADA", "SOL", "XRP", "DOGE", "BNB"]
SIZES = {"BTC": "0.001", "ETH": "0.01", "LTC": "0.1", "BNB": "0.02", "DOGE": "100"}


def many_lanes() -> list[Lane]:
    """Make lanes of several accounts, in each of which entries wait."""
    for number in range(ACCOUNTS):
        account = make_account(f"desk {number}")
        for base in SYMBOLS:
            names = {"symbol": f"{base}-USDT", "pair": f"{base}USDT", "ticker": f"{base}USDT.P"}
            leg = {"size": D(SIZES.get(base, "10"))}
            strategy = make_strategy(account, name=f"{base} {number}", max_alarm_age=3600, leg=leg, **names)
            for _ in range(ENTRIES):
                decide(strategy)
    return list(Lane.objects.select_related("account").order_by("account_id", "id"))


def sent() -> set[int]:
    waits = [OrderStatus.CREATED.value, OrderStatus.DENIED.value]
    return set(Order.objects.exclude(status__in=waits).values_list("pk", flat=True))


@pytest.mark.servers
@pytest.mark.timeout(300)
@real_threads
@pytest.mark.parametrize("of_one_account", [False, True], ids=["all accounts", "one account"])
def test_r26_once_the_switch_is_pulled_nothing_more_is_submitted_while_32_workers_send(
    paper: PaperExchange, of_one_account: bool
) -> None:
    list_instruments()
    lanes = many_lanes()
    # The price comes late: at the flip, workers stand between the first look at the switch and the claim
    paper.control("faults", market={"delay": 1, "delay_ms": [100, 400]})
    pulled = Account.objects.get(name="desk 0") if of_one_account else None
    concerned = Order.objects.filter(lane__account=pulled) if pulled else Order.objects.all()
    seen: list[set[int]] = []

    def flip() -> None:
        wait_until(lambda: len(sent()) >= 40, what="for the first orders")
        pull(pulled, "ana", "stop")
        # What is SUBMITTED or more when the pull returns is all that ever will be
        seen.append(sent() & set(concerned.values_list("pk", flat=True)))

    def work(number: int) -> None:
        if number == 0:
            flip()
            return
        # Several workers on each lane, as bells and sweeps do it
        for lane in [lane for place, lane in enumerate(lanes) if place % 16 == number % 16]:
            execution.run_lane(lane)

    in_threads(WORKERS + 1, work)
    # As the sweep does: a worker that met another in its lane left the rest to it
    for lane in lanes:
        execution.run_lane(lane)
    [before] = seen
    total = ACCOUNTS * len(SYMBOLS) * ENTRIES
    stopped = concerned.filter(status=OrderStatus.DENIED, reason="kill_switch")
    assert 0 < len(before) < concerned.count()
    assert sent() & set(concerned.values_list("pk", flat=True)) == before
    fates = Counter(concerned.exclude(pk__in=before).values_list("status", "reason"))
    assert fates == {("denied", "kill_switch"): concerned.count() - len(before)}
    # Who was not concerned went on to the end, and the exchange has exactly what our books say was sent
    assert len(sent()) == total - stopped.count()
    assert len(paper.ledger()) == len(sent())
    pulled_at = Notice.objects.get(kind="kill_switch_on").raised_at
    late = OrderEvent.objects.filter(status=OrderStatus.SUBMITTED, at__gt=pulled_at, order__in=concerned)
    assert not late.exists()


@pytest.mark.servers
@real_threads
def test_r26_a_pull_waits_for_a_claim_that_looked_before_and_for_no_other_account(paper: PaperExchange) -> None:
    busy, idle = make_account("busy"), make_account("idle")
    claims, may_end, returned = threading.Event(), threading.Event(), threading.Event()

    def work(number: int) -> None:
        if number == 0:
            with transaction.atomic():
                Account.objects.select_for_update().get(pk=busy.pk)
                assert pulled_switch(busy.pk) is None
                claims.set()
                assert may_end.wait(20)
            return
        assert claims.wait(20)
        if number == 1:
            pull(None, "ana", "stop")
            returned.set()
            return
        # The brake is on for whoever looks from now on, though the pull still waits for the one that looked before
        wait_until(lambda: pulled_switch(idle.pk) is not None, seconds=5)
        assert not returned.is_set()
        may_end.set()
        assert returned.wait(20)

    in_threads(3, work)


@pytest.mark.servers
@real_threads
def test_r26_a_worker_that_froze_in_its_claim_does_not_keep_the_brake_off(paper: PaperExchange) -> None:
    account = make_account()
    frozen, over = threading.Event(), threading.Event()

    def work(number: int) -> None:
        if number == 0:
            with transaction.atomic():
                Account.objects.select_for_update().get(pk=account.pk)
                frozen.set()
                assert over.wait(30)
            return
        assert frozen.wait(20)
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION innodb_lock_wait_timeout = 1")
        assert pull(None, "ana", "stop")
        assert pulled_switch(account.pk)
        assert Notice.objects.filter(kind="kill_switch_on", ended_at=None).exists()
        over.set()

    in_threads(2, work)


@pytest.mark.servers
@real_threads
def test_of_many_who_pull_at_once_one_pulls(paper: PaperExchange) -> None:
    account = make_account()
    turned: list[bool] = []
    in_threads(8, lambda number: turned.append(pull(account, f"trader {number}", "stop")))
    assert sorted(turned) == [False] * 7 + [True]
    assert KillSwitch.objects.count() == Notice.objects.count() == 1
    in_threads(8, lambda number: turned.append(release(account, f"operator {number}", "over")))
    assert turned.count(True) == 2
