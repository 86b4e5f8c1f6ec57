"""Who may call: keys, signatures over what was received, time stamps within their window."""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Iterator
from hashlib import sha256

import pytest

from exchange.paper.signatures import sign, signed_texts
from exchange.paper.testing import Caller, running
from exchange.paper.venue import Venue
from exchange.paper.wire import Request

PUBLISHED = [
    (
        "mheO6dR8ovSsxZQCOYEFCtelpuxcWGTfHw7te326y6jOwq5WpvFQ9JNljoTwBXZGv5It07m9RXSPpDQEK2w",
        ("symbol=BTC-USDT&timestamp=1667872120843&side=LONG&leverage=6", b""),
        "4f581ecdb1fa09b9d6e57886b6f70cffed17f82b93399722939e49a38edec2bf",
    ),
    (
        "UuGuyEGt6ZEkpUObCYCmIfh0elYsZVh80jlYwpJuRZEw70t6vomMH7Sjmf94ztSI",
        ("quoteOrderQty=20&side=BUY&symbol=ETHUSDT&timestamp=1649404670162&type=MARKET", b""),
        "428a3c383bde514baff0d10d3c20e5adfaacaf799e324546dafe5ccc480dd827",
    ),
    (
        "UuGuyEGt6ZEkpUObCYCmIfh0elYsZVh80jlYwpJuRZEw70t6vomMH7Sjmf94ztSI",
        ("quoteOrderQty=20&side=BUY&symbol=ETHUSDT", b"timestamp=1649404670162&type=MARKET"),
        "94e0b4925060a615e1e372d4c929015d4b59d3c89067dc0beeafcfb33a6d8d10",
    ),
]


@pytest.mark.parametrize(("secret", "sent", "signature"), PUBLISHED)
def test_published_signatures_are_accepted(secret: str, sent: tuple[str, bytes], signature: str) -> None:
    request = Request("POST", "/", sent[0] + f"&signature={signature}", {}, sent[1], "127.0.0.1")
    assert [sign(secret, text) for text in signed_texts(request)] == [signature]


def test_the_signature_covers_decoded_values_in_received_order() -> None:
    query = "b=%7B%22x%22%3A%201%7D&a=%E5%B8%81&timestamp=1&signature=0"
    assert signed_texts(Request("GET", "/", query, {}, b"", "")) == ['b={"x": 1}&a=币&timestamp=1']


@pytest.fixture
def caller() -> Iterator[Caller]:
    venue = Venue()
    venue.register("paper-key", "paper-secret")
    with running(venue) as port:
        caller = Caller(port)
        yield caller
        caller.close()


def now() -> int:
    return int(time.time() * 1000)


def test_a_wrong_secret_is_refused(caller: Caller) -> None:
    caller.secret = "wrong"
    assert caller.call("GET", "/swap/v3/user/balance")["code"] == 100001


def test_an_unknown_or_missing_key_is_refused(caller: Caller) -> None:
    caller.key = "nobody"
    assert caller.call("GET", "/swap/v3/user/balance")["code"] == 100413
    assert json.loads(caller.raw("GET", "/openApi/swap/v3/user/balance?timestamp=1"))["code"] == 100413


def test_a_missing_signature_is_refused(caller: Caller) -> None:
    body = caller.raw("GET", f"/openApi/swap/v3/user/balance?timestamp={now()}", headers={"X-BX-APIKEY": "paper-key"})
    assert json.loads(body)["code"] == 100412


@pytest.mark.parametrize("skew", [-5500, 5500, -3_600_000])
def test_a_time_stamp_outside_its_window_is_refused_as_the_fence_needs(caller: Caller, skew: int) -> None:
    refusal = caller.call("GET", "/swap/v3/user/balance", timestamp=now() + skew)
    assert refusal["code"] == 100421
    assert "timestamp" in refusal["msg"]


def test_the_window_is_the_callers_own(caller: Caller) -> None:
    assert caller.call("GET", "/swap/v3/user/balance", timestamp=now() - 8000, recvWindow=10000)["code"] == 0
    assert caller.call("GET", "/swap/v3/user/balance", timestamp=now() - 400, recvWindow=200)["code"] == 100421


def test_a_json_body_is_signed_over_its_sorted_members(caller: Caller) -> None:
    members = {
        "symbol": "BTC-USDT",
        "side": "BUY",
        "positionSide": "LONG",
        "type": "MARKET",
        "quantity": 0.01,
        "timestamp": now(),
    }
    text = "&".join(f"{name}={members[name]}" for name in sorted(members))
    signed = members | {"signature": hmac.new(b"paper-secret", text.encode(), sha256).hexdigest()}
    headers = {"X-BX-APIKEY": "paper-key", "Content-Type": "application/json"}
    body = caller.raw("POST", "/openApi/swap/v2/trade/order", json.dumps(signed).encode(), headers)
    assert json.loads(body)["data"]["order"]["status"] == "FILLED"


def test_a_form_body_is_signed_over_the_bytes_as_sent(caller: Caller) -> None:
    text = f"leverage=5&side=LONG&symbol=BTC-USDT&timestamp={now()}"
    signature = hmac.new(b"paper-secret", text.encode(), sha256).hexdigest()
    headers = {"X-BX-APIKEY": "paper-key", "Content-Type": "application/x-www-form-urlencoded"}
    body = caller.raw("POST", "/openApi/swap/v2/trade/leverage", f"{text}&signature={signature}".encode(), headers)
    assert json.loads(body)["data"]["leverage"] == 5


def test_a_key_without_the_permission_cannot_trade(caller: Caller) -> None:
    caller.control("POST", "/accounts", key="paper-key", secret="paper-secret", permissions=[2])
    assert caller.order()["code"] == 100004
    assert caller.call("GET", "/swap/v3/user/balance")["code"] == 0


def test_a_key_bound_to_another_address_is_refused(caller: Caller) -> None:
    caller.control("POST", "/accounts", key="paper-key", secret="paper-secret", ip_addresses=["192.0.2.1"])
    assert caller.call("GET", "/swap/v3/user/balance")["code"] == 100419


def test_an_unknown_address_has_a_business_answer(caller: Caller) -> None:
    assert caller.public("/swap/v9/nothing")["code"] == 100400
