"""The client for an account: right environment, right keys, one for each thread."""

import hashlib
import threading

from django.conf import settings

from exchange.bingx import BingX
from exchange.models import Account
from exchange.pacing import pacer_for

_kept = threading.local()


def connect(account: Account) -> BingX:
    """Return this thread's client for the account; connections stay open between orders."""
    return _client(account.environment, account.api_key, account.api_secret)


def connect_for_market_data() -> BingX:
    """Return this thread's client for public data, in the environment that PELUSA_TRADING names."""
    return connect_to(settings.PELUSA_TRADING)


def connect_to(environment: str) -> BingX:
    """Return this thread's client for an environment's public data."""
    return _client(environment, "", "")


def _client(environment: str, key: str, secret: str) -> BingX:
    url = settings.BINGX_URLS[environment]
    clients: dict[tuple[str, str], BingX] = _kept.__dict__.setdefault("clients", {})
    fingerprint = hashlib.sha256(f"{key}\n{secret}".encode()).hexdigest()
    if (url, fingerprint) not in clients:
        # The paper exchange is our own, and takes what comes
        pacer = pacer_for(settings.PACING_REDIS_URL) if environment in settings.PACED_ENVIRONMENTS else None
        clients[url, fingerprint] = BingX(base_url=url, key=key, secret=secret, pacer=pacer)
    return clients[url, fingerprint]
