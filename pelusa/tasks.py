"""What the project itself does by the clock."""

from celery import shared_task

from operations.notices import end_notice, raise_notice
from pelusa.audit.chain import find_break
from pelusa.monitoring.heart import own_heart
from pelusa.monitoring.silence import look_for_silence

AUDIT_BROKEN = "audit_broken"


@shared_task
def check_audit() -> None:
    """Tell a human when an entry of the audit was altered or is missing."""
    broken = find_break()
    if broken:
        raise_notice("audit", AUDIT_BROKEN, detail=broken)
    else:
        end_notice("audit", AUDIT_BROKEN)


@shared_task
def pulse() -> None:
    """Show that work comes through the queue: a worker may live and take nothing."""
    own_heart("worker").note_work()


@shared_task
def sweep_silence() -> None:
    """Say which strategies heard no alarm in the time in which they expect one."""
    look_for_silence()
