"""A text column that is encrypted at rest with keys of its own, newest first.

It fails closed: a value that no key opens raises, and a look-up on the column is refused.
"""

import hashlib
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import FieldError, ImproperlyConfigured
from django.db import models


class WrongKey(Exception):
    """None of FIELD_ENCRYPTION_KEYS opens a stored value."""


def key_id(key: str) -> str:
    """Return what a key may be called by in a line or a list."""
    return hashlib.sha256(key.encode()).hexdigest()[:8]


def keys() -> MultiFernet:
    """Return FIELD_ENCRYPTION_KEYS as one: the newest seals, any opens. Raises `ImproperlyConfigured`."""
    try:
        return MultiFernet([Fernet(key) for key in settings.FIELD_ENCRYPTION_KEYS])
    except ValueError:
        raise ImproperlyConfigured("FIELD_ENCRYPTION_KEYS: each must be 32 bytes in url-safe base64") from None


class EncryptedTextField(models.TextField):
    """Text whose stored form is Fernet ciphertext; the empty text stays empty."""

    def get_prep_value(self, value: Any) -> str:
        return keys().encrypt(value.encode()).decode() if value else ""

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> str:
        if not value:
            return ""
        try:
            return keys().decrypt(value.encode()).decode()
        except InvalidToken:
            raise WrongKey(f"{self.model.__name__}.{self.name}: FIELD_ENCRYPTION_KEYS does not open it") from None

    def get_lookup(self, lookup_name: str) -> Any:
        if lookup_name == "isnull":
            return super().get_lookup(lookup_name)
        raise FieldError(f"{self.name} is encrypted: it cannot be searched")
