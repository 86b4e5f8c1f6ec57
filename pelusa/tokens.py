"""Users by their API token."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext_lazy as _
from knox.auth import TokenAuthentication
from rest_framework.exceptions import AuthenticationFailed, Throttled

from pelusa.lockout import address_of
from pelusa.throttles import Allowance

if TYPE_CHECKING:
    # A view imports this module through the settings
    from rest_framework.request import Request

# From one address, a minute and process; a guess beyond them is refused before any database is asked
WRONG_TOKENS = 20


@cache
def guesses() -> Allowance:
    """Return what this process counts of wrong tokens; in its memory, so that a right one costs nothing."""
    return Allowance()


class ApiTokens(TokenAuthentication):
    """Knox's tokens; bytes that are no text are a wrong token, where Knox breaks, and guessing ends soon."""

    def authenticate(self, request: Request) -> Any:
        name = str(address_of(request._request))
        if request.headers.get("Authorization") and (wait := guesses().is_spent(name, WRONG_TOKENS)):
            raise Throttled(wait)
        try:
            return super().authenticate(request)
        except AuthenticationFailed:
            guesses().take(name, WRONG_TOKENS)
            raise

    def _cleanup_token(self, auth_token: Any) -> bool:
        # Knox reads every token of the user at every request, to delete those whose time is over; each is refused
        # by its own time anyway
        return auth_token.expiry is not None and bool(super()._cleanup_token(auth_token))

    def authenticate_credentials(self, token: bytes) -> Any:
        if not token.isascii():
            raise AuthenticationFailed(_("Invalid token."))
        return super().authenticate_credentials(token)
