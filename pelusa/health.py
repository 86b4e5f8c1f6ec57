"""Is the process up, and is it ready to work? Reasons are named; addresses and passwords never are."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from http.client import HTTPConnection, HTTPException
from threading import Lock
from time import monotonic, perf_counter
from typing import Any
from urllib.parse import urlsplit

from celery import current_app
from django.conf import settings
from django.db import DatabaseError, connections
from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.utils.functional import lazy
from django.views.decorators.http import require_safe
from drf_spectacular.utils import OpenApiResponse, extend_schema
from kombu.exceptions import OperationalError
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from pelusa.doctor.asking import ask_together
from pelusa.monitoring.faults import Fault, faults_of, obstacles
from pelusa.monitoring.models import Heartbeat
from pelusa.monitoring.vitals import Vitals, read_vitals

BROKER_TIMEOUT = 1
# For all that is asked over the network together, and how long an answer is kept
LONGEST, KEPT_SECONDS = 3.0, 1.0
# Every heart looks at everything each ten seconds
BELIEVED_SECONDS = 40.0
# Who is asked whether all is ready gives nobody time to show himself first
LONG_AGO = datetime.min.replace(tzinfo=UTC)
BROKER_OPTIONS = {"socket_timeout": BROKER_TIMEOUT, "socket_connect_timeout": BROKER_TIMEOUT}
ANSWERS = {200: OpenApiResponse(dict, "All of it answers."), 503: OpenApiResponse(dict, "Some of it does not.")}


@require_safe
def live(request: HttpRequest) -> JsonResponse:
    """Answer that the process is up; ask nobody else."""
    return JsonResponse({"status": "live"})


class Ready(APIView):
    """Whether everything that the work needs answers, each with its milliseconds or the reason why not."""

    permission_classes = [IsAuthenticated]

    @extend_schema(operation_id="health_ready", responses=ANSWERS)
    def get(self, request: Request) -> Response:
        """Ask what the work needs, but for the exchange: of it the last measurement counts."""
        found = health()
        is_ready = all(check["ok"] for check in found["checks"].values())
        status, http_status = ("ready", 200) if is_ready else ("not_ready", 503)
        return Response({"status": status, **found}, status=http_status)


class Kept:
    """What was found, for a second: whoever asks more often, or at the same time, costs nothing."""

    def __init__(self, find: Callable[[], dict[str, Any]]) -> None:
        self._find, self._turn = find, Lock()
        self._found: dict[str, Any] = {}
        self.found_at = LONG_AGO
        self._until = self._found_at = 0.0

    def __call__(self) -> dict[str, Any]:
        with self._turn:
            if monotonic() >= self._until:
                self.keep(self._find())
            return self._found

    def keep(self, found: dict[str, Any]) -> None:
        """Take what somebody found by himself."""
        self._found, self._found_at, self.found_at = found, monotonic(), timezone.now()
        self._until = self._found_at + KEPT_SECONDS

    def latest(self) -> dict[str, Any] | None:
        """Return what was last found by anybody here, at no cost, unless it is too old to be believed."""
        return self._found if self._found and monotonic() < self._found_at + BELIEVED_SECONDS else None

    def forget(self) -> None:
        self._found, self._until = {}, 0.0


def find_health() -> dict[str, Any]:
    """Return each dependency, and whether an entry may be sent now or why not."""
    servers = ask_dependencies()
    try:
        return found_in(read_vitals(), servers)
    except DatabaseError:
        return _told(servers, [Fault("database_away", "default", {"name": "default"})])


def found_in(vitals: Vitals, servers: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return what the vitals and the servers' answers say; asked by a web process, which lives, as it asks."""
    vitals = replace(vitals, beats={**vitals.beats, Heartbeat.Kind.WEB: vitals.now})
    ms = round((timezone.now() - vitals.now).total_seconds() * 1000, 1)
    rows = {
        name: {"ok": False, "reason": _sentence(faults[0])} if faults else {"ok": True, "ms": ms}
        for name, faults in _by_row(vitals, faults_of(vitals, {}, LONG_AGO)).items()
    }
    return _told(servers | rows, obstacles(vitals, servers, LONG_AGO))


def _told(checks: dict[str, dict[str, Any]], because: list[Fault]) -> dict[str, Any]:
    told = [{"reason": fault.kind, "detail": _sentence(fault)} for fault in because]
    return {"checks": checks, "ready_to_trade": not told, "because": told}


# Said when it is shown, in the language of whoever reads what was kept for all
_sentence: Callable[[Fault], str] = lazy(lambda fault: fault.sentence, str)


def _by_row(vitals: Vitals, faults: list[Fault]) -> dict[str, list[Fault]]:
    """Return what is wrong with each thing that is known from rows alone."""
    starts = {"worker": ("worker_",), "beat": ("beat_",), "disk": ("low_disk",), "queue": ("work_lags",)}
    found = {name: [fault for fault in faults if fault.kind.startswith(start)] for name, start in starts.items()}
    for environment in sorted(vitals.environments):
        clock = [fault for fault in faults if fault.kind.startswith("exchange_clock") and fault.key == environment]
        found[f"exchange clock {environment}"] = clock
    return found


health = Kept(find_health)


def ask_dependencies() -> dict[str, dict[str, Any]]:
    """Return for each server that the work needs whether it answers, in how many milliseconds, or why not."""
    asked: dict[str, Callable[[], object]] = {
        f"database {alias}": partial(_ask_and_hang_up, alias) for alias in connections
    }
    asked["broker"] = ask_broker
    if settings.PELUSA_TRADING == "paper":
        asked["paper exchange"] = ask_paper_exchange
    answers = ask_together({name: partial(_timed, ask) for name, ask in asked.items()}, LONGEST)
    return {name: answers.get(name, {"ok": False, "reason": f"no answer within {LONGEST:g} s"}) for name in asked}


def ask_database(alias: str) -> None:
    """Run the smallest query; raise `DatabaseError` when there is no answer."""
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchone()


def _ask_and_hang_up(alias: str) -> None:
    """Ask from a thread of its own, which leaves no connection behind."""
    try:
        ask_database(alias)
    finally:
        connections[alias].close()


def ask_paper_exchange() -> None:
    """Connect to the paper exchange, in our system or beside it; raise `OSError` when it does not take the call."""
    address = urlsplit(settings.BINGX_PAPER_URL)
    connection = HTTPConnection(str(address.hostname), address.port or 80, timeout=BROKER_TIMEOUT)
    with closing(connection):
        connection.request("GET", "/openApi/swap/v2/server/time")
        connection.getresponse().read()


def ask_broker() -> None:
    """Connect within a second; raise `OperationalError` when there is no answer."""
    with current_app.connection_for_read(transport_options=BROKER_OPTIONS) as connection:
        connection.ensure_connection(max_retries=1, interval_start=0, timeout=BROKER_TIMEOUT)


def _timed(ask: Callable[[], object]) -> dict[str, Any]:
    started = perf_counter()
    try:
        ask()
    except (DatabaseError, OperationalError, HTTPException, OSError) as error:
        # The error's text may hold an address with a password
        return {"ok": False, "reason": f"no answer ({type(error).__name__})"}
    return {"ok": True, "ms": round((perf_counter() - started) * 1000, 1)}
