"""`manage.py doctor [--url https://host] [--json]`."""

import json
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.core.management.color import Style

from pelusa.doctor.examine import examine
from pelusa.doctor.findings import Finding, Level, by_subject, exit_status, verdict
from pelusa.doctor.webhook import public_url, usual_url

WIDTH = max(len(level) for level in Level)


class Command(BaseCommand):
    """Print what is wrong with this installation and what to do; the exit status says whether trading is safe."""

    help = (
        "Say what is wrong with this installation, and what to do. Nothing is changed anywhere. Exit status 0: trading"
        " is safe; 1: it is not; 2: nothing is known to be wrong, but something could not be looked at."
    )
    # Broken settings and missing migrations are findings, not a reason to say nothing
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--url", help="Pelusa's public address, https://your.server; otherwise the first of ALLOWED_HOSTS."
        )
        parser.add_argument("--json", action="store_true", help="Print one JSON object instead.")

    def handle(self, *args: Any, url: str | None = None, **options: Any) -> None:
        try:
            address = public_url(url) if url else usual_url()
        except ValueError as error:
            raise CommandError(f"--url: {error}", returncode=2) from None
        found = examine(address)
        self.stdout.write(as_json(found) if options["json"] else as_text(found, self.style))
        if status := exit_status(found):
            raise CommandError(verdict(found), returncode=status)


def as_json(findings: list[Finding]) -> str:
    """Return the findings as one JSON object, for machines."""
    told = {"status": exit_status(findings), "verdict": verdict(findings)}
    return json.dumps(told | {"findings": [asdict(each) for each in findings]}, indent=2)


def as_text(findings: list[Finding], style: Style) -> str:
    """Return the findings for people, by subject, and the verdict when it is good: a bad one goes to the errors."""
    groups = [_group(subject, found, style) for subject, found in by_subject(findings).items()]
    end = [] if exit_status(findings) else [style.SUCCESS(verdict(findings))]
    return "\n\n".join(groups + end)


def _group(subject: str, findings: list[Finding], style: Style) -> str:
    return "\n".join([style.MIGRATE_HEADING(subject), *(_lines(each, style) for each in findings)])


def _lines(finding: Finding, style: Style) -> str:
    paint = {Level.OK: style.SUCCESS, Level.ADVICE: style.NOTICE, Level.UNKNOWN: style.WARNING}
    word = paint.get(finding.level, style.ERROR)(finding.level.upper().ljust(WIDTH))
    todo = f"\n  {' ' * WIDTH}  → {finding.what_to_do}" if finding.what_to_do else ""
    return f"  {word}  {finding.sentence}{todo}"
