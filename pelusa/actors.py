"""Who is at it just now: the person behind a request, known once the view asked for him, or a command's."""

from __future__ import annotations

import getpass
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # manage.py asks before Django is set up
    from django.http import HttpRequest

API_PATHS = ("/api/", "/get-k-line-data")
# What people type; everything else that manage.py runs is the system itself
TYPED_COMMANDS = frozenset(
    {"backfill", "changepassword", "createsuperuser", "rotate_keys", "reconcile", "shell", "token"}
)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who, from where, and through what door."""

    through: str
    who: str
    user_id: int | None = None
    address: str = ""
    request_id: str = ""
    token: str = ""


SYSTEM = Actor("system", "Pelusa")

_request: ContextVar[HttpRequest | None] = ContextVar("request", default=None)
_command: ContextVar[str] = ContextVar("command", default="")


@contextmanager
def behind_request(request: HttpRequest) -> Iterator[None]:
    """Until the end, whatever happens is done by the request's user."""
    before = _request.set(request)
    try:
        yield
    finally:
        _request.reset(before)


@contextmanager
def behind_command(arguments: Sequence[str]) -> Iterator[None]:
    """Until the end, whatever happens is done by whoever typed the command, if people type it."""
    name = arguments[0] if arguments else ""
    before = _command.set(name if name in TYPED_COMMANDS else "")
    try:
        yield
    finally:
        _command.reset(before)


def current_actor() -> Actor | None:
    """Return who is at it, None when nobody is: a task that goes its round."""
    request = _request.get()
    if request is not None:
        return _of_request(request)
    name = _command.get()
    return Actor("command", f"{_login_name()}: {name}"[:150]) if name else None


def _of_request(request: Any) -> Actor:
    # The API puts the user of a token on Django's request when its view has asked for him
    user: Any = getattr(request, "user", None)
    if user is not None and not user.is_authenticated:
        user = None
    return Actor(
        through="api" if request.path.startswith(API_PATHS) else "office",
        who=user.get_username() if user else "",
        user_id=user.pk if user else None,
        address=str(getattr(request, "client_address", None) or ""),
        request_id=getattr(request, "request_id", ""),
        token=getattr(getattr(request, "auth", None), "token_key", ""),
    )


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "a container's user"
