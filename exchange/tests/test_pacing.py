import csv
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import redis
from django.conf import settings

from exchange import pacing
from exchange.bingx import BingX
from exchange.connection import connect, connect_to
from exchange.errors import NotSent, RateLimited
from exchange.models import Account
from exchange.pacing import PACES, SHARES, Call, Pacer, Rank, counted, fingerprint, windows
from exchange.phrasing import POSITION_MODE, ROUTES
from exchange.tests.recordings import FOLDER
from exchange.tests.scripted_server import ScriptedServer, answer, ok, refusal
from exchange.tests.test_bingx_client import ECHO, ENTRY, KEY, SECRET
from exchange.tests.test_recordings import used_paths
from exchange.types import Market, OrderType, PositionSide, Side

PLACE = "POST /openApi/swap/v2/trade/order"
CANCEL = "DELETE /openApi/swap/v2/trade/order"
ASK = "GET /openApi/swap/v2/trade/order"
CANDLES = "GET /openApi/spot/v1/market/kline"
PRICE = "GET /openApi/swap/v1/ticker/price"
# Listed with a key's limit; asked without a key, and counted where it is tighter
UNSIGNED_HERE = "GET /openApi/swap/v3/quote/klines"


def call(act: str = CANCEL, *, account: str = "a1", rank: Rank | None = None, host: str = "bingx") -> Call:
    return Call(host, account, act, PACES[act].rank if rank is None else rank)


def granted(pacer: Pacer, *calls: Call) -> int:
    """Return how many of the calls find a place at once."""
    found = 0
    for each in calls:
        try:
            pacer.take(each, patience=0)
        except RateLimited:
            continue
        found += 1
    return found


@pytest.fixture
def pacer() -> Pacer:
    return Pacer()


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as scripted:
        yield scripted


# The table


def recorded_endpoints() -> dict[str, dict[str, str]]:
    with (FOLDER / "paces/endpoints.csv").open(newline="") as file:
        return {row["act"].replace(" ", " /openApi", 1): row for row in csv.DictReader(file)}


def test_every_endpoint_that_the_client_asks_has_a_pace():
    writes = {f"POST {routes.place}" for routes in ROUTES.values()} | {" ".join(r.cancel) for r in ROUTES.values()}
    writes |= {f"POST {path}" for r in ROUTES.values() for path in (r.leverage, r.margin_mode, POSITION_MODE) if path}
    reads = {f"GET {path}" for path in used_paths()}
    only_written = {f"GET {ROUTES[market].place}" for market in (Market.COINM, Market.SPOT)}
    only_written |= {f"GET {routes.cancel[1]}" for routes in ROUTES.values()} - {ASK}
    assert (reads - only_written) | writes <= set(PACES)


def test_the_table_holds_the_lower_of_the_recorded_limits_and_the_recorded_group():
    recorded = recorded_endpoints()
    compared = sorted(set(recorded) & set(PACES) - {UNSIGNED_HERE})
    assert len(compared) > 65
    for act in compared:
        per_second = [int(number) for number in recorded[act]["account_per_second"].split()]
        assert PACES[act].per_second == min(per_second, default=0), act
        assert recorded[act]["address_group"] in {str(PACES[act].group), ""}, act


def test_the_higher_the_rank_the_less_of_the_address_s_window_it_may_fill():
    assert [SHARES[rank] for rank in Rank] == sorted(SHARES.values(), reverse=True)
    assert len(set(SHARES.values())) == len(Rank)
    assert SHARES[Rank.EXIT] == 100


def test_market_data_of_one_address_is_held_to_ten_seconds_and_to_the_minute():
    names = [window.name for window in windows(call(PRICE, account=""))]
    assert names == ["bingx/GET /openApi/swap/v1/ticker/price", "bingx/group 1/10", "bingx/group 1/60"]


# Turns


def test_an_account_gets_what_its_endpoint_allows_in_a_second_and_is_told_when_to_come_back(pacer):
    assert granted(pacer, *[call()] * 7) == 5
    with pytest.raises(RateLimited) as caught:
        pacer.take(call(), patience=0)
    assert timedelta(0) < caught.value.retry_at - datetime.now(UTC) <= timedelta(seconds=1.1)
    assert caught.value.http_status is None


def test_who_has_patience_waits_for_the_window_and_no_longer(pacer):
    granted(pacer, *[call()] * 5)
    began = time.monotonic()
    pacer.take(call(), patience=1.5)
    assert 0.5 < time.monotonic() - began < 1.5


def test_who_cannot_have_a_turn_in_time_is_told_at_once(pacer):
    granted(pacer, *[call()] * 5)
    began = time.monotonic()
    with pytest.raises(RateLimited):
        pacer.take(call(), patience=0.3)
    assert time.monotonic() - began < 0.25


def test_no_second_of_a_crowd_holds_more_than_the_limit(pacer):
    granted_at = []
    end = time.monotonic() + 3
    while time.monotonic() < end:
        pacer.take(call(), patience=2)
        granted_at.append(time.monotonic())
    assert len(granted_at) >= 14
    # Our clock reads a little after the grant's
    assert all(later - earlier > 0.98 for earlier, later in zip(granted_at, granted_at[5:], strict=False))


def test_entries_leave_a_fifth_of_their_endpoint_to_exits(pacer):
    assert granted(pacer, *[call(PLACE)] * 20) == 8
    assert granted(pacer, *[call(PLACE, rank=Rank.EXIT)] * 20) == 2


def test_exits_may_use_the_whole_endpoint(pacer):
    assert granted(pacer, *[call(PLACE, rank=Rank.EXIT)] * 20) == 10


def test_candles_never_take_the_place_of_what_goes_before_them(pacer, monkeypatch):
    monkeypatch.setitem(pacing.GROUPS, 1, [(20, 10)])
    monkeypatch.setattr(pacing, "CANDLES_AT_ADDRESS", (500, 1))
    crowd = {rank: [call(CANDLES, account="", rank=rank)] * 30 for rank in Rank}
    assert granted(pacer, *crowd[Rank.CANDLES]) == 12
    assert granted(pacer, *crowd[Rank.BOOKS]) == 3
    assert granted(pacer, *crowd[Rank.SETTLING]) == 2
    assert granted(pacer, *crowd[Rank.ENTRY]) == 2
    assert granted(pacer, *crowd[Rank.EXIT]) == 1


def test_candles_are_held_to_ten_a_second_at_one_address(pacer):
    assert granted(pacer, *[call(CANDLES, account="")] * 30) == 10


def test_accounts_hosts_and_endpoints_do_not_take_each_other_s_places(pacer):
    granted(pacer, *[call()] * 5)
    assert granted(pacer, call(account="a2"), call(host="vst"), call(ASK)) == 3


# Silence that the exchange asked for


def limit(seconds: float | None = None, *, http_status: int = 200) -> RateLimited:
    retry_at = datetime.now(UTC) + timedelta(seconds=seconds) if seconds is not None else None
    return RateLimited("too many", code="100410", http_status=http_status, retry_at=retry_at)


def test_an_announced_silence_is_kept_by_that_account_on_that_endpoint_alone(pacer):
    pacer.obey(call(), limit(60))
    with pytest.raises(RateLimited) as caught:
        pacer.take(call(), patience=4)
    assert timedelta(seconds=58) < caught.value.retry_at - datetime.now(UTC) <= timedelta(seconds=60)
    assert granted(pacer, call(ASK), call(account="a2"), call(host="vst")) == 3


def test_a_banned_address_is_silent_for_all_accounts_of_that_host(pacer):
    pacer.obey(call(), limit(60, http_status=418))
    assert granted(pacer, call(), call(ASK), call(account="a2"), call(CANDLES, account="")) == 0
    assert granted(pacer, call(host="vst")) == 1


def test_a_silence_ends_when_the_exchange_said(pacer):
    pacer.obey(call(), limit(0.5))
    began = time.monotonic()
    pacer.take(call(), patience=1)
    assert 0.4 < time.monotonic() - began < 1


@pytest.mark.parametrize("seconds", [None, -5], ids=["unnamed", "past"])
def test_refusals_that_name_no_time_silence_for_longer_and_longer(pacer, seconds):
    asked = []
    for _ in range(9):
        pacer.obey(call(), limit(seconds))
        pacer.obey(call(), limit(seconds))  # it was on the wire at the same time
        with pytest.raises(RateLimited) as caught:
            pacer.take(call(), patience=0)
        asked.append(round((caught.value.retry_at - datetime.now(UTC)).total_seconds()))
        pacer._here._silent_until.clear()  # and so it went by
        pacer._here._storage.clear(f"struck/{call().silences[1]}")
    assert asked == [5, 10, 20, 40, 80, 160, 300, 300, 300]


def test_a_ban_that_names_no_end_is_respected_for_a_minute(pacer):
    pacer.obey(call(), limit(http_status=418))
    with pytest.raises(RateLimited) as caught:
        pacer.take(call(account="a2"), patience=4)
    assert timedelta(seconds=58) < caught.value.retry_at - datetime.now(UTC) <= timedelta(seconds=60)


def test_a_moment_that_is_too_far_away_was_misread(pacer):
    pacer.obey(call(), limit(86400))
    with pytest.raises(RateLimited) as caught:
        pacer.take(call(), patience=0)
    assert caught.value.retry_at - datetime.now(UTC) <= timedelta(minutes=15)


# Counting


def test_turns_waits_and_refusals_are_counted_by_rank(pacer):
    before = counted()
    granted(pacer, *[call()] * 6)
    pacer.take(call(), patience=2)
    pacer.obey(call(), limit(1))
    grown = {event: number - before.get(event, 0) for event, number in counted().items()}
    assert grown["asked", "exit"] == 7
    assert grown["refused", "exit"] == 1
    assert grown["told", "exit"] == 1
    assert grown["waits", "exit"] >= 1
    assert 0.5 < grown["seconds waited", "exit"] < 2


# Without Redis


def test_a_redis_that_is_gone_costs_nothing_and_the_limits_are_kept_here():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        pacer = Pacer(f"redis://127.0.0.1:{unused.getsockname()[1]}/0")
        began = time.monotonic()
        assert granted(pacer, *[call()] * 7) == 5
    assert time.monotonic() - began < 0.5


def test_a_redis_that_hangs_costs_one_time_out_and_then_nothing():
    with socket.socket() as frozen:
        frozen.bind(("127.0.0.1", 0))
        frozen.listen(8)
        pacer = Pacer(f"redis://127.0.0.1:{frozen.getsockname()[1]}/0")
        began = time.monotonic()
        assert granted(pacer, call()) == 1
        first = time.monotonic() - began
        assert granted(pacer, *[call()] * 7) == 4
        assert time.monotonic() - began - first < 0.1
    assert 0.15 < first < 0.6


def test_a_silence_is_kept_while_redis_is_away():
    pacer = Pacer("unix:///nowhere/broker.sock")
    pacer.obey(call(), limit(60))
    assert granted(pacer, call()) == 0


# Through the client


def client_of(server: ScriptedServer, pacer: Pacer, key: str = KEY) -> BingX:
    return BingX(base_url=server.url, key=key, secret=SECRET, read_timeout=2.0, pacer=pacer)


def exhaust(client: BingX) -> None:
    """Take every place for orders that this account has in the present second."""
    for _ in range(10):
        client.await_turn(Market.USDTM, opens=False)


def test_an_order_whose_turn_does_not_come_provably_stays_here(server, pacer, monkeypatch):
    monkeypatch.setattr("exchange.bingx.WRITE_PATIENCE", 0.1)
    client = client_of(server, pacer)
    exhaust(client)
    with pytest.raises(NotSent):
        client.place_order(ENTRY)
    with pytest.raises(RateLimited) as caught:
        client.await_turn(Market.USDTM, opens=True)
    assert caught.value.retry_at > datetime.now(UTC)
    assert not server.received


def test_an_order_that_has_its_turn_takes_no_second_place(server, pacer):
    server.respond = lambda _: ok({"order": ECHO})
    client = client_of(server, pacer)
    exhaust(client)
    assert client.place_order(ENTRY, has_turn=True)


@pytest.mark.parametrize(
    ("changes", "is_first"),
    [
        ({}, False),
        ({"side": Side.SELL, "position_side": PositionSide.SHORT}, False),
        ({"position_side": PositionSide.BOTH}, False),
        ({"market": Market.SPOT, "position_side": PositionSide.BOTH}, False),
        ({"side": Side.SELL}, True),
        ({"side": Side.BUY, "position_side": PositionSide.SHORT}, True),
        ({"side": Side.SELL, "position_side": PositionSide.BOTH, "reduce_only": True}, True),
        ({"side": Side.SELL, "order_type": OrderType.STOP_MARKET, "trigger_price": ENTRY.quantity}, True),
        ({"market": Market.SPOT, "position_side": PositionSide.BOTH, "side": Side.SELL}, True),
    ],
)
def test_stops_and_exits_go_before_entries(server, pacer, monkeypatch, changes, is_first):
    monkeypatch.setattr("exchange.bingx.WRITE_PATIENCE", 0.0)
    client, request = client_of(server, pacer), replace(ENTRY, **changes)
    for _ in range(4 if request.market is Market.SPOT else 8):
        client.await_turn(request.market, opens=True)
    server.respond = lambda _: refusal(101204)
    with pytest.raises(Exception) as caught:  # noqa: PT011 the next line says which
        client.place_order(request)
    assert isinstance(caught.value, NotSent) is not is_first


def test_a_read_is_stamped_after_it_waited(server, pacer):
    server.respond = lambda _: ok([])
    client = client_of(server, pacer)
    for _ in range(6):
        client.positions(Market.USDTM)
    first, last = (int(each.parameters["timestamp"]) for each in (server.received[0], server.received[-1]))
    assert last - first > 900


def test_what_the_exchange_announces_keeps_the_next_request_here_and_other_accounts_free(server, pacer):
    unblocked_at = int((time.time() + 60) * 1000)
    server.script = [refusal(100410, f"in the disabled period and will be unblocked after {unblocked_at}"), ok([])]
    client = client_of(server, pacer)
    for _ in range(2):
        with pytest.raises(RateLimited) as caught:
            client.positions(Market.USDTM)
        assert abs(caught.value.retry_at.timestamp() * 1000 - unblocked_at) < 100
    assert len(server.received) == 1
    assert client_of(server, pacer, key="another").positions(Market.USDTM) == []


def test_after_a_418_nobody_sends_anything_to_that_host(server, pacer):
    server.script = [answer(b"", 418)]
    with pytest.raises(RateLimited):
        client_of(server, pacer).positions(Market.USDTM)
    with pytest.raises(RateLimited):
        client_of(server, pacer, key="another").balances(Market.USDTM)
    assert len(server.received) == 1


def test_without_a_pacer_nothing_waits(server):
    server.respond = lambda _: ok([])
    client = BingX(base_url=server.url, key=KEY, secret=SECRET)
    began = time.monotonic()
    for _ in range(30):
        client.positions(Market.USDTM)
    assert time.monotonic() - began < 2


def test_the_real_exchange_is_paced_and_the_paper_exchange_is_not(settings):
    settings.BINGX_URLS = dict.fromkeys(["paper", "vst", "live"], "http://127.0.0.1:1")
    paced = {each: connect_to(each)._wire._pacer is not None for each in ("vst", "live")}
    settings.BINGX_URLS = {"paper": "http://127.0.0.1:2"}
    assert paced == {"vst": True, "live": True}
    assert connect(Account(environment="paper", api_key="k", api_secret="s"))._wire._pacer is None


# With Redis


@pytest.fixture
def host() -> str:
    """A name that no other test's places are under."""
    return f"test-{uuid4().hex}"


@pytest.mark.servers
def test_two_processes_share_the_places_and_the_silences(host):
    one, other = Pacer(settings.PACING_REDIS_URL), Pacer(settings.PACING_REDIS_URL)
    assert granted(one, *[call(host=host)] * 3) + granted(other, *[call(host=host)] * 7) == 5
    one.obey(call(ASK, host=host), limit(60))
    assert granted(other, call(ASK, host=host)) == 0
    assert granted(other, call(ASK, host=host, account="a2")) == 1
    one.obey(call(host=host), limit(60, http_status=418))
    assert granted(other, call(PRICE, host=host, account="")) == 0


@pytest.mark.servers
def test_a_longer_silence_is_not_cut_short_by_a_shorter_one(host):
    one, other = Pacer(settings.PACING_REDIS_URL), Pacer(settings.PACING_REDIS_URL)
    one.obey(call(host=host), limit(60))
    other.obey(call(host=host), limit(1))
    with pytest.raises(RateLimited) as caught:
        Pacer(settings.PACING_REDIS_URL).take(call(host=host), patience=0)
    assert caught.value.retry_at - datetime.now(UTC) > timedelta(seconds=55)


@pytest.mark.servers
def test_refusals_of_requests_that_were_on_the_wire_together_count_once(host):
    pacers = [Pacer(settings.PACING_REDIS_URL) for _ in range(6)]
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda pacer: pacer.obey(call(host=host), limit()), pacers))
    with pytest.raises(RateLimited) as caught:
        Pacer(settings.PACING_REDIS_URL).take(call(host=host), patience=0)
    assert caught.value.retry_at - datetime.now(UTC) < timedelta(seconds=6)


@pytest.mark.servers
def test_ranks_share_one_window_in_redis_too(host, monkeypatch):
    monkeypatch.setitem(pacing.GROUPS, 1, [(20, 10)])
    monkeypatch.setattr(pacing, "CANDLES_AT_ADDRESS", (500, 1))
    pacer = Pacer(settings.PACING_REDIS_URL)
    crowd = {rank: [call(CANDLES, account="", rank=rank, host=host)] * 30 for rank in Rank}
    assert [granted(pacer, *crowd[rank]) for rank in reversed(Rank)] == [12, 3, 2, 2, 1]


@pytest.mark.servers
def test_no_key_reaches_redis(host):
    pacer = Pacer(settings.PACING_REDIS_URL)
    pacer.take(call(host=host, account=fingerprint(KEY)), patience=0)
    pacer.obey(call(host=host, account=fingerprint(KEY)), limit())
    with redis.Redis.from_url(settings.PACING_REDIS_URL, decode_responses=True) as client:
        names = list(client.scan_iter(f"*{host}*"))
    assert len(names) == 6
    assert not [name for name in names if KEY in name]
    assert sum(fingerprint(KEY) in name for name in names) == 4
