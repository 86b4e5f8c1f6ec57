import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alarms.messages import take_secret
from alarms.tests.test_messages import GENERATION_3, KEY_VALUE_TEXT

SECRET = "kV3-_xJq9Zr2TtWw8LmN"
WORDS = ("secret", "token", "passphrase")


@pytest.mark.parametrize("key", [*WORDS, "Secret", "TOKEN", "PassPhrase"])
def test_the_secret_is_taken_out_of_json_and_nothing_else_changes(key: str) -> None:
    raw = GENERATION_3[:-1] + f' ,\n "{key}" : "{SECRET}" }}\n'.encode()
    assert take_secret(raw) == (SECRET, raw.replace(SECRET.encode(), b"[secret]"))


@pytest.mark.parametrize(
    "raw", [KEY_VALUE_TEXT + b", Secret: %s", b"token: %s\n" + KEY_VALUE_TEXT, b"TOKEN:%s," + KEY_VALUE_TEXT]
)
def test_the_secret_is_taken_out_of_key_value_text(raw: bytes) -> None:
    assert take_secret(raw % SECRET.encode()) == (SECRET, raw % b"[secret]")


@pytest.mark.parametrize("raw", [GENERATION_3, KEY_VALUE_TEXT, b"", b"\xff\xfe", b"{", b'{"a": "\\u00e9"}', b"\0"])
def test_a_body_without_secret_stays_as_it_is(raw: bytes) -> None:
    assert take_secret(raw) == (None, raw)


@pytest.mark.parametrize(
    "text",
    [
        '{"message": "my secret is a token"}',
        '{"Strategy": "secret"}',
        '{"a": ["secret", "token"]}',
        '{"secretary": "x"}',
        '{"api_token": "x"}',
        '{"Strategy": "token: x"}',
    ],
)
def test_the_words_alone_are_no_member(text: str) -> None:
    assert take_secret(text.encode()) == (None, text.encode())


def test_escapes_hide_neither_key_nor_value() -> None:
    raw = b'{"s\\u0065cr\\u0065t": "ab\\u0063\\/\\"d", "x": "\\u0065"}'
    assert take_secret(raw) == ('abc/"d', b'{"s\\u0065cr\\u0065t": "[secret]", "x": "\\u0065"}')


@pytest.mark.parametrize(
    "value", ["null", "5", "1e999999", "true", '""', "[]", '["a"]', '{"secret": "a"}', '"\\ud800"', "NaN"]
)
def test_a_secret_that_is_no_text_is_none_and_masked(value: str) -> None:
    assert take_secret(f'{{"a": 1, "secret": {value}, "b": "c"}}'.encode()) == (
        None,
        b'{"a": 1, "secret": "[secret]", "b": "c"}',
    )


def test_secrets_that_disagree_are_none_and_all_masked() -> None:
    masked = b'{"secret": "[secret]", "token": "[secret]"}'
    assert take_secret(b'{"secret": "good", "token": "bad"}') == (None, masked)
    assert take_secret(b'{"secret": "bad", "token": "good"}') == (None, masked)
    assert take_secret(b'{"secret": "good", "token": null}') == (None, masked)
    assert take_secret(b'{"secret": "good", "token": "good"}') == ("good", masked)


def test_the_same_key_twice_must_agree() -> None:
    assert take_secret(b'{"secret": "good", "secret": "bad"}')[0] is None
    assert take_secret(b'{"secret": "good", "secret": "good"}')[0] == "good"


def test_a_secret_deeper_inside_is_masked_and_opens_nothing() -> None:
    assert take_secret(b'{"a": {"token": "abc"}}') == (None, b'{"a": {"token": "[secret]"}}')
    assert take_secret(b'[{"token": "abc"}]') == ("abc", b'[{"token": "[secret]"}]')


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"secret": "', b'", "Quantity": na}'),
        (b'{"Quantity": , "secret" : "', b'"}'),
        (b'{"secret": "', b'", }'),
        (b'{"s\\u0065cret": "', b'", }'),
        (b'{"s\\u0065\\u0043ret": "', b'", }'),
        (b'{"a": "\xff", "secret": "', b'"}'),
        (b'\xef\xbb\xbf{"secret": "', b'"}'),
        (b'{"a": "said "hi" to", "secret": "', b'"}'),
        (b'{"a": 1 "secret": "', b'"}'),
        (b"{'secret': '", b"'}"),
        (b"{secret: ", b"}"),
        (b'"{\\"secret\\": \\"', b'\\"}"'),
        (b"Ticker=BTC\nsecret=", b"\nOrder=x"),
        (b'{"a":"b\\nsecret: ', b"\n"),
        (b'{"secret": "', b'"}{"x": 1}'),
        (b"[" * 100_000 + b'{"secret": "', b'"}'),
    ],
)
def test_a_broken_body_is_masked_and_still_shows_who_sent_it(before: bytes, after: bytes) -> None:
    secret, masked = take_secret(before + SECRET.encode() + after)
    assert masked == before + b"[secret]" + after
    assert secret == SECRET


@pytest.mark.parametrize("before", [b'{"secret": "', b'{"secret": ["', b"{secret:", b'{"secret": {"a": "x", "b": "'])
def test_a_secret_that_is_cut_off_is_masked(before: bytes) -> None:
    assert SECRET.encode() not in take_secret(before + SECRET.encode())[1]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32-le"])
def test_two_bytes_a_character_do_not_hide_the_secret(encoding: str) -> None:
    raw = f'{{"a": "b", "secret": "{SECRET}"}}'.encode(encoding)
    secret, masked = take_secret(raw)
    assert secret is None or secret != SECRET
    assert SECRET not in masked.decode(encoding, errors="ignore")
    assert SECRET.encode(encoding)[2:-2] not in masked


def test_more_keys_than_a_message_may_have_are_masked_too() -> None:
    raw = json.dumps({f"k{number}": "v" for number in range(500)} | {"secret": SECRET}).encode()
    assert take_secret(raw) == (SECRET, raw.replace(SECRET.encode(), b"[secret]"))


def test_masking_twice_is_masking_once() -> None:
    for raw in (
        b'{"secret": "abc", "b": 1}',
        b'{"secret": "abc", "b": na}',
        b"Secret: abc, Ticker: BTCUSDT",
        b"{secret: abc}",
    ):
        masked = take_secret(raw)[1]
        assert take_secret(masked)[1] == masked


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)
others = st.dictionaries(st.text(max_size=10).filter(lambda key: key.strip().lower() not in WORDS), values, max_size=6)


@given(
    before=others,
    after=others,
    key=st.sampled_from(WORDS),
    secret=st.text(min_size=1, max_size=40),
    ascii_only=st.booleans(),
)
def test_of_any_json_object_only_the_secret_changes(
    before: dict[str, Any], after: dict[str, Any], key: str, secret: str, ascii_only: bool
) -> None:
    members = before | {key: secret} | after
    taken, masked = take_secret(json.dumps(members, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass"))
    assert taken == secret
    assert masked.decode() == json.dumps(members | {key: "[secret]"}, ensure_ascii=ascii_only)


@given(noise=st.binary(max_size=60), tail=st.binary(max_size=60), key=st.sampled_from(WORDS))
def test_in_any_noise_the_secret_is_masked(noise: bytes, tail: bytes, key: str) -> None:
    raw = noise + b'\n"' + key.encode() + b'": "' + SECRET.encode() + b'"\n' + tail
    assert SECRET.encode() not in take_secret(raw)[1]
