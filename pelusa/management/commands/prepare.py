"""Bring the databases and the static files up to date."""

from typing import Any

from django.core.management.base import BaseCommand

from pelusa.processes import prepare


class Command(BaseCommand):
    help = "Migrate the three databases and collect the static files; `run` and `demo` do it by themselves."

    def handle(self, *args: Any, **options: Any) -> None:
        prepare()
