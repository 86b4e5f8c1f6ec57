"""Accounts: whose money an order moves, and where."""

from django.db import models

from exchange.encryption import EncryptedTextField
from exchange.types import Market, PositionMode


class MarketChoices(models.TextChoices):
    """The products of `exchange.types.Market`, for columns and forms."""

    USDTM = Market.USDTM.value, "USDT-M perpetual"
    COINM = Market.COINM.value, "COIN-M perpetual"
    SPOT = Market.SPOT.value, "Spot"


class Account(models.Model):
    """One set of exchange credentials, in one environment, with its own money and positions."""

    class Environment(models.TextChoices):
        PAPER = "paper", "Paper (this server's own exchange)"
        VST = "vst", "BingX demo money (VST)"
        LIVE = "live", "BingX, real money"

    class Mode(models.TextChoices):
        HEDGE = PositionMode.HEDGE.value, "Hedge (long and short apart)"
        ONE_WAY = PositionMode.ONE_WAY.value, "One-way (they net)"

    name = models.CharField(max_length=64, unique=True, help_text="How you call it, e.g. main.")
    environment = models.CharField(
        max_length=8,
        choices=Environment.choices,
        default=Environment.PAPER,
        help_text="PELUSA_TRADING is the ceiling: an account above it is refused.",
    )
    api_key = EncryptedTextField(
        blank=True, help_text="Trade permission only; a key that may withdraw is refused. Never shown again."
    )
    api_secret = EncryptedTextField(
        blank=True, help_text="Stored encrypted. Never shown again; leave empty to keep it."
    )
    is_active = models.BooleanField(default=True, help_text="Off: no new entries on this account; exits go on.")
    position_mode = models.CharField(
        max_length=8,
        choices=Mode.choices,
        default=Mode.HEDGE,
        help_text="As set at the exchange; read from it before trading.",
    )
    position_mode_read_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(environment__in=["paper", "vst", "live"]), name="account_environment_is_known"
            ),
            models.CheckConstraint(
                condition=models.Q(position_mode__in=["hedge", "one_way"]), name="account_position_mode_is_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.environment})"


class ExchangeClock(models.Model):
    """How far an environment's clock is ahead of ours, as last measured: every fence rests on it."""

    environment = models.CharField(max_length=8, choices=Account.Environment.choices, unique=True)
    offset_ms = models.IntegerField(help_text="Their clock minus ours.")
    measured_at = models.DateTimeField()

    class Meta:
        ordering = ["environment"]

    def __str__(self) -> str:
        return f"{self.environment}: {self.offset_ms} ms"
