"""Fetch old candles backwards, chunk by chunk, so that a kill costs one chunk and whoever comes next goes on.

A row says what is wanted and how far it came. The cursor sinks in the transaction that stores, and only from where it
was: of two that work on one row, the slower stops and has done no harm.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from django.db.models import F, Q, QuerySet
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.translation import gettext as _

from exchange.acts import tell_act
from exchange.errors import ExchangeError
from market.coverage import find_gaps, first_open_from
from market.ingest import Ingest
from market.models import Backfill, Series
from market.paging import MOST_A_PAGE, Page, ahead, closed_before, exchange_now, pages
from market.repair import fetch
from market.sheets import UnfitCandle
from market.spans import Span, questions
from pelusa.doorbell import ring_on_commit

Status = Backfill.Status
UNFINISHED = (Status.WAITING, Status.RUNNING)
# Pages that are committed together: at most so many, while the next ones are read, and what came in so many seconds
A_CHUNK = 50
BETWEEN_COMMITS = 1.0
# One that did not move for so long has nobody who works on it
ABANDONED_AFTER = timedelta(seconds=60)
# After an error that names no time
PAUSE = timedelta(seconds=5)


class Overtaken(Exception):
    """Somebody else works on this row and is further, or it was stopped."""


def ask_for(series: Series, since: datetime, *, until: datetime | None = None, asked_by: str = "") -> Backfill:
    """Return a row for this wish: a new one, or the one with the same range that was begun and not done.

    Without `until` the range ends now, and a row that was begun keeps its end. Raises ValueError for a range in which
    no candle has closed, and an exchange's error when its clock is not known and it does not answer.
    """
    start = first_open_from(since, series.interval)
    closed = closed_before(series.interval, exchange_now())
    end = min(first_open_from(until, series.interval), closed) if until else closed
    begun = Backfill.objects.filter(series=series, since=start).exclude(status=Status.DONE).order_by("-id")
    known = (begun.filter(until=end) if until else begun).first()
    if known:
        if Backfill.objects.filter(pk=known.pk, status=Status.STOPPED).update(status=Status.WAITING, finished_at=None):
            tell_act("resumed", known, who=asked_by)
        known.refresh_from_db()
        return known
    if start >= end:
        facts = {"interval": series.interval, "since": f"{since:%Y-%m-%d %H:%M}"}
        raise ValueError(_("no candle of %(interval)s since %(since)s UTC has closed by then") % facts)
    row = Backfill.objects.create(series=series, since=start, until=end, cursor=end, asked_by=asked_by)
    tell_act("started", row, who=asked_by)
    return row


def begin(series: Series, since: datetime, *, until: datetime | None = None, asked_by: str = "") -> Backfill:
    """Have a worker do what `ask_for` describes; the row shows how far it is."""
    row = ask_for(series, since, until=until, asked_by=asked_by)
    ring_on_commit("market.tasks.run_backfill", row.pk, using="market")
    return row


def stop(backfill: Backfill) -> bool:
    """Stop a backfill after the chunk that is under way; False when it had ended. `ask_for` lets it go on."""
    unfinished = Backfill.objects.filter(pk=backfill.pk, status__in=UNFINISHED)
    is_mine = bool(unfinished.update(status=Status.STOPPED, finished_at=timezone.now()))
    if is_mine:
        tell_act("stopped", backfill)
    return is_mine


def resume(backfill: Backfill) -> bool:
    """Let a backfill that was stopped go on where it was; False when it was not stopped."""
    stopped = Backfill.objects.filter(pk=backfill.pk, status=Status.STOPPED)
    is_mine = bool(stopped.update(status=Status.WAITING, finished_at=None))
    if is_mine:
        tell_act("resumed", backfill)
        ring_on_commit("market.tasks.run_backfill", backfill.pk, using="market")
    return is_mine


def unattended() -> QuerySet[Backfill]:
    """Return the rows that nobody works on and that may go on, oldest first."""
    now = timezone.now()
    is_idle = Q(status=Status.WAITING) | Q(moved_at=None) | Q(moved_at__lt=now - ABANDONED_AFTER)
    may_go_on = Q(not_before=None) | Q(not_before__lte=now)
    return Backfill.objects.filter(is_idle, may_go_on, status__in=UNFINISHED).order_by("id")


def is_any_attended() -> bool:
    """Tell whether somebody works on a backfill at this moment."""
    lately = timezone.now() - ABANDONED_AFTER
    return Backfill.objects.filter(status=Status.RUNNING, moved_at__gte=lately).exists()


def run(
    backfill: Backfill, *, seconds: float | None = None, on_progress: Callable[[Backfill], None] | None = None
) -> bool:
    """Work on a row until it is done, or for about so many seconds; return whether it is done.

    Killed, it leaves the row where the last chunk ended. Raises an exchange's error or UnfitCandle, which the row then
    names and waits for a while, and Overtaken.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    _start(backfill)
    try:
        for _ in _descend(backfill):
            if on_progress:
                on_progress(backfill)
            if deadline is not None and time.monotonic() >= deadline:
                break
        is_down = backfill.cursor <= backfill.since
        _finish(backfill) if is_down else _pause(backfill)
    except (ExchangeError, UnfitCandle) as error:
        _pause(backfill, str(error), until=getattr(error, "retry_at", None) or timezone.now() + PAUSE)
        raise
    return is_down


def _descend(backfill: Backfill) -> Iterator[None]:
    """Store chunk after chunk down from the cursor; yield after each commit."""
    ingest = Ingest(backfill.series)
    span = Span(backfill.since, backfill.cursor)
    with ahead(pages(backfill.series, span, ingest.stamp), A_CHUNK) as found:
        for chunk in _chunks(found):
            candles = ingest.store(chunk, also=lambda chunk=chunk: _sink(backfill, chunk))  # type: ignore[misc]
            backfill.cursor = chunk[-1].span.start
            backfill.rows += candles
            backfill.requests += len(chunk)
            yield


def _chunks(found: Iterator[Page]) -> Iterator[list[Page]]:
    """Yield pages by the chunk; what came before an error comes out before it."""
    chunk: list[Page] = []
    due = time.monotonic() + BETWEEN_COMMITS
    try:
        for page in found:
            chunk.append(page)
            if len(chunk) == A_CHUNK or time.monotonic() >= due:
                yield chunk
                chunk, due = [], time.monotonic() + BETWEEN_COMMITS
    except (ExchangeError, UnfitCandle):
        if chunk:
            yield chunk
        raise
    if chunk:
        yield chunk


def _sink(backfill: Backfill, chunk: list[Page]) -> None:
    """Lower the cursor over a chunk, in the transaction that stores it; undo both when somebody else moved it."""
    moved = _mine(backfill, status=Status.RUNNING).update(
        cursor=chunk[-1].span.start,
        rows=F("rows") + sum(page.sheet.candles for page in chunk),
        requests=F("requests") + len(chunk),
        moved_at=timezone.now(),
        error="",
    )
    if not moved:
        raise Overtaken(f"{backfill} was stopped, or another process works on it")


def _mine(backfill: Backfill, **columns: object) -> QuerySet[Backfill]:
    return Backfill.objects.filter(pk=backfill.pk, cursor=backfill.cursor, **columns)


def _start(backfill: Backfill) -> None:
    now = timezone.now()
    started = Backfill.objects.filter(pk=backfill.pk, status__in=UNFINISHED).update(
        status=Status.RUNNING, started_at=Coalesce("started_at", now), moved_at=now, not_before=None
    )
    if not started:
        raise Overtaken(f"{backfill} has ended")
    backfill.refresh_from_db()


def _pause(backfill: Backfill, error: str = "", *, until: datetime | None = None) -> None:
    _mine(backfill, status=Status.RUNNING).update(status=Status.WAITING, error=error, not_before=until)
    backfill.refresh_from_db()


def _finish(backfill: Backfill) -> None:
    """Ask once more for what did not come, remember it as a hole, and end the row."""
    span = Span(backfill.since, backfill.until)
    left = questions(find_gaps(backfill.series, span), backfill.series.interval, MOST_A_PAGE)
    done = fetch(backfill.series, left, exchange_now())
    _mine(backfill, status=Status.RUNNING).update(
        status=Status.DONE,
        rows=F("rows") + done.candles,
        requests=F("requests") + done.requests,
        finished_at=timezone.now(),
        error="",
    )
    backfill.refresh_from_db()
