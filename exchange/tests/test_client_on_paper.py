"""The real client trades on the paper exchange, which is a process of its own, over HTTP, for the three products."""

import contextlib
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import requests

from exchange import bingx
from exchange.bingx import BingX, KeyPermission
from exchange.errors import (
    AlreadyFinal,
    Duplicate,
    ExchangeError,
    NotSent,
    OrderNotFound,
    OutcomeUnknown,
    RateLimited,
    Refused,
)
from exchange.refusals import ClockSkew
from exchange.types import (
    MarginMode,
    Market,
    OrderRequest,
    OrderType,
    PositionMode,
    PositionSide,
    ReportStatus,
    Side,
)

D = Decimal
ROOT = Path(__file__).resolve().parents[2]
KEY, SECRET = "paper-key", "paper-secret"
SYMBOL = {Market.USDTM: "BTC-USDT", Market.COINM: "BTC-USD", Market.SPOT: "BTC-USDT"}
SMALL = {Market.USDTM: D("0.01"), Market.COINM: D(2), Market.SPOT: D("0.001")}
PERPETUALS = [Market.USDTM, Market.COINM]


@pytest.fixture(autouse=True)
def no_long_pauses(monkeypatch):
    monkeypatch.setattr(bingx, "READ_PAUSES", (0.01, 0.01))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    command = [sys.executable, "-m", "exchange.paper", "--port", "0", "--seed", "7"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield process.stdout.readline().split()[-1]
        process.terminate()
        assert process.wait(10) == 0


class Control:
    """The control addresses of the paper exchange."""

    def __init__(self, url: str) -> None:
        self.url, self.session = url, requests.Session()
        self.session.trust_env = False

    def __call__(self, method: str, path: str, **members: object) -> dict:
        answer = self.session.request(method, f"{self.url}/paper{path}", json=members, timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def orders(self) -> list[dict]:
        return self("GET", f"/ledger?key={KEY}")["orders"]


@pytest.fixture
def control(url) -> Iterator[Control]:
    control = Control(url)
    control("POST", "/reset")
    control("DELETE", "/faults")
    control("POST", "/accounts", key=KEY, secret=SECRET)
    control("POST", "/prices", **{"BTC-USDT": "50000", "BTC-USD": "50000"})
    yield control
    control("DELETE", "/faults")
    control.session.close()


@pytest.fixture
def client(url, control) -> Iterator[BingX]:
    client = BingX(base_url=url, key=KEY, secret=SECRET, read_timeout=1.0)
    yield client
    client.close()


def new_id() -> str:
    return f"pt{uuid.uuid4().hex}"


def entry(market: Market, **changes) -> OrderRequest:
    usual = {
        "market": market,
        "symbol": SYMBOL[market],
        "side": Side.BUY,
        "position_side": PositionSide.BOTH if market is Market.SPOT else PositionSide.LONG,
        "order_type": OrderType.MARKET,
        "quantity": SMALL[market],
        "client_order_id": new_id(),
        "signed_at": datetime.now(UTC),
    }
    return OrderRequest(**(usual | changes))


def span() -> dict[str, datetime]:
    now = datetime.now(UTC)
    return {"start": now - timedelta(minutes=10), "end": now + timedelta(minutes=1)}


@pytest.mark.parametrize("market", list(Market))
def test_a_market_order_is_placed_found_by_both_ids_and_has_fills(client, market):
    request = entry(market)
    placed = client.place_order(request)
    assert placed.client_order_id == request.client_order_id
    by_client_id = client.order(market, SYMBOL[market], client_order_id=request.client_order_id)
    by_exchange_id = client.order(market, SYMBOL[market], exchange_order_id=placed.exchange_order_id)
    assert by_client_id == by_exchange_id
    assert (by_client_id.status, by_client_id.filled_quantity) == (ReportStatus.FILLED, request.quantity)
    assert 49500 < by_client_id.avg_price < 50500
    fills = client.fills(market, SYMBOL[market], exchange_order_id=placed.exchange_order_id, **span())
    assert sum(fill.quantity for fill in fills) == request.quantity
    assert all(fill.fee > 0 and fill.exchange_order_id == placed.exchange_order_id for fill in fills)
    assert all(abs(fill.filled_at - datetime.now(UTC)) < timedelta(seconds=30) for fill in fills)
    assert {fill.fee_asset for fill in fills} <= {"USDT", "VST", "BTC"}
    assert placed.exchange_order_id in {
        order.exchange_order_id for order in client.past_orders(market, SYMBOL[market], **span())
    }


@pytest.mark.parametrize("market", list(Market))
def test_fills_of_a_range_come_without_naming_an_order(client, market):
    first, second = (client.place_order(entry(market)).exchange_order_id for _ in range(2))
    fills = client.fills(market, SYMBOL[market], **span())
    assert {fill.exchange_order_id for fill in fills} == {first, second}
    assert [fill.filled_at for fill in fills] == sorted(fill.filled_at for fill in fills)


@pytest.mark.parametrize("market", PERPETUALS)
def test_a_position_is_opened_and_closed_and_leaves_no_row(client, market):
    client.place_order(entry(market))
    [position] = client.positions(market, SYMBOL[market])
    assert (position.position_side, position.side, position.quantity) == (PositionSide.LONG, Side.BUY, SMALL[market])
    assert position.avg_entry_price > 0
    client.place_order(entry(market, side=Side.SELL, reduce_only=True))
    assert client.positions(market, SYMBOL[market]) == []


@pytest.mark.parametrize("market", PERPETUALS)
def test_a_long_and_a_short_stand_apart_in_hedge_mode(client, market):
    client.place_order(entry(market))
    client.place_order(entry(market, side=Side.SELL, position_side=PositionSide.SHORT))
    legs = {p.position_side: (p.side, p.quantity) for p in client.positions(market)}
    assert legs == {
        PositionSide.LONG: (Side.BUY, SMALL[market]),
        PositionSide.SHORT: (Side.SELL, SMALL[market]),
    }


def test_one_way_mode_nets_and_closes_with_reduce_only(client, control):
    client.set_position_mode(PositionMode.ONE_WAY)
    assert client.position_mode() is PositionMode.ONE_WAY
    for signed in (False, True):
        control("POST", "/faults", signed_one_way=signed)
        client.place_order(entry(Market.USDTM, side=Side.SELL, position_side=PositionSide.BOTH))
        [short] = client.positions(Market.USDTM)
        assert (short.position_side, short.side, short.quantity) == (PositionSide.BOTH, Side.SELL, D("0.01"))
        client.place_order(entry(Market.USDTM, position_side=PositionSide.BOTH, reduce_only=True))
        assert client.positions(Market.USDTM) == []
    with pytest.raises(Refused):
        client.place_order(entry(Market.USDTM))


@pytest.mark.parametrize("market", list(Market))
def test_a_limit_order_rests_is_listed_and_is_cancelled(client, market):
    request = entry(market, order_type=OrderType.LIMIT, price=D("40000"))
    placed = client.place_order(request)
    assert placed.status is ReportStatus.ACCEPTED
    assert [o.client_order_id for o in client.open_orders(market, SYMBOL[market])] == [request.client_order_id]
    assert placed.exchange_order_id in [o.exchange_order_id for o in client.open_orders(market)]
    client.cancel_order(market, SYMBOL[market], client_order_id=request.client_order_id)
    fate = client.order(market, SYMBOL[market], exchange_order_id=placed.exchange_order_id)
    assert (fate.status, fate.filled_quantity) == (ReportStatus.CANCELED, 0)
    assert client.open_orders(market) == []
    with pytest.raises((AlreadyFinal, OrderNotFound, Refused)):
        client.cancel_order(market, SYMBOL[market], exchange_order_id=placed.exchange_order_id)


@pytest.mark.parametrize("market", PERPETUALS)
def test_a_stop_waits_for_its_trigger_and_then_closes_the_position(client, control, market):
    client.place_order(entry(market))
    stop = entry(market, side=Side.SELL, order_type=OrderType.STOP_MARKET, trigger_price=D("49000"), reduce_only=True)
    placed = client.place_order(stop)
    assert (placed.status, placed.trigger_price) == (ReportStatus.ACCEPTED, 49000)
    [waiting] = client.open_orders(market, SYMBOL[market])
    assert (waiting.order_type, waiting.trigger_price) == ("STOP_MARKET", 49000)
    assert waiting.exchange_order_id == placed.exchange_order_id
    control("POST", "/prices", **{SYMBOL[market]: "48900"})
    assert client.positions(market) == []
    assert (
        client.order(market, SYMBOL[market], exchange_order_id=placed.exchange_order_id).status is ReportStatus.FILLED
    )


def test_a_spot_balance_moves_with_a_purchase_less_the_fee_in_the_received_asset(client):
    def held(asset: str) -> Decimal:
        return next((b.balance for b in client.balances(Market.SPOT) if b.asset == asset), D(0))

    before = held("BTC")
    placed = client.place_order(entry(Market.SPOT))
    [fill] = client.fills(Market.SPOT, "BTC-USDT", exchange_order_id=placed.exchange_order_id, **span())
    assert fill.fee_asset == "BTC"
    assert held("BTC") - before == fill.quantity - fill.fee


@pytest.mark.parametrize("market", PERPETUALS)
def test_leverage_and_margin_mode_are_set_and_read_back(client, market):
    client.set_leverage(market, SYMBOL[market], PositionSide.LONG, 7)
    client.set_leverage(market, SYMBOL[market], PositionSide.SHORT, 3)
    leverage = client.leverage(market, SYMBOL[market])
    assert (leverage.long_leverage, leverage.short_leverage) == (7, 3)
    client.set_margin_mode(market, SYMBOL[market], MarginMode.ISOLATED)
    assert client.margin_mode(market, SYMBOL[market]) is MarginMode.ISOLATED


def test_the_wallets_the_key_and_the_clock(client):
    assert {b.asset: b.balance for b in client.balances(Market.USDTM)}.keys() & {"USDT", "VST"}
    assert client.balances(Market.COINM)
    assert client.position_mode() is PositionMode.HEDGE
    assert KeyPermission.PERPETUAL_TRADE in client.permissions()
    assert KeyPermission.WITHDRAW not in client.permissions()
    assert abs(client.server_time() - datetime.now(UTC)) < timedelta(seconds=2)
    assert abs(client.measure_clock()) < timedelta(seconds=2)


@pytest.mark.parametrize("market", list(Market))
def test_instruments_prices_and_candles_need_no_key(url, control, market):
    stranger = BingX(base_url=url)
    instruments = {i.symbol: i for i in stranger.instruments(market)}
    assert instruments[SYMBOL[market]].is_open_allowed
    assert instruments[SYMBOL[market]].tick_size > 0
    assert stranger.price(market, SYMBOL[market]) == 50000
    end = datetime.now(UTC).replace(second=0, microsecond=0)
    start = end - timedelta(minutes=90)
    klines = stranger.klines(market, SYMBOL[market], "1m", start=start, end=end)
    assert [k.open_time for k in klines] == [start + timedelta(minutes=n) for n in range(90)]
    assert all(k.low <= min(k.open, k.close) <= max(k.open, k.close) <= k.high for k in klines)
    [day] = stranger.klines(market, SYMBOL[market], "1d", start=None, end=None, limit=1)
    assert day.open_time.hour == 0, "days begin at midnight UTC on every product"
    stranger.close()


# What may go wrong


@pytest.mark.parametrize(
    "fault", ["timeout_after", "reset_after", "gateway_after", "garbage_after", "codeless_after", "busy_after"]
)
def test_an_order_that_was_taken_and_whose_answer_was_lost_is_unknown_and_is_found_by_asking(client, control, fault):
    control("POST", "/faults", orders={fault: 1})
    request = entry(Market.USDTM)
    with pytest.raises(OutcomeUnknown):
        client.place_order(request)
    control("DELETE", "/faults")
    assert len(control.orders()) == 1
    found = client.order(Market.USDTM, "BTC-USDT", client_order_id=request.client_order_id)
    assert found.status is ReportStatus.FILLED


@pytest.mark.parametrize("fault", ["lost_before", "reset_before", "busy_before"])
def test_an_order_that_was_lost_on_the_way_is_unknown_too_and_is_nowhere(client, control, fault):
    control("POST", "/faults", orders={fault: 1}, hold_ms=1500)
    request = entry(Market.USDTM)
    with pytest.raises(OutcomeUnknown):
        client.place_order(request)
    control("DELETE", "/faults")
    assert control.orders() == []
    with pytest.raises(OrderNotFound):
        client.order(Market.USDTM, "BTC-USDT", client_order_id=request.client_order_id)


def test_a_read_comes_through_a_bad_line(client, control):
    control("POST", "/faults", seed=3, account={"reset_after": 0.4, "gateway_after": 0.2})
    came = 0
    for _ in range(20):
        try:
            came += bool(client.balances(Market.USDTM))
        except OutcomeUnknown:
            continue
    assert came >= 12


def test_the_same_client_id_again_is_a_duplicate_and_no_second_order(client, control):
    request = entry(Market.USDTM)
    client.place_order(request)
    with pytest.raises(Duplicate):
        client.place_order(request)
    assert len(control.orders()) == 1


def test_a_rate_limit_says_when_it_ends(client, control):
    control("POST", "/faults", lookups={"rate_limit": 1})
    with pytest.raises(RateLimited) as caught:
        client.open_orders(Market.USDTM)
    assert caught.value.retry_at is not None
    assert timedelta(0) < caught.value.retry_at - datetime.now(UTC) < timedelta(minutes=2)


def test_a_stale_order_is_refused_for_its_clock_and_never_executed(client, control):
    with pytest.raises(ClockSkew):
        client.place_order(entry(Market.USDTM, signed_at=datetime.now(UTC) - timedelta(seconds=20)))
    assert control.orders() == []


def test_a_reader_with_a_wrong_clock_corrects_it_by_itself(url, control):
    client = BingX(base_url=url, key=KEY, secret=SECRET, clock=lambda: datetime.now(UTC) - timedelta(seconds=30))
    assert client.balances(Market.USDTM)
    assert abs(client.clock_offset - timedelta(seconds=30)) < timedelta(seconds=2)
    client.close()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"quantity": D("0.00001")}, Refused),
        ({"quantity": D("5000")}, Refused),
        ({"symbol": "NOPE-USDT"}, Refused),
        ({"side": Side.SELL}, Refused),
    ],
)
def test_what_the_exchange_refuses_is_refused_with_a_code_and_advice(client, control, changes, error):
    with pytest.raises(error) as caught:
        client.place_order(entry(Market.USDTM, **changes))
    assert caught.value.code
    assert caught.value.message
    assert control.orders() == []


def test_a_wrong_secret_and_an_unknown_key_are_refused(url, control):
    for key, secret in ((KEY, "wrong"), ("nobody", SECRET)):
        stranger = BingX(base_url=url, key=key, secret=secret)
        with pytest.raises(Refused) as caught:
            stranger.balances(Market.USDTM)
        assert caught.value.code in {"100001", "100413"}
        stranger.close()


def test_an_exchange_that_is_gone_leaves_orders_unsent(url, control):
    command = [sys.executable, "-m", "exchange.paper", "--port", "0", "--key", KEY, "--secret", SECRET]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        client = BingX(base_url=process.stdout.readline().split()[-1], key=KEY, secret=SECRET)
        client.place_order(entry(Market.USDTM))
        process.kill()
        process.wait(10)
        with pytest.raises((NotSent, OutcomeUnknown)):
            client.place_order(entry(Market.USDTM))
        with pytest.raises(NotSent):
            client.place_order(entry(Market.USDTM))
        client.close()


@pytest.mark.parametrize("is_bare", [0, 1])
def test_both_shapes_of_an_echo_are_read(client, control, is_bare):
    control("POST", "/faults", bare_order=is_bare)
    assert client.place_order(entry(Market.USDTM)).status is ReportStatus.FILLED


def test_a_fill_in_many_parts_is_whole_in_its_fills(client, control):
    control("POST", "/faults", partial_fills={"slices": 4})
    placed = client.place_order(entry(Market.USDTM))
    fills = client.fills(Market.USDTM, "BTC-USDT", exchange_order_id=placed.exchange_order_id, **span())
    assert len(fills) == 4
    assert sum(fill.quantity for fill in fills) == D("0.01")


def test_every_error_on_a_bad_day_is_one_of_ours(client, control):
    faults = ["reset_before", "busy_before", "reset_after", "gateway_after", "garbage_after", "codeless_after"]
    control("POST", "/faults", seed=11, all=dict.fromkeys(faults, 0.15))
    for _ in range(30):
        for call in (
            lambda: client.place_order(entry(Market.USDTM)),
            lambda: client.open_orders(Market.USDTM),
            lambda: client.price(Market.USDTM, "BTC-USDT"),
        ):
            with contextlib.suppress(ExchangeError):
                call()
    drawn = control("GET", "/faults")["drawn"]
    assert all(drawn[fault] for fault in faults)
