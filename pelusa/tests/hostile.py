"""The hostile corpus as whole requests: what is sent, and what must come of it. Driven in process and over sockets.

Two peers speak: NEAR, allowed by the webhook's rule and believed in its X-Forwarded-For, and FAR, which is neither.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from alarms.tests.test_hostile_messages import BAD_NUMBERS, READ, REFUSED
from alarms.tests.test_messages import body as plain
from pelusa.testing import alarm_body
from pelusa.tests.planted import planted

SECRET = planted("webhook secret")
NEXT_SECRET = planted("webhook secret", "next")
OLD_SECRET = "the-secret-before-the-rotation-0"
MAX_BODY = 16_384
NEAR, FAR = "127.0.0.1", "127.0.0.2"
TRADINGVIEW, ATTACKER, ALLOWED_AND_DENIED = "52.89.214.238", "203.0.113.9", "198.51.100.7"
RULES = {
    "WEBHOOK_SECRETS": f"{SECRET},{NEXT_SECRET}",
    "IP_ALLOW": f"/webhook=tradingview,{NEAR},{ALLOWED_AND_DENIED}",
    "IP_DENY": f"/webhook={ALLOWED_AND_DENIED}",
    "TRUSTED_PROXIES": f"{NEAR}/32",
}
PATH = f"/webhook/{SECRET}"
# Whoever knocks with the right secret in the path may write anything there: it never reaches the reader
TAKEN_OUT = "H14 lone surrogate in the token"


@dataclass(frozen=True)
class Case:
    """A request; without a body it is an honest alarm that nobody sent before. `path` is as it stands on the wire."""

    name: str
    status: int
    body: bytes | None = None
    path: str = PATH
    method: str = "POST"
    headers: tuple[tuple[str, str], ...] = ()
    peer: str = NEAR
    host: str | None = None
    code: str = ""
    content_type: str | None = "text/plain; charset=utf-8"

    @property
    def is_kept(self) -> bool:
        """Whether the alarms hold a row of it afterwards."""
        return self.status in (200, 413, 415, 422)

    def sent(self) -> bytes:
        return alarm_body() if self.body is None else self.body


def with_secret(value: Any, **members: Any) -> bytes:
    """Return an honest alarm with anything for a secret."""
    return json.dumps({**json.loads(alarm_body()), "secret": value, **members}).encode()


def forwarded(name: str, status: int, chain: str, **more: Any) -> Case:
    return Case(name, status, headers=(("X-Forwarded-For", chain),), **more)


def bodies() -> Iterator[Case]:
    """Yield every body of the corpus, each behind the right secret."""
    for name, raw, reason in REFUSED:
        if name == TAKEN_OUT:
            continue
        too_large = len(raw) > MAX_BODY
        yield Case(name, 413 if too_large else 422, raw, code="too_large" if too_large else reason)
    for name, number in BAD_NUMBERS:
        yield Case(name, 422, plain(Quantity=number), code="bad_number")
    for name, raw, _ in READ:
        yield Case(name, 200, raw)
    yield Case("H42 true as a quantity", 422, plain(Quantity=True), code="bad_type")
    yield Case("H37 NBSP behind a number", 422, plain(Quantity="1.5\u00a0"), code="control_character")
    yield Case("H39 a quantity of zero", 422, plain(Quantity="0.000"), code="bad_number")
    yield Case("H48 200,000 keys", 413, json.dumps({f"k{number}": 1 for number in range(200_000)}).encode())
    yield Case("H49 2.4 MB string", 413, plain(Strategy="x" * 2_400_000))
    yield Case("H49 10 MB", 413, b"x" * 10_000_000)
    yield Case("H60 a day old", 200, plain(Time_Alert="2025-01-01T00:00:00Z"))
    yield Case("H60 ten minutes in the future", 200, plain(Time_Alert="2099-01-01T00:10:00Z"))


def content_types() -> Iterator[Case]:
    """Yield what a content type may claim: the raw body is read, whatever the header says."""
    for number, content_type in {
        "H04 text/plain": "text/plain",
        "H06 no content type": None,
        "H06 an empty content type": "",
        "H07 a form": "application/x-www-form-urlencoded",
        "H07 XML": "application/xml",
        "H07 multipart": "multipart/form-data; boundary=x",
        "H08 garbage": 'application/json;;;="',
        "H09 utf-7": "application/json; charset=utf-7",
        "H09 bogus": "application/json; charset=bogus",
        "H09 idna": "application/json; charset=idna",
        "H10 utf-16 claimed": "application/json; charset=utf-16",
    }.items():
        yield Case(number, 200, content_type=content_type)
    utf16 = "application/json; charset=utf-16"
    yield Case("H10 utf-16 as claimed", 422, alarm_body().decode().encode("utf-16"), content_type=utf16)
    for name, raw in {"H78 gzip": alarm_body(), "H78 a bomb of 1 to 1,000": bytes(10_000_000)}.items():
        yield Case(name, 415, gzip.compress(raw), headers=(("Content-Encoding", "gzip"),), code="encoded")
    for name, word in {"H78 gzip that is none": "gzip", "H78 two encodings": "identity, br"}.items():
        yield Case(name, 415, headers=(("Content-Encoding", word),), code="encoded")


def secrets() -> Iterator[Case]:
    """Yield every way to name the webhook's secret wrongly, and the right ones beside them."""
    for name, value in {
        "H14 half a surrogate pair": "\ud800",
        "H81 null": None,
        "H81 empty": "",
        "H81 a number": 5,
        "H81 true": True,
        "H81 a list": [],
        "H81 a list of the right one": [SECRET],
        "H81 an object": {},
        "H81 1 MB": "x" * 1_000_000,
        "H81 another letter": "\N{LATIN SMALL LETTER E WITH ACUTE}" * 16,
        "H82 upper case": SECRET.upper(),
        "H82 padded": f" {SECRET} ",
        "H82 a line break behind": f"{SECRET}\n",
        "H82 NUL behind": f"{SECRET}\0",
        "H82 cut": SECRET[:-1],
        "H83 rotated out": OLD_SECRET,
    }.items():
        yield Case(name, 401, with_secret(value), "/webhook", code="wrong_secret")
    for name, path in {
        "H81 missing": "/webhook",
        "H82 upper case in the path": PATH.upper().replace("/WEBHOOK", "/webhook"),
        "H82 a line break in the path": f"{PATH}%0A",
        "H82 NUL in the path": f"{PATH}%00",
        "H82 a blank in the path": f"{PATH}%20",
        "H82 no UTF-8 in the path": "/webhook/%ff%fe",
        "H83 rotated out, in the path": f"/webhook/{OLD_SECRET}",
        "H84 in the query": f"/webhook?secret={SECRET}",
    }.items():
        yield Case(name, 401, path=path, code="wrong_secret")
    for header in ("Authorization", "X-Secret", "X-Token", "Cookie", "X-Webhook-Secret"):
        said = f"Token {SECRET}" if header == "Authorization" else SECRET
        yield Case(f"H84 in {header}", 401, path="/webhook", headers=((header, said),), code="wrong_secret")
    right_and_wrong = with_secret(SECRET, token="wrong-but-of-a-good-length-0123456")
    yield Case("H21 a right and a wrong one", 401, right_and_wrong, "/webhook")
    for first, second in ((SECRET, OLD_SECRET), (OLD_SECRET, SECRET)):
        twice = with_secret(first)[:-1] + f', "secret": "{second}"}}'.encode()
        yield Case(f"H21 twice, {first[:8]} first", 401, twice, "/webhook")
    yield Case("H21 twice the same", 422, with_secret(SECRET)[:-1] + f', "secret": "{SECRET}"}}'.encode(), "/webhook")
    yield Case("H82 the right one", 200, with_secret(SECRET), "/webhook")
    yield Case("H83 the next one while rotating", 200, with_secret(NEXT_SECRET), "/webhook")


IMPOSSIBLE_HOPS = {
    "H66 zeros in front": "052.089.214.238",
    "H66 hexadecimal": "0x34.0x59.0xd6.0xee",
    "H66 one number": "878303982",
    "H66 another number": "3386823406",
    "H66 too short": "127.1",
    "H66 full width": quote("\uff15\uff12.89.214.238"),
    "H67 a port": f"{TRADINGVIEW}:443",
    "H67 brackets": "[::ffff:52.89.214.238]",
    "H67 a zone": "fe80::1%eth0",
    "H67 a zone on ours": f"::ffff:{TRADINGVIEW}%eth0",
    "H67 a blank inside": "52.89. 214.238",
    "H67 quotes": f'"{TRADINGVIEW}"',
    "H67 a network": f"{TRADINGVIEW}/32",
    "H69 empty": "",
    "H69 unknown": "unknown",
    "H69 hidden": "_hidden",
    "H69 a hyphen": "-",
    "H69 commas": ",,,",
}
OTHER_HEADERS = (
    "X-Real-IP",
    "Forwarded",
    "True-Client-IP",
    "CF-Connecting-IP",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "Fastly-Client-IP",
)
CERTIFICATE_HEADERS = (
    "X-SSL-Client-Verify",
    "X-SSL-Client-CN",
    "X-SSL-Client-Cert",
    "X-Client-Cert",
    "SSL-Client-Verify",
)


def addresses() -> Iterator[Case]:
    """Yield what a client may claim of its address."""
    yield Case("H61 nobody allowed", 403, peer=FAR, code="forbidden_address")
    yield forwarded("H61 an allowed address, from outside", 403, TRADINGVIEW, peer=FAR)
    yield forwarded("H61 an allowed address, from the proxy", 200, TRADINGVIEW)
    yield forwarded("H62 allowed, attacker", 403, f"{TRADINGVIEW}, {ATTACKER}")
    yield forwarded("H62 attacker, allowed", 200, f"{ATTACKER}, {TRADINGVIEW}")
    yield forwarded("H63 an underscore, from outside", 403, TRADINGVIEW, peer=FAR)
    for header in OTHER_HEADERS:
        said = f"for={TRADINGVIEW}" if header == "Forwarded" else TRADINGVIEW
        yield Case(f"H64 {header} from outside", 403, headers=((header, said),), peer=FAR)
        yield Case(f"H64 {header} of an attacker", 200, headers=((header, ATTACKER),))
    yield forwarded("H65 IPv4 inside IPv6", 200, f"::ffff:{TRADINGVIEW}")
    yield forwarded("H65 IPv4 inside IPv6, spelled out", 200, "0:0:0:0:0:ffff:3459:d6ee")
    for name, hop in IMPOSSIBLE_HOPS.items():
        yield forwarded(name, 403, hop, code="forbidden_address")
        yield forwarded(f"{name}, behind an allowed one", 403, f"{TRADINGVIEW}, {hop}")
    yield forwarded("H70 allowed and denied", 403, ALLOWED_AND_DENIED)
    for private in ("10.0.0.1", "127.0.0.1", "169.254.1.1", "192.168.1.1", "::1", "fd00::1"):
        yield forwarded(f"H72 {private} behind the proxy", 403, private)
    for header in CERTIFICATE_HEADERS:
        claim = ((header, "SUCCESS"),)
        yield Case(f"H95 forged {header} from outside", 403, headers=claim, peer=FAR)
        yield Case(f"H95 forged {header} without a secret", 401, path="/webhook", headers=claim)
        yield Case(f"H95 forged {header} of no weight", 200, headers=claim)


def hosts_methods_and_paths() -> Iterator[Case]:
    """Yield what is wrong around the message."""
    for host in (
        "evil.com",
        "",
        "localhost:80@evil.com",
        "localhost.evil.com",
        "localhost:x",
        "127.0.0.1.evil.com",
        "lo cal",
    ):
        yield Case(f"H73 host {host!r}", 400, host=host)
    yield Case("H73 a host without the secret", 400, path="/webhook", host="evil.com")
    for method in ("GET", "PUT", "DELETE", "OPTIONS", "TRACE", "HEAD", "PATCH", "PROPFIND"):
        yield Case(f"H74 {method}", 405, method=method)
    for header in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        yield Case(f"H75 {header}", 200, headers=((header, "DELETE"),))
    yield Case("H75 in the body", 422, b"_method=DELETE")
    for path, status in {
        "/webhook//": 404,
        f"/webhook//{SECRET}": 404,
        f"//webhook/{SECRET}": 404,
        f"{PATH}//": 404,
        "/webhook/..;/admin": 404,
        "/webhook/../admin/": 404,
        "/webhook/%2e%2e/admin/": 404,
        "/webhook/%2e": 401,
        f"/WEBHOOK/{SECRET}": 404,
        f"/Webhook/{SECRET}": 404,
        f"/webhook;x/{SECRET}": 404,
        f"/webhook.json/{SECRET}": 404,
        f"/webhooks/{SECRET}": 404,
        f"{PATH}/": 200,
        f"{PATH}?x=1": 200,
        f"{PATH}%2F": 200,
        f"/%77ebhook/{SECRET}": 200,
    }.items():
        yield Case(f"H94 {path.replace(SECRET, 'right')}", status, path=path)


CASES = [*bodies(), *content_types(), *secrets(), *addresses(), *hosts_methods_and_paths()]
