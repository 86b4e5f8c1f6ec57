"""For tests: the real server in a thread of this process, and a caller that signs as BingX wants.

Not used by the exchange itself.
"""

from __future__ import annotations

import asyncio
import hmac
import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from exchange.paper.server import serve
from exchange.paper.venue import Venue


@contextmanager
def running(venue: Venue, latency_ms: int = 0) -> Iterator[int]:
    """Serve a venue on a free port of 127.0.0.1, in a thread, for the length of the block; yields the port."""
    ready: list[int] = []
    is_up = threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    def tell(port: int) -> None:
        ready.append(port)
        is_up.set()

    work = serve(venue, "127.0.0.1", 0, latency_ms=latency_ms, on_ready=tell, stop=stop)
    thread = threading.Thread(target=lambda: loop.run_until_complete(work), daemon=True)
    thread.start()
    is_up.wait(10)
    try:
        yield ready[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


@dataclass
class Caller:
    """One keep-alive connection that signs the sorted query; `last_status` is the HTTP status of the last answer."""

    port: int
    key: str = "paper-key"
    secret: str = "paper-secret"  # noqa: S105
    timeout: float = 10
    last_status: int = 0
    last_headers: dict[str, str] = field(default_factory=dict)
    _line: http.client.HTTPConnection | None = None

    def __post_init__(self) -> None:
        self._line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.timeout)

    def close(self) -> None:
        if self._line:
            self._line.close()

    def raw(self, verb: str, target: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> bytes:
        assert self._line is not None
        try:
            self._line.request(verb, target, body, headers or {})
            response = self._line.getresponse()
            self.last_status, self.last_headers = response.status, {k.lower(): v for k, v in response.getheaders()}
            return response.read()
        except BaseException:
            self._line.close()
            raise

    def signed_query(self, params: dict[str, object], timestamp: int | None = None) -> str:
        every = {name: str(value) for name, value in params.items()}
        every["timestamp"] = str(timestamp if timestamp is not None else int(time.time() * 1000))
        names = sorted(every)
        text = "&".join(f"{name}={every[name]}" for name in names)
        signature = hmac.new(self.secret.encode(), text.encode(), sha256).hexdigest()
        return "&".join(f"{name}={quote(every[name], safe='')}" for name in names) + f"&signature={signature}"

    def call(self, verb: str, path: str, *, timestamp: Any = None, **params: Any) -> Any:
        """Return the parsed body of a signed call; numbers that are no integers come as Decimal."""
        body = self.raw(
            verb, f"/openApi{path}?{self.signed_query(params, timestamp)}", headers={"X-BX-APIKEY": self.key}
        )
        return json.loads(body, parse_float=Decimal)

    def data(self, verb: str, path: str, **params: Any) -> Any:
        """Return `data` of a call that must succeed."""
        body = self.call(verb, path, **params)
        assert body["code"] == 0, body
        return body.get("data")

    def public(self, path: str, **params: object) -> Any:
        query = "&".join(f"{name}={quote(str(value))}" for name, value in params.items())
        return json.loads(self.raw("GET", f"/openApi{path}?{query}"), parse_float=Decimal)

    def control(self, verb: str, path: str, **members: object) -> Any:
        body = json.dumps(members).encode() if members else None
        return json.loads(self.raw(verb, f"/paper{path}", body))

    def order(self, **params: Any) -> Any:
        """Place a market order, BUY LONG 0.01 BTC-USDT unless told otherwise; returns the whole body."""
        usual: dict[str, Any] = {
            "symbol": "BTC-USDT",
            "side": "BUY",
            "positionSide": "LONG",
            "type": "MARKET",
            "quantity": "0.01",
        }
        return self.call("POST", "/swap/v2/trade/order", **(usual | params))
