"""One running Pelusa and one Chromium for all browser tests."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from pelusa.tests.browser.office import LANGUAGES, WIDTHS, Office, Person, person, running_office, start_chromium


@pytest.fixture(scope="session")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with running_office(tmp_path_factory.mktemp("office")) as running:
        yield running


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = start_chromium(playwright)
        yield browser
        browser.close()


@pytest.fixture(params=[f"{width}-{language}" for width in WIDTHS for language in LANGUAGES])
def anybody(request: pytest.FixtureRequest, office: Office, chromium: Browser) -> Iterator[Person]:
    """Somebody at a desk and somebody with a phone, in each language."""
    width, _, language = request.param.partition("-")
    with person(office, chromium, width, language) as somebody:
        yield somebody


@pytest.fixture
def trader(office: Office, chromium: Browser) -> Iterator[Person]:
    """Somebody at a desk who reads English."""
    with person(office, chromium, "desktop", "en") as somebody:
        yield somebody
