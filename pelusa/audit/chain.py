"""Append to the audit, and find where somebody meddled with it."""

from typing import Any

from django.db import transaction
from django.utils import timezone
from loguru import logger

from pelusa.actors import Actor
from pelusa.audit.rows import AuditEntry, AuditHead

THE_HEAD = 1


def append(actor: Actor, act: str, **columns: Any) -> AuditEntry:
    """Append one entry, in the caller's transaction if there is one: the act and its entry stand or fall together.

    Acts of people wait for each other here. No order, alarm or sweep comes by with locks of its own.
    """
    with transaction.atomic():
        AuditHead.objects.get_or_create(pk=THE_HEAD)
        head = AuditHead.objects.select_for_update().get(pk=THE_HEAD)
        entry = _entry(actor, act, head, columns)
        entry.save()
        head.entries, head.last_hash = entry.pk, entry.entry_hash
        head.save(update_fields=["entries", "last_hash"])
    # The log lies elsewhere: who rewrites the whole chain must rewrite that as well
    logger.info("audit {}: {} {} {} {}", entry.pk, entry.act, entry.object_type, entry.object_id, entry.entry_hash)
    return entry


def _entry(actor: Actor, act: str, head: AuditHead, columns: dict[str, Any]) -> AuditEntry:
    entry = AuditEntry(
        id=head.entries + 1,
        at=timezone.now(),
        act=act,
        through=actor.through,
        who=actor.who,
        user_id=actor.user_id,
        token=actor.token,
        address=actor.address,
        request_id=actor.request_id,
        previous_hash=head.last_hash,
        **columns,
    )
    entry.entry_hash = entry.digest()
    return entry


def find_break() -> str:
    """Return what is wrong with the chain, in a sentence that names the entry; empty when it is whole."""
    head = AuditHead.objects.filter(pk=THE_HEAD).first() or AuditHead()
    expected, previous = 1, ""
    for entry in AuditEntry.objects.filter(pk__lte=head.entries).order_by("pk").iterator(chunk_size=1000):
        if entry.pk != expected:
            return f"entry {expected} is missing"
        if entry.previous_hash != previous or entry.digest() != entry.entry_hash:
            return f"entry {entry.pk} was altered"
        expected, previous = expected + 1, entry.entry_hash
    return _what_is_wrong_at_the_end(head, expected, previous)


def _what_is_wrong_at_the_end(head: AuditHead, expected: int, previous: str) -> str:
    if expected <= head.entries:
        return f"entry {expected} is missing"
    if previous != head.last_hash:
        return f"entry {head.entries} was altered"
    return ""
