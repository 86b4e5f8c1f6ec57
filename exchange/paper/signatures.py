"""Who is calling, and is it fresh: key, HMAC over what was received, time stamp within its window.

https://bingx-api.github.io/docs-v3/#/en/Quick%20Start/Signature%20Authentication
"""

from __future__ import annotations

import hmac
from hashlib import sha256

from exchange.paper import refusals
from exchange.paper.wire import Request, scalar_text

DEFAULT_WINDOW_MS = 5_000


def sign(secret: str, text: str) -> str:
    return hmac.new(secret.encode(), text.encode(), sha256).hexdigest()


def signed_texts(request: Request) -> list[str]:
    """Return the texts whose signature is accepted for this request.

    Query: decoded values in received order. JSON body: its members sorted. Form body: the bytes as sent, glued to the
    query without `&`.
    """
    query = "&".join([f"{name}={value}" for name, value in request.pairs if name != "signature"])
    if not request.body:
        return [query]
    if request.is_json:
        members = request.json_members()
        text = "&".join(f"{name}={scalar_text(members[name])}" for name in sorted(members) if name != "signature")
        return [query + text]
    parts = request.body.decode("utf-8", "replace").split("&")
    return [query + "&".join(part for part in parts if not part.startswith("signature="))]


def check_signature(request: Request, secret: str) -> None:
    """Refuse a request that is not signed with this secret."""
    given = request.params.get("signature")
    if not given:
        raise refusals.no_signature()
    try:
        texts = signed_texts(request)
    except ValueError as error:
        raise refusals.bad_parameter(str(error)) from error
    if not any(hmac.compare_digest(sign(secret, text).encode(), given.encode()) for text in texts):
        raise refusals.wrong_signature()


def check_window(request: Request, now_ms: int) -> None:
    """Refuse a request whose time stamp is older than its recvWindow (or as far in the future)."""
    try:
        stamped = int(request.params.get("timestamp", ""))
        window = int(request.params.get("recvWindow") or 0) or DEFAULT_WINDOW_MS
    except ValueError:
        raise refusals.stale_timestamp() from None
    if abs(now_ms - stamped) > window:
        raise refusals.stale_timestamp()
