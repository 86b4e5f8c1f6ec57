"""Real processes: a service that hangs delays no order, and what a killed worker was sending is not sent twice."""

import os
import signal
from collections import Counter
from collections.abc import Iterator

import pytest
import requests

from pelusa.livesystem import ApiClient, LiveSystem, wait_until
from pelusa.supervisor import Supervisor
from pelusa.testing import alarm_body
from pelusa.tests.planted import planted
from pelusa.tests.receiving import Receiver, serving

pytestmark = [pytest.mark.servers, pytest.mark.timeout(240)]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with serving(Receiver()) as server:
        yield server
        server.goes_on.set()


@pytest.fixture
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LiveSystem, Supervisor]]:
    system = LiveSystem.on_our_servers(tmp_path_factory.mktemp("told"))
    with system.running() as supervisor:
        yield system, supervisor


def prepare(system: LiveSystem, receiver: Receiver) -> ApiClient:
    address = f"json://{receiver.address}/{planted('channel token')}"
    made = f"Channel.objects.create(name='phone', url={address!r}, kinds=['fill'], per_minute=60)"
    system.manage("shell", "-c", f"from pelusa.models import Channel; {made}")
    api = system.api()
    account = api.post("/accounts/", name="desk", environment="paper")["id"]
    leg = {"entry_interval": "5m", "close_interval": "5m", "sizing": "quantity", "size": "0.001"}
    named = {"name": "told", "alarm_name": "Stochastic_v1", "ticker": "BTCUSDT.P", "market": "usdtm"}
    api.post("/strategies/", account=account, **named, long=leg, short=None)
    return api


def trade(system: LiveSystem, api: ApiClient, act: str, orders: int) -> None:
    """Post an alarm and wait until its order is filled."""
    answer = requests.post(f"{system.url}/webhook/{system.secret}", data=alarm_body(f"order {act} long"), timeout=10)
    assert answer.status_code == 200
    wait_until(lambda: len(api.all("/orders/", status="filled")) == orders, what=f"for order {orders}")


LATER = """
from datetime import timedelta
from django.db.models import F
from pelusa.models import Channel, Message
Message.objects.filter(status="sending").update(began_at=F("began_at") - timedelta(minutes=3))
Channel.objects.update(leased_until=None)
"""
TOLD = """
from pelusa.models import Message
print(*Message.objects.order_by("id").values_list("status", flat=True))
"""


def as_if_later(system: LiveSystem) -> None:
    """Let minutes pass for what was being sent, by moving its past back."""
    system.manage("shell", "-c", LATER)


def told(system: LiveSystem) -> list[str]:
    """Return what became of each message."""
    return system.manage("shell", "-c", TOLD).splitlines()[-1].split()


def test_orders_are_filled_while_a_service_hangs_and_a_killed_worker_sends_nothing_twice(
    running: tuple[LiveSystem, Supervisor], receiver: Receiver
) -> None:
    system, supervisor = running
    api = prepare(system, receiver)
    receiver.goes_on.clear()
    trade(system, api, "open", 1)
    assert receiver.asked.wait(30)
    # The first message hangs at the service, and orders go on
    trade(system, api, "close", 2)
    trade(system, api, "open", 3)
    assert receiver.taken == []
    worker = supervisor.pids()["worker0"]
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: supervisor.pids().get("worker0", worker) != worker, what="for another worker")
    receiver.goes_on.set()
    as_if_later(system)
    trade(system, api, "close", 4)
    wait_until(lambda: len(receiver.paths) >= 4, seconds=60, what="for the messages that waited")
    as_if_later(system)
    wait_until(lambda: "sending" not in told(system) and "waiting" not in told(system), seconds=60)
    assert told(system) == ["unknown", "sent", "sent", "sent"]
    assert len(receiver.paths) == 4
    assert Counter(receiver.titles)["PAPER · Exit filled · BTC-USDT"] == 2
