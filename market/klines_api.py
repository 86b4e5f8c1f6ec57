"""Candles over the API, from the store only: ten thousand a page, written by the database."""

import json
from datetime import UTC, datetime
from typing import Any

from django.db.models import F, QuerySet
from django.http import HttpResponse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema, extend_schema_serializer
from rest_framework import serializers, viewsets
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import remove_query_param, replace_query_param

from exchange.fields import PlainDecimalField
from exchange.models import MarketChoices
from market.instruments import symbol_as_written
from market.intervals import from_tradingview
from market.kline_pages import Cursor, KlinePage, read_cursor, read_page
from market.models import Kline, Series
from market.moments import EndField, StartField
from market.sentences import told
from market.spans import Span
from market.symbols import AmbiguousPair
from market.writing import document

USUAL, MOST = 500, 10_000
ALL_TIME = Span(datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC))


class CursorField(serializers.CharField):
    """The way on, as a page named it."""

    def to_internal_value(self, data: Any) -> Any:
        try:
            return read_cursor(super().to_internal_value(data))
        except ValueError:
            raise serializers.ValidationError(_("Must be one that a page named as next or previous.")) from None


class AskKlinesSerializer(serializers.Serializer[Any]):
    """Which candles; left out: all that are stored."""

    series = serializers.IntegerField(required=False, min_value=1, max_value=32767, help_text="Its id at `/series/`.")
    market = serializers.ChoiceField(required=False, choices=MarketChoices.choices)
    symbol = serializers.CharField(
        required=False, max_length=60, help_text="`BTC-USDT`, or as TradingView writes it: `BTCUSDT.P`."
    )
    interval = serializers.CharField(required=False, max_length=8, help_text="`1m` to `1M`, or TradingView's `240`.")
    start = StartField(required=False, help_text="From here on: `2024-01-31`, ISO 8601 or epoch ms; UTC.")
    end = EndField(required=False, help_text="Before it; a day alone is included.")
    limit = serializers.IntegerField(required=False, default=USUAL, min_value=1, max_value=MOST)
    cursor = CursorField(required=False, help_text="As the page before named it.")
    latest = serializers.BooleanField(required=False, default=False, help_text="The newest candle alone.")

    def validate_interval(self, text: str) -> str:
        try:
            return from_tradingview(text)
        except ValueError as error:
            raise serializers.ValidationError(f"{told(error.args[0], gettext)}.") from None


class KlineSerializer(serializers.Serializer[Any]):
    """One closed candle: final, for the running one is never stored."""

    series = serializers.IntegerField()
    open_time = serializers.DateTimeField()
    open = PlainDecimalField()
    high = PlainDecimalField()
    low = PlainDecimalField()
    close = PlainDecimalField()
    volume = PlainDecimalField(help_text="As the exchange counts it.")


@extend_schema_serializer(many=False)
class KlinePageSerializer(serializers.Serializer[Any]):
    """A page, newest candle first within each series."""

    next = serializers.URLField(allow_null=True, help_text="Older candles, then the next series.")
    previous = serializers.URLField(allow_null=True)
    results = KlineSerializer(many=True)


class KlineViewSet(viewsets.GenericViewSet[Kline]):
    """Candles as they are stored."""

    queryset = Kline.objects.all()
    serializer_class = KlinePageSerializer
    pagination_class = None
    filter_backends = ()

    @extend_schema(parameters=[AskKlinesSerializer], responses=KlinePageSerializer)
    def list(self, request: Request) -> HttpResponse | Response:
        """Tell a page of candles; ask for the missing ones at `/get-k-line-data`."""
        form = AskKlinesSerializer(data={name: text for name, text in request.query_params.items() if text})
        form.is_valid(raise_exception=True)
        asked = form.validated_data
        page = _latest(asked) if asked["latest"] else _page(asked)
        links = {"next": _link(request, page.older), "previous": _link(request, page.newer)}
        body = document(links, "results", page.rows)
        if request.accepted_renderer.format == "api":
            # Somebody looks at it in a browser
            return Response(json.loads(body))
        return HttpResponse(body, content_type="application/json")


def _page(asked: dict[str, Any]) -> KlinePage:
    return read_page(list(_series(asked).order_by("pk")), _span(asked), asked["limit"], asked.get("cursor"))


def _latest(asked: dict[str, Any]) -> KlinePage:
    """Return the newest candle, of whichever series has it, as a page without neighbours."""
    newest = list(_series(asked).order_by(F("last_open_time").desc(nulls_last=True), "pk")[:1])
    return KlinePage(read_page(newest, ALL_TIME, 1).rows, None, None)


def _series(asked: dict[str, Any]) -> QuerySet[Series]:
    """Return the series that are asked for; few rows, and few of them have candles in a span."""
    found = Series.objects.all()
    if "series" in asked:
        found = found.filter(pk=asked["series"])
    for name in ("market", "interval"):
        found = found.filter(**{name: asked[name]}) if name in asked else found
    return found.filter(symbol__in=_spellings(asked)) if "symbol" in asked else found


def _spellings(asked: dict[str, Any]) -> set[str]:
    """Return the exchange's symbols that the text may mean, on the product that is asked for or on each."""
    text, markets = asked["symbol"], [asked["market"]] if "market" in asked else MarketChoices.values
    try:
        meant = {symbol_as_written(text, market) for market in markets}
    except AmbiguousPair as error:
        raise serializers.ValidationError({"symbol": [f"{told(error.args[0], gettext)}."]}) from None
    # A symbol that is no longer listed may still have candles
    return {text.upper()} | {each for each in meant if each}


def _span(asked: dict[str, Any]) -> Span:
    return Span(asked.get("start", ALL_TIME.start), asked.get("end", ALL_TIME.stop))


def _link(request: Request, cursor: Cursor | None) -> str | None:
    here = remove_query_param(request.build_absolute_uri(), "cursor")
    return replace_query_param(here, "cursor", str(cursor)) if cursor else None
