"""Which processes live, and what all of them counted."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class Heartbeat(models.Model):
    """One process of ours, and when it last showed that it lives. The newest fifty are kept."""

    class Kind(models.TextChoices):
        WEB = "web", _("Web")
        WORKER = "worker", _("Worker")
        BEAT = "beat", _("Beat")

    name = models.CharField(_("name"), max_length=150, unique=True, help_text=_("Kind, host and process id."))
    kind = models.CharField(_("kind"), max_length=8, choices=Kind.choices)
    host = models.CharField(_("host"), max_length=100)
    pid = models.PositiveIntegerField(_("process id"))
    version = models.CharField(_("version"), max_length=40)
    started_at = models.DateTimeField(_("started at"))
    beat_at = models.DateTimeField(_("beat at"), help_text=_("From a thread that does no other work."))
    worked_at = models.DateTimeField(
        _("worked at"), null=True, help_text=_("When work last came to a worker through the queue, or beat last rang.")
    )

    class Meta:
        verbose_name = _("heartbeat")
        verbose_name_plural = _("heartbeats")
        app_label = "pelusa"
        ordering = ["kind", "-beat_at"]

    def __str__(self) -> str:
        return self.name


class Tally(models.Model):
    """One counter, or one bucket of a histogram, of all processes together since the first start. It only grows."""

    name = models.CharField(_("name"), max_length=40)
    labels = models.CharField(
        _("labels"), max_length=200, help_text=_("Pairs of words in JSON, in alphabetical order.")
    )
    amount = models.FloatField(_("amount"), default=0)

    class Meta:
        verbose_name = _("tally")
        verbose_name_plural = _("tallies")
        app_label = "pelusa"
        constraints = [models.UniqueConstraint(fields=["name", "labels"], name="tally_is_one_per_name_and_labels")]

    def __str__(self) -> str:
        return f"{self.name} {self.labels}"
