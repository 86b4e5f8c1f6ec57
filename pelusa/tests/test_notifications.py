"""Each thing that happens is told once on each channel, whatever becomes of workers and services."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from operations.models import Notice, Order, OrderEvent
from operations.notices import end_notice, raise_notice
from pelusa.notifications import events, outbox, tasks
from pelusa.notifications.models import Channel, Message, Watermark
from pelusa.testing import DATABASES
from pelusa.tests.making import make_account, make_history, make_operation, make_order, make_strategy
from pelusa.tests.planted import planted
from pelusa.tests.receiving import Receiver, make_channel, serving

pytestmark = pytest.mark.django_db(databases=DATABASES, transaction=True)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with serving(Receiver()) as server:
        yield server
        server.goes_on.set()


def look() -> None:
    """Do what the sweep does, in this thread."""
    now = timezone.now()
    outbox.end_what_lingers(now)
    outbox.write_messages(now)
    for channel_id in outbox.channels_with_work(timezone.now()):
        outbox.send_due(channel_id)


def step(order: Order, status: str) -> None:
    Order.objects.filter(pk=order.pk).update(status=status)
    OrderEvent.objects.create(order=order, at=timezone.now(), status=status, source="us")


BOOKS_DIFFER = "PAPER · Books differ, entries stopped · BTC-USDT"
NOTICES = [
    ("unsettled_order", "Order not settled"),
    ("unprotected", "Not protected"),
    ("closed_unprotected", "Closed: no protection"),
    ("closed_past_trigger", "Closed past its stop"),
    ("close_ignored", "Alarm to close not heeded"),
    ("exit_refused", "Exit refused"),
    ("books_differ", "Books differ, entries stopped"),
    ("kill_switch_on", "Kill switch on"),
    ("strategy_stopped", "Strategy switched off"),
    ("silence", "Silence"),
    ("health_failed", "Health failed"),
]


@pytest.mark.parametrize(("kind", "words"), NOTICES)
def test_each_notice_arrives_once_and_once_more_when_it_is_over(receiver: Receiver, kind: str, words: str) -> None:
    make_channel(receiver)
    look()
    raise_notice("lane:1", kind, account=make_account(), symbol="BTC-USDT")
    look()
    look()
    assert receiver.titles == [f"PAPER · {words} · BTC-USDT"]
    end_notice("lane:1", kind)
    look()
    look()
    assert receiver.titles[1:] == [f"PAPER · Over: {words} · BTC-USDT"]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("filled", "Entry filled"),
        ("denied", "Entry denied"),
        ("rejected", "Entry refused by the exchange"),
        ("expired", "Entry ended by the exchange"),
    ],
)
def test_each_end_of_an_order_arrives_once(receiver: Receiver, status: str, words: str) -> None:
    make_channel(receiver)
    look()
    order = make_order(make_operation(make_strategy()))
    step(order, status)
    step(order, status)
    look()
    look()
    assert receiver.titles == [f"PAPER · {words} · BTC-USDT"]


def test_a_message_says_who_what_why_and_where(receiver: Receiver, settings: Any) -> None:
    settings.PELUSA_URL = "https://pelusa.example.com"
    make_channel(receiver)
    look()
    order = make_order(make_operation(make_strategy()), code="101204", detail="no margin", reason="refused")
    step(order, "rejected")
    look()
    assert receiver.taken[0]["message"].splitlines() == [
        "desk · Stochastic 5m · Long",
        "The exchange refused it (101204): no margin",
        f"https://pelusa.example.com/admin/operations/order/{order.pk}/change/",
    ]


def test_what_was_before_a_channel_is_not_told_to_it(receiver: Receiver) -> None:
    raise_notice("all", "kill_switch_on")
    look()
    make_channel(receiver)
    look()
    assert receiver.taken == []


def test_a_row_that_commits_after_a_younger_one_is_told_too(receiver: Receiver) -> None:
    make_channel(receiver)
    look()
    late = Notice.objects.create(current_key="x", kind="books_differ", level="critical")
    Notice.objects.filter(pk=late.pk).delete()
    raise_notice("all", "kill_switch_on")
    look()
    late.save(force_insert=True)
    look()
    assert len(receiver.titles) == 2


def test_the_watermark_moves_and_tells_nothing_twice(receiver: Receiver) -> None:
    make_channel(receiver)
    look()
    for number in range(3):
        raise_notice(f"lane:{number}", "books_differ")
        long_ago = timezone.now() - timedelta(minutes=5)
        Watermark.objects.filter(source="notice").update(horizon_at=long_ago)
        look()
    assert len(receiver.titles) == 3
    mark = Watermark.objects.get(source="notice")
    assert mark.position < mark.horizon == Notice.objects.latest("pk").pk


def test_a_year_of_history_is_not_read_again_and_again(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "A_PAGE", 2)
    make_channel(receiver)
    look()
    order = make_order(make_operation(make_strategy()))
    long_ago = timezone.now() - timedelta(days=30)
    for _ in range(9):
        OrderEvent.objects.create(order=order, at=long_ago, status="filled", source="us")
    step(order, "filled")
    with CaptureQueriesContext(connection) as asked:
        look()
    read = [each["sql"] for each in asked if 'JOIN "operations_order"' in each["sql"].replace("`", '"')]
    assert len(receiver.titles) == 1
    assert len(read) == 2, "a page with the news, and one that finds nothing more"


class Died(BaseException):
    """A worker's end."""


def test_what_was_read_and_not_written_down_is_read_again(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: Any) -> None:
        raise Died

    # Half a day from the daily summary
    make_channel(receiver, daily_hour=(timezone.now().hour + 12) % 24)
    Channel.objects.update(since=F("since") - timedelta(hours=1))
    look()
    raise_notice("lane:1", "books_differ")
    look()
    raise_notice("all", "kill_switch_on")
    end_notice("lane:1", "books_differ")
    Notice.objects.filter(kind="books_differ").update(ended_at=F("ended_at") - timedelta(minutes=5))
    for _ in range(2):
        Watermark.objects.update(horizon_at=F("horizon_at") - timedelta(minutes=7))
        with monkeypatch.context() as patch:
            patch.setattr(outbox, "tell", die)
            with pytest.raises(Died):
                look()
    look()
    assert len(receiver.titles) == 3


def test_two_workers_that_look_at_once_tell_it_once(receiver: Receiver) -> None:
    make_channel(receiver)
    look()
    for number in range(5):
        raise_notice(f"lane:{number}", "books_differ")
    barrier = threading.Barrier(2)

    def work() -> None:
        barrier.wait()
        look()
        connection.close()

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    look()
    assert len(receiver.titles) == 5
    assert set(Message.objects.values_list("status", flat=True)) == {"sent"}


def age_lease() -> None:
    Channel.objects.update(leased_until=timezone.now() - timedelta(seconds=1))


def test_a_worker_killed_between_claim_and_send_leaves_a_message_that_arrives_once(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = make_channel(receiver)
    look()
    raise_notice("all", "kill_switch_on")
    outbox.write_messages(timezone.now())
    # As a kill leaves it: the channel is claimed and nobody is there
    Channel.objects.update(lease="of-the-dead", leased_until=timezone.now() + outbox.LEASE)
    outbox.send_due(channel.pk)
    assert receiver.taken == []
    age_lease()
    look()
    look()
    assert len(receiver.taken) == 1


def test_a_worker_killed_while_it_sent_leaves_a_message_that_is_not_repeated(receiver: Receiver) -> None:
    make_channel(receiver)
    look()
    raise_notice("all", "kill_switch_on")
    outbox.write_messages(timezone.now())
    began = timezone.now() - outbox.FORGOTTEN - timedelta(seconds=1)
    Message.objects.update(status="sending", began_at=began)
    look()
    message = Message.objects.get()
    assert (message.status, receiver.taken) == ("unknown", [])
    assert "may have arrived" in message.answer


def test_a_dead_channel_is_tried_again_later_and_the_message_arrives_once(receiver: Receiver) -> None:
    make_channel(receiver)
    look()
    receiver.statuses = [503]
    raise_notice("all", "kill_switch_on")
    look()
    message = Message.objects.get()
    assert (message.status, message.tries, message.answer) == ("waiting", 1, "HTTP 503")
    assert message.due_at > timezone.now()
    look()
    assert len(receiver.paths) == 1, "it waits before it tries again"
    Message.objects.update(due_at=timezone.now())
    Channel.objects.update(paused_until=timezone.now())
    look()
    assert len(receiver.taken) == 1
    assert Channel.objects.get().failures == 0


def test_after_a_day_it_is_given_up_and_a_notice_says_so() -> None:
    channel = make_channel()
    look()
    raise_notice("all", "kill_switch_on")
    look()
    Message.objects.update(created_at=timezone.now() - timedelta(hours=25))
    look()
    assert Message.objects.get(event__startswith="notice", kind="kill_switch").status == "given_up"
    notice = Notice.objects.get(kind="notification_given_up")
    assert notice.facts == {"channel": channel.name, "messages": 1}


def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    make_channel(receiver)
    look()
    receiver.statuses = [302]
    raise_notice("all", "kill_switch_on")
    look()
    assert receiver.paths == [f"/{planted('channel token')}"]
    assert Message.objects.get().answer == "HTTP 302"


def test_a_service_that_hangs_is_left_and_its_message_not_repeated(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_channel(receiver)
    look()
    receiver.goes_on.clear()
    monkeypatch.setattr("pelusa.notifications.sending.LIFE_SECONDS", 4.0)
    raise_notice("all", "kill_switch_on")
    look()
    message = Message.objects.get()
    assert message.status == "unknown"
    assert message.answer in ("it took too long", "no answer in time")


def test_hands_that_wait_for_services_are_few_and_all_others_are_free(receiver: Receiver) -> None:
    channels = [make_channel(receiver, name=f"phone {number}") for number in range(4)]
    look()
    receiver.goes_on.clear()
    raise_notice("all", "kill_switch_on")
    outbox.write_messages(timezone.now())

    def work(channel_id: int) -> None:
        tasks.send_on_channel(channel_id)
        connection.close()

    workers = [threading.Thread(target=work, args=(channel.pk,)) for channel in channels]
    for worker in workers:
        worker.start()
    assert receiver.asked.wait(30)
    # Two wait for the receiver; the others came back at once
    for worker in workers:
        worker.join(1)
    assert sum(worker.is_alive() for worker in workers) == tasks.HANDS
    receiver.goes_on.set()
    for worker in workers:
        worker.join()
    look()
    assert len(receiver.taken) == 4


def test_more_than_the_limit_a_minute_come_together_in_one(receiver: Receiver) -> None:
    make_channel(receiver, per_minute=3)
    look()
    for number in range(10):
        raise_notice(f"lane:{number}", "books_differ")
    look()
    assert len(receiver.taken) == 3
    assert receiver.titles[2] == "Pelusa: 8 messages"
    assert receiver.taken[2]["message"].count("Books differ") == 8
    raise_notice("all", "kill_switch_on")
    look()
    assert len(receiver.taken) == 3, "the minute's limit is reached"


def test_what_is_gathered_waits_and_comes_as_one_but_what_is_critical_does_not_wait(receiver: Receiver) -> None:
    make_channel(receiver, gather_minutes=15)
    look()
    operation = make_operation(make_strategy())
    for _ in range(3):
        step(make_order(operation), "filled")
    raise_notice("all", "kill_switch_on")
    look()
    assert receiver.titles == ["PAPER · Kill switch on"]
    Message.objects.filter(status="waiting").update(due_at=timezone.now())
    look()
    assert receiver.titles[1:] == ["Pelusa: 3 messages"]


def test_a_channel_hears_only_what_it_chose(receiver: Receiver) -> None:
    desk, other = make_account("desk"), make_account("other")
    channel = make_channel(receiver, least_level="warning", kinds=["refusal", "frozen"])
    channel.accounts.add(desk)
    look()
    order = make_order(make_operation(make_strategy(desk)))
    step(order, "filled")
    raise_notice("lane:1", "books_differ", account=other)
    raise_notice("lane:2", "kill_switch_on", account=desk)
    raise_notice("lane:3", "close_ignored", "info", account=desk)
    raise_notice("lane:4", "books_differ", account=desk)
    look()
    assert receiver.titles == ["PAPER · Books differ, entries stopped"]


def test_the_daily_summary_comes_once_a_day(receiver: Receiver) -> None:
    make_history()
    now = timezone.now()
    make_channel(receiver, kinds=["daily"], daily_hour=now.hour, since=now - timedelta(days=2))
    look()
    look()
    assert receiver.titles == [f"PAPER · Daily summary · {now:%Y-%m-%d}"]
    assert "operations closed" in receiver.taken[0]["message"]


def test_old_messages_are_thinned_and_waiting_ones_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    channel = make_channel()
    old = timezone.now() - timedelta(days=31)
    rows = {"channel": channel, "kind": "fill", "level": "info", "due_at": old, "title": "x"}
    Message.objects.create(**rows, event="a", status="sent", created_at=old)
    Message.objects.create(**rows, event="b", status="waiting", created_at=old)
    for number in range(4):
        Message.objects.create(**rows, event=f"new:{number}", status="sent")
    monkeypatch.setattr(outbox, "MOST_KEPT", 2)
    assert outbox.thin(timezone.now()) == 3
    assert set(Message.objects.values_list("event", flat=True)) == {"b", "new:2", "new:3"}


def test_an_address_that_no_key_opens_is_told_once_on_the_other_channels(receiver: Receiver, settings: Any) -> None:
    lost = make_channel(receiver, name="lost")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE pelusa_channel SET url = 'sealed with a lost key' WHERE id = %s", [lost.pk])
    make_channel(receiver)
    look()
    raise_notice("lane:1", "books_differ", account=make_account(), symbol="BTC-USDT")
    for _ in range(3):
        Channel.objects.update(paused_until=None)
        look()
    assert sorted(receiver.titles) == ["PAPER · A channel's address cannot be read", BOOKS_DIFFER]
    Channel.objects.filter(pk=lost.pk).update(
        url=f"json://{receiver.address}/{planted('channel token', 'again')}", paused_until=None
    )
    look()
    assert Notice.objects.get(kind="channel_unreadable").ended_at
    assert receiver.titles.count(BOOKS_DIFFER) == 2


def test_a_channel_that_cannot_be_opened_is_not_asked_at_every_sweep(receiver: Receiver) -> None:
    lost = make_channel(receiver)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE pelusa_channel SET url = 'sealed with a lost key' WHERE id = %s", [lost.pk])
    look()
    raise_notice("lane:1", "books_differ", account=make_account())
    look()
    assert outbox.channels_with_work(timezone.now()) == []
