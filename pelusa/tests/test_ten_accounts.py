"""One alarm for ten strategies on ten accounts: their orders go out side by side, not one after the other."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import requests

from pelusa.livesystem import ApiClient, LiveSystem, wait_until
from pelusa.processes import WORKER_THREADS
from pelusa.testing import alarm_body

ACCOUNTS = 10
LATENCY_MS = 80

pytestmark = [pytest.mark.servers, pytest.mark.timeout(180)]


@pytest.fixture
def system(tmp_path: Path) -> Iterator[LiveSystem]:
    slow = ("--latency-ms", str(LATENCY_MS))
    system = LiveSystem.on_our_servers(tmp_path, threads=WORKER_THREADS, paper_options=slow)
    with system.running():
        yield system


def make_strategies(api: ApiClient, count: int) -> None:
    leg = {"entry_interval": "5m", "close_interval": "5m", "sizing": "quantity", "size": "0.001", "leverage": 1}
    for number in range(count):
        account = api.post("/accounts/", name=f"desk {number}", environment="paper")["id"]
        common = {"alarm_name": "Ten_v1", "ticker": "BTCUSDT.P", "market": "usdtm", "max_alarm_age": 600}
        api.post("/strategies/", name=f"copy {number}", account=account, **common, long=leg, short=None)


def spans(api: ApiClient) -> list[tuple[datetime, datetime]]:
    """Return when each filled order was created and when it ended."""
    orders = api.all("/orders/", status="filled")
    return [(datetime.fromisoformat(each["created_at"]), datetime.fromisoformat(each["closed_at"])) for each in orders]


def test_ten_orders_leave_side_by_side(system: LiveSystem) -> None:
    api = system.api()
    make_strategies(api, ACCOUNTS)
    answer = requests.post(f"{system.url}/webhook/{system.secret}", data=alarm_body(Strategy="Ten_v1"), timeout=10)
    assert answer.status_code == 200
    wait_until(lambda: len(spans(api)) == ACCOUNTS, seconds=60, what="for ten filled orders")
    taken = spans(api)
    together = max(end for _, end in taken) - min(start for start, _ in taken)
    one_after_the_other = sum((end - start for start, end in taken), timedelta())
    # Nothing in the way: ten times. A busy machine of two cores: still several times.
    assert one_after_the_other > 3 * together
