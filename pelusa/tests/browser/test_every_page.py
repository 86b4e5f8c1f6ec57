"""Every page of the back office opens in a real browser, asks nobody else, complains of nothing and can be read."""

import pytest
from playwright.sync_api import Browser, Page

from pelusa.tests.browser.legible import too_dim
from pelusa.tests.browser.office import Office, Person, person

pytestmark = pytest.mark.browser

# Forms of its own that no list leads to
BESIDE = {
    "/admin/password_change/",
    "/admin/operations/killswitch/pull/",
    "/admin/operations/killswitch/release/",
    "/admin/strategies/strategy/import/",
}
# All histories are one page: these have something to tell
CHANGED_BY_HAND = ("/admin/strategies/strategy/", "/admin/operations/limits/", "/admin/market/series/")
MAIN_ACTS = ".pelusa-button:visible, #content button[type=submit][name^=_]:visible"
SMALLEST_FOR_A_FINGER = 38


def sidebar(page: Page) -> list[str]:
    links = page.locator("#nav-sidebar-apps a[href^='/admin/']")
    return sorted({str(each.get_attribute("href")) for each in links.all()})


def rows_and_forms(page: Page) -> set[str]:
    """Return where a list leads: to its newest row, what was done to it, and the form of a new one."""
    addresses = {str(each.get_attribute("href")) for each in page.locator("#header-inner a[href$='/add/']").all()}
    newest = page.locator("#result_list a[href*='/change/']")
    if newest.count():
        row = str(newest.first.get_attribute("href")).partition("?")[0]
        addresses.add(row)
        if row.startswith(CHANGED_BY_HAND):
            addresses.add(row.replace("/change/", "/history/"))
    return addresses


def fits_a_finger(page: Page) -> bool:
    heights = page.locator(MAIN_ACTS).evaluate_all("all => all.map((each) => each.getBoundingClientRect().height)")
    return min(heights, default=SMALLEST_FOR_A_FINGER) >= SMALLEST_FOR_A_FINGER


def test_every_page_of_the_sidebar_opens_and_fits(anybody: Person) -> None:
    paths = sidebar(anybody.page)
    assert len(paths) > 15
    for path in paths:
        anybody.visit(path)
        assert not anybody.is_too_wide(), path
        assert not too_dim(anybody.page), path


def test_every_list_row_form_and_history_can_be_read_in_the_dark_on_a_phone(office: Office, chromium: Browser) -> None:
    with person(office, chromium, "phone", "es", dark=True) as somebody:
        asked, beside = sidebar(somebody.page), set(BESIDE)
        for path in asked:
            somebody.visit(path)
            assert not too_dim(somebody.page), path
            beside |= rows_and_forms(somebody.page)
        assert len(beside) > 30
        for path in sorted(beside):
            somebody.visit(path)
            if somebody.page.locator("[data-live]").count():
                somebody.page.wait_for_load_state("networkidle")
            assert not somebody.is_too_wide(), path
            assert not too_dim(somebody.page), path
            assert fits_a_finger(somebody.page), path


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_what_is_not_there_is_said_legibly(office: Office, chromium: Browser, dark: bool) -> None:
    with person(office, chromium, "phone", "es", dark=dark) as somebody:
        answer = somebody.page.goto(f"{office.url}/admin/nothing/")
        assert answer is not None
        assert answer.status == 404
        assert somebody.page.locator("a[href='/admin/']").count() == 1
        assert not somebody.is_too_wide()
        assert not too_dim(somebody.page)
        # The browser itself notes that an answer was 404
        somebody.complaints.clear()
