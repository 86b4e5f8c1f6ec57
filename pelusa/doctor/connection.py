"""Try one account's connection: is the exchange there, does it take the key, what may that do, and how fast is it?"""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from time import monotonic, perf_counter
from typing import Any

from django.utils.translation import gettext_lazy as _

from exchange.bingx import KeyPermission
from exchange.errors import ExchangeError
from exchange.types import KeyReport
from pelusa.doctor.accounts import Patient, client_of, judge_clock, judge_credentials, judge_key, judge_position_mode
from pelusa.doctor.asking import Asker
from pelusa.doctor.findings import Finding

# For all questions together; someone waits for the page
SECONDS = 8.0
DEEDS: dict[int, Any] = {
    KeyPermission.SPOT_TRADE: _("trade spot"),
    KeyPermission.READ: _("read"),
    KeyPermission.PERPETUAL_TRADE: _("trade perpetuals"),
    KeyPermission.UNIVERSAL_TRANSFER: _("move money between wallets"),
    KeyPermission.WITHDRAW: _("withdraw money"),
    KeyPermission.SUB_ACCOUNT_TRANSFER: _("move money between accounts"),
}


@dataclass(frozen=True, slots=True)
class Step:
    """One question: which, how long its answer took (None: nobody was asked), and what that means."""

    what: Any
    milliseconds: int | None
    findings: tuple[Finding, ...]
    told: str = ""


def try_connection(patient: Patient) -> list[Step]:
    """Ask the account's exchange read-only, each question once its forerunner was answered; no secret is in a step."""
    own = tuple(judge_credentials(patient))
    steps = [Step(_("Credentials"), None, own)] if own else []
    with closing(client_of(patient)) as client:
        ask = Asker(monotonic() + SECONDS)
        offset, took = _timed(ask, client.measure_clock)
        steps.append(Step(_("Clock"), took, (judge_clock(patient.subject, offset),)))
        if isinstance(offset, ExchangeError) or not (patient.key and patient.secret):
            return steps
        key, took = _timed(ask, client.key)
        steps.append(Step(_("Key"), took, tuple(judge_key(patient, key)), may(key)))
        mode, took = _timed(ask, client.position_mode)
        steps.append(Step(_("Position mode"), took, (judge_position_mode(patient, mode),)))
    return steps


def _timed(ask: Asker, read: Callable[[], Any]) -> tuple[Any, int]:
    began = perf_counter()
    answer = ask(read)
    return answer, round((perf_counter() - began) * 1000)


def may(key: KeyReport | ExchangeError) -> str:
    """Return what the key may do, in words of ours; nothing when it was not told. Pure."""
    if isinstance(key, ExchangeError):
        return ""
    return ", ".join(str(DEEDS.get(each, each)) for each in sorted(key.permissions))
