"""People at the back office: a logged-in browser of a role, and what a page cost."""

import re
from collections.abc import Callable
from contextlib import ExitStack
from itertools import count
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from pelusa.roles import give_role
from pelusa.testing import DATABASES

ELSEWHERE = re.compile(r"""(?:src|href|action)=["'](?:https?:)?//[^"']+|url\(["']?(?:https?:)?//""")
_number = count(1)


def browser_of(role: str = "superuser") -> Client:
    """Return a browser in which a new member of the staff is logged in: of a role, `superuser`, or of none ("")."""
    name = f"{role or 'newcomer'}-at-the-office-{next(_number)}"
    user = get_user_model().objects.create_user(name, is_staff=True, is_superuser=role == "superuser")
    if role not in ("", "superuser"):
        give_role(user, role)
    browser = Client()
    browser.force_login(user)
    return browser


def queries_of(ask: Callable[[], Any]) -> int:
    """Return how many queries all databases were asked; once before, so that caches are warm."""
    ask()
    with ExitStack() as stack:
        seen = [stack.enter_context(CaptureQueriesContext(connections[alias])) for alias in DATABASES]
        ask()
        return sum(len(each) for each in seen)


def page(browser: Client, url: str, **query: str) -> str:
    """Return the page's text; it must be there."""
    answer = browser.get(url, query)
    assert answer.status_code == 200, (url, answer.status_code)
    return answer.content.decode()
