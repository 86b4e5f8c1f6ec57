"""A running Pelusa with the demonstration's data, and people who look at it with Chromium."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from playwright.sync_api import Browser, Page, Playwright

from pelusa.livesystem import ROOT, ApiClient, PaperExchange, free_port, wait_until
from pelusa.tests.searching import SEARCH

CHROMIUM = "/usr/bin/chromium"
# Without these Chromium looks for its maker's servers
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDTHS = {"desktop": {"width": 1440, "height": 900}, "phone": {"width": 390, "height": 844}}
LANGUAGES = {"en": "en-US", "es": "es-ES"}
# What the demonstration says last
_READY = re.compile(r"user (?P<user>\S+)\s+password (?P<password>\S+)\s.*?(?P<webhook>/webhook/\S+)\s", re.DOTALL)


@dataclass(frozen=True)
class Office:
    """Where it runs, and how to get in."""

    url: str
    user: str
    password: str
    webhook: str
    api: ApiClient
    paper: PaperExchange
    env: dict[str, str]

    def manage(self, *words: str) -> str:
        """Run a command of `manage.py` on the office's databases; return what it says."""
        command = [sys.executable, "manage.py", *words]
        return subprocess.check_output(command, cwd=ROOT, env=self.env, text=True)

    def post_alarm(
        self, order: str, strategy: str, *, ticker: str = "ETHUSDT.P", interval: str = "5", price: str = "3000"
    ) -> int:
        """Post an alarm as TradingView does and return its number."""
        said = {
            "Ticker": ticker,
            "Interval": interval,
            "Price_Alert": price,
            "Time_Alert": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
            "Order": order,
            "Strategy": strategy,
        }
        answer = requests.post(self.url + self.webhook, json=said, timeout=10)
        assert answer.status_code == 200, answer.text
        return int(answer.json()["id"])


@contextmanager
def running_office(home: Path) -> Iterator[Office]:
    """Run the demonstration with everything embedded, and leave it running for the length of the block."""
    port = free_port()
    env = os.environ | {"VAR_DIR": str(home), "PORT": str(port), "PELUSA_STOP_WITH_PARENT": "1"}
    command = [sys.executable, "manage.py", "demo"]
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        said = _listen(process)
        try:
            wait_until(lambda: _READY.search("".join(said)) is not None, seconds=120, what="".join(said)[-2000:])
            found = _READY.search("".join(said))
            assert found
            token = [sys.executable, "manage.py", "token", "browser", "--role", "operator"]
            said_last = subprocess.check_output(token, cwd=ROOT, env=env, text=True).splitlines()[-1]
            url = f"http://127.0.0.1:{port}"
            doors = {"api": ApiClient(url, said_last), "paper": PaperExchange(port + 1), "env": env}
            with SEARCH.knowing({found["password"]: "password", said_last[15:]: "API token"}):
                yield Office(url, found["user"], found["password"], found["webhook"], **doors)
                SEARCH.folder(home)
        finally:
            process.terminate()


def _listen(process: "subprocess.Popen[bytes]") -> list[str]:
    """Read what the process says from a thread, so that it never waits for us."""
    said: list[str] = []

    def read() -> None:
        assert process.stdout
        said.extend(line.decode() for line in process.stdout)

    threading.Thread(target=read, daemon=True).start()
    return said


def start_chromium(playwright: Playwright) -> Browser:
    """Start Debian's Chromium."""
    return playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)


@dataclass
class Person:
    """Somebody logged in with a browser of a width and a language, who notices what a page should not do."""

    office: Office
    page: Page
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(f"{self.page.url}: {error}"))
        self.page.on("request", self._asked)

    def _heard(self, message: Any) -> None:
        if message.type == "error":
            self.complaints.append(f"{self.page.url}: {message.text}")

    def _asked(self, request: Any) -> None:
        at = urlsplit(request.url)
        if at.scheme in ("http", "https", "ws", "wss") and at.netloc != urlsplit(self.office.url).netloc:
            self.complaints.append(f"{self.page.url} asked {at.netloc}")

    def log_in(self) -> None:
        self.visit("/admin/")
        self.page.fill("input[name=username]", self.office.user)
        self.page.fill("input[name=password]", self.office.password)
        self.page.click("button[type=submit]")
        self.page.wait_for_selector("#nav-sidebar-apps", state="attached")

    def visit(self, path: str) -> None:
        answer = self.page.goto(self.office.url + path)
        assert answer is not None
        assert answer.status == 200, (path, answer.status)
        self.look()

    def look(self) -> None:
        """Search the page for secrets."""
        SEARCH.look(self.page.content(), f"answer {urlsplit(self.page.url).path}")

    def is_too_wide(self) -> bool:
        """Tell whether the page scrolls sideways."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))


@contextmanager
def person(office: Office, browser: Browser, width: str, language: str, *, dark: bool = False) -> Iterator[Person]:
    """Log a person in; at the end nothing may have been complained about."""
    context = browser.new_context(
        viewport=WIDTHS[width],  # type: ignore[arg-type]
        locale=LANGUAGES[language],
        color_scheme="dark" if dark else "light",
    )
    try:
        somebody = Person(office, context.new_page())
        somebody.log_in()
        yield somebody
        somebody.look()
        assert not somebody.complaints, somebody.complaints
    finally:
        context.close()
