"""Whoever changes something is found in the audit: who, from where, through what, before and after."""

from collections.abc import Callable
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from knox.models import AuthToken
from pytest_django import DjangoCaptureOnCommitCallbacks

from alarms.models import Alarm
from exchange.models import Account, ExchangeClock
from exchange.tests.test_accounts_admin import filled_in as account_form
from market.models import Series
from market.tests.making import make_backfills, make_series
from operations.killswitch import pull, pulled_switch
from operations.lifecycle import close_by_hand
from operations.models import Limits, Notice
from operations.notices import raise_notice
from pelusa.actors import SYSTEM, behind_command
from pelusa.audit import admin as audit_pages
from pelusa.audit.chain import append, find_break
from pelusa.audit.guard import is_guarded, lift_guard, raise_guard
from pelusa.audit.recording import MOST_FAILURES_AN_HOUR
from pelusa.audit.rows import AppendOnly, AuditEntry, AuditHead
from pelusa.models import AddressRule
from pelusa.notifications.models import Channel
from pelusa.tasks import check_audit
from pelusa.testing import DATABASES, alarm_body
from pelusa.tests.browsing import browser_of, page
from pelusa.tests.making import client_of, make_account, make_instrument, make_operation, make_strategy
from pelusa.tests.planted import planted
from pelusa.tests.receiving import Receiver, make_channel, serving
from pelusa.tests.test_notification_channels import BUTTON, save
from strategies.switching import switch_strategy
from strategies.tests.test_strategies_admin import edited

pytestmark = pytest.mark.django_db(databases=DATABASES)

# Where what is told after the commit must be told while the request goes on
COMMITS = pytest.mark.django_db(databases=DATABASES, transaction=True)
FROM = {"REMOTE_ADDR": "127.0.0.7"}
LIST = reverse("admin:pelusa_auditentry_changelist")


def browser(role: str = "superuser") -> Client:
    seated = browser_of(role)
    seated.defaults |= FROM
    return seated


def robot(role: str = "superuser") -> Any:
    client = client_of(role)
    client.defaults |= FROM
    return client


def only(object_type: str, **columns: Any) -> AuditEntry:
    """Return the one entry about a kind of object; whoever did it and from where is on it."""
    entry = AuditEntry.objects.get(object_type=object_type, **columns)
    assert (entry.address, len(entry.request_id), bool(entry.who)) == ("127.0.0.7", 32, True)
    assert entry.user_id
    return entry


def told(entry: AuditEntry) -> tuple[str, str, dict[str, Any]]:
    return entry.through, entry.act, entry.changes


def test_a_strategy_that_is_changed_on_its_page_is_audited_with_its_leg() -> None:
    make_instrument()
    strategy = make_strategy()
    url = reverse("admin:strategies_strategy_change", args=[strategy.pk])
    form = edited(strategy, name="Renamed", **{"legs-0-leverage": "7", "legs-0-close_interval": "5m"})
    assert browser("trader").post(url, form).status_code == 302
    changes = [entry.changes for entry in AuditEntry.objects.filter(object_type="strategies.strategy").order_by("pk")]
    assert changes == [{"name": ["Stochastic 5m", "Renamed"]}, {"long.leverage": [1, 7]}]


def test_a_strategy_that_is_changed_over_the_api_is_audited_with_its_leg_and_token() -> None:
    make_instrument()
    strategy = make_strategy()
    change = {"name": "Renamed", "long": {"size": "0.5"}, "short": None}
    assert robot("trader").patch(f"/api/v1/strategies/{strategy.pk}/", change, "json").status_code == 200
    entries = list(AuditEntry.objects.filter(object_type="strategies.strategy").order_by("pk"))
    assert [each.changes for each in entries] == [
        {"name": ["Stochastic 5m", "Renamed"]},
        {"long.size": ["0.01", "0.5"]},
    ]
    assert (entries[0].through, entries[0].token) == ("api", AuthToken.objects.get().token_key)


@COMMITS
@COMMITS
def test_switching_strategies_from_the_list_is_audited() -> None:
    strategy = make_strategy()
    chosen = {"action": "deactivate", "_selected_action": [strategy.pk], "confirmed": "yes"}
    browser("trader").post(reverse("admin:strategies_strategy_changelist"), chosen)
    assert told(only("strategies.strategy")) == ("office", "changed", {"is_active": [True, False]})


def test_a_strategy_that_is_deleted_leaves_what_it_was() -> None:
    strategy = make_strategy()
    assert robot("trader").delete(f"/api/v1/strategies/{strategy.pk}/").status_code == 204
    entry = only("strategies.strategy", act="removed")
    assert (entry.changes["ticker"], entry.object_name) == (["BTCUSDT.P", None], "Stochastic 5m")


def test_limits_are_audited_from_their_page_and_over_the_api() -> None:
    limits = Limits.objects.create(scope="all", max_open_operations=3)
    url = reverse("admin:operations_limits_change", args=[limits.pk])
    assert browser("operator").post(url, {"max_open_operations": "5"}).status_code == 302
    entry = only("operations.limits", through="office")
    assert told(entry) == ("office", "changed", {"max_open_operations": [3, 5]})
    change = {"max_open_operations": 7}
    assert robot("operator").patch(f"/api/v1/limits/{limits.pk}/", change, "json").status_code == 200
    entry = only("operations.limits", through="api")
    assert told(entry) == ("api", "changed", {"max_open_operations": [5, 7]})


def test_of_an_accounts_keys_the_audit_says_only_that_they_changed() -> None:
    account = make_account()
    url = reverse("admin:exchange_account_change", args=[account.pk])
    form = account_form(name="renamed", new_api_key="k" * 20, new_api_secret="s" * 20)
    assert browser("operator").post(url, form).status_code == 302
    hidden = {"api_key": ["***", "***"], "api_secret": ["***", "***"], "name": ["desk", "renamed"]}
    assert told(only("exchange.account")) == ("office", "changed", hidden)


def test_an_account_that_is_changed_over_the_api_is_audited() -> None:
    account = make_account()
    change = {"is_active": False}
    assert robot("operator").patch(f"/api/v1/accounts/{account.pk}/", change, "json").status_code == 200
    assert told(only("exchange.account")) == ("api", "changed", {"is_active": [True, False]})


def test_a_series_that_is_followed_is_audited_from_its_page_and_over_the_api() -> None:
    series = make_series()
    Series.objects.update(is_followed=False)
    url = reverse("admin:market_series_changelist")
    assert browser("trader").post(f"{url}{series.pk}/follow/", {"since": ""}).status_code == 302
    assert told(only("market.series", through="office"))[2] == {"is_followed": [False, True]}
    assert robot("trader").post(f"/api/v1/series/{series.pk}/unfollow/", {}, "json").status_code == 200
    assert told(only("market.series", through="api"))[2] == {"is_followed": [True, False]}


def test_no_page_removes_an_instrument_and_a_shell_that_does_is_audited_with_what_it_was() -> None:
    instrument = make_instrument()
    url = reverse("admin:market_instrument_delete", args=[instrument.pk])
    assert browser("superuser").post(url, {"post": "yes"}).status_code == 403
    with behind_command(["shell"]):
        instrument.delete()
    through, act, changes = told(AuditEntry.objects.get(object_type="market.instrument"))
    assert (through, act) == ("command", "removed")
    assert (changes["symbol"], changes["tick_size"]) == (["BTC-USDT", None], ["0.1", None])


def test_a_users_roles_and_rights_are_audited_by_name() -> None:
    user = get_user_model().objects.create_user("ana")
    form = {"username": "ana", "is_active": "on", "is_staff": "on", "groups": [Group.objects.get(name="trader").pk]}
    form |= {"date_joined_0": f"{user.date_joined:%Y-%m-%d}", "date_joined_1": f"{user.date_joined:%H:%M:%S}"}
    assert browser().post(reverse("admin:auth_user_change", args=[user.pk]), form).status_code == 302
    entries = AuditEntry.objects.filter(object_type="auth.user", object_id=str(user.pk)).order_by("pk")
    assert [each.changes for each in entries] == [{"is_staff": [False, True]}, {"groups": [[], ["trader"]]}]


def test_a_new_password_is_audited_and_its_hash_is_not() -> None:
    user = get_user_model().objects.create_user("ana", password=planted("password"))
    form = {"password1": planted("password", "new"), "password2": planted("password", "new"), "usable_password": "true"}
    assert browser().post(reverse("admin:auth_user_password_change", args=[user.pk]), form).status_code == 302
    assert only("auth.user", object_id=str(user.pk)).changes == {"password": ["***", "***"]}


def test_a_group_is_audited() -> None:
    add = reverse("admin:auth_group_add")
    assert browser().post(add, {"name": "guests", "permissions": []}).status_code == 302
    assert told(only("auth.group")) == ("office", "added", {"name": [None, "guests"]})


def test_a_token_is_audited_by_its_first_letters_when_it_is_made_and_when_it_is_revoked() -> None:
    user = get_user_model().objects.create_user("robot")
    seated = browser()
    seated.post(reverse("admin:knox_authtoken_add"), {"user": user.pk, "expiry_0": "", "expiry_1": ""})
    token = AuthToken.objects.get()
    seated.post(reverse("admin:knox_authtoken_delete", args=[token.token_key]))
    made, revoked = AuditEntry.objects.filter(object_type="knox.authtoken").order_by("pk")
    assert (made.act, revoked.act, made.object_id) == ("added", "removed", token.token_key)
    assert token.digest not in str(list(AuditEntry.objects.values()))


def test_schedules_are_audited_even_where_they_are_switched_by_an_update() -> None:
    every = IntervalSchedule.objects.create(every=2, period="seconds")
    task = PeriodicTask.objects.create(name="sweep", task="alarms.tasks.sweep_alarms", interval=every)
    url = reverse("admin:django_celery_beat_periodictask_changelist")
    browser("operator").post(url, {"action": "disable_tasks", "_selected_action": [task.pk]})
    assert told(only("django_celery_beat.periodictask"))[1:] == ("changed", {"enabled": [True, False]})


@COMMITS
@pytest.mark.parametrize("through", ["office", "api"])
def test_the_kill_switch_is_audited_with_its_reason(through: str) -> None:
    make_account()
    if through == "office":
        browser("trader").post(reverse("admin:operations_killswitch_changelist") + "pull/", {"reason": "odd fills"})
    else:
        robot("trader").post("/api/v1/kill-switch/pull/", {"reason": "odd fills"}, "json")
    entry = only("operations.killswitch")
    assert told(entry) == (through, "pulled", {"is_on": [False, True]})
    assert entry.note == "odd fills"


@COMMITS
@pytest.mark.parametrize("through", ["office", "api"])
def test_closing_an_operation_by_hand_is_audited(through: str) -> None:
    operation = make_operation(make_strategy())
    if through == "office":
        url = reverse("admin:operations_operation_close", args=[operation.pk])
        browser("trader").post(url, {"confirmed": "yes"})
    else:
        robot("trader").post(f"/api/v1/operations/{operation.pk}/close/", {}, "json")
    entry = only("operations.operation")
    assert (entry.through, entry.act, entry.object_id) == (through, "closed", str(operation.pk))


@pytest.fixture
def broken() -> None:
    """An audit whose head somebody set back: nothing can be appended."""
    append(SYSTEM, "changed")
    AuditHead.objects.update(entries=0, last_hash="")


@pytest.mark.usefixtures("broken")
def test_an_audit_that_cannot_be_written_stops_no_exit_no_brake_and_no_switch(
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    strategy = make_strategy()
    operation = make_operation(strategy)
    with django_capture_on_commit_callbacks(execute=True):
        assert robot("trader").post(f"/api/v1/operations/{operation.pk}/close/", {}, "json").status_code < 300
        assert robot("trader").post("/api/v1/kill-switch/pull/", {"reason": "odd"}, "json").status_code == 200
        assert switch_strategy(strategy, is_on=False, who="a limit", now=timezone.now())
    assert operation.orders.filter(role="EXIT").exists()
    assert pulled_switch(strategy.account_id)
    assert AuditEntry.objects.count() == 1


def test_nobody_who_closes_or_switches_waits_for_the_audit_under_his_locks(
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    operation = make_operation(make_strategy())
    with django_capture_on_commit_callbacks() as after:
        close_by_hand(operation, "protection")
        switch_strategy(operation.strategy, is_on=False, who="a limit", now=timezone.now())
        assert not AuditEntry.objects.exists()
    for tell in after:
        tell()
    assert list(AuditEntry.objects.order_by("pk").values_list("who", flat=True)) == ["protection", "a limit"]


@COMMITS
def test_what_the_system_does_to_a_switch_is_the_systems() -> None:
    pull(None, "the watch of strangers", "a position of nobody")
    entry = AuditEntry.objects.get()
    assert (entry.through, entry.who, entry.address) == ("system", "the watch of strangers", "")


def test_rows_that_nobody_is_behind_are_not_audited() -> None:
    make_strategy()
    Limits.objects.create(scope="all")
    assert not AuditEntry.objects.exists()


def test_a_typed_command_is_audited_as_one() -> None:
    with behind_command(["createsuperuser"]):
        get_user_model().objects.create_superuser("boss")
    with behind_command(["migrate"]):
        get_user_model().objects.create_user("nobody")
    entry = AuditEntry.objects.get()
    assert (entry.through, entry.who.rpartition(" ")[2]) == ("command", "createsuperuser")


def test_log_in_log_out_and_a_failure_are_audited_and_no_password_is() -> None:
    get_user_model().objects.create_user("ana", password=planted("password"), is_staff=True)
    visitor = Client(**FROM)
    for name, password in ((planted("password"), "x"), ("ana", "wrong word"), ("ana", planted("password"))):
        visitor.post(reverse("admin:login"), {"username": name, "password": password})
    visitor.post(reverse("admin:logout"))
    acts = list(AuditEntry.objects.order_by("pk").values_list("act", "object_name", "address"))
    here = "127.0.0.7"
    assert acts[0] == ("log_in_failed", "", here)
    assert [each[:2] for each in acts[1:]] == [("log_in_failed", "ana"), ("log_in", "ana"), ("log_out", "ana")]
    said = str(list(AuditEntry.objects.values()))
    assert "sesame" not in said
    assert "wrong word" not in said


def test_whoever_guesses_passwords_does_not_fill_the_table() -> None:
    for _ in range(MOST_FAILURES_AN_HOUR):
        append(SYSTEM, "log_in_failed")
    Client().post(reverse("admin:login"), {"username": "ana", "password": "x"})
    assert AuditEntry.objects.count() == MOST_FAILURES_AN_HOUR


def refusals() -> list[Callable[[AuditEntry], Any]]:
    return [
        lambda entry: entry.save(),
        lambda entry: entry.save(update_fields=["note"]),
        lambda entry: entry.delete(),
        lambda entry: AuditEntry.objects.update(note="x"),
        lambda entry: AuditEntry.objects.all().delete(),
        lambda entry: AuditEntry.objects.bulk_update([entry], ["note"]),
        lambda entry: AuditEntry.objects.bulk_create([entry]),
    ]


@pytest.mark.parametrize("meddle", refusals())
def test_the_application_never_changes_or_removes_an_entry(meddle: Callable[[AuditEntry], Any]) -> None:
    append(SYSTEM, "changed")
    with pytest.raises(AppendOnly):
        meddle(AuditEntry.objects.get())
    assert not find_break()


@pytest.mark.parametrize("query", ["UPDATE pelusa_auditentry SET note = 'x'", "DELETE FROM pelusa_auditentry"])
def test_the_database_refuses_too(query: str) -> None:
    append(SYSTEM, "changed")
    with pytest.raises(DatabaseError, match="never changed or removed"), transaction.atomic():
        connection.cursor().execute(query)
    assert AuditEntry.objects.filter(note="").count() == 1


def meddle(query: str) -> None:
    """Do what somebody does who may take the triggers away."""
    lift_guard(connection)
    with connection.cursor() as cursor:
        cursor.execute(query)


@pytest.mark.skipif(connection.vendor == "mysql", reason="removing a trigger would commit the test")
@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("UPDATE pelusa_auditentry SET who = 'bea' WHERE id = 2", "entry 2 was altered"),
        ("UPDATE pelusa_auditentry SET changes = '{}' WHERE id = 3", "entry 3 was altered"),
        ("DELETE FROM pelusa_auditentry WHERE id = 1", "entry 1 is missing"),
        ("DELETE FROM pelusa_auditentry WHERE id = 2", "entry 2 is missing"),
        ("DELETE FROM pelusa_auditentry WHERE id = 3", "entry 3 is missing"),
    ],
)
def test_an_edit_by_sql_is_found_and_told(query: str, said: str) -> None:
    for number in range(3):
        append(SYSTEM, "changed", changes={"size": [str(number), None]})
    check_audit()
    assert not Notice.objects.exists()
    meddle(query)
    assert find_break() == said
    check_audit()
    check_audit()
    assert Notice.objects.get().facts == {"detail": said}
    with pytest.raises(CommandError, match=said):
        call_command("check_audit")


def test_a_whole_chain_says_so_and_ends_the_notice(capsys: pytest.CaptureFixture[str]) -> None:
    append(SYSTEM, "changed")
    raise_notice("audit", "audit_broken", detail="entry 1 was altered")
    check_audit()
    assert Notice.objects.get().ended_at
    call_command("check_audit")
    assert capsys.readouterr().out == "The audit is whole: 1 entries.\n"


@pytest.mark.django_db(databases=DATABASES, transaction=True)
def test_emptying_the_database_empties_the_audit_and_leaves_its_guard() -> None:
    append(SYSTEM, "changed")
    call_command("flush", database="default", interactive=False, verbosity=0, inhibit_post_migrate=True)
    assert not AuditEntry.objects.exists()
    assert not AuditHead.objects.exists()
    assert is_guarded(connection)
    append(SYSTEM, "changed")
    assert not find_break()


def test_an_entry_stands_or_falls_with_its_act() -> None:
    with transaction.atomic():
        append(SYSTEM, "changed")
        transaction.set_rollback(True)
    append(SYSTEM, "changed")
    assert AuditEntry.objects.get().pk == 1
    assert not find_break()


def test_the_page_and_the_objects_history_show_before_and_after() -> None:
    account = make_account()
    seated = browser("operator")
    seated.post(reverse("admin:exchange_account_change", args=[account.pk]), account_form(name="<b>renamed</b>"))
    renamed = "<b>Name</b> desk → &lt;b&gt;renamed&lt;/b&gt;"
    listed = page(seated, LIST, q="desk") + page(seated, LIST, kind="exchange.account")
    assert listed.count(renamed) >= 1
    history = reverse("admin:exchange_account_history", args=[account.pk])
    assert renamed in page(seated, history)
    assert renamed in page(browser_of("viewer"), history)
    assert browser_of("").get(history).status_code == 403
    assert browser_of("trader").get(LIST).status_code == 403
    assert renamed not in page(seated, LIST, kind="auth.user")


def test_operators_read_the_audit_over_the_api() -> None:
    limits = Limits.objects.create(scope="all", max_open_operations=3)
    client = robot("operator")
    client.patch(f"/api/v1/limits/{limits.pk}/", {"max_open_operations": 7}, "json")
    [entry] = client.get("/api/v1/audit/", {"object_type": "operations.limits"}).json()["results"]
    assert (entry["changes"], entry["through"]) == ({"max_open_operations": [3, 7]}, "api")
    assert client.get("/api/v1/audit/", {"who": "nobody"}).json()["results"] == []
    assert client.delete(f"/api/v1/audit/{entry['id']}/").status_code == 403
    assert AuditEntry.objects.filter(pk=entry["id"]).exists()


def test_a_broken_guard_can_be_raised_again() -> None:
    assert is_guarded(connection)
    if connection.vendor == "sqlite":
        lift_guard(connection)
        assert not is_guarded(connection)
        assert raise_guard(connection)
    assert is_guarded(connection)


@COMMITS
def test_the_accounts_main_row_is_not_read_with_its_keys_when_the_brake_is_pulled(settings: Any) -> None:
    account = make_account()
    settings.FIELD_ENCRYPTION_KEYS = ["MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA="]
    pull(Account.objects.defer("api_key", "api_secret").get(pk=account.pk), "ana", "lost key")
    assert AuditEntry.objects.get().object_name == "kill switch of desk"


def test_an_address_rule_is_audited_when_it_is_made_changed_and_removed() -> None:
    form = {"verdict": "deny", "prefix": "/webhook", "entries": "203.0.113.9", "is_enabled": "on", "note": "scanner"}
    seated = browser("operator")
    assert seated.post(reverse("admin:pelusa_addressrule_add"), form).status_code == 302
    rule = AddressRule.objects.get()
    change = reverse("admin:pelusa_addressrule_change", args=[rule.pk])
    assert seated.post(change, form | {"entries": "203.0.113.0/24"}).status_code == 302
    delete = reverse("admin:pelusa_addressrule_delete", args=[rule.pk])
    assert seated.post(delete, {"post": "yes"}).status_code == 302
    added, changed, removed = (only("pelusa.addressrule", act=act) for act in ("added", "changed", "removed"))
    assert added.changes["entries"] == [None, "203.0.113.9"]
    assert changed.changes == {"entries": ["203.0.113.9", "203.0.113.0/24"]}
    assert removed.changes["entries"] == ["203.0.113.0/24", None]


def test_a_channels_accounts_are_audited_by_name_even_when_a_key_is_lost(settings: Any) -> None:
    account = make_account()
    channel = make_channel()
    settings.FIELD_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    with behind_command(["shell"]):
        channel.accounts.set([account.pk])
        channel.accounts.clear()
    entries = AuditEntry.objects.filter(object_type="pelusa.channel").order_by("pk")
    assert [each.changes for each in entries] == [
        {"accounts": [[], ["desk (paper)"]]},
        {"accounts": [["desk (paper)"], []]},
    ]


@pytest.mark.django_db(databases=DATABASES, transaction=True)
def test_a_test_message_is_audited_with_its_fate() -> None:
    with serving(Receiver()) as receiver:
        channel = make_channel(receiver)
        assert save(browser("operator"), channel, **{BUTTON: "1"}).status_code == 200
    entry = only("pelusa.channel", act="tested")
    assert (entry.through, entry.object_name, entry.note) == ("office", "phone", "sent")


def test_a_test_alarm_is_audited_with_its_number() -> None:
    make_instrument()
    strategy = make_strategy()
    url = reverse("composer", args=[strategy.pk])
    browser("trader").post(url, {"message": alarm_body().decode(), "act": "send"})
    entry = only("strategies.strategy")
    assert (entry.act, entry.note) == ("test_alarm", f"alarm {Alarm.objects.get().pk}")


@pytest.mark.parametrize("through", ["office", "api"])
def test_a_backfill_is_audited_when_it_is_stopped_and_resumed(through: str) -> None:
    [row] = make_backfills("waiting")
    for verb in ("stop", "resume"):
        if through == "office":
            browser("trader").post(reverse("admin:market_backfill_changelist") + f"{row.pk}/{verb}/", {})
        else:
            robot("trader").post(f"/api/v1/backfills/{row.pk}/{verb}/", {}, "json")
    acts = [only("market.backfill", act=act) for act in ("stopped", "resumed")]
    assert [(each.through, each.object_id) for each in acts] == [(through, str(row.pk))] * 2


def test_a_backfill_is_audited_when_it_begins() -> None:
    series = make_series()
    ExchangeClock.objects.create(environment="paper", offset_ms=0, measured_at=timezone.now())
    body = {"since": "2026-01-01T00:00:00Z", "until": "2026-01-02T00:00:00Z"}
    assert robot("trader").post(f"/api/v1/series/{series.pk}/backfill/", body, "json").status_code == 200
    assert told(only("market.backfill"))[:2] == ("api", "started")


def test_a_history_of_more_than_a_page_is_shown_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_pages, "MOST_SHOWN", 2)
    account = make_account()
    for number in range(5):
        append(SYSTEM, f"act{number}", object_type="exchange.account", object_id=str(account.pk))
    url, seated = reverse("admin:exchange_account_history", args=[account.pk]), browser_of("operator")
    shown = [page(seated, url, **({"page": str(number)} if number > 1 else {})) for number in (1, 2, 3)]
    assert [[f"act{number}" in text for number in range(5)] for text in shown] == [
        [False, False, False, True, True],
        [False, True, True, False, False],
        [True, False, False, False, False],
    ]
    assert "Page 2 of 3" in shown[1]


def test_a_channels_address_is_audited_as_changed_and_never_shown() -> None:
    with behind_command(["shell"]):
        Channel.objects.create(name="phone", url="json://planted-token-4711@localhost")
    entry = AuditEntry.objects.get(object_type="pelusa.channel")
    assert (entry.act, entry.changes["url"]) == ("added", [None, "***"])
    assert "planted" not in str(list(AuditEntry.objects.values()))
