"""Instruments in the back office: read-only, found by symbol or coin."""

from decimal import Decimal

import pytest
from django.urls import reverse

from market.models import Instrument
from pelusa.testing import DATABASES
from pelusa.tests.browsing import browser_of, page
from pelusa.tests.making import make_instrument

pytestmark = pytest.mark.django_db(databases=DATABASES)

LIST = reverse("admin:market_instrument_changelist")


def test_an_instrument_is_found_by_symbol_and_by_coin() -> None:
    make_instrument("BTC-USDT")
    make_instrument("ETH-USDT")
    browser = browser_of("viewer")
    for words in ("BTC-USDT", "btc"):
        text = page(browser, LIST, q=words)
        assert "BTC-USDT" in text
        assert "ETH-USDT" not in text


def test_steps_are_shown_as_the_exchange_writes_them() -> None:
    make_instrument(step_size="0.0001")
    text = page(browser_of("viewer"), LIST)
    assert "0.0001" in text
    assert "0.000100000000" not in text


def test_a_row_of_the_exchanges_list_is_not_ours_to_change() -> None:
    instrument = make_instrument()
    browser = browser_of("operator")
    url = reverse("admin:market_instrument_change", args=[instrument.pk])
    assert "0.0001" in page(browser, url)
    assert browser.post(url, {"step_size": "1"}).status_code == 403
    assert Instrument.objects.get().step_size == Decimal("0.0001")
