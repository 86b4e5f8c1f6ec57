"""Channels: which services, when a message may leave, what it says, and an address that nobody ever sees again."""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import connection
from django.urls import reverse
from django.utils import translation
from loguru import logger

from operations.models import Notice
from pelusa.logs import patch
from pelusa.notifications import courier
from pelusa.notifications.addresses import check_address
from pelusa.notifications.events import Event
from pelusa.notifications.models import Channel, Kind, Level, Message
from pelusa.notifications.outbox import send_test, when
from pelusa.notifications.quiet import day_to_sum_up, next_gathering, quiet_end, zone_named
from pelusa.notifications.sending import COURIER
from pelusa.notifications.wording import harmless, tell, tell_together
from pelusa.testing import DATABASES
from pelusa.tests.browsing import browser_of
from pelusa.tests.planted import planted
from pelusa.tests.receiving import Mailbox, Receiver, make_channel, serving

MADRID = zone_named("Europe/Madrid")
BUTTON = "pelusa_channel_send_test_message"
TOKEN = planted("channel token")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with serving(Receiver()) as server:
        yield server


# When


@pytest.mark.parametrize(
    ("moment", "over"),
    [
        ("2026-07-01 19:59", None),
        # 22:30 in Madrid's summer, and after midnight
        ("2026-07-01 20:30", "2026-07-02 05:00"),
        ("2026-07-02 04:59", "2026-07-02 05:00"),
        ("2026-07-02 05:00", None),
        # In winter an hour later
        ("2026-12-01 20:30", None),
        ("2026-12-01 21:30", "2026-12-02 06:00"),
        # The nights in which the clocks change are an hour shorter and longer
        ("2026-03-28 21:30", "2026-03-29 05:00"),
        ("2026-10-24 20:30", "2026-10-25 06:00"),
    ],
)
def test_quiet_hours_are_those_of_the_wall_clock(moment: str, over: str | None) -> None:
    assert quiet_end(at(moment), time(22), time(7), MADRID) == (at(over) if over else None)


def test_an_end_that_the_clock_shows_twice_is_never_before_the_moment() -> None:
    # 02:15 for the second time; quiet until 02:30
    assert quiet_end(at("2026-10-25 01:15"), time(22), time(2, 30), MADRID) == at("2026-10-25 01:30")


def test_quiet_hours_within_a_day_and_none_at_all() -> None:
    assert quiet_end(at("2026-07-01 13:00"), time(14), time(16), MADRID) == at("2026-07-01 14:00")
    assert quiet_end(at("2026-07-01 15:00"), time(14), time(16), MADRID) is None
    assert quiet_end(at("2026-07-01 15:00"), None, None, MADRID) is None


def test_gathering_ends_at_the_next_multiple() -> None:
    assert next_gathering(at("2026-07-01 10:07"), 15) == at("2026-07-01 10:15")
    assert next_gathering(at("2026-07-01 10:15"), 15) == at("2026-07-01 10:30")
    assert next_gathering(at("2026-07-01 23:59"), 60) == at("2026-07-02 00:00")


def test_the_day_is_summed_up_at_its_hour_on_the_wall_clock() -> None:
    assert day_to_sum_up(at("2026-07-01 06:00"), 8, MADRID) == (at("2026-07-01 00:00").date(), at("2026-07-01 06:00"))
    assert day_to_sum_up(at("2026-07-01 05:59"), 8, MADRID) == (at("2026-06-30 00:00").date(), at("2026-06-30 06:00"))


def test_what_comes_in_quiet_hours_waits_and_critical_passes_only_where_the_channel_says_so() -> None:
    night = {"quiet_from": time(22), "quiet_until": time(7), "time_zone": "Europe/Madrid"}
    moment, over = at("2026-07-01 21:00"), at("2026-07-02 05:00")
    assert when(Channel(**night), Level.WARNING, moment) == (over, True)
    assert when(Channel(**night), Level.CRITICAL, moment) == (moment, False)
    assert when(Channel(**night, critical_passes=False), Level.CRITICAL, moment) == (over, True)


# Which services


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("file:///etc/passwd", "must begin with one of"),
        ("syslog://localhost", "must begin with one of"),
        ("dbus://", "must begin with one of"),
        ("exec://reboot", "must begin with one of"),
        ("https://api.telegram.org/bot1:x", "must begin with one of"),
        ("json:127.0.0.1", "must begin with one of"),
        ("json://", "too short"),
        ("tgram://123456789:abcdef", "tgram://bot-token/chat-id"),
        ("discord://1234", "discord://webhook-id/webhook-token"),
        ("json://host/?attach=/etc/passwd", "attach is not allowed"),
        ("discord://1/2?ping=@everyone", "ping is not allowed"),
        ("json://host/a b", "must not hold spaces"),
        ("json://[", "no address"),
    ],
)
def test_an_address_that_is_not_on_the_list_is_refused_with_a_reason_and_not_repeated(url: str, says: str) -> None:
    with pytest.raises(ValidationError) as refused:
        check_address(url)
    [words] = refused.value.messages
    assert says in words
    assert "passwd" not in words
    assert "abcdef" not in words


@pytest.mark.parametrize(
    "url",
    [
        "tgram://123456789:abcdefghijklmnopqrstuvwxyz123456789/12345",
        "discord://123456789012345678/abcdefghijklmnopqrstuvwxyz",
        "mailtos://me:password@example.com?to=you@example.com",
        "jsons://192.168.1.5:8443/path",
        "ntfys://ntfy.example.com/topic",
    ],
)
def test_services_on_the_list_are_taken(url: str) -> None:
    check_address(url)


# What it says


def test_names_cannot_become_mentions_links_or_markup() -> None:
    hostile = "@everyone <b>x</b> <@123> [here](http://evil) *bold* `code`\nsecond line \u202e"
    shown = harmless(hostile)
    for forbidden in ("@everyone", "<", ">", "[", "](", "http://", "*", "`", "\n", "\u202e"):
        assert forbidden not in shown


def test_many_messages_in_one_fit_a_service_and_say_how_many_are_left_out() -> None:
    title, body = tell_together([("t" * 100, "b" * 500)] * 30)
    assert title == "Pelusa: 30 messages"
    assert len(body) < 2000
    assert "more, see the back office" in body


def notice_event(**columns: Any) -> Event:
    row = Notice(pk=5, kind="unprotected", level="critical", raised_at=at("2026-07-01 10:00"), **columns)
    return Event("notice:5", Kind.UNSETTLED, Level.CRITICAL, row.raised_at, None, row)


def test_a_message_is_in_the_channels_language_and_needs_no_back_office(settings: Any) -> None:
    facts = {"strategy": "s@all", "symbol": "BTC-USDT", "leg": "long", "lacking": "stop loss at 49000", "detail": ""}
    with translation.override("en"):
        title, body = tell(notice_event(facts=facts))
    assert title == "PAPER · Not protected · BTC-USDT"
    assert "stop loss at 49000" in body
    assert "s@all" not in body
    assert "http" not in body


# The services, as the library speaks to them


def carried(client: Any, title: str, body: str) -> tuple[str, str]:
    return courier.carry(client, courier.Wire(shows_answers=True), {"title": title, "body": body})


def test_telegram_and_discord_get_the_words_as_they_are(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    from apprise.plugins.discord import NotifyDiscord
    from apprise.plugins.telegram import NotifyTelegram

    monkeypatch.setattr(NotifyTelegram, "notify_url", f"http://{receiver.address}/bot")
    monkeypatch.setattr(NotifyDiscord, "notify_url", f"http://{receiver.address}/hooks")
    hostile = harmless("<b>x</b> @everyone [x](http://evil)")
    for url in (f"tgram://123456789:{'a' * 35}/12345", f"discord://{'1' * 18}/{'b' * 64}"):
        client = courier.prepare(url)
        assert client is not None
        assert carried(client, "PAPER · Kill switch on", hostile)[0] == "sent"
    telegram, discord = receiver.taken
    assert telegram["chat_id"] == 12345
    for sent in (telegram["text"], discord["content"]):
        assert "PAPER · Kill switch on" in sent
        assert hostile in sent
    assert "avatar_url" not in discord, "no picture of another host"


def run_courier(url: str, *messages: dict[str, str], shows: bool = False) -> list[dict[str, str]]:
    lines = [{"url": url, "shows_answers": shows}, *messages]
    typed = "".join(json.dumps(line) + "\n" for line in lines)
    done = subprocess.run([sys.executable, str(COURIER)], input=typed, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


HELLO = {"title": "PAPER · Kill switch on", "body": "Entries are denied: ñ"}


def test_mail_arrives_whole_and_a_refusal_is_told() -> None:
    with serving(Mailbox()) as mailbox:
        url = f"mailto://127.0.0.1:{mailbox.port}?from=me@example.com&to=you@example.com&mode=insecure"
        assert run_courier(url, HELLO)[1]["outcome"] == "sent"
        [mail] = mailbox.mails
        assert "you@example.com" in mail
        mailbox.refuses = True
        answer = run_courier(url, HELLO)[1]
        assert answer["outcome"] == "refused"
        assert "refused" in answer["answer"]


def test_what_the_service_answered_is_shown_without_the_address(receiver: Receiver) -> None:
    receiver.statuses = [400]
    told = run_courier(f"json://{receiver.address}/{TOKEN}", HELLO, shows=True)[1]
    assert told["outcome"] == "refused"
    assert told["answer"].startswith("HTTP 400: ")
    assert TOKEN not in told["answer"]


def test_an_outcome_that_nobody_knows_is_not_called_a_failure() -> None:
    assert courier.judge(False, [("unknown", "no answer in time")])[0] == "unknown"
    assert courier.judge(False, [("sent", "HTTP 200"), ("refused", "HTTP 400")])[0] == "unknown"
    assert courier.judge(False, [("refused", "HTTP 400")])[0] == "refused"
    assert courier.judge(False, [])[0] == "refused"


# The back office

pytest_db = pytest.mark.django_db(databases=DATABASES)
FORM = {
    "name": "phone",
    "is_active": "on",
    "least_level": "info",
    "kinds": ["fill", "daily"],
    "language": "es",
    "gather_minutes": "0",
    "daily_hour": "8",
    "quiet_from": "22:00",
    "quiet_until": "07:00",
    "time_zone": "Europe/Madrid",
    "critical_passes": "on",
    "per_minute": "10",
    "messages-TOTAL_FORMS": "0",
    "messages-INITIAL_FORMS": "0",
}


def save(browser: Any, channel: Channel | None = None, **fields: Any) -> Any:
    name, keys = ("change", [channel.pk]) if channel else ("add", [])
    return browser.post(reverse(f"admin:pelusa_channel_{name}", args=keys), FORM | fields, follow=True)


@pytest_db
def test_a_channel_is_made_and_its_address_never_comes_out() -> None:
    browser = browser_of("operator")
    address = f"json://127.0.0.1:9/{TOKEN}"
    assert TOKEN not in save(browser, new_url=address).content.decode()
    channel = Channel.objects.get()
    assert (channel.url, channel.kinds, channel.language) == (address, ["fill", "daily"], "es")
    for name, keys in (("change", [channel.pk]), ("changelist", []), ("history", [channel.pk])):
        page = browser.get(reverse(f"admin:pelusa_channel_{name}", args=keys), follow=True)
        assert page.status_code == 200
        assert TOKEN not in page.content.decode()
    save(browser, channel, name="telephone")
    channel.refresh_from_db()
    assert (channel.name, channel.url) == ("telephone", address), "an empty field keeps it"


@pytest_db
def test_a_form_names_what_is_wrong() -> None:
    browser = browser_of("operator")
    wrong = {"new_url": "syslog://localhost", "time_zone": "Mars", "quiet_until": ""}
    page = save(browser, **wrong).content.decode()
    assert "must begin with one of" in page
    assert "no such time zone" in page
    assert not Channel.objects.exists()


@pytest_db
@pytest.mark.parametrize("role", ["viewer", "trader"])
def test_only_operators_write_channels_and_send_tests(receiver: Receiver, role: str) -> None:
    channel = make_channel(receiver)
    browser = browser_of(role)
    assert browser.get(reverse("admin:pelusa_channel_change", args=[channel.pk])).status_code == 200
    assert save(browser, channel, name="mine").status_code == 403
    assert browser.get(reverse("admin:pelusa_channel_add")).status_code == 403
    assert save(browser, channel, **{BUTTON: "1"}).status_code == 403
    assert receiver.taken == []


@pytest.mark.django_db(databases=DATABASES, transaction=True)
def test_the_test_button_says_what_became_of_it(receiver: Receiver) -> None:
    channel = make_channel(receiver)
    browser = browser_of("operator")
    receiver.statuses = [403, 200]
    same = {"name": channel.name, "language": "en", BUTTON: "1"}
    form = browser.get(reverse("admin:pelusa_channel_change", args=[channel.pk])).content.decode()
    assert f'name="{BUTTON}"' in form
    assert "HTTP 403" in save(browser, channel, **same).content.decode()
    page = save(browser, channel, **same).content.decode()
    assert "HTTP 200" in page
    assert TOKEN not in page
    assert receiver.titles == ["PAPER · Test message"]
    assert list(Message.objects.values_list("status", flat=True)) == ["sent", "given_up"]


@pytest.mark.django_db(databases=DATABASES, transaction=True)
def test_saving_alone_sends_nothing(receiver: Receiver) -> None:
    channel = make_channel(receiver)
    assert save(browser_of("operator"), channel).status_code == 200
    assert receiver.taken == []


@pytest_db
def test_the_address_is_in_no_log_and_no_dump(receiver: Receiver) -> None:
    lines: list[str] = []
    sink = logger.add(lines.append, format="{message} {extra}", level=0)
    logger.configure(patcher=patch)
    try:
        channel = make_channel(receiver)
        send_test(Channel.objects.get(), "t", "b")
        logger.error("it broke at {}", channel.url)
        logger.error("a token {}", TOKEN)
    finally:
        logger.remove(sink)
    assert TOKEN not in "".join(lines)
    dump = StringIO()
    call_command("dumpdata", "pelusa.message", stdout=dump)
    assert TOKEN not in dump.getvalue()
    with connection.cursor() as cursor:
        cursor.execute("SELECT url FROM pelusa_channel")
        assert TOKEN not in str(cursor.fetchall())


@pytest_db
def test_switching_on_again_tells_nothing_of_the_time_between() -> None:
    browser = browser_of("operator")
    long_ago = at("2026-01-01 00:00")
    channel = make_channel(is_active=False, since=long_ago)
    save(browser, channel)
    channel.refresh_from_db()
    assert channel.since > long_ago + timedelta(days=1)
