"""Alarms: what TradingView posted, as it came, and what became of it."""

from django.db import models

from market.intervals import INTERVALS


class Alarm(models.Model):
    """One webhook call. It is stored before anything else happens and never changes but for its status."""

    class Status(models.TextChoices):
        RECEIVED = "received", "Received, waiting"
        PROCESSED = "processed", "Processed"
        IGNORED = "ignored", "Ignored"
        INVALID = "invalid", "Unreadable"
        DUPLICATE = "duplicate", "Redelivery"

    class Kind(models.TextChoices):
        ORDER = "order", "Order"
        INDICATOR = "indicator", "Indicator"

    class Action(models.TextChoices):
        OPEN = "open", "Open"
        CLOSE = "close", "Close"

    class LegName(models.TextChoices):
        LONG = "long", "Long"
        SHORT = "short", "Short"

    received_at = models.DateTimeField()
    source_ip = models.CharField(max_length=45, blank=True)
    raw = models.TextField(help_text="Byte for byte, but for the secret; bytes that are not UTF-8 are shown as \\xNN.")
    kind = models.CharField(max_length=9, choices=Kind.choices, blank=True)
    action = models.CharField(max_length=5, choices=Action.choices, blank=True)
    leg = models.CharField(max_length=5, choices=LegName.choices, blank=True)
    ticker = models.CharField(
        max_length=40, blank=True, help_text="As TradingView wrote it, without the exchange's prefix."
    )
    pair = models.CharField(
        max_length=40, blank=True, help_text="The ticker without its suffix: one queue of arrival each."
    )
    is_perpetual_only = models.BooleanField(default=False, help_text="The ticker's suffix says so.")
    interval = models.CharField(max_length=4, choices=[(each, each) for each in INTERVALS], blank=True)
    strategy = models.CharField(max_length=100, blank=True)
    quantity = models.DecimalField(max_digits=28, decimal_places=12, null=True)
    price = models.DecimalField(max_digits=28, decimal_places=12, null=True)
    entry_price = models.DecimalField(max_digits=28, decimal_places=12, null=True)
    exit_price = models.DecimalField(max_digits=28, decimal_places=12, null=True)
    alarm_time = models.DateTimeField(null=True)
    status = models.CharField(max_length=9, choices=Status.choices, default=Status.RECEIVED)
    reason = models.CharField(max_length=40, blank=True, help_text="A machine word.")
    detail = models.TextField(blank=True, help_text="The same in a sentence.")
    # What makes two deliveries the same alarm; null on redeliveries, so that one row only can hold it
    delivery_key = models.CharField(max_length=64, null=True, unique=True, editable=False)
    original = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="redeliveries")
    attempts = models.PositiveSmallIntegerField(default=0, help_text="How often processing it broke.")
    processed_at = models.DateTimeField(null=True)

    class Meta:
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
        ]

    def __str__(self) -> str:
        return f"alarm {self.pk}"
