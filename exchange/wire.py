"""Send one request to BingX and say what became of it; the only place that touches the network.

Every parameter travels in the query string, for every verb, sorted and percent-encoded, with an empty body. Nothing is
sent twice from here. No error, log record or repr holds a key, a secret, a signature or a signed URL.
"""

import logging
import re
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NewConnectionError

from exchange.decoding import Unreadable, load
from exchange.errors import ExchangeError, NotSent, OutcomeUnknown, RateLimited
from exchange.pacing import PACES, UNLISTED, Call, Pacer, Rank, fingerprint
from exchange.refusals import REFUSALS, UNHEARD_OF, Deed, error_for, unblocked_at
from exchange.signing import encoded_query, signed_query
from exchange.tallies import add

KEY_HEADER = "X-BX-APIKEY"
LONGEST_WORDS = 300
_OK, _SERVER_ERROR = 200, 500
_SLOW_DOWN = {418, 429}
_CODE = re.compile(r"-?\d{1,9}", re.ASCII)
_HEX_DIGEST = re.compile(r"\b[0-9a-fA-F]{64}\b")
_QUERY = re.compile(r"\?\S+")

# How far the present thread's request came; the connection itself says so.
_CONNECTING, _WRITING = "connecting", "writing"
_present = threading.local()


class _PlainConnection(HTTPConnection):
    def connect(self) -> None:
        _present.stage = _CONNECTING
        super().connect()

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        _present.stage = _WRITING
        super().send(data)


class _TLSConnection(_PlainConnection, HTTPSConnection):
    """Connecting includes the handshake; what fails before its end was never sent."""


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


class _WitnessingAdapter(HTTPAdapter):
    """Opens connections that tell whether the request began to leave this machine; never retries."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _TLSPool}


class _WithoutQueries(logging.Filter):
    """urllib3 logs whole URLs, at WARNING even when an answer's headers are broken: cut what follows the path."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = _QUERY.sub("?...", record.getMessage()), ()
        return True


for _module in ("connection", "connectionpool", "poolmanager", "response", "util.retry"):
    logging.getLogger(f"urllib3.{_module}").addFilter(_WithoutQueries())


class Wire:
    """Connections to one exchange with one key, kept open; for one thread, and not across a fork.

    With a pacer the caller awaits each request's turn; without one (the paper exchange) every turn comes at once.
    """

    def __init__(
        self,
        base_url: str,
        key: str,
        secret: str,
        *,
        connect_timeout: float,
        read_timeout: float,
        pacer: Pacer | None = None,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.username is not None:
            raise ValueError("base_url must be http(s)://host[:port]")
        self.base_url = base_url.rstrip("/")
        self._key, self._secret = key.strip(), secret.strip()
        self._pacer, self._host, self._account = pacer, parts.netloc, fingerprint(key.strip())
        self._timeouts = (connect_timeout, read_timeout)
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.mount("https://", _WitnessingAdapter())
        self._session.mount("http://", _WitnessingAdapter())

    def __repr__(self) -> str:
        return f"Wire({self.base_url})"

    def close(self) -> None:
        self._session.close()

    def call(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, str],
        *,
        deed: Deed,
        is_signed: bool,
        is_bare: bool = False,
    ) -> dict[str, Any]:
        """Send once and return the JSON object of an answer with code 0 (or without a code, when `is_bare`).

        Raise `NotSent`, a `Refused` or `OutcomeUnknown`; none of them has a cause or a context that would tell more.
        A rate limit is made known to all processes before it is raised.
        """
        act = f"{method} {path}"
        answer = self._send(method, path, parameters, is_signed)
        try:
            if isinstance(answer, ExchangeError):
                raise answer
            return self._judge(act, answer, deed, is_bare)
        except ExchangeError as error:
            add("exchange_errors", kind=type(error).__name__, endpoint=act if act in PACES else "other")
            if self._pacer and isinstance(error, RateLimited):
                self._pacer.obey(self._wanted(method, path, is_signed), error)
            raise

    def await_turn(
        self, method: str, path: str, *, patience: float, is_signed: bool = True, rank: Rank | None = None
    ) -> None:
        """Take a place among the requests; raise `RateLimited` when none is free within `patience` seconds.

        To be called right before the time stamp is made: a request that waited with its stamp on would be stale.
        """
        if self._pacer:
            self._pacer.take(self._wanted(method, path, is_signed, rank), patience)

    def _wanted(self, method: str, path: str, is_signed: bool, rank: Rank | None = None) -> Call:
        act = f"{method} {path}"
        rank = PACES.get(act, UNLISTED).rank if rank is None else rank
        return Call(self._host, self._account if is_signed else "", act, rank)

    def _send(
        self, method: str, path: str, parameters: Mapping[str, str], is_signed: bool
    ) -> requests.Response | ExchangeError:
        """Return the answer, or the error to raise: it is raised elsewhere so that no traceback frame holds the URL."""
        if is_signed and not (self._key and self._secret):
            return NotSent("this account has no API key and secret")
        pairs = sorted(parameters.items())
        query = signed_query(pairs, self._secret) if is_signed else encoded_query(pairs)
        headers = {KEY_HEADER: self._key} if is_signed else {}
        _present.stage = None
        try:
            return self._session.request(
                method,
                f"{self.base_url}{path}?{query}",
                headers=headers,
                timeout=self._timeouts,
                allow_redirects=False,
            )
        except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
            return self._explain(f"{method} {path}", error)

    def _explain(self, act: str, error: Exception) -> ExchangeError:
        """Tell "nothing left this machine" from "nobody knows"; the error's own text holds the URL and is dropped."""
        kind = type(error).__name__
        if _present.stage != _WRITING and (_present.stage == _CONNECTING or _came_before_writing(error)):
            return NotSent(f"{act}: no connection to the exchange ({kind})")
        if isinstance(error, requests.ReadTimeout):
            return OutcomeUnknown(f"{act}: no answer within {self._timeouts[1]:g} s")
        return OutcomeUnknown(f"{act}: the connection was lost before the whole answer came ({kind})")

    def _judge(self, act: str, response: requests.Response, deed: Deed, is_bare: bool) -> dict[str, Any]:
        """Return the body of a success; raise what the HTTP status and the business code prove, and no more."""
        status = response.status_code
        body, complaint = _open(response)
        code, words = _code_of(body), self._clean(str(body.get("msg") or ""))
        if status in _SLOW_DOWN:
            raise RateLimited(f"{act}: too many requests", code=code, http_status=status, retry_at=unblocked_at(words))
        if status == _OK and (code == "0" or (is_bare and body and not code)):
            return body
        if code in {"", "0"}:
            raise OutcomeUnknown(f"{act}: HTTP {status}{complaint}", http_status=status)
        if status >= _SERVER_ERROR and REFUSALS.get(code, UNHEARD_OF).error is not RateLimited:
            raise OutcomeUnknown(f"{act}: HTTP {status} (BingX: {words})", code=code, http_status=status)
        raise error_for(code, words, deed=deed, http_status=status)

    def _clean(self, words: str) -> str:
        """Return the vendor's words on one line, cut to length, with nothing in them that opens anything."""
        for hidden in filter(None, (self._secret, self._key)):
            words = words.replace(hidden, "***")
        words = _HEX_DIGEST.sub("***", words)
        return " ".join("".join(c if c.isprintable() else " " for c in words).split())[:LONGEST_WORDS]


def _open(response: requests.Response) -> tuple[dict[str, Any], str]:
    """Return the body and what is wrong with it; a body that is no JSON object counts as an empty one."""
    try:
        body = load(response.content)
    except Unreadable as error:
        return {}, f", {error.message}"
    return body, "" if "code" in body else ", the answer has no code"


def _code_of(body: Mapping[str, Any]) -> str:
    """Return the business code as text, empty when there is none, `?` for something that is no code."""
    code = str(body.get("code") if body.get("code") is not None else "").strip()
    return code if not code or _CODE.fullmatch(code) else "?"


def _came_before_writing(error: Exception) -> bool:
    """Say whether the error proves by its kind that no connection stood; a resolver's failure is one of them."""
    wrapped = error.args[0] if error.args else None
    reason = wrapped.reason if isinstance(wrapped, MaxRetryError) else None
    is_unconnected = isinstance(reason, NewConnectionError | ConnectTimeoutError)
    is_unsendable = isinstance(error, ValueError)
    return is_unconnected or is_unsendable or isinstance(error, requests.ConnectTimeout | requests.exceptions.SSLError)
