"""Balances, positions and the equity curve over the API: the first two live from the exchange, in one shape."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.http import Http404
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema, extend_schema_serializer
from rest_framework import serializers, viewsets
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.response import Response

from exchange.fields import PlainDecimalField
from exchange.models import Account, EquityPoint
from exchange.survey import Ask, Failure, Report, Survey, ask_balances, ask_positions, survey
from exchange.types import WALLETS, BalanceReport, Market, OldProduct, PositionReport, Wallet

POSITION_WALLETS: tuple[Wallet, ...] = (Market.USDTM, Market.COINM, OldProduct.STANDARD)
MOST_ACCOUNTS = 100


class ExchangeFailed(APIException):
    """The one account that was asked for told nothing: 503 where asking again may help, else 502."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message, failure.code)
        self.status_code = 502 if failure.is_final or failure.code == "exchange_unreadable" else 503


class _AskSerializer(serializers.Serializer[Any]):
    account = serializers.IntegerField(
        required=False, min_value=1, max_value=2**63 - 1, help_text="Left out: every active account."
    )


class AskBalancesSerializer(_AskSerializer):
    """Whose money, and in which wallet."""

    type = serializers.ChoiceField(
        choices=[wallet.value for wallet in WALLETS],
        required=False,
        help_text="Left out: every wallet. `standard` is the standard contract, which is read and never traded.",
    )


class AskPositionsSerializer(_AskSerializer):
    """Whose positions, and of which product."""

    type = serializers.ChoiceField(
        choices=[wallet.value for wallet in POSITION_WALLETS],
        required=False,
        help_text="Left out: every product that has positions; spot has none.",
    )


class _RowSerializer(serializers.Serializer[Any]):
    account = serializers.IntegerField()
    account_name = serializers.CharField()
    environment = serializers.CharField(help_text="paper, vst or live.")
    market = serializers.CharField(help_text="usdtm, coinm, spot or standard.")


class BalanceSerializer(_RowSerializer):
    """One asset of one wallet, in units of that asset."""

    asset = serializers.CharField()
    balance = PlainDecimalField()
    equity = PlainDecimalField(help_text="The balance with what open positions would add.")
    available = PlainDecimalField()
    used_margin = PlainDecimalField(help_text="Behind positions.")
    frozen = PlainDecimalField(help_text="Held by open orders.")
    unrealised_pnl = PlainDecimalField()
    realised_pnl = PlainDecimalField(allow_null=True, help_text="Null where the exchange does not tell it.")


class PositionSerializer(_RowSerializer):
    """What an account holds of one symbol; `quantity` in coins, on COIN-M in contracts."""

    symbol = serializers.CharField()
    position_side = serializers.CharField(help_text="LONG or SHORT; BOTH in one-way mode.")
    side = serializers.CharField(help_text="BUY when it gains as the price rises, else SELL.")
    quantity = PlainDecimalField()
    avg_entry_price = PlainDecimalField()
    mark_price = PlainDecimalField(allow_null=True)
    unrealised_pnl = PlainDecimalField(help_text="In the wallet's asset: on COIN-M the coin.")
    leverage = serializers.IntegerField(allow_null=True)
    margin_mode = serializers.CharField(allow_null=True, help_text="CROSSED or ISOLATED.")
    margin = PlainDecimalField(allow_null=True)
    liquidation_price = PlainDecimalField(allow_null=True)


class FailureSerializer(_RowSerializer):
    """A wallet that could not be read."""

    code = serializers.CharField(help_text="A machine word, e.g. exchange_away.")
    message = serializers.CharField(help_text="A sentence.")


@extend_schema_serializer(many=False)
class BalancesSerializer(serializers.Serializer[Any]):
    """What was told, and beside it which wallets were not."""

    asked_at = serializers.DateTimeField()
    results = BalanceSerializer(many=True)
    failures = FailureSerializer(many=True)


@extend_schema_serializer(many=False)
class PositionsSerializer(serializers.Serializer[Any]):
    """What was told, and beside it which products were not."""

    asked_at = serializers.DateTimeField()
    results = PositionSerializer(many=True)
    failures = FailureSerializer(many=True)


def _without_secrets() -> QuerySet[Account]:
    # Each account's credentials are read when it is asked: one that no key opens must not hide the others
    return Account.objects.defer("api_key", "api_secret")


class _LiveViewSet(viewsets.GenericViewSet[Account]):
    """Ask the exchange, all accounts at once, and answer in one shape."""

    queryset = _without_secrets()
    pagination_class = None
    filter_backends = ()

    def tell(self, asked: dict[str, Any], wallets: Iterable[Wallet], ask: Ask[Report]) -> dict[str, Any]:
        """Return the rows of all accounts; raise when the only account that was asked for told nothing."""
        began = timezone.now()
        wanted = [wallet for wallet in wallets if asked.get("type", wallet.value) == wallet.value]
        found = survey(self._accounts(asked.get("account")), wanted, ask)
        if "account" in asked and found.failures and not found.answers:
            raise ExchangeFailed(found.failures[0])
        return {"asked_at": began, "results": _rows(found), "failures": [_failure(each) for each in found.failures]}

    def _accounts(self, account_id: int | None) -> list[Account]:
        if account_id is None:
            return list(self.get_queryset().filter(is_active=True)[:MOST_ACCOUNTS])
        found = self.get_queryset().filter(pk=account_id).first()
        if found is None:
            raise Http404
        return [found]


class BalanceViewSet(_LiveViewSet):
    """The money in every wallet, live from the exchange."""

    serializer_class = BalancesSerializer

    @extend_schema(parameters=[AskBalancesSerializer], responses=BalancesSerializer)
    def list(self, request: Request) -> Response:
        """Tell the balances of one account or of all active ones."""
        asked = _asked(AskBalancesSerializer, request)
        return Response(BalancesSerializer(self.tell(asked, WALLETS, ask_balances)).data)


class PositionViewSet(_LiveViewSet):
    """What is held, live from the exchange: our books are at `/operations/`."""

    serializer_class = PositionsSerializer

    @extend_schema(parameters=[AskPositionsSerializer], responses=PositionsSerializer)
    def list(self, request: Request) -> Response:
        """Tell the positions of one account or of all active ones."""
        asked = _asked(AskPositionsSerializer, request)
        return Response(PositionsSerializer(self.tell(asked, POSITION_WALLETS, ask_positions)).data)


def _asked(kind: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
    asked = kind(data=request.query_params)
    asked.is_valid(raise_exception=True)
    return dict(asked.validated_data)


def _whose(account: Account, wallet: Wallet) -> dict[str, Any]:
    return {
        "account": account.pk,
        "account_name": account.name,
        "environment": account.environment,
        "market": wallet.value,
    }


def _rows(found: Survey[Report]) -> list[dict[str, Any]]:
    return [_whose(account, wallet) | _told(each) for account, wallet, reports in found.answers for each in reports]


def _told(report: BalanceReport | PositionReport) -> dict[str, Any]:
    """Return a report's own members; its market is said with whose it is."""
    return {name: getattr(report, name) for name in report.__dataclass_fields__ if name != "market"}


def _failure(failure: Failure) -> dict[str, Any]:
    return _whose(failure.account, failure.wallet) | {"code": failure.code, "message": failure.message}


class AskCurveSerializer(serializers.Serializer[Any]):
    """From when (inclusive) until when (exclusive)."""

    since = serializers.DateTimeField(required=False, help_text="ISO 8601; without an offset it is UTC.")
    until = serializers.DateTimeField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        since, until = attrs.get("since"), attrs.get("until")
        if isinstance(since, datetime) and isinstance(until, datetime) and since >= until:
            raise serializers.ValidationError({"until": [_("Must be later than since.")]})
        return attrs


class EquityPointSerializer(serializers.ModelSerializer[EquityPoint]):
    """One point of the curve."""

    equity = PlainDecimalField(help_text="In USDT, at the last prices of the moment.")
    unvalued = serializers.ListField(child=serializers.CharField(), help_text="What no price was known of.")
    refused = serializers.ListField(child=serializers.CharField(), help_text="Wallets not shown to this key.")

    class Meta:
        model = EquityPoint
        fields = ("taken_at", "equity", "unvalued", "refused")


class CurveSerializer(serializers.Serializer[Any]):
    """What an account was worth, oldest point first, 500 points at most."""

    account = serializers.IntegerField()
    quote = serializers.CharField()
    points = EquityPointSerializer(many=True)
