"""What every request passes first: its id, its client's address, the rules about addresses, one line in the log."""

import re
from collections.abc import Callable
from time import perf_counter
from uuid import uuid4

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from loguru import logger

from pelusa.addresses import client_address, is_hidden, is_restricted, may_ask, parse_rules
from pelusa.environment import Network
from pelusa.errors import error_answer, with_body

GetResponse = Callable[[HttpRequest], HttpResponse]

_WEBHOOK_SECRET = re.compile(r"(?i)^(/+webhook/+).+", re.DOTALL)
# Supervisors and load balancers ask every few seconds
_QUIET = ("/health/live",)


def shown_path(path: str) -> str:
    """Return a path as it may be logged: what follows `/webhook/` is a secret."""
    return _WEBHOOK_SECRET.sub(r"\1***", path)


class RequestContext:
    """Give the request an id and its client's address; log one line when it is answered."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        started = perf_counter()
        request.request_id = uuid4().hex  # type: ignore[attr-defined]
        request.client_address = client_address(*hops(request))  # type: ignore[attr-defined]
        with logger.contextualize(request_id=request.request_id):  # type: ignore[attr-defined]
            response = with_body(request, self.get_response(request))
            response.headers["X-Request-ID"] = request.request_id  # type: ignore[attr-defined]
            log_request(request, response, (perf_counter() - started) * 1000)
        return response


def hops(request: HttpRequest) -> tuple[str, str | None, list[Network]]:
    """Return the peer, what its header says of others, and whom we believe."""
    return request.META.get("REMOTE_ADDR", ""), request.META.get("HTTP_X_FORWARDED_FOR"), settings.TRUSTED_PROXIES


def log_request(request: HttpRequest, response: HttpResponse, milliseconds: float) -> None:
    """Write the request's one line."""
    line = logger.bind(
        method=request.method,
        path=shown_path(request.path),
        status=response.status_code,
        ms=round(milliseconds, 1),
        address=request.client_address,  # type: ignore[attr-defined]
    )
    line.log("DEBUG" if request.path in _QUIET else "INFO", "request")


class AddressRules:
    """Refuse an address that IP_ALLOW and IP_DENY keep away from the path."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self.allow = parse_rules("IP_ALLOW", settings.IP_ALLOW)
        self.deny = parse_rules("IP_DENY", settings.IP_DENY)

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if self._may_pass(request):
            return self.get_response(request)
        address = request.client_address or "an unknown address"  # type: ignore[attr-defined]
        return error_answer(request, 403, "forbidden_address", f"Requests from {address} are not taken here.")

    def _may_pass(self, request: HttpRequest) -> bool:
        path = request.path_info
        if is_restricted(path, self.allow, self.deny) and is_hidden(*hops(request)):
            return False
        return may_ask(path, request.client_address, self.allow, self.deny)  # type: ignore[attr-defined]
