"""Which address the proxy in front of us really presents, and the line of TRUSTED_PROXIES that believes it.

The doctor asks Pelusa's public address what it saw of that very question. The question carries no X-Forwarded-For of
its own, so whatever stands there was written by proxies: the first entry is the doctor's own address, and each entry
after it, and the peer itself, is a proxy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
from django.conf import settings
from django.core.signing import BadSignature, TimestampSigner
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from pelusa.addresses import LONGEST_CHAIN, Address, is_in, parse_address
from pelusa.doctor.findings import Finding, advice, danger, ok, unknown
from pelusa.doctor.webhook import TIMEOUTS
from pelusa.environment import Network

SUBJECT = "proxy"
PATH = "/health/seen"
HEADER = "X-Pelusa-Doctor"
# Long enough for clocks of two machines, too short to be of use to who reads it in a proxy's log
PASS_SECONDS = 60
SHOWN = 60


@dataclass(frozen=True, slots=True)
class Seen:
    """What the web process saw of the doctor's question."""

    peer: str
    forwarded_for: str | None
    is_secure: bool


def new_pass() -> str:
    """Return a short-lived pass for `Seen`, signed with SECRET_KEY."""
    return TimestampSigner(salt=__name__).sign("seen")


class HasPass(BasePermission):
    """Whoever holds SECRET_KEY signed this within the last minute."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        try:
            TimestampSigner(salt=__name__).unsign(request.headers.get(HEADER, ""), max_age=PASS_SECONDS)
        except BadSignature:
            return False
        return True


class SeenView(APIView):
    """Echo what the web process sees of a request; for the doctor alone, of whatever role nobody is."""

    permission_classes = [HasPass]

    @extend_schema(exclude=True)
    def get(self, request: Request) -> Response:
        """Answer the peer's address, the header that speaks of others, and whether TLS was seen."""
        forwarded_for = request.META.get("HTTP_X_FORWARDED_FOR")
        return Response(
            {
                "peer": request.META.get("REMOTE_ADDR", ""),
                "forwarded_for": forwarded_for,
                "is_secure": request.is_secure(),
            }
        )


def ask_proxy(url: str) -> list[Finding]:
    """Ask our own public address what it sees; no database is touched."""
    seen = _ask(url)
    if isinstance(seen, str):
        todo = _("Run the doctor where Pelusa runs, with the same SECRET_KEY, once the webhook is reached.")
        return [
            unknown(
                SUBJECT,
                "proxy_unseen",
                _("Which address the proxy presents is not known: %(seen)s.") % {"seen": seen},
                todo,
            )
        ]
    return judge_seen(url, seen, settings.TRUSTED_PROXIES)


def _ask(url: str) -> Seen | str:
    """Return what the web process saw, or why nobody knows."""
    with requests.Session() as session:
        session.trust_env = False
        try:
            answer = session.get(f"{url}{PATH}", headers={HEADER: new_pass()}, timeout=TIMEOUTS, allow_redirects=False)
            return (
                _read(answer.json())
                if answer.status_code == 200
                else _("%(path)s answered HTTP %(status_code)s") % {"path": PATH, "status_code": answer.status_code}
            )
        except (requests.RequestException, ValueError, LookupError, TypeError) as error:
            return _("%(path)s was not answered (%(error)s)") % {"path": PATH, "error": type(error).__name__}


def _read(body: Any) -> Seen:
    forwarded_for = body["forwarded_for"]
    return Seen(str(body["peer"]), None if forwarded_for is None else str(forwarded_for), bool(body["is_secure"]))


def judge_seen(url: str, seen: Seen, trusted: Sequence[Network]) -> list[Finding]:
    """Return whether callers are told apart, and the exact line to paste when they are not."""
    if any(network.prefixlen == 0 for network in trusted):
        sentence = _("TRUSTED_PROXIES names everybody: whoever calls may choose his own address.")
        return [danger(SUBJECT, "everybody_trusted", sentence, _("Name your own proxies only."))]
    return [_judge_chain(url, seen, trusted), *_judge_tls(url, seen)]


def _judge_chain(url: str, seen: Seen, trusted: Sequence[Network]) -> Finding:
    peer = parse_address(seen.peer)
    if peer is None:
        todo = _("Let gunicorn listen on an address and port, not on a Unix socket.")
        return danger(SUBJECT, "no_peer", _("The peer has no address: nobody can be told from anybody."), todo)
    if not (seen.forwarded_for or "").strip():
        return _without_chain(url, peer)
    entries = [entry.strip() for entry in (seen.forwarded_for or "").split(",")][-LONGEST_CHAIN:]
    hops = [(entry, parse_address(entry)) for entry in entries]
    unread = next((entry for entry, address in hops if address is None), None)
    if unread is not None:
        sentence = _("A proxy writes %(unread)s into X-Forwarded-For, which is no address.") % {
            "unread": repr(unread[:SHOWN])
        }
        return danger(SUBJECT, "unreadable_hop", sentence, _("Let it write the caller's bare address, without a port."))
    proxies = [address for _entry, address in hops[1:] if address is not None] + [peer]
    return _judge_proxies(proxies, trusted)


def _judge_proxies(proxies: Sequence[Address], trusted: Sequence[Network]) -> Finding:
    told = ", ".join(map(str, dict.fromkeys(proxies)))
    missing = [address for address in dict.fromkeys(proxies) if not is_in(address, trusted)]
    if not missing:
        return ok(SUBJECT, "proxy_trusted", _("The proxy presents %(told)s, which is trusted.") % {"told": told})
    sentence = _("The proxy presents %(told)s, which is not trusted: every caller seems to come from there.") % {
        "told": told
    }
    todo = _("Paste into .env and restart the web process: %(line)s") % {"line": line_to_paste(missing, trusted)}
    return danger(SUBJECT, "proxy_untrusted", sentence, todo)


def line_to_paste(missing: Sequence[Address], trusted: Sequence[Network]) -> str:
    """Return the setting with what is trusted already and what must be."""
    return "TRUSTED_PROXIES=" + ",".join([*map(str, trusted), *map(str, missing)])


def _without_chain(url: str, peer: Address) -> Finding:
    """Judge a question that no proxy spoke for; TLS proves that there is one, for we speak none."""
    if urlsplit(url).scheme == "https":
        sentence = _(
            "The proxy presents %(peer)s and does not say for whom: every caller seems to come from there."
        ) % {"peer": peer}
        todo = _("Let it set X-Forwarded-For (nginx: proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;).")
        return danger(SUBJECT, "proxy_says_nothing", sentence, f"{todo} " + _("Then examine again."))
    return ok(SUBJECT, "no_proxy", _("No proxy stands between: the caller is seen as %(peer)s.") % {"peer": peer})


def _judge_tls(url: str, seen: Seen) -> list[Finding]:
    if urlsplit(url).scheme != "https" or seen.is_secure:
        return []
    if not settings.BEHIND_TLS:
        sentence = _("A proxy ends TLS, and BEHIND_TLS is off: cookies may travel in the open.")
        return [advice(SUBJECT, "behind_tls_off", sentence, _("Set BEHIND_TLS=on."))]
    sentence = _("The proxy does not say that the caller used https: the back office redirects for ever.")
    todo = _("Let it set X-Forwarded-Proto (nginx: proxy_set_header X-Forwarded-Proto $scheme;).")
    return [advice(SUBJECT, "no_forwarded_proto", sentence, todo)]
