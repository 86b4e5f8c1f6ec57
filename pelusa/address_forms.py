"""A rule about addresses as a person types it: what is wrong with it, and what it would do that nobody wants."""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Network, ip_network
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from pelusa.addresses import TRADINGVIEW, WORDS, Rule, Rules, is_restricted
from pelusa.models import AddressRule


class AddressRuleForm(forms.ModelForm):
    """A rule, with a sentence for each entry that is none."""

    class Meta:
        model = AddressRule
        fields = ("verdict", "prefix", "entries", "is_enabled", "note")

    def clean_prefix(self) -> str:
        prefix: str = self.cleaned_data["prefix"]
        if prefix.lower().startswith("/webhook/") and prefix.strip("/").count("/"):
            raise ValidationError(_("What follows /webhook/ is a secret, which a rule would show: write /webhook."))
        return prefix.rstrip("/") or "/"

    def clean_entries(self) -> str:
        entries = self.cleaned_data["entries"].replace(",", " ").split()
        wrong = [problem for entry in entries if (problem := problem_of(entry))]
        if not entries:
            wrong = [_("Name at least one; to shut a path to everybody deny 0.0.0.0/0 and ::/0 there.")]
        if wrong:
            raise ValidationError(wrong)
        return "\n".join(dict.fromkeys(entries))


def problem_of(entry: str) -> Any:
    """Return what is wrong with one entry, as a sentence, or nothing."""
    if entry.lower() in WORDS:
        return None
    if "%" in entry:
        return _("%(entry)s names a network card: an address that is seen from afar is meant.") % {"entry": entry}
    try:
        network = ip_network(entry, strict=False)
    except ValueError:
        words = {"entry": entry, "words": ", ".join(WORDS)}
        return _("%(entry)s is neither an address, nor a CIDR block, nor one of: %(words)s.") % words
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped:
        return _("%(entry)s is IPv4 inside IPv6: write it as IPv4.") % {"entry": entry}
    if not _is_network(entry):
        words = {"entry": entry, "network": str(network)}
        return _("%(entry)s has bits set behind its prefix: is %(network)s meant?") % words
    return None


def _is_network(entry: str) -> bool:
    try:
        ip_network(entry)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Change:
    """What is in force before and after, and who asks for it: his address and the path that he must reach."""

    before: Rules
    after: Rules
    author: str
    path: str
    rule: Rule | None = None
    allows: bool = False

    def dangers(self) -> list[Any]:
        """Return a sentence for each thing that one should be asked about first."""
        return list(self._dangers())

    def _dangers(self) -> Iterator[Any]:
        if self._loses(self.path, self.author):
            yield _("You ask from %(address)s: this locks you out of the back office.") % {"address": self.author}
        shut_out = [address for address in TRADINGVIEW if self._loses("/webhook", address)]
        if shut_out:
            words = {"addresses": ", ".join(shut_out)}
            yield _("TradingView can no longer call the webhook from %(addresses)s: its alarms are lost.") % words
        for prefix in self._opened():
            yield _("Anybody may then ask for %(prefix)s.") % {"prefix": prefix or "/"}
        if self.rule and self.allows and any(network.prefixlen == 0 for network in self.rule.networks):
            yield _("The list holds 0.0.0.0/0 or ::/0: that is everybody.")

    def _loses(self, path: str, address: str) -> bool:
        return self.before.may_ask(path, address) and not self.after.may_ask(path, address)

    def _opened(self) -> list[str]:
        return [
            rule.prefix for rule in self.before.allow if not is_restricted(rule.prefix or "/", self.after.allow, ())
        ]
