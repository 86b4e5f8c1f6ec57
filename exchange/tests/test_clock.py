from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from exchange import clock
from exchange.bingx import BingX
from exchange.errors import NotSent, Refused
from exchange.models import Account, ExchangeClock
from exchange.phrasing import to_ms
from exchange.refusals import ClockSkew
from exchange.tasks import measure_clocks
from exchange.tests.scripted_server import ScriptedServer, ok, refusal
from exchange.tests.test_bingx_client import ECHO, ENTRY, KEY, NOW, SECRET
from exchange.types import MarginMode, Market

AHEAD = timedelta(seconds=3)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """An exchange whose clock is three seconds ahead of ours, whatever the time is."""
    with ScriptedServer() as scripted:
        scripted.respond = lambda _: ok({"serverTime": to_ms(datetime.now(UTC) + AHEAD)})
        yield scripted


@pytest.fixture
def environment(settings, server) -> str:
    settings.BINGX_URLS = settings.BINGX_URLS | {"paper": server.url}
    return "paper"


@pytest.mark.django_db
def test_the_difference_is_measured_and_kept_for_every_process(environment):
    assert clock.known_offset(environment) == timedelta(0)
    assert abs(clock.measure(environment) - AHEAD) < timedelta(seconds=1)
    assert abs(clock.known_offset(environment) - AHEAD) < timedelta(seconds=1)
    clock.measure(environment)
    assert ExchangeClock.objects.count() == 1


@pytest.mark.django_db
def test_a_clock_that_cannot_be_measured_keeps_the_last_difference(environment, server):
    clock.measure(environment)
    server.respond = lambda _: refusal(100400, "bad request")
    with pytest.raises(Refused):
        clock.measure(environment)
    assert abs(clock.known_offset(environment) - AHEAD) < timedelta(seconds=1)


@pytest.mark.django_db
def test_one_exchange_that_is_away_does_not_keep_the_others_from_being_measured(environment, settings):
    settings.BINGX_URLS = settings.BINGX_URLS | {"live": "http://127.0.0.1:1"}
    Account.objects.create(name="gone", environment="live")
    Account.objects.create(name="here", environment=environment)
    with pytest.raises(NotSent):
        clock.measure("live")
    measure_clocks()
    assert [row.environment for row in ExchangeClock.objects.all()] == [environment]


def signed_times(server: ScriptedServer) -> list[int]:
    return [int(each.parameters["timestamp"]) for each in server.received]


def test_every_time_stamp_but_an_order_s_is_told_by_the_exchange_s_clock(server):
    server.respond = lambda _: ok({"order": ECHO, "marginType": "CROSSED"})
    client = BingX(base_url=server.url, key=KEY, secret=SECRET, clock=lambda: NOW, clock_offset=AHEAD)
    client.margin_mode(Market.USDTM, "BTC-USDT")
    client.set_margin_mode(Market.USDTM, "BTC-USDT", MarginMode.CROSSED)
    client.cancel_order(Market.USDTM, "BTC-USDT", exchange_order_id=str(ECHO["orderId"]))
    client.place_order(ENTRY)
    assert signed_times(server) == [to_ms(NOW + AHEAD)] * 3 + [to_ms(ENTRY.signed_at)]


@pytest.mark.parametrize(
    "write",
    [
        lambda c: c.place_order(ENTRY),
        lambda c: c.cancel_order(Market.USDTM, "BTC-USDT", exchange_order_id="1"),
        lambda c: c.set_margin_mode(Market.USDTM, "BTC-USDT", MarginMode.CROSSED),
    ],
    ids=["order", "cancel", "change"],
)
def test_a_write_that_is_blamed_for_its_clock_is_never_signed_again(server, write):
    server.respond = lambda _: refusal(109400, "timestamp is invalid")
    with pytest.raises(ClockSkew):
        write(BingX(base_url=server.url, key=KEY, secret=SECRET))
    assert len(server.received) == 1
