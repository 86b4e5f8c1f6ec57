"""Series and backfills over the API: what is stored and what is missing, and the acts that change it."""

from typing import Any

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from exchange.conflicts import Conflict
from exchange.errors import ExchangeError
from exchange.models import MarketChoices
from market import backfill, following
from market.chart import series_of, trouble_of
from market.chart_api import NothingToShow
from market.coverage import Coverage, coverage
from market.intervals import INTERVALS, from_tradingview
from market.models import Backfill, Series
from market.moments import EndField, StartField
from market.paging import probable_now
from market.sentences import told
from market.spans import Span, count
from market.summary import Summary, span_of, summaries
from pelusa.doorbell import ring_on_commit

# A list names so many missing stretches of each series; its own page names them all
MOST_STRETCHES = 20


class SpanSerializer(serializers.Serializer[Any]):
    """Candles that are not there: from the first one's open time to before `end`."""

    start = serializers.DateTimeField()
    end = serializers.DateTimeField()
    candles = serializers.IntegerField()


class CoverageSerializer(serializers.Serializer[Any]):
    """What is stored of a series, and what is missing of what should be."""

    start = serializers.DateTimeField(allow_null=True, help_text="From when on none should be missing.")
    end = serializers.DateTimeField(allow_null=True, help_text="Until when; of a series that is followed, now.")
    first = serializers.DateTimeField(allow_null=True, help_text="The oldest candle's open time.")
    last = serializers.DateTimeField(allow_null=True, help_text="The newest candle's open time.")
    candles = serializers.IntegerField(help_text="How many lie between start and end.")
    is_exact = serializers.BooleanField(help_text="False: parts were not looked at; ask for the series alone.")
    is_complete = serializers.BooleanField(help_text="None is missing but what the exchange itself does not have.")
    missing_candles = serializers.IntegerField()
    missing = SpanSerializer(many=True, help_text="In a list the oldest 20; of the series alone, all.")
    holes = SpanSerializer(many=True, help_text="What the exchange itself does not have.")


class SeriesPage(serializers.ListSerializer[Any]):
    """A page of series, summed up together."""

    def to_representation(self, data: Any) -> Any:
        rows = list(data)
        found = summaries(rows)
        for row in rows:
            row.told = told_in_short(row, found[row.pk])
        return super().to_representation(rows)


class SeriesSerializer(serializers.ModelSerializer[Series]):
    """The candles of one symbol at one interval, and how far we have them."""

    coverage = CoverageSerializer(source="told", read_only=True)

    class Meta:
        model = Series
        list_serializer_class = SeriesPage
        fields = (
            "id",
            "market",
            "symbol",
            "interval",
            "is_followed",
            "has_own_schedule",
            "wanted_since",
            "repaired_at",
            "last_error",
            "coverage",
        )


class NewSeriesSerializer(serializers.Serializer[Any]):
    """Which candles to keep."""

    market = serializers.ChoiceField(choices=MarketChoices.choices, default=MarketChoices.USDTM.value)
    symbol = serializers.CharField(max_length=60, help_text="`BTC-USDT`, or as TradingView writes it: `BTCUSDT.P`.")
    interval = serializers.CharField(max_length=8, help_text="`1m` to `1M`, or TradingView's `5`, `240`, `D`.")

    def validate_interval(self, text: str) -> str:
        try:
            return from_tradingview(text)
        except ValueError as error:
            raise serializers.ValidationError(f"{told(error.args[0], gettext)}.") from None


class FollowSerializer(serializers.Serializer[Any]):
    """From when on none may be missing; left out: from the oldest candle that is stored."""

    since = StartField(required=False)


class RangeSerializer(serializers.Serializer[Any]):
    """Which candles to fetch; without an end, up to now."""

    since = StartField()
    until = EndField(required=False)


class BackfillSerializer(serializers.ModelSerializer[Backfill]):
    """A wish for old candles and how far it came, newest candles first."""

    progress = serializers.SerializerMethodField(help_text="How much of the range is behind it, in per cent.")

    class Meta:
        model = Backfill
        fields = (
            "id",
            "series",
            "since",
            "until",
            "cursor",
            "status",
            "progress",
            "rows",
            "requests",
            "error",
            "not_before",
            "asked_by",
            "created_at",
            "started_at",
            "moved_at",
            "finished_at",
        )

    def get_progress(self, row: Backfill) -> str:
        return f"{row.progress * 100:.1f}"


class SeriesFilter(filters.FilterSet):
    """By product, symbol, interval, and whether it is followed."""

    interval = filters.ChoiceFilter(choices=[(each, each) for each in INTERVALS])

    class Meta:
        model = Series
        fields = ("market", "symbol", "is_followed")


class SeriesViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Series]):
    """Which candles are kept, from when to when, and which are missing."""

    queryset = Series.objects.all()
    serializer_class = SeriesSerializer
    filterset_class = SeriesFilter
    lookup_value_regex = "[0-9]{1,18}"
    required_permission: str | None = None

    def get_object(self) -> Series:
        """Return the series with its coverage counted."""
        series = super().get_object()
        series.told = told_in_full(series)  # type: ignore[attr-defined]
        return series

    @extend_schema(request=NewSeriesSerializer, responses={201: SeriesSerializer})
    def create(self, request: Request) -> Response:
        """Make a series, or find it; nothing is fetched until it is followed or filled."""
        asked = _asked(NewSeriesSerializer, request)
        try:
            series = series_of(**asked)
        except following.UnknownSeries as error:
            raise serializers.ValidationError({"symbol": [f"{error}."]}) from None
        except ExchangeError as error:
            raise NothingToShow(trouble_of(error)) from None
        return self._told(series, status=201)

    @extend_schema(request=FollowSerializer, responses=SeriesSerializer)
    @action(detail=True, methods=["post"], required_permission="market.change_series")
    def follow(self, request: Request, pk: str | None = None) -> Response:
        """Have new candles fetched and gaps repaired from now on."""
        series = super().get_object()
        following.follow(series, **_asked(FollowSerializer, request))
        ring_on_commit("market.tasks.repair_series", series.pk, using="market")
        return self._told(series)

    @extend_schema(request=None, responses=SeriesSerializer)
    @action(detail=True, methods=["post"], required_permission="market.change_series")
    def unfollow(self, request: Request, pk: str | None = None) -> Response:
        """Leave the series as it is; its candles stay."""
        series = super().get_object()
        following.unfollow(series)
        return self._told(series)

    @extend_schema(request=RangeSerializer, responses=BackfillSerializer)
    @action(detail=True, methods=["post"], required_permission="market.add_backfill")
    def backfill(self, request: Request, pk: str | None = None) -> Response:
        """Fetch old candles; the answer is the row that tells how far it is."""
        series, asked = super().get_object(), _asked(RangeSerializer, request)
        try:
            row = backfill.begin(series, **asked, asked_by=request.user.get_username())
        except ExchangeError as error:
            raise NothingToShow(trouble_of(error)) from None
        except ValueError as error:
            raise serializers.ValidationError({"since": [f"{error}."]}) from None
        return Response(BackfillSerializer(row).data)

    def _told(self, series: Series, status: int = 200) -> Response:
        series.refresh_from_db()
        series.told = told_in_full(series)  # type: ignore[attr-defined]
        return Response(SeriesSerializer(series).data, status=status)


class BackfillViewSet(viewsets.ReadOnlyModelViewSet[Backfill]):
    """Wishes for old candles and how far they came."""

    queryset = Backfill.objects.all()
    serializer_class = BackfillSerializer
    filterset_fields = ("series", "status")
    lookup_value_regex = "[0-9]{1,18}"
    required_permission: str | None = None

    @extend_schema(request=None, responses=BackfillSerializer)
    @action(detail=True, methods=["post"], required_permission="market.change_backfill")
    def stop(self, request: Request, pk: str | None = None) -> Response:
        """Stop after the candles that are under way; what is stored stays."""
        return self._moved(backfill.stop, _("It has ended: there is nothing to stop."))

    @extend_schema(request=None, responses=BackfillSerializer)
    @action(detail=True, methods=["post"], required_permission="market.change_backfill")
    def resume(self, request: Request, pk: str | None = None) -> Response:
        """Let one that was stopped go on where it was."""
        return self._moved(backfill.resume, _("It was not stopped: there is nothing to resume."))

    def _moved(self, move: Any, otherwise: Any) -> Response:
        row = self.get_object()
        if not move(row):
            raise Conflict(otherwise)
        row.refresh_from_db()
        return Response(BackfillSerializer(row).data)


def told_in_short(series: Series, found: Summary) -> dict[str, Any]:
    """Return a summary in the shape of the API."""
    shape = _shape(series, found.span, found)
    return shape | {"is_exact": found.is_exact, "missing": shape["missing"][:MOST_STRETCHES]}


def told_in_full(series: Series) -> dict[str, Any]:
    """Return the coverage, counted, in the shape of the API."""
    span = span_of(series, probable_now())
    return _shape(series, span, coverage(series, since=span.start, until=span.stop)) | {"is_exact": True}


def _shape(series: Series, span: Span, found: Summary | Coverage) -> dict[str, Any]:
    is_empty = span.start == span.stop
    return {
        "start": None if is_empty else span.start,
        "end": None if is_empty else span.stop,
        "first": series.first_open_time,
        "last": series.last_open_time,
        "candles": found.candles,
        "is_complete": found.is_complete,
        "missing_candles": found.missing_candles,
        "missing": _spans(series, found.missing),
        "holes": _spans(series, found.holes),
    }


def _spans(series: Series, spans: list[Span]) -> list[dict[str, Any]]:
    return [{"start": span.start, "end": span.stop, "candles": count(span, series.interval)} for span in spans]


def _asked(kind: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
    asked = kind(data=request.data)
    asked.is_valid(raise_exception=True)
    return dict(asked.validated_data)
