"""What every request passes: its id, the rules about hosts and addresses, its line in the log."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from loguru import logger

from alarms.models import Alarm
from pelusa.environment import networks
from pelusa.middleware import AddressRules, shown_path
from pelusa.testing import DATABASES, alarm_body
from pelusa.tests.planted import planted

pytestmark = pytest.mark.django_db(databases=DATABASES)
SECRET = planted("webhook secret")
TV, ATTACKER = "52.89.214.238", "203.0.113.9"


@pytest.fixture(autouse=True)
def one_secret(settings: Any) -> None:
    settings.WEBHOOK_SECRETS = [SECRET]


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    """The records of the log, as they are written."""
    records: list[Any] = []
    sink = logger.add(lambda message: records.append(message.record), level="DEBUG", format="{message}")
    yield records
    logger.remove(sink)


def post(
    path: str = f"/webhook/{SECRET}", remote: str = "127.0.0.1", forwarded_for: str | None = None, **meta: str
) -> Any:
    headers: dict[str, Any] = {"REMOTE_ADDR": remote, **meta}
    if forwarded_for is not None:
        headers["HTTP_X_FORWARDED_FOR"] = forwarded_for
    return Client().post(path, alarm_body(), "application/json", **headers)


def test_every_answer_has_an_id_of_its_own() -> None:
    paths = ["/health/live", "/api/v1/alarms/", "/nowhere", "/admin/login/", "/webhook"]
    ids = [Client().get(path).headers["X-Request-ID"] for path in paths]
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in ids)
    assert len(set(ids)) == len(ids)


def test_an_id_that_the_client_names_is_not_taken() -> None:
    assert Client().get("/health/live", HTTP_X_REQUEST_ID="forged").headers["X-Request-ID"] != "forged"


def test_the_id_of_the_answer_is_in_its_error_and_in_its_line(lines: list[Any]) -> None:
    answer = Client().get("/api/v1/alarms/")
    request_id = answer.headers["X-Request-ID"]
    assert answer.json()["error"]["request_id"] == request_id
    assert [record["extra"]["request_id"] for record in lines] == [request_id]


def test_a_request_is_one_line_with_what_it_was(lines: list[Any]) -> None:
    Client().get("/api/v1/alarms/?secret=x", REMOTE_ADDR="198.51.100.7")
    [record] = lines
    extra = {name: record["extra"][name] for name in ("method", "path", "status", "address")}
    assert extra == {"method": "GET", "path": "/api/v1/alarms/", "status": 401, "address": "198.51.100.7"}
    assert record["extra"]["ms"] > 0


@pytest.mark.parametrize("secret", [SECRET, f"{SECRET}/", "a-wrong-secret", "with%0Aline", f"x/{SECRET}"])
def test_the_webhooks_secret_is_never_in_the_log(lines: list[Any], secret: str) -> None:
    post(f"/webhook/{secret}")
    written = " ".join(str(record["extra"]) + record["message"] for record in lines)
    assert "/webhook/***" in written
    for part in (SECRET, "wrong-secret", "with"):
        assert part not in written


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/webhook", "/webhook"),
        ("/webhook/", "/webhook/"),
        ("/webhook/abc", "/webhook/***"),
        ("/webhook/abc/def", "/webhook/***"),
        ("//webhook//abc", "//webhook//***"),
        ("/Webhook/abc", "/Webhook/***"),
        ("/webhook/a\nb", "/webhook/***"),
        ("/webhooks/abc", "/webhooks/abc"),
        ("/api/v1/alarms/", "/api/v1/alarms/"),
    ],
)
def test_a_path_is_shown_without_the_secret(path: str, shown: str) -> None:
    assert shown_path(path) == shown


def test_the_supervisors_question_is_no_line_of_the_usual_level(lines: list[Any]) -> None:
    Client().get("/health/live")
    assert [record["level"].name for record in lines] == ["DEBUG"]


def test_a_forbidden_address_is_403_in_the_one_shape_and_stores_nothing() -> None:
    answer = post(remote=ATTACKER)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden_address")
    assert ATTACKER in answer.json()["error"]["message"]
    assert not Alarm.objects.exists()


def test_tradingviews_addresses_may_post() -> None:
    assert post(remote=TV).status_code == 200
    assert Alarm.objects.get().source_ip == TV


@pytest.mark.parametrize("forwarded_for", [TV, f"{TV}, {ATTACKER}", f"{ATTACKER}, {TV}", f"{TV}, 127.0.0.1"])
def test_an_allowed_address_in_the_header_of_a_stranger_opens_nothing(forwarded_for: str) -> None:
    assert post(remote=ATTACKER, forwarded_for=forwarded_for).status_code == 403


OTHER_HEADERS = ["X_REAL_IP", "FORWARDED", "TRUE_CLIENT_IP", "CF_CONNECTING_IP", "X_CLIENT_IP", "CLIENT_IP"]


@pytest.mark.parametrize("header", OTHER_HEADERS)
def test_no_other_header_says_who_is_asking(settings: Any, header: str) -> None:
    settings.TRUSTED_PROXIES = networks("TRUSTED_PROXIES", "127.0.0.0/8")
    assert post(remote=ATTACKER, **{f"HTTP_{header}": TV}).status_code == 403
    assert post(forwarded_for=ATTACKER, **{f"HTTP_{header}": TV}).status_code == 403


@pytest.mark.parametrize(
    ("forwarded_for", "status"),
    [
        (TV, 200),
        (f"{ATTACKER}, {TV}", 200),
        ("::ffff:52.89.214.238", 200),
        (f"{TV}, {ATTACKER}", 403),
        (ATTACKER, 403),
        ("", 403),
        ("unknown", 403),
        ("-", 403),
        ("052.089.214.238", 403),
        ("3386823406", 403),
        (f"{TV}:443", 403),
        ("fe80::1%eth0", 403),
        ("127.0.0.1", 403),
        ("127.0.0.2", 403),
        ("10.0.0.1", 403),
        ("169.254.169.254", 403),
        (", ".join([TV] * 10_000 + ["127.0.0.1"] * 40), 403),
    ],
)
def test_behind_a_proxy_on_this_machine_its_own_address_opens_nothing(
    settings: Any, forwarded_for: str, status: int
) -> None:
    settings.TRUSTED_PROXIES = networks("TRUSTED_PROXIES", "127.0.0.1")
    assert post(forwarded_for=forwarded_for).status_code == status


def test_a_proxys_address_that_posts_for_itself_is_judged_like_any_other(settings: Any) -> None:
    settings.TRUSTED_PROXIES = networks("TRUSTED_PROXIES", "127.0.0.1")
    assert post().status_code == 200


def test_an_address_that_is_allowed_and_denied_is_denied(settings: Any) -> None:
    settings.IP_DENY = f"/webhook={TV}"
    assert post(remote=TV).status_code == 403


def test_rules_hold_for_any_prefix(settings: Any) -> None:
    settings.IP_ALLOW = "/admin=10.0.0.0/8"
    assert Client().get("/admin/login/", REMOTE_ADDR=ATTACKER).status_code == 403
    assert Client().get("/admin/login/", REMOTE_ADDR="10.1.2.3").status_code == 200
    assert post(remote=ATTACKER).status_code == 200


@pytest.mark.parametrize("name", ["IP_ALLOW", "IP_DENY"])
def test_bad_rules_stop_the_start_with_the_settings_name(settings: Any, name: str) -> None:
    setattr(settings, name, "/webhook=nobody")
    with pytest.raises(ImproperlyConfigured, match=rf"^{name}: "):
        AddressRules(lambda request: request)  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize(
    "host", ["evil.example", "", "localhost:80:80", "localhost@evil.example", "localhost,evil.example"]
)
@pytest.mark.parametrize("path", [f"/webhook/{SECRET}", "/api/v1/alarms/", "/health/live", "/admin/login/"])
def test_a_host_that_is_not_ours_is_400_on_every_path(host: str, path: str) -> None:
    answer = post(path, HTTP_HOST=host)
    assert answer.status_code == 400
    assert "evil" not in answer.content.decode()
    assert answer.headers["X-Request-ID"]
    assert not Alarm.objects.exists()


@pytest.mark.parametrize("method", ["get", "put", "patch", "delete", "options", "head", "trace"])
def test_the_webhook_takes_posts_only(method: str) -> None:
    answer = getattr(Client(), method)(f"/webhook/{SECRET}")
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "POST"
    if method != "head":
        assert answer.json()["error"]["code"] == "method_not_allowed"


def test_a_method_that_a_header_names_is_not_obeyed() -> None:
    assert post(HTTP_X_HTTP_METHOD_OVERRIDE="DELETE").status_code == 200
