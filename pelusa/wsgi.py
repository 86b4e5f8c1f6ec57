"""The web process's entry point."""

import os
import re
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Any, cast

from django.conf import settings
from django.core.handlers.exception import convert_exception_to_response
from django.core.handlers.wsgi import WSGIRequest
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse

from exchange.tallies import observe
from pelusa.environment import WEBHOOK_TIMEOUTS

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pelusa.settings")

WSGI = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
# The addresses of the webhook in pelusa/urls.py, which stands for them wherever there is no gunicorn
WEBHOOK = re.compile(r"/webhook(?:/(?P<secret>[^/]+))?/?")


class WebhookFirst:
    """Lead alarms past what only people need: sessions, forms, messages, and a ping of every database.

    They pass the same address rules, the same log and the same errors as everything else, at a quarter of the cost.
    """

    def __init__(self, everything: WSGI) -> None:
        from pelusa.middleware import AddressRules, GetResponse, RequestContext

        self._everything = everything
        self._webhook = RequestContext(cast(GetResponse, convert_exception_to_response(AddressRules(_receive))))

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if not WEBHOOK.fullmatch(environ.get("PATH_INFO", "")):
            return self._everything(environ, start_response)
        began = perf_counter()
        response = self._webhook(WSGIRequest(environ))
        response.headers["Content-Length"] = str(len(response.content))
        response.headers["X-Content-Type-Options"] = "nosniff"
        observe("webhook_seconds", perf_counter() - began, status=str(response.status_code))
        start_response(f"{response.status_code} {response.reason_phrase}", list(response.headers.items()))
        return [response.content]


def _receive(request: HttpRequest) -> HttpResponse:
    from alarms.webhook import receive

    request.get_host()
    match = WEBHOOK.fullmatch(request.path_info)
    return receive(request, match["secret"] or "" if match else "")


def _checked() -> WSGI:
    from pelusa.checks import refuse_danger

    everything = get_wsgi_application()
    refuse_danger()
    return everything


application = WebhookFirst(_checked())

_alarms = settings.DATABASES["alarms"]
if _alarms["ENGINE"] == "django.db.backends.mysql":
    _alarms["OPTIONS"] = _alarms["OPTIONS"] | WEBHOOK_TIMEOUTS
