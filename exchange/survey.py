"""Ask several accounts at once what they hold, within a time that is bounded for all of them together.

Who does not answer is told beside those who did, with a machine word and a sentence: one dead account hides no other.
"""

import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import cache
from typing import Generic, NamedTuple, TypeVar

from django.utils.translation import gettext as _

from exchange.bingx import BingX
from exchange.connection import connect
from exchange.decoding import Unreadable
from exchange.encryption import WrongKey
from exchange.errors import ExchangeError, RateLimited, Refused, RetrySoon
from exchange.models import Account
from exchange.refusals import in_words
from exchange.types import WALLETS, BalanceReport, Market, OldProduct, PositionReport, Wallet

# Seconds for a whole survey, however many accounts it asks
PATIENCE = 8.0
MOST_AT_ONCE = 16
DEMO_WALLETS: tuple[Wallet, ...] = (Market.USDTM,)
Report = TypeVar("Report", BalanceReport, PositionReport)


class Failure(NamedTuple):
    """Why one wallet of one account is not told. `is_final`: the exchange said no, asking again changes nothing."""

    account: Account
    wallet: Wallet
    code: str
    message: str
    is_final: bool = False


@dataclass
class Survey(Generic[Report]):
    """What was told, and by whom it was not."""

    answers: list[tuple[Account, Wallet, list[Report]]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


Ask = Callable[[BingX, Wallet], list[Report]]
Asked = tuple[Account, Wallet]


def ask_balances(client: BingX, wallet: Wallet) -> list[BalanceReport]:
    return client.standard_balances() if isinstance(wallet, OldProduct) else client.balances(wallet)


def ask_positions(client: BingX, wallet: Wallet) -> list[PositionReport]:
    return client.standard_positions() if isinstance(wallet, OldProduct) else client.positions(wallet)


def wallets_of(account: Account, wanted: Iterable[Wallet] = WALLETS) -> list[Wallet]:
    """Return which of the wanted wallets the account has, in the given order."""
    is_demo = account.environment == Account.Environment.VST
    return [wallet for wallet in wanted if not is_demo or wallet in DEMO_WALLETS]


def survey(
    accounts: Iterable[Account], wanted: Iterable[Wallet], ask: Ask[Report], *, patience: float = PATIENCE
) -> Survey[Report]:
    """Ask for every wanted wallet of every account at the same time; answers come in the order of the questions."""
    deadline, wanted = time.monotonic() + patience, tuple(wanted)
    found, futures = Survey[Report](), dict[Asked, Future[list[Report]]]()
    for account in accounts:
        wallets = wallets_of(account, wanted)
        refusal = _closed_because(account) if wallets else _no_such_wallet()
        for wallet in wallets or wanted:
            if refusal:
                found.failures.append(Failure(account, wallet, *refusal, is_final=True))
            else:
                futures[account, wallet] = _threads(os.getpid()).submit(_ask_one, ask, account, wallet)
    wait(futures.values(), timeout=max(deadline - time.monotonic(), 0))
    for (account, wallet), future in futures.items():
        _note(found, account, wallet, future, patience)
    return found


@cache
def _threads(process_id: int) -> ThreadPoolExecutor:
    """Return this process's threads: they are kept, and with them each one's open connections."""
    return ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="survey")


def _ask_one(ask: Ask[Report], account: Account, wallet: Wallet) -> list[Report]:
    return ask(connect(account), wallet)


def _no_such_wallet() -> tuple[str, str]:
    return "no_such_wallet", _("BingX keeps its demo money on the USDT-M perpetuals alone.")


def _closed_because(account: Account) -> tuple[str, str] | None:
    """Return why the account cannot be asked at all; its credentials are read here, never in a thread."""
    try:
        has_key = bool(account.api_key and account.api_secret)
    except WrongKey:
        return "wrong_key", _("No key of FIELD_ENCRYPTION_KEYS opens the account's credentials: give both again.")
    return None if has_key else ("no_credentials", _("The account has no API key and secret: give both."))


def _note(
    found: Survey[Report], account: Account, wallet: Wallet, future: Future[list[Report]], patience: float
) -> None:
    if not future.done():
        future.cancel()
        message = _("No answer within %(seconds)s s.") % {"seconds": f"{patience:g}"}
        found.failures.append(Failure(account, wallet, "exchange_slow", message))
        return
    try:
        found.answers.append((account, wallet, future.result()))
    except ExchangeError as error:
        is_final = isinstance(error, Refused) and not isinstance(error, RateLimited | RetrySoon)
        found.failures.append(Failure(account, wallet, word_for(error), sentence_for(error), is_final))


def word_for(error: ExchangeError) -> str:
    """Return the machine word for what went wrong."""
    if isinstance(error, RateLimited | RetrySoon):
        return "exchange_busy"
    if isinstance(error, Refused):
        return "exchange_refused"
    return "exchange_unreadable" if isinstance(error, Unreadable) else "exchange_away"


def sentence_for(error: ExchangeError) -> str:
    """Return what went wrong in words, with the exchange's code where it gave one."""
    message = in_words(error.message)
    said = _("BingX's code %(code)s: %(message)s") % {"code": error.code, "message": message} if error.code else message
    return said if said.endswith(".") else f"{said[:1].upper()}{said[1:]}."
