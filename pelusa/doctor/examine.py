"""One examination of everything, in a bounded time: rows first, then all others at once, then the judgement."""

from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any

from django.conf import settings
from django.db import DatabaseError
from django.utils.translation import gettext as _

from exchange.types import Market
from pelusa.doctor import accounts, databases, machine, proxy, queue, strategies, webhook
from pelusa.doctor.accounts import Answers, Patient
from pelusa.doctor.asking import ask_together
from pelusa.doctor.findings import Finding, advice, ok, unknown
from pelusa.doctor.strategies import Case

# For all that is asked over the network together; the databases have time-outs of their own
SECONDS = 15.0


def examine(url: str = "") -> list[Finding]:
    """Look at everything and return what was found; nothing is changed anywhere.

    `url` is Pelusa's own public address, `https://host`; empty: the webhook is not knocked at from outside.
    """
    found = [*machine.examine_machine(), *databases.examine_databases()]
    try:
        found += machine.examine_brakes()
        traces = queue.judge_traces(queue.read_traces())
        patients = [(patient, strategies.read_cases(patient)) for patient in accounts.read_patients()]
        lists = _judge_lists([patient for patient, _cases in patients])
    except DatabaseError as error:
        return [*found, databases.unread(error), *_without_rows(url)]
    answers = ask_together(_questions(url, [patient for patient, _cases in patients]), SECONDS)
    return [*found, *_of_others(url, answers), *traces, *lists, *_of_accounts(patients, answers)]


def _without_rows(url: str) -> list[Finding]:
    return _of_others(url, ask_together(_questions(url, []), SECONDS))


def _questions(url: str, patients: list[Patient]) -> dict[str, Callable[[], Any]]:
    until = monotonic() + SECONDS - accounts.READ_SECONDS
    asked: dict[str, Callable[[], Any]] = {queue.SUBJECT: queue.ask_queue}
    if url:
        asked[webhook.SUBJECT] = partial(webhook.ask_webhook, url)
        asked[proxy.SUBJECT] = partial(proxy.ask_proxy, url)
    return asked | {each.subject: partial(accounts.ask_exchange, each, until) for each in patients}


def _of_others(url: str, answers: dict[str, Any]) -> list[Finding]:
    """Return what was found at the webhook, at the proxy and in the queue."""
    found = webhook.judge_settings()
    if not url:
        found.append(webhook.not_tried(settings.PELUSA_TRADING == "live"))
    subjects = [webhook.SUBJECT, proxy.SUBJECT, queue.SUBJECT] if url else [queue.SUBJECT]
    for subject in subjects:
        found += answers.get(subject) or [_silent(subject)]
    return found


def _silent(subject: str) -> Finding:
    return unknown(subject, "no_answer_in_time", _("It did not answer in time."), _("Examine again."))


def _judge_lists(patients: list[Patient]) -> list[Finding]:
    places = [place for patient in patients for place in patient.places]
    named = {Market(each.market) for patient in patients for each in patient.strategies}
    return list(strategies.judge_lists(strategies.read_list_age([*places, *((market, "") for market in named)])))


def _of_accounts(patients: list[tuple[Patient, list[Case]]], answers: dict[str, Any]) -> list[Finding]:
    if not patients:
        return [advice("accounts", "no_account", _("There is no active account."), _("Make one in the back office."))]
    found: list[Finding] = []
    for patient, cases in patients:
        found += _of_account(patient, cases, answers.get(patient.subject))
    return found if any(cases for _patient, cases in patients) else [*found, _no_strategy()]


def _of_account(patient: Patient, cases: list[Case], said: Answers | None) -> list[Finding]:
    return [
        *accounts.judge_account(patient, said),
        *(finding for case in cases for finding in strategies.judge_case(case, said)),
        *strategies.judge_together(cases),
    ]


def examine_account(account_id: int, seconds: float = SECONDS) -> list[Finding]:
    """Look at one account and its strategies, and nothing else; raises `DatabaseError`."""
    patient = accounts.read_patient(account_id)
    if patient is None:
        return []
    until = monotonic() + seconds - accounts.READ_SECONDS
    asked = ask_together({patient.subject: partial(accounts.ask_exchange, patient, until)}, seconds)
    return _of_account(patient, strategies.read_cases(patient), asked.get(patient.subject))


def _no_strategy() -> Finding:
    return ok("strategies", "no_strategy", _("No strategy is active: no alarm opens anything."))
