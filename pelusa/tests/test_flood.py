"""S27: a flood of bad requests keeps no honest alarm out, and costs neither connections nor disk without a bound."""

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest
import requests

from pelusa.livesystem import ROOT, LiveSystem
from pelusa.testing import alarm_body

pytestmark = pytest.mark.servers

SECONDS, OFFERED, HONEST = 6, 2_000, 20
# Each thread of the web process opens its connections when it first needs them
SLACK = 8
# TradingView hangs up then, and does not send again
TRADINGVIEW_WAITS = 3


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSystem]:
    live = LiveSystem.on_our_servers(tmp_path_factory.mktemp("flood"))
    with live.running():
        yield live


def flood(system: LiveSystem) -> "subprocess.Popen[str]":
    argv = [str(system.port), system.secret, str(SECONDS), str(OFFERED)]
    return subprocess.Popen(
        [sys.executable, "-m", "pelusa.tests.flood", *argv], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def post_honest(system: LiveSystem, until: float) -> list[int]:
    """Post alarms as TradingView does, each over a connection of its own, and return what was answered."""
    answers: list[int] = []

    def post() -> None:
        try:
            answer = requests.post(f"{system.url}/webhook/{system.secret}", alarm_body(), timeout=TRADINGVIEW_WAITS)
            answers.append(answer.status_code)
        except requests.RequestException:
            answers.append(0)

    posting = []
    while time.monotonic() < until:
        posting.append(threading.Thread(target=post))
        posting[-1].start()
        time.sleep(1 / HONEST)
    for each in posting:
        each.join()
    return answers


def connections_of(system: LiveSystem) -> int:
    """Return how many connections the server has to this system's schemas."""
    asked = "SELECT COUNT(*) FROM information_schema.processlist WHERE db LIKE 'pelusa-live-%'"
    argv = ["shell", "--command", f"from django.db import connection as c; k = c.cursor(); k.execute({asked!r}); "]
    return int(system.manage(*argv[:-1], argv[-1] + "print(k.fetchone()[0])").splitlines()[-1])


def refusals_logged(system: LiveSystem) -> int:
    """Return how many lines of the log are about a request that was refused."""
    lines = (system.home / "log" / "pelusa.log").read_text().splitlines()
    return sum("request | " in line and " status=4" in line for line in lines)


def test_s27_no_honest_alarm_fails_in_a_flood_of_bad_requests(system: LiveSystem) -> None:
    # The first wave opens every thread's connections, and uses up the lines that strangers may cause at once
    for wave in ("first", "second"):
        connections, logged = connections_of(system), refusals_logged(system)
        with flood(system) as bad:
            answers = post_honest(system, time.monotonic() + SECONDS)
            assert bad.stdout
            told = json.loads(bad.stdout.read())
        logged = refusals_logged(system) - logged
        print(
            f"{wave}: {told['sent']} bad, {told['statuses']}, {logged} lines; {len(answers)} honest {Counter(answers)}"
        )
        assert set(answers) == {200}
        assert told["sent"] > SECONDS * HONEST * 5, "that was no flood"
        assert not [status for status in told["statuses"] if status.startswith("5")]
    assert connections_of(system) <= connections + SLACK
    assert logged < told["sent"] / 2
