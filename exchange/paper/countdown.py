"""The dead man's switch: cancel everything unless somebody says in time that he is alive. Kept in memory only.

https://bingx-api.github.io/docs-v3/#/en/Swap/Trades%20Endpoints/Cancel%20All%20After
"""

from __future__ import annotations

from exchange.paper import refusals
from exchange.paper.calls import Body, Call, answer, endpoint
from exchange.paper.wire import Json
from exchange.types import Market

SHORTEST, LONGEST = 10, 120


@endpoint("POST", "/swap/v2/trade/cancelAllAfter", group="cancels")
def after_on_swap(call: Call) -> Body:
    return answer(_wind(call, Market.USDTM))


@endpoint("POST", "/spot/v1/trade/cancelAllAfter", group="cancels")
def after_on_spot(call: Call) -> Body:
    return answer(_wind(call, Market.SPOT))


def _wind(call: Call, market: Market) -> dict[str, Json]:
    """Start, restart or stop a countdown; its end is told in seconds."""
    kind = call.one_of("type", ("ACTIVATE", "CLOSE"), call.need("type"))
    countdowns, name = call.venue.countdowns, (call.account.key, market)
    if kind == "CLOSE":
        countdowns.pop(name, None)
        return {"triggerTime": 0, "status": "CLOSED", "note": "All your orders stay"}
    seconds = call.need_whole("timeOut")
    if not SHORTEST <= seconds <= LONGEST:
        raise refusals.bad_parameter(f"timeOut: must be {SHORTEST} to {LONGEST} seconds")
    countdowns[name] = call.now_ms + seconds * 1000
    note = "All your open orders will be cancelled, unless this is called again"
    return {"triggerTime": countdowns[name] // 1000, "status": "ACTIVATED", "note": note}
