"""On the hot paths no query reads a big table from end to end: the server is asked for its plan of each, at size."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connections
from django.test import Client
from django.utils import timezone
from prometheus_client import generate_latest

from alarms import tasks as alarm_tasks
from alarms.models import Alarm
from alarms.routing import route_pair
from bench.stock import Size, Stock
from exchange import backoffice
from market import tasks as market_tasks
from market.following import find_series, follow
from operations import tasks
from operations.lifecycle import close_by_hand
from operations.models import Lane, Limits, Operation, Order
from operations.states import OrderStatus
from pelusa.monitoring import silence, watch
from pelusa.monitoring.heart import Heart
from pelusa.monitoring.metrics import Rows
from pelusa.testing import DATABASES, PaperExchange, alarm_body, list_instruments, make_account, make_strategy
from pelusa.tests.browsing import browser_of
from pelusa.tests.plans import BIG, Plans, explained
from pelusa.tests.planted import planted
from strategies.models import Strategy

SIZE = Size(alarms=20_000, operations=4_000, klines=20_000)
# Index entries of the 20,000 and more rows that each big table has
A_TENTH = 2_000
SECRET = planted("webhook secret")
EVERY_LIMIT = {
    "max_order_notional": 10**6,
    "max_open_notional": 10**6,
    "max_open_operations": 10**6,
    "max_orders_per_day": 10**6,
    "max_entries_per_minute": 10**6,
    "max_daily_loss": 10**6,
    "cool_down_after_loss": 1,
    "max_price_deviation": 50,
}

pytestmark = [
    pytest.mark.servers,
    pytest.mark.timeout(180),
    pytest.mark.django_db(databases=DATABASES, transaction=True),
]


@pytest.fixture
def strategy(paper: PaperExchange, settings: Any) -> Iterator[Strategy]:
    """A strategy with a gate, a stop, a target and every limit, in a system that has 20,000 alarms behind it."""
    settings.WEBHOOK_SECRETS = [SECRET]
    list_instruments()
    account = make_account()
    percents = {"stop_loss_per_order": Decimal(2), "take_profit_per_order": Decimal(4)}
    gate = {"entry_confirmation_interval": "1h", "close_confirmation_interval": "1h"}
    strategy = make_strategy(account, leg={**percents, **gate})
    for scope, columns in (("all", {}), ("account", {"account": account}), ("strategy", {"strategy": strategy})):
        Limits.objects.create(scope=scope, **columns, **EVERY_LIMIT)
    fill(strategy)
    yield strategy
    with connections["market"].cursor() as cursor:
        cursor.execute("DROP TABLE bench_numbers")


def fill(strategy: Strategy) -> None:
    others = [make_strategy(strategy.account, name=f"other {number}", alarm_name="Bench").pk for number in range(3)]
    symbols = ("BTC-USDT", "ETH-USDT", "SOL-USDT", "LTC-USDT")
    lanes = [Lane.objects.create(account=strategy.account, market="usdtm", symbol=each).pk for each in symbols]
    connection = connections["default"]
    connection.ensure_connection()
    schemas = {alias: connections[alias].settings_dict["NAME"] for alias in DATABASES}
    rows = {"account": strategy.account_id, "strategies": [strategy.pk, *others], "lanes": lanes}
    # Old enough that none of it is of today, whose operations a daily limit reads one by one
    Stock(connection.connection, schemas, **rows).grow(SIZE)


def post(body: bytes) -> None:
    answer = Client().post(f"/webhook/{SECRET}", body, content_type="application/json")
    assert answer.status_code == 200, answer.content


def send_all() -> None:
    """Do what bells and sweeps would: run every lane, fetch fills, protect, until nothing is left to do."""
    for lane in Lane.objects.all():
        tasks.run_lane(lane.pk)
    for order in Order.objects.filter(has_all_fills=False, status=OrderStatus.FILLED):
        tasks.collect_fills(order.pk)
    for operation in Operation.objects.filter(status__in=Operation.LIVE):
        tasks.protect_operation(operation.pk)


def check(plans: Plans, *tables: str) -> None:
    """Fail when these tables were not asked, or one of the big ones was read from end to end, or in great part."""
    assert plans.tables >= set(tables), "the path was not walked"
    assert plans.scans() == []
    assert plans.walked(A_TENTH) == []


def say(order: str, **members: str) -> None:
    post(alarm_body(order, Price_Alert="50000", **members))


def test_a_query_without_an_index_is_found_out(strategy: Strategy) -> None:
    with explained() as plans:
        list(Alarm.objects.order_by("detail")[:5])
        list(Alarm.objects.filter(status=Alarm.Status.PROCESSED, detail="nobody wrote this"))
    assert len(plans.scans()) == 2
    with explained() as plans:
        # It looks harmless: the key's order, and a limit that is never reached
        list(Alarm.objects.filter(detail="nobody wrote this").order_by("-id")[:5])
    assert plans.walked(A_TENTH)


def test_the_way_from_an_alarm_to_its_orders_scans_nothing(strategy: Strategy) -> None:
    with explained() as plans:
        open_one(strategy)
        alarm_tasks.sweep_alarms()
        entry = Order.objects.filter(role=Order.Role.ENTRY).latest("id")
        say("order close long")
        alarm_tasks.route_alarm(Alarm.objects.latest("id").pk)
        send_all()
    assert entry.status == OrderStatus.FILLED
    assert Operation.objects.get(pk=entry.operation_id).status == Operation.Status.CLOSED
    check(plans, *BIG - {"market_kline"})


def open_one(strategy: Strategy) -> Operation:
    """Let the gate be opened and an order be filled and protected; TradingView delivers its alarm twice."""
    post(alarm_body("indicator open long", interval="60"))
    body = alarm_body("order open long", Price_Alert="50000")
    post(body)
    post(body)
    route_pair("BTCUSDT")
    send_all()
    return Operation.objects.get(status__in=Operation.LIVE)


def test_sweeps_scan_nothing(strategy: Strategy) -> None:
    open_one(strategy)
    follow(find_series("usdtm", "BTC-USDT", "1m"))
    with explained() as plans:
        alarm_tasks.sweep_alarms()
        for sweep in (tasks.sweep_lanes, tasks.sweep_in_flight, tasks.sweep_fills, tasks.sweep_closing):
            sweep()
        tasks.sweep_protection()
        tasks.look_after_account(strategy.account_id)
        tasks.compare_books()
        tasks.compare_account(strategy.account_id)
        market_tasks.sweep_series()
        market_tasks.sweep_backfills()
    check(plans, "alarms_alarm", "operations_order", "operations_operation", "operations_orderevent", "market_kline")


def test_settling_and_closing_by_hand_scan_nothing(strategy: Strategy) -> None:
    operation = open_one(strategy)
    stop = Order.objects.filter(role=Order.Role.STOP_LOSS).latest("id")
    with explained() as plans:
        tasks.settle_order(stop.pk)
        close_by_hand(operation, get_user_model()(username="tester"))
        send_all()
    assert Operation.objects.get(pk=operation.pk).status == Operation.Status.CLOSED
    check(plans, "operations_order", "operations_operation", "operations_fill")


PAGES = (
    "",
    "latest=true",
    "limit=500",
    "cursor=cD0xMDAw",
    "ticker=BTCUSDT.P",
    "ticker=BTCUSDT.P&cursor=cD0xMDAw",
    "ticker=BTCUSDT.P&strategy=Stock_0",
    "strategy=Stock_0",
    "strategy=Nobody",
    "status=received",
    "status=processed&kind=order",
)


def test_pages_of_alarms_scan_nothing(strategy: Strategy) -> None:
    browser = browser_of()
    for query in PAGES:
        with explained() as plans:
            answer = browser.get(f"/api/v1/alarms/?{query}")
        assert answer.status_code == 200, query
        check(plans, "alarms_alarm")


def test_a_page_of_a_strategy_that_fell_silent_scans_nothing(strategy: Strategy) -> None:
    newest = Alarm.objects.latest("id").pk
    Alarm.objects.filter(pk__gt=newest - 3 * A_TENTH).update(strategy="Newer")
    with connections["alarms"].cursor() as cursor:
        cursor.execute("ANALYZE TABLE alarms_alarm")
    browser = browser_of()
    for query in ("strategy=Stock_0", "strategy=Stock_0&ticker=BTCUSDT.P"):
        with explained() as plans:
            answer = browser.get(f"/api/v1/alarms/?{query}")
        assert len(answer.json()["results"]) == 50, query
        check(plans, "alarms_alarm")


def test_pages_of_candles_scan_nothing(strategy: Strategy) -> None:
    browser = browser_of()
    for query in ("latest=true", "symbol=ETH-USDT", "symbol=ETH-USDT&limit=1000", "series=2&start=2024-01-02&limit=9"):
        with explained() as plans:
            answer = browser.get(f"/api/v1/klines/?{query}")
            older = answer.json()["next"]
            answers = [answer, browser.get(older)] if older else [answer]
        assert [each.status_code for each in answers] == [200] * len(answers), query
        assert answers[-1].json()["results"], query
        check(plans, "market_kline")


def test_the_overview_page_scans_nothing(strategy: Strategy, monkeypatch: pytest.MonkeyPatch) -> None:
    # As many as it looks at are stored here
    monkeypatch.setattr(backoffice, "ROWS_LOOKED_AT", 1_000)
    open_one(strategy)
    browser = browser_of()
    with explained() as plans:
        answers = [browser.get(f"/admin/{part}") for part in ("", "overview/now/", "overview/alarms/")]
    assert [answer.status_code for answer in answers] == [200] * 3
    check(plans, "alarms_alarm", "operations_decision", "operations_order", "operations_operation")


def test_hearts_the_sweep_of_silence_and_scrapes_scan_nothing(strategy: Strategy) -> None:
    """At most as many orders are read as wait, and of alarms the oldest that waits and the newest of each strategy."""
    open_one(strategy)
    Strategy.objects.update(expects_alarm_every=60)
    with explained() as plans:
        Heart("web").beat()
        watch.look_after(timezone.now())
        silence.look_for_silence()
        answer = browser_of().get("/admin/health/now/")
        scraped = generate_latest(Rows())
    assert answer.status_code == 200
    assert b"pelusa_ready_to_trade" in scraped
    check(plans, "alarms_alarm", "operations_decision", "operations_order", "operations_operation")


OFFICE_PAGES = (
    "alarms/alarm/",
    "alarms/alarm/?outcome=denied",
    "alarms/alarm/?reason=no_strategy",
    "alarms/alarm/?reason=entry&since=day",
    "alarms/alarm/?since=hour",
    "alarms/alarm/?kind__exact=indicator&action__exact=close",
    "operations/order/?role__exact=STOP_LOSS",
    "operations/order/?strategy=2",
    "operations/fill/?side__exact=SELL&since=hour",
    "alarms/alarm/?q=BTCUSDT.P",
    "alarms/alarm/?q=nobody+wrote+this",
    "operations/decision/?outcome=denied&since=day",
    "operations/decision/?reason=kill_switch",
    "operations/order/?reason=refused&since=week",
    "why/",
    "why/?since=month",
    "why/?since=hour&strategy=1",
)


@pytest.mark.parametrize("address", OFFICE_PAGES)
def test_pages_that_say_why_scan_nothing(strategy: Strategy, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setattr(backoffice, "ROWS_LOOKED_AT", 1_000)
    browser = browser_of()
    with explained() as plans:
        answer = browser.get(f"/admin/{address}")
    assert answer.status_code == 200, address
    check(plans)
