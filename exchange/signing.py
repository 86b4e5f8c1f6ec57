"""Sign a request as BingX wants it.

The signature covers the raw values, the wire carries them percent-encoded, and the order that is sent is the order
that was signed: the server verifies what it receives and sorts nothing. Never hand the pairs to `requests` as
`params`: it writes a space as `+`.
Source: https://bingx-api.github.io/docs-v3/#/en/Quick%20Start/Signature%20Authentication
"""

import hashlib
import hmac
from collections.abc import Iterable
from urllib.parse import quote

Pairs = Iterable[tuple[str, str]]


def text_to_sign(pairs: Pairs) -> str:
    """Join the pairs as they are, without any encoding."""
    return "&".join(f"{name}={value}" for name, value in pairs)


def sign(secret: str, text: str) -> str:
    """Return the lower-case hex HMAC-SHA256 of the text's UTF-8 bytes."""
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def encoded_query(pairs: Pairs) -> str:
    """Join the pairs with their values percent-encoded: a space is `%20`, names stay as they are."""
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in pairs)


def signed_query(pairs: Pairs, secret: str) -> str:
    """Return the query string to send: the pairs in this order, the signature last."""
    pairs = list(pairs)
    return f"{encoded_query(pairs)}&signature={sign(secret, text_to_sign(pairs))}"
