"""The doctor finds what is planted in the real thing: paper exchange, web process, proxy, files, queue."""

import json
import re
import socket
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any

import pytest
from celery import current_app
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.db import DatabaseError
from django.test import Client, RequestFactory
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from alarms.models import Alarm
from exchange import bingx
from exchange.errors import OutcomeUnknown, Refused
from exchange.models import Account
from exchange.paper.testing import Caller, running
from exchange.paper.venue import Venue, now_ms
from exchange.types import Market
from market.instruments import refresh
from market.models import Instrument
from operations.killswitch import pull
from operations.models import Lane
from pelusa.doctor import accounts, databases, examine, machine, queue, webhook
from pelusa.doctor.asking import Asker, ask_together
from pelusa.doctor.findings import Finding, Level, danger, exit_status, ok, unknown, verdict
from pelusa.doctor.page import address_of
from pelusa.doctor.proxy import Seen, judge_seen
from pelusa.environment import database, networks
from pelusa.livesystem import free_port
from pelusa.monitoring.heart import Heart
from pelusa.testing import DATABASES, PaperExchange, list_instruments, make_account, make_strategy
from pelusa.tests import planting
from pelusa.tests.browsing import browser_of
from pelusa.tests.making import make_alarm, make_operation
from pelusa.tests.planted import planted
from pelusa.tests.planting import the, words
from strategies.models import Leg

pytestmark = pytest.mark.django_db(databases=DATABASES)

STRONG = f"a-Str0ng+webhook,secret:{planted('webhook secret')}"


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation with files of its own, a broker in memory and no long waits."""
    settings.VAR_DIR = tmp_path
    settings.WEBHOOK_SECRETS = [STRONG]
    settings.ALLOWED_HOSTS = ["127.0.0.1", "testserver"]
    monkeypatch.setattr(bingx, "READ_PAUSES", (0.01, 0.01))
    monkeypatch.setattr(queue, "WORKER_SECONDS", 0.05)
    monkeypatch.setenv("ENV_FILE", str(tmp_path / ".env"))
    use_broker(monkeypatch, "memory://")


def use_broker(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    for name in ("connection_for_read", "connection_for_write"):
        original = getattr(type(current_app._get_current_object()), name)
        monkeypatch.setattr(
            current_app, name, lambda original=original, **options: original(current_app, url, **options)
        )


@pytest.fixture
def account(paper: PaperExchange) -> Account:
    """An account on the paper exchange, with the list of instruments read."""
    list_instruments()
    return make_account()


def found(url: str = "") -> list[Finding]:
    return examine.examine(url)


def dangers(url: str = "") -> set[str]:
    """Return what is wrong beside the worker and beat, which no test of this file runs."""
    return words(found(url), Level.DANGER) - {"no_worker", "no_beat"}


def rekey(paper: PaperExchange, account: Account, **wanted: Any) -> None:
    paper.control("accounts", key=account.api_key, secret=account.api_secret, **wanted)


def exchange_says(paper: PaperExchange, account: Account, path: str, **params: Any) -> None:
    """Change something by hand, as a person would at BingX."""
    caller = Caller(paper.port, account.api_key, account.api_secret)
    caller.data("POST", path, **params)
    caller.close()


# Accounts


def test_an_account_that_is_well_has_no_danger(account: Account) -> None:
    make_strategy(account)
    assert dangers() == set()
    assert {"clock", "key", "position_mode"} <= words(found(), Level.OK)


def test_a_key_that_may_withdraw_is_a_danger(account: Account, paper: PaperExchange) -> None:
    rekey(paper, account, permissions=[1, 2, 3, 5])
    assert dangers() == {"key_may_withdraw"}


def test_a_key_that_may_move_money_is_told(account: Account, paper: PaperExchange) -> None:
    rekey(paper, account, permissions=[1, 2, 3, 4])
    assert "key_may_transfer" in words(found(), Level.ADVICE)


def test_a_key_that_may_not_trade_what_its_strategies_trade_is_a_danger(account: Account, paper: PaperExchange) -> None:
    make_strategy(account)
    rekey(paper, account, permissions=[1, 2])
    assert dangers() == {"key_may_not_trade"}


def test_a_key_that_the_exchange_does_not_know_is_a_danger(account: Account) -> None:
    account.api_key = "paper-that-nobody-knows"
    account.save(update_fields=["api_key"])
    assert dangers() == {"key_refused"}


def test_a_wrong_secret_is_a_danger(account: Account) -> None:
    account.api_secret = "not the secret of this key"
    account.save(update_fields=["api_secret"])
    assert dangers() == {"key_refused"}


def test_a_key_bound_to_another_address_is_a_danger_that_names_ours(account: Account, paper: PaperExchange) -> None:
    rekey(paper, account, ip_addresses=["203.0.113.7"])
    finding = the(found(), "key_bound_elsewhere")
    assert finding.level == Level.DANGER
    assert "100419" in finding.sentence
    assert "127.0.0.1" in finding.sentence


def test_a_real_key_that_works_from_everywhere_is_told(account: Account) -> None:
    account.environment = "live"
    patient = accounts.Patient(account, [])
    assert words(accounts.judge_key(patient, accounts.KeyReport(frozenset({1, 2, 3}), ())), Level.ADVICE) == {
        "key_not_bound"
    }
    bound = accounts.KeyReport(frozenset({1, 2, 3}), ("198.51.100.1",))
    assert words(accounts.judge_key(patient, bound), Level.OK) == {"key"}


def test_an_account_without_a_key_is_a_danger(account: Account) -> None:
    Account.objects.create(name="keyless")
    assert dangers() == {"no_key"}


def test_an_account_above_the_ceiling_is_a_danger(account: Account, settings: Any, paper: PaperExchange) -> None:
    settings.BINGX_URLS = settings.BINGX_URLS | {"vst": paper.url}
    Account.objects.filter(pk=account.pk).update(environment="vst")
    assert dangers() == {"above_ceiling"}


def test_credentials_that_no_key_opens_are_a_danger(account: Account, settings: Any) -> None:
    settings.FIELD_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    assert dangers() == {"credentials_unreadable"}


@pytest.mark.parametrize(
    ("ahead_ms", "level", "word"), [(3000, "danger", "clock_off"), (600, "advice", "clock_drifts")]
)
def test_a_clock_that_differs_is_found(settings: Any, ahead_ms: int, level: str, word: str) -> None:
    venue = Venue(clock_ms=lambda: now_ms() + ahead_ms)
    with running(venue) as port:
        settings.BINGX_URLS = settings.BINGX_URLS | {"paper": f"http://127.0.0.1:{port}"}
        settings.BINGX_PAPER_URL = settings.BINGX_URLS["paper"]
        make_account()
        assert the(found(), word).level == level


def test_an_exchange_that_is_away_is_not_known_and_named_once(account: Account, settings: Any) -> None:
    make_strategy(account)
    settings.BINGX_URLS = settings.BINGX_URLS | {"paper": f"http://127.0.0.1:{free_port()}"}
    assert {"exchange_away", "not_compared"} <= words(found(), Level.UNKNOWN)
    assert dangers() == set()


def test_an_exchange_that_takes_the_call_and_says_nothing_holds_nobody_up(
    account: Account, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "READ_SECONDS", 0.5)
    monkeypatch.setattr(examine, "SECONDS", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.BINGX_URLS = settings.BINGX_URLS | {"paper": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        started = monotonic()
        assert words(found(), Level.UNKNOWN) & {"exchange_away", "exchange_slow"}
        assert monotonic() - started < 6


def test_one_way_mode_under_a_long_and_a_short_leg_is_a_danger(account: Account, paper: PaperExchange) -> None:
    strategy = make_strategy(account)
    Leg.objects.create(strategy=strategy, name="short", entry_interval="5m", close_interval="5m", size=Decimal("0.01"))
    assert dangers() == set()
    exchange_says(paper, account, "/swap/v1/positionSide/dual", dualSidePosition="false")
    assert dangers() == {"one_way_nets"}


def test_another_position_mode_than_the_account_says_is_told(account: Account, paper: PaperExchange) -> None:
    make_strategy(account)
    exchange_says(paper, account, "/swap/v1/positionSide/dual", dualSidePosition="false")
    assert the(found(), "position_mode_differs").level == Level.ADVICE


def test_an_account_that_is_off_is_left_alone_unless_it_holds_something(account: Account, paper: PaperExchange) -> None:
    rekey(paper, account, permissions=[1, 2, 3, 5])
    Account.objects.update(is_active=False)
    assert dangers() == set()
    make_operation(make_strategy(account))
    assert dangers() == {"key_may_withdraw"}


def test_an_exchange_that_fell_silent_is_not_asked_again() -> None:
    asked: list[int] = []

    def read() -> None:
        asked.append(1)
        raise OutcomeUnknown("no answer within 3 s")

    ask = Asker(monotonic() + 60)
    errors = [ask(read) for _ in range(5)]
    assert (len(asked), len(set(map(id, errors)))) == (1, 1)


def test_a_refusal_is_an_answer_after_which_the_next_question_is_asked() -> None:
    asked: list[int] = []

    def read() -> None:
        asked.append(1)
        raise Refused("no", code="100413")

    ask = Asker(monotonic() + 60)
    assert [str(ask(read)) for _ in range(3)] == ["100413: no"] * 3
    assert len(asked) == 3


def test_nobody_is_asked_when_the_time_is_over() -> None:
    assert isinstance(Asker(monotonic() - 1)(lambda: "answer"), OutcomeUnknown)


def test_who_is_late_is_left_out_and_not_waited_for() -> None:
    late = Event()
    started = monotonic()
    answers = ask_together({"quick": lambda: True, "slow": lambda: late.wait(10)}, 0.2)
    assert answers == {"quick": True}
    assert monotonic() - started < 5
    late.set()


# Strategies


def test_a_leverage_that_pelusa_would_set_is_advice(account: Account, paper: PaperExchange) -> None:
    make_strategy(account, leg={"leverage": 5})
    assert the(found(), "leverage_differs").level == Level.ADVICE


def test_a_leverage_changed_by_hand_that_pelusa_thinks_it_set_is_a_danger(
    account: Account, paper: PaperExchange
) -> None:
    make_strategy(account, leg={"leverage": 5})
    Lane.objects.create(account=account, market="usdtm", symbol="BTC-USDT", long_leverage=5, margin_mode="CROSSED")
    finding = the(found(), "leverage_differs")
    assert finding.level == Level.DANGER
    assert "20" in finding.sentence
    exchange_says(paper, account, "/swap/v2/trade/leverage", symbol="BTC-USDT", side="LONG", leverage=5)
    assert dangers() == set()


def test_a_margin_mode_that_cannot_be_set_while_something_is_held_is_a_danger(account: Account) -> None:
    strategy = make_strategy(account, leg={"margin_mode": "ISOLATED"})
    assert the(found(), "margin_differs").level == Level.ADVICE
    make_operation(strategy)
    assert dangers() == {"margin_differs"}


def test_strategies_that_want_one_symbol_set_in_two_ways_are_told(account: Account) -> None:
    make_strategy(account)
    make_strategy(account, name="Other", leg={"margin_mode": "ISOLATED", "leverage": 7})
    told = found()
    assert the(told, "margin_torn").level == Level.DANGER
    assert the(told, "leverage_torn").level == Level.ADVICE


def test_a_ticker_that_the_exchange_does_not_list_is_a_danger(account: Account) -> None:
    make_strategy(account, ticker="NOSUCHUSDT.P", symbol="", pair="NOSUCHUSDT")
    assert dangers() == {"unknown_ticker"}


def test_a_symbol_that_is_no_longer_its_tickers_is_a_danger(account: Account) -> None:
    make_strategy(account, symbol="ETH-USDT")
    assert "symbol_moved" in dangers()


def test_an_instrument_that_takes_no_entries_is_a_danger(account: Account) -> None:
    make_strategy(account)
    Instrument.objects.filter(symbol="BTC-USDT").update(is_open_allowed=False)
    assert dangers() == {"instrument_shut"}


@pytest.mark.parametrize(
    "leg",
    [
        {"size": Decimal("0.00001")},
        {"sizing": "notional", "size": Decimal("0.5")},
        {"sizing": "equity_percent", "size": Decimal("0.00001")},
        {"sizing": "risk_percent", "size": Decimal("0.000001"), "stop_loss_general": Decimal(50)},
    ],
)
def test_a_size_under_the_minimum_is_a_danger(account: Account, leg: dict[str, Any]) -> None:
    make_strategy(account, leg=leg)
    assert dangers() == {"size_too_small"}


def test_a_strategy_without_a_leg_is_a_danger(account: Account) -> None:
    make_strategy(account).legs.all().delete()
    assert "no_leg" in dangers()


def test_a_list_of_instruments_that_nobody_refreshes_is_a_danger(account: Account) -> None:
    make_strategy(account)
    Instrument.objects.update(refreshed_at=timezone.now() - timedelta(days=2))
    assert dangers() == {"list_old"}


@pytest.mark.parametrize(
    ("market", "ticker", "symbol", "size"),
    [("coinm", "BTCUSD.P", "BTC-USD", "1"), ("spot", "BTCUSDT", "BTC-USDT", "0.001")],
)
def test_the_other_products_are_examined_too(
    account: Account, paper: PaperExchange, market: str, ticker: str, symbol: str, size: str
) -> None:
    refresh(Market(market))
    strategy = make_strategy(
        account, ticker=ticker, market=market, symbol=symbol, pair=symbol.replace("-", ""), leg={"size": Decimal(size)}
    )
    told = found()
    assert words(told, Level.DANGER) <= {"no_worker", "no_beat"}
    assert not words(told, Level.UNKNOWN)
    strategy.legs.update(size=Decimal("0.000001"))
    assert dangers() == {"size_too_small"}
    rekey(paper, account, permissions=[2])
    assert "key_may_not_trade" in dangers()


# The queue


def test_a_broker_that_is_away_is_a_danger_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    use_broker(monkeypatch, f"redis://:hunter2@127.0.0.1:{free_port()}/0")
    told = found()
    assert "broker_away" in words(told, Level.DANGER)
    assert "hunter2" not in str(told)


def test_no_worker_is_a_danger() -> None:
    assert "no_worker" in words(found(), Level.DANGER)


def test_beat_that_never_ran_is_a_danger() -> None:
    assert "no_beat" in words(found(), Level.DANGER)


def schedule_all(ran_ago: timedelta) -> None:
    """Store beat's schedules and its last ring as beat does."""
    beat_heart("beat", worked_ago=ran_ago)
    every, _ = IntervalSchedule.objects.get_or_create(every=2, period=IntervalSchedule.SECONDS)
    for name, entry in current_app.conf.beat_schedule.items():
        PeriodicTask.objects.create(name=name, task=entry["task"], interval=every)


def beat_heart(kind: str, worked_ago: timedelta) -> None:
    heart = Heart(kind)
    heart.worked_at = timezone.now() - worked_ago
    heart.beat()


def test_beat_that_fell_silent_is_a_danger() -> None:
    schedule_all(timedelta(seconds=20))
    assert "beat_runs" in words(found(), Level.OK)
    beat_heart("beat", worked_ago=timedelta(minutes=2))
    assert "no_beat" in words(found(), Level.DANGER)


def test_a_worker_that_lives_and_takes_nothing_is_a_danger() -> None:
    beat_heart("worker", worked_ago=timedelta(seconds=20))
    assert "worker_idle" not in words(found(), Level.DANGER)
    beat_heart("worker", worked_ago=timedelta(minutes=2))
    assert "worker_idle" in words(found(), Level.DANGER)


def test_a_schedule_that_somebody_switched_off_is_a_danger() -> None:
    schedule_all(timedelta(0))
    assert dangers() == set()
    PeriodicTask.objects.filter(task="operations.tasks.sweep_protection").update(enabled=False)
    finding = the(found(), "schedule_off")
    assert "keep stops and targets in place" in finding.sentence


def test_an_alarm_that_nobody_routes_is_a_danger() -> None:
    make_alarm(received_at=timezone.now() - timedelta(minutes=3), status=Alarm.Status.RECEIVED)
    assert "alarms_wait" in dangers()


# The webhook and the proxy


def test_a_webhook_that_is_reached_stores_nothing(settings: Any) -> None:
    with planting.web_process() as url:
        told = found(url)
    assert {"webhook_reached", "no_proxy"} <= words(told, Level.OK)
    assert not Alarm.objects.exists()


def test_a_webhook_that_nobody_serves_is_a_danger() -> None:
    assert "webhook_unreachable" in dangers(f"http://127.0.0.1:{free_port()}")


@pytest.mark.parametrize(
    ("status", "told"),
    [(301, "redirect"), (404, "not Pelusa's"), (502, "502"), (401, "not Pelusa's"), (200, "not")],
)
def test_somebody_else_at_the_address_is_a_danger(status: int, told: str) -> None:
    with planting.answering(status, b"<html>hello</html>", Location="https://elsewhere.example/") as url:
        assert told in the(found(url), "webhook_unreachable").sentence


def test_a_host_name_that_is_not_ours_is_a_danger(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["other.example"]
    with planting.web_process() as url:
        finding = the(found(url), "webhook_unreachable")
    assert finding.what_to_do == "Add 127.0.0.1 to ALLOWED_HOSTS."


def test_an_address_that_tradingview_cannot_post_to_is_a_danger() -> None:
    told = list(webhook.judge_address("http://pelusa.example:8000", has_ipv4=False))
    assert words(told, Level.DANGER) == {"wrong_port", "no_ipv4"}
    assert words(told, Level.ADVICE) == {"webhook_without_tls"}
    assert not list(webhook.judge_address("https://pelusa.example", has_ipv4=True))


@pytest.mark.parametrize("secret", ["short", "a" * 24, "ab" * 12, "changeme-1234567890"])
def test_a_webhook_secret_that_can_be_guessed_is_a_danger_and_never_shown(settings: Any, secret: str) -> None:
    settings.WEBHOOK_SECRETS = [STRONG, secret]
    told = found()
    assert "number 2" in the(told, "weak_webhook_secret").sentence
    assert secret not in str([each for each in told if each.word == "weak_webhook_secret"])


@pytest.mark.parametrize(
    ("allow", "level", "word"),
    [
        ("/webhook=127.0.0.1", "danger", "tradingview_shut_out"),
        ("/webhook=52.89.214.238", "danger", "tradingview_shut_out"),
        ("/admin=127.0.0.1", "advice", "webhook_open"),
        ("/webhook=tradingview", "ok", "webhook_rules"),
    ],
)
def test_who_may_call_the_webhook_is_judged(settings: Any, allow: str, level: str, word: str) -> None:
    settings.IP_ALLOW = allow
    assert the(found(), word).level == level


def test_a_proxy_that_is_not_trusted_is_a_danger_with_the_line_to_paste(settings: Any) -> None:
    settings.TRUSTED_PROXIES = networks("TRUSTED_PROXIES", "10.0.0.0/8")
    with planting.web_process() as behind, planting.proxy(behind, "127.0.0.2") as url:
        finding = the(found(url), "proxy_untrusted")
        assert finding.level == Level.DANGER
        line = re.search(r"TRUSTED_PROXIES=(\S+)", finding.what_to_do)
        assert line is not None
        assert line[1] == "10.0.0.0/8,127.0.0.2"
        settings.TRUSTED_PROXIES = networks("TRUSTED_PROXIES", line[1])
        assert the(found(url), "proxy_trusted").level == Level.OK


def test_every_proxy_of_a_chain_stands_in_the_line(settings: Any) -> None:
    with (
        planting.web_process() as behind,
        planting.proxy(behind, "127.0.0.2") as inner,
        planting.proxy(inner, "127.0.0.3") as url,
    ):
        assert "TRUSTED_PROXIES=127.0.0.3,127.0.0.2" in the(found(url), "proxy_untrusted").what_to_do


def test_a_proxy_that_writes_a_port_behind_the_address_is_a_danger() -> None:
    with planting.web_process() as behind, planting.proxy(behind, "127.0.0.2", port=True) as url:
        assert the(found(url), "unreadable_hop").level == Level.DANGER


def test_tls_without_a_word_of_the_caller_proves_a_proxy_that_says_nothing() -> None:
    told = judge_seen("https://pelusa.example", Seen("172.18.0.1", None, is_secure=True), [])
    assert words(told, Level.DANGER) == {"proxy_says_nothing"}


def test_trusting_everybody_is_a_danger() -> None:
    seen = Seen("172.18.0.1", "198.51.100.7", is_secure=True)
    assert words(judge_seen("https://x.example", seen, networks("", "0.0.0.0/0")), Level.DANGER) == {
        "everybody_trusted"
    }


def test_what_the_web_process_sees_is_told_to_nobody_else() -> None:
    assert Client().get("/health/seen").status_code in (401, 403)
    assert Client().get("/health/seen", headers={"X-Pelusa-Doctor": "seen:1:forged"}).status_code in (401, 403)


# The machine


def test_debug_where_money_is_is_a_danger(settings: Any) -> None:
    settings.DEBUG, settings.PELUSA_TRADING = True, "live"
    assert "check_pelusa.E001" in dangers()


def test_a_secret_key_that_can_be_guessed_is_a_danger(settings: Any) -> None:
    settings.SECRET_KEY = "django-insecure-0123456789abcdefghijklmnopqrstuvwxyz"
    assert "weak_secret_key" in dangers()


def test_a_secret_file_that_others_may_read_is_found(settings: Any, tmp_path: Path) -> None:
    kept = tmp_path / "webhook_secret"
    kept.write_text(STRONG)
    kept.chmod(0o600)
    assert "secret_file_open" not in words(found(), Level.ADVICE)
    kept.chmod(0o644)
    assert "secret_file_open" in words(found(), Level.ADVICE)
    settings.PELUSA_TRADING = "live"
    assert "secret_file_open" in dangers()


def test_a_log_that_cannot_be_written_is_a_danger(settings: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("where a folder should be")
    settings.LOGGING = settings.LOGGING | {"file": tmp_path / "file" / "pelusa.log"}
    assert "log_unwritable" in dangers()


def test_a_disk_that_is_nearly_full_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.judge_disk("var", 100 * 1024**2).level == Level.DANGER
    assert machine.judge_disk("var", 1024**3).level == Level.ADVICE
    # The real disk, with the bar raised above it
    monkeypatch.setattr(machine, "EMPTY_BYTES", 2**62)
    assert "disk_full" in dangers()


def test_brakes_that_are_on_are_told(account: Account, settings: Any, tmp_path: Path) -> None:
    (tmp_path / "HALT").write_text("holiday")
    pull(account, "tester", "looking")
    assert {"halted", "kill_switch_on"} <= words(found(), Level.ADVICE)


# The databases, as far as both kinds can have it


def test_a_database_without_our_tables_is_a_danger(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = database("X", f"sqlite:///{tmp_path / 'empty.sqlite3'}", test_dir=tmp_path / "test")
    handler = planting.elsewhere(**file, TIME_ZONE=None)
    monkeypatch.setattr(databases, "connections", handler)
    try:
        assert "migrations_missing" in words(databases.examine_databases(), Level.DANGER)
    finally:
        handler.close_all()


def test_a_database_that_is_away_is_a_danger_and_the_rest_is_still_examined(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = database("X", f"sqlite:///{tmp_path / 'gone.sqlite3'}", test_dir=tmp_path / "test")
    handler = planting.elsewhere(**{**file, "NAME": str(tmp_path)}, TIME_ZONE=None)
    monkeypatch.setattr(databases, "connections", handler)

    def away() -> None:
        raise DatabaseError("the password is hunter2")

    monkeypatch.setattr(queue, "read_traces", away)
    told = found()
    assert "database_away" in words(told, Level.DANGER)
    assert "rows_unread" in words(told, Level.UNKNOWN)
    assert {"webhook_secret", "broker_answers"} <= words(told, Level.OK)
    assert "hunter2" not in str(told)


# The verdict, the command and the page


def test_the_exit_status_says_whether_trading_is_safe() -> None:
    good, bad, dark = ok("x", "a", "."), danger("x", "b", ".", "."), unknown("x", "c", ".", ".")
    assert [exit_status(each) for each in ([good], [good, dark], [good, dark, bad])] == [0, 2, 1]
    assert verdict([good]) == "Trading is safe."
    assert "2 checks" in verdict([dark, dark])
    assert "1 danger." in verdict([bad, dark])


def run_command(*argv: str) -> tuple[int, str]:
    output = StringIO()
    try:
        call_command("doctor", *argv, stdout=output, no_color=True)
    except CommandError as error:
        return error.returncode, output.getvalue()
    return 0, output.getvalue()


@pytest.fixture
def all_is_well(account: Account, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Everything that a test can have beside a worker, whose answer is lent."""
    make_strategy(account, leg={"leverage": 20})
    schedule_all(timedelta(0))
    monkeypatch.setattr(queue, "_ask_workers", lambda: ok("queue", "worker_answers", "."))
    with planting.web_process() as url:
        yield url


def test_the_command_exits_with_zero_when_all_is_well(all_is_well: str) -> None:
    status, text = run_command("--url", all_is_well)
    assert (status, "DANGER" in text, "UNKNOWN" in text) == (0, False, False), text
    assert "Trading is safe; 1 piece of advice." in text


def test_the_command_exits_with_one_for_a_danger_and_says_what_to_do(
    all_is_well: str, paper: PaperExchange, account: Account
) -> None:
    rekey(paper, account, permissions=[1, 2, 3, 5])
    status, text = run_command("--url", all_is_well)
    assert status == 1
    assert re.search(r"DANGER +The key may withdraw.*\n +→ Delete it at BingX", text)


def test_the_command_exits_with_two_when_something_could_not_be_looked_at(all_is_well: str, settings: Any) -> None:
    settings.BINGX_URLS = settings.BINGX_URLS | {"paper": f"http://127.0.0.1:{free_port()}"}
    assert run_command("--url", all_is_well)[0] == 2


def test_the_command_speaks_json(all_is_well: str) -> None:
    status, text = run_command("--url", f"{all_is_well}/webhook/{STRONG}", "--json")
    told = json.loads(text)
    assert (status, told["status"], told["verdict"]) == (0, 0, "Trading is safe; 1 piece of advice.")
    assert {"level", "subject", "word", "sentence", "what_to_do"} == set(told["findings"][0])


def test_an_address_that_is_none_is_refused() -> None:
    assert run_command("--url", "pelusa.example")[0] == 2


@pytest.mark.parametrize(
    ("hosts", "is_tls", "url"),
    [
        ("localhost,127.0.0.1", False, "http://127.0.0.1:8000"),
        ("[::1],pelusa.example", True, "https://pelusa.example"),
        ("10.0.0.5,pelusa.example", False, "http://pelusa.example"),
        ("*", True, ""),
        (".example.com", True, ""),
    ],
)
def test_the_usual_address_is_the_first_public_name(settings: Any, hosts: str, is_tls: bool, url: str) -> None:
    settings.ALLOWED_HOSTS, settings.BEHIND_TLS, settings.PORT = hosts.split(","), is_tls, 8000
    assert webhook.usual_url() == url


def test_the_page_knocks_at_the_address_that_the_browser_used(rf: RequestFactory) -> None:
    assert address_of(rf.get("/admin/doctor/")) == "http://testserver"
    assert address_of(rf.get("/admin/doctor/", headers={"X-Forwarded-Proto": "https"})) == "https://testserver"


def test_no_secret_is_ever_shown(account: Account, paper: PaperExchange, settings: Any) -> None:
    rekey(paper, account, ip_addresses=["203.0.113.7"])
    with planting.web_process() as url:
        _status, text = run_command("--url", f"{url}/webhook/{STRONG}")
    hidden = [account.api_key, account.api_secret, STRONG, settings.SECRET_KEY, *settings.FIELD_ENCRYPTION_KEYS]
    assert not [secret for secret in hidden if secret in text]


def test_traders_see_the_page_and_viewers_do_not(account: Account, paper: PaperExchange) -> None:
    rekey(paper, account, permissions=[1, 2, 3, 5])
    answer = browser_of("trader").get("/admin/doctor/")
    text = answer.content.decode()
    assert answer.status_code == 200
    assert "Trading is NOT safe" in text
    assert "The key may withdraw" in text
    assert browser_of("viewer").get("/admin/doctor/").status_code == 403
    assert Client().get("/admin/doctor/").status_code == 302


def test_the_sidebar_leads_there_whom_it_lets_in() -> None:
    assert 'href="/admin/doctor/"' in browser_of("operator").get("/admin/").content.decode()
    assert 'href="/admin/doctor/"' not in browser_of("viewer").get("/admin/").content.decode()
