"""Survive what Kombu does not: a line to the broker that was closed, and a message that is none.

A line that was closed fails here as a lost one does, which Celery knows how to survive. Kombu 5.7 forgets whose line it
was when it closes one. Whoever still needs it then stumbles over an AttributeError; nobody expects that, and the worker
ends with all that its threads are at. It would also end when somebody who got at Redis puts there what is no message.
"""

from typing import Any

from kombu.transport import redis, virtual
from loguru import logger

from pelusa.sampling import Sampler

_broken = Sampler(at_once=20)


class NoMessage(ValueError):
    """JSON that is no envelope of a message."""


class Message(virtual.Message):
    """A message that was read; whatever its envelope lacks is one kind of error."""

    def __init__(self, payload: Any, channel: Any = None, **options: Any) -> None:
        try:
            super().__init__(payload, channel=channel, **options)
        except (LookupError, TypeError, AttributeError) as error:
            raise NoMessage(type(error).__name__) from None


class Channel(redis.Channel):
    """A channel that knows when it has no line any more, drops what is no message, and sends all over one client."""

    Message = Message
    # Bells that a worker took and did not come to are not rung again: a sweep does the work within seconds
    do_restore = False
    _kept: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:
        """Return the client that there is: Kombu makes one for each message, which takes as long as sending it."""
        if asynchronous:
            return super()._create_client(asynchronous=True)  # type: ignore[misc]
        # A line that was lost takes its pool with it
        if self._kept is None or self._kept.connection_pool is not self.pool:
            self._kept = super()._create_client()  # type: ignore[misc]
        return self._kept

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        if self.connection is None or self.connection.client is None:
            raise ConnectionError("the line to the broker was closed")
        # The published types leave it out
        parameters: dict[str, Any] = super()._connparams(asynchronous=asynchronous)  # type: ignore[misc]
        return parameters

    def _brpop_read(self, **options: Any) -> bool:
        """Read the next message; what cannot be read as one is dropped, for the row it may have rung for is swept."""
        try:
            # The published types leave it out
            return bool(super()._brpop_read(**options))  # type: ignore[misc]
        except ValueError as error:
            left_out = _broken.admit("broken")
            if left_out is not None:
                # Not its words: they may quote what somebody else wrote
                logger.error("broker: {} is no message; {} more were left out", type(error).__name__, left_out)
            return True


def know_closed_lines() -> None:
    """Have every line to a Redis broker made of such channels."""
    redis.Transport.Channel = Channel
