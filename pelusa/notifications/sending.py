"""Hand messages to the program that carries them, and end it when it takes too long."""

import json
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError

from pelusa.logs import clean
from pelusa.notifications.addresses import CHOSEN_HOSTS, check_address

COURIER = Path(__file__).with_name("courier.py")
# For all that one courier carries; well under the patience of the worker's watchdog
LIFE_SECONDS = 25.0


class Outcome(StrEnum):
    SENT = "sent"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a message, and the words that the service had for it."""

    outcome: Outcome
    answer: str


class Courier:
    """A process that carries messages to one address, one after the other, and lives `LIFE_SECONDS` at most."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._process: subprocess.Popen[str] | None = None
        self._timer: threading.Timer | None = None
        self._first: dict[str, str] | None = None

    def __enter__(self) -> Self:
        try:
            check_address(self._url)
        except ValidationError as error:
            self._first = {"outcome": Outcome.REFUSED, "answer": error.messages[0]}
            return self
        self._process = subprocess.Popen(
            [sys.executable, str(COURIER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._timer = threading.Timer(LIFE_SECONDS, self._process.kill)
        self._timer.daemon = True
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer:
            self._timer.cancel()
        if self._process:
            self._process.kill()
            # Closing what it left unread is no failure of ours
            with suppress(OSError):
                self._process.communicate()

    def is_ready(self) -> bool:
        """Wait until the courier has read the address; nothing has left the machine before."""
        if self._first is None:
            shows = urlsplit(self._url).scheme not in CHOSEN_HOSTS
            self._first = self._ask({"url": self._url, "shows_answers": shows})
        return self._first.get("outcome") == "ready"

    def refusal(self) -> Fate:
        """Return why the courier is not ready."""
        return Fate(Outcome.REFUSED, clean((self._first or {}).get("answer", "") or "the courier did not start"))

    def send(self, title: str, body: str) -> Fate:
        """Have a message carried; a courier that ends meanwhile leaves its fate unknown."""
        told = self._ask({"title": title, "body": body})
        if told.get("outcome") not in set(Outcome):
            return Fate(Outcome.UNKNOWN, "it took too long")
        return Fate(Outcome(told["outcome"]), clean(told.get("answer", "")))

    def _ask(self, order: dict[str, Any]) -> dict[str, str]:
        assert self._process
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
        except OSError:
            return {}
        line = self._process.stdout.readline()
        answer: dict[str, str] = json.loads(line) if line.endswith("\n") else {}
        return answer
