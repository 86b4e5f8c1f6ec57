"""Accounts in the back office. Credentials go in and never come out: a new value replaces the old one."""

from functools import partial
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Length
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.widgets import UnfoldAdminPasswordWidget

from exchange.backoffice import (
    ByAccount,
    Ledger,
    Since,
    changed_columns,
    is_held,
    number_column,
    shown_time,
    time_column,
    without_secrets,
)
from exchange.encryption import WrongKey
from exchange.errors import ExchangeError
from exchange.key_rights import read_rights
from exchange.models import Account, EquityPoint, EquitySnapshot, WalletChoices
from exchange.paper_accounts import open_paper_account

ENVIRONMENT_COLOURS = {
    Account.Environment.PAPER: "info",
    Account.Environment.VST: "warning",
    Account.Environment.LIVE: "danger",
}
SECRETS = {"new_api_key": "api_key", "new_api_secret": "api_secret"}


class WriteOnlyField(forms.CharField):
    """A secret to type: no form ever carries its value back, and an empty one keeps what is stored."""

    widget = UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}, render_value=False)

    def __init__(self, **options: Any) -> None:
        super().__init__(required=False, max_length=512, **options)


class AccountForm(forms.ModelForm):
    """The account without its credentials, and two empty fields to replace them."""

    new_api_key = WriteOnlyField(
        label=_("API key"),
        help_text=_(
            "Trade permission only, never withdrawal. Empty: keep what is stored; a paper account gets one by itself."
        ),
    )
    new_api_secret = WriteOnlyField(
        label=_("API secret"), help_text=_("Stored encrypted and never shown again. Empty: keep what is stored.")
    )

    class Meta:
        model = Account
        fields = ("name", "environment", "is_active", "position_mode")

    def clean_environment(self) -> str:
        """Refuse to move an account above PELUSA_TRADING; one that is there already may still be switched off."""
        order = Account.Environment.values
        chosen = self.cleaned_data["environment"]
        is_new_here = self.instance.pk is None or chosen != self.instance.environment
        if is_new_here and order.index(chosen) > order.index(settings.PELUSA_TRADING):
            raise forms.ValidationError(
                _("PELUSA_TRADING allows %(ceiling)s at most.") % {"ceiling": settings.PELUSA_TRADING}
            )
        return str(chosen)

    def clean(self) -> dict[str, Any]:
        """Ask for key and secret together, and for both where an account cannot trade without."""
        cleaned = super().clean() or self.cleaned_data
        given = self.given()
        must_be_given = self.instance.pk is None and cleaned.get("environment") in (
            Account.Environment.VST,
            Account.Environment.LIVE,
        )
        if given or must_be_given:
            for name in SECRETS:
                if name not in given:
                    self.add_error(name, _("Key and secret are given together."))
        return cleaned

    def save(self, commit: bool = True) -> Account:
        for name, column in self.given().items():
            setattr(self.instance, column, self.cleaned_data[name])
        return super().save(commit=commit)

    def given(self) -> dict[str, str]:
        """Return the secrets that were typed, as field and column."""
        return {name: column for name, column in SECRETS.items() if self.cleaned_data.get(name)}


@admin.register(Account)
class AccountAdmin(ModelAdmin):
    """Whose money an order moves."""

    form = AccountForm
    when_empty = _("An account is what trades: on paper at first, with keys of the exchange later.")
    list_display = ("name", "where", "is_active", "position_mode", "has_credentials")
    list_filter = ("environment", "is_active")
    search_fields = ("name",)
    readonly_fields = ("credentials", "rights", "created_at")
    fieldsets = (
        (None, {"fields": (("name", "environment"), ("is_active", "position_mode"))}),
        (
            _("Credentials"),
            {
                "fields": (("credentials", "rights"), "new_api_key", "new_api_secret"),
                "description": _("They go in here and never come out again."),
            },
        ),
    )
    actions: Any = None
    compressed_fields = False
    change_form_outer_before_template = "exchange/account.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Account]:
        # The length of what is stored says whether there is a key, and nothing is decrypted
        return super().get_queryset(request).defer(*without_secrets()).annotate(stored_length=Length("api_key"))

    def get_readonly_fields(self, request: HttpRequest, obj: Account | None = None) -> tuple[str, ...]:
        """An account with a history stays in its environment: its operations were made there."""
        fields = tuple(super().get_readonly_fields(request, obj))
        return (*fields, "environment") if obj and is_held(obj) else fields

    def has_delete_permission(self, request: HttpRequest, obj: Account | None = None) -> bool:
        return super().has_delete_permission(request, obj) and not (obj and is_held(obj))

    def save_model(self, request: HttpRequest, obj: Account, form: Any, change: bool) -> None:
        if change:
            columns = [*changed_columns(form), *form.given().values()]
            if form.given() or "environment" in columns:
                # Of another key, or elsewhere, nothing is known
                obj.rights_read_at = None
                columns.append("rights_read_at")
            obj.save(update_fields=columns)
        else:
            obj.save()
        if form.given():
            transaction.on_commit(partial(self._see_rights, request, obj))
        if obj.environment == Account.Environment.PAPER and not form.given() and not getattr(obj, "stored_length", 0):
            # After the commit: no network call holds a transaction open
            transaction.on_commit(partial(self._open_at_paper_exchange, request, obj))

    def _see_rights(self, request: HttpRequest, account: Account) -> None:
        try:
            may_withdraw = read_rights(account)
        except ExchangeError as error:
            words = _("What the key may do is not known yet: %(error)s.")
            self.message_user(request, words % {"error": error.message}, messages.WARNING)
            if account.is_key_unproven:
                self.message_user(request, _("No entry is sent until it is known."), messages.WARNING)
            return
        if may_withdraw:
            words = _("This key may withdraw money: no entry is sent with it. Enter one that may not.")
            self.message_user(request, words, messages.ERROR)

    def _open_at_paper_exchange(self, request: HttpRequest, account: Account) -> None:
        try:
            open_paper_account(account)
        except ExchangeError as error:
            words = _("The account has no key yet: %(error)s. Start the paper exchange, then save the account again.")
            self.message_user(request, words % {"error": error.message}, messages.WARNING)
            return
        account.save(update_fields=["api_key", "api_secret"])
        self.message_user(request, _("The paper exchange opened an account for it."), messages.SUCCESS)

    @display(description=_("Environment"), ordering="environment", label=ENVIRONMENT_COLOURS)
    def where(self, account: Account) -> tuple[str, str]:
        return account.environment, account.get_environment_display()

    @display(description=_("Credentials"), boolean=True)
    def has_credentials(self, account: Account) -> bool:
        return bool(getattr(account, "stored_length", 0))

    @display(description=_("Stored now"))
    def credentials(self, account: Account) -> Any:
        if not getattr(account, "stored_length", 0):
            return _("not set")
        try:
            return _("set; the key ends in %(ending)s") % {"ending": f"…{account.api_key[-4:]}"}
        except WrongKey:
            return _("set, but no key of FIELD_ENCRYPTION_KEYS opens it: give both again")

    @display(description=_("What the key may do"))
    def rights(self, account: Account) -> Any:
        if account.may_withdraw:
            return _("it may withdraw money: no entry is sent with it")
        if account.rights_read_at is None:
            return _("not known yet")
        return _("it may not withdraw money; read %(time)s") % {"time": shown_time(account.rights_read_at)}


class SinceTaken(Since):
    column = "taken_at"


class _OverTime(Ledger):
    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("account").defer(*without_secrets("account__"))


@admin.register(EquityPoint)
class EquityPointAdmin(_OverTime):
    """What each account was worth, newest first."""

    when_empty = _("What each account is worth is noted every five minutes.")
    list_display = (
        time_column("taken_at", _("At (UTC)")),
        "account",
        number_column("equity", _("Equity in USDT")),
        "without_price",
        "not_shown",
    )
    list_filter = (SinceTaken, ByAccount)
    fields = ("account", "taken_at", "equity", "unvalued", "refused")
    exported = ("taken_at", "account__name", "equity", "unvalued", "refused")

    @display(description=_("Not valued"))
    def without_price(self, point: EquityPoint) -> str:
        return ", ".join(point.unvalued)

    @display(description=_("Not shown to the key"))
    def not_shown(self, point: EquityPoint) -> str:
        return ", ".join(dict(WalletChoices.choices).get(each, each) for each in point.refused)


@admin.register(EquitySnapshot)
class EquitySnapshotAdmin(_OverTime):
    """What each wallet held, newest first."""

    when_empty = _("What lies in each wallet is noted every five minutes.")
    list_display = (
        time_column("taken_at", _("At (UTC)")),
        "account",
        "market",
        "asset",
        number_column("equity", _("Equity")),
        number_column("available", _("Available")),
        number_column("value", _("Worth in USDT")),
    )
    list_filter = (SinceTaken, ByAccount, "market")
    exported = (
        "taken_at",
        "account__name",
        "market",
        "asset",
        "balance",
        "equity",
        "available",
        "used_margin",
        "unrealised_pnl",
        "value",
    )
    fields = (
        "account",
        "market",
        "asset",
        "taken_at",
        ("balance", "equity", "available"),
        ("used_margin", "unrealised_pnl", "value"),
    )
