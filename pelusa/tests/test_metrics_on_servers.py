"""What Prometheus reads of a real system is what was done to it, whichever of its processes did the work."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from pelusa.testing import ApiClient, LiveSystem, alarm_body, wait_until

pytestmark = [pytest.mark.servers, pytest.mark.timeout(240)]

ROUND_TRIPS, RESENT, UNREADABLE, UNKNOWN, GUESSES = 6, 5, 3, 2, 4
# Hearts keep what was counted every ten seconds
KEPT_WITHIN = 40.0


@pytest.fixture
def system(tmp_path: Path) -> Iterator[LiveSystem]:
    """Two web processes, a worker and beat."""
    system = LiveSystem.on_our_servers(tmp_path)
    with system.running():
        yield system


def make_a_strategy(api: ApiClient) -> None:
    account = api.post("/accounts/", name="desk", environment="paper")["id"]
    leg = {"entry_interval": "5m", "close_interval": "5m", "sizing": "quantity", "size": "0.001"}
    names = {"name": "counted", "alarm_name": "Counted_v1", "ticker": "BTCUSDT.P", "market": "usdtm"}
    api.post("/strategies/", account=account, max_alarm_age=3600, long=leg, short=None, **names)


def post(system: LiveSystem, body: bytes, secret: str = "") -> int:
    # A connection each, so that both web processes get their share
    return requests.post(f"{system.url}/webhook/{secret or system.secret}", data=body, timeout=10).status_code


def post_all(system: LiveSystem, api: ApiClient) -> "Counter[int]":
    """Post round trips, each act after the one before was traded, and what is refused; return the answers' statuses."""
    answers: Counter[int] = Counter()
    for number in range(2 * ROUND_TRIPS):
        body = alarm_body(f"order {'close' if number % 2 else 'open'} long", Strategy="Counted_v1")
        answers[post(system, body)] += 1
        if number < RESENT:
            answers[post(system, body)] += 1
        wait_until(lambda done=number + 1: len(api.all("/orders/", status="filled")) == done)  # type: ignore[misc]
    bodies = [b"{"] * UNREADABLE + [alarm_body(Strategy=f"nobody {number}") for number in range(UNKNOWN)]
    answers.update(post(system, body) for body in bodies)
    answers.update(post(system, alarm_body(), secret="guess") for _ in range(GUESSES))
    return answers


def scrape(system: LiveSystem, api: ApiClient) -> dict[str, float]:
    """Return every sample of `/metrics` by its name and labels, as it is written."""
    answer = api.session.get(f"{system.url}/metrics", timeout=30)
    assert answer.status_code == 200, answer.text
    samples = [each for family in text_string_to_metric_families(answer.text) for each in family.samples]
    return {" ".join([each.name, *(each.labels[name] for name in sorted(each.labels))]): each.value for each in samples}


def test_the_counts_are_those_of_what_was_posted_and_traded(system: LiveSystem) -> None:
    api = system.api()
    make_a_strategy(api)
    answers = post_all(system, api)
    trades = 2 * ROUND_TRIPS
    assert answers == {200: trades + RESENT + UNKNOWN, 422: UNREADABLE, 401: GUESSES}
    expected: dict[str, float] = {
        "pelusa_alarms_total received": trades + UNKNOWN,
        "pelusa_alarms_total duplicate": RESENT,
        "pelusa_alarms_total invalid": UNREADABLE,
        "pelusa_alarms_total processed": trades,
        "pelusa_alarms_total ignored": UNKNOWN,
        "pelusa_order_steps_total submitted": trades,
        "pelusa_order_steps_total filled": trades,
        "pelusa_alarm_to_order_seconds_count ENTRY": ROUND_TRIPS,
        "pelusa_alarm_to_order_seconds_count EXIT": ROUND_TRIPS,
        **{f"pelusa_webhook_seconds_count {status}": count for status, count in answers.items()},
    }
    wait_until(
        lambda: expected.items() <= scrape(system, api).items(),
        seconds=KEPT_WITHIN,
        what=f"for the hearts of all processes to beat: {expected}",
    )
    found = scrape(system, api)
    assert {name: found[name] for name in expected} == expected, "nothing is counted twice later"
    assert 0 < found["pelusa_webhook_seconds_sum 200"] < answers[200]
    # The exchange's clock is measured every half minute, so that a young system may not be ready yet
    wait_until(lambda: scrape(system, api)["pelusa_ready_to_trade"] == 1, seconds=KEPT_WITHIN, what="for the clock")
    assert all(re.fullmatch(r"[\w./+:\- ()]*", name) for name in found), "labels are machine words"
    again = scrape(system, api)
    assert all(again[name] >= value for name, value in found.items() if name.partition(" ")[0].endswith("_total"))
