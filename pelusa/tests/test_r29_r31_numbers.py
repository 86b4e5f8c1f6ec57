"""R29, R30 and R31: sizes on the grid and never rounded up, no float near money, and two clocks that differ."""

import ast
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal as D
from fractions import Fraction

import pytest
from django.db import connections
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from alarms.intake import record_alarm
from alarms.models import Alarm
from exchange import clock
from exchange.errors import ExchangeError
from exchange.rounding import plain
from operations import execution
from operations.books import Execution, book
from operations.lifecycle import AlarmFacts, carry_out
from operations.models import Lane, Order
from pelusa.livesystem import ROOT, PaperExchange, free_port, wait_until
from pelusa.supervisor import port_is_open
from pelusa.testing import DATABASES, alarm_body, list_instruments, make_account, make_strategy
from pelusa.tests.experiments.rig import SEED, scaled
from strategies.rules import Verdict
from strategies.sizing import CannotSize, Grid, Wish, size_entry

OPEN = Verdict("open", "entry", {"leg": "long"})


def amounts(least: str, most: str) -> st.SearchStrategy[D]:
    return st.decimals(min_value=least, max_value=most, allow_nan=False, allow_infinity=False, places=8)


GRIDS = st.builds(
    Grid,
    symbol=st.just("BTC-USDT"),
    step_size=st.sampled_from([D(10), D(1), D("0.1"), D("0.001"), D("0.00001"), D("0.25")]),
    min_quantity=amounts("0", "10"),
    min_notional=amounts("0", "100"),
    contract_size=st.sampled_from([D(0), D(0), D(10), D(100)]),
)
WISHES = st.builds(
    Wish,
    sizing=st.sampled_from(["quantity", "notional", "equity_percent", "risk_percent", "alarm"]),
    size=amounts("0.00000001", "100000"),
    leverage=st.integers(1, 150),
    stop_percent=st.none() | amounts("0.01", "99"),
    alarm_quantity=st.none() | amounts("0.00000001", "100000"),
)


@settings(max_examples=scaled(300), deadline=None)
@given(wish=WISHES, grid=GRIDS, price=amounts("0.00000001", "1000000"), equity=amounts("0", "10000000"))
def test_r29_a_size_is_on_the_step_above_the_floors_and_never_above_what_was_wished(
    wish: Wish, grid: Grid, price: D, equity: D
) -> None:
    try:
        quantity = size_entry(wish, grid, price, equity)
    except CannotSize:
        return
    assert quantity % grid.step_size == 0
    assert quantity >= grid.min_quantity
    assert grid.notional(quantity, price) >= grid.min_notional
    assert Fraction(quantity) <= wished(wish, grid, price, equity)


def wished(wish: Wish, grid: Grid, price: D, equity: D) -> Fraction:
    """Return the size before any rounding, without any."""
    size, worth = Fraction(wish.size or 0), Fraction(grid.contract_size or price)
    part = Fraction(equity) * size / 100
    return {
        "quantity": size,
        "alarm": Fraction(wish.alarm_quantity or 0),
        "notional": size / worth,
        "equity_percent": part * wish.leverage / worth,
        "risk_percent": part / (Fraction(wish.stop_percent or 1) / 100) / worth,
    }[wish.sizing]


MONEY = ("alarms", "strategies", "operations", "market", "exchange")
# Chances and seconds, not money
ALLOWED = {"exchange/paper/faults.py"}


def test_r30_no_module_of_the_applications_turns_anything_into_a_float() -> None:
    found = [
        f"{path}:{node.lineno}"
        for app in MONEY
        for path in sorted((ROOT / app).rglob("*.py"))
        if "tests" not in path.parts and str(path.relative_to(ROOT)) not in ALLOWED
        for node in ast.walk(ast.parse(path.read_text()))
        if makes_a_float(node)
    ]
    assert found == []


def makes_a_float(node: ast.AST) -> bool:
    """Tell whether a piece of program calls float(), declares a float column, or makes a Decimal of a float."""
    if not isinstance(node, ast.Call):
        return False
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    of_float = name in ("Decimal", "D") and any(
        isinstance(each, ast.Constant) and isinstance(each.value, float) for each in node.args
    )
    return name in ("float", "FloatField") or of_float


@pytest.mark.django_db(databases=DATABASES)
def test_r30_a_price_comes_back_from_message_and_database_digit_for_digit() -> None:
    """On SQLite fifteen digits do: Django keeps decimals in its eight bytes there."""
    dice, most = random.Random(SEED), 28 if connections["alarms"].vendor == "mysql" else 15
    for _ in range(scaled(200)):
        whole = dice.randint(1, 14)
        text = f"{dice.randrange(1, 10**whole)}.{dice.randrange(1, 10**12):012d}"[: most + 1]
        body = alarm_body(Price_Alert=text)
        if dice.random() < 0.5:
            body = body.replace(f'"{text}"'.encode(), text.encode())
        alarm = Alarm.objects.get(pk=record_alarm(body, "127.0.0.1").alarm_id)
        assert plain(alarm.price) == text.rstrip("0").rstrip(".")


def test_r30_the_sum_of_very_many_fills_is_exact() -> None:
    dice, price, fee = random.Random(SEED), D("50000.1"), D("0.000000000001")
    sizes = [D(dice.randrange(1, 10**6)).scaleb(-6) for _ in range(scaled(20_000))]
    entries = [Execution(True, price, size, fee) for size in sizes]
    figures = book(entries, "long")
    assert figures.fees == fee * len(entries)
    assert figures.avg_entry_price == price
    out = Execution(False, price + 1, sum(sizes, D(0)), D(0))
    assert book([*entries, out], "long").realised_pnl == out.quantity


SHIFTED = """
import asyncio, sys
from exchange.paper.server import serve_until_signal
from exchange.paper.venue import Venue, now_ms
port, shift = int(sys.argv[1]), int(sys.argv[2])
venue = Venue(7, None, clock_ms=lambda: now_ms() + shift)
asyncio.run(serve_until_signal(venue, "127.0.0.1", port, latency_ms=0, on_ready=lambda port: None))
"""


@contextmanager
def exchange_whose_clock_is_ahead_by(seconds: float) -> Iterator[PaperExchange]:
    port = free_port()
    argv = [sys.executable, "-c", SHIFTED, str(port), str(round(seconds * 1000))]
    with subprocess.Popen(argv, cwd=ROOT) as process:
        try:
            wait_until(lambda: port_is_open(port), what="for the paper exchange")
            yield PaperExchange(port)
        finally:
            process.terminate()


@pytest.mark.django_db(databases=DATABASES)
@pytest.mark.parametrize("ahead", [-20, -4, -1.5, -0.5, 0.5, 1.5, 4, 20])
def test_r31_where_the_clocks_are_apart_no_entry_is_sent_and_nothing_is_guessed(settings: object, ahead: float) -> None:
    with exchange_whose_clock_is_ahead_by(ahead) as paper:
        settings.BINGX_URLS = settings.BINGX_URLS | {"paper": paper.url}  # type: ignore[attr-defined]
        settings.BINGX_PAPER_URL = paper.url  # type: ignore[attr-defined]
        list_instruments()
        strategy = make_strategy(make_account())
        offset = clock.measure("paper")
        assert abs(offset - timedelta(seconds=ahead)) < timedelta(seconds=0.4)
        carry_out(strategy, AlarmFacts(1, "long", timezone.now(), D(50_000)), OPEN)
        try:
            execution.run_lane(Lane.objects.get())
        except ExchangeError:
            assert abs(ahead) > 1, "nothing is asked that a clock so far off can spoil"
        order = Order.objects.get()
        if abs(ahead) < 1:
            assert order.status == "filled"
        else:
            assert order.status in ("created", "denied")
            assert paper.ledger() == []


@pytest.mark.django_db(databases=DATABASES)
def test_r31_a_clock_that_cannot_be_read_keeps_what_is_known(paper: PaperExchange) -> None:
    clock.measure("paper")
    known = clock.known_offset("paper")
    paper.control("faults", market={"gateway_after": 1}, all={"gateway_after": 1})
    with pytest.raises(ExchangeError):
        clock.measure("paper")
    assert clock.known_offset("paper") == known
