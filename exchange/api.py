"""Accounts over the API. Credentials go in and never come out."""

from typing import Any

from django.conf import settings
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.response import Response

from exchange.conflicts import KeepsHistory
from exchange.equity import curve
from exchange.errors import ExchangeError, NotSent, Refused
from exchange.key_rights import read_rights
from exchange.models import Account
from exchange.paper_accounts import open_paper_account
from exchange.valuation import QUOTE
from exchange.wealth_api import AskCurveSerializer, CurveSerializer

CREDENTIALS = ("api_key", "api_secret")


class ExchangeAway(APIException):
    """An exchange that the request needs does not answer."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = _("The exchange does not answer.")
    default_code = "exchange_away"


class AccountSerializer(serializers.ModelSerializer[Account]):
    """An account without its credentials, which can only be written."""

    key_note = serializers.CharField(
        read_only=True, default="", help_text="What the exchange said of a key that was entered just now; else empty."
    )

    class Meta:
        model = Account
        fields = (
            "id",
            "name",
            "environment",
            "is_active",
            "position_mode",
            "may_withdraw",
            "rights_read_at",
            "key_note",
            *CREDENTIALS,
        )
        read_only_fields = ("may_withdraw", "rights_read_at")
        extra_kwargs = {name: {"write_only": True, "required": False, "max_length": 512} for name in CREDENTIALS}

    def validate_environment(self, environment: str) -> str:
        """Refuse an environment above the ceiling, and a change: operations were made in the one that is."""
        order = Account.Environment.values
        if self.instance and environment != self.instance.environment:
            raise serializers.ValidationError("Cannot be changed: make another account.")
        if not self.instance and order.index(environment) > order.index(settings.PELUSA_TRADING):
            raise serializers.ValidationError(
                _("PELUSA_TRADING allows %(ceiling)s at most.") % {"ceiling": settings.PELUSA_TRADING}
            )
        return environment

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        given = [name for name in CREDENTIALS if attrs.get(name)]
        environment = attrs.get("environment", Account.Environment.PAPER)
        must_be_given = not self.instance and environment != Account.Environment.PAPER
        missing = [name for name in CREDENTIALS if name not in given] if given or must_be_given else []
        if missing:
            raise serializers.ValidationError({name: [_("Key and secret are given together.")] for name in missing})
        # An empty one keeps what is stored
        return {name: value for name, value in attrs.items() if name not in CREDENTIALS or value}

    def create(self, validated_data: dict[str, Any]) -> Account:
        account = Account(**validated_data)
        if account.environment == Account.Environment.PAPER and not account.api_key:
            _open(account)
        account.save(force_insert=True)
        _see_rights(account)
        return account

    def update(self, instance: Account, validated_data: dict[str, Any]) -> Account:
        for name, value in validated_data.items():
            setattr(instance, name, value)
        has_new_key = "api_key" in validated_data
        if has_new_key:
            instance.rights_read_at = None
        if validated_data:
            # What was read of the key meanwhile is another's to write
            instance.save(update_fields=[*validated_data, *(["rights_read_at"] if has_new_key else [])])
        if has_new_key:
            _see_rights(instance)
        return instance


def _open(account: Account) -> None:
    try:
        open_paper_account(account)
    except (NotSent, Refused) as error:
        raise ExchangeAway(_("No account was made: %(error)s.") % {"error": error.message}) from None


def _see_rights(account: Account) -> None:
    """Learn at once of a key that may withdraw, and say so; a silent exchange is asked again every five minutes."""
    if not account.api_key:
        return
    try:
        may_withdraw = read_rights(account)
    except ExchangeError as error:
        note = _("What the key may do is not known yet: %(error)s.") % {"error": error.message}
        if account.is_key_unproven:
            note = f"{note} {_('No entry is sent until it is known.')}"
        account.key_note = note  # type: ignore[attr-defined]
    else:
        forbidden = _("The key may withdraw money: no entry is sent with it.")
        account.key_note = str(forbidden if may_withdraw else _("The key may not withdraw money."))  # type: ignore[attr-defined]


class AccountViewSet(KeepsHistory, viewsets.ModelViewSet[Account]):
    """Whose money an order moves, and where."""

    # Without the credentials: a list must also open when FIELD_ENCRYPTION_KEYS no longer fits
    queryset = Account.objects.defer(*CREDENTIALS)
    serializer_class = AccountSerializer
    filterset_fields = ("environment", "is_active")
    lookup_value_regex = "[0-9]{1,18}"
    required_permission: str | None = None
    kept_because = _(
        "Strategies, operations or an equity curve belong to this account: switch it off with is_active instead."
    )

    @extend_schema(parameters=[AskCurveSerializer], responses=CurveSerializer)
    @action(detail=True, required_permission="exchange.view_equitypoint")
    def equity(self, request: Request, pk: str | None = None) -> Response:
        """Tell what the account was worth over time, in USDT."""
        asked = AskCurveSerializer(data=request.query_params)
        asked.is_valid(raise_exception=True)
        account = self.get_object()
        told = {"account": account.pk, "quote": QUOTE, "points": curve(account, **asked.validated_data)}
        return Response(CurveSerializer(told).data)
