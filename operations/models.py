"""Decisions, operations, orders and fills: what we answered, meant, sent and got."""

import secrets
from decimal import Decimal
from typing import Any

from django.db import models

from exchange.models import Account, MarketChoices
from operations.states import OrderStatus
from strategies.models import Leg, Strategy


def new_client_order_id() -> str:
    """Return 33 lower-case characters: BingX lowers them, and an integer key would be reused after a restore."""
    return f"p{secrets.token_hex(16)}"


def decimal_column(**options: Any) -> models.DecimalField:
    """Return a price or quantity column: 16 digits before the point, 12 after it."""
    return models.DecimalField(max_digits=28, decimal_places=12, **options)


class Lane(models.Model):
    """One account and symbol: its orders leave in arrival order, one at a time."""

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="lanes")
    market = models.CharField(max_length=8, choices=MarketChoices.choices)
    symbol = models.CharField(max_length=40)
    long_leverage = models.PositiveSmallIntegerField(null=True, help_text="As last set or read at the exchange.")
    short_leverage = models.PositiveSmallIntegerField(null=True)
    margin_mode = models.CharField(max_length=8, choices=Leg.Margin.choices, blank=True)
    paused_until = models.DateTimeField(null=True, help_text="The exchange takes no orders here before this moment.")
    frozen_at = models.DateTimeField(null=True, help_text="Since when entries are held back; exits go on.")
    frozen_reason = models.CharField(max_length=40, blank=True, help_text="A machine word.")
    frozen_facts = models.JSONField(default=dict)
    compared_at = models.DateTimeField(
        null=True, help_text="When our books and the exchange's position here were last compared with certainty."
    )

    class Meta:
        ordering = ["account", "market", "symbol"]
        constraints = [
            models.UniqueConstraint(fields=["account", "market", "symbol"], name="lane_is_one_per_account_and_symbol")
        ]

    def __str__(self) -> str:
        return f"{self.account.name} {self.symbol}"


class Operation(models.Model):
    """One round trip of one strategy on one leg: from its first entry until it is flat."""

    class Status(models.TextChoices):
        OPENING = "opening", "Opening"
        OPEN = "open", "Open"
        CLOSING = "closing", "Closing"
        CLOSED = "closed", "Closed"
        ABORTED = "aborted", "Aborted (never opened)"

    LIVE = frozenset({Status.OPENING, Status.OPEN, Status.CLOSING})
    STACKABLE = frozenset({Status.OPENING, Status.OPEN})

    strategy = models.ForeignKey(Strategy, on_delete=models.PROTECT, related_name="operations")
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="operations")
    market = models.CharField(max_length=8, choices=MarketChoices.choices)
    symbol = models.CharField(max_length=40)
    leg = models.CharField(max_length=5, choices=Leg.Name.choices)
    status = models.CharField(max_length=8, choices=Status.choices, default=Status.OPENING)
    # MySQL has no conditional unique constraint: a nullable unique column says "one stackable operation a leg"
    stack_key = models.CharField(max_length=32, null=True, unique=True, editable=False)
    quantity = decimal_column(default=0, help_text="All that was ever entered.")
    held_quantity = decimal_column(default=0, help_text="What is held now.")
    avg_entry_price = decimal_column(null=True)
    avg_exit_price = decimal_column(null=True)
    realised_pnl = decimal_column(
        default=0, help_text="From its fills, before fees; in the quote asset (the coin on COIN-M)."
    )
    fees = decimal_column(default=0, help_text="Paid, from its fills.")
    uncovered_since = models.DateTimeField(
        null=True, help_text="Since when the exchange was seen to lack a stop or target that the leg asks for."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    opened_at = models.DateTimeField(null=True)
    closed_at = models.DateTimeField(null=True)

    class Meta:
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
        return f"operation {self.pk}"

    @property
    def position_side(self) -> str:
        """LONG or SHORT: which position of a hedge account this is a share of."""
        return self.leg.upper()


class Decision(models.Model):
    """What one strategy answered to one alarm, and because of what."""

    class Outcome(models.TextChoices):
        OPEN = "open", "Open"
        CLOSE = "close", "Close"
        IGNORED = "ignored", "Ignored"
        DENIED = "denied", "Denied"

    # The alarm lives in another database: no foreign key can reach it
    alarm_id = models.BigIntegerField()
    strategy = models.ForeignKey(Strategy, on_delete=models.PROTECT, related_name="decisions")
    leg = models.CharField(max_length=5, choices=Leg.Name.choices)
    outcome = models.CharField(max_length=7, choices=Outcome.choices)
    reason = models.CharField(max_length=40, help_text="A machine word.")
    facts = models.JSONField(default=dict, help_text="The values that were compared.")
    operation = models.ForeignKey(Operation, null=True, on_delete=models.PROTECT, related_name="decisions")
    strategy_version = models.PositiveIntegerField(
        null=True, help_text="Which version of the strategy decided; empty before versions were kept."
    )
    alarm_received_at = models.DateTimeField()
    alarm_happened_at = models.DateTimeField(help_text="By its own time or by its arrival, whichever is earlier.")
    alarm_price = decimal_column(null=True)
    alarm_quantity = decimal_column(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["strategy", "-id"], name="decision_by_strategy")]
        constraints = [
            models.UniqueConstraint(fields=["alarm_id", "strategy"], name="strategy_decides_once_on_an_alarm")
        ]

    def __str__(self) -> str:
        return f"{self.outcome}: {self.reason}"


class Order(models.Model):
    """One instruction of ours to the exchange. The row is committed before anything is sent."""

    class Role(models.TextChoices):
        ENTRY = "ENTRY", "Entry"
        EXIT = "EXIT", "Exit"
        TAKE_PROFIT = "TAKE_PROFIT", "Take profit"
        STOP_LOSS = "STOP_LOSS", "Stop loss"

    STATUS_CHOICES = [(status.value, status.value.replace("_", " ").capitalize()) for status in OrderStatus]

    lane = models.ForeignKey(Lane, on_delete=models.PROTECT, related_name="orders")
    operation = models.ForeignKey(Operation, on_delete=models.PROTECT, related_name="orders")
    decision = models.ForeignKey(Decision, null=True, on_delete=models.PROTECT, related_name="orders")
    entry = models.ForeignKey(
        "self",
        null=True,
        on_delete=models.PROTECT,
        related_name="protection",
        help_text="Of a stop or target: the entry whose quantity it covers.",
    )
    client_order_id = models.CharField(max_length=40, unique=True, default=new_client_order_id)
    exchange_order_id = models.CharField(max_length=40, blank=True)
    role = models.CharField(max_length=11, choices=Role.choices)
    side = models.CharField(max_length=4, choices=[("BUY", "Buy"), ("SELL", "Sell")])
    position_side = models.CharField(max_length=5, choices=[("LONG", "Long"), ("SHORT", "Short"), ("BOTH", "Both")])
    order_type = models.CharField(max_length=20, default="MARKET")
    reduce_only = models.BooleanField(default=False)
    quantity = decimal_column(null=True, help_text="Known when it is sent: sized, rounded to the step.")
    trigger_price = decimal_column(null=True)
    filled_quantity = decimal_column(default=0)
    avg_price = decimal_column(null=True)
    market_price = decimal_column(
        null=True, help_text="The market's when an entry was submitted: what limits reckon with until its own is known."
    )
    base_fee = decimal_column(default=0, help_text="Of a spot buy: the fee that was taken from the coins received.")
    status = models.CharField(max_length=16, choices=STATUS_CHOICES, default=OrderStatus.CREATED.value)
    reason = models.CharField(
        max_length=40, blank=True, help_text="A machine word: why it was denied, rejected or expired."
    )
    code = models.CharField(max_length=20, blank=True, help_text="The exchange's code, when it refused.")
    detail = models.TextField(blank=True, help_text="The exchange's words, and what to do.")
    has_all_fills = models.BooleanField(default=False)
    settle_misses = models.PositiveSmallIntegerField(default=0, help_text="How often it was not found after the fence.")
    missed_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    # To the millisecond: it is the very time stamp that is signed, so the exchange fences a late request
    submitted_at = models.DateTimeField(null=True)
    answered_at = models.DateTimeField(null=True)
    closed_at = models.DateTimeField(null=True)

    class Meta:
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
        return f"{self.role} {self.client_order_id}"

    @property
    def received_quantity(self) -> Decimal:
        """What was filled, less the fee that was taken from it."""
        received: Decimal = self.filled_quantity - self.base_fee
        return received


class OrderEvent(models.Model):
    """One step in an order's life, written in the transaction that made the step."""

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="events")
    at = models.DateTimeField()
    status = models.CharField(max_length=16, choices=Order.STATUS_CHOICES)
    source = models.CharField(max_length=12, help_text="Who said so: us, answer, query or fills.")
    detail = models.TextField(blank=True)

    class Meta:
        ordering = ["id"]
        indexes = [
            # What moved in the last seconds, for the comparison of books
            models.Index(fields=["at"], name="order_event_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.status} at {self.at:%H:%M:%S.%f}"


class Fill(models.Model):
    """One execution of an order, keyed by the exchange's own trade id."""

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="fills")
    lane = models.ForeignKey(Lane, on_delete=models.PROTECT, related_name="fills")
    exchange_trade_id = models.CharField(max_length=64)
    price = decimal_column()
    quantity = decimal_column()
    fee = decimal_column(help_text="Paid: positive costs, negative is a rebate.")
    fee_asset = models.CharField(max_length=20, blank=True)
    filled_at = models.DateTimeField()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["lane", "exchange_trade_id"], name="fill_is_counted_once"),
            models.CheckConstraint(condition=models.Q(quantity__gt=0, price__gt=0), name="fill_is_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} at {self.price}"


class KillSwitch(models.Model):
    """A hand on the brake, for one account or for all: entries are denied, exits go on."""

    account = models.OneToOneField(
        Account,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="kill_switch",
        help_text="Empty: every account.",
    )
    # A unique nullable column cannot say "only one for all accounts"; this one can
    scope = models.CharField(max_length=24, unique=True, editable=False)
    is_on = models.BooleanField(default=False)
    reason = models.TextField(blank=True, help_text="Why it was pulled, or released.")
    changed_by = models.CharField(max_length=150, blank=True)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["scope"]
        verbose_name_plural = "kill switches"
        permissions = [
            ("pull_killswitch", "Can pull the kill switch"),
            ("release_killswitch", "Can release the kill switch"),
        ]

    def __str__(self) -> str:
        return f"kill switch of {self.account.name if self.account else 'all accounts'}"


class Limits(models.Model):
    """What may be risked at most: by one account, by one strategy, or (both empty) by all. An empty limit is none."""

    account = models.OneToOneField(
        Account,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="limits",
        help_text="Empty: every account.",
    )
    strategy = models.OneToOneField(
        Strategy,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="limits",
        help_text="Empty: every strategy together.",
    )
    scope = models.CharField(max_length=24, unique=True, editable=False)
    max_order_notional = decimal_column(null=True, blank=True, help_text="Largest worth of one entry, in quote money.")
    max_open_notional = decimal_column(
        null=True, blank=True, help_text="Largest worth of all that is held and on its way, in quote money."
    )
    max_open_operations = models.PositiveIntegerField(null=True, blank=True)
    max_orders_per_day = models.PositiveIntegerField(
        null=True, blank=True, help_text="Entries sent since midnight UTC."
    )
    max_entries_per_minute = models.PositiveIntegerField(
        null=True, blank=True, help_text="One more switches the strategy off: it runs wild. 10 is plenty."
    )
    max_daily_loss = decimal_column(
        null=True, blank=True, help_text="Realised since midnight UTC, fees included; then no entry until the next day."
    )
    cool_down_after_loss = models.PositiveIntegerField(
        null=True, blank=True, help_text="Seconds without entries after an operation that closed with a loss."
    )
    max_price_deviation = models.DecimalField(
        max_digits=9,
        decimal_places=4,
        null=True,
        blank=True,
        help_text="Percent between the alarm's price and the market's, e.g. 0.5.",
    )
    schedule = models.TextField(
        blank=True, help_text="Windows (UTC) in which entries are allowed, e.g. mon-fri 08:00-20:00; sat 10:00-12:00."
    )

    class Meta:
        ordering = ["scope"]
        verbose_name_plural = "limits"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(account__isnull=True) | models.Q(strategy__isnull=True),
                name="limits_are_of_an_account_or_a_strategy",
                violation_error_message="Choose an account or a strategy, not both.",
            )
        ]

    def __str__(self) -> str:
        return f"limits of {self.account or self.strategy or 'everything'}"


class Notice(models.Model):
    """Something that a human must know: raised once, ended when it is over, never deleted."""

    class Level(models.TextChoices):
        INFO = "info", "Info"
        WARNING = "warning", "Warning"
        CRITICAL = "critical", "Critical"

    # Set while it is current, so that one thing raises one notice
    current_key = models.CharField(max_length=80, null=True, unique=True, editable=False)
    kind = models.CharField(max_length=40, help_text="A machine word, e.g. unsettled_order.")
    level = models.CharField(max_length=8, choices=Level.choices)
    facts = models.JSONField(default=dict)
    account = models.ForeignKey(Account, null=True, on_delete=models.PROTECT, related_name="notices")
    operation = models.ForeignKey(Operation, null=True, on_delete=models.PROTECT, related_name="notices")
    raised_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["ended_at", "-id"], name="notice_by_end")]

    def __str__(self) -> str:
        return f"{self.level}: {self.kind}"
