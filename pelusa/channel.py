"""Make a line to the broker that was closed fail as a lost one does, which Celery knows how to survive.

Kombu 5.7 forgets whose line it was when it closes one. Whoever still needs it then, to give a message back or to
acknowledge what a thread has just finished, stumbles over an AttributeError; nobody expects that, and the worker ends
with all that its threads are at.
"""

from typing import Any

from kombu.transport import redis


class Channel(redis.Channel):
    """A channel that knows when it has no line any more."""

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        if self.connection is None or self.connection.client is None:
            raise ConnectionError("the line to the broker was closed")
        # The published types leave it out
        parameters: dict[str, Any] = super()._connparams(asynchronous=asynchronous)  # type: ignore[misc]
        return parameters


def know_closed_lines() -> None:
    """Have every line to a Redis broker made of such channels."""
    redis.Transport.Channel = Channel
