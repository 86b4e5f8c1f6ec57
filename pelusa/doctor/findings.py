"""What an examination found, and whether it is safe to trade on it. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

# No key, no password and no secret is ever a part of a finding: it is printed, mailed and pasted into tickets.
SAFE, NOT_SAFE, NOT_KNOWN = 0, 1, 2


class Level(StrEnum):
    """OK; ADVICE: better otherwise; UNKNOWN: could not be looked at; DANGER: do not trade like this."""

    OK = "ok"
    ADVICE = "advice"
    UNKNOWN = "unknown"
    DANGER = "danger"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: of what, a word for machines, a sentence, and what to do about it."""

    level: Level
    subject: str
    word: str
    sentence: str
    what_to_do: str = ""


def ok(subject: str, word: str, sentence: str) -> Finding:
    return Finding(Level.OK, subject, word, sentence)


def advice(subject: str, word: str, sentence: str, what_to_do: str) -> Finding:
    return Finding(Level.ADVICE, subject, word, sentence, what_to_do)


def unknown(subject: str, word: str, sentence: str, what_to_do: str) -> Finding:
    return Finding(Level.UNKNOWN, subject, word, sentence, what_to_do)


def danger(subject: str, word: str, sentence: str, what_to_do: str) -> Finding:
    return Finding(Level.DANGER, subject, word, sentence, what_to_do)


def exit_status(findings: Iterable[Finding]) -> int:
    """Return 0 when trading is safe, 1 when it is not, 2 when nothing is known to be wrong but something not known."""
    levels = {finding.level for finding in findings}
    if Level.DANGER in levels:
        return NOT_SAFE
    return NOT_KNOWN if Level.UNKNOWN in levels else SAFE


def verdict(findings: Iterable[Finding]) -> str:
    """Return the sentence that stands above or below all others."""
    levels = [finding.level for finding in findings]
    dangers, unknowns, pieces = (levels.count(each) for each in (Level.DANGER, Level.UNKNOWN, Level.ADVICE))
    if dangers:
        words = ngettext("Trading is NOT safe: %(count)s danger.", "Trading is NOT safe: %(count)s dangers.", dangers)
        return words % {"count": dangers}
    if unknowns:
        words = ngettext(
            "Nobody can say whether trading is safe: %(count)s check could not be made.",
            "Nobody can say whether trading is safe: %(count)s checks could not be made.",
            unknowns,
        )
        return words % {"count": unknowns}
    if pieces:
        words = ngettext(
            "Trading is safe; %(count)s piece of advice.", "Trading is safe; %(count)s pieces of advice.", pieces
        )
        return words % {"count": pieces}
    return _("Trading is safe.")


def by_subject(findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    """Group findings under their subjects, both in the order in which they came."""
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.subject, []).append(finding)
    return groups
