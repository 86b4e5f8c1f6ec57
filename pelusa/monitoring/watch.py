"""Look after everything from the heart of every process: who watches must not depend on what is watched."""

from datetime import datetime

from pelusa.monitoring.faults import NOTICED, faults_of
from pelusa.monitoring.telling import tell
from pelusa.monitoring.vitals import read_vitals


def look_after(born_at: datetime) -> None:
    """Raise and end the notices of failed health, and keep what was found for this process's pages.

    Raises `DatabaseError` when the books are away; while they are frozen that takes the read time-out of ten seconds.
    """
    from pelusa.health import ask_dependencies, found_in, health

    servers, vitals = ask_dependencies(), read_vitals()
    health.keep(found_in(vitals, servers))
    tell(NOTICED, faults_of(vitals, servers, born_at))
