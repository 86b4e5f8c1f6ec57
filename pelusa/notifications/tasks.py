"""Tell what happened: a sweep that writes messages, and a task for each channel that has some to send."""

import threading

from celery import shared_task
from django.utils import timezone

from operations.overlap import alone
from pelusa.doorbell import ring_on_commit
from pelusa.notifications import outbox

# However many services hang, no more of a worker's threads wait for them; orders have the rest
HANDS = 2
_hands = threading.BoundedSemaphore(HANDS)


@shared_task
def sweep_notifications() -> None:
    """Write what is new, end what lingers, and ring for every channel that has something due; one sweep at a time."""
    with alone("tell", 0) as is_first:
        if is_first:
            _tell_what_happened()


def _tell_what_happened() -> None:
    now = timezone.now()
    outbox.end_what_lingers(now)
    outbox.write_messages(now)
    for channel_id in outbox.channels_with_work(timezone.now()):
        ring_on_commit("pelusa.notifications.tasks.send_on_channel", channel_id, using="default")


@shared_task
def send_on_channel(channel_id: int) -> None:
    """Send what is due on a channel; when all hands are busy leave it to the next sweep."""
    if not _hands.acquire(blocking=False):
        return
    try:
        outbox.send_due(channel_id)
    finally:
        _hands.release()


@shared_task
def thin_messages() -> None:
    """Delete messages that ended long ago."""
    outbox.thin(timezone.now())
