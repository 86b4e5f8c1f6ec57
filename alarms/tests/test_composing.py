"""What is pasted into TradingView is what Pelusa understands."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from alarms.composing import Template, filled_in, templates_of
from alarms.messages import Unreadable, read_message
from market.intervals import INTERVALS, from_tradingview, to_tradingview
from strategies.models import Leg, Strategy

AT = datetime(2026, 11, 26, 10, 0, 7, tzinfo=UTC)
STRATEGY = Strategy(name="Mine", alarm_name='Stochastic "v1" ñ', ticker="BTCUSDT.P", symbol="BTC-USDT")


def leg(name: str = "long", **columns: str) -> Leg:
    return Leg(name=name, entry_interval="5m", close_interval="15m", **columns)


def templates(*legs: Leg) -> list[Template]:
    return templates_of(STRATEGY, legs)


def test_a_leg_without_gates_waits_for_an_entry_and_a_close_each_on_its_interval() -> None:
    assert [(each.order, each.interval) for each in templates(leg())] == [
        ("order open long", "5m"),
        ("order close long", "15m"),
    ]


def test_gates_are_alerts_of_their_own() -> None:
    gated = leg("short", entry_confirmation_interval="1h", close_confirmation_interval="1d")
    found = [(each.order, each.interval) for each in templates(gated) if each.is_gate]
    assert found == [("indicator open short", "1h"), ("indicator close short", "1d")]


def test_every_message_is_understood_as_what_it_asks_for() -> None:
    gates = {"entry_confirmation_interval": "4h", "close_confirmation_interval": "1M"}
    for template in templates(leg(**gates), leg("short", sizing=Leg.Sizing.ALARM, **gates)):
        message = read_message(filled_in(template, "BTCUSDT.P", Decimal("50000.10"), AT).encode())
        assert f"{message.kind} {message.action} {message.leg}" == template.order
        assert (message.interval, message.strategy, message.pair) == (
            template.interval,
            STRATEGY.alarm_name,
            "BTCUSDT",
        )
        assert (message.price, message.alarm_time) == (Decimal("50000.10"), AT)


def test_placeholders_stay_for_tradingview_and_are_refused_when_it_did_not_fill_them_in() -> None:
    [entry, _] = templates(leg())
    assert json.loads(entry.text)["Time_Alert"] == "{{timenow}}"
    with pytest.raises(Unreadable):
        read_message(entry.text.encode())


def test_a_quantity_is_asked_for_only_where_the_alarm_decides_it() -> None:
    by_alarm = [("Quantity" in json.loads(each.text)) for each in templates(leg(sizing=Leg.Sizing.ALARM))]
    assert by_alarm == [True, False]
    assert not any("Quantity" in each.text for each in templates(leg()))


def test_without_a_known_price_none_is_made_up() -> None:
    assert "Price_Alert" not in filled_in(templates(leg())[0], "BTCUSDT.P", None, AT)


@pytest.mark.parametrize("interval", INTERVALS)
def test_tradingviews_spelling_comes_back_as_ours(interval: str) -> None:
    assert from_tradingview(to_tradingview(interval)) == interval
