"""Accounts over the API. Credentials go in and never come out."""

from typing import Any

from django.conf import settings
from rest_framework import serializers, status, viewsets
from rest_framework.exceptions import APIException

from exchange.conflicts import KeepsHistory
from exchange.errors import NotSent, Refused
from exchange.models import Account
from exchange.paper_accounts import open_paper_account

CREDENTIALS = ("api_key", "api_secret")


class ExchangeAway(APIException):
    """An exchange that the request needs does not answer."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = "The exchange does not answer."
    default_code = "exchange_away"


class AccountSerializer(serializers.ModelSerializer[Account]):
    """An account without its credentials, which can only be written."""

    class Meta:
        model = Account
        fields = ("id", "name", "environment", "is_active", "position_mode", *CREDENTIALS)
        extra_kwargs = {name: {"write_only": True, "required": False, "max_length": 512} for name in CREDENTIALS}

    def validate_environment(self, environment: str) -> str:
        """Refuse an environment above the ceiling, and a change: operations were made in the one that is."""
        order = Account.Environment.values
        if self.instance and environment != self.instance.environment:
            raise serializers.ValidationError("Cannot be changed: make another account.")
        if not self.instance and order.index(environment) > order.index(settings.PELUSA_TRADING):
            raise serializers.ValidationError(f"PELUSA_TRADING allows {settings.PELUSA_TRADING} at most.")
        return environment

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        given = [name for name in CREDENTIALS if attrs.get(name)]
        environment = attrs.get("environment", Account.Environment.PAPER)
        must_be_given = not self.instance and environment != Account.Environment.PAPER
        missing = [name for name in CREDENTIALS if name not in given] if given or must_be_given else []
        if missing:
            raise serializers.ValidationError({name: ["Key and secret are given together."] for name in missing})
        # An empty one keeps what is stored
        return {name: value for name, value in attrs.items() if name not in CREDENTIALS or value}

    def create(self, validated_data: dict[str, Any]) -> Account:
        account = Account(**validated_data)
        if account.environment == Account.Environment.PAPER and not account.api_key:
            _open(account)
        account.save(force_insert=True)
        return account

    def update(self, instance: Account, validated_data: dict[str, Any]) -> Account:
        for name, value in validated_data.items():
            setattr(instance, name, value)
        if validated_data:
            instance.save(update_fields=list(validated_data))
        return instance


def _open(account: Account) -> None:
    try:
        open_paper_account(account)
    except (NotSent, Refused) as error:
        raise ExchangeAway(f"No account was made: {error.message}.") from None


class AccountViewSet(KeepsHistory, viewsets.ModelViewSet[Account]):
    """Whose money an order moves, and where."""

    # Without the credentials: a list must also open when FIELD_ENCRYPTION_KEYS no longer fits
    queryset = Account.objects.defer(*CREDENTIALS)
    serializer_class = AccountSerializer
    filterset_fields = ("environment", "is_active")
    lookup_value_regex = "[0-9]{1,18}"
    kept_because = "Strategies or operations belong to this account: switch it off with is_active instead."
