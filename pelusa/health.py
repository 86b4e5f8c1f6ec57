"""Is the process up, and is it ready to work? Reasons are named; addresses and passwords never are."""

from collections.abc import Callable
from time import perf_counter
from typing import Any

from celery import current_app
from django.db import DatabaseError, connections
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe
from drf_spectacular.utils import OpenApiResponse, extend_schema
from kombu.exceptions import OperationalError
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

BROKER_TIMEOUT = 1
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
        """Ask the three databases and the broker."""
        checks = run_checks()
        is_ready = all(check["ok"] for check in checks.values())
        status, http_status = ("ready", 200) if is_ready else ("not_ready", 503)
        return Response({"status": status, "checks": checks}, status=http_status)


def run_checks() -> dict[str, dict[str, Any]]:
    """Return, for each thing the work needs, whether it answers, in how many milliseconds, or why not."""
    asked: dict[str, Callable[[], object]] = {
        f"database {alias}": lambda alias=alias: ask_database(alias)  # type: ignore[misc]
        for alias in connections
    }
    return {name: _timed(ask) for name, ask in {**asked, "broker": ask_broker}.items()}


def ask_database(alias: str) -> None:
    """Run the smallest query; raise `DatabaseError` when there is no answer."""
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchone()


def ask_broker() -> None:
    """Connect within a second; raise `OperationalError` when there is no answer."""
    with current_app.connection_for_read(transport_options=BROKER_OPTIONS) as connection:
        connection.ensure_connection(max_retries=1, interval_start=0, timeout=BROKER_TIMEOUT)


def _timed(ask: Callable[[], object]) -> dict[str, Any]:
    started = perf_counter()
    try:
        ask()
    except (DatabaseError, OperationalError, OSError) as error:
        # The error's text may hold an address with a password
        return {"ok": False, "reason": f"no answer ({type(error).__name__})"}
    return {"ok": True, "ms": round((perf_counter() - started) * 1000, 1)}
