"""Who may do what in the back office: every page, action, inline and deletion, every role, against one table."""

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from pelusa.roles import ROLES
from pelusa.testing import DATABASES
from pelusa.tests.browsing import browser_of
from pelusa.tests.making import make_account, make_history

pytestmark = pytest.mark.django_db(databases=DATABASES)
WHO = ("", *ROLES, "superuser")

# By model: what each of nobody, viewer, trader, operator and superuser may, in this order. v: view, a: add, c: change,
# d: delete; then the acts that his pages offer. A model that is not here fails.
TABLE: dict[str, tuple[str, str, str, str, str]] = {
    "alarms.alarm": ("", "v", "v", "v", "v"),
    "auth.group": ("", "", "", "", "vacd delete_selected"),
    "auth.user": ("", "", "", "", "vac"),
    "axes.accessattempt": ("", "", "", "", "vd delete_selected"),
    "axes.accesslog": ("", "", "", "", "v"),
    "django_celery_beat.clockedschedule": ("", "", "", "vacd delete_selected", "vacd delete_selected"),
    "django_celery_beat.crontabschedule": ("", "", "", "vacd delete_selected", "vacd delete_selected"),
    "django_celery_beat.intervalschedule": ("", "", "", "vacd delete_selected", "vacd delete_selected"),
    "django_celery_beat.periodictask": (
        "",
        "",
        "",
        "vacd delete_selected disable_tasks enable_tasks",
        "vacd delete_selected disable_tasks enable_tasks",
    ),
    "django_celery_beat.solarschedule": ("", "", "", "vacd delete_selected", "vacd delete_selected"),
    "exchange.account": ("", "v", "v", "vacd", "vacd"),
    "exchange.equitypoint": ("", "v", "v", "v", "v"),
    "exchange.equitysnapshot": ("", "v", "v", "v", "v"),
    "knox.authtoken": ("", "", "", "", "vad"),
    "market.backfill": (
        "",
        "v",
        "v resume_selected stop_selected",
        "v resume_selected stop_selected",
        "v resume_selected stop_selected",
    ),
    "market.instrument": ("", "v", "v", "v", "v"),
    "market.klinehole": ("", "v", "v", "v", "v"),
    "market.series": (
        "",
        "v",
        "va backfill follow follow_selected repair repair_selected unfollow_selected",
        "va backfill follow follow_selected repair repair_selected schedule unfollow_selected",
        "va backfill follow follow_selected repair repair_selected schedule unfollow_selected",
    ),
    "operations.decision": ("", "v", "v", "v", "v"),
    "operations.fill": ("", "v", "v", "v", "v"),
    "operations.killswitch": ("", "v", "v pull", "v pull release", "v pull release"),
    "operations.lane": ("", "v", "v", "v", "v"),
    "operations.limits": ("", "v", "v", "vacd", "vacd"),
    "operations.notice": ("", "v", "v", "v", "v"),
    "operations.operation": ("", "v", "v close_selected", "v close_selected", "v close_selected"),
    "operations.order": ("", "v", "v", "v", "v"),
    "pelusa.addressrule": ("", "v", "v", "vacd", "vacd"),
    "pelusa.auditentry": ("", "", "", "v", "v"),
    "pelusa.channel": ("", "v", "v", "vacd message", "vacd message"),
    "pelusa.message": ("", "v", "v", "v", "v"),
    "pelusa.refusal": ("", "v", "v", "v", "v"),
    "strategies.strategy": (
        "",
        "v export export_selected versions",
        "vacd activate close deactivate duplicate export export_selected switch upload versions",
        "vacd activate close deactivate duplicate export export_selected switch upload versions",
        "vacd activate close deactivate duplicate export export_selected switch upload versions",
    ),
}


def label(model: type[Model]) -> str:
    return f"{model._meta.app_label}.{model._meta.model_name}"


def request_of(browser: Client) -> Any:
    return browser.get(reverse("admin:index")).wsgi_request


def rights_of(request: Any, model_admin: Any) -> str:
    """Return what a page's owner lets this user do, and the acts that it offers him."""
    letters = "".join(
        letter
        for letter, act in (("v", "view"), ("a", "add"), ("c", "change"), ("d", "delete"))
        if getattr(model_admin, f"has_{act}_permission")(request)
    )
    return " ".join([letters, *sorted(acts_of(request, model_admin))]).strip()


def acts_of(request: Any, model_admin: Any) -> set[str]:
    """Return the names of the bulk actions and of the buttons above a list, on a row and on a form."""
    if not model_admin.has_view_permission(request):
        return set()
    buttons = (*model_admin.get_actions_list(request), *model_admin.get_actions_row(request))
    forms = (*model_admin.get_actions_detail(request, None), *model_admin.get_actions_submit_line(request, None))
    return set(model_admin.get_actions(request)) | {each.action_name.split("_")[-1] for each in (*buttons, *forms)}


def test_each_role_may_do_in_the_back_office_what_the_table_says_and_nothing_else() -> None:
    requests = {who: request_of(browser_of(who)) for who in WHO}
    found = {
        label(model): tuple(rights_of(requests[who], model_admin) for who in WHO)
        for model, model_admin in admin.site._registry.items()
    }
    assert found == TABLE


def test_the_pages_themselves_obey_the_table() -> None:
    for position, who in enumerate(WHO):
        browser = browser_of(who)
        for model in admin.site._registry:
            held = TABLE[label(model)][position].split(" ")[0] if TABLE[label(model)][position] else ""
            for act, letters in (("changelist", "vc"), ("add", "a")):
                url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{act}")
                expected = 200 if set(letters) & set(held) else 403
                assert browser.get(url).status_code == expected, (who, url)


def test_inlines_are_no_way_round_the_table() -> None:
    """An inline lets a role write its rows only where the role may change the parent."""
    for who in WHO:
        request = request_of(browser_of(who))
        for model_admin in admin.site._registry.values():
            may_change = model_admin.has_change_permission(request)
            for inline in model_admin.get_inline_instances(request):
                writes = inline.has_add_permission(request, None) or inline.has_change_permission(request)
                assert may_change or not writes, (who, inline)


@pytest.mark.parametrize("who", WHO)
def test_bulk_deletion_deletes_for_those_alone_who_may_delete(who: str) -> None:
    make_history()
    make_account("spare")
    LogEntry.objects.create(user=get_user_model().objects.create_user("x"), action_flag=2, object_repr="x")
    browser = browser_of(who)
    for model in admin.site._registry:
        rights = TABLE[label(model)][WHO.index(who)].split(" ")
        for row in model._default_manager.all()[:1]:
            chosen = {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"}
            browser.post(reverse(f"admin:{label(model).replace('.', '_')}_changelist"), chosen)
            if "delete_selected" not in rights:
                assert model._default_manager.filter(pk=row.pk).exists(), (who, model)
