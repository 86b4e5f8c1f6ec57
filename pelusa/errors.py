"""One shape for every error that a program reads: `{"error": {"code", "message", "fields", "request_id"}}`.

`code` is a machine word, `message` a sentence, `fields` the sentences per field, nested ones with a dot
(`long.entry_interval`). No stack, SQL or path ever leaves: what was not expected is logged under its request id.
"""

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from django.core.exceptions import DisallowedHost, PermissionDenied, RequestDataTooBig
from django.db import IntegrityError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext_lazy as _
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import exception_handler

from pelusa.error_pages import FORGED_FORM, error_page

# Pages elsewhere are for people and answer in HTML
PREFIXES_FOR_PROGRAMS = ("/api", "/webhook", "/health", "/metrics", "/get-k-line-data")
WHOLE_REQUEST = "non_field_errors"

MESSAGES = {
    400: ("bad_request", _("The request cannot be understood.")),
    403: ("permission_denied", _("You may not do this.")),
    404: ("not_found", _("There is nothing at this address.")),
    405: ("method_not_allowed", _("This address does not take this method.")),
    413: ("too_large", _("The request is too large.")),
    500: ("internal_error", _("Something broke here. The request id finds it in the log.")),
    503: ("unavailable", _("A database is away for the moment. Try again.")),
}


def error_answer(
    request: HttpRequest,
    http_status: int,
    code: str,
    message: str,
    fields: Mapping[str, list[str]] | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    **beside: Any,
) -> JsonResponse:
    """Return the one error shape; what is named `beside` stands next to `error`."""
    body = {"error": _shape(request, code, message, fields or {}), **beside}
    answer = JsonResponse(body, status=http_status, headers=headers)
    # Whoever counts refusals reads it there
    answer.refused_for = code  # type: ignore[attr-defined]
    return answer


def _shape(request: Any, code: str, message: str, fields: Mapping[str, list[str]]) -> dict[str, Any]:
    told = {_sendable(name): [_sendable(each) for each in sentences] for name, sentences in fields.items()}
    request_id = getattr(request, "request_id", "")
    return {"code": code, "message": _sendable(message), "fields": told, "request_id": request_id}


def _sendable(text: str) -> str:
    """Return a text that quotes the sender without halves of surrogate pairs, which UTF-8 cannot carry."""
    return text.encode("utf-8", "backslashreplace").decode()


def answer_with_one_shape(error: Exception, context: dict[str, Any]) -> Response | None:
    """Turn what a DRF view raised into the one shape; None lets Django log and answer what nobody expected."""
    error = _translated(error)
    response = exception_handler(error, context)
    if response is None or not isinstance(error, exceptions.APIException):
        return None
    code, message, fields = _described(error)
    response.data = {"error": _shape(context["request"], code, message, fields)}
    response.refused_for = code  # type: ignore[attr-defined]
    return response


def _translated(error: Exception) -> Exception:
    """Return the API's exception for what Django raises by other names."""
    if isinstance(error, Http404):
        return exceptions.NotFound(MESSAGES[404][1])
    if isinstance(error, PermissionDenied):
        return exceptions.PermissionDenied(MESSAGES[403][1])
    if isinstance(error, RequestDataTooBig):
        return _api_error(413)
    if isinstance(error, IntegrityError):
        return _api_error(409, "conflict", _("What is stored does not allow this; somebody may have been faster."))
    return error


def _api_error(http_status: int, code: str = "", message: Any = "") -> exceptions.APIException:
    default_code, default_message = MESSAGES.get(http_status, ("", ""))
    error = exceptions.APIException(message or default_message, code or default_code)
    error.status_code = http_status
    return error


def _described(error: exceptions.APIException) -> tuple[str, str, dict[str, list[str]]]:
    codes = error.get_codes()
    if isinstance(codes, str):
        return codes, str(error.detail), {}
    fields: dict[str, list[str]] = {}
    for name, sentences in flattened(error.detail):
        fields.setdefault(name, []).extend(sentences)
    return str(error.default_code), _summary(fields), fields


def flattened(detail: Any, name: str = "") -> Iterator[tuple[str, list[str]]]:
    """Yield each field's dotted name with its sentences."""
    if isinstance(detail, Mapping):
        for key, below in detail.items():
            yield from flattened(below, _dotted(name, str(key)))
    elif isinstance(detail, list) and any(isinstance(each, Mapping) for each in detail):
        for index, below in enumerate(detail):
            yield from flattened(below, _dotted(name, str(index)))
    else:
        sentences = detail if isinstance(detail, list) else [detail]
        yield name or WHOLE_REQUEST, [str(sentence) for sentence in sentences]


def _dotted(name: str, key: str) -> str:
    if key == WHOLE_REQUEST:
        return name or key
    return f"{name}.{key}" if name else key


def _summary(fields: Mapping[str, list[str]]) -> str:
    """Return the only complaint in full, or the names of all fields that are wrong."""
    if len(fields) == 1:
        ((name, sentences),) = fields.items()
        return " ".join(sentences) if name == WHOLE_REQUEST else f"{name}: {' '.join(sentences)}"
    return _("%(count)s fields are wrong: %(names)s.") % {"count": len(fields), "names": ", ".join(fields)}


def is_for_programs(path: str) -> bool:
    """Tell whether an address is asked by programs, which want JSON, and not by people."""
    return any(path == prefix or path.startswith(f"{prefix}/") for prefix in PREFIXES_FOR_PROGRAMS)


def plain_error(request: HttpRequest, http_status: int) -> JsonResponse:
    """Return the one shape with the usual words for a status."""
    code, message = MESSAGES[http_status]
    return error_answer(request, http_status, code, str(message))


def in_their_words(request: HttpRequest, http_status: int, advice: Any = "") -> HttpResponse:
    """Answer in the words of whoever asked: the one shape for programs, a page for people."""
    if is_for_programs(request.path):
        return plain_error(request, http_status)
    return error_page(request, http_status, advice)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer what Django refused before a view saw it: a bad Host header, a request that is too large."""
    response = in_their_words(request, 413 if isinstance(exception, RequestDataTooBig) else 400)
    if isinstance(exception, DisallowedHost):
        response.refused_for = "bad_host"  # type: ignore[attr-defined]
    return response


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 403."""
    return in_their_words(request, 403)


def forged_form(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer a form without its CSRF token; Django has logged the reason, which is nobody else's business."""
    return in_their_words(request, 403, FORGED_FORM)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 404."""
    return in_their_words(request, 404)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer what nobody expected: 503 when a database is away, else 500. Django has logged it, once."""
    is_away = isinstance(sys.exc_info()[1], OperationalError | InterfaceError)
    return in_their_words(request, 503 if is_away else 500)


def with_body(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """Give an empty refusal of Django's (405) the one shape, when a program asked."""
    if response.status_code != 405 or response.streaming or response.content or not is_for_programs(request.path):
        return response
    answer = plain_error(request, 405)
    answer.headers["Allow"] = response.headers.get("Allow", "")
    return answer
