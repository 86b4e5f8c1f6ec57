"""A session's row does not hold its cookie, and opens nothing when somebody sends what it holds."""

from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from pelusa.sessions import SessionStore
from pelusa.tests.browsing import browser_of

pytestmark = pytest.mark.django_db


def has_got_in(browser: Client) -> bool:
    return browser.get("/admin/password_change/").status_code == 200


def test_the_cookie_lets_in_and_is_in_no_column() -> None:
    browser = browser_of("viewer")
    assert has_got_in(browser)
    assert browser.cookies[settings.SESSION_COOKIE_NAME].value not in str(list(Session.objects.values()))


def test_what_a_row_holds_lets_nobody_in() -> None:
    browser_of("viewer")
    stranger = Client()
    stranger.cookies[settings.SESSION_COOKIE_NAME] = Session.objects.get().session_key
    assert not has_got_in(stranger)


def test_whoever_logs_out_is_out_and_his_row_is_gone() -> None:
    browser = browser_of("viewer")
    cookie = browser.cookies[settings.SESSION_COOKIE_NAME].value
    browser.post("/admin/logout/")
    assert not Session.objects.exists()
    browser.cookies[settings.SESSION_COOKIE_NAME] = cookie
    assert not has_got_in(browser)


def test_an_expired_session_lets_nobody_in() -> None:
    browser = browser_of("viewer")
    Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
    assert not has_got_in(browser)


def test_a_session_is_changed_in_place_and_gets_a_new_cookie_at_a_log_in() -> None:
    session = SessionStore()
    session["seen"] = 1
    session.save()
    old = session.session_key
    again = SessionStore(old)
    again["seen"] = again["seen"] + 1
    again.save()
    assert Session.objects.count() == 1
    again.cycle_key()
    assert Session.objects.count() == 1
    assert SessionStore(again.session_key)["seen"] == 2
    assert not SessionStore(old).exists(old)
    assert "seen" not in SessionStore(old)
