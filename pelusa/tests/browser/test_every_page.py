"""Every page of the back office opens in a real browser, asks nobody else, complains of nothing and fits the screen."""

import pytest

from pelusa.tests.browser.office import Person

pytestmark = pytest.mark.browser


def test_every_page_of_the_sidebar_opens_and_fits(anybody: Person) -> None:
    links = anybody.page.locator("#nav-sidebar-apps a[href^='/admin/']")
    paths = sorted({str(each.get_attribute("href")) for each in links.all()})
    assert len(paths) > 15
    for path in paths:
        anybody.visit(path)
        assert not anybody.is_too_wide(), path
