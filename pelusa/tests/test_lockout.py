"""Guessing passwords ends soon, for whoever guesses and nobody else; sessions end with the password."""

from datetime import timedelta
from typing import Any

import pytest
from axes.models import AccessAttempt, AccessLog
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import reverse

from pelusa.gatekeeping import gatekeeper
from pelusa.models import Refusal
from pelusa.refusals import refusals
from pelusa.testing import DATABASES
from pelusa.tests.browsing import browser_of
from pelusa.tests.planted import planted

pytestmark = pytest.mark.django_db(databases=DATABASES)
LOGIN = reverse("admin:login")
ATTEMPTS = reverse("admin:axes_accessattempt_changelist")
PASSWORD = planted("password")
ATTACKER, HOME = "203.0.113.9", "198.51.100.7"


@pytest.fixture(autouse=True)
def ana() -> Any:
    refusals.write()
    Refusal.objects.all().delete()
    return get_user_model().objects.create_superuser("ana", password=PASSWORD)


def log_in(password: str, remote: str = ATTACKER, name: str = "ana", client: Client | None = None, **meta: str) -> Any:
    form = {"username": name, "password": password}
    headers: dict[str, Any] = {"REMOTE_ADDR": remote, **meta}
    return (client or Client()).post(LOGIN, form, **headers)


def test_five_wrong_passwords_lock_the_address_out_and_the_right_one_with_it() -> None:
    answers = [log_in("wrong").status_code for _ in range(5)]
    assert answers == [200, 200, 200, 200, 429]
    locked = log_in(PASSWORD)
    assert (locked.status_code, locked.headers["Retry-After"]) == (429, "900")
    assert "Try again in 15 minutes" in locked.content.decode()


def test_who_guesses_elsewhere_does_not_lock_out_the_owner() -> None:
    for _ in range(20):
        log_in("wrong")
    assert log_in(PASSWORD, HOME).status_code == 302


def test_guesses_with_turning_names_headers_and_browsers_are_answered_five_times_at_most() -> None:
    get_user_model().objects.filter(username="ana").update(password="!")
    answers = [
        log_in("wrong", name=f"user{n % 7}", HTTP_X_FORWARDED_FOR=f"192.0.2.{n % 250}", HTTP_USER_AGENT=f"browser {n}")
        for n in range(200)
    ]
    assert [answer.status_code for answer in answers].count(200) == 4
    assert AccessAttempt.objects.count() == 5


def test_an_attacker_with_an_ipv6_network_is_one_address() -> None:
    answers = [log_in("wrong", f"2001:db8:1:2::{n:x}").status_code for n in range(10)]
    assert answers.count(429) == 6
    assert log_in(PASSWORD, "2001:db8:1:3::1").status_code == 302


def test_guesses_during_the_lock_neither_prolong_it_nor_fill_the_table() -> None:
    for _ in range(5):
        log_in("wrong")
    before = AccessAttempt.objects.get()
    log_in("wrong")
    after = AccessAttempt.objects.get()
    assert (before.attempt_time, before.post_data) == (after.attempt_time, after.post_data)
    AccessAttempt.objects.update(attempt_time=before.attempt_time - timedelta(minutes=15, seconds=1))
    assert log_in(PASSWORD).status_code == 302


def test_a_password_typed_as_the_name_is_not_stored_and_counts_as_a_guess(ana: Any) -> None:
    answers = [log_in("x", name=planted("password")).status_code for _ in range(6)]
    assert answers[-1] == 429
    [row] = AccessAttempt.objects.values()
    assert planted("password") not in str(row)
    assert log_in("x", name="ana", remote=HOME).status_code == 200
    assert AccessAttempt.objects.filter(username="ana").exists()


def test_no_password_is_stored_with_an_attempt() -> None:
    log_in("hunter2-hunter2")
    row = AccessAttempt.objects.get()
    assert "hunter2" not in f"{row.get_data} {row.post_data} {row.path_info}"


def test_a_superuser_sees_the_attempts_and_ends_the_lock_and_nobody_else_does() -> None:
    for _ in range(5):
        log_in("wrong")
    assert browser_of("operator").get(ATTEMPTS).status_code == 403
    browser = browser_of()
    assert ATTACKER in browser.get(ATTEMPTS).content.decode()
    chosen = {"action": "delete_selected", "_selected_action": [AccessAttempt.objects.get().pk], "post": "yes"}
    assert browser.post(ATTEMPTS, chosen).status_code == 302
    assert log_in(PASSWORD).status_code == 302


def test_wrong_passwords_and_lock_outs_are_counted_with_the_other_refusals() -> None:
    for _ in range(7):
        log_in("wrong")
    gatekeeper.look()
    assert dict(Refusal.objects.values_list("reason", "count")) == {"wrong_password": 5, "locked_out": 3}


def test_a_log_in_is_written_down_with_its_address() -> None:
    log_in(PASSWORD, HOME)
    assert AccessLog.objects.get().ip_address == HOME


def test_a_new_password_ends_every_other_session(ana: Any) -> None:
    here, there = Client(), Client()
    for client in (here, there):
        assert log_in(PASSWORD, HOME, client=client).status_code == 302
    new = {
        "old_password": PASSWORD,
        "new_password1": planted("password", "new"),
        "new_password2": planted("password", "new"),
    }
    assert here.post(reverse("admin:password_change"), new).status_code == 302
    assert here.get(reverse("admin:index")).status_code == 200
    assert there.get(reverse("admin:index")).status_code == 302


def test_a_session_from_before_the_log_in_is_not_the_one_after_it(settings: Any) -> None:
    client = Client()
    client.session["planted"] = "by the attacker"
    client.session.save()
    before = client.cookies.get(settings.SESSION_COOKIE_NAME)
    log_in(PASSWORD, HOME, client=client)
    assert before is None or client.cookies[settings.SESSION_COOKIE_NAME].value != before.value


def test_cookies_are_for_this_site_alone(settings: Any) -> None:
    client = Client()
    client.get(LOGIN)
    log_in(PASSWORD, HOME, client=client)
    session, csrf = client.cookies[settings.SESSION_COOKIE_NAME], client.cookies[settings.CSRF_COOKIE_NAME]
    for cookie in (session, csrf):
        assert (cookie["samesite"], cookie["httponly"], cookie["path"], cookie["domain"]) == ("Strict", True, "/", "")
    assert session["max-age"] == 8 * 3600
