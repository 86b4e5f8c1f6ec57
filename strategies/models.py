"""Strategies: which alarms matter, when, and with how much money."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext, gettext_noop
from django.utils.translation import gettext_lazy as _

from exchange.models import Account, MarketChoices
from exchange.types import MarginMode
from market.intervals import INTERVALS

# Who made a version where nobody did
BY_THE_LIMIT = gettext_noop("the limit of entries a minute")
INTERVAL_CHOICES = [(interval, interval) for interval in INTERVALS]


class Strategy(models.Model):
    """One trading idea on one ticker and one account, with a long leg, a short leg or both."""

    class Unprotected(models.TextChoices):
        CLOSE = "close", _("Close the operation")
        TELL = "tell", _("Keep it and tell me")

    name = models.CharField(
        _("name"), max_length=100, unique=True, help_text=_("Your own name for it, e.g. Stochastic 5m.")
    )
    alarm_name = models.CharField(
        _("alarm name"),
        max_length=100,
        help_text=_("The Strategy text of the TradingView alert, exactly; several strategies may share it."),
    )
    ticker = models.CharField(_("ticker"), max_length=40, help_text=_("As TradingView writes it, e.g. BTCUSDT.P."))
    account = models.ForeignKey(Account, verbose_name=_("account"), on_delete=models.PROTECT, related_name="strategies")
    market = models.CharField(_("market"), max_length=8, choices=MarketChoices.choices, default=MarketChoices.USDTM)
    symbol = models.CharField(
        _("symbol"), max_length=40, editable=False, help_text=_("The exchange's name, found from the ticker.")
    )
    pair = models.CharField(
        _("pair"),
        max_length=40,
        editable=False,
        help_text=_("The symbol without its hyphen: what alarms are matched by."),
    )
    is_active = models.BooleanField(
        _("is active"), default=True, help_text=_("Off: no new entries. An alarm that closes what it holds still does.")
    )
    active_from = models.DateTimeField(_("active from"), null=True, blank=True, help_text=_("UTC. Empty: since ever."))
    active_until = models.DateTimeField(_("active until"), null=True, blank=True, help_text=_("UTC. Empty: for ever."))
    max_alarm_age = models.PositiveIntegerField(
        _("max alarm age"),
        default=60,
        validators=[MinValueValidator(1), MaxValueValidator(86_400)],
        help_text=_("Seconds; an older alarm is not traded."),
    )
    expects_alarm_every = models.PositiveIntegerField(
        _("expects alarm every"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(527_040)],
        help_text=_("Minutes; tell me when no alarm, order or indicator, came for so long. Empty: silence is no news."),
    )
    when_unprotected = models.CharField(
        _("when unprotected"),
        max_length=5,
        choices=Unprotected.choices,
        default=Unprotected.CLOSE,
        help_text=_("What to do when a stop or target cannot be placed at the exchange."),
    )
    description = models.TextField(_("description"), blank=True)
    version = models.PositiveIntegerField(
        _("version"), default=0, editable=False, help_text=_("The number of its newest version; decisions keep it.")
    )
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated at"), auto_now=True)

    class Meta:
        verbose_name = _("strategy")
        ordering = ["name"]
        verbose_name_plural = _("strategies")
        indexes = [
            # Routing: every strategy that an alarm concerns
            models.Index(fields=["alarm_name", "pair"], name="strategy_by_alarm"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(active_until__isnull=True)
                | models.Q(active_from__isnull=True)
                | models.Q(active_until__gt=models.F("active_from")),
                name="strategy_ends_after_it_begins",
                violation_error_message=_("active_until must be later than active_from."),
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Leg(models.Model):
    """The long or the short half of a strategy: its intervals, its size and its protection."""

    class Name(models.TextChoices):
        LONG = "long", _("Long")
        SHORT = "short", _("Short")

    class Sizing(models.TextChoices):
        QUANTITY = "quantity", _("Fixed quantity (base coins; contracts on COIN-M)")
        NOTIONAL = "notional", _("Fixed value in the quote asset")
        EQUITY_PERCENT = "equity_percent", _("Percent of the account's equity")
        RISK_PERCENT = "risk_percent", _("Percent of equity at risk, by the distance to the stop")
        ALARM = "alarm", _("As the alarm says")

    class Margin(models.TextChoices):
        CROSSED = MarginMode.CROSSED.value, _("Crossed")
        ISOLATED = MarginMode.ISOLATED.value, _("Isolated")

    strategy = models.ForeignKey(Strategy, verbose_name=_("strategy"), on_delete=models.CASCADE, related_name="legs")
    name = models.CharField(_("name"), max_length=5, choices=Name.choices)
    entry_interval = models.CharField(
        _("entry interval"),
        max_length=4,
        choices=INTERVAL_CHOICES,
        help_text=_("`order open` alarms count only on it, e.g. 5m."),
    )
    close_interval = models.CharField(
        _("close interval"),
        max_length=4,
        choices=INTERVAL_CHOICES,
        help_text=_("`order close` alarms count only on it."),
    )
    entry_confirmation_interval = models.CharField(
        _("entry confirmation interval"),
        max_length=4,
        choices=INTERVAL_CHOICES,
        blank=True,
        help_text=_("Interval of the `indicator open` alarm that opens the gate. Empty: no gate."),
    )
    close_confirmation_interval = models.CharField(
        _("close confirmation interval"),
        max_length=4,
        choices=INTERVAL_CHOICES,
        blank=True,
        help_text=_("Interval of the `indicator close` alarm that shuts the gate. Empty: nothing shuts it."),
    )
    pyramiding = models.PositiveSmallIntegerField(
        _("pyramiding"),
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(100)],
        help_text=_("How many entries may be stacked."),
    )
    leverage = models.PositiveSmallIntegerField(
        _("leverage"),
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(200)],
        help_text=_("Set at the exchange before the entry when it differs."),
    )
    margin_mode = models.CharField(_("margin mode"), max_length=8, choices=Margin.choices, default=Margin.CROSSED)
    sizing = models.CharField(_("sizing"), max_length=14, choices=Sizing.choices, default=Sizing.QUANTITY)
    size = models.DecimalField(
        _("size"),
        max_digits=28,
        decimal_places=12,
        null=True,
        blank=True,
        help_text=_("Coins, quote value or percent, as the sizing says, e.g. 0.01. Empty for sizing by the alarm."),
    )
    take_profit_per_order = models.DecimalField(
        _("take profit per order"),
        max_digits=9,
        decimal_places=4,
        null=True,
        blank=True,
        help_text=_("Percent of each entry's fill price."),
    )
    stop_loss_per_order = models.DecimalField(
        _("stop loss per order"),
        max_digits=9,
        decimal_places=4,
        null=True,
        blank=True,
        help_text=_("Percent of each entry's fill price."),
    )
    take_profit_general = models.DecimalField(
        _("take profit general"),
        max_digits=9,
        decimal_places=4,
        null=True,
        blank=True,
        help_text=_("Percent of the average entry price."),
    )
    stop_loss_general = models.DecimalField(
        _("stop loss general"),
        max_digits=9,
        decimal_places=4,
        null=True,
        blank=True,
        help_text=_("Percent of the average entry price."),
    )

    class Meta:
        verbose_name = _("leg")
        verbose_name_plural = _("legs")
        ordering = ["strategy", "name"]
        constraints = [
            models.UniqueConstraint(
                fields=["strategy", "name"],
                name="strategy_has_each_leg_once",
                violation_error_message=_("A strategy has one long and one short leg."),
            ),
            models.CheckConstraint(condition=models.Q(pyramiding__gte=1), name="leg_stacks_at_least_one_entry"),
            models.CheckConstraint(condition=models.Q(leverage__gte=1), name="leg_leverage_is_at_least_one"),
            models.CheckConstraint(
                condition=models.Q(size__isnull=True) | models.Q(size__gt=0), name="leg_size_is_positive"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.strategy} {self.name}"


class StrategyVersion(models.Model):
    """A strategy with both legs as it was from one change to the next. Written by `strategies.versions` alone."""

    strategy = models.ForeignKey(
        Strategy, verbose_name=_("strategy"), on_delete=models.CASCADE, related_name="versions"
    )
    number = models.PositiveIntegerField(_("number"))
    content = models.JSONField(_("content"), help_text=_("As the API answers a strategy, without its id and times."))
    made_by = models.CharField(_("made by"), max_length=150, blank=True)
    made_at = models.DateTimeField(_("made at"), auto_now_add=True)
    note = models.CharField(_("note"), max_length=200, blank=True)

    class Meta:
        verbose_name = _("strategy version")
        verbose_name_plural = _("strategy versions")
        ordering = ["-id"]
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["strategy", "number"], name="strategy_numbers_its_versions_once"),
        ]

    def __str__(self) -> str:
        return gettext("%(strategy)s version %(number)s") % {"strategy": self.strategy, "number": self.number}

    @property
    def author(self) -> str:
        """Who made it; where Pelusa did itself, in the reader's language."""
        return gettext(self.made_by) if self.made_by == BY_THE_LIMIT else self.made_by
