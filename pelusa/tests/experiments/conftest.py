"""What all experiments share: databases that are migrated once."""

import fcntl
import os
from pathlib import Path

import pytest

from pelusa.tests.experiments.rig import make_template


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The migrated data folder, made by whichever test process comes first."""
    base = tmp_path_factory.getbasetemp()
    home = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "rig"
    home.mkdir(exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = home / "template" / "mysql"
        return made if made.exists() else make_template(home / "template")
