"""How much one user, or one address, may ask of the API.

All processes count together in the broker's Redis; while it is away each counts in its own memory, and no request
waits for it longer than `STORE_TIMEOUT`. The webhook is throttled nowhere: TradingView sends nothing twice.
"""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING

import redis
from django.conf import settings
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from loguru import logger
from redis.backoff import NoBackoff
from redis.retry import Retry
from rest_framework.throttling import BaseThrottle

from pelusa.lockout import address_of

if TYPE_CHECKING:
    # A view imports this module through the settings
    from rest_framework.request import Request
    from rest_framework.views import APIView

OF_STRANGERS = 60
STORE_TIMEOUT, STORE_AWAY_FOR = 0.2, 5.0


class Allowance:
    """So many requests a minute under each name."""

    def __init__(self, redis_url: str = "") -> None:
        self._here = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._shared = SlidingWindowCounterRateLimiter(_redis(redis_url)) if redis_url else None
        self._away_until = 0.0

    def take(self, name: str, amount: int) -> float:
        """Take one of the minute's and return 0, or return the seconds after which to try again."""
        item = RateLimitItemPerMinute(amount)
        if self._shared and time.monotonic() >= self._away_until:
            try:
                return _take(self._shared, item, name)
            except redis.RedisError as error:
                self._away_until = time.monotonic() + STORE_AWAY_FOR
                logger.debug("Redis away, this process throttles alone: {}", type(error).__name__)
        return _take(self._here, item, name)

    def is_spent(self, name: str, amount: int) -> float:
        """Return the seconds after which there is one to take in this process, 0 when there is; take none."""
        item = RateLimitItemPerMinute(amount)
        return 0.0 if self._here.test(item, name) else _wait(self._here, item, name)


def _redis(url: str) -> RedisStorage:
    waits = {"socket_timeout": STORE_TIMEOUT, "socket_connect_timeout": STORE_TIMEOUT}
    # Once more for a connection that the server has closed meanwhile; never after a time-out
    retry = Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
    pool = redis.ConnectionPool.from_url(url, **waits, retry=retry)
    return RedisStorage(url, connection_pool=pool, key_prefix="pelusa:throttle")


def _take(limiter: SlidingWindowCounterRateLimiter, item: RateLimitItemPerMinute, name: str) -> float:
    return 0.0 if limiter.hit(item, name) else _wait(limiter, item, name)


def _wait(limiter: SlidingWindowCounterRateLimiter, item: RateLimitItemPerMinute, name: str) -> float:
    return max(limiter.get_window_stats(item, name).reset_time - time.time(), 1.0)


@cache
def allowance() -> Allowance:
    """Return this process's; made at the first request, and so after any fork."""
    return Allowance(settings.PACING_REDIS_URL)


class ApiThrottle(BaseThrottle):
    """Every view of the API: by user, and by address where there is none."""

    def allow_request(self, request: Request, view: APIView) -> bool:
        if request.user and request.user.is_authenticated:
            self._wait = allowance().take(f"user/{request.user.get_username()}", settings.API_REQUESTS_PER_MINUTE)
        else:
            self._wait = allowance().take(f"address/{address_of(request._request)}", OF_STRANGERS)
        return not self._wait

    def wait(self) -> float:
        return self._wait
