"""What every request passes first: its id, its client's address, the rules about addresses, one line in the log."""

import re
from collections.abc import Callable
from time import perf_counter
from uuid import uuid4

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from loguru import logger

from pelusa.actors import behind_request
from pelusa.addresses import Rules, client_address, is_hidden, is_restricted
from pelusa.environment import Network
from pelusa.errors import error_answer, with_body
from pelusa.gatekeeping import environment_rules, gatekeeper
from pelusa.refusals import note, prefix_of, refusals
from pelusa.sampling import Sampler

GetResponse = Callable[[HttpRequest], HttpResponse]

_WEBHOOK_SECRET = re.compile(r"(?i)^(/+webhook/+).+", re.DOTALL)
# Supervisors and load balancers ask every few seconds
_QUIET = ("/health/live",)
# What a stranger may cause as often as he likes; 422 is a message with the right secret
_OF_STRANGERS = frozenset({400, 401, 403, 404, 405, 411, 413, 415, 429})


def shown_path(path: str) -> str:
    """Return a path as it may be logged: what follows `/webhook/` is a secret."""
    return _WEBHOOK_SECRET.sub(r"\1***", path)


class RequestContext:
    """Give the request an id and its client's address; log one line when it is answered."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self._sampler = Sampler()

    def __call__(self, request: HttpRequest) -> HttpResponse:
        started = perf_counter()
        request.request_id = uuid4().hex  # type: ignore[attr-defined]
        request.client_address = client_address(*hops(request))  # type: ignore[attr-defined]
        with behind_request(request), logger.contextualize(request_id=request.request_id):  # type: ignore[attr-defined]
            response = with_body(request, self.get_response(request))
            response.headers["X-Request-ID"] = request.request_id  # type: ignore[attr-defined]
            if response.status_code >= 400:
                note(request, response)
            left_out = self._admit(request, response)
            if left_out is not None:
                log_request(request, response, (perf_counter() - started) * 1000, left_out)
        return response

    def _admit(self, request: HttpRequest, response: HttpResponse) -> int | None:
        """Return how many lines of the kind were left out before this one; None when this one is too."""
        if response.status_code not in _OF_STRANGERS:
            return 0
        return self._sampler.admit((response.status_code, prefix_of(request.path_info)))


def hops(request: HttpRequest) -> tuple[str, str | None, list[Network]]:
    """Return the peer, what its header says of others, and whom we believe."""
    return request.META.get("REMOTE_ADDR", ""), request.META.get("HTTP_X_FORWARDED_FOR"), settings.TRUSTED_PROXIES


def log_request(request: HttpRequest, response: HttpResponse, milliseconds: float, left_out: int = 0) -> None:
    """Write the request's one line, and how many like it were left out since the last."""
    line = logger.bind(
        method=request.method,
        path=shown_path(request.path),
        status=response.status_code,
        ms=round(milliseconds, 1),
        address=request.client_address,  # type: ignore[attr-defined]
    )
    if left_out:
        line = line.bind(left_out=left_out)
    line.log("DEBUG" if request.path in _QUIET else "INFO", "request")


class AddressRules:
    """Refuse an address that the rules of the environment and of the back office keep away from the path."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self._sampler = Sampler()
        self._environment = environment_rules()
        self._stored = gatekeeper.stored
        self._rules = self._environment.beside(self._stored)

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if self._may_pass(request):
            return self.get_response(request)
        if settings.IP_OBSERVE_ONLY:
            return self._observe(request)
        address = request.client_address or "an unknown address"  # type: ignore[attr-defined]
        return error_answer(
            request, 403, "forbidden_address", _("Requests from %(address)s are not taken here.") % {"address": address}
        )

    def _observe(self, request: HttpRequest) -> HttpResponse:
        """Say what would have been refused, and let it through."""
        refusals.add(request.client_address, "would_be_forbidden", request.path_info)  # type: ignore[attr-defined]
        left_out = self._sampler.admit(prefix_of(request.path_info))
        if left_out is not None:
            line = logger.bind(address=request.client_address, path=shown_path(request.path))  # type: ignore[attr-defined]
            words = "address rules only observe: this request would have been refused; {} more were left out"
            line.warning(words, left_out)
        return self.get_response(request)

    def _may_pass(self, request: HttpRequest) -> bool:
        path, rules = request.path_info, self._in_force()
        if is_restricted(path, rules.allow, rules.deny) and is_hidden(*hops(request)):
            return False
        return rules.may_ask(path, request.client_address)  # type: ignore[attr-defined]

    def _in_force(self) -> Rules:
        stored = gatekeeper.stored
        if stored is not self._stored:
            self._rules = self._environment.beside(stored)
            self._stored = stored
        return self._rules
