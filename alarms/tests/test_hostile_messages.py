"""The hostile corpus (H01 to H60) as far as it concerns the body: each is refused with its reason, or read as it must.

What the content type says (H04 to H09) never reaches the reader; sizes past the door's limit are answered cheaply too.
"""

import json
import time
from decimal import Decimal
from typing import Any

import pytest

from alarms.messages import Message, Unreadable, read_message, take_secret
from alarms.tests.test_messages import GENERATION_3, PLAIN, body

BOM = b"\xef\xbb\xbf"
GOOD = body()


def with_member(raw: bytes) -> bytes:
    """Return the plain message with one more member, as raw bytes."""
    return GOOD[:-1] + b", " + raw + b"}"


def with_value(key: str, raw: str) -> bytes:
    """Return the plain message with the raw JSON text as one key's value."""
    return body(**{key: "@"}).replace(b'"@"', raw.encode())


REFUSED: list[tuple[str, bytes, str]] = [
    ("H01 empty body", b"", "empty_body"),
    ("H02 spaces only", b" \t\r\n ", "empty_body"),
    ("H03 a word", b"hello", "not_json"),
    ("H05 a sentence", b"BTC crossed 50000, look: now", "not_json"),
    ("H07 a form", b"Ticker=BTCUSDT&Order=open+long", "not_json"),
    ("H07 XML", b'<?xml version="1.0"?><Ticker>BTCUSDT</Ticker>', "not_json"),
    ("H07 multipart", b'--x\r\nContent-Disposition: form-data; name="Ticker"\r\n\r\nBTCUSDT\r\n--x--', "not_json"),
    ("H09 utf-7", GOOD.replace(b"{", b"+AHs-"), "not_json"),
    ("H10 utf-16", GOOD.decode().encode("utf-16"), "not_utf8"),
    ("H10 utf-16 without mark", GOOD.decode().encode("utf-16-le"), "control_character"),
    ("H11 byte order mark", BOM + GOOD, "not_utf8"),
    ("H11 byte order mark inside", GOOD.replace(b", ", b", " + BOM, 1), "not_json"),
    ("H12 latin-1", body(Strategy="@").replace(b"@", b"\xe9"), "not_utf8"),
    ("H12 cut multibyte", body(Strategy="@").replace(b"@", b"\xe2\x82"), "not_utf8"),
    ("H12 overlong", body(Strategy="@").replace(b"@", b"\xc0\xaf"), "not_utf8"),
    ("H13 raw surrogate", body(Strategy="@").replace(b"@", b"\xed\xa0\x80"), "not_utf8"),
    ("H14 lone surrogate in a known key", with_value("Strategy", '"\\ud800"'), "control_character"),
    ("H14 lone surrogate in an extra key", with_member(b'"Comment": "\\udfff"'), "control_character"),
    ("H14 lone surrogate in a key", with_member(b'"\\ud800": "x"'), "control_character"),
    ("H14 lone surrogate deep inside", with_member(b'"a": [{"b": "\\ud83d"}]'), "control_character"),
    ("H14 lone surrogate in the token", with_member(b'"token": "\\ud800"'), "control_character"),
    ("H15 NUL escape", with_value("Strategy", '"a\\u0000b"'), "control_character"),
    ("H15 NUL escape in an extra key", with_member(b'"Comment": "\\u0000"'), "control_character"),
    ("H15 raw NUL", body(Strategy="@").replace(b"@", b"\0"), "control_character"),
    ("H15 raw NUL behind", GOOD + b"\0", "control_character"),
    ("H16 truncated", GOOD[:-1], "not_json"),
    ("H16 truncated in a string", GOOD[:-3], "not_json"),
    ("H16 trailing comma", GOOD[:-1] + b",}", "not_json"),
    ("H16 comment", b"/* x */" + GOOD, "not_json"),
    ("H16 line comment", GOOD + b"// x", "not_json"),
    ("H16 single quotes", GOOD.replace(b'"', b"'"), "not_json"),
    ("H16 JSON5", b"{Ticker: 'BTCUSDT', Order: 'open long'}", "not_json"),
    ("H16 plus sign", with_value("Quantity", "+1"), "not_json"),
    ("H16 hexadecimal", with_value("Quantity", "0x10"), "not_json"),
    ("H16 leading zero", with_value("Quantity", "01"), "not_json"),
    ("H16 raw line break in a string", body(Strategy="@").replace(b"@", b"a\nb"), "not_json"),
    ("H17 two objects", GOOD + GOOD, "not_json"),
    ("H17 NDJSON", GOOD + b"\n" + GOOD, "not_json"),
    ("H17 trailing garbage", GOOD + b"x", "not_json"),
    ("H18 list", b"[]", "not_an_object"),
    ("H18 list of one alert", b"[" + GOOD + b"]", "not_an_object"),
    ("H18 string", b'"open long"', "not_an_object"),
    ("H18 number", b"5", "not_an_object"),
    ("H18 true", b"true", "not_an_object"),
    ("H18 null", b"null", "not_an_object"),
    ("H18 empty object", b"{}", "missing_key"),
    ("H19 array of 1,000 alerts", b"[" + b",".join([GOOD] * 1_000) + b"]", "too_many_keys"),
    ("H20 duplicate key", with_member(b'"Price_Alert": "999"'), "duplicate_key"),
    ("H20 duplicate key, escaped", with_member(b'"Price\\u005fAlert": "999"'), "duplicate_key"),
    ("H20 duplicate unknown key", with_member(b'"a": 1, "a": 2'), "duplicate_key"),
    ("H20 duplicate key deep inside", with_member(b'"a": {"b": 1, "b": 1}'), "duplicate_key"),
    ("H21 duplicate token", with_member(b'"token": "good", "token": "bad"'), "duplicate_key"),
    ("H22 equal but for case", with_member(b'"PRICE_ALERT": "999"'), "duplicate_key"),
    ("H22 equal but for spaces", with_member(b'"Price Alert": "999"'), "duplicate_key"),
    (
        "H22 equal after NFKC",
        with_member('"\N{FULLWIDTH LATIN CAPITAL LETTER O}rder": "close long"'.encode()),
        "duplicate_key",
    ),
    ("H22 equal after casefold", with_member('"\N{LATIN SMALL LETTER LONG S}trategy": "x"'.encode()), "duplicate_key"),
    ("H24 placeholder", body(Price_Alert="{{close}}"), "placeholder_left"),
    ("H24 order placeholder", body(Order="order {{strategy.order.action}} long"), "placeholder_left"),
    ("H24 bare placeholder", with_value("Quantity", "{{strategy.order.contracts}}"), "placeholder_left"),
    ("H25 NaN", with_value("Quantity", "NaN"), "bad_number"),
    ("H25 Infinity", with_value("Quantity", "Infinity"), "bad_number"),
    ("H25 -Infinity", with_value("Quantity", "-Infinity"), "bad_number"),
    ("H25 NaN in an extra key", with_member(b'"a": [NaN]'), "bad_number"),
    ("H31 4,299 digits", with_value("Quantity", "1" * 1_024 + "0" * 3_275), "too_long"),
    ("H31 4,301 digits", with_value("Quantity", "9" * 4_301), "too_long"),
    ("H46 900 deep", with_member(b'"a": ' + b"[" * 900 + b"]" * 900), "too_deep"),
    ("H46 one too deep", with_member(b'"a": [[[[]]]]'), "too_deep"),
    ("H46 deep behind strings with brackets", with_member(b'"a": "\\"]]]]", "b": [[[["]"]]]]'), "too_deep"),
    ("H47 list 100,000 deep", b"[" * 100_000 + b"]" * 100_000, "too_deep"),
    ("H47 object 100,000 deep", b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "too_many_keys"),
    ("H47 1,000,000 brackets", b"[" * 1_000_000, "too_deep"),
    ("H47 1,000,000 braces", b"{" * 1_000_000, "too_deep"),
    ("H48 200,000 keys", json.dumps({f"k{number}": 1 for number in range(65_000)}).encode(), "too_many_keys"),
    ("H48 65 keys", json.dumps(PLAIN | {f"k{number}": 1 for number in range(60)}).encode(), "too_many_keys"),
    ("H48 200,000 values", with_member(b'"a": [' + b"1," * 200_000 + b"1]"), "too_many_values"),
    ("H49 1 MB string", body(Strategy="x" * 1_000_000), "too_long"),
    ("H50 ticker of 1 character", body(Ticker="B"), "bad_ticker"),
    ("H50 ticker of 33 characters", body(Ticker="B" * 33), "bad_ticker"),
    ("H50 ticker of 10,000 characters", body(Ticker="B" * 10_000), "too_long"),
    ("H51 right-to-left override", body(Ticker="BTC\u202eUSDT"), "control_character"),
    ("H51 zero width", body(Ticker="BTC\u200bUSDT"), "control_character"),
    ("H51 homoglyph", body(Ticker="\N{CYRILLIC CAPITAL LETTER VE}TCUSDT"), "bad_ticker"),
    ("H51 letter that grows plain in upper case", body(Ticker="B\N{LATIN SMALL LETTER LONG S}CUSDT"), "bad_ticker"),
    ("H51 combining mark", body(Ticker="BTC\u0301USDT"), "bad_ticker"),
    ("H51 emoji", body(Ticker="BTC\U0001f680"), "bad_ticker"),
    ("H51 full width", body(Ticker="\uff22TCUSDT"), "bad_ticker"),
    ("H52 line break and a false log line", body(Ticker="BTC\r\n2026-01-01 order filled"), "control_character"),
    ("H52 escape sequence", body(Ticker="BTC\x1b[31m"), "control_character"),
    ("H52 line separator", body(Ticker="BTC\u2028USDT"), "control_character"),
    ("H53 path", body(Ticker="../../etc"), "bad_ticker"),
    ("H53 percent", body(Ticker="BTC%00"), "bad_ticker"),
    ("H53 look-up", body(Ticker="${jndi:ldap://x}"), "bad_ticker"),
    ("H53 template", body(Ticker="{{7*7}}"), "placeholder_left"),
    ("H53 format", body(Ticker="{0.__class__}"), "bad_ticker"),
    ("H54 SQL", body(Ticker="' OR 1=1 --"), "bad_ticker"),
    ("H54 SQL drop", body(Ticker='"; DROP TABLE alarms'), "bad_ticker"),
    ("H54 backslash", body(Ticker="BTC\\"), "bad_ticker"),
    ("H54 backtick", body(Ticker="`BTC`"), "bad_ticker"),
    ("H57 delayed exchange", body(Ticker="NASDAQ_DLY:AAPL"), "delayed_data"),
    ("H57 delayed exchange in its own key", body(exchange="CME_MINI_DL"), "delayed_data"),
    *[
        (f"H58 {word!a}", body(Order=word), "unknown_order")
        for word in ("BUY ", "buy", "Buy", "long", "sell", "open long short")
    ],
    ("H58 another alphabet", body(Order="\u043a\u0443\u043f\u0438\u0442\u044c"), "unknown_order"),
    ("H59 epoch seconds", with_value("Time_Alert", "1749117600"), "bad_time"),
    ("H59 epoch milliseconds", body(Time_Alert="1749117600000"), "bad_time"),
    ("H59 second 60", body(Time_Alert="2025-06-30T23:59:60Z"), "bad_time"),
    ("H59 hour 24", body(Time_Alert="2025-06-30T24:00:00Z"), "bad_time"),
    ("H59 30 February", body(Time_Alert="2025-02-30T00:00:00Z"), "bad_time"),
    ("H59 30 February, day first", body(Time_Alert="10:00:00_30/2/2025"), "bad_time"),
    ("H59 29 February of no leap year", body(Time_Alert="2025-02-29T00:00:00Z"), "bad_time"),
    ("H59 month first", body(Time_Alert="10:00:00_2/13/2025"), "bad_time"),
    ("H59 year 1", body(Time_Alert="0001-01-01T00:00:00+14:00"), "bad_time"),
    ("H59 year 0", body(Time_Alert="0000-01-01T00:00:00Z"), "bad_time"),
    ("H59 year 9999", body(Time_Alert="9999-12-31T23:59:59-14:00"), "bad_time"),
    ("H59 year 1999", body(Time_Alert="1999-12-31T23:59:59Z"), "bad_time"),
    ("H59 year 2101", body(Time_Alert="2101-01-01T00:00:00Z"), "bad_time"),
    ("H59 out of the years by its offset", body(Time_Alert="2000-01-01T00:00:00+01:00"), "bad_time"),
    ("H59 impossible offset", body(Time_Alert="2025-06-05T10:00:00+25:00"), "bad_time"),
    ("H59 a zone's name", body(Time_Alert="2025-06-05T10:00:00 America/Chicago"), "bad_time"),
    ("H59 date alone", body(Time_Alert="2025-06-05"), "bad_time"),
    ("H59 other digits", body(Time_Alert="\u0662\u0660\u0662\u0665-06-05T10:00:00Z"), "bad_time"),
    ("H60 no time", body("Time_Alert"), "missing_key"),
]

BAD_NUMBERS: list[tuple[str, Any]] = [
    ("H26 NaN", "NaN"),
    ("H26 sNaN", "sNaN"),
    ("H26 Infinity", "Infinity"),
    ("H27 1e400", "1e400"),
    ("H28 1e999999999", "1e999999999"),
    ("H29 1E+999999", "1E+999999"),
    ("H29 1E-999999", "1E-999999"),
    ("H30 1E+5", "1E+5"),
    ("H32 1,000 digits", "9" * 1_000),
    ("H33 2^63", str(2**63)),
    ("H33 2^64", str(2**64)),
    ("H34 underscore", "1_000"),
    ("H35 Arabic-Indic digits", "\u0661\u0662"),
    ("H35 full-width digits", "\uff11\uff12"),
    ("H36 thousands", "1,000.5"),
    ("H36 comma for a point", "1.000,5"),
    ("H36 currency", "$5"),
    ("H36 unit", "5 USDT"),
    ("H36 two points", "1.2.3"),
    ("H36 no digit before the point", ".5"),
    ("H36 no digit after the point", "5."),
    ("H37 blanks around", " 1.5 "),
    ("H37 blank behind", "1.5 "),
    ("H38 negative", "-1.5"),
    ("H38 plus", "+1.5"),
    ("H39 minus zero", "-0"),
    ("H40 exponent noise", "1e-9"),
    ("H40 21 decimals", "0." + "1" * 21),
    ("H41 17 digits", "12345678901234567"),
]

READ: list[tuple[str, bytes, dict[str, Any]]] = [
    ("H04 JSON, whatever its content type", GENERATION_3, {"ticker": "BTCUSDT", "interval": "1h"}),
    (
        "H14 a whole surrogate pair is a character",
        with_value("Strategy", '"\\ud83d\\ude80"'),
        {"strategy": "\U0001f680"},
    ),
    ("H23 __proto__", with_member(b'"__proto__": {"a": 1}'), {"extra": {"__proto__": {"a": "1"}}}),
    (
        "H23 the words of an ORM",
        with_member(b'"_connector": "OR", "pk": 1'),
        {"extra": {"_connector": "OR", "pk": "1"}},
    ),
    ("H23 id and class", with_member(b'"id": 5, "__class__": "x"'), {"extra": {"id": "5", "__class__": "x"}}),
    ("H31 many digits in an extra key", with_member(b'"a": ' + b"9" * 5_000), {"extra": {"a": "9" * 5_000}}),
    ("H40 float noise", with_value("Quantity", "0.30000000000000004"), {"quantity": Decimal("0.3")}),
    (
        "H41 more digits than a float",
        with_value("Price_Alert", "123456789012345.678901"),
        {"price": Decimal("123456789012345.678901")},
    ),
    ("H43 number for text", with_value("Interval", "60"), {"interval": "1h"}),
    ("H43 text for number", body(Quantity="2"), {"quantity": Decimal(2)}),
    (
        "H44 a trillion",
        body(Quantity="1000000000000", leverage=1000),
        {"quantity": Decimal(10**12), "extra": {"leverage": "1000"}},
    ),
    ("H45 below any step", body(Quantity="0.000000000001"), {"quantity": Decimal("0.000000000001")}),
    ("H46 as deep as allowed", with_member(b'"a": [[[]]]'), {"extra": {"a": [[[]]]}}),
    (
        "H55 markup in a comment",
        body(Comment="<script>alert(1)</script>"),
        {"extra": {"Comment": "<script>alert(1)</script>"}},
    ),
    ("H55 markup in the strategy", body(Strategy="javascript:alert(1)"), {"strategy": "javascript:alert(1)"}),
    ("H56 formula", body(Strategy='=HYPERLINK("x")'), {"strategy": '=HYPERLINK("x")'}),
    ("H56 formula after a tab", body(Comment="\t=1+1\r"), {"extra": {"Comment": "\t=1+1\r"}}),
    ("H57 a ticker that nobody lists", body(Ticker="NOPEUSDT.P"), {"pair": "NOPEUSDT", "is_perpetual_only": True}),
    ("H58 any case of a known order", body(Order="oPeN LoNg"), {"action": "open", "leg": "long"}),
]


def cheapest(raw: bytes) -> tuple[Message | Unreadable, float]:
    """Return what reading gives, and the CPU seconds of the best of three (others use this machine too)."""
    seconds = []
    for _ in range(3):
        begun = time.process_time()
        take_secret(raw)
        try:
            outcome: Message | Unreadable = read_message(raw)
        except Unreadable as error:
            outcome = error
        seconds.append(time.process_time() - begun)
    return outcome, min(seconds)


@pytest.mark.parametrize(("raw", "reason"), [pytest.param(raw, reason, id=name) for name, raw, reason in REFUSED])
def test_a_hostile_body_is_refused_with_its_reason(raw: bytes, reason: str) -> None:
    error, seconds = cheapest(raw)
    assert isinstance(error, Unreadable)
    assert error.reason == reason
    assert error.detail.isprintable()
    assert len(error.detail) < 400
    assert seconds < 0.05


@pytest.mark.parametrize("key", ["Quantity", "Price_Alert", "Entry_Price_Alert", "Exit_Price_Alert"])
@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in BAD_NUMBERS])
def test_a_hostile_number_is_refused(key: str, text: str) -> None:
    error, seconds = cheapest(body(Order="order close long", **{key: text}))
    assert isinstance(error, Unreadable)
    assert (error.reason, error.key) == ("bad_number", key)
    assert seconds < 0.05


@pytest.mark.parametrize("text", ["1e400", "1e999999999", "1E-999999", "1e-9", "-1.5", "-0", str(2**64), "9" * 1_000])
def test_a_hostile_json_number_is_refused(text: str) -> None:
    error, _ = cheapest(with_value("Price_Alert", text))
    assert isinstance(error, Unreadable)
    assert error.reason == "bad_number"


@pytest.mark.parametrize("character", ["\t", "\u00a0", "\n"])
def test_h37_a_number_with_an_invisible_blank_is_refused(character: str) -> None:
    error, _ = cheapest(body(Quantity="1.5" + character))
    assert isinstance(error, Unreadable)
    assert error.reason == "control_character"


@pytest.mark.parametrize("zero", ["0", "0.000", 0, 0.0])
def test_h39_zero_is_neither_a_price_nor_an_entrys_quantity(zero: Any) -> None:
    for key in ("Quantity", "Price_Alert"):
        error, _ = cheapest(body(**{key: zero}))
        assert isinstance(error, Unreadable)
        assert error.reason == "bad_number"


@pytest.mark.parametrize("value", [True, False, [1], {"a": 1}])
def test_h42_other_types_are_no_number(value: Any) -> None:
    error, _ = cheapest(body(Quantity=value))
    assert isinstance(error, Unreadable)
    assert error.reason == "bad_type"


@pytest.mark.parametrize(("raw", "expected"), [pytest.param(raw, expected, id=name) for name, raw, expected in READ])
def test_a_strange_but_honest_body_is_read(raw: bytes, expected: dict[str, Any]) -> None:
    message, seconds = cheapest(raw)
    assert isinstance(message, Message), message
    assert {name: getattr(message, name) for name in expected} == expected
    assert seconds < 0.05


def test_h60_an_old_or_future_time_is_read_and_judged_elsewhere() -> None:
    for moment in ("2001-01-01T00:00:00Z", "2099-01-01T00:00:00Z"):
        assert isinstance(cheapest(body(Time_Alert=moment))[0], Message)


MEGABYTE = 1 << 20
HEAVY = {
    "quotes": b'"' * MEGABYTE,
    "escaped quotes": b'{"' + b'\\"' * (MEGABYTE // 2),
    "backslashes": b"{" + b"\\" * MEGABYTE,
    "colons": b"{" + b":" * MEGABYTE,
    "commas": b"," * MEGABYTE,
    "commas in an array": b"[" + b"1," * (MEGABYTE // 2),
    "empty arrays": b"[" + b"[]" * (MEGABYTE // 2),
    "lines": b"a\n" * (MEGABYTE // 2),
    "segments": b"Ticker: a," * (MEGABYTE // 10),
    "segments without end": b"," + (b"a" * 64 + b",") * (MEGABYTE // 65),
    "tabs": b"Ticker" + b"\t," * (MEGABYTE // 2),
    "braces": b"{{" * (MEGABYTE // 2),
    "one number": b'{"Quantity": ' + b"9" * MEGABYTE + b"}",
    "one key": b'{"' + b"k" * MEGABYTE + b'": 1}',
    "combining marks in a key": b'{"' + "a\u0301\u0316".encode() * (MEGABYTE // 5) + b'": 1}',
    "escapes": b'{"a": "' + b"\\u0061" * (MEGABYTE // 6) + b'"}',
    "secrets": b"secret" * (MEGABYTE // 6),
    "secret members": b"secret:" * (MEGABYTE // 7),
    "secret quotes": b'secret"' * (MEGABYTE // 7),
    "secret open strings": b'secret:"' * (MEGABYTE // 8),
    "secret blanks": b"secret: a" + b" " * MEGABYTE,
    "secret and NUL": b"s" + b"\0" * MEGABYTE,
    "secret nested": b'secret:\\"' * (MEGABYTE // 9),
}


@pytest.mark.parametrize("raw", HEAVY.values(), ids=HEAVY)
def test_h49_a_megabyte_of_anything_is_answered_cheaply(raw: bytes) -> None:
    outcome, seconds = cheapest(raw)
    assert isinstance(outcome, Unreadable)
    # One pass takes a few tenths at most, a pass for each character minutes.
    assert seconds < 2
