"""What is wrong, and what of it stands in the way of trading: pure decisions on what was read."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from exchange.clock import TOLERANCE
from exchange.models import Account
from operations.limits import CEILINGS
from operations.models import Notice
from pelusa.doctor.machine import EMPTY_BYTES
from pelusa.monitoring.models import Heartbeat
from pelusa.monitoring.vitals import Vitals
from strategies.reasons import explain

# Hearts beat every ten seconds; three that are lacking, and the next look, are well within 90 s
AWAY = timedelta(seconds=35)
IDLE = timedelta(seconds=60)
# Clocks are measured every half minute
CLOCK_KEPT_FOR = timedelta(seconds=65)
LONGEST_WAIT = {"alarm": timedelta(seconds=60), "order": timedelta(seconds=60), "in_flight": timedelta(seconds=60)}
SLOW_MS = 1000.0
LANES_NAMED = 5
# Told by a notice; what else stands in the way has a notice of its own or is a person's wish
NOTICED = frozenset(
    {
        "web_away",
        "worker_away",
        "worker_idle",
        "beat_away",
        "broker_away",
        "database_away",
        "database_slow",
        "paper_exchange_away",
        "exchange_clock_off",
        "exchange_clock_unmeasured",
        "work_lags",
        "low_disk",
    }
)
HARMLESS = frozenset({"database_slow", "low_disk"})


@dataclass(frozen=True, slots=True)
class Fault:
    """A machine word, which of several it is about, and the values that were compared."""

    kind: str
    key: str = "system"
    facts: dict[str, Any] = field(default_factory=dict)
    level: str = Notice.Level.CRITICAL

    @property
    def sentence(self) -> str:
        return explain(self.kind, self.facts)


def faults_of(vitals: Vitals, checks: Mapping[str, Mapping[str, Any]], born_at: datetime) -> list[Fault]:
    """Return what is wrong; who watches since `born_at` gives everybody time to show himself from then on."""
    return [
        *_of_processes(vitals, born_at),
        *_of_checks(checks),
        *_of_clocks(vitals, born_at),
        *_of_waiting(vitals),
        *_of_disk(vitals),
    ]


def obstacles(vitals: Vitals, checks: Mapping[str, Mapping[str, Any]], born_at: datetime) -> list[Fault]:
    """Return why an entry of some active account would not be sent now."""
    wrong = [fault for fault in faults_of(vitals, checks, born_at) if fault.kind not in HARMLESS]
    return [*_of_brakes(vitals), *_of_accounts(vitals), *wrong, *_of_lanes(vitals)]


def _of_processes(vitals: Vitals, born_at: datetime) -> Iterator[Fault]:
    kinds = Heartbeat.Kind
    away = {kind for kind in kinds if _silent(vitals, vitals.beats.get(kind), born_at) > AWAY}
    if kinds.WEB in away:
        yield _away("web_away", vitals, vitals.beats.get(kinds.WEB))
    if kinds.BEAT in away:
        yield _away("beat_away", vitals, vitals.beats.get(kinds.BEAT))
    elif _silent(vitals, vitals.works.get(kinds.BEAT), born_at) > IDLE:
        yield _away("beat_away", vitals, vitals.works.get(kinds.BEAT))
    if kinds.WORKER in away:
        yield _away("worker_away", vitals, vitals.beats.get(kinds.WORKER))
    elif _silent(vitals, vitals.works.get(kinds.WORKER), born_at) > IDLE:
        yield _away("worker_idle", vitals, vitals.works.get(kinds.WORKER))


def _silent(vitals: Vitals, seen: datetime | None, born_at: datetime) -> timedelta:
    return vitals.now - max(seen or born_at, born_at)


def _away(kind: str, vitals: Vitals, seen: datetime | None) -> Fault:
    return Fault(kind, facts={"since": f"{seen:%Y-%m-%d %H:%M:%S}" if seen else None})


def _of_checks(checks: Mapping[str, Mapping[str, Any]]) -> Iterator[Fault]:
    for name, check in checks.items():
        what, _, which = name.partition(" ")
        if not check["ok"]:
            key = which if what == "database" else "system"
            yield Fault(f"{name.replace(' ', '_') if what == 'paper' else what}_away", key, {"name": which})
        elif what == "database" and check["ms"] > SLOW_MS:
            facts = {"name": which, "ms": check["ms"]}
            yield Fault("database_slow", which, facts, Notice.Level.WARNING)


def _of_clocks(vitals: Vitals, born_at: datetime) -> Iterator[Fault]:
    for environment in sorted(vitals.environments):
        offset, measured_at = vitals.clocks.get(environment, (0, None))
        if _silent(vitals, measured_at, born_at) > CLOCK_KEPT_FOR:
            since = f"{measured_at:%Y-%m-%d %H:%M:%S}" if measured_at else None
            yield Fault("exchange_clock_unmeasured", environment, {"environment": environment, "since": since})
        if abs(timedelta(milliseconds=offset)) > TOLERANCE:
            yield Fault("exchange_clock_off", environment, {"environment": environment, "offset_ms": offset})


def _of_waiting(vitals: Vitals) -> Iterator[Fault]:
    for what, since in vitals.waiting.items():
        if since and vitals.now - since > LONGEST_WAIT[what]:
            yield Fault("work_lags", what, {"what": what, "since": f"{since:%Y-%m-%d %H:%M:%S}"})


def _of_disk(vitals: Vitals) -> Iterator[Fault]:
    if vitals.free_bytes is not None and vitals.free_bytes < EMPTY_BYTES:
        yield Fault("low_disk", facts={"megabytes": vitals.free_bytes // 1024**2})


def _of_brakes(vitals: Vitals) -> Iterator[Fault]:
    if vitals.halted:
        yield Fault("halted", facts=dict(vitals.halted))
    active = {each["id"] for each in vitals.accounts}
    for switch in vitals.switches:
        if switch["account_id"] is None or switch["account_id"] in active:
            whose = switch["account__name"] or "all accounts"
            yield Fault("kill_switch", whose, {"accounts": whose, "who": switch["changed_by"], "why": switch["reason"]})


def _of_accounts(vitals: Vitals) -> Iterator[Fault]:
    if not vitals.accounts:
        yield Fault("no_active_account")
    ceiling = settings.PELUSA_TRADING
    for each in vitals.accounts:
        if CEILINGS.index(each["environment"]) > CEILINGS.index(ceiling):
            yield Fault("above_ceiling", each["name"], {"environment": each["environment"], "ceiling": ceiling})
        if each["may_withdraw"]:
            yield Fault("key_may_withdraw", each["name"], {"account": each["name"]})
        elif each["environment"] == Account.Environment.LIVE and each["rights_read_at"] is None:
            yield Fault("key_not_checked", each["name"], {"account": each["name"]})


def _of_lanes(vitals: Vitals) -> Iterator[Fault]:
    for kind, lanes in (("lanes_frozen", vitals.frozen), ("lanes_not_compared", vitals.uncompared)):
        if lanes:
            named = ", ".join(f"{lane['account__name']} {lane['symbol']}" for lane in lanes[:LANES_NAMED])
            yield Fault(
                kind, facts={"count": len(lanes), "lanes": named + (" and others" if lanes[LANES_NAMED:] else "")}
            )
