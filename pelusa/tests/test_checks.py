"""What `check` says of an installation."""

from typing import Any

import pytest
from django.core.checks import run_checks
from django.db import connections

from pelusa.environment import networks

STRONG = "b1946ac92492d2347c6235b4d2611184a3f5c7e9"


def ids(**options: Any) -> set[str]:
    return {message.id for message in run_checks(**options) if message.id and message.id.startswith("pelusa.")}


def test_the_default_installation_has_nothing_to_say() -> None:
    assert ids() == set()


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"DEBUG": True}, set()),
        ({"DEBUG": True, "PELUSA_TRADING": "vst"}, {"pelusa.E001"}),
        ({"TIME_ZONE": "America/Chicago"}, {"pelusa.E002"}),
        ({"USE_TZ": False}, {"pelusa.E002"}),
        ({"FIELD_ENCRYPTION_KEYS": ["not a key"]}, {"pelusa.E003"}),
        ({"FIELD_ENCRYPTION_KEYS": []}, {"pelusa.E003"}),
        ({"TRUSTED_PROXIES": networks("TRUSTED_PROXIES", "::/0")}, {"pelusa.E004"}),
        ({"TRUSTED_PROXIES": networks("TRUSTED_PROXIES", "0.0.0.0/0")}, {"pelusa.E004"}),
        ({"DEBUG": True, "BEHIND_TLS": True}, {"pelusa.E001"}),
        ({"DEBUG": True, "PELUSA_TRADING": "live", "BEHIND_TLS": True}, {"pelusa.E001"}),
        ({"SECRET_KEY": "django-insecure-" + STRONG}, {"pelusa.E007"}),
        ({"SECRET_KEY": STRONG[:31]}, {"pelusa.E007"}),
        ({"SECRET_KEY": "ab" * 30}, {"pelusa.E007"}),
        ({"WEBHOOK_SECRETS": []}, {"pelusa.E008"}),
        ({"WEBHOOK_SECRETS": [STRONG, STRONG[:15]]}, {"pelusa.E008"}),
        ({"WEBHOOK_SECRETS": ["a" * 40]}, {"pelusa.E008"}),
        ({"WEBHOOK_SECRETS": ["please-change-me-0123"]}, {"pelusa.E008"}),
        ({"WEBHOOK_SECRETS": [STRONG, STRONG[16:]]}, set()),
        ({"PELUSA_TRADING": "live", "BEHIND_TLS": True, "ALLOWED_HOSTS": ["*"]}, {"pelusa.W002"}),
        ({"PELUSA_TRADING": "live", "BEHIND_TLS": False, "ALLOWED_HOSTS": ["pelusa.example"]}, {"pelusa.W001"}),
    ],
)
def test_a_dangerous_setting_is_named(settings: Any, changes: dict[str, Any], found: set[str]) -> None:
    for name, value in changes.items():
        setattr(settings, name, value)
    # Whether the tests themselves run on SQLite is not the point here
    assert ids() - {"pelusa.W003"} == found


def test_real_money_on_sqlite_is_warned_of(settings: Any) -> None:
    settings.PELUSA_TRADING = "live"
    on_sqlite = any(connection.vendor == "sqlite" for connection in connections.all())
    assert ("pelusa.W003" in ids()) is on_sqlite


@pytest.mark.django_db(databases=["default", "alarms", "market"])
def test_the_databases_that_we_configured_pass() -> None:
    assert ids(databases=["default", "alarms", "market"]) == set()


@pytest.mark.servers
@pytest.mark.django_db(databases=["default"])
@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ", "pelusa.E005"),
        ("SET SESSION sql_mode = ''", "pelusa.E006"),
    ],
)
def test_a_server_that_was_set_otherwise_is_refused(statement: str, found: str) -> None:
    if connections["default"].vendor != "mysql":
        pytest.skip("SQLite has neither")
    with connections["default"].cursor() as cursor:
        cursor.execute(statement)
    try:
        assert ids(databases=["default"]) == {found}
    finally:
        connections["default"].close()
