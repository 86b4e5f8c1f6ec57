"""Fixtures for tests of candles."""

import pytest

from market import backfill, paging, repair
from market.models import Backfill, Kline, KlineHole, Series
from market.tests.candle_exchange import CandleExchange


@pytest.fixture
def candles(monkeypatch: pytest.MonkeyPatch) -> CandleExchange:
    """An exchange of candles in the place of the real one, whose clock everybody goes by."""
    exchange = CandleExchange()
    client = exchange.client()
    monkeypatch.setattr(paging, "connect_for_market_data", lambda: client)
    for module in (backfill, repair):
        monkeypatch.setattr(module, "exchange_now", lambda: exchange.now())
    return exchange


@pytest.fixture
def series(db: None) -> Series:
    return Series.objects.create(market="usdtm", symbol="BTC-USDT", interval="1m")


def forget_candles() -> None:
    for model in (Backfill, Kline, KlineHole, Series):
        model.objects.all().delete()
