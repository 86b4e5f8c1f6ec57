"""Somebody knows: hearts, faults, readiness and notices that come once and end."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from exchange.models import Account, ExchangeClock
from operations import killswitch
from operations.models import KillSwitch, Lane, Notice
from pelusa import health, tasks
from pelusa.monitoring import heart, silence, watch
from pelusa.monitoring.faults import Fault, faults_of, obstacles
from pelusa.monitoring.heart import MOST_KEPT, Heart
from pelusa.monitoring.models import Heartbeat
from pelusa.monitoring.telling import tell
from pelusa.monitoring.vitals import Vitals, read_vitals
from pelusa.testing import DATABASES
from pelusa.tests.making import (
    client_of,
    make_account,
    make_alarm,
    make_decision,
    make_operation,
    make_order,
    make_strategy,
)
from strategies.models import Strategy

pytestmark = pytest.mark.django_db(databases=DATABASES)

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
DAY = timedelta(days=1)
LONG_AGO = NOW - DAY
WELL: dict[str, dict[str, Any]] = {"broker": {"ok": True, "ms": 1.0}, "database default": {"ok": True, "ms": 1.0}}


def account(**columns: Any) -> dict[str, Any]:
    known = {"may_withdraw": False, "rights_read_at": None}
    return {"id": 1, "name": "desk", "environment": "paper"} | known | columns


def all_well(**columns: Any) -> Vitals:
    seen: dict[str, Any] = {"web": NOW, "worker": NOW, "beat": NOW}
    defaults: dict[str, Any] = {
        "beats": seen,
        "works": seen,
        "accounts": [account()],
        "clocks": {"paper": (20, NOW)},
        "free_bytes": 10**11,
    }
    return Vitals(NOW, **defaults | columns)


def ago(seconds: int) -> datetime:
    return NOW - timedelta(seconds=seconds)


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A system in which every process has just shown itself and every server answers."""
    monkeypatch.setattr(health, "ask_dependencies", lambda: dict(WELL))
    for kind in ("web", "worker", "beat"):
        each = Heart(kind)
        each.worked_at = timezone.now()
        each.beat()
    account = make_account()
    ExchangeClock.objects.create(environment=account.environment, offset_ms=3, measured_at=timezone.now())
    health.health.forget()
    yield
    health.health.forget()


def test_where_all_is_well_nothing_is_wrong() -> None:
    assert obstacles(all_well(), WELL, LONG_AGO) == []


@pytest.mark.parametrize(
    ("vitals", "kind"),
    [
        (all_well(beats={"web": ago(40), "worker": NOW, "beat": NOW}), "web_away"),
        (all_well(beats={"web": NOW, "worker": ago(40), "beat": NOW}), "worker_away"),
        (all_well(beats={"web": NOW, "beat": NOW}), "worker_away"),
        (all_well(works={"worker": ago(70), "beat": NOW}), "worker_idle"),
        (all_well(beats={"web": NOW, "worker": NOW, "beat": ago(40)}), "beat_away"),
        (all_well(works={"worker": NOW, "beat": ago(70)}), "beat_away"),
        (all_well(clocks={"paper": (1500, NOW)}), "exchange_clock_off"),
        (all_well(clocks={"paper": (-1500, NOW)}), "exchange_clock_off"),
        (all_well(clocks={"paper": (0, ago(70))}), "exchange_clock_unmeasured"),
        (all_well(clocks={}), "exchange_clock_unmeasured"),
        (all_well(waiting={"alarm": ago(70)}), "work_lags"),
        (all_well(accounts=[]), "no_active_account"),
        (all_well(accounts=[account(may_withdraw=True)]), "key_may_withdraw"),
        (
            all_well(accounts=[account(environment="live", rights_read_at=NOW)], clocks={"live": (0, NOW)}),
            "above_ceiling",
        ),
        (all_well(halted={"by": "PELUSA_HALT", "why": ""}), "halted"),
        (all_well(uncompared=[{"account__name": "desk", "symbol": "BTC-USDT"}]), "lanes_not_compared"),
        (all_well(frozen=[{"account__name": "desk", "symbol": "BTC-USDT", "frozen_reason": "x"}]), "lanes_frozen"),
    ],
)
def test_each_thing_that_is_wrong_stands_in_the_way_with_its_word_and_a_sentence(vitals: Vitals, kind: str) -> None:
    [fault] = obstacles(vitals, WELL, LONG_AGO)
    assert fault.kind == kind
    assert fault.sentence[0].isupper() or fault.sentence[0].isdigit()
    assert fault.sentence.endswith((".", "?", ". "))


def test_a_live_key_that_was_never_read_stands_in_the_way(settings: Any) -> None:
    settings.PELUSA_TRADING = "live"
    [fault] = obstacles(all_well(accounts=[account(environment="live")], clocks={"live": (0, NOW)}), WELL, LONG_AGO)
    assert fault.kind == "key_not_checked"
    assert "exits only" in fault.sentence


def test_a_full_disk_and_a_slow_database_are_told_and_do_not_stop_trading() -> None:
    slow = WELL | {"database alarms": {"ok": True, "ms": 1500.0}}
    full = all_well(free_bytes=1_000_000)
    assert [each.kind for each in faults_of(full, slow, LONG_AGO)] == ["database_slow", "low_disk"]
    assert obstacles(full, slow, LONG_AGO) == []


def test_who_does_not_answer_is_named() -> None:
    away = {"ok": False, "reason": "no answer"}
    checks = {"database market": away, "broker": away, "paper exchange": away}
    found = [(each.kind, each.key) for each in faults_of(all_well(), checks, LONG_AGO)]
    assert found == [("database_away", "market"), ("broker_away", "system"), ("paper_exchange_away", "system")]


def test_a_watcher_that_has_just_begun_gives_the_others_time() -> None:
    vitals = all_well(beats={"worker": ago(9000)}, works={}, clocks={})
    assert faults_of(vitals, WELL, ago(5)) == []
    assert {each.kind for each in faults_of(vitals, WELL, ago(80))} == {
        "web_away",
        "worker_away",
        "beat_away",
        "exchange_clock_unmeasured",
    }


def test_a_switch_of_an_account_that_is_off_stands_in_nobodys_way() -> None:
    switch = {"account_id": 9, "account__name": "old", "changed_by": "ana", "reason": "why"}
    assert obstacles(all_well(switches=[switch]), WELL, LONG_AGO) == []
    [fault] = obstacles(all_well(switches=[switch | {"account_id": None, "account__name": None}]), WELL, LONG_AGO)
    assert (fault.kind, fault.facts["accounts"]) == ("kill_switch", "all accounts")


def test_a_heart_writes_one_row_however_often_it_beats() -> None:
    own = Heart("web")
    own.beat()
    Heartbeat.objects.update(beat_at=LONG_AGO)
    own.beat()
    row = Heartbeat.objects.get()
    assert (row.kind, row.pid, row.name) == ("web", own.pid, own.name)
    assert timezone.now() - row.beat_at < timedelta(seconds=5)
    assert row.worked_at is None


def test_processes_that_die_again_and_again_do_not_fill_the_table() -> None:
    for number in range(MOST_KEPT + 5):
        own = Heart("worker")
        own.name = f"worker {number}"
        own.beat()
    assert Heartbeat.objects.count() == MOST_KEPT
    assert Heartbeat.objects.filter(name=f"worker {MOST_KEPT + 4}").exists()


def test_a_pulse_through_the_queue_is_noted_for_the_worker_that_took_it(monkeypatch: pytest.MonkeyPatch) -> None:
    own, other = Heart("worker"), Heart("worker")
    other.name = "worker other:1"
    monkeypatch.setattr(heart, "_own", own)
    own.beat()
    other.beat()
    tasks.pulse()
    assert Heartbeat.objects.get(name=own.name).worked_at
    assert Heartbeat.objects.get(name=other.name).worked_at is None


def test_ready_to_trade_is_yes_when_all_is_well_and_no_with_each_reason(system: None) -> None:
    client = client_of()
    answer = client.get("/health/ready").json()
    assert (answer["status"], answer["ready_to_trade"], answer["because"]) == ("ready", True, [])
    assert {"worker", "beat", "disk", "queue", "exchange clock paper"} < set(answer["checks"])
    KillSwitch.objects.create(scope="all", is_on=True, reason="rain", changed_by="ana")
    Heartbeat.objects.filter(kind="worker").update(beat_at=timezone.now() - timedelta(minutes=5))
    health.health.forget()
    answer = client.get("/health/ready").json()
    assert [each["reason"] for each in answer["because"]] == ["kill_switch", "worker_away"]
    assert "ana pulled it: rain" in answer["because"][0]["detail"]
    assert (answer["status"], answer["checks"]["worker"]["ok"], answer["checks"]["beat"]["ok"]) == (
        "not_ready",
        False,
        True,
    )


def test_a_brake_does_not_make_the_system_unready(system: None) -> None:
    KillSwitch.objects.create(scope=killswitch.EVERYTHING, is_on=True, reason="rain", changed_by="ana")
    answer = client_of().get("/health/ready")
    assert (answer.status_code, answer.json()["ready_to_trade"]) == (200, False)


def test_asking_again_within_a_second_costs_nothing(system: None, django_assert_num_queries: Any) -> None:
    first = health.health()
    with django_assert_num_queries(0):
        assert health.health() is first


def test_what_is_read_is_what_is_stored(system: None) -> None:
    strategy = make_strategy(Account.objects.get())
    make_order(make_operation(strategy), status="created")
    long_ago = timezone.now() - timedelta(minutes=3)
    Lane.objects.update(frozen_at=timezone.now(), frozen_reason="unsettled", compared_at=long_ago)
    make_alarm(received_at=NOW - timedelta(days=400))
    vitals = read_vitals()
    assert (len(vitals.uncompared), len(vitals.frozen), vitals.environments) == (1, 1, {"paper"})
    assert vitals.waiting["alarm"] == NOW - timedelta(days=400)
    assert vitals.waiting["order"]
    assert vitals.waiting["in_flight"] is None
    assert vitals.free_bytes


@pytest.mark.parametrize("columns", [{"is_active": False}, {"symbol": "ETH-USDT"}, {"active_until": NOW - 300 * DAY}])
def test_a_lane_in_which_nobody_may_enter_stands_in_nobodys_way(system: None, columns: dict[str, Any]) -> None:
    make_order(make_operation(make_strategy(Account.objects.get())), status="filled")
    Lane.objects.update(frozen_at=timezone.now(), frozen_reason="unsettled", compared_at=LONG_AGO)
    assert [each["reason"] for each in health.find_health()["because"]] == ["lanes_frozen", "lanes_not_compared"]
    Strategy.objects.update(**columns)
    assert health.find_health()["ready_to_trade"]


def test_a_new_lane_compares_itself_and_many_frozen_ones_are_named_and_counted(system: None) -> None:
    make_order(make_operation(make_strategy(Account.objects.get())), status="filled")
    Lane.objects.update(compared_at=None)
    assert health.find_health()["ready_to_trade"]
    lanes = [{"account__name": "desk", "symbol": f"S{number}", "frozen_reason": "x"} for number in range(7)]
    [fault] = obstacles(all_well(frozen=lanes), WELL, LONG_AGO)
    assert fault.sentence == "7 lanes take no entries: desk S0, desk S1, desk S2, desk S3, desk S4 and others."


def test_what_a_heart_found_is_there_for_pages_at_no_cost(system: None, django_assert_num_queries: Any) -> None:
    assert health.health.latest() is None
    watch.look_after(timezone.now())
    with django_assert_num_queries(0):
        latest = health.health.latest()
    assert latest
    assert latest["ready_to_trade"]
    health.health._found_at -= 60
    assert health.health.latest() is None


def test_a_fault_is_told_once_and_ended_when_it_is_over() -> None:
    lag, other = Fault("work_lags", "alarm"), Fault("work_lags", "order")
    tell({"work_lags"}, [lag, other])
    tell({"work_lags"}, [lag, other])
    assert Notice.objects.count() == 2
    tell({"work_lags"}, [other])
    assert [each.current_key for each in Notice.objects.order_by("id")] == [None, "work_lags:order"]
    assert Notice.objects.filter(ended_at__isnull=False).count() == 1


def test_notices_of_others_are_left_alone() -> None:
    Notice.objects.create(kind="books_differ", current_key="books_differ:lane:1", level="critical")
    tell({"work_lags"}, [])
    assert Notice.objects.filter(ended_at=None).count() == 1


def test_any_process_tells_that_the_worker_is_away_and_that_it_is_back(system: None) -> None:
    Heartbeat.objects.filter(kind="worker").update(beat_at=LONG_AGO)
    born_at = timezone.now() - timedelta(hours=1)
    watch.look_after(born_at)
    notice = Notice.objects.get()
    assert (notice.kind, notice.level, notice.ended_at) == ("worker_away", "critical", None)
    Heartbeat.objects.update(beat_at=timezone.now())
    watch.look_after(born_at)
    assert Notice.objects.get().ended_at


@pytest.fixture
def listener() -> Strategy:
    """A strategy that expects an alarm every hour, and was last changed a day ago."""
    strategy = make_strategy(expects_alarm_every=60)
    Strategy.objects.update(updated_at=timezone.now() - timedelta(days=1))
    return strategy


def hear(strategy: Strategy, hours: int) -> None:
    moment = timezone.now() - timedelta(hours=hours)
    alarm = make_alarm(received_at=moment, status="processed", kind="indicator")
    make_decision(alarm, strategy, outcome="ignored", alarm_received_at=moment)


def current() -> list[str]:
    return sorted(Notice.objects.filter(ended_at=None).values_list("kind", flat=True))


def test_a_strategy_that_hears_nothing_in_time_is_told_once_and_ended_by_the_next_alarm(listener: Strategy) -> None:
    hear(listener, hours=2)
    silence.look_for_silence()
    silence.look_for_silence()
    assert current() == ["all_silent", "strategy_silent"]
    hear(listener, hours=0)
    silence.look_for_silence()
    assert current() == []
    assert Notice.objects.count() == 2


def test_while_others_hear_something_only_the_silent_one_is_told(listener: Strategy) -> None:
    other = make_strategy(make_account("other"), name="other")
    hear(other, hours=0)
    silence.look_for_silence()
    assert current() == ["strategy_silent"]
    assert Notice.objects.get().facts["strategy"] == listener.name


@pytest.mark.parametrize(
    "columns",
    [
        {"is_active": False},
        {"expects_alarm_every": None},
        {"active_until": NOW - timedelta(days=300)},
        {"active_from": NOW + timedelta(days=9000)},
        {"updated_at": NOW + timedelta(days=9000)},
    ],
)
def test_silence_is_no_news_where_nothing_is_expected(listener: Strategy, columns: dict[str, Any]) -> None:
    hear(listener, hours=2)
    silence.look_for_silence()
    Strategy.objects.update(**columns)
    silence.look_for_silence()
    assert current() == []


def test_looking_for_silence_costs_one_question_while_all_is_heard(
    listener: Strategy, django_assert_num_queries: Any
) -> None:
    hear(listener, hours=0)
    with django_assert_num_queries(2):
        silence.look_for_silence()


def test_the_vitals_of_an_unknown_disk_are_no_fault() -> None:
    assert faults_of(replace(all_well(), free_bytes=None), WELL, LONG_AGO) == []
