"""Alarms in the back office: the list says what became of each, the page says why."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.urls import reverse
from django.utils import timezone

from alarms.models import Alarm
from exchange import backoffice
from exchange.backoffice import ROWS_PER_PAGE
from pelusa.testing import DATABASES
from pelusa.tests.browsing import browser_of, page, queries_of
from pelusa.tests.making import (
    make_alarm,
    make_decision,
    make_fill,
    make_history,
    make_operation,
    make_order,
    make_strategy,
)

pytestmark = pytest.mark.django_db(databases=DATABASES)

LIST = reverse("admin:alarms_alarm_changelist")


def alarm_page(alarm: Alarm) -> str:
    return reverse("admin:alarms_alarm_change", args=[alarm.pk])


def shown(text: str) -> set[int]:
    """Return the numbers of the alarms that a list shows."""
    return {alarm.pk for alarm in Alarm.objects.all() if alarm_page(alarm) in text}


def test_the_list_says_what_each_strategy_answered_and_why() -> None:
    strategy, alarm = make_strategy(), make_alarm(status="processed")
    make_decision(
        alarm, strategy, outcome="ignored", reason="gate_never_opened", facts={"leg": "long", "gate_interval": "1h"}
    )
    text = page(browser_of("viewer"), LIST)
    assert "Stochastic 5m" in text
    assert "no &#x27;indicator open long&#x27; on 1h was ever seen" in text


def test_the_list_says_what_the_exchange_made_of_it() -> None:
    strategy = make_strategy()
    for reason, code, detail, filled in (("", "", "", "0.01"), ("refused", "101204", "Not enough money.", "0")):
        alarm = make_alarm(status="processed")
        operation = make_operation(strategy)
        status = "rejected" if reason else "filled"
        refusal = {
            "status": status,
            "reason": reason,
            "code": code,
            "detail": detail,
            "filled_quantity": Decimal(filled),
        }
        make_order(operation, decision=make_decision(alarm, strategy, operation=operation), **refusal)
    text = page(browser_of("viewer"), LIST)
    assert "0.01 @ 50000.1" in text
    assert "The exchange refused it (101204): Not enough money." in text


def test_an_alarm_without_an_answer_shows_its_own_sentence() -> None:
    make_alarm(status="ignored", reason="no_strategy", detail="As it was told in English then.")
    told = "No strategy waits for alarms named &#x27;Stochastic_v1&#x27; on BTCUSDT.P."
    assert told in page(browser_of("viewer"), LIST)


def test_the_page_shows_every_step_in_order() -> None:
    strategy = make_strategy()
    alarm = make_alarm(status="processed", raw='{"Order":"order open long"}', source_ip="52.89.214.238")
    operation = make_operation(strategy)
    order = make_order(operation, decision=make_decision(alarm, strategy, operation=operation))
    at = alarm.received_at
    for milliseconds, status, source in ((30, "created", "us"), (60, "submitted", "us"), (150, "filled", "answer")):
        order.events.create(at=at + timedelta(milliseconds=milliseconds), status=status, source=source, detail="")
    make_fill(order, filled_at=at + timedelta(milliseconds=140))
    text = page(browser_of("viewer"), alarm_page(alarm))
    steps = [
        "52.89.214.238",
        "Understood as: order open long",
        "every condition held",
        "+30 ms",
        "+60 ms",
        "Sent to the exchange",
        "+150 ms",
        "+140 ms",
        "Filled 0.01 at 50000.1",
    ]
    # The page's head says the end of the story beforehand
    story = text[text.index(steps[0]) :]
    places = [story.index(words) for words in steps]
    assert places == sorted(places)
    assert reverse("admin:operations_operation_change", args=[operation.pk]) in text
    assert reverse("admin:operations_order_change", args=[order.pk]) in text


def test_a_page_claims_no_entry_that_a_limit_denied_later() -> None:
    alarm = make_alarm(status="processed", reason="entry", detail="An entry was ordered: every condition held.")
    facts = {"scope": "Strategy x", "notional": "300", "max_notional": "200"}
    make_decision(alarm, make_strategy(), outcome="denied", reason="order_too_large", facts=facts)
    text = page(browser_of("viewer"), reverse("admin:alarms_alarm_story", args=[alarm.pk]))
    assert "every condition held" not in text
    assert "the entry is worth 300; at most 200 is allowed" in text
    assert "<td>200 at most</td><td>300</td>" in text


def test_what_an_alarm_says_is_shown_and_never_run() -> None:
    nasty = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    alarm = make_alarm(status="invalid", raw=nasty, strategy=nasty[:100], ticker="<b>BTC</b>", detail=nasty)
    for text in (
        page(browser_of("viewer"), alarm_page(alarm)),
        page(browser_of("viewer"), LIST),
        page(browser_of("viewer"), reverse("admin:index")),
    ):
        assert "<script>alert" not in text
        assert "<img src=x" not in text
        assert "<b>BTC" not in text


def test_a_redelivery_names_the_alarm_that_it_repeats() -> None:
    original = make_alarm(status="processed")
    make_alarm(status="duplicate", reason="redelivery", original=original)
    assert f"The same alarm came before as {original.pk}; it trades nothing." in page(browser_of(), LIST)


def test_a_redelivery_and_its_original_point_at_each_other() -> None:
    original = make_alarm(status="processed")
    again = make_alarm(status="duplicate", original=original)
    browser = browser_of("viewer")
    assert alarm_page(again) in page(browser, alarm_page(original))
    assert alarm_page(original) in page(browser, alarm_page(again))


@pytest.mark.parametrize(
    ("query", "column", "wanted"),
    [
        ("status__exact", "status", "invalid"),
        ("kind__exact", "kind", "indicator"),
        ("action__exact", "action", "close"),
        ("leg__exact", "leg", "short"),
        ("ticker", "ticker", "ETHUSDT.P"),
        ("strategy", "strategy", "Other"),
    ],
)
def test_the_list_is_filtered_by(query: str, column: str, wanted: str) -> None:
    make_strategy(alarm_name="Other", ticker="ETHUSDT.P")
    make_alarm()
    found = make_alarm(**{column: wanted})
    assert shown(page(browser_of("viewer"), LIST, **{query: wanted})) == {found.pk}


def test_the_list_is_filtered_by_time() -> None:
    make_alarm(received_at=timezone.now() - timedelta(days=3))
    recent = make_alarm(received_at=timezone.now() - timedelta(minutes=30))
    assert shown(page(browser_of("viewer"), LIST, since="day")) == {recent.pk}
    assert len(shown(page(browser_of("viewer"), LIST, since="week"))) == 2


def test_the_list_is_filtered_by_what_strategies_answered() -> None:
    strategy = make_strategy()
    opened, denied, nobody = make_alarm(), make_alarm(), make_alarm(status="ignored", reason="no_strategy")
    make_decision(opened, strategy)
    make_decision(denied, strategy, outcome="denied", reason="kill_switch")
    browser = browser_of("viewer")
    assert shown(page(browser, LIST, outcome="denied")) == {denied.pk}
    assert shown(page(browser, LIST, reason="kill_switch")) == {denied.pk}
    assert shown(page(browser, LIST, reason="no_strategy")) == {nobody.pk}
    assert shown(page(browser, LIST, reason="kill_switch", outcome="open")) == set()


def test_what_no_index_answers_is_looked_for_among_the_newest_and_the_page_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backoffice, "ROWS_LOOKED_AT", 2)
    alarms = [make_alarm(status="ignored", reason="no_strategy", raw="hola") for _ in range(3)]
    browser = browser_of("viewer")
    for query in ({"reason": "no_strategy"}, {"q": "hola"}):
        text = page(browser, LIST, **query)
        assert shown(text) == {alarms[1].pk, alarms[2].pk}
        assert "among the newest 2 rows" in text
    assert "among the newest" not in page(browser, LIST, ticker="BTCUSDT.P")


def test_an_alarm_without_a_ticker_hides_no_other() -> None:
    make_alarm(ticker="", pair="", status="invalid", reason="not_json")
    make_alarm()
    assert len(shown(page(browser_of("viewer"), LIST))) == 2


def test_a_search_finds_by_number_day_and_words() -> None:
    first = make_alarm(received_at=datetime(2026, 3, 1, 23, 59, tzinfo=UTC), raw="hola")
    second = make_alarm(received_at=datetime(2026, 3, 2, 0, 0, tzinfo=UTC), ticker="ETHUSDT.P")
    browser = browser_of("viewer")
    assert shown(page(browser, LIST, q=str(first.pk))) == {first.pk}
    assert shown(page(browser, LIST, q="2026-03-02")) == {second.pk}
    assert shown(page(browser, LIST, q="hola")) == {first.pk}
    assert shown(page(browser, LIST, q="eth")) == {second.pk}
    assert shown(page(browser, LIST, q="9" * 40)) == set()


def test_pages_go_from_new_to_old_and_end() -> None:
    alarms = [make_alarm() for _ in range(ROWS_PER_PAGE + 1)]
    browser = browser_of("viewer")
    first, second, third = (page(browser, LIST, p=number) for number in ("1", "2", "3"))
    assert alarms[0].pk not in shown(first)
    assert "Older" in first
    assert "Newer" not in first
    assert shown(second) == {alarms[0].pk}
    assert "Older" not in second
    assert "Newer" in second
    assert shown(third) == set()


def test_a_page_costs_the_same_however_much_is_stored() -> None:
    browser = browser_of()
    make_history()
    few = queries_of(lambda: browser.get(LIST))
    make_history(strategies=3, alarms=20)
    assert queries_of(lambda: browser.get(LIST)) == few <= 10


def test_a_page_that_is_open_sees_what_became_of_its_alarm_meanwhile() -> None:
    alarm, browser = make_alarm(), browser_of("viewer")
    story = reverse("admin:alarms_alarm_story", args=[alarm.pk])
    assert story in page(browser, alarm_page(alarm))
    assert "Waiting for its turn" in page(browser, story)
    Alarm.objects.filter(pk=alarm.pk).update(status="ignored", reason="no_strategy_name", processed_at=timezone.now())
    assert "names no strategy" in page(browser, story)


def test_a_story_is_told_to_viewers_only_and_of_alarms_that_are_there() -> None:
    story = reverse("admin:alarms_alarm_story", args=[make_alarm().pk])
    assert browser_of("").get(story).status_code == 403
    assert browser_of().get(reverse("admin:alarms_alarm_story", args=[404])).status_code == 404
