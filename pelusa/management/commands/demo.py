"""Show Pelusa at work: real alarms, a paper exchange, and what became of each."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError

from exchange.errors import ExchangeError
from pelusa import demo
from pelusa.processes import PortTaken, running_system
from pelusa.supervisor import AlreadyRunning, NotReady


class Command(BaseCommand):
    help = "Run everything with a paper exchange, post real alarms, print what became of each, then stay up."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--once", action="store_true", help="Stop everything at the end; exit 0 when all went as it should."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.PELUSA_TRADING != "paper":
            raise CommandError("the demo trades paper money only: set PELUSA_TRADING=paper")
        log = settings.VAR_DIR / "log" / "processes.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with log.open("a") as output, running_system(output) as supervisor:
                supervisor.wait_ready()
                self._show()
                if not options["once"]:
                    supervisor.run_forever()
        except (AlreadyRunning, PortTaken, OperationalError, NotReady, ExchangeError, demo.DemoFailed) as error:
            raise CommandError(f"{error}\nWhat the processes said is in {log}") from None

    def _show(self) -> None:
        password = demo.make_user()
        demo.make_strategies()
        results = demo.play()
        demo.check_books()
        self.stdout.write(f"\n{demo.table(results)}\n\nWhy:\n{demo.sentences(results)}\n\n")
        self.stdout.write(self.style.SUCCESS("Everything went as it should."))
        self.stdout.write(
            f"The back office: http://localhost:{settings.PORT}/admin/   user {demo.USER}   password {password}\n"
        )
        self.stdout.write(f"The webhook:     http://localhost:{settings.PORT}/webhook/{settings.WEBHOOK_SECRETS[0]}\n")
        # A pipe would show it when the demonstration ends, which it does not
        self.stdout.flush()
