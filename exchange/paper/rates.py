"""BingX's own rate limits, enforced when the switch `rate_limits` is on; of errors, when `error_limits` is.

Of the key: so many requests a second for each signed endpoint. Of the address: 500 in 10 seconds and 1,000 in a minute
for all market data together; for the other two groups 2,000 in 10 seconds together and 300 for each endpoint.
https://bingx-api.github.io/docs-v3/#/en/Quick%20Start/Interface%20Rate%20Limits
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from exchange.paper import refusals
from exchange.paper.refusals import Refusal

SECOND_MS, TEN_SECONDS_MS, MINUTE_MS = 1_000, 10_000, 60_000
MARKET_GROUP, USUAL_GROUP, TRADING_GROUP = 1, 2, 3
GROUP_WINDOWS = {
    MARKET_GROUP: ((500, TEN_SECONDS_MS), (1000, MINUTE_MS)),
    USUAL_GROUP: ((2000, TEN_SECONDS_MS),),
    TRADING_GROUP: ((2000, TEN_SECONDS_MS),),
}
ENDPOINT_LIMIT = 300
SAME_ERROR_LIMIT, SAME_ERROR_MS = 20, 480_000
DEFAULT_LIMIT = 5
# Requests a second and key; the newer number where BingX's pages differ.
LIMITS = {
    "POST /openApi/swap/v2/trade/order": 10,
    "DELETE /openApi/swap/v2/trade/order": 10,
    "GET /openApi/swap/v2/trade/order": 30,
    "GET /openApi/swap/v2/user/positions": 10,
    "GET /openApi/swap/v2/trade/forceOrders": 10,
    "GET /openApi/swap/v2/trade/marginType": 2,
    "POST /openApi/swap/v2/trade/marginType": 2,
    "GET /openApi/swap/v1/positionSide/dual": 2,
    "POST /openApi/swap/v1/positionSide/dual": 4,
    "POST /openApi/swap/v2/trade/positionMargin": 2,
    "GET /openApi/swap/v1/trade/assetMode": 2,
    "POST /openApi/swap/v2/trade/cancelAllAfter": 1,
    "POST /openApi/swap/v1/trade/getVst": 1,
    "POST /openApi/spot/v1/trade/order": 10,
    "GET /openApi/spot/v1/trade/query": 10,
    "GET /openApi/spot/v1/trade/openOrders": 10,
    "GET /openApi/spot/v1/trade/historyOrders": 10,
    "POST /openApi/spot/v1/trade/batchOrders": 2,
    "POST /openApi/spot/v1/trade/cancelOrders": 2,
    "POST /openApi/spot/v1/trade/cancelOpenOrders": 2,
    "POST /openApi/spot/v1/trade/cancelAllAfter": 1,
    "GET /openApi/spot/v1/user/commissionRate": 2,
    "GET /openApi/fund/v1/account/balance": 2,
    "POST /openApi/api/asset/v1/transfer": 2,
}
# All other signed endpoints are in the usual group.
TRADING = frozenset(
    {
        "POST /openApi/swap/v2/trade/order",
        "DELETE /openApi/swap/v2/trade/order",
        "POST /openApi/swap/v2/trade/batchOrders",
        "DELETE /openApi/swap/v2/trade/batchOrders",
        "POST /openApi/swap/v1/trade/amend",
        "GET /openApi/swap/v2/trade/openOrders",
        "GET /openApi/swap/v2/trade/allOrders",
        "GET /openApi/swap/v2/user/positions",
        "GET /openApi/swap/v3/user/balance",
        "GET /openApi/spot/v1/account/balance",
        "POST /openApi/spot/v1/trade/order",
        "POST /openApi/spot/v1/trade/batchOrders",
        "POST /openApi/spot/v1/trade/cancel",
        "POST /openApi/spot/v1/trade/cancelOrders",
        "POST /openApi/spot/v1/trade/cancelOpenOrders",
        "POST /openApi/spot/v1/trade/order/cancelReplace",
    }
)


class Window(NamedTuple):
    """At most `limit` requests in `length_ms` under one name."""

    name: tuple[str, ...]
    limit: int
    length_ms: int


def windows(key: str, address: str, what: str, *, is_signed: bool) -> Iterator[Window]:
    """Yield every window in which a request to `what`, e.g. "GET /openApi/...", counts."""
    group = MARKET_GROUP if not is_signed else TRADING_GROUP if what in TRADING else USUAL_GROUP
    if is_signed:
        yield Window((key, what), LIMITS.get(what, DEFAULT_LIMIT), SECOND_MS)
        yield Window((address, what), ENDPOINT_LIMIT, TEN_SECONDS_MS)
    for limit, length_ms in GROUP_WINDOWS[group]:
        yield Window((address, f"group {group}", str(length_ms)), limit, length_ms)


class RateKeeper:
    """Counts requests in sliding windows and shuts an endpoint to whom asked too often."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, ...], deque[int]] = {}
        # Until when, and in which words it is told.
        self._shut: dict[tuple[str, str], tuple[int, str]] = {}

    def clear(self) -> None:
        self._seen.clear()
        self._shut.clear()

    def shut(self, who: str, what: str, until_ms: int) -> Refusal:
        """Shut an endpoint to somebody; return what he is told until then."""
        refusal = refusals.rate_limited(what.split(" ")[-1], until_ms)
        self._shut[who, what] = until_ms, refusal.message
        return refusal

    def check_open(self, who: str, what: str, now_ms: int) -> None:
        """Raise Refusal 100410 while an endpoint is shut to somebody; the message says until when."""
        until_ms, words = self._shut.get((who, what), (0, ""))
        if until_ms > now_ms:
            raise Refusal(refusals.RATE_LIMITED, words)

    def count(self, key: str, address: str, what: str, now_ms: int, penalty_ms: int, *, is_signed: bool) -> None:
        """Count a request of a key (empty: nobody's) from an address.

        Raises Refusal 100410 and shuts the endpoint for `penalty_ms` when it is one too many.
        """
        who = key or address
        seen_in = [
            (window, self._seen_in(window, now_ms)) for window in windows(key, address, what, is_signed=is_signed)
        ]
        if any(len(seen) >= window.limit for window, seen in seen_in):
            raise self.shut(who, what, now_ms + penalty_ms)
        for _, seen in seen_in:
            seen.append(now_ms)

    def count_error(self, who: str, what: str, code: int, now_ms: int, penalty_ms: int) -> None:
        """Count a business error; the endpoint is shut to whom runs into the same one more than 20 times."""
        seen = self._seen_in(Window((who, what, str(code)), SAME_ERROR_LIMIT, SAME_ERROR_MS), now_ms)
        seen.append(now_ms)
        if len(seen) > SAME_ERROR_LIMIT and code != refusals.RATE_LIMITED:
            until_ms = now_ms + penalty_ms
            self._shut[who, what] = until_ms, refusals.too_many_errors(code, until_ms).message
            seen.clear()

    def _seen_in(self, window: Window, now_ms: int) -> deque[int]:
        seen = self._seen.setdefault(window.name, deque())
        while seen and seen[0] <= now_ms - window.length_ms:
            seen.popleft()
        return seen
