"""The page of health and the line about it on the first page: honest, for every role, and a line that costs nothing."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone, translation

from exchange.models import ExchangeClock
from market.models import Series
from pelusa import health
from pelusa.health import _sentence
from pelusa.monitoring import watch
from pelusa.monitoring.faults import Fault
from pelusa.monitoring.heart import Heart
from pelusa.monitoring.models import Heartbeat
from pelusa.roles import ROLES
from pelusa.testing import DATABASES
from pelusa.tests.browsing import browser_of, page, queries_of
from pelusa.tests.making import make_account, make_alarm

pytestmark = pytest.mark.django_db(databases=DATABASES)

WELL = {"database default": {"ok": True, "ms": 1.5}, "broker": {"ok": True, "ms": 2.0}}


@pytest.fixture(autouse=True)
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


def test_where_all_is_well_each_part_and_process_says_so() -> None:
    text = page(browser_of("viewer"), reverse("health_page"))
    assert "Ready to trade" in text
    for words in (
        "Database default",
        "1.5 ms",
        "Broker",
        "Exchange&#x27;s clock paper",
        f":{Heart('web').pid}",
        "beat",
    ):
        assert words in text
    assert "silent" not in text
    assert "No candles are followed" in text


def test_what_is_wrong_stands_with_its_sentence_at_its_part_and_on_top() -> None:
    Heartbeat.objects.filter(kind="worker").update(beat_at=timezone.now() - timedelta(minutes=5))
    text = page(browser_of("viewer"), reverse("health_now"))
    assert text.count("No worker shows that it lives since") == 2
    assert "Not ready to trade" in text
    assert "silent" in text


def test_what_waits_and_which_candles_lack_most_is_told() -> None:
    make_alarm(status="received", received_at=timezone.now() - timedelta(seconds=75))
    opened = timezone.now().replace(second=0, microsecond=0)
    for symbol, minutes in (("BTC-USDT", 1), ("ETH-USDT", 31)):
        last = opened - timedelta(minutes=minutes)
        Series.objects.create(market="usdtm", symbol=symbol, interval="1m", is_followed=True, last_open_time=last)
    text = page(browser_of("viewer"), reverse("health_now"))
    assert "0:01:15" in text or "0:01:16" in text
    assert text.index("ETH-USDT") < text.index("BTC-USDT")
    assert "0:30:00" in text or "0:31:00" in text


def test_every_role_may_read_it_and_nobody_else() -> None:
    for role in (*ROLES, "superuser"):
        assert browser_of(role).get(reverse("health_page")).status_code == 200
    assert 'href="/admin/health/"' in page(browser_of("viewer"), reverse("admin:index"))
    for name in ("health_page", "health_now"):
        assert browser_of("").get(reverse(name)).status_code == 403
        assert Client().get(reverse(name)).status_code == 302
        assert browser_of().post(reverse(name)).status_code == 405


def test_only_who_may_ask_the_doctor_is_sent_to_him() -> None:
    assert "Ask the doctor" not in page(browser_of("viewer"), reverse("health_page"))
    assert "Ask the doctor" in page(browser_of("trader"), reverse("health_page"))


def test_the_first_page_has_a_line_that_says_what_the_heart_found_and_leads_to_the_page() -> None:
    browser = browser_of("viewer")
    assert "is not known yet" in page(browser, reverse("overview_now"))
    watch.look_after(timezone.now())
    assert "Ready to trade</a>" in page(browser, reverse("overview_now"))
    Heartbeat.objects.filter(kind__in=["worker", "beat"]).update(beat_at=timezone.now() - timedelta(minutes=5))
    watch.look_after(timezone.now())
    text = page(browser, reverse("overview_now"))
    assert "Not ready to trade</a>: Beat rings nothing since" in text
    assert "There is more." in text
    assert "ready to trade" not in page(browser_of(""), reverse("overview_now"))


def test_the_line_costs_no_query() -> None:
    browser = browser_of("viewer")
    without = queries_of(lambda: browser.get(reverse("overview_now")))
    watch.look_after(timezone.now())
    assert queries_of(lambda: browser.get(reverse("overview_now"))) == without


def test_the_page_costs_the_same_however_many_series_are_followed() -> None:
    def ask() -> None:
        health.health.forget()
        browser.get(reverse("health_now"))

    browser = browser_of("viewer")
    few = queries_of(ask)
    for number in range(30):
        last = timezone.now() - timedelta(hours=1)
        Series.objects.create(
            market="usdtm", symbol=f"S{number}-USDT", interval="1m", is_followed=True, last_open_time=last
        )
    assert queries_of(ask) == few < 30


def test_what_was_kept_is_said_in_the_language_of_who_reads_it() -> None:
    sentence = _sentence(Fault("no_active_account"))
    with translation.override("en"):
        assert str(sentence) == "No account is switched on."
    assert not isinstance(sentence, str)
