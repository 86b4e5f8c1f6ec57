"""Users by their API token."""

from typing import Any

from knox.auth import TokenAuthentication
from rest_framework.exceptions import AuthenticationFailed


class ApiTokens(TokenAuthentication):
    """Knox's tokens; bytes that are no text are a wrong token, where Knox breaks."""

    def _cleanup_token(self, auth_token: Any) -> bool:
        # Knox reads every token of the user at every request, to delete those whose time is over; each is refused
        # by its own time anyway
        return auth_token.expiry is not None and bool(super()._cleanup_token(auth_token))

    def authenticate_credentials(self, token: bytes) -> Any:
        if not token.isascii():
            raise AuthenticationFailed("Invalid token.")
        return super().authenticate_credentials(token)
