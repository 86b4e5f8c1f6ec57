"""Many alarms at once on real servers: none lost, none twice, each ticker's orders in arrival order."""

import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from pelusa.testing import ApiClient, LiveSystem, alarm_body, wait_until

ALARMS, CLIENTS, WORKERS = 500, 8, 4
TICKERS = {"BTCUSDT.P": "0.001", "ETHUSDT.P": "0.01", "SOLUSDT.P": "1", "LTCUSDT.P": "1", "ADAUSDT.P": "10"}

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]


@pytest.fixture
def system(tmp_path: Path) -> Iterator[LiveSystem]:
    system = LiveSystem.on_our_servers(tmp_path, workers=WORKERS)
    with system.running():
        yield system


@dataclass
class Books:
    """What must happen to one ticker, from its alarms in arrival order."""

    held: bool = False
    roles: list[str] = field(default_factory=list)

    def read(self, action: str) -> None:
        if (action == "open") != self.held:
            self.held = not self.held
            self.roles.append("ENTRY" if self.held else "EXIT")


def make_strategies(api: ApiClient) -> None:
    account = api.post("/accounts/", name="desk", environment="paper")["id"]
    for ticker, size in TICKERS.items():
        leg = {"entry_interval": "5m", "close_interval": "5m", "sizing": "quantity", "size": size}
        api.post(
            "/strategies/",
            name=ticker,
            alarm_name="Many_v1",
            ticker=ticker,
            account=account,
            market="usdtm",
            max_alarm_age=3600,
            long=leg,
            short=None,
        )


def bodies(seed: int) -> list[bytes]:
    """Return alarms for all tickers in a random mix of opens and closes, each of a time of its own."""
    dice, start = random.Random(seed), datetime.now(UTC) - timedelta(minutes=20)
    return [
        alarm_body(
            f"order {dice.choice(['open', 'close'])} long",
            at=start + timedelta(seconds=number),
            ticker=dice.choice(list(TICKERS)),
            Strategy="Many_v1",
        )
        for number in range(ALARMS)
    ]


def post_all(system: LiveSystem, alarms: list[bytes]) -> list[dict[str, Any]]:
    def post(body: bytes) -> dict[str, Any]:
        answer = requests.post(f"{system.url}/webhook/{system.secret}", data=body, timeout=10)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    with ThreadPoolExecutor(CLIENTS) as clients:
        return list(clients.map(post, alarms))


def test_500_alarms_for_5_tickers_from_8_clients_with_4_workers(system: LiveSystem) -> None:
    api = system.api()
    make_strategies(api)
    answers = post_all(system, bodies(seed=1))
    assert len({answer["id"] for answer in answers}) == ALARMS
    wait_until(lambda: not api.all("/alarms/", status="received"), seconds=120, what="for every alarm to be processed")
    expected = expected_books(api)
    total = sum(len(books.roles) for books in expected.values())
    wait_until(
        lambda: len(api.all("/orders/", status="filled")) >= total, seconds=120, what="for every order to be filled"
    )
    check_orders(api, system, expected)


def expected_books(api: ApiClient) -> dict[str, Books]:
    expected = {ticker: Books() for ticker in TICKERS}
    alarms = api.all("/alarms/")
    assert len(alarms) == ALARMS
    for alarm in sorted(alarms, key=lambda alarm: int(alarm["id"])):
        assert len(alarm["decisions"]) == 1
        expected[alarm["ticker"]].read(alarm["action"])
    return expected


def check_orders(api: ApiClient, system: LiveSystem, expected: dict[str, Books]) -> None:
    """Compare our orders, and the exchange's own ledger, with what the alarms call for."""
    ours = sorted(api.all("/orders/"), key=lambda order: int(order["id"]))
    theirs = system.paper.ledger()
    assert Counter(order["status"] for order in ours) == {"filled": len(ours)}
    for ticker, books in expected.items():
        symbol = ticker.removesuffix("USDT.P") + "-USDT"
        of_ticker = [order for order in ours if order["symbol"] == symbol]
        assert [order["role"] for order in of_ticker] == books.roles
        at_exchange = [order["client_order_id"] for order in theirs if order["symbol"] == symbol]
        assert at_exchange == [order["client_order_id"] for order in of_ticker]
    assert max(Counter(order["client_order_id"] for order in theirs).values()) == 1
