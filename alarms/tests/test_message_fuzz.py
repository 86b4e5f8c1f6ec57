"""Whatever the bytes: reading gives a message or `Unreadable`, and what it gives fits where it is stored."""

import json
import re
from datetime import UTC
from decimal import Decimal
from typing import Any, get_args

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from alarms.messages import Message, Reason, Unreadable, read_message, signal_digest, take_secret
from alarms.tests.test_messages import GENERATION_1_KEYS, GENERATION_2, GENERATION_3, KEY_VALUE_TEXT, PLAIN
from market.intervals import INTERVALS

SAMPLES = (GENERATION_1_KEYS, GENERATION_2, GENERATION_3, KEY_VALUE_TEXT, GENERATION_3[:-1] + b',"secret":"abc"}')
TOKENS = [
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b":",
    b",",
    b"\\",
    b"\\u",
    b"d800",
    b"0",
    b"-",
    b".",
    b"e9",
    b"NaN",
    b"null",
    b"true",
]
TOKENS += [
    b"Ticker",
    b"Order",
    b"Interval",
    b"Time Alert",
    b"Quantity",
    b"secret",
    b"token: ",
    b"open long",
    b" ",
    b"\n",
    b"\0",
]
TOKENS += [
    b"\xff",
    b"\xc3",
    "\N{LATIN SMALL LETTER E WITH ACUTE}".encode(),
    "\u202e".encode(),
    b"{{",
    b"}}",
    b"2025-06-05T10:00:00Z",
]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
times = st.from_regex(r"\A[0-9]{1,4}[-:]\d\d?[-:]\d\d?[T _]\d\d?[:/]\d\d?[:/][0-9]{1,4}(Z|\.\d+Z|[+-]\d\d:\d\d)?\Z")
plausible: dict[str, st.SearchStrategy[Any]] = {
    "Ticker": st.from_regex(r"\A([A-Z0-9_]+:)?[A-Z0-9]+(\.PS?|_?PERP)?\Z", fullmatch=True),
    "Interval": st.sampled_from(["1", "60", "D", "1M", "45", 5]),
    "Quantity": st.from_regex(r"\A-?[0-9]{1,18}(\.[0-9]{0,22})?(e[0-9]+)?\Z") | st.floats() | st.integers(),
    "Price_Alert": st.from_regex(r"\A[0-9]{1,18}(\.[0-9]{0,22})?\Z") | st.floats() | st.integers(),
    "Time_Alert": times | st.sampled_from(["2025-06-05T10:00:00Z", "15:45:00_24/5/2024"]),
    "Order": st.sampled_from(["open long", "CloseShort", "indicator open short", "buy"]),
    "Strategy": st.text(max_size=120),
}
near_messages = st.fixed_dictionaries({}, optional={key: value | json_values for key, value in plausible.items()}).map(
    lambda changed: json.dumps(PLAIN | changed).encode()
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Return a real message with a few stretches cut out or replaced."""
    raw = draw(st.sampled_from(SAMPLES))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(raw)))
        length = draw(st.integers(0, 12))
        raw = raw[:start] + draw(st.binary(max_size=4) | st.sampled_from(TOKENS)) + raw[start + length :]
    return raw


def judge(raw: bytes) -> None:
    """Read the body and check everything that whoever stores the outcome relies on."""
    secret, masked = take_secret(raw)
    assert secret is None or secret.encode()
    assert isinstance(masked, bytes)
    for text in (raw, masked):
        outcome = read(text)
        if isinstance(outcome, Message):
            judge_message(outcome)
        else:
            judge_error(outcome)


def read(raw: bytes) -> Message | Unreadable:
    try:
        return read_message(raw)
    except Unreadable as error:
        return error


def judge_error(error: Unreadable) -> None:
    assert error.reason in get_args(Reason)
    assert error.detail.isprintable()
    assert error.key.isprintable()
    assert 10 < len(error.detail) < 400


def judge_message(message: Message) -> None:
    assert message.kind in {"order", "indicator"}
    assert message.action in {"open", "close"}
    assert message.leg in {"long", "short"}
    assert re.fullmatch(r"[A-Z0-9][A-Z0-9_.!-]{1,31}", message.ticker)
    assert message.pair
    assert message.interval in INTERVALS
    assert message.strategy.isprintable()
    assert len(message.strategy) <= 100
    assert message.alarm_time.tzinfo is UTC
    assert 2000 <= message.alarm_time.year <= 2100
    for number in (message.quantity, message.price, message.entry_price, message.exit_price):
        # DecimalField(max_digits=28, decimal_places=12) without rounding
        assert number is None or (0 < number < 10**16 and number == number.quantize(Decimal("1e-12")))
    json.dumps(message.extra, ensure_ascii=False, allow_nan=False).encode()
    assert signal_digest(message) == signal_digest(message)


@given(st.binary(max_size=300))
@example(b"\xef\xbb\xbf{}")
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    judge(raw)


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    judge(text.encode("utf-8", "surrogatepass"))


@given(st.lists(st.sampled_from(TOKENS), max_size=80).map(b"".join))
def test_any_heap_of_tokens_is_read_or_refused(raw: bytes) -> None:
    judge(raw)


@given(json_values)
def test_any_json_is_read_or_refused(value: Any) -> None:
    judge(json.dumps(value).encode())


@settings(max_examples=300)
@given(near_messages)
def test_any_value_of_a_known_key_is_read_or_refused(raw: bytes) -> None:
    judge(raw)


@settings(max_examples=300)
@given(damaged())
def test_any_damage_to_a_real_message_is_read_or_refused(raw: bytes) -> None:
    judge(raw)


@pytest.mark.parametrize("raw", SAMPLES)
def test_a_message_cut_anywhere_is_read_or_refused(raw: bytes) -> None:
    for length in range(len(raw)):
        judge(raw[:length])


@pytest.mark.parametrize("raw", SAMPLES)
def test_the_undamaged_samples_are_read(raw: bytes) -> None:
    judge_message(read_message(raw))


@given(st.permutations(list(PLAIN)), st.booleans())
def test_the_order_of_keys_and_the_blanks_between_them_mean_nothing(keys: list[str], indented: bool) -> None:
    raw = json.dumps({key: PLAIN[key] for key in keys}, indent=2 if indented else None).encode()
    assert read_message(raw) == read_message(json.dumps(PLAIN).encode())
