"""Users by their API token."""

from __future__ import annotations

from functools import cache
from hmac import compare_digest
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext_lazy as _
from knox.auth import TokenAuthentication
from knox.crypto import hash_token
from knox.models import get_token_model
from knox.settings import CONSTANTS
from rest_framework.exceptions import AuthenticationFailed, Throttled

from operations.kept import Kept
from pelusa.lockout import address_of
from pelusa.throttles import Allowance

if TYPE_CHECKING:
    # A view imports this module through the settings
    from rest_framework.request import Request

# From one address, a minute and process; a guess beyond them is refused before any database is asked
WRONG_TOKENS = 20
BY_KEY = Kept[Any](lambda key: get_token_model().objects.filter(token_key=key).select_related("user"), str)


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
        text = token.decode() if token.isascii() else ""
        for held in BY_KEY.all(text[: CONSTANTS.TOKEN_KEY_LENGTH]) if text else ():
            if not self._cleanup_token(held) and compare_digest(hash_token(text), held.digest):
                return self.validate_user(held)
        raise AuthenticationFailed(_("Invalid token."))
