"""Run every process of Pelusa in the foreground."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError

from pelusa.processes import PortTaken, running_system
from pelusa.supervisor import AlreadyRunning, NotReady


class Command(BaseCommand):
    help = "Migrate, then run the web server, the worker, the scheduler and what is embedded, until SIGINT or SIGTERM."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with running_system() as supervisor:
                try:
                    supervisor.wait_ready()
                    self.stdout.write(self.style.SUCCESS(f"Pelusa runs: http://localhost:{settings.PORT}/admin/"))
                    self.stdout.flush()
                except NotReady as late:
                    # It may still come up (a database that starts after us); the supervisor keeps trying.
                    self.stderr.write(self.style.WARNING(str(late)))
                supervisor.run_forever()
        except (AlreadyRunning, PortTaken, OperationalError) as error:
            raise CommandError(str(error)) from None
