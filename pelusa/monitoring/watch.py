"""Look after everything from the heart of every process: who watches must not depend on what is watched."""

from datetime import datetime

from pelusa.monitoring.faults import NOTICED, faults_of
from pelusa.monitoring.telling import tell
from pelusa.monitoring.vitals import read_vitals


def look_after(born_at: datetime) -> None:
    """Raise and end the notices of failed health; raises `DatabaseError` when the books are away."""
    from pelusa.health import ask_dependencies

    tell(NOTICED, faults_of(read_vitals(), ask_dependencies(), born_at))
