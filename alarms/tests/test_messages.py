import ast
import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alarms import decoding, messages, secrets
from alarms.messages import Message, Unreadable, read_message, signal_digest
from market import intervals, symbols

# The three samples of the domain page, byte for byte.
GENERATION_1_KEYS = (
    b'{"Ticker":"BTCUSDT.PS","Temporalidad":"1","Quantity":"0.0073318072","Price_Alert":"68196.01",'
    b'"Time_Alert":"15:45:00_24/5/2024","Order":"open long","Strategy":"Stochastic_v1"}'
)
GENERATION_2 = (
    b'{"Ticker":"BTCUSDT.PS","Temporalidad":"5","Quantity":"0.01","Entry_Price_Alert":"68196.01","Exit_Price_Alert":"",'
    b'"Time_Alert":"2024-05-24 14:46:00","Order":"order open long","Strategy":"Stochastic_v1"}'
)
GENERATION_3 = (
    b'{"Ticker":"BTCUSDT","Interval":"1h","Quantity":"0.01","Price_Alert":"50000","Time_Alert":"2025-06-05T10:00:00Z",'
    b'"Order":"indicator open long","Strategy":"Stochastic_v1"}'
)
KEY_VALUE_TEXT = (
    b"Ticker: BTCUSDT.PS, Temporalidad: 1, Entry Price Alert: 68196.01, Time Alert: 15:45:00_24/5/2024, "
    b"Order: open long, Strategy: X"
)
PLAIN: dict[str, Any] = {
    "Ticker": "BTCUSDT.P",
    "Interval": "5",
    "Quantity": "0.01",
    "Price_Alert": "50000",
    "Time_Alert": "2025-06-05T10:00:00Z",
    "Order": "order open long",
    "Strategy": "Stochastic_v1",
}


def body(*without: str, **changed: Any) -> bytes:
    return json.dumps({key: value for key, value in (PLAIN | changed).items() if key not in without}).encode()


def refused(raw: bytes) -> Unreadable:
    with pytest.raises(Unreadable) as caught:
        read_message(raw)
    return caught.value


def test_the_first_generation_is_read() -> None:
    assert read_message(GENERATION_1_KEYS) == Message(
        kind="order",
        action="open",
        leg="long",
        ticker="BTCUSDT.PS",
        exchange_prefix="",
        pair="BTCUSDT",
        is_perpetual_only=True,
        interval="1m",
        strategy="Stochastic_v1",
        quantity=Decimal("0.0073318072"),
        price=Decimal("68196.01"),
        entry_price=None,
        exit_price=None,
        alarm_time=datetime(2024, 5, 24, 15, 45, tzinfo=UTC),
        extra={},
    )


def test_the_second_generation_is_read() -> None:
    message = read_message(GENERATION_2)
    assert (message.kind, message.action, message.leg, message.interval) == ("order", "open", "long", "5m")
    assert (message.price, message.entry_price, message.exit_price) == (None, Decimal("68196.01"), None)
    assert message.alarm_time == datetime(2024, 5, 24, 14, 46, tzinfo=UTC)


def test_the_third_generation_is_read() -> None:
    message = read_message(GENERATION_3)
    assert (message.kind, message.action, message.leg) == ("indicator", "open", "long")
    assert (message.ticker, message.pair, message.is_perpetual_only) == ("BTCUSDT", "BTCUSDT", False)
    assert (message.interval, message.price) == ("1h", Decimal(50000))


def test_keys_with_spaces_are_the_same_keys() -> None:
    raw = body(
        "Price_Alert",
        "Time_Alert",
        **{"Entry Price Alert": "1.5", "Exit Price Alert": "2", "Time Alert": "18:51:0_13/5/2024"},
    )
    message = read_message(raw)
    assert (message.entry_price, message.exit_price) == (Decimal("1.5"), Decimal(2))
    assert message.alarm_time == datetime(2024, 5, 13, 18, 51, tzinfo=UTC)


@pytest.mark.parametrize("separator", [b", ", b",", b"\n", b"\r\n", b",\n", b", \r\n", b" , "])
def test_key_value_text_is_read_whatever_parts_it(separator: bytes) -> None:
    message = read_message(KEY_VALUE_TEXT.replace(b", ", separator) + b"\n")
    assert (message.ticker, message.interval, message.strategy) == ("BTCUSDT.PS", "1m", "X")
    assert (message.entry_price, message.quantity, message.extra) == (Decimal("68196.01"), None, {})
    assert message.alarm_time == datetime(2024, 5, 24, 15, 45, tzinfo=UTC)


def test_key_value_text_keeps_commas_and_colons_inside_a_value() -> None:
    message = read_message(KEY_VALUE_TEXT + b", v2: a:b, c, 15:30, Comment: hello")
    assert message.strategy == "X"
    assert message.extra == {"v2": "a:b, c, 15:30", "Comment": "hello"}


def test_key_value_text_with_an_empty_optional_value_is_read() -> None:
    assert read_message(KEY_VALUE_TEXT.replace(b"68196.01", b"")).entry_price is None


@pytest.mark.parametrize(
    "raw",
    [
        b"hello, " + KEY_VALUE_TEXT,
        b"Price 5, at once",
        b"Comment: hello",
        b'"Ticker": "BTCUSDT"',
        b"{" + KEY_VALUE_TEXT + b"}",
    ],
)
def test_text_that_is_neither_dialect_is_not_json(raw: bytes) -> None:
    assert refused(raw).reason == "not_json"


def test_key_value_text_with_a_key_twice_is_refused() -> None:
    assert refused(KEY_VALUE_TEXT + b", Order: close long").reason == "duplicate_key"
    assert refused(KEY_VALUE_TEXT + b", ORDER: close long").reason == "duplicate_key"


def test_numbers_are_read_beside_strings() -> None:
    as_numbers = read_message(body(Interval=5, Quantity=0.01, Price_Alert=50000, Strategy=7))
    assert as_numbers == read_message(body(Interval="5", Quantity="0.01", Price_Alert="50000", Strategy="7"))


@pytest.mark.parametrize(
    ("words", "meaning"),
    [
        ("order open long", ("order", "open", "long")),
        ("order close long", ("order", "close", "long")),
        ("order open short", ("order", "open", "short")),
        ("order close short", ("order", "close", "short")),
        ("indicator open long", ("indicator", "open", "long")),
        ("indicator close long", ("indicator", "close", "long")),
        ("indicator open short", ("indicator", "open", "short")),
        ("indicator close short", ("indicator", "close", "short")),
        ("open long", ("order", "open", "long")),
        ("close short", ("order", "close", "short")),
        ("OpenShort", ("order", "open", "short")),
        ("Close Long", ("order", "close", "long")),
        ("ORDER OPEN LONG", ("order", "open", "long")),
        ("  Order   Open  Long ", ("order", "open", "long")),
        ("IndicatorCloseShort", ("indicator", "close", "short")),
        ("indicator OpenLong", ("indicator", "open", "long")),
    ],
)
def test_order_words_are_read_in_any_case(words: str, meaning: tuple[str, str, str]) -> None:
    message = read_message(body(Order=words))
    assert (message.kind, message.action, message.leg) == meaning


@pytest.mark.parametrize(
    "words",
    [
        "buy",
        "open",
        "long",
        "open long short",
        "long open",
        "order",
        "orders open long",
        "ope nlong",
        "open-long",
        "exit long",
        "open l\u043eng",
        "order indicator open long",
        "openlong openlong",
    ],
)
def test_other_order_words_are_refused(words: str) -> None:
    error = refused(body(Order=words))
    assert (error.reason, error.key) == ("unknown_order", "Order")
    assert words in error.detail


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("15:45:00_24/5/2024", datetime(2024, 5, 24, 15, 45)),
        ("18:51:0_13/5/2024", datetime(2024, 5, 13, 18, 51)),
        ("1:2:3_4/12/2025", datetime(2025, 12, 4, 1, 2, 3)),
        ("2024-05-24 14:46:00", datetime(2024, 5, 24, 14, 46)),
        ("2024-05-24T14:46:00", datetime(2024, 5, 24, 14, 46)),
        ("2025-06-05T10:00:00Z", datetime(2025, 6, 5, 10)),
        ("2025-06-05T10:00:00.5Z", datetime(2025, 6, 5, 10, microsecond=500_000)),
        ("2025-06-05T10:00:00.123456789Z", datetime(2025, 6, 5, 10, microsecond=123_456)),
        ("2025-06-05T10:00:00+00:00", datetime(2025, 6, 5, 10)),
        ("2025-06-05T10:00:00-03:30", datetime(2025, 6, 5, 13, 30)),
        ("2025-06-05T10:00:00+0200", datetime(2025, 6, 5, 8)),
        (" 2025-06-05T10:00:00Z ", datetime(2025, 6, 5, 10)),
        ("2000-01-01T00:00:00Z", datetime(2000, 1, 1)),
        ("2100-12-31T23:59:59Z", datetime(2100, 12, 31, 23, 59, 59)),
        ("2024-02-29T00:00:00Z", datetime(2024, 2, 29)),
    ],
)
def test_every_form_of_time_is_read_as_utc(text: str, moment: datetime) -> None:
    message = read_message(body(Time_Alert=text))
    assert message.alarm_time == moment.replace(tzinfo=UTC)
    assert message.alarm_time.tzinfo is UTC


@pytest.mark.parametrize("key", ["Ticker", "Interval", "Time_Alert", "Order"])
@pytest.mark.parametrize("value", ["", "   ", None])
def test_a_required_key_that_is_missing_or_empty_is_named(key: str, value: str | None) -> None:
    for raw in (body(key), body(**{key: value})):
        error = refused(raw)
        assert (error.reason, error.key) == ("missing_key", key)
        assert key in error.detail


@pytest.mark.parametrize("value", ["", "  ", None])
def test_an_optional_key_that_is_empty_is_absent(value: str | None) -> None:
    optional = ("Quantity", "Price_Alert", "Entry_Price_Alert", "Exit_Price_Alert", "Strategy")
    empty = read_message(body(**dict.fromkeys(optional, value)))
    assert empty == read_message(body(*optional))
    assert (empty.quantity, empty.price, empty.entry_price, empty.exit_price, empty.strategy) == (
        None,
        None,
        None,
        None,
        "",
    )


def test_interval_and_temporalidad_may_agree_and_must_not_differ() -> None:
    assert read_message(body(Interval="60", Temporalidad="1h")).interval == "1h"
    assert read_message(body(Interval="", Temporalidad="1h")).interval == "1h"
    error = refused(body(Interval="60", Temporalidad="5"))
    assert error.reason == "conflicting_keys"
    assert "1h" in error.detail
    assert "5m" in error.detail


@pytest.mark.parametrize("text", ["30S", "45", "m", "2D", "{}", "5.0", "1e1"])
def test_an_interval_without_candles_is_refused(text: str) -> None:
    assert refused(body(Interval=text)).reason == "unknown_interval"


@pytest.mark.parametrize(
    ("key", "other"),
    [("Price_Alert", "price alert"), ("Order", "ORDER"), ("Time_Alert", "timeAlert"), ("Ticker", "Tic-ker")],
)
def test_two_spellings_of_a_known_key_are_refused(key: str, other: str) -> None:
    error = refused(body(**{other: PLAIN[key]}))
    assert error.reason == "duplicate_key"
    assert key in error.detail


def test_unknown_keys_are_kept_and_numbers_in_them_stay_exact() -> None:
    raw = (
        body()[:-1]
        + b', "Comment": "a\\nb", "price": 0.30000000000000004, "Deep": {"x": [1, true, null]}, "PRICE": "x"}'
    )
    assert read_message(raw).extra == {
        "Comment": "a\nb",
        "price": "0.30000000000000004",
        "Deep": {"x": ["1", True, None]},
        "PRICE": "x",
    }


@pytest.mark.parametrize("key", ["secret", "Token", "PASSPHRASE"])
def test_the_secret_is_never_kept(key: str) -> None:
    assert read_message(body(**{key: "hunter2"})).extra == {}
    assert read_message(KEY_VALUE_TEXT + f", {key}: hunter2".encode()).extra == {}


@pytest.mark.parametrize("order", ["order close long", "indicator open long", "indicator close short"])
def test_a_quantity_of_zero_loses_no_close_and_no_indicator(order: str) -> None:
    assert read_message(body(Order=order, Quantity="0")).quantity is None


def test_a_quantity_of_zero_is_no_entry() -> None:
    assert refused(body(Quantity="0.000")).reason == "bad_number"


@pytest.mark.parametrize("key", ["Price_Alert", "Entry_Price_Alert", "Exit_Price_Alert"])
def test_a_price_of_zero_is_refused(key: str) -> None:
    for zero in ("0", "0.000", 0, "0.0000000000009"):
        error = refused(body(Order="order close long", **{key: zero}))
        assert (error.reason, error.key) == ("bad_number", key)


def test_decimals_past_the_twelfth_are_cut_and_never_rounded_up() -> None:
    message = read_message(body(Quantity="0.99999999999999", Price_Alert=0.1 + 0.2))
    assert (message.quantity, message.price) == (Decimal("0.999999999999"), Decimal("0.3"))


def test_the_largest_number_keeps_every_digit() -> None:
    assert str(read_message(body(Price_Alert="9999999999999999.999999999999")).price) == "9999999999999999.999999999999"


@pytest.mark.parametrize("value", [True, False, [], ["x"], {}, {"a": "b"}])
@pytest.mark.parametrize("key", [*PLAIN, "Temporalidad", "Exit_Price_Alert"])
def test_a_known_key_of_another_type_is_refused(key: str, value: Any) -> None:
    error = refused(body(**{key: value}))
    assert (error.reason, error.key) == ("bad_type", key)


@pytest.mark.parametrize("key", list(PLAIN))
def test_a_placeholder_that_was_not_filled_in_is_named(key: str) -> None:
    error = refused(body(**{key: "{{strategy.order.price}}"}))
    assert (error.reason, error.key) == ("placeholder_left", key)
    assert "{{strategy.order.price}}" in error.detail


def test_a_bare_placeholder_that_breaks_the_json_is_named() -> None:
    error = refused(b'{"Ticker": "BTCUSDT", "Quantity": {{strategy.order.contracts}}}')
    assert error.reason == "placeholder_left"
    assert "{{strategy.order.contracts}}" in error.detail


@pytest.mark.parametrize("hole", [b"", b"na", b"-", b"undefined"])
def test_a_value_that_breaks_the_json_names_its_key(hole: bytes) -> None:
    error = refused(b'{"Ticker": "BTCUSDT", "Order": "open long", "Quantity": ' + hole + b', "Strategy": "hunter2"}')
    assert error.reason == "not_json"
    assert "hunter2" not in error.detail
    assert (error.key, "after the key Quantity" in error.detail) == ("Quantity", True)


def test_json_that_breaks_elsewhere_names_the_place() -> None:
    assert refused(b'{"Ticker": "BTCUSDT"\n "Order": "open long"}').detail.endswith("at line 2, character 2.")


@pytest.mark.parametrize("key", list(PLAIN))
@pytest.mark.parametrize(
    "character", ["\n", "\t", "\r", "\x1b", "\x7f", "\u200b", "\u202e", "\u2028", "\u00a0", "\ufeff"]
)
def test_invisible_characters_in_a_known_key_are_refused(key: str, character: str) -> None:
    error = refused(body(**{key: PLAIN[key] + character + "1"}))
    assert (error.reason, error.key) == ("control_character", key)
    assert error.detail.isprintable()


def test_known_keys_have_a_longest_value() -> None:
    assert refused(body(Ticker="B" * 1_025)).reason == "too_long"
    assert refused(body(Strategy="s" * 101)).reason == "too_long"
    assert read_message(body(Strategy="s" * 100, Comment="c" * 5_000)).strategy == "s" * 100


@pytest.mark.parametrize("exchange", ["BINANCE_DL", "BINANCE_DLY", "binance_dly"])
def test_delayed_data_is_refused(exchange: str) -> None:
    assert refused(body(Ticker=f"{exchange}:BTCUSDT")).reason == "delayed_data"
    assert refused(body(Exchange=exchange)).reason == "delayed_data"


def test_an_exchange_before_the_ticker_is_kept_apart() -> None:
    message = read_message(body(Ticker=" bingx:btcusdt.p "))
    assert (message.exchange_prefix, message.ticker, message.pair) == ("BINGX", "BTCUSDT.P", "BTCUSDT")


def test_an_error_says_key_value_and_what_is_expected_on_one_short_line() -> None:
    error = refused(body(Quantity="1,000.5" + "x" * 500))
    assert error.detail.startswith("Quantity is '1,000.5xxx")
    assert "is expected" in error.detail
    assert "x" * 61 not in error.detail
    assert str(error) == f"bad_number: {error.detail}"


def test_an_error_survives_a_queue() -> None:
    error = refused(b"")
    again = pickle.loads(pickle.dumps(error))
    assert (again.reason, again.detail, again.key) == (error.reason, error.detail, error.key)


def test_the_reader_imports_no_framework() -> None:
    for module in (decoding, messages, secrets, intervals, symbols):
        tree = ast.parse(Path(str(module.__file__)).read_text())
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not {name for name in imported if name.split(".")[0] in {"django", "rest_framework", "celery"}}


# The digest of a signal


def test_the_digest_ignores_spelling_and_key_order() -> None:
    digest = signal_digest(read_message(body()))
    shuffled = json.dumps(dict(reversed(PLAIN.items())), indent=3).encode()
    respelled = body("Interval", "Time_Alert", Temporalidad=5, Quantity="0.0100", Order="OpenLong", Ticker="btcusdt.p")
    respelled = respelled.replace(b'"Price_Alert"', b'"price alert"')[:-1] + b', "Time Alert": "10:0:0_5/6/2025"}'
    assert len(digest) == 64
    assert signal_digest(read_message(shuffled)) == signal_digest(read_message(respelled)) == digest


@pytest.mark.parametrize(
    "change",
    [
        {"alarm_time": datetime(2025, 6, 5, 10, 5, tzinfo=UTC)},
        {"action": "close"},
        {"leg": "short"},
        {"kind": "indicator"},
        {"quantity": Decimal("0.02")},
        {"quantity": None},
        {"price": Decimal("50000.1")},
        {"entry_price": Decimal(50000)},
        {"exit_price": Decimal(50000)},
        {"extra": {"order_id": "long 2"}},
        {"interval": "1h"},
        {"strategy": "Stochastic_v2"},
        {"ticker": "BTCUSDT"},
        {"exchange_prefix": "BINGX"},
    ],
)
def test_the_digest_differs_when_the_meaning_does(change: dict[str, Any]) -> None:
    message = read_message(body())
    assert signal_digest(replace(message, **change)) != signal_digest(message)


def test_the_digest_of_moved_prices_differs() -> None:
    message = replace(read_message(body()), price=None)
    entry, leave = replace(message, entry_price=Decimal(5)), replace(message, exit_price=Decimal(5))
    assert signal_digest(entry) != signal_digest(leave)


# What holds for every message

numbers = st.decimals("0.000000000001", "9999999999999999", places=12).map(lambda number: f"{number:f}")
times: dict[str, Callable[[datetime], str]] = {
    "day last": lambda moment: (
        f"{moment.hour}:{moment.minute}:{moment.second}_{moment.day}/{moment.month}/{moment.year}"
    ),
    "blank": lambda moment: f"{moment:%Y-%m-%d %H:%M:%S}",
    "iso": lambda moment: f"{moment:%Y-%m-%dT%H:%M:%SZ}",
}


@given(quantity=numbers, price=numbers)
def test_a_number_comes_out_as_it_went_in(quantity: str, price: str) -> None:
    message = read_message(body(Quantity=quantity, Price_Alert=price))
    assert (f"{message.quantity:f}", f"{message.price:f}") == (quantity, price)


@pytest.mark.parametrize("form", times)
@given(moment=st.datetimes(datetime(2000, 1, 1), datetime(2100, 12, 31)))
def test_a_time_comes_out_as_it_went_in(form: str, moment: datetime) -> None:
    whole = moment.replace(microsecond=0, tzinfo=UTC)
    assert read_message(body(Time_Alert=times[form](whole))).alarm_time == whole


@given(hours=st.integers(-14, 14), moment=st.datetimes(datetime(2001, 1, 1), datetime(2100, 1, 1)))
def test_an_offset_is_taken_away(hours: int, moment: datetime) -> None:
    there = f"{moment:%Y-%m-%dT%H:%M:%S}{'-' if hours < 0 else '+'}{abs(hours):02}:00"
    expected = (moment - timedelta(hours=hours)).replace(microsecond=0, tzinfo=UTC)
    assert read_message(body(Time_Alert=there)).alarm_time == expected
