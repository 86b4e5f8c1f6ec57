"""Decisions, operations, orders and fills: what we answered, meant, sent and got."""

import secrets
from decimal import Decimal
from typing import Any

from django.db import models
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from exchange.models import Account, MarketChoices
from exchange.rounding import plain
from operations.states import OrderStatus
from strategies.models import Leg, Strategy
from strategies.reason_names import name_of


def new_client_order_id() -> str:
    """Return 33 lower-case characters: BingX lowers them, and an integer key would be reused after a restore."""
    return f"p{secrets.token_hex(16)}"


def decimal_column(name: Any, **options: Any) -> models.DecimalField:
    """Return a price or quantity column: 16 digits before the point, 12 after it."""
    return models.DecimalField(name, max_digits=28, decimal_places=12, **options)


class Lane(models.Model):
    """One account and symbol: its orders leave in arrival order, one at a time."""

    account = models.ForeignKey(Account, verbose_name=_("account"), on_delete=models.PROTECT, related_name="lanes")
    market = models.CharField(_("market"), max_length=8, choices=MarketChoices.choices)
    symbol = models.CharField(_("symbol"), max_length=40)
    long_leverage = models.PositiveSmallIntegerField(
        _("long leverage"), null=True, help_text=_("As last set or read at the exchange.")
    )
    short_leverage = models.PositiveSmallIntegerField(_("short leverage"), null=True)
    margin_mode = models.CharField(_("margin mode"), max_length=8, choices=Leg.Margin.choices, blank=True)
    paused_until = models.DateTimeField(
        _("paused until"), null=True, help_text=_("The exchange takes no orders here before this moment.")
    )
    frozen_at = models.DateTimeField(
        _("frozen at"), null=True, help_text=_("Since when entries are held back; exits go on.")
    )
    frozen_reason = models.CharField(_("frozen reason"), max_length=40, blank=True, help_text=_("A machine word."))
    frozen_facts = models.JSONField(_("frozen facts"), default=dict)
    compared_at = models.DateTimeField(
        _("compared at"),
        null=True,
        help_text=_("When our books and the exchange's position here were last compared with certainty."),
    )

    class Meta:
        verbose_name = _("lane")
        verbose_name_plural = _("lanes")
        ordering = ["account", "market", "symbol"]
        constraints = [
            models.UniqueConstraint(fields=["account", "market", "symbol"], name="lane_is_one_per_account_and_symbol")
        ]

    def __str__(self) -> str:
        return f"{self.account.name} {self.symbol}"


class Operation(models.Model):
    """One round trip of one strategy on one leg: from its first entry until it is flat."""

    class Status(models.TextChoices):
        OPENING = "opening", _("Opening")
        OPEN = "open", pgettext_lazy("status of an operation", "Open")
        CLOSING = "closing", _("Closing")
        CLOSED = "closed", _("Closed")
        ABORTED = "aborted", _("Aborted (never opened)")

    LIVE = frozenset({Status.OPENING, Status.OPEN, Status.CLOSING})
    STACKABLE = frozenset({Status.OPENING, Status.OPEN})

    strategy = models.ForeignKey(
        Strategy, verbose_name=_("strategy"), on_delete=models.PROTECT, related_name="operations"
    )
    account = models.ForeignKey(Account, verbose_name=_("account"), on_delete=models.PROTECT, related_name="operations")
    market = models.CharField(_("market"), max_length=8, choices=MarketChoices.choices)
    symbol = models.CharField(_("symbol"), max_length=40)
    leg = models.CharField(_("leg"), max_length=5, choices=Leg.Name.choices)
    status = models.CharField(_("status"), max_length=8, choices=Status.choices, default=Status.OPENING)
    # MySQL has no conditional unique constraint: a nullable unique column says "one stackable operation a leg"
    stack_key = models.CharField(_("stack key"), max_length=32, null=True, unique=True, editable=False)
    quantity = decimal_column(_("quantity"), default=0, help_text=_("All that was ever entered."))
    held_quantity = decimal_column(_("held quantity"), default=0, help_text=_("What is held now."))
    avg_entry_price = decimal_column(_("average entry price"), null=True)
    avg_exit_price = decimal_column(_("average exit price"), null=True)
    realised_pnl = decimal_column(
        _("realised profit"),
        default=0,
        help_text=_("From its fills, before fees; in the quote asset (the coin on COIN-M)."),
    )
    fees = decimal_column(_("fees"), default=0, help_text=_("Paid, from its fills."))
    uncovered_since = models.DateTimeField(
        _("uncovered since"),
        null=True,
        help_text=_("Since when the exchange was seen to lack a stop or target that the leg asks for."),
    )
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    opened_at = models.DateTimeField(_("opened at"), null=True)
    closed_at = models.DateTimeField(_("closed at"), null=True)

    class Meta:
        verbose_name = _("operation")
        verbose_name_plural = _("operations")
        ordering = ["-id"]
        permissions = [("close_operation", "Can close an operation at the exchange")]
        indexes = [
            # What a strategy holds on a leg, and what must still be closed
            models.Index(fields=["strategy", "leg", "status"], name="operation_by_leg"),
            models.Index(fields=["status", "id"], name="operation_by_status"),
            # The last loss, and what ended today
            models.Index(fields=["status", "closed_at"], name="operation_by_end"),
            # What was seen to lack a stop or target, looked for every other second
            models.Index(fields=["uncovered_since"], name="operation_uncovered"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(held_quantity__gte=0), name="operation_holds_no_less_than_nothing"
            ),
            models.CheckConstraint(
                condition=models.Q(quantity__gte=models.F("held_quantity")), name="operation_holds_no_more_than_entered"
            ),
        ]

    def __str__(self) -> str:
        return gettext("operation %(number)s") % {"number": self.pk}

    @property
    def position_side(self) -> str:
        """LONG or SHORT: which position of a hedge account this is a share of."""
        return self.leg.upper()


class Decision(models.Model):
    """What one strategy answered to one alarm, and because of what."""

    class Outcome(models.TextChoices):
        OPEN = "open", _("Open")
        CLOSE = "close", _("Close")
        IGNORED = "ignored", _("Ignored")
        DENIED = "denied", _("Denied")

    # The alarm lives in another database: no foreign key can reach it
    alarm_id = models.BigIntegerField(_("alarm id"))
    strategy = models.ForeignKey(
        Strategy, verbose_name=_("strategy"), on_delete=models.PROTECT, related_name="decisions"
    )
    leg = models.CharField(_("leg"), max_length=5, choices=Leg.Name.choices)
    outcome = models.CharField(_("outcome"), max_length=7, choices=Outcome.choices)
    reason = models.CharField(_("reason"), max_length=40, help_text=_("A machine word."))
    facts = models.JSONField(_("facts"), default=dict, help_text=_("The values that were compared."))
    operation = models.ForeignKey(
        Operation, verbose_name=_("operation"), null=True, on_delete=models.PROTECT, related_name="decisions"
    )
    strategy_version = models.PositiveIntegerField(
        _("strategy version"),
        null=True,
        help_text=_("Which version of the strategy decided; empty before versions were kept."),
    )
    alarm_received_at = models.DateTimeField(_("alarm received at"))
    alarm_happened_at = models.DateTimeField(
        _("alarm happened at"), help_text=_("By its own time or by its arrival, whichever is earlier.")
    )
    alarm_price = decimal_column(_("alarm price"), null=True)
    alarm_quantity = decimal_column(_("alarm quantity"), null=True)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        verbose_name = _("decision")
        verbose_name_plural = _("decisions")
        ordering = ["-id"]
        indexes = [models.Index(fields=["strategy", "-id"], name="decision_by_strategy")]
        constraints = [
            models.UniqueConstraint(fields=["alarm_id", "strategy"], name="strategy_decides_once_on_an_alarm")
        ]

    def __str__(self) -> str:
        return f"{self.get_outcome_display()}: {name_of(self.reason)}"


class Order(models.Model):
    """One instruction of ours to the exchange. The row is committed before anything is sent."""

    class Role(models.TextChoices):
        ENTRY = "ENTRY", _("Entry")
        EXIT = "EXIT", _("Exit")
        TAKE_PROFIT = "TAKE_PROFIT", _("Take profit")
        STOP_LOSS = "STOP_LOSS", _("Stop loss")

    STATUS_CHOICES = [
        (OrderStatus.CREATED.value, _("Created")),
        (OrderStatus.DENIED.value, _("Denied")),
        (OrderStatus.SUBMITTED.value, _("Submitted")),
        (OrderStatus.ACCEPTED.value, _("Accepted")),
        (OrderStatus.PARTIALLY_FILLED.value, _("Partially filled")),
        (OrderStatus.PENDING_CANCEL.value, _("Pending cancel")),
        (OrderStatus.FILLED.value, _("Filled")),
        (OrderStatus.CANCELED.value, _("Canceled")),
        (OrderStatus.REJECTED.value, _("Rejected")),
        (OrderStatus.EXPIRED.value, _("Expired")),
    ]

    lane = models.ForeignKey(Lane, verbose_name=_("lane"), on_delete=models.PROTECT, related_name="orders")
    operation = models.ForeignKey(
        Operation, verbose_name=_("operation"), on_delete=models.PROTECT, related_name="orders"
    )
    decision = models.ForeignKey(
        Decision, verbose_name=_("decision"), null=True, on_delete=models.PROTECT, related_name="orders"
    )
    entry = models.ForeignKey(
        "self",
        verbose_name=_("entry"),
        null=True,
        on_delete=models.PROTECT,
        related_name="protection",
        help_text=_("Of a stop or target: the entry whose quantity it covers."),
    )
    client_order_id = models.CharField(_("client order id"), max_length=40, unique=True, default=new_client_order_id)
    exchange_order_id = models.CharField(_("exchange order id"), max_length=40, blank=True)
    role = models.CharField(_("role"), max_length=11, choices=Role.choices)
    side = models.CharField(_("side"), max_length=4, choices=[("BUY", _("Buy")), ("SELL", _("Sell"))])
    position_side = models.CharField(
        _("position side"), max_length=5, choices=[("LONG", _("Long")), ("SHORT", _("Short")), ("BOTH", _("Both"))]
    )
    order_type = models.CharField(_("order type"), max_length=20, default="MARKET")
    reduce_only = models.BooleanField(_("reduce only"), default=False)
    quantity = decimal_column(
        _("quantity"), null=True, help_text=_("Known when it is sent: sized, rounded to the step.")
    )
    trigger_price = decimal_column(_("trigger price"), null=True)
    filled_quantity = decimal_column(_("filled quantity"), default=0)
    avg_price = decimal_column(_("average price"), null=True)
    market_price = decimal_column(
        _("market price"),
        null=True,
        help_text=_("The market's when an entry was submitted: what limits reckon with until its own is known."),
    )
    base_fee = decimal_column(
        _("base fee"), default=0, help_text=_("Of a spot buy: the fee that was taken from the coins received.")
    )
    status = models.CharField(_("status"), max_length=16, choices=STATUS_CHOICES, default=OrderStatus.CREATED.value)
    reason = models.CharField(
        _("reason"), max_length=40, blank=True, help_text=_("A machine word: why it was denied, rejected or expired.")
    )
    code = models.CharField(_("code"), max_length=20, blank=True, help_text=_("The exchange's code, when it refused."))
    detail = models.TextField(_("detail"), blank=True, help_text=_("The exchange's words, and what to do."))
    has_all_fills = models.BooleanField(_("has all fills"), default=False)
    settle_misses = models.PositiveSmallIntegerField(
        _("settle misses"), default=0, help_text=_("How often it was not found after the fence.")
    )
    missed_at = models.DateTimeField(_("missed at"), null=True)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    # To the millisecond: it is the very time stamp that is signed, so the exchange fences a late request
    submitted_at = models.DateTimeField(_("submitted at"), null=True)
    answered_at = models.DateTimeField(_("answered at"), null=True)
    closed_at = models.DateTimeField(_("closed at"), null=True)

    class Meta:
        verbose_name = _("order")
        verbose_name_plural = _("orders")
        ordering = ["-id"]
        indexes = [
            # The next order of a lane, and what is in flight in it
            models.Index(fields=["lane", "status", "id"], name="order_by_lane"),
            models.Index(fields=["status", "submitted_at"], name="order_by_status"),
            models.Index(fields=["has_all_fills", "status"], name="order_lacking_fills"),
            # What was realised today
            models.Index(fields=["answered_at"], name="order_by_answer"),
        ]
        constraints = [
            models.CheckConstraint(condition=models.Q(filled_quantity__gte=0), name="order_fills_no_less_than_nothing"),
            models.CheckConstraint(
                condition=models.Q(status__in=["created", "denied"])
                | models.Q(submitted_at__isnull=False, quantity__gt=0),
                name="order_is_sized_before_it_is_sent",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_role_display()} {self.client_order_id}"

    @property
    def received_quantity(self) -> Decimal:
        """What was filled, less the fee that was taken from it."""
        received: Decimal = self.filled_quantity - self.base_fee
        return received


class OrderEvent(models.Model):
    """One step in an order's life, written in the transaction that made the step."""

    order = models.ForeignKey(Order, verbose_name=_("order"), on_delete=models.PROTECT, related_name="events")
    at = models.DateTimeField(_("at"))
    status = models.CharField(_("status"), max_length=16, choices=Order.STATUS_CHOICES)
    source = models.CharField(_("source"), max_length=12, help_text=_("Who said so: us, answer, query or fills."))
    detail = models.TextField(_("detail"), blank=True)

    class Meta:
        verbose_name = _("order event")
        verbose_name_plural = _("order events")
        ordering = ["id"]
        indexes = [
            # What moved in the last seconds, for the comparison of books
            models.Index(fields=["at"], name="order_event_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.status} at {self.at:%H:%M:%S.%f}"


class Fill(models.Model):
    """One execution of an order, keyed by the exchange's own trade id."""

    order = models.ForeignKey(Order, verbose_name=_("order"), on_delete=models.PROTECT, related_name="fills")
    lane = models.ForeignKey(Lane, verbose_name=_("lane"), on_delete=models.PROTECT, related_name="fills")
    exchange_trade_id = models.CharField(_("exchange trade id"), max_length=64)
    price = decimal_column(_("price"))
    quantity = decimal_column(_("quantity"))
    fee = decimal_column(_("fee"), help_text=_("Paid: positive costs, negative is a rebate."))
    fee_asset = models.CharField(_("fee asset"), max_length=20, blank=True)
    filled_at = models.DateTimeField(_("filled at"))

    class Meta:
        verbose_name = _("fill")
        verbose_name_plural = _("fills")
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["lane", "exchange_trade_id"], name="fill_is_counted_once"),
            models.CheckConstraint(condition=models.Q(quantity__gt=0, price__gt=0), name="fill_is_positive"),
        ]

    def __str__(self) -> str:
        return f"{plain(self.quantity)} @ {plain(self.price)}"


class KillSwitch(models.Model):
    """A hand on the brake, for one account or for all: entries are denied, exits go on."""

    account = models.OneToOneField(
        Account,
        verbose_name=_("account"),
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="kill_switch",
        help_text=_("Empty: every account."),
    )
    # A unique nullable column cannot say "only one for all accounts"; this one can
    scope = models.CharField(_("scope"), max_length=24, unique=True, editable=False)
    is_on = models.BooleanField(_("is on"), default=False)
    reason = models.TextField(_("reason"), blank=True, help_text=_("Why it was pulled, or released."))
    changed_by = models.CharField(_("changed by"), max_length=150, blank=True)
    changed_at = models.DateTimeField(_("changed at"), auto_now=True)

    class Meta:
        verbose_name = _("kill switch")
        ordering = ["scope"]
        verbose_name_plural = _("kill switches")
        permissions = [
            ("pull_killswitch", "Can pull the kill switch"),
            ("release_killswitch", "Can release the kill switch"),
        ]

    def __str__(self) -> str:
        whose = self.account.name if self.account else gettext("all accounts")
        return gettext("kill switch of %(whose)s") % {"whose": whose}


class Limits(models.Model):
    """What may be risked at most: by one account, by one strategy, or (both empty) by all. An empty limit is none."""

    account = models.OneToOneField(
        Account,
        verbose_name=_("account"),
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="limits",
        help_text=_("Empty: every account."),
    )
    strategy = models.OneToOneField(
        Strategy,
        verbose_name=_("strategy"),
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="limits",
        help_text=_("Empty: every strategy together."),
    )
    scope = models.CharField(_("scope"), max_length=24, unique=True, editable=False)
    max_order_notional = decimal_column(
        _("max order notional"), null=True, blank=True, help_text=_("Largest worth of one entry, in quote money.")
    )
    max_open_notional = decimal_column(
        _("max open notional"),
        null=True,
        blank=True,
        help_text=_("Largest worth of all that is held and on its way, in quote money."),
    )
    max_open_operations = models.PositiveIntegerField(_("max open operations"), null=True, blank=True)
    max_orders_per_day = models.PositiveIntegerField(
        _("max orders per day"), null=True, blank=True, help_text=_("Entries sent since midnight UTC.")
    )
    max_entries_per_minute = models.PositiveIntegerField(
        _("max entries per minute"),
        null=True,
        blank=True,
        help_text=_("One more switches the strategy off: it runs wild. 10 is plenty."),
    )
    max_daily_loss = decimal_column(
        _("max daily loss"),
        null=True,
        blank=True,
        help_text=_("Realised since midnight UTC, fees included; then no entry until the next day."),
    )
    cool_down_after_loss = models.PositiveIntegerField(
        _("cool down after loss"),
        null=True,
        blank=True,
        help_text=_("Seconds without entries after an operation that closed with a loss."),
    )
    max_price_deviation = models.DecimalField(
        _("max price deviation"),
        max_digits=9,
        decimal_places=4,
        null=True,
        blank=True,
        help_text=_("Percent between the alarm's price and the market's, e.g. 0.5."),
    )
    schedule = models.TextField(
        _("schedule"),
        blank=True,
        help_text=_("Windows (UTC) in which entries are allowed, e.g. mon-fri 08:00-20:00; sat 10:00-12:00."),
    )

    class Meta:
        verbose_name = _("limits")
        ordering = ["scope"]
        verbose_name_plural = _("limits")
        constraints = [
            models.CheckConstraint(
                condition=models.Q(account__isnull=True) | models.Q(strategy__isnull=True),
                name="limits_are_of_an_account_or_a_strategy",
                violation_error_message=_("Choose an account or a strategy, not both."),
            )
        ]

    def __str__(self) -> str:
        of_whom = self.account or self.strategy or gettext("everything")
        return gettext("limits of %(whose)s") % {"whose": of_whom}


class Notice(models.Model):
    """Something that a human must know: raised once, ended when it is over, never deleted."""

    class Level(models.TextChoices):
        INFO = "info", _("Info")
        WARNING = "warning", _("Warning")
        CRITICAL = "critical", _("Critical")

    # Set while it is current, so that one thing raises one notice
    current_key = models.CharField(_("current key"), max_length=80, null=True, unique=True, editable=False)
    kind = models.CharField(_("kind"), max_length=40, help_text=_("A machine word, e.g. unsettled_order."))
    level = models.CharField(_("level"), max_length=8, choices=Level.choices)
    facts = models.JSONField(_("facts"), default=dict)
    account = models.ForeignKey(
        Account, verbose_name=_("account"), null=True, on_delete=models.PROTECT, related_name="notices"
    )
    operation = models.ForeignKey(
        Operation, verbose_name=_("operation"), null=True, on_delete=models.PROTECT, related_name="notices"
    )
    raised_at = models.DateTimeField(_("raised at"), auto_now_add=True)
    ended_at = models.DateTimeField(_("ended at"), null=True)

    class Meta:
        verbose_name = _("notice")
        verbose_name_plural = _("notices")
        ordering = ["-id"]
        indexes = [models.Index(fields=["ended_at", "-id"], name="notice_by_end")]

    def __str__(self) -> str:
        return f"{self.get_level_display()}: {name_of(self.kind)}"
