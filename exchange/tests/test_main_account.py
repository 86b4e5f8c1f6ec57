"""The account `main`."""

import pytest

from exchange.main_account import keep_main_account
from exchange.models import Account
from pelusa.tests.planted import planted

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def credentials(settings: object) -> None:
    settings.BINGX_API_KEY, settings.BINGX_API_SECRET = planted("exchange key"), planted("exchange secret")  # type: ignore[attr-defined]
    settings.PELUSA_TRADING = "vst"  # type: ignore[attr-defined]


def test_it_is_made_in_the_environment_that_trading_names() -> None:
    account = keep_main_account()
    assert account
    assert (account.environment, account.api_key, account.api_secret) == (
        "vst",
        planted("exchange key"),
        planted("exchange secret"),
    )


def test_it_is_kept_and_not_made_twice(settings: object) -> None:
    keep_main_account()
    settings.BINGX_API_SECRET = "rotated"  # type: ignore[attr-defined]
    keep_main_account()
    assert Account.objects.get().api_secret == "rotated"


def test_what_the_trader_changed_of_it_stays() -> None:
    keep_main_account()
    Account.objects.update(is_active=False)
    keep_main_account()
    assert not Account.objects.get().is_active


def test_without_credentials_there_is_none(settings: object) -> None:
    settings.BINGX_API_KEY = ""  # type: ignore[attr-defined]
    assert keep_main_account() is None
    assert not Account.objects.exists()
