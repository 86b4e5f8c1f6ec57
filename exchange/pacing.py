"""Keep BingX's rate limits before it says so, and the silence that it asks for when it does.

Every request first takes a place in the windows that BingX counts: its account's for the endpoint, its address's for
the endpoint and for the group. All processes share the windows through Redis; when it is away each counts in its own
memory, and no request waits for it longer than `STORE_TIMEOUT`. Nothing here is needed after a crash: what is lost is
learned again from the exchange's refusals. Accounts are named by a fingerprint of the key.

Orders have right of way: the lower the rank, the less of a shared window it may fill, so that candles can never take
the place of an order, nor entries that of an exit.
Source: https://bingx-api.github.io/docs-v3/#/en/Quick%20Start/Rate%20Limit and section 7.4 and appendix A of the
project's BingX fact page.
"""

import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from functools import cache
from hashlib import sha256
from typing import NamedTuple, TypeVar

import redis
from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import MovingWindowRateLimiter
from loguru import logger
from redis.backoff import NoBackoff
from redis.retry import Retry

from exchange.errors import RateLimited
from exchange.tallies import add

# Seconds that a request may wait for its place; a longer wait is refused at once
READ_PATIENCE = 4.0
WRITE_PATIENCE = 1.0
# A refusal that names no time: this long, doubled by each further one, up to the five minutes after which BingX opens
SHORTEST_SILENCE, SHORTEST_BAN, LONGEST_UNNAMED = 5.0, 60.0, 300.0
STRIKES_KEPT_FOR = 600
# A moment further away than this was misread
LONGEST_SILENCE = 900.0
STORE_TIMEOUT, STORE_AWAY_FOR = 0.2, 5.0
PREFIX = "pelusa:pace"
_BANNED = 418
T = TypeVar("T")


class Rank(IntEnum):
    """Who goes first."""

    EXIT = 0  # protective orders, exits and cancels
    ENTRY = 1
    SETTLING = 2  # what became of an order, and what one must know before it is sent
    BOOKS = 3
    CANDLES = 4


class Pace(NamedTuple):
    """Requests a second for one account (0: not counted by account), the address's group, and the rank."""

    per_second: int
    group: int
    rank: Rank


# Per account and second, group of the address, rank. Where BingX's pages disagree: the lower number.
_TABLE: list[tuple[int, int, Rank, str]] = [
    (10, 3, Rank.ENTRY, "POST /swap/v2/trade/order"),
    (5, 3, Rank.ENTRY, "POST /swap/v2/trade/batchOrders POST /swap/v1/trade/amend POST /spot/v1/trade/order"),
    (5, 2, Rank.ENTRY, "POST /cswap/v1/trade/order POST /swap/v2/trade/leverage POST /cswap/v1/trade/leverage"),
    (5, 2, Rank.ENTRY, "POST /cswap/v1/trade/marginType POST /swap/v2/trade/order/test"),
    (2, 2, Rank.ENTRY, "POST /swap/v2/trade/marginType POST /swap/v1/positionSide/dual"),
    (5, 3, Rank.EXIT, "DELETE /swap/v2/trade/order DELETE /swap/v2/trade/batchOrders POST /spot/v1/trade/cancel"),
    (5, 2, Rank.EXIT, "DELETE /swap/v2/trade/allOpenOrders DELETE /cswap/v1/trade/cancelOrder"),
    (5, 2, Rank.EXIT, "POST /swap/v2/trade/closeAllPositions POST /swap/v1/trade/closePosition"),
    (5, 2, Rank.EXIT, "POST /cswap/v1/trade/closeAllPositions POST /cswap/v1/trade/allOpenOrders"),
    (2, 3, Rank.EXIT, "POST /spot/v1/trade/cancelOrders POST /spot/v1/trade/cancelOpenOrders"),
    (1, 2, Rank.EXIT, "POST /swap/v2/trade/cancelAllAfter POST /spot/v1/trade/cancelAllAfter"),
    (5, 2, Rank.SETTLING, "GET /swap/v2/trade/order GET /swap/v2/trade/openOrder GET /swap/v1/trade/fullOrder"),
    (5, 2, Rank.SETTLING, "GET /swap/v2/trade/fillHistory GET /swap/v2/trade/allFillOrders"),
    (5, 3, Rank.SETTLING, "GET /swap/v2/trade/openOrders GET /swap/v2/trade/allOrders"),
    (5, 2, Rank.SETTLING, "GET /cswap/v1/trade/orderDetail GET /cswap/v1/trade/openOrders"),
    (5, 2, Rank.SETTLING, "GET /cswap/v1/trade/orderHistory GET /cswap/v1/trade/allFillOrders"),
    (10, 2, Rank.SETTLING, "GET /spot/v1/trade/query GET /spot/v1/trade/openOrders GET /spot/v1/trade/historyOrders"),
    (5, 2, Rank.SETTLING, "GET /spot/v1/trade/myTrades GET /swap/v2/trade/leverage GET /cswap/v1/trade/leverage"),
    (5, 2, Rank.SETTLING, "GET /cswap/v1/trade/marginType"),
    (2, 2, Rank.SETTLING, "GET /swap/v2/trade/marginType GET /swap/v1/positionSide/dual"),
    (0, 1, Rank.SETTLING, "GET /swap/v1/ticker/price GET /cswap/v1/market/ticker GET /spot/v1/ticker/24hr"),
    (0, 1, Rank.SETTLING, "GET /swap/v2/server/time"),
    (5, 3, Rank.BOOKS, "GET /swap/v2/user/positions GET /swap/v3/user/balance GET /spot/v1/account/balance"),
    (5, 2, Rank.BOOKS, "GET /cswap/v1/user/positions GET /cswap/v1/user/balance GET /account/v1/allAccountBalance"),
    (5, 2, Rank.BOOKS, "GET /swap/v2/user/commissionRate GET /cswap/v1/user/commissionRate GET /swap/v2/user/income"),
    (5, 2, Rank.BOOKS, "GET /swap/v1/trade/positionHistory"),
    (2, 2, Rank.BOOKS, "GET /spot/v1/user/commissionRate GET /fund/v1/account/balance POST /api/asset/v1/transfer"),
    (2, 2, Rank.BOOKS, "GET /contract/v1/balance GET /contract/v1/allPosition GET /contract/v1/allOrders"),
    (2, 2, Rank.BOOKS, "GET /v1/account/apiPermissions POST /user/auth/userDataStream PUT /user/auth/userDataStream"),
    (1, 2, Rank.BOOKS, "POST /swap/v1/trade/getVst"),
    (0, 1, Rank.BOOKS, "GET /swap/v2/quote/contracts GET /cswap/v1/market/contracts GET /spot/v1/common/symbols"),
    (0, 1, Rank.BOOKS, "GET /swap/v2/quote/fundingRate GET /swap/v2/quote/premiumIndex GET /swap/v2/quote/ticker"),
    # BingX lists the first of these with a key's limit in group 2; asked without a key it counts as market data here
    (0, 1, Rank.CANDLES, "GET /swap/v3/quote/klines GET /cswap/v1/market/klines GET /spot/v1/market/kline"),
]


def _rows() -> Iterator[tuple[str, Pace]]:
    for per_second, group, rank, acts in _TABLE:
        words = acts.split()
        for method, path in zip(words[::2], words[1::2], strict=True):
            yield f"{method} /openApi{path}", Pace(per_second, group, rank)


PACES: dict[str, Pace] = dict(_rows())
UNLISTED = Pace(2, 2, Rank.BOOKS)

# What one address may send: requests, seconds. BingX's support told other clients to keep candles to 10/s.
GROUPS = {1: [(500, 10), (1000, 60)], 2: [(2000, 10)], 3: [(2000, 10)]}
ENDPOINT_AT_ADDRESS = {1: (500, 10), 2: (300, 10), 3: (300, 10)}
CANDLES_AT_ADDRESS = (10, 1)
# How much of a group's window each rank may find taken and still go, in hundredths
SHARES = {Rank.EXIT: 100, Rank.ENTRY: 95, Rank.SETTLING: 85, Rank.BOOKS: 75, Rank.CANDLES: 60}


class Call(NamedTuple):
    """A request that wants a place. `account` is a fingerprint, empty for what no key signs."""

    host: str
    account: str
    act: str
    rank: Rank

    @property
    def silences(self) -> list[str]:
        """Return what may be silenced for this request: its address, and its account's endpoint."""
        return [self.host, f"{self.host}/{self.account}/{self.act}"]


class Window(RateLimitItemPerSecond):
    """At most `amount` requests in `seconds` under one name; ranks with different amounts share its entries.

    Sound because an entry is dropped only when as many newer ones as the smallest amount are outside the window too.
    """

    __slots__ = ["name"]

    def __init__(self, name: str, amount: int, seconds: int) -> None:
        super().__init__(amount, seconds)
        self.name = name

    def key_for(self, *identifiers: bytes | str | int | float) -> str:
        return self.name


def fingerprint(key: str) -> str:
    """Return a name for the account of a key, which does not tell the key."""
    return sha256(key.encode()).hexdigest()[:16] if key else ""


def windows(call: Call) -> list[Window]:
    """Return the windows in which a request needs a place, the narrowest first."""
    pace = PACES.get(call.act, UNLISTED)
    found = []
    if call.account and pace.per_second:
        found.append(Window(f"{call.host}/{call.account}/{call.act}", _beside_exits(pace.per_second, call.rank), 1))
    amount, seconds = ENDPOINT_AT_ADDRESS[pace.group]
    if call.rank is Rank.CANDLES:
        amount, seconds = CANDLES_AT_ADDRESS
    found.append(Window(f"{call.host}/{call.act}", _beside_exits(amount, call.rank), seconds))
    for amount, seconds in GROUPS[pace.group]:
        name = f"{call.host}/group {pace.group}/{seconds}"
        found.append(Window(name, amount * SHARES[call.rank] // 100, seconds))
    return found


def _beside_exits(amount: int, rank: Rank) -> int:
    """Return what entries leave of an endpoint's own window: a fifth is kept for exits, which use the same one."""
    return amount - amount // 5 if rank is Rank.ENTRY else amount


class _Store:
    """The windows and the silences, in this process's memory."""

    def __init__(self, storage: MemoryStorage | RedisStorage) -> None:
        self._storage = storage
        self._limiter = MovingWindowRateLimiter(storage)
        self._silent_until: dict[str, float] = {}

    def wait_for(self, call: Call) -> float:
        """Take the request's places and return 0, or return the seconds after which to try again."""
        silence = self.silent_until(call.silences) - time.time()
        if silence > 0:
            return silence
        return next((wait for window in windows(call) if (wait := self._wait_in(window))), 0.0)

    def _wait_in(self, window: Window) -> float:
        if self._limiter.hit(window):
            return 0.0
        opens_in = self._limiter.get_window_stats(window).reset_time - time.time()
        # Those who wait for the same place do not all come back at once
        return max(opens_in, 0.0) + random.uniform(0.002, 0.01)  # noqa: S311

    def silent_until(self, names: list[str]) -> float:
        """Return the latest moment (epoch seconds) until which one of the names is silenced; 0 when none is."""
        return max(self._silent_until.get(name, 0.0) for name in names)

    def silence(self, name: str, until: float) -> None:
        """Silence a name; never for less than it is already."""
        self._silent_until[name] = max(until, self._silent_until.get(name, 0.0))

    def strike(self, name: str) -> int:
        """Count one more refusal that named no time, and return how many there were in the last ten minutes.

        Those that come together are answers to requests that were on the wire together, and count once.
        """
        is_first = self._storage.incr(f"struck/{name}", 1) == 1
        return self._storage.incr(f"strikes/{name}", STRIKES_KEPT_FOR) if is_first else 1


# The later of two moments wins, whichever process comes last
_PROLONG = """
if tonumber(redis.call('get', KEYS[1]) or '0') < tonumber(ARGV[1]) then
    redis.call('set', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
"""


class _SharedStore(_Store):
    """The same in Redis, for all processes. Raises redis-py's errors, each within two of its time-outs."""

    def __init__(self, url: str) -> None:
        pool = redis.ConnectionPool.from_url(
            url,
            socket_timeout=STORE_TIMEOUT,
            socket_connect_timeout=STORE_TIMEOUT,
            # Once more for a connection that the server has closed meanwhile; never after a time-out
            retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
        )
        super().__init__(RedisStorage(url, connection_pool=pool, key_prefix=PREFIX))
        self._redis = redis.Redis(connection_pool=pool)
        self._prolong = self._redis.register_script(_PROLONG)

    def silent_until(self, names: list[str]) -> float:
        found = self._redis.mget([_silence_key(name) for name in names])
        return max((int(each) / 1000 for each in found if each), default=0.0)

    def silence(self, name: str, until: float) -> None:
        left = max(until - time.time(), 0.001)
        self._prolong([_silence_key(name)], [int(until * 1000), int(left * 1000) + 1])


def _silence_key(name: str) -> str:
    return f"{PREFIX}:silence/{name}"


class Pacer:
    """Gives places to requests; one for all threads of a process."""

    def __init__(self, redis_url: str = "") -> None:
        self._here = _Store(MemoryStorage())
        self._shared = _SharedStore(redis_url) if redis_url else None
        self._away_until = 0.0

    def take(self, call: Call, patience: float) -> None:
        """Take a place, waiting for it at most `patience` seconds; raise `RateLimited` when there is none: unsent."""
        began = time.monotonic()
        count("asked", call.rank)
        while wait := self._wait_for(call):
            if time.monotonic() - began + wait > patience:
                count("refused", call.rank)
                retry_at = datetime.now(UTC) + timedelta(seconds=wait)
                raise RateLimited(f"{call.act}: not sent, to keep BingX's rate limit", retry_at=retry_at)
            count("waits", call.rank)
            count("seconds waited", call.rank, wait)
            time.sleep(wait)

    def obey(self, call: Call, limit: RateLimited) -> None:
        """Have every process be silent where the exchange said so: the whole address when banned, else the endpoint."""
        count("told", call.rank)
        address, endpoint = call.silences
        name = address if limit.http_status == _BANNED else endpoint
        until = self._end_of_silence(name, limit)
        self._here.silence(name, until)
        self._ask_shared(lambda store: store.silence(name, until))
        logger.warning("{}: silent for {:.0f} s, as the exchange wants it", call.act, until - time.time())

    def _wait_for(self, call: Call) -> float:
        silence = self._here.silent_until(call.silences) - time.time()
        if silence > 0:
            return silence
        shared = self._ask_shared(lambda store: store.wait_for(call))
        return self._here.wait_for(call) if shared is None else shared

    def _end_of_silence(self, name: str, limit: RateLimited) -> float:
        now = time.time()
        named = limit.retry_at.timestamp() if limit.retry_at else 0.0
        if named > now:
            return min(named, now + LONGEST_SILENCE)
        silent_until = self._ask_shared(lambda store: store.silent_until([name])) or self._here.silent_until([name])
        if silent_until > now:
            # Another request that was on the wire already when the first was refused
            return silent_until
        strikes = self._ask_shared(lambda store: store.strike(name)) or self._here.strike(name)
        shortest = SHORTEST_BAN if limit.http_status == _BANNED else SHORTEST_SILENCE
        return now + min(shortest * 2.0 ** min(strikes - 1, 9), LONGEST_UNNAMED)

    def _ask_shared(self, question: Callable[[_Store], T]) -> T | None:
        """Return Redis's answer; None while it is away, and for some seconds after it failed."""
        if self._shared is None or time.monotonic() < self._away_until:
            return None
        try:
            return question(self._shared)
        except redis.RedisError as error:
            self._away_until = time.monotonic() + STORE_AWAY_FOR
            count("store away")
            logger.warning("Redis away, this process keeps the rate limits alone: {}", type(error).__name__)
            return None


@cache
def pacer_for(redis_url: str) -> Pacer:
    """Return this process's pacer; made at the first request, and so after any fork."""
    return Pacer(redis_url)


_counted: defaultdict[tuple[str, str], float] = defaultdict(float)
_counting = threading.Lock()
_PUBLISHED = {
    "asked": "exchange_requests",
    "waits": "rate_limit_waits",
    "seconds waited": "rate_limit_wait_seconds",
    "refused": "rate_limit_unsent",
    "told": "rate_limit_refusals",
}


def count(event: str, rank: Rank | None = None, amount: float = 1) -> None:
    """Add to what `counted` returns, and to what is published."""
    of_rank = rank.name.lower() if rank is not None else ""
    with _counting:
        _counted[event, of_rank] += amount
    if event in _PUBLISHED:
        add(_PUBLISHED[event], amount, rank=of_rank)


def counted() -> dict[tuple[str, str], float]:
    """Return what happened in this process since its start, by event and rank.

    Events: asked, waits, seconds waited, refused (no place in time), told (by the exchange), store away (rank empty).
    """
    with _counting:
        return dict(_counted)
