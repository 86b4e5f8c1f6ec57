"""Lock out who guesses passwords: his address, and the user name from his address, never the user elsewhere.

django-axes keeps the attempts; here is what it asks us: whose address, and what the page says.
"""

from ipaddress import IPv6Address, IPv6Network
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_login_failed
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.crypto import salted_hmac
from loguru import logger

from pelusa.addresses import parse_address
from pelusa.refusals import refusals


def address_of(request: HttpRequest) -> str | None:
    """Return the address whose guesses are counted; of IPv6 the /64, since whoever has one address has them all."""
    address = parse_address(getattr(request, "client_address", ""))
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, 64), strict=False).network_address)
    return str(address) if address else None


def name_of(request: HttpRequest, credentials: dict[str, Any] | None = None) -> str | None:
    """Return the name that guesses are counted under; of one that nobody has a digest, for it may be a password."""
    name = (credentials or request.POST).get("username")
    if not name or get_user_model().objects.filter(username=name).exists():
        return name
    return f"?{salted_hmac(__name__, name).hexdigest()[:16]}"


def locked_out(request: HttpRequest, response: HttpResponse | None, credentials: Any) -> HttpResponse:
    """Answer who guessed too often, with the minutes that he waits."""
    cool_off = settings.AXES_COOLOFF_TIME
    context = {"minutes": int(cool_off.total_seconds() // 60), "site_title": settings.UNFOLD["SITE_TITLE"]}
    answer = render(request, "pelusa/locked_out.html", context, status=429)
    answer.headers["Retry-After"] = str(int(cool_off.total_seconds()))
    answer.refused_for = "locked_out"  # type: ignore[attr-defined]
    return answer


def count_failure(request: HttpRequest | None = None, **signal: Any) -> None:
    """Count a wrong password beside the other refusals; the name that was tried is nowhere in it."""
    address = getattr(request, "client_address", "")
    if request is not None and not getattr(request, "axes_locked_out", False):
        refusals.add(address, "wrong_password", request.path_info)
        logger.bind(address=address).warning("a log-in failed")


user_login_failed.connect(count_failure, dispatch_uid="pelusa.lockout")
