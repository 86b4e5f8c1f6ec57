"""Accounts: whose money an order moves, and where."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from exchange.encryption import EncryptedTextField
from exchange.rounding import plain
from exchange.types import Market, OldProduct, PositionMode


class MarketChoices(models.TextChoices):
    """The products of `exchange.types.Market`, for columns and forms."""

    USDTM = Market.USDTM.value, _("USDT-M perpetual")
    COINM = Market.COINM.value, _("COIN-M perpetual")
    SPOT = Market.SPOT.value, _("Spot")


class WalletChoices(models.TextChoices):
    """Where an account's money lies: the products that Pelusa trades, and the one that it only reads."""

    USDTM = MarketChoices.USDTM.value, MarketChoices.USDTM.label
    COINM = MarketChoices.COINM.value, MarketChoices.COINM.label
    SPOT = MarketChoices.SPOT.value, MarketChoices.SPOT.label
    STANDARD = OldProduct.STANDARD.value, _("Standard contract (read only)")


class Account(models.Model):
    """One set of exchange credentials, in one environment, with its own money and positions."""

    class Environment(models.TextChoices):
        PAPER = "paper", _("Paper (this server's own exchange)")
        VST = "vst", _("BingX demo money (VST)")
        LIVE = "live", _("BingX, real money")

    class Mode(models.TextChoices):
        HEDGE = PositionMode.HEDGE.value, _("Hedge (long and short apart)")
        ONE_WAY = PositionMode.ONE_WAY.value, _("One-way (they net)")

    name = models.CharField(_("name"), max_length=64, unique=True, help_text=_("How you call it, e.g. main."))
    environment = models.CharField(
        _("environment"),
        max_length=8,
        choices=Environment.choices,
        default=Environment.PAPER,
        help_text=_("PELUSA_TRADING is the ceiling: an account above it is refused."),
    )
    api_key = EncryptedTextField(
        _("API key"),
        blank=True,
        help_text=_("Trade permission only; a key that may withdraw is refused. Never shown again."),
    )
    api_secret = EncryptedTextField(
        _("API secret"), blank=True, help_text=_("Stored encrypted. Never shown again; leave empty to keep it.")
    )
    is_active = models.BooleanField(
        _("is active"), default=True, help_text=_("Off: no new entries on this account; exits go on.")
    )
    position_mode = models.CharField(
        _("position mode"),
        max_length=8,
        choices=Mode.choices,
        default=Mode.HEDGE,
        help_text=_("As set at the exchange; read from it before trading."),
    )
    may_withdraw = models.BooleanField(
        _("may withdraw"),
        default=False,
        editable=False,
        help_text=_("As the exchange last said of the key. If so: no new entries."),
    )
    rights_read_at = models.DateTimeField(
        _("rights read at"),
        null=True,
        editable=False,
        help_text=_("When the exchange said so of this key; empty: never."),
    )
    position_mode_read_at = models.DateTimeField(_("position mode read at"), null=True, editable=False)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        verbose_name = _("account")
        verbose_name_plural = _("accounts")
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

    @property
    def is_key_unproven(self) -> bool:
        """Tell whether real money would rest on a key of which nobody knows yet that it may not withdraw."""
        return self.environment == self.Environment.LIVE and self.rights_read_at is None


class ExchangeClock(models.Model):
    """How far an environment's clock is ahead of ours, as last measured: every fence rests on it."""

    environment = models.CharField(_("environment"), max_length=8, choices=Account.Environment.choices, unique=True)
    offset_ms = models.IntegerField(_("offset (ms)"), help_text=_("Their clock minus ours."))
    measured_at = models.DateTimeField(_("measured at"))

    class Meta:
        verbose_name = _("exchange clock")
        verbose_name_plural = _("exchange clocks")
        ordering = ["environment"]

    def __str__(self) -> str:
        return f"{self.environment}: {self.offset_ms} ms"


class EquityPoint(models.Model):
    """What an account was worth at one moment: one point of its equity curve.

    Written whole or not at all, with its `EquitySnapshot` rows: a wallet that did not answer leaves a gap, never a dip.
    """

    account = models.ForeignKey(
        Account, verbose_name=_("account"), on_delete=models.PROTECT, related_name="equity_points"
    )
    taken_at = models.DateTimeField(
        _("taken at"), help_text=_("The start of the five minutes in which the exchange was asked.")
    )
    equity = models.DecimalField(
        _("equity"), max_digits=28, decimal_places=12, help_text=_("In USDT, at the last prices.")
    )
    unvalued = models.JSONField(
        _("unvalued"), default=list, help_text=_("What no price is known of, e.g. spot XYZ; it is not counted.")
    )
    refused = models.JSONField(
        _("refused"), default=list, help_text=_("Wallets that the exchange does not show to this key.")
    )

    class Meta:
        verbose_name = _("equity point")
        verbose_name_plural = _("equity points")
        ordering = ["-taken_at", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["account", "taken_at"], name="one_equity_point_for_each_account_and_moment")
        ]

    def __str__(self) -> str:
        return f"{self.taken_at:%Y-%m-%d %H:%M} {plain(self.equity)} USDT"


class EquitySnapshot(models.Model):
    """One asset of one wallet of an account at one moment, as the exchange told it, and what that was worth."""

    account = models.ForeignKey(
        Account, verbose_name=_("account"), on_delete=models.PROTECT, related_name="equity_snapshots"
    )
    market = models.CharField(_("market"), max_length=8, choices=WalletChoices.choices)
    asset = models.CharField(_("asset"), max_length=32)
    taken_at = models.DateTimeField(_("taken at"))
    # Coins worth a billionth of a cent are held by the quadrillion
    balance = models.DecimalField(_("balance"), max_digits=44, decimal_places=12)
    equity = models.DecimalField(
        _("equity"), max_digits=44, decimal_places=12, help_text=_("With what open positions would add.")
    )
    available = models.DecimalField(_("available"), max_digits=44, decimal_places=12)
    used_margin = models.DecimalField(_("used margin"), max_digits=44, decimal_places=12)
    unrealised_pnl = models.DecimalField(_("unrealised profit"), max_digits=44, decimal_places=12)
    value = models.DecimalField(
        _("value"),
        max_digits=28,
        decimal_places=12,
        null=True,
        help_text=_("The equity in USDT; empty where no price is known."),
    )

    class Meta:
        verbose_name = _("equity snapshot")
        verbose_name_plural = _("equity snapshots")
        ordering = ["-taken_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["account", "taken_at", "market", "asset"], name="one_snapshot_for_each_asset_and_moment"
            ),
            models.CheckConstraint(
                condition=models.Q(market__in=["usdtm", "coinm", "spot", "standard"]), name="snapshot_market_is_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.taken_at:%Y-%m-%d %H:%M} {self.get_market_display()} {plain(self.equity)} {self.asset}"
