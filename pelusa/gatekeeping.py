"""Keep the web process's rules about addresses as the back office has them, without a query a request.

A thread reads them every `EVERY` seconds, so that a change holds in all processes within five, and writes the counters
of refusals on its way. While the database is away the last rules that were read go on, and the webhook never waits.
"""

import threading
import time

from django.conf import settings
from django.db import Error, close_old_connections
from loguru import logger

from pelusa.addresses import Rules, parse_rules
from pelusa.models import stored_rules
from pelusa.refusals import refusals

EVERY = 2.0


class Gatekeeper:
    """What this process knows of the back office's rules."""

    def __init__(self) -> None:
        # Replaced as a whole and never changed: a request reads it without a lock
        self.stored = Rules()
        self._is_away = False

    def look(self) -> None:
        """Read the rules and write the counters; a database that is away changes nothing."""
        try:
            found = stored_rules()
            # The same object says to all who keep something worked out from it that nothing changed
            self.stored = self.stored if found == self.stored else found
            refusals.write()
            self._tell(False)
        except Error as error:
            self._tell(True, type(error).__name__)

    def _tell(self, is_away: bool, why: str = "") -> None:
        if is_away and not self._is_away:
            logger.warning("the database of address rules is away ({}): the last ones known hold", why)
        self._is_away = is_away

    def watch(self) -> None:
        """Look now, and then for as long as the process lives."""
        self.look()
        threading.Thread(target=self._look_for_ever, name="gatekeeper", daemon=True).start()

    def _look_for_ever(self) -> None:
        while True:
            time.sleep(EVERY)
            close_old_connections()
            self.look()


gatekeeper = Gatekeeper()


def environment_rules() -> Rules:
    """Return the rules that IP_ALLOW and IP_DENY hold."""
    return Rules(parse_rules("IP_ALLOW", settings.IP_ALLOW), parse_rules("IP_DENY", settings.IP_DENY))
