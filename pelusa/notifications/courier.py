"""Carry messages to one service: a program of its own, run by its path and ended by whoever started it.

    lines in:  {"url": "...", "shows_answers": false}, then {"title": "...", "body": "..."} for each message
    lines out: {"outcome": "ready" or "refused"}, then {"outcome": "sent", "refused" or "unknown", "answer": "..."}

In a process of its own: the library takes long to import, a receiver that trickles its answer can only be stopped from
outside, and what is changed here (no redirect is followed) changes nothing elsewhere. Nothing of the project is
imported; the address comes through the pipe and is written nowhere.
"""

import json
import logging
import os
import re
import resource
import smtplib
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

CONNECT_SECONDS, READ_SECONDS = 4.0, 6.0
LONGEST_ANSWER = 200
MEMORY = 1024**3
SHORTEST_SECRET = 5
# A gateway that stopped waiting cannot know whether the service behind it acted
GATEWAY_TIMEOUT = 504

SENT, REFUSED, UNKNOWN = "sent", "refused", "unknown"


class Wire:
    """What the network said while one message was sent: an outcome and its words for every request."""

    def __init__(self, shows_answers: bool) -> None:
        self._shows_answers = shows_answers
        self.said: list[tuple[str, str]] = []

    def watch(self) -> None:
        """See every HTTP request and every mail of this process, and let no request follow a redirect."""
        import requests

        requests.Session.request = self._asking(requests.Session.request)  # type: ignore[method-assign]
        smtplib.SMTP.sendmail = self._mailing(smtplib.SMTP.sendmail)  # type: ignore[method-assign]
        smtplib.SMTP.login = self._entering(smtplib.SMTP.login)  # type: ignore[method-assign]

    def _asking(self, ask: Callable[..., Any]) -> Callable[..., Any]:
        from requests import exceptions

        def request(session: Any, method: str, url: str, **options: Any) -> Any:
            try:
                answer = ask(session, method, url, **options | {"allow_redirects": False})
            except (exceptions.ConnectTimeout, exceptions.SSLError, exceptions.ProxyError):
                self.said.append((REFUSED, "no connection"))
                raise
            except exceptions.RequestException as error:
                # It is named and not quoted: its text holds the address
                is_unsent = "NewConnectionError" in repr(error) or "NameResolutionError" in repr(error)
                self.said.append((REFUSED, "no connection") if is_unsent else (UNKNOWN, "no answer in time"))
                raise
            self.said.append(self._of_answer(answer))
            return answer

        return request

    def _of_answer(self, answer: Any) -> tuple[str, str]:
        words = f"HTTP {answer.status_code}"
        if self._shows_answers and not answer.ok:
            words = f"{words}: {answer.text[:LONGEST_ANSWER]}"
        if answer.status_code == GATEWAY_TIMEOUT:
            return UNKNOWN, words
        return (SENT if 200 <= answer.status_code < 300 else REFUSED), words

    def _mailing(self, mail: Callable[..., Any]) -> Callable[..., Any]:
        def sendmail(smtp: Any, *arguments: Any, **options: Any) -> Any:
            try:
                answer = mail(smtp, *arguments, **options)
            except (smtplib.SMTPResponseException, smtplib.SMTPRecipientsRefused) as error:
                self.said.append((REFUSED, f"the mail server refused it ({type(error).__name__})"))
                raise
            except OSError:  # smtplib's own are among them
                self.said.append((UNKNOWN, "the mail server broke off"))
                raise
            self.said.append((SENT, "the mail server took it"))
            return answer

        return sendmail

    def _entering(self, enter: Callable[..., Any]) -> Callable[..., Any]:
        def login(smtp: Any, *arguments: Any, **options: Any) -> Any:
            try:
                return enter(smtp, *arguments, **options)
            except smtplib.SMTPException:
                self.said.append((REFUSED, "the mail server refused the log-in"))
                raise

        return login


def judge(was_taken: bool, said: list[tuple[str, str]]) -> tuple[str, str]:
    """Return the outcome of one message and the last words about it.

    What went to one receiver of several is not repeated: those who have it would get it twice.
    """
    words = said[-1][1] if said else ""
    if was_taken:
        return SENT, words
    outcomes = {outcome for outcome, _ in said}
    if UNKNOWN in outcomes:
        return UNKNOWN, next(told for outcome, told in said if outcome == UNKNOWN)
    if SENT in outcomes:
        return UNKNOWN, f"only a part of it was taken; {words}"
    return REFUSED, words or "no connection"


def without_address(text: str, url: str) -> str:
    """Return a text without any part of the address that may be secret."""
    parts = {unquote(part) for part in re.split(r"[/:@?&=]+", url)} | set(re.split(r"[/@?&=]+", url))
    for part in sorted(parts, key=len, reverse=True):
        if len(part) >= SHORTEST_SECRET:
            text = text.replace(part, "***")
    return text


def prepare(url: str) -> Any:
    """Return the service's client, or None when the library cannot read the address."""
    from apprise import Apprise, AppriseAsset

    # Without pictures: they would be fetched from the library's own site
    asset = AppriseAsset(
        app_id="Pelusa", image_url_mask=None, storage_mode="memory", async_mode=False, secure_logging=True
    )
    client = Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
    if client:
        client.socket_connect_timeout, client.socket_read_timeout = CONNECT_SECONDS, READ_SECONDS
    return client


def carry(client: Any, wire: Wire, message: dict[str, str]) -> tuple[str, str]:
    """Send one message and return its outcome and the words about it."""
    wire.said.clear()
    was_taken = client.notify(title=message["title"], body=message["body"], body_format="text")
    return judge(bool(was_taken), wire.said)


def main() -> None:
    os.nice(10)  # an order's work goes first
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    logging.disable()
    order = json.loads(sys.stdin.readline())
    wire = Wire(order["shows_answers"])
    client = prepare(order["url"])
    wire.watch()
    _tell("ready" if client else REFUSED, "" if client else "the address cannot be read")
    for line in sys.stdin if client else ():
        outcome, words = carry(client, wire, json.loads(line))
        _tell(outcome, without_address(words, order["url"]))


def _tell(outcome: str, answer: str) -> None:
    sys.stdout.write(json.dumps({"outcome": outcome, "answer": answer}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    # Beside it lie modules whose names the library might look for
    sys.path.pop(0)
    main()
