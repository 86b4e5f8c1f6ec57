"""What people do and no signal of a saved row tells: an app says it here, and whoever keeps the audit listens."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.db.models import Model
from django.dispatch import Signal

acted = Signal()


def tell_act(
    act: str,
    about: Model,
    *,
    who: object = "",
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    note: str = "",
) -> None:
    """Say that somebody did something to a row: in one commit with it, where this is called inside of one.

    `who` names whom to blame when no person is at it: the part of the system that acted by itself.
    """
    acted.send(type(about), act=act, about=about, who=str(who), before=before or {}, after=after or {}, note=note)


def tell_act_after(act: str, about: Model, **said: Any) -> None:
    """Say it as `tell_act` does, once its commit is made: a crash in between loses what was to be said.

    For what brakes or leaves: it neither waits for the listener nor fails with him.
    """

    def tell() -> None:
        tell_act(act, about, **said)

    transaction.on_commit(tell, using="default", robust=True)
