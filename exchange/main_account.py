"""The account named `main`, kept with the credentials of the environment."""

from typing import Any

from django.conf import settings
from loguru import logger

from exchange.models import Account

NAME = "main"


def keep_main_account(*, using: str = "default", **signal: Any) -> Account | None:
    """Create `main`, or give it the key of BINGX_API_KEY and BINGX_API_SECRET; None when they are not set.

    Its environment is the one that PELUSA_TRADING names. Safe to repeat; an account that has them already is left.
    Called after every migration.
    """
    key, secret = settings.BINGX_API_KEY, settings.BINGX_API_SECRET
    if not key or not secret or using != "default":
        return None
    account = Account.objects.filter(name=NAME).first() or Account(name=NAME)
    wanted = (settings.PELUSA_TRADING, key, secret)
    if (account.environment, account.api_key, account.api_secret) != wanted or account.pk is None:
        account.environment, account.api_key, account.api_secret = wanted
        account.save()
        logger.info("account {} now has the credentials of the environment", NAME)
    return account
