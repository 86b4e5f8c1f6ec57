"""What can be traded: the exchange's own list of instruments."""

from django.db import models

from exchange.models import MarketChoices


class Instrument(models.Model):
    """One symbol of one product, with the exchange's grid and floors."""

    market = models.CharField(max_length=8, choices=MarketChoices.choices)
    symbol = models.CharField(max_length=40, help_text="The exchange's name for it, e.g. BTC-USDT.")
    base_asset = models.CharField(max_length=20)
    quote_asset = models.CharField(max_length=20)
    tick_size = models.DecimalField(max_digits=28, decimal_places=12, help_text="Prices are multiples of it.")
    step_size = models.DecimalField(max_digits=28, decimal_places=12, help_text="Quantities are multiples of it.")
    min_quantity = models.DecimalField(max_digits=28, decimal_places=12)
    min_notional = models.DecimalField(max_digits=28, decimal_places=12, help_text="In the quote asset.")
    contract_size = models.DecimalField(
        max_digits=28, decimal_places=12, default=1, help_text="COIN-M: quote value of one contract; else 1."
    )
    max_long_leverage = models.PositiveIntegerField(null=True, blank=True)
    max_short_leverage = models.PositiveIntegerField(null=True, blank=True)
    is_open_allowed = models.BooleanField(default=True)
    is_close_allowed = models.BooleanField(default=True)
    refreshed_at = models.DateTimeField()

    class Meta:
        ordering = ["market", "symbol"]
        constraints = [models.UniqueConstraint(fields=["market", "symbol"], name="instrument_is_listed_once")]

    def __str__(self) -> str:
        return f"{self.symbol} {self.market}"
