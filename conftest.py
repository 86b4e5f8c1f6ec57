"""Fixtures for every app's tests."""

import os
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_django

from pelusa.testing import PaperExchange, paper_exchange
from pelusa.tests.searching import SEARCH


@pytest.fixture(scope="session", autouse=True)
def nobody_elses_host() -> Iterator[None]:
    """Refuse to look up any host but this machine and the servers that the tests run on."""
    servers = {
        urlsplit(value).hostname
        for name, value in os.environ.items()
        if name.endswith(("DATABASE_URL", "BROKER_URL", "REDIS_URL"))
    }
    ours, look_up = servers | {None, "", "localhost", socket.gethostname()}, socket.getaddrinfo

    def look_up_ours(host: Any, *args: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name in ours or _is_number(name):
            return look_up(host, *args, **options)
        raise socket.gaierror(socket.EAI_NONAME, f"no test may ask {name}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", look_up_ours)
        yield


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: pytest_django.DjangoDbBlocker) -> Iterator[None]:
    """Make the databases; search them for secrets before they are dropped."""
    yield
    with django_db_blocker.unblock():
        SEARCH.databases()


def _is_number(host: str) -> bool:
    return host.replace(".", "").isdigit() or ":" in host


@pytest.fixture(scope="session")
def paper_process() -> Iterator[PaperExchange]:
    with paper_exchange() as paper:
        yield paper


@pytest.fixture
def paper(paper_process: PaperExchange, settings: object) -> PaperExchange:
    """A paper exchange with pinned prices, no faults and no books, that the accounts of this test trade on."""
    paper_process.start_over()
    settings.BINGX_URLS = settings.BINGX_URLS | {"paper": paper_process.url}  # type: ignore[attr-defined]
    settings.BINGX_PAPER_URL = paper_process.url  # type: ignore[attr-defined]
    return paper_process
