"""What the project itself does by the clock."""

from celery import shared_task

from operations.notices import end_notice, raise_notice
from pelusa.audit.chain import find_break

AUDIT_BROKEN = "audit_broken"


@shared_task
def check_audit() -> None:
    """Tell a human when an entry of the audit was altered or is missing."""
    broken = find_break()
    if broken:
        raise_notice("audit", AUDIT_BROKEN, detail=broken)
    else:
        end_notice("audit", AUDIT_BROKEN)
