"""Sessions whose rows do not hold the cookie: whoever reads the database, or a copy of it, is nobody by that."""

from hashlib import sha256
from typing import Any

from django.contrib.sessions.backends import db
from django.contrib.sessions.base_session import AbstractBaseSession
from django.contrib.sessions.models import Session
from django.utils import timezone


def digest(key: str) -> str:
    """Return what a row has in the cookie's place: as much of a digest as fits the column, 160 bits."""
    return sha256(key.encode()).hexdigest()[:40]


class SessionStore(db.SessionStore):
    """Django's sessions in the database, kept under a digest of the cookie; Pelusa asks for none asynchronously."""

    def _get_session_from_db(self) -> Session | None:
        living = Session.objects.filter(expire_date__gt=timezone.now())
        found = living.filter(session_key=digest(self.session_key)).first() if self.session_key else None
        if found is None:
            self._session_key = None
        return found

    def exists(self, session_key: str) -> bool:
        return super().exists(digest(session_key))

    def create_model_instance(self, data: dict[str, Any]) -> AbstractBaseSession:
        row = super().create_model_instance(data)
        row.session_key = digest(row.session_key)
        return row

    def delete(self, session_key: str | None = None) -> None:
        key = session_key or self.session_key
        if key:
            super().delete(digest(key))
