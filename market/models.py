"""What can be traded, and its candles: instruments, series, closed candles, and what the exchange itself lacks."""

from datetime import timedelta
from decimal import Decimal

from django.db import models
from django.db.models import F, Q

from exchange.models import MarketChoices
from market.fields import IntervalField

SECOND = timedelta(seconds=1)


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


class Series(models.Model):
    """The candles of one symbol at one interval on one product, and how far we have them."""

    id = models.SmallAutoField(primary_key=True)
    market = models.CharField(max_length=8, choices=MarketChoices.choices)
    symbol = models.CharField(max_length=40, help_text="The exchange's name for it, e.g. BTC-USDT.")
    interval = IntervalField()
    is_followed = models.BooleanField(default=False, help_text="On: new candles are fetched and gaps are repaired.")
    has_own_schedule = models.BooleanField(
        default=False, editable=False, help_text="A periodic task of its own repairs it instead of the common one."
    )
    wanted_since = models.DateTimeField(
        null=True,
        blank=True,
        help_text="From when on none may be missing, UTC. Empty: from the oldest one stored.",
    )
    complete_until = models.DateTimeField(
        null=True, editable=False, help_text="Nothing is missing before it, but for what the exchange itself lacks."
    )
    checked_at = models.DateTimeField(null=True, editable=False, help_text="When all of it was last gone through.")
    repaired_at = models.DateTimeField(null=True, editable=False, help_text="When new candles were last looked for.")
    revision = models.BigIntegerField(default=0, editable=False, help_text="How often candles were stored.")
    first_open_time = models.DateTimeField(null=True, editable=False)
    last_open_time = models.DateTimeField(null=True, editable=False)
    last_error = models.TextField(blank=True, editable=False, help_text="Empty when the last repair went well.")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["market", "symbol", "id"]
        verbose_name_plural = "series"
        constraints = [
            models.UniqueConstraint(fields=["market", "symbol", "interval"], name="series_is_listed_once"),
        ]

    def __str__(self) -> str:
        return f"{self.symbol} {self.interval} {self.market}"


class Kline(models.Model):
    """One closed candle. The running one is never stored, so that whoever reads a row may take it for final."""

    pk = models.CompositePrimaryKey("series_id", "open_time")
    # The primary key begins with the series: another index would double the cost of storing
    series = models.ForeignKey(Series, on_delete=models.PROTECT, db_index=False, related_name="klines")
    open_time = models.DateTimeField()
    open = models.DecimalField(max_digits=28, decimal_places=12)
    high = models.DecimalField(max_digits=28, decimal_places=12)
    low = models.DecimalField(max_digits=28, decimal_places=12)
    close = models.DecimalField(max_digits=28, decimal_places=12)
    volume = models.DecimalField(max_digits=28, decimal_places=12, help_text="As the exchange counts it.")

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(low__lte=F("high")), name="kline_low_is_not_above_its_high"),
        ]

    def __str__(self) -> str:
        return f"{self.open_time:%Y-%m-%d %H:%M} {self.close}"


class KlineHole(models.Model):
    """Candles that the exchange was asked for and did not have, from `start` to before `stop`.

    One answer may be a fault, so a hole is believed (confirmed) when it was seen at two different times.
    """

    series = models.ForeignKey(Series, on_delete=models.CASCADE, related_name="holes")
    start = models.DateTimeField(help_text="Open time of the first candle that is lacking.")
    stop = models.DateTimeField(help_text="Open time of the next one that is there.")
    seen_at = models.DateTimeField(help_text="When it was first asked for in vain.")
    asked_at = models.DateTimeField(help_text="When it was last asked for in vain.")
    confirmed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["series", "start"]
        constraints = [
            models.UniqueConstraint(fields=["series", "start"], name="hole_begins_once"),
            models.CheckConstraint(condition=Q(start__lt=F("stop")), name="hole_is_not_empty"),
        ]

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%d %H:%M} to {self.stop:%Y-%m-%d %H:%M}"


class Backfill(models.Model):
    """A wish for old candles and how far it came; fetched backwards from `until`, so `cursor` sinks to `since`."""

    class Status(models.TextChoices):
        WAITING = "waiting", "Waiting"
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        STOPPED = "stopped", "Stopped"

    series = models.ForeignKey(Series, on_delete=models.PROTECT, related_name="backfills")
    since = models.DateTimeField(help_text="Open time of the oldest candle that is wanted, UTC.")
    until = models.DateTimeField(help_text="Candles that open before it are wanted, UTC.")
    cursor = models.DateTimeField(help_text="Everything from here to `until` is stored.")
    status = models.CharField(max_length=8, choices=Status.choices, default=Status.WAITING)
    rows = models.PositiveBigIntegerField(default=0, help_text="Candles stored.")
    requests = models.PositiveIntegerField(default=0, help_text="Pages asked for.")
    error = models.TextField(blank=True, help_text="Why it last paused; it goes on by itself.")
    not_before = models.DateTimeField(null=True, blank=True, help_text="The exchange asked to wait until then.")
    asked_by = models.CharField(max_length=150, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    moved_at = models.DateTimeField(null=True, blank=True, help_text="When it last came further.")
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["status", "moved_at"], name="backfill_unfinished")]
        constraints = [
            models.CheckConstraint(
                condition=Q(since__lte=F("cursor"), cursor__lte=F("until")), name="backfill_cursor_is_within_its_range"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.series} since {self.since:%Y-%m-%d}"

    @property
    def progress(self) -> Decimal:
        """Return how much of the range is behind it, from 0 to 1."""
        whole = self.until - self.since
        return Decimal(1) if not whole else Decimal((self.until - self.cursor) // SECOND) / (whole // SECOND)
