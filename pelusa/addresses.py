"""Who is asking, and may they: client addresses and the rules per path prefix. Pure.

A list of rules is written `/prefix=entry,entry /other=entry` (spaces, new lines or semicolons between rules). An entry
is an address, a CIDR block or the word `tradingview`. A prefix matches whole path segments: `/webhook` is also
`/webhook/abc`, never `/webhooks`. Of the allow rules that match, the longest prefix decides; an empty list there means
nobody; without a rule anybody may ask. Any deny rule that matches wins.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from django.core.exceptions import ImproperlyConfigured

from pelusa.environment import Network

Address = IPv4Address | IPv6Address

# https://www.tradingview.com/support/solutions/43000529348/
TRADINGVIEW = ("52.89.214.238", "34.212.75.30", "54.218.53.128", "52.32.178.7")
WORDS = {"tradingview": TRADINGVIEW}
# Nobody has more proxies; a longer chain is an attack on our time
LONGEST_CHAIN = 32
# How a rule's prefix is written
PREFIX = r"^/[^\s=;,?#]*\Z"
# A space may also follow a comma: it parts two rules only where the next one begins
_BETWEEN_RULES = re.compile(r"[;\n]|\s+(?=/[^\s=]*\s*=)")


@dataclass(frozen=True, slots=True)
class Rule:
    """A path prefix without its last slash, and the networks named for it."""

    prefix: str
    networks: tuple[Network, ...]

    def covers(self, path: str) -> bool:
        return path == self.prefix or path.startswith(f"{self.prefix}/")

    def names(self, address: Address | None) -> bool:
        return address is not None and is_in(address, self.networks)


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules in force, each list with the longest prefix first."""

    allow: tuple[Rule, ...] = ()
    deny: tuple[Rule, ...] = ()

    def beside(self, others: "Rules") -> "Rules":
        """Return these and others as one: what either denies is denied, under one prefix either may allow."""
        return Rules(merged((*self.allow, *others.allow)), merged((*self.deny, *others.deny)))

    def may_ask(self, path: str, address: str) -> bool:
        return may_ask(path, address, self.allow, self.deny)


def merged(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """Return one rule a prefix, the longest first."""
    networks: dict[str, dict[Network, None]] = {}
    for rule in rules:
        networks.setdefault(rule.prefix, {}).update(dict.fromkeys(rule.networks))
    return tuple(Rule(prefix, tuple(networks[prefix])) for prefix in sorted(networks, key=len, reverse=True))


def is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


@lru_cache(maxsize=256)
def parse_address(text: str) -> Address | None:
    """Return an address with IPv4 unwrapped from IPv6, or None: no port, zone, bracket or octal is understood."""
    if "%" in text:
        return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def client_address(remote: str, forwarded_for: str | None, trusted: Sequence[Network]) -> str:
    """Return the address of who asks; empty when the peer has none (a Unix socket).

    The header is believed only from a trusted peer, and walked from the right: each trusted proxy vouches for the hop
    that it wrote. A malformed hop ends the walk at the last one that was vouched for.
    """
    hop = parse_address(remote)
    if hop is None:
        return ""
    for entry in reversed(_chain(forwarded_for)):
        before = parse_address(entry)
        if before is None or not is_in(hop, trusted):
            break
        hop = before
    return str(hop)


def _chain(forwarded_for: str | None) -> list[str]:
    if not forwarded_for:
        return []
    entries = forwarded_for.rsplit(",", LONGEST_CHAIN)
    # What rsplit left unsplit stands first and parses as no address: the walk ends there
    return [entry.strip(" \t") for entry in entries]


def is_hidden(remote: str, forwarded_for: str | None, trusted: Sequence[Network]) -> bool:
    """Tell whether a trusted proxy spoke for somebody and could not say for whom.

    A proxy on this machine would otherwise lend its own allowed address to everybody.
    """
    peer = parse_address(remote)
    if forwarded_for is None or peer is None or not is_in(peer, trusted):
        return False
    client = parse_address(client_address(remote, forwarded_for, trusted))
    return client is None or client.is_loopback or is_in(client, trusted)


def parse_rules(name: str, text: str) -> tuple[Rule, ...]:
    """Return a setting's rules, the longest prefix first; stop with the setting's name when one is wrong."""
    rules = [_parse_rule(name, part.strip()) for part in _BETWEEN_RULES.split(text) if part.strip()]
    prefixes = [rule.prefix for rule in rules]
    twice = sorted({prefix for prefix in prefixes if prefixes.count(prefix) > 1})
    if twice:
        raise ImproperlyConfigured(f"{name}: {', '.join(twice) or '/'} has more than one rule")
    return tuple(sorted(rules, key=lambda rule: -len(rule.prefix)))


def _parse_rule(name: str, text: str) -> Rule:
    prefix, equals, entries = text.partition("=")
    prefix = prefix.strip()
    if not equals or not re.match(PREFIX, prefix):
        raise ImproperlyConfigured(f"{name}: a rule is written /prefix=address,address; was {text!r}")
    return as_rule(name, prefix, [entry.strip() for entry in entries.split(",") if entry.strip()])


def as_rule(name: str, prefix: str, entries: Iterable[str]) -> Rule:
    """Return the rule that entries make under a prefix; stop with its name when one is wrong."""
    return Rule(prefix.rstrip("/"), tuple(network for entry in entries for network in _networks(name, entry)))


def _networks(name: str, entry: str) -> list[Network]:
    try:
        return [_network(part) for part in WORDS.get(entry.lower(), (entry,))]
    except ValueError as error:
        meant = f"an address, a CIDR block or {', '.join(WORDS)} is meant"
        raise ImproperlyConfigured(f"{name}: {error}; {meant}") from None


def _network(text: str) -> Network:
    if "%" in text:
        raise ValueError(f"{text!r} names a network card: an address that is seen from afar is meant")
    network = ip_network(text)
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped:
        raise ValueError(f"{text!r} is IPv4 inside IPv6: write it as IPv4")
    return network


def may_ask(path: str, address: str, allow: Sequence[Rule], deny: Sequence[Rule]) -> bool:
    """Tell whether `address` may ask for `path`; rules are in the order that `parse_rules` returns them in."""
    client = parse_address(address)
    if any(rule.covers(path) and rule.names(client) for rule in deny):
        return False
    rule = next((rule for rule in allow if rule.covers(path)), None)
    return rule is None or rule.names(client)


def is_restricted(path: str, allow: Sequence[Rule], deny: Sequence[Rule]) -> bool:
    """Tell whether any rule is about this path."""
    return any(rule.covers(path) for rule in (*allow, *deny))
