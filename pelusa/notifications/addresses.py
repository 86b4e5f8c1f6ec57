"""Which services a channel may use: a closed list, and what is wrong with an address. The address is never repeated."""

import re
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from pelusa.logs import mask

SHORTEST_TOKEN = 16
# With how many parts at least stand between the slashes and the host, the host being one. The library can do more:
# write files, run programs, speak to the system's own bus. None of that is a message
SERVICES = {
    "tgram": 2,
    "discord": 2,
    "slack": 1,
    "pover": 1,
    "mailto": 1,
    "mailtos": 1,
    "ntfy": 1,
    "ntfys": 1,
    "json": 1,
    "jsons": 1,
    "xml": 1,
    "xmls": 1,
}
# Their address is chosen by whoever makes the channel, so what they answer is not shown
CHOSEN_HOSTS = frozenset({"mailto", "mailtos", "ntfy", "ntfys", "json", "jsons", "xml", "xmls"})
# They would name a file to send, a template to read or a person to wake
REFUSED_OPTIONS = frozenset({"attach", "attachment", "template", "ping", "pgp", "pgpkey", "pgpkeyfile", "smime"})


def check_address(url: str) -> None:
    """Raise `ValidationError` with a sentence that says what is wrong, without the address."""
    try:
        parts = urlsplit(url)
        options = {name.lower() for name, _value in parse_qsl(parts.query, keep_blank_values=True)}
    except ValueError:
        raise ValidationError(_("This is no address.")) from None
    if parts.scheme not in SERVICES or "://" not in url:
        raise ValidationError(_("It must begin with one of: %(services)s.") % {"services": _services()})
    if any(character.isspace() or not character.isprintable() for character in url):
        raise ValidationError(_("It must not hold spaces."))
    if options & REFUSED_OPTIONS:
        raise ValidationError(_("The option %(name)s is not allowed.") % {"name": min(options & REFUSED_OPTIONS)})
    named = [part for part in (parts.netloc.rpartition("@")[2], *parts.path.split("/")) if part]
    if len(named) < SERVICES[parts.scheme]:
        raise ValidationError(_("It is too short: %(example)s") % {"example": _example(parts.scheme)})


def keep_address_out(sender: Any, instance: Any, **kwargs: Any) -> None:
    """Register a channel's address as it is read or written, so that no log shows it or a token in it."""
    url = instance.__dict__.get("url")
    if isinstance(url, str) and url:
        # A host or a word of the path is no secret; what is long enough for a token is
        mask(url, *(part for part in re.split(r"[/:@?&=]+", url) if len(part) >= SHORTEST_TOKEN))


def _services() -> str:
    return ", ".join(f"{name}://" for name in SERVICES)


def _example(scheme: str) -> str:
    examples = {"tgram": "tgram://bot-token/chat-id", "discord": "discord://webhook-id/webhook-token"}
    return examples.get(scheme, f"{scheme}://host")
