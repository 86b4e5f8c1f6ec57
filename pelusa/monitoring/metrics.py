"""What Prometheus reads: counters that all processes keep in rows, and how things stand now, read when it asks.

Every question goes by an index and reads few rows; labels are machine words, never what a stranger sent.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from django.db.models import Count, Max
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from market.models import KlineHole, Series
from operations.models import KillSwitch, Notice, Operation
from pelusa.health import health
from pelusa.monitoring.heart import our_version
from pelusa.monitoring.models import Heartbeat
from pelusa.monitoring.tallies import families, keep_tallies
from pelusa.monitoring.vitals import read_waiting


class PlainText(BaseRenderer):
    """Prometheus' text format."""

    media_type = "text/plain"
    format = "prometheus"
    charset = "utf-8"

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> Any:
        return data if isinstance(data, bytes) else str(data).encode()


class OneFormat(BaseContentNegotiation):
    """Answer in the one format that there is, whatever a scraper would rather have."""

    def select_parser(self, request: Request, parsers: Iterable[Any]) -> Any:
        return next(iter(parsers))

    def select_renderer(self, request: Request, renderers: Iterable[Any], format_suffix: str | None = None) -> Any:
        renderer = next(iter(renderers))
        return renderer, renderer.media_type


class MetricsView(APIView):
    """Figures for Prometheus, for whoever may see orders."""

    required_permission = "operations.view_order"
    renderer_classes = [PlainText]
    content_negotiation_class = OneFormat

    @extend_schema(operation_id="metrics", responses={(200, "text/plain"): str})
    def get(self, request: Request) -> Response:
        """Return what all processes kept: this one until now, the others until they last beat."""
        keep_tallies()
        registry = CollectorRegistry()
        registry.register(Rows())
        return Response(generate_latest(registry))


class Rows:
    """Collects everything from the databases, at one moment."""

    def collect(self) -> Iterator[Metric]:
        now = timezone.now()
        yield from families()
        yield from _of_waiting(now)
        yield from _of_candles(now)
        yield from _of_health(now)
        yield InfoMetricFamily("pelusa_build", "What is deployed.", {"version": our_version()})

    def describe(self) -> Iterable[Metric]:
        """Ask nothing when registered."""
        return []


def _gauge(name: str, words: str, label: str, values: Iterable[tuple[Any, Any]]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"pelusa_{name}", words, labels=[label])
    for which, value in values:
        family.add_metric([str(which)], float(value))
    return family


def _of_waiting(now: datetime) -> Iterator[Metric]:
    ages = [(what, (now - since).total_seconds() if since else 0) for what, since in read_waiting().items()]
    yield _gauge("oldest_waiting_seconds", "Age of the oldest that waits: alarm, order, order in flight.", "what", ages)
    uncovered = Operation.objects.filter(uncovered_since__isnull=False, status__in=Operation.LIVE).count()
    yield GaugeMetricFamily("pelusa_uncovered_operations", "Without a stop or target that they ask for.", uncovered)


def _of_candles(now: datetime) -> Iterator[Metric]:
    followed = list(Series.objects.filter(is_followed=True, last_open_time__isnull=False))
    lags = [(each, (now - each.last_open_time).total_seconds()) for each in followed if each.last_open_time]
    yield _gauge("kline_lag_seconds", "Since the newest stored candle of a followed series opened.", "series", lags)
    incomplete = [(each, each.complete_until is None) for each in followed]
    yield _gauge("kline_incomplete", "1: the series was never seen without gaps.", "series", incomplete)
    holes = KlineHole.objects.order_by().filter(series__is_followed=True).values_list("series__symbol")
    yield _gauge("kline_holes", "Holes at the exchange itself.", "symbol", holes.annotate(Count("id")))


def _of_health(now: datetime) -> Iterator[Metric]:
    found = health()
    ready = found["ready_to_trade"]
    yield GaugeMetricFamily("pelusa_ready_to_trade", "1: every active account could send an entry.", float(ready))
    reasons = {each["reason"] for each in found["because"]}
    yield _gauge("obstacle", "What stands in the way of trading.", "reason", ((each, 1) for each in sorted(reasons)))
    answers = [(name, check["ok"]) for name, check in found["checks"].items()]
    yield _gauge("dependency_up", "1: it answers.", "name", answers)
    pulled = KillSwitch.objects.filter(is_on=True).count()
    yield GaugeMetricFamily("pelusa_kill_switches_on", "Kill switches that are on.", pulled)
    current = Notice.objects.order_by().filter(current_key__isnull=False).values_list("kind").annotate(Count("id"))
    yield _gauge("notices", "Notices that are current.", "kind", current)
    beats = Heartbeat.objects.order_by().values_list("kind").annotate(Max("beat_at"))
    ages = [(kind, (now - at).total_seconds()) for kind, at in beats]
    yield _gauge("heartbeat_age_seconds", "Since the newest sign of life of each kind of process.", "kind", ages)
