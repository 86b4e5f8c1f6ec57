"""Open an account at the paper exchange: a key made here and made known there."""

import secrets

import requests
from django.conf import settings
from django.utils.translation import gettext as _

from exchange.errors import NotSent, Refused
from exchange.models import Account


def open_paper_account(account: Account) -> None:
    """Give a paper account a key and register it; save nothing. Safe to repeat.

    Raises `NotSent` when the paper exchange is away, `Refused` when the key is taken with another secret.
    """
    if not account.api_key:
        account.api_key, account.api_secret = f"paper-{secrets.token_hex(12)}", secrets.token_hex(24)
    register(account.api_key, account.api_secret)


def register(key: str, secret: str) -> None:
    """Make a key known to the paper exchange; a key that it knows keeps its money and positions."""
    with requests.Session() as session:
        session.trust_env = False
        try:
            answer = session.post(
                f"{settings.BINGX_PAPER_URL}/paper/accounts", json={"key": key, "secret": secret}, timeout=5
            )
        except requests.RequestException:
            raise NotSent(_("the paper exchange does not answer; `make run` and `make demo` start it")) from None
    if answer.status_code != 200:
        raise Refused(_("the paper exchange knows this key with another secret"), http_status=answer.status_code)
