"""Count who is turned away, and why, in a table that no attacker can fill.

A refusal costs the request a counter in memory. A thread writes the counters every few seconds, at most `MOST_AT_ONCE`
rows at a time, into a table of at most `MOST_ROWS`; whoever comes in more disguises is counted under `OTHERS`. A crash,
or a database that is away, loses counts and nothing else.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv6Address, IPv6Network

from django.db import transaction
from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from pelusa.addresses import parse_address
from pelusa.models import Refusal

MOST_AT_ONCE = 200
MOST_ROWS = 2_000
OTHERS = "others"
UNKNOWN = "unknown"
# The path's first word comes from the sender: only these are told apart
PREFIXES = ("/webhook", "/api", "/admin", "/health", "/metrics", "/get-k-line-data", "/i18n")
# Elsewhere than at the webhook only these are about who asks, and not about what he asks
STATUSES = frozenset({401, 403, 429})
REASONS = {400: "bad_request", 403: "permission_denied", 404: "not_found", 429: "throttled"}

Key = tuple[str, str, str]


@dataclass(slots=True)
class _Seen:
    count: int
    first_at: datetime
    last_at: datetime


class Refusals:
    """The counters of this process."""

    def __init__(self, now: Callable[[], datetime] = timezone.now) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._seen: dict[Key, _Seen] = {}

    def add(self, address: str, reason: str, path: str) -> None:
        """Count one more."""
        key, now = (_whose(address), reason, prefix_of(path)), self._now()
        with self._lock:
            if key not in self._seen and len(self._seen) >= MOST_AT_ONCE:
                key = (OTHERS, *key[1:])
            seen = self._seen.setdefault(key, _Seen(0, now, now))
            seen.count, seen.last_at = seen.count + 1, now

    def write(self) -> None:
        """Add the counters to the table; raise the database's error when it is away, and then lose them."""
        with self._lock:
            taken, self._seen = self._seen, {}
        if taken:
            with transaction.atomic():
                _store(taken)
            _forget_oldest()


def _whose(address: str) -> str:
    """Return whom to count: of IPv6 the /64, since whoever has one address has them all."""
    parsed = parse_address(address)
    if not isinstance(parsed, IPv6Address):
        return address or UNKNOWN
    return str(IPv6Network((parsed, 64), strict=False))


def prefix_of(path: str) -> str:
    """Return which part of Pelusa a path is in; what the sender made up is `/`."""
    return next((each for each in PREFIXES if path == each or path.startswith(f"{each}/")), "/")


def _store(taken: dict[Key, _Seen]) -> None:
    # In one order, so that two processes that write at once do not wait for each other in a circle
    new = [_row(key, taken[key]) for key in sorted(taken) if not _raise_count(key, taken[key])]
    # Another process may have been first: it costs a count
    Refusal.objects.bulk_create(new, ignore_conflicts=True)


def _raise_count(key: Key, seen: _Seen) -> int:
    address, reason, prefix = key
    row = Refusal.objects.filter(address=address, reason=reason, prefix=prefix)
    return row.update(count=F("count") + seen.count, last_seen_at=seen.last_at)


def _row(key: Key, seen: _Seen) -> Refusal:
    address, reason, prefix = key
    times = {"count": seen.count, "first_seen_at": seen.first_at, "last_seen_at": seen.last_at}
    return Refusal(address=address, reason=reason, prefix=prefix, **times)


def _forget_oldest() -> None:
    newest_first = Refusal.objects.order_by("-last_seen_at", "-pk")
    # As a list: MySQL deletes from no table that its condition reads
    surplus = list(newest_first.values_list("pk", flat=True)[MOST_ROWS:])
    Refusal.objects.filter(pk__in=surplus).delete()


refusals = Refusals()


def note(request: HttpRequest, response: HttpResponse) -> None:
    """Count an answer that turned somebody away."""
    status, path = response.status_code, request.path_info
    reason = getattr(response, "refused_for", "") or REASONS.get(status, str(status))
    if status < 500 and (status in STATUSES or reason == "bad_host" or prefix_of(path) == "/webhook"):
        refusals.add(request.client_address, reason, path)  # type: ignore[attr-defined]
