"""From an alarm to decisions: gates, isolation, order of arrival, and a reason for everything."""

from datetime import UTC, datetime, timedelta

import pytest

from alarms import routing
from alarms.intake import record_alarm
from alarms.models import Alarm
from exchange.models import Account
from operations.models import Decision, Notice, Operation, Order
from pelusa.testing import DATABASES, PaperExchange, alarm_body, list_instruments, make_account, make_strategy
from strategies.models import Strategy

pytestmark = pytest.mark.django_db(databases=DATABASES)


@pytest.fixture
def account(paper: PaperExchange) -> Account:
    list_instruments()
    return make_account()


@pytest.fixture
def strategy(account: Account) -> Strategy:
    return make_strategy(account, leg={"entry_confirmation_interval": "1h", "close_confirmation_interval": "4h"})


def receive(order: str, **said: object) -> Alarm:
    """Record an alarm, route its pair and return it as it then stands."""
    receipt = record_alarm(alarm_body(order, **said), "127.0.0.1")  # type: ignore[arg-type]
    alarm = Alarm.objects.get(pk=receipt.alarm_id)
    routing.route_pair(alarm.pair)
    alarm.refresh_from_db()
    return alarm


def decision_on(alarm: Alarm) -> Decision:
    return Decision.objects.get(alarm_id=alarm.pk)


def test_an_indicator_opens_the_gate_and_trades_nothing(strategy: Strategy) -> None:
    alarm = receive("indicator open long", interval="60")
    assert (alarm.status, alarm.reason) == ("processed", "opens_gate")
    assert not Order.objects.exists()


def test_an_entry_waits_for_its_gate(strategy: Strategy) -> None:
    refused = receive("order open long")
    assert (refused.status, refused.reason) == ("ignored", "gate_never_opened")
    receive("indicator open long", interval="60")
    assert decision_on(receive("order open long")).outcome == "open"
    assert Order.objects.count() == 1


def test_a_gate_that_was_shut_later_is_shut_and_both_alarms_are_named(strategy: Strategy) -> None:
    opened = receive("indicator open long", interval="60")
    shut = receive("indicator close long", interval="240")
    facts = decision_on(receive("order open long")).facts
    assert (facts["opened_by"], facts["shut_by"]) == (opened.pk, shut.pk)


def test_a_gate_alarm_on_another_interval_does_not_count(strategy: Strategy) -> None:
    receive("indicator open long", interval="240")
    assert receive("order open long").reason == "gate_never_opened"


def test_a_gate_goes_by_event_time_so_a_late_delivery_cannot_flip_it(strategy: Strategy) -> None:
    now = datetime.now(UTC)
    receive("indicator open long", interval="60", at=now - timedelta(minutes=2))
    receive("indicator close long", interval="240", at=now - timedelta(minutes=9))
    assert decision_on(receive("order open long")).outcome == "open"


def test_a_redelivered_gate_alarm_cannot_flip_the_gate(strategy: Strategy) -> None:
    body = alarm_body("indicator open long", interval="60", at=datetime.now(UTC) - timedelta(minutes=3))
    record_alarm(body, "127.0.0.1")
    receive("indicator close long", interval="240", at=datetime.now(UTC) - timedelta(minutes=1))
    record_alarm(body, "127.0.0.1")
    assert receive("order open long").reason == "gate_shut"


def test_a_gate_alarm_from_the_future_does_not_hold_the_gate(strategy: Strategy) -> None:
    ahead = receive("indicator open long", interval="60", at=datetime.now(UTC) + timedelta(hours=3))
    assert ahead.reason == "alarm_from_the_future"
    assert receive("order open long").reason == "gate_never_opened"


def test_a_minute_is_not_a_month(account: Account) -> None:
    make_strategy(account, leg={"entry_confirmation_interval": "1M"})
    receive("indicator open long", interval="1")
    assert receive("order open long").reason == "gate_never_opened"
    receive("indicator open long", interval="M")
    assert decision_on(receive("order open long")).outcome == "open"


def test_another_strategys_gate_alarms_do_not_count(account: Account, strategy: Strategy) -> None:
    receive("indicator open long", interval="60", Strategy="stochastic_v1")
    receive("indicator open long", interval="60", Strategy="Stochastic_v2")
    assert receive("order open long").reason == "gate_never_opened"


@pytest.mark.parametrize("ticker", ["BTCUSDT.P", "BTCUSDT.PS", "BTCUSDT", "BINGX:BTCUSDT.P"])
def test_every_spelling_of_the_ticker_reaches_the_strategy(account: Account, ticker: str) -> None:
    make_strategy(account)
    assert decision_on(receive("order open long", ticker=ticker)).outcome == "open"


def test_a_perpetuals_alarm_does_not_reach_a_spot_strategy(account: Account) -> None:
    make_strategy(account, market="spot")
    assert receive("order open long", ticker="BTCUSDT.P").reason == "no_strategy"
    assert decision_on(receive("order open long", ticker="BTCUSDT")).outcome == "open"


def test_an_alarm_that_no_strategy_waits_for_says_so(account: Account) -> None:
    alarm = receive("order open long")
    assert (alarm.status, alarm.reason) == ("ignored", "no_strategy")
    assert "Stochastic_v1" in alarm.detail


def test_an_unknown_ticker_is_named(account: Account) -> None:
    alarm = receive("order open long", ticker="NOSUCHUSDT.P")
    assert (alarm.status, alarm.reason) == ("ignored", "unknown_ticker")


def test_strategies_that_share_a_name_all_answer(account: Account) -> None:
    names = [make_strategy(account, name=f"copy {number}").name for number in range(3)]
    alarm = receive("order open long")
    assert (
        sorted(Decision.objects.filter(alarm_id=alarm.pk, outcome="open").values_list("strategy__name", flat=True))
        == names
    )
    assert Order.objects.count() == 3


def test_one_strategys_failure_never_touches_another(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    broken, sound = make_strategy(account, name="broken"), make_strategy(account, name="sound")
    decide = routing.decide_on

    def break_one(strategy: Strategy, alarm: Alarm) -> object:
        if strategy.pk == broken.pk:
            raise ZeroDivisionError
        return decide(strategy, alarm)

    monkeypatch.setattr(routing, "decide_on", break_one)
    alarm = receive("order open long")
    assert Decision.objects.get(strategy=broken).reason == "deciding_broke"
    assert Decision.objects.get(strategy=sound).outcome == "open"
    assert alarm.status == "processed"


def test_waiting_alarms_of_a_pair_are_routed_in_order_of_arrival(account: Account) -> None:
    make_strategy(account)
    for order in ("order open long", "order close long", "order open long"):
        record_alarm(alarm_body(order), "127.0.0.1")
    assert routing.route_pair("BTCUSDT") == 3
    assert list(Order.objects.order_by("id").values_list("role", flat=True)) == ["ENTRY", "EXIT", "ENTRY"]


def test_a_crash_between_decision_and_status_repeats_nothing(account: Account) -> None:
    make_strategy(account)
    alarm = receive("order open long")
    # As if the alarms' commit had been lost after the operations' commit
    Alarm.objects.filter(pk=alarm.pk).update(status=Alarm.Status.RECEIVED)
    routing.route_pair("BTCUSDT")
    assert Order.objects.count() == Decision.objects.count() == 1
    alarm.refresh_from_db()
    assert alarm.status == "processed"


def test_an_alarm_that_keeps_breaking_is_set_aside_and_the_next_goes_on(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_strategy(account)
    poison = record_alarm(alarm_body("order open long"), "127.0.0.1").alarm_id
    honest = record_alarm(alarm_body("order open long"), "127.0.0.1").alarm_id
    route = routing._route

    def break_one(alarm: Alarm) -> None:
        if alarm.pk == poison:
            raise routing.IntegrityError("no such thing")
        route(alarm)

    monkeypatch.setattr(routing, "_route", break_one)
    for _ in range(routing.MOST_ATTEMPTS + 1):
        routing.route_pair("BTCUSDT")
    assert Alarm.objects.get(pk=poison).reason == "quarantined"
    assert Alarm.objects.get(pk=honest).status == "processed"


def test_a_close_closes_and_a_second_close_finds_nothing(account: Account) -> None:
    make_strategy(account)
    receive("order open long")
    assert decision_on(receive("order close long")).outcome == "close"
    assert receive("order close long").reason == "nothing_to_close"


def test_an_alarm_to_close_that_is_not_heeded_is_told_to_a_human(account: Account) -> None:
    make_strategy(account)
    receive("order open long")
    in_an_hour = datetime.now(UTC) + timedelta(hours=1)
    assert decision_on(receive("order close long", at=in_an_hour)).reason == "alarm_from_the_future"
    notice = Notice.objects.get(kind="close_ignored")
    assert (notice.facts["leg"], notice.operation) == ("long", Operation.objects.get())
    assert "ahead of this server's clock" in notice.facts["why"]


def test_an_alarm_to_close_on_another_interval_is_no_news(account: Account) -> None:
    make_strategy(account)
    receive("order open long")
    assert decision_on(receive("order close long", interval="60")).reason == "other_interval"
    assert not Notice.objects.exists()
