"""The webhook: can TradingView reach it, may it, and can nobody else guess the secret?

TradingView posts over IPv4, to port 80 or 443, follows no redirect and gives up after three seconds:
https://www.tradingview.com/support/solutions/43000529348/
"""

import json
import secrets
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

import requests
from django.conf import settings
from django.utils.translation import gettext as _

from pelusa.addresses import TRADINGVIEW, Rule, is_restricted, may_ask, parse_rules
from pelusa.checks import SHORTEST_SECRET
from pelusa.doctor.findings import Finding, advice, danger, ok, unknown

SUBJECT = "webhook"
TIMEOUTS = (2.0, 3.0)
FEWEST_CHARACTERS = 8
LONGEST_ANSWER = 65_536
PORTS = (80, 443)
GUESSED_FIRST = ("changeme", "password", "pelusa", "secret", "tradingview", "webhook")


@dataclass(frozen=True, slots=True)
class Knock:
    """What came back: an HTTP status and the code of our error shape, or the kind of failure."""

    status: int = 0
    code: str = ""
    failure: str = ""


def judge_settings() -> list[Finding]:
    """Judge the secrets and who may call."""
    allow, deny = parse_rules("IP_ALLOW", settings.IP_ALLOW), parse_rules("IP_DENY", settings.IP_DENY)
    return [judge_secrets(settings.WEBHOOK_SECRETS), judge_rules(allow, deny)]


def judge_secrets(secrets_of_ours: Sequence[str]) -> Finding:
    """Judge the webhook's secrets: each may place orders."""
    weak = [place for place, secret in enumerate(secrets_of_ours, 1) if is_weak(secret)]
    if not weak:
        return ok(SUBJECT, "webhook_secret", _("The secret cannot be guessed."))
    places = ", ".join(map(str, weak))
    todo = _(
        "Put one from `openssl rand -hex 32` first in WEBHOOK_SECRETS, change the alerts, then take the old one out."
    )
    return danger(
        SUBJECT,
        "weak_webhook_secret",
        _("Secret number %(places)s can be guessed, and may place orders.") % {"places": places},
        todo,
    )


def is_weak(secret: str) -> bool:
    """Tell whether a secret is short, has few different characters, or is a word that is tried first."""
    bare = secret.lower().strip("0123456789-_!.")
    return len(secret) < SHORTEST_SECRET or len(set(secret)) < FEWEST_CHARACTERS or bare in GUESSED_FIRST


def judge_rules(allow: Sequence[Rule], deny: Sequence[Rule]) -> Finding:
    """Judge who may call `/webhook`."""
    shut_out = [address for address in TRADINGVIEW if not may_ask("/webhook", address, allow, deny)]
    if shut_out:
        sentence = _("TradingView's addresses are refused: %(shut_out)s.") % {"shut_out": ", ".join(shut_out)}
        return danger(SUBJECT, "tradingview_shut_out", sentence, _("Put /webhook=tradingview into IP_ALLOW."))
    if not is_restricted("/webhook", allow, ()):
        sentence = _("Anybody may call it: the secret alone guards it.")
        return advice(SUBJECT, "webhook_open", sentence, _("Put /webhook=tradingview into IP_ALLOW."))
    return ok(SUBJECT, "webhook_rules", _("TradingView's addresses may call it, and not everybody."))


def knock(url: str) -> Knock:
    """Post with a wrong secret, which makes no alarm, and return what came back."""
    with requests.Session() as session:
        session.trust_env = False
        try:
            answer = session.post(
                f"{url}/webhook",
                json={"secret": secrets.token_urlsafe(24)},
                timeout=TIMEOUTS,
                allow_redirects=False,
                stream=True,
            )
            return Knock(answer.status_code, _code_of(answer.raw.read(LONGEST_ANSWER, decode_content=True)))
        except (requests.RequestException, OSError, ValueError) as error:
            return Knock(failure=type(error).__name__)


def _code_of(body: bytes) -> str:
    try:
        code = json.loads(body)["error"]["code"]
    except (ValueError, LookupError, TypeError):
        return ""
    return str(code)[:40]


def ask_webhook(url: str) -> list[Finding]:
    """Look at the address, then knock at it; no database is touched."""
    return [*judge_address(url, _has_ipv4(url)), judge_knock(url, knock(url))]


def _has_ipv4(url: str) -> bool:
    try:
        return bool(socket.getaddrinfo(urlsplit(url).hostname, None, socket.AF_INET))
    except OSError:
        return False


def judge_address(url: str, has_ipv4: bool) -> Iterator[Finding]:
    """Judge an address by what TradingView can post to."""
    parts = urlsplit(url)
    if is_local(parts.hostname or ""):
        yield not_tried(settings.PELUSA_TRADING == "live")
        return
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if port not in PORTS:
        sentence = _("TradingView posts to ports 80 and 443 only, not to %(port)s.") % {"port": port}
        yield danger(SUBJECT, "wrong_port", sentence, _("Put a proxy on port 443 in front."))
    if not has_ipv4:
        sentence = _("%(hostname)s has no IPv4 address, and TradingView uses no other.") % {"hostname": parts.hostname}
        yield danger(SUBJECT, "no_ipv4", sentence, _("Give the name an A record."))
    if parts.scheme != "https":
        sentence = _("The secret travels in the open: the address is not https.")
        yield advice(
            SUBJECT, "webhook_without_tls", sentence, _("Put a proxy that ends TLS in front; set BEHIND_TLS=on.")
        )


def is_local(host: str) -> bool:
    """Tell whether a host can be reached from this machine or this network only."""
    try:
        return not ip_address(host.strip("[]")).is_global
    except ValueError:
        return host == "localhost" or host.endswith((".localhost", ".local", ".internal"))


def judge_knock(url: str, knock: Knock) -> Finding:
    """Judge what came back: 401 with our own code proves that the webhook itself was reached."""
    if (knock.status, knock.code) == (401, "wrong_secret"):
        return ok(
            SUBJECT, "webhook_reached", _("%(url)s/webhook is reached and refuses a wrong secret.") % {"url": url}
        )
    if (knock.status, knock.code) == (403, "forbidden_address"):
        return ok(
            SUBJECT,
            "webhook_reached",
            _("%(url)s/webhook is reached and refuses this machine's address.") % {"url": url},
        )
    return danger(SUBJECT, "webhook_unreachable", *_why_not(url, knock))


def _why_not(url: str, knock: Knock) -> tuple[str, str]:
    """Return a sentence and what to do."""
    told = _("%(url)s/webhook answered HTTP %(status)s") % {"url": url, "status": knock.status}
    if knock.failure:
        todo = _("Check the name, the proxy, the firewall and the certificate; is the web process up?")
        return _("%(url)s/webhook cannot be reached (%(failure)s).") % {"url": url, "failure": knock.failure}, todo
    if 300 <= knock.status < 400:
        return _("%(told)s: TradingView follows no redirect.") % {"told": told}, _(
            "Let the proxy pass /webhook on, without a redirect."
        )
    if (knock.status, knock.code) == (400, "bad_request"):
        return _("%(told)s: its host name is not one of ours.") % {"told": told}, _(
            "Add %(hostname)s to ALLOWED_HOSTS."
        ) % {"hostname": urlsplit(url).hostname}
    if knock.status >= 500:
        return f"{told}.", _("Look at the proxy's and the web process's logs.")
    return _("%(told)s, which is not Pelusa's.") % {"told": told}, _(
        "Let the proxy pass POST /webhook on to Pelusa's port."
    )


def not_tried(is_live: bool) -> Finding:
    """Say that nobody knows a public address to knock at."""
    make = unknown if is_live else advice
    sentence = _("Whether TradingView reaches the webhook was not tried: the public address is not known.")
    return make(SUBJECT, "not_tried_from_outside", sentence, _("Run `manage.py doctor --url https://your.server`."))


def public_url(text: str) -> str:
    """Return `https://host[:port]` of an address; what else stands in it may be the secret. ValueError: it is none."""
    parts = urlsplit(text.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("an address such as https://your.server is meant")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")


def usual_url() -> str:
    """Return the address that the settings tell: the first public name, else this machine's port; empty for neither."""
    names = [host for host in settings.ALLOWED_HOSTS if not host.startswith((".", "*"))]
    public = next((host for host in names if not is_local(host)), None)
    if public:
        return f"{'https' if settings.BEHIND_TLS else 'http'}://{public}"
    local = next((host for host in ("127.0.0.1", "localhost") if host in names), None)
    return f"http://{local}:{settings.PORT}" if local else ""
