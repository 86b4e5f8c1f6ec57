"""Pictures of every page with real data, for the README: `make screenshots` writes them to docs/screenshots/."""

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from pelusa.livesystem import ROOT
from pelusa.tests.browser.office import LANGUAGES, WIDTHS, Office, person, running_office, start_chromium
from pelusa.tests.browser.scenery import play

FOLDER = ROOT / "docs" / "screenshots"
# A page that scrolls on and on is cut; what matters stands on top
HIGHEST = 1500
CHART_PATIENCE = 20_000
# The chart draws itself anew in the next frames
RESIZED = 150


def number_of(path: str, **columns: str) -> Callable[[Office], str]:
    """Return what finds the newest row of an API's list with these columns: its number."""

    def find(office: Office) -> str:
        rows = office.api.all(path)
        return str(next(row["id"] for row in rows if all(row[name] == value for name, value in columns.items())))

    return find


def alarm_of(reason: str) -> Callable[[Office], str]:
    """Return what finds the newest alarm that a strategy answered for this reason."""

    def find(office: Office) -> str:
        return str(next(row["alarm"] for row in office.api.all("/decisions/") if row["reason"] == reason))

    return find


# Each page's address; `{}` is the number that is found in the office
TREND = number_of("/strategies/", name="Trend follower")
PAGES: dict[str, tuple[str, Callable[[Office], str] | None]] = {
    "alarms": ("/admin/alarms/alarm/", None),
    "alarm": ("/admin/alarms/alarm/{}/change/", alarm_of("entry_gate_open")),
    "alarm-denied": ("/admin/alarms/alarm/{}/change/", alarm_of("order_too_large")),
    "why": ("/admin/why/", None),
    "strategies": ("/admin/strategies/strategy/", None),
    "strategy": ("/admin/strategies/strategy/{}/change/", TREND),
    "versions": ("/admin/strategies/strategy/{}/versions/", number_of("/strategies/", name="Wild one")),
    "import": ("/admin/strategies/strategy/import/", None),
    "composer": ("/admin/composer/{}/", TREND),
    "chart": ("/admin/chart/?operation={}", number_of("/operations/", status="closed")),
    "operations": ("/admin/operations/operation/", None),
    "operation": ("/admin/operations/operation/{}/change/", number_of("/operations/", status="open")),
    "close": ("/admin/operations/operation/{}/close/", number_of("/operations/", status="open")),
    "accounts": ("/admin/exchange/account/", None),
    "account": ("/admin/exchange/account/{}/change/", number_of("/accounts/")),
    "series": ("/admin/market/series/", None),
    "candles": ("/admin/market/series/{}/change/", number_of("/series/", interval="5m")),
    "backfill": ("/admin/market/series/{}/backfill/", number_of("/series/", interval="5m")),
    "limits": ("/admin/operations/limits/", None),
    "kill-switch": ("/admin/operations/killswitch/", None),
    "health": ("/admin/health/", None),
    "doctor": ("/admin/doctor/", None),
    "audit": ("/admin/pelusa/auditentry/", None),
    "notices": ("/admin/operations/notice/", None),
    "channels": ("/admin/pelusa/channel/", None),
    # Last: its line about health is up to ten seconds old, and at first there was no account
    "overview": ("/admin/", None),
}
DARK = ("overview", "alarm", "chart")


def addresses(office: Office) -> Iterator[tuple[str, str]]:
    """Yield each page's name and its address in this office."""
    for name, (pattern, find) in PAGES.items():
        yield name, pattern.format(find(office)) if find else pattern


def settle(page: Page) -> None:
    """Wait until the parts that come later are there: what refreshes itself, and a chart's candles."""
    page.wait_for_load_state("networkidle")
    if page.locator("#chart").count():
        ready = "() => Number(document.getElementById('chart').dataset.candles) > 0"
        page.wait_for_function(ready, timeout=CHART_PATIENCE)
    page.evaluate("document.fonts.ready")


def picture(page: Page, file: Path) -> None:
    """Write what a page shows on a screen as high as the page, or as `HIGHEST`: what sticks to an edge stays there."""
    size = page.viewport_size
    assert size
    height = int(page.evaluate("document.documentElement.scrollHeight"))
    page.set_viewport_size({"width": size["width"], "height": min(max(height, size["height"]), HIGHEST)})
    page.wait_for_timeout(RESIZED)
    page.screenshot(path=file, animations="disabled")
    page.set_viewport_size(size)


def take(office: Office, chromium: Browser, folder: Path) -> None:
    """Write every page at both widths in both languages; a few in dark."""
    found = dict(addresses(office))
    for width, size in WIDTHS.items():
        for language in LANGUAGES:
            shown = f"{size['width']}-{language}"
            with person(office, chromium, width, language) as somebody:
                for name, address in found.items():
                    somebody.visit(address)
                    settle(somebody.page)
                    picture(somebody.page, folder / f"{name}-{shown}.png")
                somebody.page.context.clear_cookies()
                somebody.visit("/admin/login/")
                picture(somebody.page, folder / f"login-{shown}.png")
        with person(office, chromium, width, "en", dark=True) as somebody:
            for name in DARK:
                somebody.visit(found[name])
                settle(somebody.page)
                picture(somebody.page, folder / f"{name}-dark-{size['width']}-en.png")


def main(folder: Path = FOLDER) -> None:
    """Start an office, let a day happen in it, and take the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home, running_office(Path(home)) as office, sync_playwright() as playwright:
        play(office)
        chromium = start_chromium(playwright)
        take(office, chromium, folder)
        chromium.close()
    files = list(folder.glob("*.png"))
    size = sum(each.stat().st_size for each in files) / 1e6
    sys.stdout.write(f"{len(files)} pictures, {size:.1f} MB, in {folder}\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
