"""The exchange's instruments over the API."""

from rest_framework import serializers, viewsets

from exchange.fields import PLAIN_DECIMALS
from market.models import Instrument


class InstrumentSerializer(serializers.ModelSerializer[Instrument]):
    """One symbol with its grid and floors."""

    serializer_field_mapping = PLAIN_DECIMALS

    class Meta:
        model = Instrument
        fields = (
            "id",
            "market",
            "symbol",
            "base_asset",
            "quote_asset",
            "tick_size",
            "step_size",
            "min_quantity",
            "min_notional",
            "contract_size",
            "max_long_leverage",
            "max_short_leverage",
            "is_open_allowed",
            "is_close_allowed",
            "refreshed_at",
        )


class InstrumentViewSet(viewsets.ReadOnlyModelViewSet[Instrument]):
    """What can be traded, as the exchange lists it."""

    queryset = Instrument.objects.all()
    serializer_class = InstrumentSerializer
    filterset_fields = ("market", "symbol", "base_asset", "quote_asset", "is_open_allowed")
    lookup_value_regex = "[0-9]{1,18}"
