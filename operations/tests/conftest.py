"""Fixtures for the tests of the engine."""

from collections.abc import Iterator

import pytest

from operations.tests.perils import Perils


@pytest.fixture
def perils(monkeypatch: pytest.MonkeyPatch) -> Iterator[Perils]:
    """A clock of our own, and everything that can befall this process switched off."""
    perils = Perils()
    with perils.installed(monkeypatch):
        yield perils
        perils.wake_all()
