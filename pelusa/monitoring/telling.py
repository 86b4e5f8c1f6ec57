"""Keep notices as things stand: raise what is new, end what is over."""

from collections.abc import Collection

from operations.models import Notice
from operations.notices import end_notice, raise_notice
from pelusa.monitoring.faults import Fault


def tell(kinds: Collection[str], faults: Collection[Fault]) -> None:
    """Raise a notice for each fault that has none, end those of `kinds` that are over; one query when all is well."""
    rows = Notice.objects.filter(current_key__isnull=False, kind__in=kinds).values_list("current_key", "kind")
    current = {key: kind for key, kind in rows if key}
    wrong = {f"{fault.kind}:{fault.key}": fault for fault in faults if fault.kind in kinds}
    for key, fault in wrong.items():
        if key not in current:
            raise_notice(fault.key, fault.kind, fault.level, **fault.facts)
    for current_key, kind in current.items():
        if current_key not in wrong:
            end_notice(current_key.removeprefix(f"{kind}:"), kind)
