"""The exchange's list of instruments as we keep it."""

from decimal import Decimal as D

import pytest

from exchange.types import Market
from market import instruments
from market.models import Instrument
from pelusa.testing import DATABASES, PaperExchange

pytestmark = pytest.mark.django_db(databases=DATABASES)


def test_the_list_is_stored_with_its_grid_and_floors(paper: PaperExchange) -> None:
    count = instruments.refresh(Market.USDTM)
    assert Instrument.objects.filter(market="usdtm").count() == count > 0
    bitcoin = Instrument.objects.get(market="usdtm", symbol="BTC-USDT")
    assert (bitcoin.step_size, bitcoin.tick_size, bitcoin.min_notional) == (D("0.0001"), D("0.1"), D(2))


def test_a_second_refresh_changes_rows_and_adds_none(paper: PaperExchange) -> None:
    count = instruments.refresh(Market.USDTM)
    Instrument.objects.update(step_size=D(7))
    instruments.refresh(Market.USDTM)
    assert Instrument.objects.count() == count
    assert not Instrument.objects.filter(step_size=D(7)).exists()


def test_what_is_no_longer_listed_stays_and_takes_no_entries(paper: PaperExchange) -> None:
    instruments.refresh(Market.USDTM)
    Instrument.objects.filter(symbol="BTC-USDT").update(symbol="GONE-USDT")
    instruments.refresh(Market.USDTM)
    assert not Instrument.objects.get(symbol="GONE-USDT").is_open_allowed
    assert Instrument.objects.get(symbol="BTC-USDT").is_open_allowed


@pytest.mark.parametrize(("pair", "listed"), [("BTCUSDT", True), ("NOSUCHUSDT", False)])
def test_a_pair_is_listed_when_the_exchange_has_its_symbol(paper: PaperExchange, pair: str, listed: bool) -> None:
    instruments.refresh(Market.USDTM)
    assert instruments.is_listed(pair) is listed
