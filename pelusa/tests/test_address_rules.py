"""Rules about addresses from the back office: beside the environment's, and never a trap for their author."""

from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client
from django.urls import reverse

from alarms.models import Alarm
from pelusa import gatekeeping
from pelusa.address_forms import AddressRuleForm, Change
from pelusa.addresses import Rules, merged, parse_rules
from pelusa.gatekeeping import gatekeeper
from pelusa.models import AddressRule
from pelusa.testing import DATABASES, alarm_body
from pelusa.tests.browsing import browser_of, page
from pelusa.tests.planted import planted

pytestmark = pytest.mark.django_db(databases=DATABASES)
SECRET = planted("webhook secret")
TV, STRANGER = "52.89.214.238", "203.0.113.9"
LIST = reverse("admin:pelusa_addressrule_changelist")
ADD = reverse("admin:pelusa_addressrule_add")


@pytest.fixture(autouse=True)
def known(settings: Any) -> Iterator[None]:
    """One secret, TradingView's rule in the environment, and no rule kept from another test."""
    settings.WEBHOOK_SECRETS, settings.IP_ALLOW, settings.IP_DENY = [SECRET], "/webhook=tradingview", ""
    gatekeeper.stored = Rules()
    yield
    gatekeeper.stored = Rules()


def make_rule(verdict: str, prefix: str, entries: str, **columns: Any) -> AddressRule:
    return AddressRule.objects.create(verdict=verdict, prefix=prefix, entries=entries, **columns)


def post(remote: str, client: Client | None = None, path: str = f"/webhook/{SECRET}") -> int:
    answer = (client or Client()).post(path, alarm_body(), "application/json", REMOTE_ADDR=remote)
    return answer.status_code


def test_a_rule_of_the_back_office_stands_beside_the_environments() -> None:
    make_rule("allow", "/webhook", STRANGER)
    client = Client()
    assert post(STRANGER, client) == 403
    gatekeeper.look()
    assert (post(STRANGER, client), post(TV, client), post("203.0.113.10", client)) == (200, 200, 403)


def test_what_either_denies_is_denied() -> None:
    make_rule("deny", "/", "52.89.214.0/24")
    gatekeeper.look()
    assert post(TV) == 403
    assert not Alarm.objects.exists()


def test_a_longer_prefix_of_the_back_office_decides() -> None:
    make_rule("allow", "/webhook/no-secret", STRANGER)
    gatekeeper.look()
    # Who passes the rule is asked for the secret
    assert (post(STRANGER, path="/webhook/no-secret"), post(TV, path="/webhook/no-secret")) == (401, 403)


def test_a_rule_that_is_switched_off_or_deleted_ends() -> None:
    row = make_rule("deny", "/", TV)
    gatekeeper.look()
    client = Client()
    assert post(TV, client) == 403
    AddressRule.objects.filter(pk=row.pk).update(is_enabled=False)
    gatekeeper.look()
    assert post(TV, client) == 200


def test_rules_cost_no_query_a_request(django_assert_num_queries: Any) -> None:
    make_rule("allow", "/health", "127.0.0.1")
    gatekeeper.look()
    client = Client()
    with django_assert_num_queries(0):
        assert client.get("/health/live").status_code == 200
        assert client.get("/health/live", REMOTE_ADDR=STRANGER).status_code == 403


def test_the_last_rules_hold_while_the_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    make_rule("deny", "/", TV)
    gatekeeper.look()

    def away() -> Rules:
        raise OperationalError("gone")

    monkeypatch.setattr(gatekeeping, "stored_rules", away)
    gatekeeper.look()
    assert post(TV) == 403


def test_a_stored_rule_that_is_none_leaves_the_others_in_force() -> None:
    make_rule("deny", "/", "nonsense")
    make_rule("deny", "/webhook", TV)
    gatekeeper.look()
    assert post(TV) == 403


def test_one_prefix_in_two_places_is_one_longer_list() -> None:
    [rule] = merged((*parse_rules("X", "/a=10.0.0.0/8"), *parse_rules("X", "/a=10.0.0.0/8,192.0.2.1")))
    assert rule.networks == (ip_network("10.0.0.0/8"), ip_network("192.0.2.1"))


def test_observing_lets_through_what_it_would_have_refused(settings: Any) -> None:
    settings.IP_OBSERVE_ONLY = True
    assert post(STRANGER) == 200
    assert Alarm.objects.count() == 1


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ("10.0.0.1/8", "is 10.0.0.0/8 meant?"),
        ("2001:db8::1/64", "is 2001:db8::/64 meant?"),
        ("fe80::1%eth0", "names a network card"),
        ("::ffff:52.89.214.238", "write it as IPv4"),
        ("052.089.214.238", "is neither an address"),
        ("everybody", "is neither an address"),
        ("3386823406", "is neither an address"),
        ("10.0.0.0/8, 10.0.0.0/99", "10.0.0.0/99 is neither"),
        (" , ", "Name at least one"),
    ],
)
def test_an_entry_that_is_none_is_refused_with_a_sentence(entries: str, sentence: str) -> None:
    form = AddressRuleForm({"verdict": "deny", "prefix": "/", "entries": entries})
    assert not form.is_valid()
    assert sentence in " ".join(form.errors["entries"])


@pytest.mark.parametrize("prefix", ["webhook", "", "/web hook", "/x=1", f"/webhook/{SECRET}", f"/webhook//{SECRET}/"])
def test_a_prefix_that_is_none_or_holds_a_secret_is_refused(prefix: str) -> None:
    form = AddressRuleForm({"verdict": "deny", "prefix": prefix, "entries": "10.0.0.0/8"})
    assert list(form.errors) == ["prefix"]


def test_entries_may_be_apart_by_anything_and_are_stored_once() -> None:
    form = AddressRuleForm(
        {"verdict": "allow", "prefix": "/api/", "entries": "10.0.0.0/8,tradingview\n10.0.0.0/8 2001:DB8::/64"}
    )
    assert form.is_valid(), form.errors
    assert form.cleaned_data["entries"].split() == ["10.0.0.0/8", "tradingview", "2001:DB8::/64"]
    assert form.cleaned_data["prefix"] == "/api"


def rule_of(**fields: str) -> dict[str, str]:
    return {"verdict": "deny", "prefix": "/", "entries": "198.51.100.0/24", "is_enabled": "on", "note": ""} | fields


def test_a_harmless_rule_is_stored_at_once() -> None:
    assert browser_of("operator").post(ADD, rule_of()).status_code == 302
    assert AddressRule.objects.get().entries == "198.51.100.0/24"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"entries": "127.0.0.0/8"}, "locks you out"),
        ({"verdict": "allow", "prefix": "/admin"}, "locks you out"),
        ({"verdict": "allow"}, "locks you out"),
        ({"prefix": "/webhook", "entries": "52.89.214.238"}, "TradingView can no longer call"),
        ({"verdict": "allow", "prefix": "/webhook", "entries": "::/0"}, "that is everybody"),
        ({"verdict": "allow", "prefix": "/api", "entries": "0.0.0.0/0"}, "that is everybody"),
    ],
)
def test_a_rule_with_a_danger_asks_first(fields: dict[str, str], sentence: str) -> None:
    browser = browser_of("operator")
    asked = browser.post(ADD, rule_of(**fields))
    assert (asked.status_code, AddressRule.objects.exists()) == (200, False)
    assert sentence in asked.content.decode()
    assert browser.post(ADD, rule_of(**fields) | {"_sure": "1"}).status_code == 302
    assert AddressRule.objects.exists()


def test_the_question_carries_what_was_typed() -> None:
    text = browser_of("operator").post(ADD, rule_of(entries="127.0.0.0/8", note='"><script>')).content.decode()
    assert 'name="entries" value="127.0.0.0/8"' in text
    assert "<script>" not in text.partition("<form")[2].partition("</form>")[0]


def test_switching_on_what_locks_out_asks_and_the_row_is_as_it_was() -> None:
    row = make_rule("deny", "/", "127.0.0.1", is_enabled=False)
    url = reverse("admin:pelusa_addressrule_change", args=[row.pk])
    assert "locks you out" in browser_of().post(url, rule_of(entries="127.0.0.1")).content.decode()
    row.refresh_from_db()
    assert not row.is_enabled


def test_deleting_the_last_rule_of_a_path_says_that_it_opens() -> None:
    row = make_rule("allow", "/admin", "127.0.0.1")
    url = reverse("admin:pelusa_addressrule_delete", args=[row.pk])
    browser = browser_of("operator")
    assert "Anybody may then ask for /admin" in page(browser, url)
    assert browser.post(url, {"post": "yes"}).status_code == 302
    assert not AddressRule.objects.exists()


def test_who_may_not_write_rules_learns_nothing_of_their_dangers() -> None:
    answer = browser_of("trader").post(ADD, rule_of(entries="127.0.0.0/8"))
    assert (answer.status_code, AddressRule.objects.exists()) == (403, False)


def test_the_page_shows_what_the_environment_holds(settings: Any) -> None:
    settings.IP_DENY = "/admin=192.0.2.7"
    text = page(browser_of("viewer"), LIST)
    assert "52.89.214.238" in text
    assert "192.0.2.7<" in text
    assert "IP_OBSERVE_ONLY is on" not in text
    settings.IP_OBSERVE_ONLY = True
    assert "IP_OBSERVE_ONLY is on" in page(browser_of("viewer"), LIST)


def test_nothing_is_said_of_who_was_shut_out_before() -> None:
    rules = Rules(parse_rules("X", "/webhook=10.0.0.0/8"), ())
    assert Change(rules, rules, "203.0.113.9", "/admin/").dangers() == []
