"""BingX's own rate limits, enforced when the switch `rate_limits` is on.

Per second and account, market data per address: 500 requests in 10 seconds for the whole group.
https://bingx-api.github.io/docs-v3/#/en/Quick%20Start/Interface%20Rate%20Limits
"""

from __future__ import annotations

from collections import deque

from exchange.paper import refusals

MARKET_LIMIT, MARKET_WINDOW_MS = 500, 10_000
DEFAULT_LIMIT = 5
LIMITS = {
    "POST /openApi/swap/v2/trade/order": 10,
    "DELETE /openApi/swap/v2/trade/order": 10,
    "GET /openApi/swap/v2/trade/order": 30,
    "GET /openApi/swap/v2/user/positions": 10,
    "GET /openApi/swap/v2/trade/forceOrders": 10,
    "POST /openApi/swap/v2/trade/leverage": 2,
    "GET /openApi/swap/v2/trade/marginType": 2,
    "POST /openApi/swap/v2/trade/marginType": 2,
    "GET /openApi/swap/v1/positionSide/dual": 2,
    "POST /openApi/swap/v1/positionSide/dual": 4,
    "POST /openApi/swap/v2/trade/positionMargin": 2,
    "POST /openApi/spot/v1/trade/order": 10,
    "GET /openApi/spot/v1/trade/query": 10,
    "GET /openApi/spot/v1/trade/openOrders": 10,
    "GET /openApi/spot/v1/trade/historyOrders": 10,
    "POST /openApi/spot/v1/trade/batchOrders": 2,
    "POST /openApi/spot/v1/trade/cancelOrders": 2,
    "POST /openApi/spot/v1/trade/cancelOpenOrders": 2,
    "GET /openApi/spot/v1/user/commissionRate": 2,
}


class RateKeeper:
    """Counts requests in sliding windows and shuts an endpoint to whom asked too often."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], deque[int]] = {}
        self._shut_until: dict[tuple[str, str], int] = {}

    def clear(self) -> None:
        self._seen.clear()
        self._shut_until.clear()

    def shut(self, who: str, what: str, until_ms: int) -> None:
        self._shut_until[who, what] = until_ms

    def check_open(self, who: str, what: str, now_ms: int) -> None:
        """Raise Refusal 100410 while an endpoint is shut to somebody; the message says until when."""
        until = self._shut_until.get((who, what), 0)
        if until > now_ms:
            raise refusals.rate_limited(what.split(" ")[-1], until)

    def count(self, who: str, what: str, is_market: bool, now_ms: int, penalty_ms: int) -> None:
        """Count a request.

        Raises Refusal 100410 and shuts the endpoint for `penalty_ms` when it is one too many.
        """
        name = "market" if is_market else what
        limit, window = (MARKET_LIMIT, MARKET_WINDOW_MS) if is_market else (LIMITS.get(what, DEFAULT_LIMIT), 1000)
        seen = self._seen.setdefault((who, name), deque())
        while seen and seen[0] <= now_ms - window:
            seen.popleft()
        if len(seen) >= limit:
            self.shut(who, what, now_ms + penalty_ms)
            self.check_open(who, what, now_ms)
        seen.append(now_ms)
