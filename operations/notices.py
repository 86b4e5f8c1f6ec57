"""Tell a human: raise a notice once, end it when it is over. The log has it too."""

from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone
from loguru import logger

from exchange.models import Account
from operations.models import Notice, Operation


def raise_notice(
    key: str,
    kind: str,
    level: str = Notice.Level.CRITICAL,
    *,
    account: Account | None = None,
    operation: Operation | None = None,
    **facts: Any,
) -> bool:
    """Raise the notice unless it is current already; return whether it is new.

    `key` names the thing it is about (`lane:5`), so that a sweep that finds it again and again says it once.
    """
    current_key = f"{kind}:{key}"
    if Notice.objects.filter(current_key=current_key).exists():
        return False
    try:
        with transaction.atomic():
            Notice.objects.create(
                current_key=current_key, kind=kind, level=level, facts=facts, account=account, operation=operation
            )
    except IntegrityError:
        return False
    logger.log("ERROR" if level == Notice.Level.CRITICAL else level.upper(), "notice {} {}: {}", kind, key, facts)
    return True


def end_notice(key: str, kind: str) -> bool:
    """End the notice if it is current; return whether it was."""
    current = Notice.objects.filter(current_key=f"{kind}:{key}")
    ended = current.update(current_key=None, ended_at=timezone.now())
    if ended:
        logger.info("notice {} {} is over", kind, key)
    return bool(ended)


def current_facts(key: str, kind: str) -> dict[str, Any] | None:
    """Return the facts of the notice when it is current, None when there is none."""
    return Notice.objects.filter(current_key=f"{kind}:{key}").values_list("facts", flat=True).first()
