"""Run the paper exchange: a BingX-compatible server with paper money."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from exchange.paper.command import add_arguments, run


class Command(BaseCommand):
    """`manage.py paper_exchange --port N`; the same as `python -m exchange.paper`."""

    help = "Runs the paper exchange until SIGTERM."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            run(argparse.Namespace(**options))
        except ValueError as error:
            raise CommandError(str(error)) from error
