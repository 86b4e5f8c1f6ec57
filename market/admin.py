"""Instruments in the back office: the exchange's own list, read-only."""

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from exchange.backoffice import Ledger, number_column, time_column
from market.models import Instrument


@admin.register(Instrument)
class InstrumentAdmin(Ledger):
    """What can be traded, with its grid and floors."""

    list_display = (
        "symbol",
        "market",
        number_column("tick_size", _("Price step")),
        number_column("step_size", _("Quantity step")),
        number_column("min_quantity", _("Least quantity")),
        number_column("min_notional", _("Least value")),
        "max_long_leverage",
        "max_short_leverage",
        "is_open_allowed",
        "is_close_allowed",
        time_column("refreshed_at", _("Read (UTC)")),
    )
    list_filter = ("market", "is_open_allowed", "quote_asset")
    search_fields = ("symbol", "base_asset")
    search_help_text = _("Symbol or coin")
    ordering = ("market", "symbol")


from market import backfills_admin, series_admin  # noqa: E402, F401 - they register the pages of candles
