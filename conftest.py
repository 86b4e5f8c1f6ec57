"""Fixtures for every app's tests."""

from collections.abc import Iterator

import pytest

from pelusa.testing import PaperExchange, paper_exchange


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
