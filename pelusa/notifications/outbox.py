"""Write down what is to be told, and tell it: each event once on each channel.

A message is WAITING until the service's client is ready; SENDING is committed before the first byte leaves and the
fate after the last. Whoever is killed before SENDING leaves a message that is sent later; whoever is killed after it
leaves one of which nobody knows whether it arrived: it is said so and never sent again.
"""

import secrets
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from django.db.models import Prefetch, Q, QuerySet
from django.utils import timezone, translation

from exchange.backoffice import without_secrets
from exchange.encryption import WrongKey
from exchange.models import Account
from operations.notices import end_notice, raise_notice
from pelusa.notifications.events import Event, news, totals_of_day
from pelusa.notifications.models import Channel, Kind, Level, Message
from pelusa.notifications.quiet import day_to_sum_up, next_gathering, quiet_end, zone_named
from pelusa.notifications.sending import Courier, Fate, Outcome
from pelusa.notifications.wording import tell, tell_day, tell_together

LEVELS = list(Level)
GIVEN_UP_AFTER = timedelta(days=1)
LEASE = timedelta(seconds=60)
# Longer than a courier lives
FORGOTTEN = timedelta(seconds=120)
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=10), timedelta(minutes=15)
MINUTE = timedelta(minutes=1)
MOST_TOGETHER = 200
SUMMARY_IS_NEWS = timedelta(hours=3)

KEPT = timedelta(days=30)
MOST_KEPT = 20_000
A_PORTION = 500
ENDED = (Message.Status.SENT, Message.Status.UNKNOWN, Message.Status.GIVEN_UP)
GIVEN_UP = "notification_given_up"
UNREADABLE = "channel_unreadable"


def write_messages(now: datetime) -> int:
    """Write a message for every new event and channel that wants it; return how many rows were offered.

    Two that do it at once write each only once: the database says so.
    """
    # Without addresses: words need none, and one that no key opens must not silence the others
    channels = list(Channel.objects.filter(is_active=True).defer("url").prefetch_related(_accounts()))
    if not channels:
        return 0
    with news(now, min(channel.since for channel in channels)) as events:
        told = [message for event in events for message in _of_event(event, channels, now)]
        told += [message for channel in channels if (message := _of_day(channel, now))]
        return _write(told)


def _write(told: list[Message]) -> int:
    known = set(Message.objects.filter(event__in={each.event for each in told}).values_list("channel_id", "event"))
    new = [each for each in told if (each.channel_id, each.event) not in known]
    Message.objects.bulk_create(new, ignore_conflicts=True, batch_size=A_PORTION)
    return len(new)


def _accounts() -> "Prefetch[str, QuerySet[Account], str]":
    return Prefetch("accounts", Account.objects.defer(*without_secrets()))


def _of_event(event: Event, channels: Iterable[Channel], now: datetime) -> Iterator[Message]:
    for channel in channels:
        if wants(channel, event):
            with translation.override(channel.language):
                title, body = tell(event)
            yield _message(channel, event.key, event.kind, event.level, title, body, now)


def wants(channel: Channel, event: Event) -> bool:
    """Tell whether the channel chose events like this one."""
    chosen = {account.pk for account in channel.accounts.all()}
    return (
        event.at >= channel.since
        and event.kind in channel.kinds
        and LEVELS.index(event.level) >= LEVELS.index(Level(channel.least_level))
        # What concerns no account concerns everybody
        and (not chosen or event.account_id is None or event.account_id in chosen)
    )


def _of_day(channel: Channel, now: datetime) -> Message | None:
    zone = zone_named(channel.time_zone)
    day, until = day_to_sum_up(now, channel.daily_hour, zone)
    key = f"day:{day:%Y-%m-%d}"
    is_due = Kind.DAILY in channel.kinds and until > channel.since and now - until < SUMMARY_IS_NEWS
    if not is_due or channel.messages.filter(event=key).exists():
        return None
    _, since = day_to_sum_up(until - timedelta(hours=12), channel.daily_hour, zone)
    with translation.override(channel.language):
        title, body = tell_day(day, totals_of_day(since, until, [each.pk for each in channel.accounts.all()]))
    return _message(channel, key, Kind.DAILY, Level.INFO, title, body, now)


def _message(channel: Channel, event: str, kind: Kind, level: Level, title: str, body: str, now: datetime) -> Message:
    due_at, is_gathered = when(channel, level, now, can_wait=kind != Kind.DAILY)
    words = {"title": title, "body": body, "kind": kind, "level": level}
    return Message(channel=channel, event=event, due_at=due_at, is_gathered=is_gathered, created_at=now, **words)


def when(channel: Channel, level: Level, now: datetime, *, can_wait: bool = True) -> tuple[datetime, bool]:
    """Return when a message may leave, and whether it leaves together with others."""
    is_gathered = bool(channel.gather_minutes) and can_wait and level != Level.CRITICAL
    due_at = next_gathering(now, channel.gather_minutes) if is_gathered else now
    if level == Level.CRITICAL and channel.critical_passes:
        return due_at, is_gathered
    over = quiet_end(due_at, channel.quiet_from, channel.quiet_until, zone_named(channel.time_zone))
    return (over, True) if over else (due_at, is_gathered)


def channels_with_work(now: datetime) -> list[int]:
    """Return the channels on which something is due and nobody is sending."""
    due = Channel.objects.filter(messages__status=Message.Status.WAITING, messages__due_at__lte=now)
    return list(due.filter(_may_send(now)).distinct().order_by("pk").values_list("pk", flat=True))


def _may_send(now: datetime) -> Q:
    is_free = Q(leased_until__isnull=True) | Q(leased_until__lt=now)
    return is_free & (Q(paused_until__isnull=True) | Q(paused_until__lte=now)) & Q(is_active=True)


def send_due(channel_id: int) -> None:
    """Send what is due on a channel, unless somebody else does or its limit a minute is reached."""
    now, lease = timezone.now(), secrets.token_hex(16)
    free = Channel.objects.filter(_may_send(now), pk=channel_id)
    if not free.update(lease=lease, leased_until=now + LEASE):
        return
    try:
        _send_under_lease(Channel.objects.get(pk=channel_id), now)
    except WrongKey:
        _tell_unreadable(channel_id, now)
    finally:
        Channel.objects.filter(pk=channel_id, lease=lease).update(lease="", leased_until=None)


def _tell_unreadable(channel_id: int, now: datetime) -> None:
    """Tell a human once that no key opens the address, and look again much later."""
    channel = Channel.objects.defer("url").get(pk=channel_id)
    Channel.objects.filter(pk=channel_id).update(paused_until=now + LONGEST_PAUSE)
    raise_notice(f"channel:{channel_id}", UNREADABLE, Level.WARNING, channel=channel.name)


def _send_under_lease(channel: Channel, now: datetime) -> None:
    end_notice(f"channel:{channel.pk}", UNREADABLE)
    batches = _batches(channel, now)
    if not batches:
        return
    with Courier(channel.url) as courier:
        for batch in batches:
            with translation.override(channel.language):
                title, body = tell_together([(each.title, each.body) for each in batch])
            if not _send(channel, courier, batch, title, body):
                break


def _batches(channel: Channel, now: datetime) -> list[list[Message]]:
    """Return what leaves now, one text each: as many as the limit allows, and in the last whatever is left."""
    due = list(channel.messages.filter(status=Message.Status.WAITING, due_at__lte=now).order_by("id")[:MOST_TOGETHER])
    gathered = [each for each in due if each.is_gathered]
    batches = [[each] for each in due if not each.is_gathered] + ([gathered] if gathered else [])
    recent = channel.messages.filter(began_at__gt=now - MINUTE).exclude(kind="test")
    room = channel.per_minute - recent.order_by().values("batch").distinct().count()
    if room <= 0:
        return []
    rest = [each for batch in batches[room - 1 :] for each in batch]
    return batches if len(batches) <= room else [*batches[: room - 1], rest]


def _send(channel: Channel, courier: Courier, batch: list[Message], title: str, body: str) -> bool:
    """Send one text and write its fate down; return whether the next may follow."""
    ids = [each.pk for each in batch]
    if not courier.is_ready():
        _write_fate(channel, ids, courier.refusal())
        return False
    waiting = Message.objects.filter(pk__in=ids, status=Message.Status.WAITING)
    if waiting.update(status=Message.Status.SENDING, batch=secrets.token_hex(16), began_at=timezone.now()) != len(ids):
        return False
    fate = courier.send(title, body)
    _write_fate(channel, ids, fate)
    return fate.outcome == Outcome.SENT


def _write_fate(channel: Channel, ids: list[int], fate: Fate) -> None:
    now = timezone.now()
    rows = Message.objects.filter(pk__in=ids, status__in=[Message.Status.WAITING, Message.Status.SENDING])
    if fate.outcome == Outcome.REFUSED:
        pause = min(FIRST_PAUSE * 2 ** min(channel.failures, 10), LONGEST_PAUSE)
        # The most tried first: what was raised by one must not be met again
        for tries in sorted(set(rows.values_list("tries", flat=True)), reverse=True):
            again = now + min(FIRST_PAUSE * 2 ** min(tries, 10), LONGEST_PAUSE)
            rows.filter(tries=tries, pk__in=ids).update(
                status=Message.Status.WAITING, tries=tries + 1, due_at=again, answer=fate.answer
            )
        _pause(channel, now + pause)
        return
    status = Message.Status.SENT if fate.outcome == Outcome.SENT else Message.Status.UNKNOWN
    rows.update(status=status, ended_at=now, answer=fate.answer)
    if fate.outcome == Outcome.UNKNOWN:
        _pause(channel, now + FIRST_PAUSE)
    elif channel.failures or channel.paused_until:
        Channel.objects.filter(pk=channel.pk).update(failures=0, paused_until=None)
        end_notice(f"channel:{channel.pk}", GIVEN_UP)


def _pause(channel: Channel, until: datetime) -> None:
    channel.failures += 1
    Channel.objects.filter(pk=channel.pk).update(failures=channel.failures, paused_until=until)


def end_what_lingers(now: datetime) -> None:
    """Say of what was being sent when a worker was killed that nobody knows, and give up what is a day old."""
    lost = Message.objects.filter(status=Message.Status.SENDING, began_at__lt=now - FORGOTTEN)
    words = "The process ended while it was being sent. It may have arrived, so it is not sent again."
    lost.update(status=Message.Status.UNKNOWN, ended_at=now, answer=words)
    # By when it could leave first: quiet hours and gathering are no failure
    old = Message.objects.filter(status=Message.Status.WAITING, created_at__lt=now - GIVEN_UP_AFTER, tries__gt=0)
    for channel in Channel.objects.filter(pk__in=old.order_by().values("channel")).defer("url"):
        count = old.filter(channel=channel).update(status=Message.Status.GIVEN_UP, ended_at=now)
        if count:
            raise_notice(f"channel:{channel.pk}", GIVEN_UP, Level.WARNING, channel=channel.name, messages=count)


def thin(now: datetime) -> int:
    """Delete messages that ended long ago, and the oldest ones beyond a number; return how many."""
    ended = Message.objects.filter(status__in=ENDED)
    newest = Message.objects.order_by("-id").values_list("id", flat=True)[MOST_KEPT : MOST_KEPT + 1]
    floor = next(iter(newest), 0)
    gone = 0
    while ids := list(
        ended.filter(Q(created_at__lt=now - KEPT) | Q(id__lte=floor)).values_list("pk", flat=True)[:A_PORTION]
    ):
        gone += Message.objects.filter(pk__in=ids).delete()[0]
    return gone


def send_test(channel: Channel, title: str, body: str) -> Message:
    """Send a message at once, past every rule of the channel, and return it with its fate."""
    now = timezone.now()
    token = secrets.token_hex(16)
    words = {"title": title, "body": body, "kind": "test", "level": Level.INFO, "event": f"test:{token}"}
    message = Message.objects.create(
        channel=channel, status=Message.Status.SENDING, batch=token, due_at=now, began_at=now, **words
    )
    with Courier(channel.url) as courier:
        fate = courier.send(title, body) if courier.is_ready() else courier.refusal()
    statuses = {Outcome.SENT: Message.Status.SENT, Outcome.UNKNOWN: Message.Status.UNKNOWN}
    message.status = statuses.get(fate.outcome, Message.Status.GIVEN_UP)
    message.answer, message.ended_at = fate.answer, timezone.now()
    message.save(update_fields=["status", "answer", "ended_at"])
    return message
