"""`GET /get-k-line-data`: candles for a chart, from the store and, where it lacks some, from the exchange."""

from typing import Any

from django.http import HttpResponse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import APIException
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request

from exchange.errors import ExchangeError
from exchange.fields import PlainDecimalField
from exchange.models import MarketChoices
from market.chart import FINAL, MOST, Chart, Trouble, Wish, draw, seconds_until, series_of, trouble_of
from market.following import UnknownSeries
from market.intervals import from_tradingview
from market.models import Kline
from market.moments import EndField, StartField
from market.sentences import told
from market.spans import Span, count
from market.writing import document, milliseconds


class NothingToShow(APIException):
    """The store has nothing of it and the exchange told nothing: 503 where asking again may help, else 502."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.detail, trouble.reason)
        self.status_code = 502 if trouble.reason in FINAL else 503
        self.wait = seconds_until(trouble.retry_at)


class AskChartSerializer(serializers.Serializer[Any]):
    """Which candles, in the words of front ends."""

    symbol = serializers.CharField(max_length=60, help_text="`BTC-USDT`, or as TradingView writes it: `BTCUSDT.P`.")
    interval = serializers.CharField(max_length=8, help_text="`1m` to `1M`, or TradingView's `5`, `240`, `D`.")
    market = serializers.ChoiceField(choices=MarketChoices.choices, default=MarketChoices.USDTM.value)
    start_date = StartField(
        required=False,
        help_text="The oldest candles from here on. `2024-01-31`, `2024-01-31 12:00:00`, ISO 8601 or epoch ms; UTC.",
    )
    end_date = EndField(
        required=False, help_text="Candles that open before it; a day alone is included. Left out: the newest closed."
    )
    limit = serializers.IntegerField(
        required=False,
        min_value=1,
        max_value=MOST,
        help_text=f"Left out: 500, and up to {MOST} between two dates.",
    )

    def validate_interval(self, text: str) -> str:
        try:
            return from_tradingview(text)
        except ValueError as error:
            raise serializers.ValidationError(f"{told(error.args[0], gettext)}.") from None

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        start, end = attrs.get("start_date"), attrs.get("end_date")
        if start and end and start >= end:
            raise serializers.ValidationError({"end_date": [_("Must be later than start_date.")]})
        return attrs


class CandleSerializer(serializers.Serializer[Any]):
    """One closed candle."""

    time = serializers.IntegerField(help_text="When it opened, in milliseconds since 1970.")
    open = PlainDecimalField()
    high = PlainDecimalField()
    low = PlainDecimalField()
    close = PlainDecimalField()
    volume = PlainDecimalField(help_text="As the exchange counts it.")


class StretchSerializer(serializers.Serializer[Any]):
    """Candles that are not there, from the first one's opening to before `end`."""

    start = serializers.IntegerField(help_text="In milliseconds since 1970.")
    end = serializers.IntegerField()
    candles = serializers.IntegerField()


class MissingSerializer(StretchSerializer):
    """What is missing, and why."""

    reason = serializers.CharField(help_text="A machine word, e.g. exchange_away.")
    detail = serializers.CharField(help_text="The reason in a sentence.")


class ChartSerializer(serializers.Serializer[Any]):
    """Closed candles, oldest first. `complete`: none is missing but what the exchange itself does not have."""

    symbol = serializers.CharField()
    interval = serializers.CharField()
    market = serializers.CharField()
    complete = serializers.BooleanField()
    missing = MissingSerializer(many=True)
    holes = StretchSerializer(many=True, help_text="What the exchange itself does not have.")
    data = CandleSerializer(many=True)  # type: ignore[assignment]


class ChartView(GenericAPIView[Kline]):
    """Candles for a chart. The running candle is not among them: what is told here is final."""

    queryset = Kline.objects.all()
    serializer_class = ChartSerializer
    pagination_class = None
    filter_backends = ()

    @extend_schema(operation_id="chart", parameters=[AskChartSerializer], responses=ChartSerializer)
    def get(self, request: Request) -> HttpResponse:
        """Tell the candles, after fetching and storing those that were missing."""
        # An empty field of a form is one that was left out
        asked = AskChartSerializer(data={name: text for name, text in request.query_params.items() if text})
        asked.is_valid(raise_exception=True)
        chart = self._draw(**asked.validated_data)
        if chart.trouble and not chart.rows and chart.missing:
            raise NothingToShow(chart.trouble)
        return HttpResponse(written(chart), content_type="application/json")

    def _draw(
        self, symbol: str, interval: str, market: str, start_date: Any = None, end_date: Any = None, limit: Any = None
    ) -> Chart:
        try:
            return draw(series_of(symbol, market, interval), Wish(start_date, end_date, limit))
        except UnknownSeries as error:
            raise serializers.ValidationError({"symbol": [f"{error}."]}) from None
        except ExchangeError as error:
            raise NothingToShow(trouble_of(error)) from None


def written(chart: Chart) -> bytes:
    """Return the answer's bytes; its candles were written by the database."""
    interval = chart.series.interval
    members = {
        "symbol": chart.series.symbol,
        "interval": interval,
        "market": chart.series.market,
        "complete": not chart.missing,
        "missing": [
            _stretch(span, interval) | {"reason": why.reason, "detail": str(why.detail)} for span, why in chart.missing
        ],
        "holes": [_stretch(span, interval) for span in chart.holes],
    }
    return document(members, "data", chart.rows)


def _stretch(span: Span, interval: str) -> dict[str, Any]:
    return {"start": milliseconds(span.start), "end": milliseconds(span.stop), "candles": count(span, interval)}
