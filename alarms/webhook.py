"""The door that TradingView knocks at.

It reads raw bytes whatever the content type says, takes the secret out, stores the alarm and answers. Once an alarm
is stored no answer is a 5xx, since TradingView would send it again; when nothing could be stored it is 503, so that
it does.
"""

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.db import Error
from django.http import HttpRequest, JsonResponse, UnreadablePostError
from django.utils import translation
from django.utils.crypto import constant_time_compare
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt
from loguru import logger

from alarms.intake import Receipt, record_alarm, record_unreadable
from alarms.messages import take_secret
from alarms.models import Alarm
from pelusa.errors import error_answer

# Read and thrown away, so that the sender hears the answer instead of a reset
MOST_DISCARDED = 4 * 1024 * 1024
A_CHUNK = 65_536


@csrf_exempt
def receive(request: HttpRequest, secret: str = "") -> JsonResponse:
    """Store one alarm and say under which id."""
    if request.method != "POST":
        return error_answer(request, 405, "method_not_allowed", "Post the alarm.", headers={"Allow": "POST"})
    if "HTTP_TRANSFER_ENCODING" in request.META:
        return error_answer(request, 411, "length_required", _("Name the message's length: it is not read in chunks."))
    try:
        head, size = _read(request)
    except UnreadablePostError:
        return error_answer(request, 400, "cut_short", _("The message did not come whole, or not in time."))
    named, body = take_secret(head)
    if not _opens(secret or named):
        logger.warning("webhook: wrong or missing secret from {}", request.client_address)  # type: ignore[attr-defined]
        return error_answer(request, 401, "wrong_secret", _("The webhook's secret is missing or wrong."))
    try:
        return _answer(request, body, size)
    except Error as error:
        logger.error("alarm not stored: {}", type(error).__name__)
        return error_answer(request, 503, "not_stored", _("The alarm could not be stored; send it again."))


def _read(request: HttpRequest) -> tuple[bytes, int]:
    """Return the body's head and the size of the whole, as far as it was read."""
    limit = settings.WEBHOOK_MAX_BODY
    head = request.read(limit + 1)
    size = len(head)
    while len(head) > limit and size < MOST_DISCARDED and (chunk := request.read(A_CHUNK)):
        size += len(chunk)
    return head[:limit], size


def _opens(given: str | None) -> bool:
    """Compare with every secret in constant time: an early end would tell how much of a guess was right."""
    if not isinstance(given, str) or not given:
        return False
    matches = [
        constant_time_compare(given.encode("utf-8", "replace"), each.encode()) for each in settings.WEBHOOK_SECRETS
    ]
    return any(matches)


def _answer(request: HttpRequest, body: bytes, size: int) -> JsonResponse:
    address = request.client_address  # type: ignore[attr-defined]
    with translation.override(None):
        refusal = _why_unread(request.META, size)
    if refusal:
        http_status, reason, detail = refusal
        return _unreadable(request, http_status, record_unreadable(body, address, reason, detail))
    receipt = record_alarm(body, address)
    if receipt.status == Alarm.Status.INVALID:
        return _unreadable(request, 422, receipt)
    return JsonResponse({"id": receipt.alarm_id, "status": receipt.status})


def _why_unread(meta: Mapping[str, Any], size: int) -> tuple[int, str, str] | None:
    """Return status, reason and sentence when the message is not even looked into."""
    limit = settings.WEBHOOK_MAX_BODY
    if size > limit:
        words = _("The message has %(size)s bytes or more; the most is %(limit)s. Its beginning is kept.")
        return 413, "too_large", words % {"size": size, "limit": limit}
    if meta.get("HTTP_CONTENT_ENCODING", "identity").strip().lower() != "identity":
        return 415, "encoded", _("The message is compressed; plain text is expected.")
    declared = str(meta.get("CONTENT_LENGTH", ""))
    # `Key: value` text makes sense wherever it is cut: 0.01 of a quantity may be the start of 0.015
    if declared.isdigit() and size < int(declared):
        words = _("The message ended after %(size)s of %(declared)s bytes.")
        return 422, "cut_short", words % {"size": size, "declared": declared}
    return None


def _unreadable(request: HttpRequest, http_status: int, receipt: Receipt) -> JsonResponse:
    fields = {receipt.key: [receipt.detail]} if receipt.key else {}
    return error_answer(
        request, http_status, receipt.reason, receipt.detail, fields, id=receipt.alarm_id, status=receipt.status
    )
