"""Prices for people to look at are never waited for."""

import threading
import time
from decimal import Decimal
from typing import Any

import pytest

from exchange import quotes
from exchange.errors import NotSent
from exchange.quotes import Quotes
from exchange.types import Market
from pelusa.livesystem import PaperExchange, wait_until

LONG_AGO = quotes.SHOWN_FOR + 1


def test_the_first_look_finds_nothing_and_has_the_prices_read(paper: PaperExchange) -> None:
    shown = Quotes()
    assert shown.prices("paper", Market.USDTM) == {}
    wait_until(lambda: bool(shown.prices("paper", Market.USDTM)), what="for prices")
    assert shown.prices("paper", Market.USDTM)["BTC-USDT"] == Decimal(50000)


class Exchange:
    """Answers when told to, and counts who asked."""

    def __init__(self) -> None:
        self.asked, self.may_answer = 0, threading.Event()
        self.answer: Any = {"BTC-USDT": Decimal(1)}

    def prices(self, market: Market) -> Any:
        self.asked += 1
        assert self.may_answer.wait(10)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def exchange(monkeypatch: pytest.MonkeyPatch) -> Exchange:
    exchange = Exchange()
    monkeypatch.setattr(quotes, "connect_to", lambda environment: exchange)
    return exchange


def test_many_lookers_ask_once_and_none_of_them_waits(exchange: Exchange) -> None:
    shown, began = Quotes(), time.monotonic()
    for _ in range(50):
        assert shown.prices("live", Market.USDTM) == {}
    assert time.monotonic() - began < 5
    exchange.may_answer.set()
    wait_until(lambda: bool(shown.prices("live", Market.USDTM)))
    assert exchange.asked == 1


def test_a_price_that_grew_old_is_not_shown(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Quotes()
    exchange.may_answer.set()
    shown.prices("live", Market.USDTM)
    wait_until(lambda: bool(shown.prices("live", Market.USDTM)))
    exchange.answer = NotSent("no line")
    now = time.monotonic()
    monkeypatch.setattr(quotes.time, "monotonic", lambda: now + LONG_AGO)
    assert shown.prices("live", Market.USDTM) == {}
