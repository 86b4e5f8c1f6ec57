"""Instruments as clients read them."""

import pytest

from pelusa.testing import DATABASES
from pelusa.tests.making import client_of, make_instrument

pytestmark = pytest.mark.django_db(databases=DATABASES)
URL = "/api/v1/instruments/"


def test_an_instrument_shows_its_grid_in_plain_digits() -> None:
    make_instrument(tick_size="0.000000010000", step_size="1000.000000000000")
    [row] = client_of().get(URL).json()["results"]
    assert (row["symbol"], row["tick_size"], row["step_size"], row["contract_size"]) == (
        "BTC-USDT",
        "0.00000001",
        "1000",
        "1",
    )


def test_instruments_are_filtered_by_market_and_symbol() -> None:
    make_instrument()
    wanted = make_instrument("BTC-USD", "coinm")
    [row] = client_of().get(URL, {"market": "coinm", "symbol": "BTC-USD"}).json()["results"]
    assert row["id"] == wanted.pk
    assert client_of().get(URL, {"market": "moon"}).status_code == 400


def test_instruments_cannot_be_written() -> None:
    instrument = make_instrument()
    client = client_of("superuser")
    assert client.post(URL, {}, format="json").status_code == 405
    assert client.patch(f"{URL}{instrument.pk}/", {}, format="json").status_code == 405
