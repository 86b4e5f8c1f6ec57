"""JSON bodies: exact, bounded, and refused with the reason."""

import io
from decimal import Decimal
from typing import Any

import pytest
from rest_framework.exceptions import AuthenticationFailed, ParseError

from pelusa.reading import ExactJSONParser, TooLarge
from pelusa.tokens import ApiTokens


def read(body: bytes) -> Any:
    return ExactJSONParser().parse(io.BytesIO(body))


def test_numbers_keep_every_digit() -> None:
    read_back = read(b'{"a": 123456789012345.678901, "b": 1, "c": 1e-7}')
    assert read_back == {"a": Decimal("123456789012345.678901"), "b": 1, "c": Decimal("1E-7")}
    assert isinstance(read_back["a"], Decimal)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting"),
        (b'{"a": NaN}', "NaN is no number"),
        (b'{"a": -Infinity}', "-Infinity is no number"),
        (b'{"size": "1", "size": "999"}', "'size' is there twice"),
        (b'{"long": {"a": 1, "a": 1}}', "'a' is there twice"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"a": "\xff"}', "utf-8"),
        (b"\xff\xfe{\x00}\x00", "utf-8"),
        (b'\xef\xbb\xbf{"a": 1}', "BOM"),
        (b"1" * 5000, "digits"),
    ],
)
def test_what_cannot_be_read_exactly_is_refused_with_the_reason(body: bytes, says: str) -> None:
    with pytest.raises(ParseError) as caught:
        read(body)
    assert says in str(caught.value.detail)


def test_a_body_above_the_limit_is_too_large(settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    assert read(b'"%s"' % (b"x" * 98)) == "x" * 98
    with pytest.raises(TooLarge):
        read(b'"%s"' % (b"x" * 99))


def test_a_token_of_bytes_that_are_no_text_is_a_wrong_token() -> None:
    with pytest.raises(AuthenticationFailed):
        ApiTokens().authenticate_credentials(b"\xff\xfe")
