"""Alarms as clients read them."""

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext
from rest_framework.renderers import JSONRenderer

from alarms.api import USUAL, AlarmSerializer, attach_decisions
from alarms.models import Alarm
from pelusa.testing import DATABASES
from pelusa.tests.making import AT, client_of, make_alarm, make_decision, make_history, make_operation, make_strategy

pytestmark = pytest.mark.django_db(databases=DATABASES)
URL = "/api/v1/alarms/"

SHAPE = {
    "id", "received_at", "source_ip", "kind", "action", "leg", "ticker", "interval", "strategy", "quantity", "price",
    "entry_price", "exit_price", "alarm_time", "status", "reason", "raw", "decisions",
}  # fmt: skip


def ids(answer: Any) -> list[int]:
    assert answer.status_code == 200, answer.json()
    return [row["id"] for row in answer.json()["results"]]


def queries_of(act: Any) -> int:
    with (
        CaptureQueriesContext(connections["default"]) as one,
        CaptureQueriesContext(connections["alarms"]) as two,
        CaptureQueriesContext(connections["market"]) as three,
    ):
        act()
    return len(one) + len(two) + len(three)


def test_an_alarm_has_the_agreed_shape_with_money_as_strings_and_times_in_utc() -> None:
    strategy = make_strategy()
    alarm = make_alarm(
        raw='{"Ticker": "BTCUSDT.P"}', price="50000.100000000000", alarm_time=AT, source_ip="52.89.214.238"
    )
    operation = make_operation(strategy)
    decision = make_decision(alarm, strategy, operation=operation)
    [row] = client_of().get(URL).json()["results"]
    assert row.keys() >= SHAPE
    assert (row["price"], row["quantity"], row["alarm_time"]) == ("50000.1", None, "2026-11-22T10:00:00Z")
    assert (row["kind"], row["action"], row["leg"], row["strategy"]) == ("order", "open", "long", "Stochastic_v1")
    sentence = "An entry of the long leg was ordered: every condition held."
    assert row["decisions"] == [
        {
            "id": decision.pk,
            "strategy": strategy.pk,
            "outcome": "open",
            "reason": "entry",
            "detail": sentence,
            "operation": operation.pk,
        }
    ]


def test_one_alarm_reads_like_its_row_in_the_list() -> None:
    make_history(strategies=2)
    [row] = client_of().get(URL).json()["results"]
    assert client_of().get(f"{URL}{row['id']}/").json() == row
    assert len(row["decisions"]) == 2


def test_a_page_says_of_every_kind_of_alarm_what_the_serializer_says() -> None:
    money = dict.fromkeys(("quantity", "price", "entry_price", "exit_price"), Decimal("50000.100000000000"))
    first = make_alarm(**money, alarm_time=AT + timedelta(microseconds=5), processed_at=AT, raw="ü \u2028 \\xff 𝄞")
    make_alarm(quantity=Decimal(0), price=Decimal("1E-12"), source_ip="", interval="1M", kind="indicator")
    unread = {"kind": "", "action": "", "leg": "", "ticker": "", "interval": "", "strategy": "", "alarm_time": None}
    make_alarm(**unread, status="invalid", reason="not_json", detail='The message is "no" JSON.', raw="\\{")
    make_alarm(status="duplicate", reason="redelivery", original=first)
    answered = make_alarm(status="processed")
    account = make_strategy().account
    for number, (reason, facts) in enumerate([("other_interval", {"leg": "long"}), ("entry", {}), ("own_word", {})]):
        make_decision(answered, make_strategy(account, name=f"other {number}"), reason=reason, facts=facts)
    rows = client_of().get(URL).json()["results"]
    for row in rows:
        alarm = Alarm.objects.get(pk=row["id"])
        attach_decisions(alarm)
        rendered = JSONRenderer().render(AlarmSerializer(alarm).data)
        assert list(row.items()) == list(json.loads(rendered).items())
    assert [len(row["decisions"]) for row in rows] == [3, 0, 0, 0, 0]


def test_a_page_takes_as_many_queries_for_one_alarm_as_for_many() -> None:
    client = client_of()
    make_history()
    few = queries_of(lambda: client.get(URL))
    make_history(strategies=3, alarms=8)
    assert queries_of(lambda: client.get(URL)) == few
    assert few <= 4


def test_pages_are_newest_first_and_stable_while_alarms_arrive() -> None:
    alarms = [make_alarm() for _ in range(5)]
    newest_first = [alarm.pk for alarm in reversed(alarms)]
    client = client_of()
    first = client.get(URL, {"limit": 2})
    assert ids(first) == newest_first[:2]
    make_alarm()
    second = client.get(first.json()["next"])
    assert ids(second) == newest_first[2:4]
    third = client.get(second.json()["next"])
    assert (ids(third), third.json()["next"]) == (newest_first[4:], None)
    assert ids(client.get(third.json()["previous"])) == newest_first[2:4]


def test_a_page_of_the_usual_length_reads_as_any_other_does_and_leads_on() -> None:
    client = client_of()
    alarms = [make_alarm(quantity=Decimal(number)) for number in range(USUAL + 2)]
    make_decision(alarms[0], make_strategy())
    page, filtered = client.get(URL).json(), client.get(URL, {"status": "received"}).json()
    assert page["results"] == filtered["results"]
    assert [row["id"] for row in page["results"]] == [alarm.pk for alarm in reversed(alarms[2:])]
    rest = client.get(page["next"]).json()
    assert rest["results"] == client.get(filtered["next"]).json()["results"]
    assert [(row["id"], len(row["decisions"])) for row in rest["results"]] == [(alarms[1].pk, 0), (alarms[0].pk, 1)]
    assert client.get(rest["previous"]).json()["results"] == page["results"]
    longest = client.get(URL, {"limit": 500}).json()["results"]
    assert longest == page["results"] + rest["results"]


def test_latest_is_the_newest_alone_and_obeys_the_filters() -> None:
    make_alarm(ticker="ETHUSDT.P")
    wanted = make_alarm(ticker="BTCUSDT.P")
    make_alarm(ticker="ETHUSDT.P")
    answer = client_of().get(URL, {"latest": "true", "ticker": "BTCUSDT.P"})
    assert ids(answer) == [wanted.pk]
    assert (answer.json()["next"], answer.json()["previous"]) == (None, None)
    assert len(ids(client_of().get(URL, {"latest": "false"}))) == 3


def test_latest_of_nothing_is_an_empty_page() -> None:
    assert ids(client_of().get(URL, {"latest": "true"})) == []


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ({"ticker": "ETHUSDT.P"}, "other"),
        ({"strategy": "Other"}, "other"),
        ({"status": "invalid"}, "other"),
        ({"kind": "indicator"}, "other"),
        ({"action": "close"}, "other"),
        ({"leg": "short"}, "other"),
        ({"interval": "1M"}, "other"),
        ({"received_after": "2026-11-23T00:00:00Z"}, "other"),
        ({"received_before": "2026-11-23T00:00:00Z"}, "usual"),
        ({"ticker": "BTCUSDT.P", "status": "received"}, "usual"),
    ],
)
def test_each_filter_keeps_what_it_names(query: dict[str, str], wanted: str) -> None:
    usual = make_alarm(interval="1m")
    odd = {"ticker": "ETHUSDT.P", "strategy": "Other", "status": "invalid", "kind": "indicator", "action": "close"}
    other = make_alarm(**odd, leg="short", interval="1M", received_at=AT + timedelta(days=2))
    assert ids(client_of().get(URL, query)) == [{"usual": usual, "other": other}[wanted].pk]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "501"}, "limit"),
        ({"limit": "ten"}, "limit"),
        ({"limit": "-1"}, "limit"),
        ({"limit": ""}, "limit"),
        ({"limit": "٣"}, "limit"),
        ({"latest": "perhaps"}, "latest"),
        ({"cursor": "nonsense"}, "cursor"),
        ({"cursor": "é"}, "cursor"),
        ({"cursor": "cD1hYmM="}, "cursor"),  # p=abc
        ({"cursor": "cD05OTk5OTk5OTk5OTk5OTk5OTk5OTk5"}, "cursor"),  # p=99…
        ({"status": "unheard"}, "status"),
        ({"received_after": "yesterday"}, "received_after"),
    ],
)
def test_a_wrong_parameter_is_named(query: dict[str, str], field: str) -> None:
    answer = client_of().get(URL, query)
    assert answer.status_code == 400
    assert list(answer.json()["error"]["fields"]) == [field]


@pytest.mark.parametrize("key", ["abc", "99999999999999999999", "-1", "1.5", "%00"])
def test_an_impossible_id_is_not_found(key: str) -> None:
    answer = client_of("superuser").get(f"{URL}{key}/")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_alarms_cannot_be_written_by_anybody() -> None:
    alarm = make_alarm()
    client = client_of("superuser")
    for method in (client.post, client.put, client.patch, client.delete):
        assert method(f"{URL}{alarm.pk}/", {}, format="json").status_code == 405
    assert client.post(URL, {}, format="json").status_code == 405
    assert Alarm.objects.count() == 1
