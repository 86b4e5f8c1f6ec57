"""Channels, what is to be said on them, and how far the books were read for it."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from exchange.encryption import EncryptedTextField
from exchange.models import Account
from pelusa.notifications.quiet import zone_named


class Kind(models.TextChoices):
    """What an event is about; a channel chooses among them."""

    REFUSAL = "refusal", _("Refusals: orders denied or refused, alarms to close that were not heeded")
    FILL = "fill", _("Fills")
    UNSETTLED = "unsettled", _("Unprotected or unsettled orders")
    FROZEN = "frozen", _("Frozen lanes: books and exchange differ")
    KILL_SWITCH = "kill_switch", _("Kill switch, and strategies that were switched off")
    SILENCE = "silence", _("Silence: a strategy hears no alarms")
    HEALTH = "health", _("Failed health, and whatever else goes wrong")
    DAILY = "daily", _("Daily summary")


class Level(models.TextChoices):
    INFO = "info", _("Info")
    WARNING = "warning", _("Warning")
    CRITICAL = "critical", _("Critical")


def every_kind() -> list[str]:
    return list(Kind.values)


class Channel(models.Model):
    """Where somebody is told what happens: a chat, a mailbox, a receiver of one's own."""

    name = models.CharField(_("name"), max_length=60, unique=True)
    url = EncryptedTextField(
        _("URL"), blank=True, help_text=_("The service's address with its token; never shown again.")
    )
    is_active = models.BooleanField(_("active"), default=True)
    least_level = models.CharField(
        _("least level"), max_length=8, choices=Level.choices, default=Level.INFO, help_text=_("Nothing below it.")
    )
    kinds = models.JSONField(_("events"), default=every_kind)
    accounts = models.ManyToManyField(
        Account, blank=True, related_name="+", verbose_name=_("accounts"), help_text=_("None chosen: all of them.")
    )
    gather_minutes = models.PositiveSmallIntegerField(
        _("gather for minutes"),
        default=0,
        validators=[MaxValueValidator(1440)],
        help_text=_("0: at once. 15: one message every quarter of an hour. What is critical is never gathered."),
    )
    daily_hour = models.PositiveSmallIntegerField(
        _("hour of the daily summary"), default=8, validators=[MaxValueValidator(23)]
    )
    quiet_from = models.TimeField(_("quiet from"), null=True, blank=True, help_text=_("e.g. 22:30"))
    quiet_until = models.TimeField(_("quiet until"), null=True, blank=True, help_text=_("e.g. 07:00"))
    critical_passes = models.BooleanField(
        _("critical passes"), default=True, help_text=_("What is critical does not wait for the quiet hours to end.")
    )
    time_zone = models.CharField(_("time zone"), max_length=60, default="UTC", help_text=_("e.g. Europe/Madrid"))
    language = models.CharField(
        _("language"), max_length=2, choices=[("en", _("English")), ("es", _("Spanish"))], default="en"
    )
    per_minute = models.PositiveSmallIntegerField(
        _("at most a minute"),
        default=10,
        validators=[MinValueValidator(1), MaxValueValidator(60)],
        help_text=_("Messages a minute; what is more comes together in one."),
    )
    # What happened before is not told to a channel that was made or switched on afterwards
    since = models.DateTimeField(_("since"), default=timezone.now, editable=False)
    paused_until = models.DateTimeField(_("paused until"), null=True, editable=False)
    failures = models.PositiveSmallIntegerField(_("failures"), default=0, editable=False)
    # Who sends on it now: one at a time, so that the limit a minute holds with any number of workers
    lease = models.CharField(_("lease"), max_length=32, blank=True, editable=False)
    leased_until = models.DateTimeField(_("leased until"), null=True, editable=False)

    class Meta:
        verbose_name = _("channel")
        verbose_name_plural = _("channels")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Name what contradicts itself."""
        wrong: dict[str, Any] = {}
        if (self.quiet_from is None) != (self.quiet_until is None):
            wrong["quiet_until"] = _("Quiet hours need a beginning and an end.")
        try:
            zone_named(self.time_zone)
        except ValueError:
            wrong["time_zone"] = _("There is no such time zone; write it like Europe/Madrid.")
        if wrong:
            raise ValidationError(wrong)


class Message(models.Model):
    """One event as it is said on one channel: written before it is sent, its fate after."""

    class Status(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        SENDING = "sending", _("Being sent")
        SENT = "sent", _("Sent")
        UNKNOWN = "unknown", _("Maybe sent")
        GIVEN_UP = "given_up", _("Given up")

    channel = models.ForeignKey(Channel, verbose_name=_("channel"), on_delete=models.CASCADE, related_name="messages")
    event = models.CharField(_("event"), max_length=80, help_text=_("What it is about, e.g. notice:12."))
    kind = models.CharField(_("kind"), max_length=12, choices=[*Kind.choices, ("test", _("Test"))])
    level = models.CharField(_("level"), max_length=8, choices=Level.choices)
    title = models.CharField(_("title"), max_length=200)
    body = models.TextField(_("body"))
    is_gathered = models.BooleanField(_("is gathered"), default=False, help_text=_("Sent together with others."))
    status = models.CharField(_("status"), max_length=8, choices=Status.choices, default=Status.WAITING)
    due_at = models.DateTimeField(_("due at"))
    tries = models.PositiveSmallIntegerField(_("tries"), default=0)
    # Those that leave as one text share it
    batch = models.CharField(_("batch"), max_length=32, blank=True, editable=False)
    began_at = models.DateTimeField(_("began at"), null=True)
    ended_at = models.DateTimeField(_("ended at"), null=True)
    answer = models.TextField(_("answer"), blank=True, help_text=_("What the service answered, without its address."))
    created_at = models.DateTimeField(_("created at"), default=timezone.now)

    class Meta:
        verbose_name = _("message")
        verbose_name_plural = _("messages")
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["status", "due_at"], name="message_by_status"),
            models.Index(fields=["channel", "began_at"], name="message_by_channel"),
            models.Index(fields=["created_at"], name="message_by_age"),
        ]
        constraints = [models.UniqueConstraint(fields=["channel", "event"], name="event_is_told_once_on_a_channel")]

    def __str__(self) -> str:
        return self.title


class Watermark(models.Model):
    """How far a table was read for events.

    All ids up to `position` are done. Ids commit out of order: what lies between it and `horizon` is read again until
    `horizon_at` is so long ago that nothing older can still be uncommitted.
    """

    source = models.CharField(_("source"), max_length=20, unique=True)
    position = models.BigIntegerField(_("position"))
    horizon = models.BigIntegerField(_("horizon"))
    horizon_at = models.DateTimeField(_("horizon at"))

    class Meta:
        verbose_name = _("watermark")
        verbose_name_plural = _("watermarks")

    def __str__(self) -> str:
        return f"{self.source} up to {self.position}"
