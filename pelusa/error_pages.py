"""Pages that say to a person in the back office what went wrong: from one template, without a database or a session."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.template.loader import get_template
from django.utils.translation import gettext_lazy as _

HEADINGS: dict[int, tuple[Any, Any]] = {
    400: (_("This request cannot be understood"), _("Go back and try it again. If you typed the address, look at it.")),
    403: (_("You may not do this"), _("Your role does not allow it, or the form was too old. Ask an operator.")),
    404: (_("There is nothing here"), _("The address is wrong, or what it named was deleted.")),
    413: (_("This is too large"), _("Send less at once.")),
    500: (_("Something broke here"), _("It is in the log under the number below. Orders and stops go on without you.")),
    503: (_("A database is away"), _("It should be back in a moment: load the page again.")),
}
FORGED_FORM = _("The form was too old or came from elsewhere. Go back, load the page again and repeat what you did.")


def error_page(request: HttpRequest, http_status: int, advice: Any = "") -> HttpResponse:
    """Return the page for a status; nothing in it comes from what went wrong."""
    heading, usual_advice = HEADINGS[http_status]
    told = {
        "status": http_status,
        "heading": heading,
        "advice": advice or usual_advice,
        "request_id": getattr(request, "request_id", ""),
        "static_url": settings.STATIC_URL,
    }
    # Without the request: context processors would ask a session, and with it a database, that may be what is away
    return HttpResponse(get_template("pelusa/error.html").render(told), status=http_status)
