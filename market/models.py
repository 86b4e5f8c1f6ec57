"""What can be traded, and its candles: instruments, series, closed candles, and what the exchange itself lacks."""

from datetime import timedelta
from decimal import Decimal

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from exchange.models import MarketChoices
from market.fields import IntervalField

SECOND = timedelta(seconds=1)


class Instrument(models.Model):
    """One symbol of one product, with the exchange's grid and floors."""

    market = models.CharField(_("market"), max_length=8, choices=MarketChoices.choices)
    symbol = models.CharField(_("symbol"), max_length=40, help_text=_("The exchange's name for it, e.g. BTC-USDT."))
    base_asset = models.CharField(_("base asset"), max_length=20)
    quote_asset = models.CharField(_("quote asset"), max_length=20)
    tick_size = models.DecimalField(
        _("tick size"), max_digits=28, decimal_places=12, help_text=_("Prices are multiples of it.")
    )
    step_size = models.DecimalField(
        _("step size"), max_digits=28, decimal_places=12, help_text=_("Quantities are multiples of it.")
    )
    min_quantity = models.DecimalField(_("min quantity"), max_digits=28, decimal_places=12)
    min_notional = models.DecimalField(
        _("min notional"), max_digits=28, decimal_places=12, help_text=_("In the quote asset.")
    )
    contract_size = models.DecimalField(
        _("contract size"),
        max_digits=28,
        decimal_places=12,
        default=1,
        help_text=_("COIN-M: quote value of one contract; else 1."),
    )
    max_long_leverage = models.PositiveIntegerField(_("max long leverage"), null=True, blank=True)
    max_short_leverage = models.PositiveIntegerField(_("max short leverage"), null=True, blank=True)
    is_open_allowed = models.BooleanField(_("is open allowed"), default=True)
    is_close_allowed = models.BooleanField(_("is close allowed"), default=True)
    refreshed_at = models.DateTimeField(_("refreshed at"))

    class Meta:
        verbose_name = _("instrument")
        verbose_name_plural = _("instruments")
        ordering = ["market", "symbol"]
        constraints = [models.UniqueConstraint(fields=["market", "symbol"], name="instrument_is_listed_once")]

    def __str__(self) -> str:
        return f"{self.symbol} {self.get_market_display()}"


class Series(models.Model):
    """The candles of one symbol at one interval on one product, and how far we have them."""

    id = models.SmallAutoField(primary_key=True)
    market = models.CharField(_("market"), max_length=8, choices=MarketChoices.choices)
    symbol = models.CharField(_("symbol"), max_length=40, help_text=_("The exchange's name for it, e.g. BTC-USDT."))
    interval = IntervalField(_("interval"))
    is_followed = models.BooleanField(
        _("is followed"), default=False, help_text=_("On: new candles are fetched and gaps are repaired.")
    )
    has_own_schedule = models.BooleanField(
        _("has own schedule"),
        default=False,
        editable=False,
        help_text=_("A periodic task of its own repairs it instead of the common one."),
    )
    wanted_since = models.DateTimeField(
        _("wanted since"),
        null=True,
        blank=True,
        help_text=_("From when on none may be missing, UTC. Empty: from the oldest one stored."),
    )
    complete_until = models.DateTimeField(
        _("complete until"),
        null=True,
        editable=False,
        help_text=_("Nothing is missing before it, but for what the exchange itself lacks."),
    )
    checked_at = models.DateTimeField(
        _("checked at"), null=True, editable=False, help_text=_("When all of it was last gone through.")
    )
    repaired_at = models.DateTimeField(
        _("repaired at"), null=True, editable=False, help_text=_("When new candles were last looked for.")
    )
    revision = models.BigIntegerField(
        _("revision"), default=0, editable=False, help_text=_("How often candles were stored.")
    )
    first_open_time = models.DateTimeField(_("first open time"), null=True, editable=False)
    last_open_time = models.DateTimeField(_("last open time"), null=True, editable=False)
    last_error = models.TextField(
        _("last error"), blank=True, editable=False, help_text=_("Empty when the last repair went well.")
    )
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated at"), auto_now=True)

    class Meta:
        verbose_name = _("series")
        ordering = ["market", "symbol", "id"]
        verbose_name_plural = _("series")
        constraints = [
            models.UniqueConstraint(fields=["market", "symbol", "interval"], name="series_is_listed_once"),
        ]

    def __str__(self) -> str:
        return f"{self.symbol} {self.interval} {self.get_market_display()}"


class Kline(models.Model):
    """One closed candle. The running one is never stored, so that whoever reads a row may take it for final."""

    pk = models.CompositePrimaryKey("series_id", "open_time")
    # The primary key begins with the series: another index would double the cost of storing
    series = models.ForeignKey(
        Series, verbose_name=_("series"), on_delete=models.PROTECT, db_index=False, related_name="klines"
    )
    open_time = models.DateTimeField(_("open time"))
    open = models.DecimalField(pgettext_lazy("price of a candle", "open"), max_digits=28, decimal_places=12)
    high = models.DecimalField(pgettext_lazy("price of a candle", "high"), max_digits=28, decimal_places=12)
    low = models.DecimalField(pgettext_lazy("price of a candle", "low"), max_digits=28, decimal_places=12)
    close = models.DecimalField(pgettext_lazy("price of a candle", "close"), max_digits=28, decimal_places=12)
    volume = models.DecimalField(
        _("volume"), max_digits=28, decimal_places=12, help_text=_("As the exchange counts it.")
    )

    class Meta:
        verbose_name = _("kline")
        verbose_name_plural = _("klines")
        constraints = [
            models.CheckConstraint(condition=Q(low__lte=F("high")), name="kline_low_is_not_above_its_high"),
        ]

    def __str__(self) -> str:
        return f"{self.open_time:%Y-%m-%d %H:%M} {self.close}"


class KlineHole(models.Model):
    """Candles that the exchange was asked for and did not have, from `start` to before `stop`.

    One answer may be a fault, so a hole is believed (confirmed) when it was seen at two different times.
    """

    series = models.ForeignKey(Series, verbose_name=_("series"), on_delete=models.CASCADE, related_name="holes")
    start = models.DateTimeField(_("start"), help_text=_("Open time of the first candle that is lacking."))
    stop = models.DateTimeField(_("stop"), help_text=_("Open time of the next one that is there."))
    seen_at = models.DateTimeField(_("seen at"), help_text=_("When it was first asked for in vain."))
    asked_at = models.DateTimeField(_("asked at"), help_text=_("When it was last asked for in vain."))
    confirmed_at = models.DateTimeField(_("confirmed at"), null=True, blank=True)

    class Meta:
        verbose_name = _("kline hole")
        verbose_name_plural = _("kline holes")
        ordering = ["series", "start"]
        constraints = [
            models.UniqueConstraint(fields=["series", "start"], name="hole_begins_once"),
            models.CheckConstraint(condition=Q(start__lt=F("stop")), name="hole_is_not_empty"),
        ]

    def __str__(self) -> str:
        span = {"start": f"{self.start:%Y-%m-%d %H:%M}", "stop": f"{self.stop:%Y-%m-%d %H:%M}"}
        return gettext("%(start)s to %(stop)s") % span


class Backfill(models.Model):
    """A wish for old candles and how far it came; fetched backwards from `until`, so `cursor` sinks to `since`."""

    class Status(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        RUNNING = "running", _("Running")
        DONE = "done", _("Done")
        STOPPED = "stopped", _("Stopped")

    series = models.ForeignKey(Series, verbose_name=_("series"), on_delete=models.PROTECT, related_name="backfills")
    since = models.DateTimeField(_("since"), help_text=_("Open time of the oldest candle that is wanted, UTC."))
    until = models.DateTimeField(_("until"), help_text=_("Candles that open before it are wanted, UTC."))
    cursor = models.DateTimeField(_("cursor"), help_text=_("Everything from here to `until` is stored."))
    status = models.CharField(_("status"), max_length=8, choices=Status.choices, default=Status.WAITING)
    rows = models.PositiveBigIntegerField(_("rows"), default=0, help_text=_("Candles stored."))
    requests = models.PositiveIntegerField(_("requests"), default=0, help_text=_("Pages asked for."))
    error = models.TextField(_("error"), blank=True, help_text=_("Why it last paused; it goes on by itself."))
    not_before = models.DateTimeField(
        _("not before"), null=True, blank=True, help_text=_("The exchange asked to wait until then.")
    )
    asked_by = models.CharField(_("asked by"), max_length=150, blank=True)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    started_at = models.DateTimeField(_("started at"), null=True, blank=True)
    moved_at = models.DateTimeField(_("moved at"), null=True, blank=True, help_text=_("When it last came further."))
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True)

    class Meta:
        verbose_name = _("backfill")
        verbose_name_plural = _("backfills")
        ordering = ["-id"]
        indexes = [models.Index(fields=["status", "moved_at"], name="backfill_unfinished")]
        constraints = [
            models.CheckConstraint(
                condition=Q(since__lte=F("cursor"), cursor__lte=F("until")), name="backfill_cursor_is_within_its_range"
            ),
        ]

    def __str__(self) -> str:
        return gettext("%(series)s since %(day)s") % {"series": self.series, "day": f"{self.since:%Y-%m-%d}"}

    @property
    def progress(self) -> Decimal:
        """Return how much of the range is behind it, from 0 to 1."""
        whole = self.until - self.since
        return Decimal(1) if not whole else Decimal((self.until - self.cursor) // SECOND) / (whole // SECOND)
