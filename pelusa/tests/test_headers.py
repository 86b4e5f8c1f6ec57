"""What every page tells the browser: what it may run, load, frame and send elsewhere."""

import os
import subprocess
import sys
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from pelusa.livesystem import ROOT
from pelusa.testing import DATABASES
from pelusa.tests.browsing import browser_of

pytestmark = pytest.mark.django_db(databases=DATABASES)
PATHS = ("/admin/", "/admin/login/", "/api/docs/", "/api/v1/alarms/", "/health/live", "/nowhere")


def policy_of(answer: Any) -> dict[str, str]:
    parts = (part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
    return {part[0]: part[1] for part in parts}


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_forbids_frames_guessing_and_other_hosts(path: str) -> None:
    answer = browser_of().get(path)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    policy = policy_of(answer)
    assert (policy["default-src"], policy["frame-ancestors"], policy["object-src"]) == ("'self'", "'none'", "'none'")
    assert "http" not in answer.headers["Content-Security-Policy"]


def test_only_the_back_office_may_evaluate() -> None:
    assert "'unsafe-eval'" in policy_of(browser_of().get(reverse("admin:index")))["script-src"]
    for path in ("/api/docs/", "/nowhere", "/health/live"):
        policy = policy_of(browser_of().get(path))
        assert "unsafe" not in policy.get("script-src", policy["default-src"]), path


def test_the_pages_of_the_api_carry_no_script_of_their_own() -> None:
    text = browser_of().get("/api/docs/").content.decode()
    assert "<script>" not in text
    assert browser_of().get("/api/docs/?script=").headers["Content-Type"].startswith("application/javascript")


def test_behind_tls_cookies_bear_the_hosts_name() -> None:
    """In a process of its own: the names are made when the settings are read."""
    code = (
        "import django; django.setup(); from django.conf import settings as s;"
        "print(s.SESSION_COOKIE_NAME, s.CSRF_COOKIE_NAME, s.SESSION_COOKIE_SECURE, s.CSRF_COOKIE_SECURE,"
        " s.SESSION_COOKIE_DOMAIN)"
    )
    told = os.environ | {"BEHIND_TLS": "on", "DJANGO_SETTINGS_MODULE": "pelusa.settings"}
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=told, capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["__Host-pelusa-session", "__Host-pelusa-csrf", "True", "True", "None"]


def test_a_stranger_reads_no_documentation_of_the_api() -> None:
    assert Client().get("/api/docs/").status_code == 302
    assert Client().get("/api/docs/?script=").status_code == 302
