"""Alarms: what TradingView posted, as it came, and what became of it."""

from django.db import models
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from market.intervals import INTERVALS


class Alarm(models.Model):
    """One webhook call. It is stored before anything else happens and never changes but for its status."""

    class Status(models.TextChoices):
        RECEIVED = "received", _("Received, waiting")
        PROCESSED = "processed", _("Processed")
        IGNORED = "ignored", _("Ignored")
        INVALID = "invalid", _("Unreadable")
        DUPLICATE = "duplicate", _("Redelivery")

    class Kind(models.TextChoices):
        ORDER = "order", _("Order")
        INDICATOR = "indicator", _("Indicator")

    class Action(models.TextChoices):
        OPEN = "open", _("Open")
        CLOSE = "close", _("Close")

    class LegName(models.TextChoices):
        LONG = "long", _("Long")
        SHORT = "short", _("Short")

    received_at = models.DateTimeField(_("received at"))
    source_ip = models.CharField(_("source ip"), max_length=45, blank=True)
    raw = models.TextField(
        _("raw"), help_text=_("Byte for byte, but for the secret; bytes that are not UTF-8 are shown as \\xNN.")
    )
    kind = models.CharField(_("kind"), max_length=9, choices=Kind.choices, blank=True)
    action = models.CharField(_("action"), max_length=5, choices=Action.choices, blank=True)
    leg = models.CharField(_("leg"), max_length=5, choices=LegName.choices, blank=True)
    ticker = models.CharField(
        _("ticker"), max_length=40, blank=True, help_text=_("As TradingView wrote it, without the exchange's prefix.")
    )
    pair = models.CharField(
        _("pair"), max_length=40, blank=True, help_text=_("The ticker without its suffix: one queue of arrival each.")
    )
    is_perpetual_only = models.BooleanField(
        _("is perpetual only"), default=False, help_text=_("The ticker's suffix says so.")
    )
    interval = models.CharField(_("interval"), max_length=4, choices=[(each, each) for each in INTERVALS], blank=True)
    strategy = models.CharField(_("strategy"), max_length=100, blank=True)
    quantity = models.DecimalField(_("quantity"), max_digits=28, decimal_places=12, null=True)
    price = models.DecimalField(_("price"), max_digits=28, decimal_places=12, null=True)
    entry_price = models.DecimalField(_("entry price"), max_digits=28, decimal_places=12, null=True)
    exit_price = models.DecimalField(_("exit price"), max_digits=28, decimal_places=12, null=True)
    alarm_time = models.DateTimeField(_("alarm time"), null=True)
    status = models.CharField(_("status"), max_length=9, choices=Status.choices, default=Status.RECEIVED)
    reason = models.CharField(_("reason"), max_length=40, blank=True, help_text=_("A machine word."))
    detail = models.TextField(_("detail"), blank=True, help_text=_("The same in a sentence."))
    # What makes two deliveries the same alarm; null on redeliveries, so that one row only can hold it
    delivery_key = models.CharField(_("delivery key"), max_length=64, null=True, unique=True, editable=False)
    original = models.ForeignKey(
        "self", verbose_name=_("original"), null=True, on_delete=models.PROTECT, related_name="redeliveries"
    )
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0, help_text=_("How often processing it broke."))
    processed_at = models.DateTimeField(_("processed at"), null=True)

    class Meta:
        verbose_name = _("alarm")
        verbose_name_plural = _("alarms")
        ordering = ["-id"]
        indexes = [
            # Routing takes the oldest waiting alarm of a pair
            models.Index(fields=["status", "pair", "id"], name="alarm_waiting_by_pair"),
            # The newest gate alarm of a strategy's leg
            models.Index(
                fields=["strategy", "pair", "kind", "action", "leg", "interval", "alarm_time", "id"],
                name="alarm_by_gate",
            ),
            # The list pages, filtered by ticker
            models.Index(fields=["ticker", "id"], name="alarm_by_ticker"),
            # The same by strategy, whose newest alarm may be a year old
            models.Index(fields=["strategy", "id"], name="alarm_by_strategy"),
        ]

    def __str__(self) -> str:
        return gettext("alarm %(number)s") % {"number": self.pk}
