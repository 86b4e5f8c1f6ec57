"""Every page of the back office: it opens with rows and without, for those who may, and asks nobody else's host."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask
from knox.models import AuthToken
from rest_framework.test import APIClient

from alarms.models import Alarm
from exchange.models import Account, EquityPoint, EquitySnapshot
from market.models import Backfill, Instrument, KlineHole, Series
from market.tests.making import make_candles
from operations.models import Decision, Fill, Lane, Operation, Order
from pelusa.actors import SYSTEM
from pelusa.audit.chain import append
from pelusa.audit.rows import AuditEntry
from pelusa.office.overview import PARTS
from pelusa.testing import DATABASES
from pelusa.tests.browsing import ELSEWHERE, browser_of, page, queries_of
from pelusa.tests.making import make_account, make_equity, make_history, make_instrument
from strategies.models import Strategy

pytestmark = pytest.mark.django_db(databases=DATABASES)

TRADING = (Alarm, Strategy, Operation, Decision, Order, Fill, Lane, Account, EquityPoint, EquitySnapshot)
MARKET = (Instrument, Series, Backfill, KlineHole)
OURS = (*TRADING, *MARKET)
WRITABLE = (Strategy, Account, Series)


def url_of(model: type[Model], act: str = "changelist", *args: object) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{act}", args=args)


def pages_of(model: type[Model]) -> Iterator[str]:
    """Return the addresses of a model's list and of one row's page."""
    yield url_of(model)
    row = model._default_manager.first()
    if row:
        yield url_of(model, "change", getattr(row, "token_key", row.pk))


@pytest.fixture
def rows() -> None:
    """One row at least of everything that has a page."""
    make_history()
    make_equity(Account.objects.get())
    make_instrument()
    make_candles()
    user = get_user_model().objects.create_user("somebody")
    AuthToken.objects.create(user=user)
    every = IntervalSchedule.objects.create(every=2, period="seconds")
    PeriodicTask.objects.create(name="sweep", task="alarms.tasks.sweep_alarms", interval=every)
    CrontabSchedule.objects.create(hour="3")
    append(SYSTEM, "changed", object_name="something")


def test_every_page_opens_with_rows_and_asks_no_other_host(rows: None) -> None:
    browser = browser_of()
    for model in admin.site._registry:
        for url in pages_of(model):
            answer = browser.get(url, follow=True)
            assert answer.status_code == 200, url
            assert not ELSEWHERE.findall(answer.content.decode()), url


def test_every_list_opens_without_rows() -> None:
    browser = browser_of()
    for model in admin.site._registry:
        assert browser.get(url_of(model)).status_code == 200, model


def test_every_form_for_a_new_row_opens() -> None:
    browser = browser_of()
    for model, model_admin in admin.site._registry.items():
        may_add = model_admin.has_add_permission(request_of(browser))
        assert browser.get(url_of(model, "add")).status_code == (200 if may_add else 403), model


def request_of(browser: Client) -> Any:
    return browser.get(reverse("admin:index")).wsgi_request


def test_a_stranger_is_sent_to_the_login(rows: None) -> None:
    for model in admin.site._registry:
        for url in (*pages_of(model), url_of(model, "add")):
            answer = Client().get(url)
            assert (answer.status_code, answer.headers["Location"].split("?")[0]) == (302, reverse("admin:login")), url


def test_a_member_of_the_staff_without_a_role_sees_nothing(rows: None) -> None:
    browser = browser_of("")
    for model in admin.site._registry:
        assert browser.get(url_of(model)).status_code == 403, model
    overview = page(browser, reverse("admin:index"))
    assert "Stochastic_v1" not in overview
    assert "BTC-USDT" not in overview


def test_a_viewer_reads_all_of_ours_and_writes_none(rows: None) -> None:
    browser = browser_of("viewer")
    for model in OURS:
        for url in pages_of(model):
            assert browser.get(url).status_code == 200, url
            assert browser.post(url, {"name": "x"}).status_code in (200, 302, 403), url
        assert browser.get(url_of(model, "add")).status_code == 403, model
    assert not LogEntry.objects.filter(user__username__startswith="viewer").exists()


def test_ledgers_take_nothing_from_a_superuser_either(rows: None) -> None:
    browser = browser_of()
    for model in set(OURS) - set(WRITABLE):
        row = model._default_manager.get()
        assert browser.get(url_of(model, "add")).status_code == 403
        assert browser.post(url_of(model, "change", row.pk), {"status": "closed"}).status_code == 403
        assert browser.post(url_of(model, "delete", row.pk), {"post": "yes"}).status_code == 403
        assert model._default_manager.filter(pk=row.pk).exists()


@pytest.mark.parametrize("model", OURS)
def test_a_list_costs_the_same_with_more_rows(model: type[Model]) -> None:
    browser = browser_of()
    make_history()
    make_equity(make_account())
    make_instrument()
    make_candles()
    few = queries_of(lambda: browser.get(url_of(model)))
    make_history(strategies=2, alarms=3)
    make_equity(make_account("another"))
    make_instrument("ETH-USDT")
    make_candles()
    assert queries_of(lambda: browser.get(url_of(model))) == few
    assert few <= 12


def test_large_lists_are_never_counted() -> None:
    make_history()
    browser = browser_of()
    for model in (Alarm, Decision, Order, Fill, Operation):
        assert "COUNT(" not in " ".join(sql_of(browser, url_of(model))), model


def sql_of(browser: Client, url: str) -> list[str]:
    from django.db import connections
    from django.test.utils import CaptureQueriesContext

    with (
        CaptureQueriesContext(connections["default"]) as default,
        CaptureQueriesContext(connections["alarms"]) as alarms,
    ):
        browser.get(url)
    return [query["sql"] for query in (*default, *alarms)]


def test_the_overview_costs_less_than_twelve_queries_whatever_is_stored() -> None:
    browser = browser_of()
    make_history(strategies=2, alarms=3)
    parts = [reverse(f"overview_{name}") for name in PARTS]
    few = [queries_of(lambda url=url: browser.get(url)) for url in (reverse("admin:index"), *parts)]
    make_history(strategies=3, alarms=12)
    assert [queries_of(lambda url=url: browser.get(url)) for url in (reverse("admin:index"), *parts)] == few
    assert max(few) <= 12


def test_the_badge_says_whose_money_it_is(settings: object) -> None:
    browser = browser_of()
    for ceiling, words in (("paper", "Paper money"), ("vst", "Demo money"), ("live", "Real money")):
        settings.PELUSA_TRADING = ceiling  # type: ignore[attr-defined]
        assert words in page(browser, reverse("admin:index"))


def test_a_token_is_shown_once_and_its_digest_never() -> None:
    browser = browser_of()
    user = get_user_model().objects.create_user("robot")
    shown = browser.post(url_of(AuthToken, "add"), {"user": user.pk, "expiry_0": "", "expiry_1": ""})
    assert shown.status_code == 200
    token = AuthToken.objects.get()
    text = shown.context["token"]
    assert text in shown.content.decode()
    assert AuthToken.objects.get().token_key == text[:15]
    seen = [
        shown.content.decode(),
        page(browser, url_of(AuthToken)),
        page(browser, url_of(AuthToken, "delete", token.token_key)),
    ]
    seen += [page(browser, url_of(AuditEntry)), str([*LogEntry.objects.values(), *AuditEntry.objects.values()])]
    assert all(token.digest not in each for each in seen)
    assert all(text not in each for each in seen[1:])


def test_a_revoked_token_opens_nothing() -> None:
    _, text = AuthToken.objects.create(user=get_user_model().objects.create_superuser("robot"))
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {text}")
    assert client.get("/api/v1/strategies/").status_code == 200
    url = url_of(AuthToken, "delete", AuthToken.objects.get().token_key)
    browser = browser_of()
    assert browser.get(url).status_code == 200
    assert client.get("/api/v1/strategies/").status_code == 200
    browser.post(url)
    assert client.get("/api/v1/strategies/").status_code == 401
    assert AuditEntry.objects.filter(object_type="knox.authtoken", act="removed").exists()


def test_only_a_superuser_hands_out_roles() -> None:
    from django.contrib.auth.models import Permission

    clerk = get_user_model().objects.create_user("clerk", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(content_type__app_label="auth"))
    browser = Client()
    browser.force_login(clerk)
    operator = Group.objects.get(name="operator")
    form = {
        "username": "clerk",
        "first_name": "Ana",
        "is_active": "on",
        "date_joined_0": "2026-01-01",
        "date_joined_1": "00:00:00",
    }
    raised = {"is_superuser": "on", "is_staff": "on", "groups": [operator.pk]}
    assert browser.post(url_of(get_user_model(), "change", clerk.pk), form | raised).status_code == 302
    clerk.refresh_from_db()
    assert (clerk.first_name, clerk.is_superuser, clerk.groups.count()) == ("Ana", False, 0)
    boss = get_user_model().objects.create_superuser("boss")
    assert browser.post(reverse("admin:auth_user_password_change", args=[boss.pk]), {}).status_code == 403
    assert browser.get(url_of(Group, "add")).status_code == 403


def test_nobody_is_deleted_so_that_the_audit_keeps_his_name() -> None:
    user = get_user_model().objects.create_user("gone")
    assert browser_of().post(url_of(get_user_model(), "delete", user.pk), {"post": "yes"}).status_code == 403


def test_a_schedule_is_saved_from_its_page(rows: None) -> None:
    task = PeriodicTask.objects.get()
    form = {
        "name": "sweep",
        "regtask": "",
        "task": task.task,
        "enabled": "",
        "interval": task.interval_id,
        "args": "[]",
        "kwargs": "{}",
    }
    dates = {f"{name}_{part}": "" for name in ("start_time", "expires") for part in (0, 1)}
    answer = browser_of().post(
        url_of(PeriodicTask, "change", task.pk), form | dates | {"headers": "{}", "priority": "", "expire_seconds": ""}
    )
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    task.refresh_from_db()
    assert not task.enabled
