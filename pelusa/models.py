"""Who may ask for what, and who was turned away."""

from django.core.exceptions import ImproperlyConfigured
from django.core.validators import RegexValidator
from django.db import models
from django.utils.translation import gettext_lazy as _
from loguru import logger

from pelusa.addresses import PREFIX, Rule, Rules, as_rule, merged
from pelusa.audit.rows import AuditEntry, AuditHead
from pelusa.monitoring.models import Heartbeat, Tally
from pelusa.notifications.models import Channel, Message, Watermark
from strategies.reason_names import name_of

__all__ = [
    "AddressRule",
    "AuditEntry",
    "AuditHead",
    "Channel",
    "Heartbeat",
    "Message",
    "Refusal",
    "Tally",
    "Watermark",
    "stored_rules",
]


class AddressRule(models.Model):
    """A rule about addresses that a person made in the back office; it stands beside those of the environment."""

    class Verdict(models.TextChoices):
        ALLOW = "allow", _("Allow")
        DENY = "deny", _("Deny")

    verdict = models.CharField(
        _("verdict"),
        max_length=5,
        choices=Verdict,
        help_text=_("Allow: these and nobody else, under the longest prefix that fits. Deny: never these; it wins."),
    )
    prefix = models.CharField(
        _("path prefix"),
        max_length=100,
        default="/webhook",
        validators=[RegexValidator(PREFIX, _("A prefix begins with a slash and has no space, such as /webhook."))],
        help_text=_("/webhook is also /webhook/abc, never /webhooks; / is everything."),
    )
    entries = models.TextField(
        _("addresses"),
        max_length=10_000,
        help_text=_("Addresses, CIDR blocks or the word tradingview, apart by commas, spaces or lines."),
    )
    is_enabled = models.BooleanField(_("enabled"), default=True)
    note = models.CharField(_("note"), max_length=200, blank=True, help_text=_("Whose addresses these are, and why."))
    created_at = models.DateTimeField(_("made (UTC)"), auto_now_add=True)

    class Meta:
        verbose_name = _("address rule")
        verbose_name_plural = _("address rules")
        ordering = ("prefix", "verdict", "pk")

    def __str__(self) -> str:
        return f"{self.verdict} {self.prefix}: {', '.join(self.entries.split())[:80]}"

    @property
    def rule(self) -> Rule:
        """Return the rule; raise `ImproperlyConfigured` with a sentence when an entry is none."""
        return as_rule(str(self), self.prefix, self.entries.replace(",", " ").split())


def stored_rules(*, without: int = 0) -> Rules:
    """Return the rules of the back office that are enabled, but for one that is about to change."""
    allow: list[Rule] = []
    deny: list[Rule] = []
    for row in AddressRule.objects.filter(is_enabled=True).exclude(pk=without):
        try:
            (deny if row.verdict == AddressRule.Verdict.DENY else allow).append(row.rule)
        except ImproperlyConfigured as error:
            # No form stores such a row; the others must hold nevertheless
            logger.error("address rule {} is left out: {}", row.pk, error)
    return Rules(merged(allow), merged(deny))


class Refusal(models.Model):
    """How often one address was turned away for one reason. The table's size is bounded: the oldest go first."""

    address = models.CharField(_("address"), max_length=45)
    reason = models.CharField(_("reason"), max_length=40)
    prefix = models.CharField(_("path prefix"), max_length=40)
    count = models.PositiveBigIntegerField(_("times"))
    first_seen_at = models.DateTimeField(_("first seen (UTC)"))
    last_seen_at = models.DateTimeField(_("last seen (UTC)"), db_index=True)

    class Meta:
        verbose_name = _("refusal")
        verbose_name_plural = _("refusals")
        constraints = [
            models.UniqueConstraint(fields=["address", "reason", "prefix"], name="one_row_per_address_and_reason")
        ]

    def __str__(self) -> str:
        return f"{self.address} {self.prefix}: {name_of(self.reason)}, {self.count}×"
