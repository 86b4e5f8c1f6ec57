"""R33: several processes, one Redis, one exchange that counts: it never has to say no, and is obeyed when it does.

The paper exchange counts by itself (`exchange.paper.rates`), with none of the pacer's code.
"""

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from multiprocessing import get_context

import pytest
from django.conf import settings

from exchange.bingx import BingX
from exchange.errors import RateLimited
from exchange.tests.scripted_server import ScriptedServer, answer, ok
from exchange.types import Market
from pelusa.livesystem import PaperExchange, paper_exchange
from pelusa.tests.experiments.rates_crowd import ask_for_books, ask_for_candles, be_ready, client_of, limited, trade
from pelusa.tests.experiments.rig import scaled

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300), pytest.mark.xdist_group("r33")]

SECONDS = scaled(12)
PROCESSES = 6
# Longer than a read would wait
PENALTY_MS = 9_000


@pytest.fixture
def paper() -> Iterator[PaperExchange]:
    with paper_exchange() as paper:
        paper.start_over()
        for key in ("a1", "a2"):
            paper.control("accounts", key=key, secret="s3cret")
        paper.control("faults", rate_limits=True, rate_limit_ms=PENALTY_MS)
        yield paper


@pytest.fixture
def crowd() -> Iterator[ProcessPoolExecutor]:
    """Six processes that have all started."""
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        ready: set[int] = set()
        while len(ready) < PROCESSES:
            ready |= set(pool.map(be_ready, [0.1] * PROCESSES))
        yield pool


def test_r33_orders_are_not_starved_by_candles_and_the_exchange_never_says_no(
    paper: PaperExchange, crowd: ProcessPoolExecutor
) -> None:
    redis_url, until = settings.PACING_REDIS_URL, time.time() + SECONDS
    greedy = [crowd.submit(ask_for_candles, paper.url, redis_url, until) for _ in range(3)]
    greedy += [crowd.submit(ask_for_books, paper.url, redis_url, "a1", until)]
    traders = [crowd.submit(trade, paper.url, redis_url, "a1", every=0.3, until=until) for _ in range(2)]
    traded = [each.result() for each in traders]
    found = sum((each.result() for each in greedy), Counter()) + sum((each for each, _ in traded), Counter())
    took = sorted(seconds for _, seconds in traded for seconds in seconds)
    print(f"{dict(found)}; {len(took)} orders, p50 {took[len(took) // 2]:.3f} s, longest {took[-1]:.3f} s")
    assert found["refused there"] == 0 or found["stalled"]
    assert sum(each["held here"] for each, _ in traded) == 0, "no order was held back"
    assert len(took) == len(paper.ledger()) > SECONDS * 2
    assert took[-1] < 1.5
    assert sum(each.result()["done"] for each in greedy[:3]) > SECONDS * 5, "candles were asked for all the while"


def test_r33_a_crowd_of_orders_stays_below_the_limit_of_its_account(
    paper: PaperExchange, crowd: ProcessPoolExecutor
) -> None:
    redis_url, until = settings.PACING_REDIS_URL, time.time() + SECONDS
    busy = [crowd.submit(trade, paper.url, redis_url, "a1", every=0.0, until=until, exits=False) for _ in range(4)]
    calm = crowd.submit(trade, paper.url, redis_url, "a2", every=0.5, until=until)
    found = sum((each.result()[0] for each in busy), Counter())
    print(dict(found), dict(calm.result()[0]))
    assert found["refused there"] == 0 or found["stalled"]
    assert found["done"] == len(paper.ledger(key="a1")) > SECONDS * (2 if found["refused there"] else 6)
    assert not calm.result()[0]["held here"], "another account's crowd is none of its business"
    assert calm.result()[0]["done"] > SECONDS


def test_r33_an_announced_silence_is_kept_by_all_processes_and_other_accounts_go_on(
    paper: PaperExchange, crowd: ProcessPoolExecutor
) -> None:
    redis_url = settings.PACING_REDIS_URL
    with (
        closing(client_of(paper.url, redis_url, "a1")) as client,
        closing(BingX(base_url=paper.url, key="a1", secret="s3cret")) as rude,
    ):
        found: Counter[str] = Counter()
        while limited(found, lambda: rude.positions(Market.USDTM)):
            pass
        with pytest.raises(RateLimited) as told:
            client.positions(Market.USDTM)
        assert told.value.http_status
    opens_at = told.value.retry_at.timestamp()
    assert opens_at > time.time()
    others = [crowd.submit(ask_for_books, paper.url, redis_url, key, opens_at - 0.1) for key in ("a1", "a1", "a2")]
    silent, free = sum((each.result() for each in others[:2]), Counter()), others[2].result()
    print(dict(silent), dict(free))
    assert silent["refused there"] == 0, "nobody asked too early"
    assert silent["held here"] > 0
    assert silent["done"] <= 2, "the last reads waited, and went when it was over"
    assert set(free) == {"done"}
    time.sleep(max(0.0, opens_at - time.time()))
    after = crowd.submit(ask_for_books, paper.url, redis_url, "a1", time.time() + 1).result()
    assert set(after) == {"done"}


def test_r33_after_a_ban_nothing_more_is_sent_from_this_address(crowd: ProcessPoolExecutor) -> None:
    redis_url = settings.PACING_REDIS_URL
    with ScriptedServer() as server:
        server.respond = lambda _: ok([]) if len(server.received) < 20 else answer(b"", 418)
        until = time.time() + 7
        keys = ("a1", "a2", "a3", "a4", "a5", "a6")
        asking = [crowd.submit(ask_for_books, server.url, redis_url, key, until) for key in keys]
        found = sum((each.result() for each in asking), Counter())
        received = len(server.received)
    print(dict(found), received)
    assert found["held here"] > 0
    # Only what was on the wire when the ban came
    assert 20 <= received < 20 + PROCESSES
    assert found["refused there"] <= PROCESSES
