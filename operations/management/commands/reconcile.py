"""`manage.py reconcile [--account NAME]`."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from exchange.errors import ExchangeError
from exchange.models import Account
from exchange.rounding import plain
from exchange.types import Market
from operations.comparison import Line, compare_market, markets_of, settle_in_flight

COLUMNS = ("account", "market", "symbol", "side", "ours", "theirs", "")


class Command(BaseCommand):
    """Settle what is in flight once, then print what we hold and what the exchange says, lane by lane."""

    help = "Settle orders in flight once and compare all books with the exchange; exit status 1 when anything differs."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--account", metavar="NAME", help="Only this account; otherwise every active one.")

    def handle(self, *args: Any, account: str | None = None, **options: Any) -> None:
        rows: list[tuple[str, ...]] = [COLUMNS]
        self.failures = 0
        for each in self._accounts(account):
            for sentence in settle_in_flight(each):
                self._fail(each, sentence)
            rows += [_row(each, line) for market in markets_of(each) for line in self._compare(each, market)]
        self._print(rows)
        differences = sum(row[-1] == "DIFFERS" for row in rows)
        if differences or self.failures:
            raise CommandError(f"{differences} differences, {self.failures} questions without an answer")

    def _accounts(self, name: str | None) -> list[Account]:
        accounts = list(Account.objects.filter(name=name) if name else Account.objects.filter(is_active=True))
        if name and not accounts:
            raise CommandError(f"there is no account named {name}")
        return accounts

    def _compare(self, account: Account, market: Market) -> list[Line]:
        try:
            return compare_market(account, market)
        except ExchangeError as error:
            self._fail(account, f"{market}: {error}")
            return []

    def _fail(self, account: Account, sentence: str) -> None:
        self.failures += 1
        self.stderr.write(f"{account.name}: {sentence}")

    def _print(self, rows: list[tuple[str, ...]]) -> None:
        widths = [max(len(row[place]) for row in rows) for place in range(len(COLUMNS))]
        for row in rows:
            self.stdout.write("  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip())


def _row(account: Account, line: Line) -> tuple[str, ...]:
    verdict = "DIFFERS" if line.differs else "equal" if line.is_certain else "in motion"
    return account.name, str(line.market), line.symbol, line.side, plain(line.ours), plain(line.theirs), verdict
