"""The composer: messages to paste, a rehearsal that writes nothing, and a test alarm that trades paper money only."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from alarms.models import Alarm
from operations.killswitch import pull
from operations.models import Decision, Lane, Operation, Order
from pelusa.testing import DATABASES, alarm_body
from pelusa.tests.browsing import browser_of, page
from pelusa.tests.making import make_account, make_instrument, make_operation, make_strategy
from strategies.models import Strategy

pytestmark = pytest.mark.django_db(databases=DATABASES)


@pytest.fixture
def strategy() -> Strategy:
    make_instrument()
    return make_strategy(make_account())


def url_of(strategy: Strategy) -> str:
    return reverse("composer", args=[strategy.pk])


def post(strategy: Strategy, act: str = "try", *, browser: Client | None = None, **said: Any) -> Any:
    data = {"message": alarm_body(**said).decode(), "act": act}
    return (browser or browser_of("trader")).post(url_of(strategy), data)


def test_the_page_shows_each_message_and_the_webhooks_address_without_its_secret(
    strategy: Strategy, settings: Any
) -> None:
    text = page(browser_of("viewer"), url_of(strategy))
    assert "order open long" in text
    assert "{{timenow}}" in text
    assert "/webhook/" in text
    assert all(secret not in text for secret in settings.WEBHOOK_SECRETS)


def test_a_rehearsal_shows_the_decision_and_writes_nothing(strategy: Strategy) -> None:
    text = post(strategy).content.decode()
    assert "every condition held" in text
    assert [model.objects.count() for model in (Alarm, Decision, Operation, Order, Lane)] == [0] * 5


def test_a_rehearsal_knows_what_is_held(strategy: Strategy) -> None:
    assert "holds nothing" in post(strategy, order="order close long").content.decode()
    make_operation(strategy, stack_key=f"{strategy.pk}:long")
    assert "counts on 5m only" in post(strategy, interval="15").content.decode()


def test_a_rehearsal_asks_the_limits_too(strategy: Strategy) -> None:
    pull(None, "maria", "news at eight")
    assert "news at eight" in post(strategy).content.decode()


def test_what_cannot_be_read_says_why(strategy: Strategy) -> None:
    answer = browser_of("trader").post(url_of(strategy), {"message": '{"Ticker": ', "act": "try"})
    assert "Not understood" in answer.content.decode()
    assert "neither JSON" in answer.content.decode()


def test_a_name_that_no_strategy_has_says_so(strategy: Strategy) -> None:
    assert "No strategy waits for alarms named" in post(strategy, Strategy="other").content.decode()


def test_a_secret_that_was_pasted_is_neither_shown_nor_kept(strategy: Strategy) -> None:
    assert "hunter2hunter2" not in post(strategy, secret="hunter2hunter2", Strategy="other").context["rehearsal"].nobody
    post(strategy, "send", secret="hunter2hunter2")
    assert "hunter2hunter2" not in Alarm.objects.get().raw


def test_a_test_alarm_goes_the_way_of_every_alarm(strategy: Strategy) -> None:
    answer = post(strategy, "send")
    alarm = Alarm.objects.get()
    assert answer.headers["Location"] == reverse("admin:alarms_alarm_change", args=[alarm.pk])
    assert (alarm.status, alarm.kind, alarm.strategy) == ("received", "order", "Stochastic_v1")


def test_a_test_alarm_that_would_move_real_money_is_not_sent(strategy: Strategy) -> None:
    live = make_account("live", environment="live")
    make_strategy(live, name="Shares the alarm name")
    text = post(strategy).content.decode()
    assert "does not trade paper money" in text
    assert 'value="send"' not in text
    assert post(strategy, "send").status_code == 302
    assert not Alarm.objects.exists()


def test_a_viewer_may_try_and_not_send(strategy: Strategy) -> None:
    browser = browser_of("viewer")
    assert "every condition held" in post(strategy, browser=browser).content.decode()
    assert post(strategy, "send", browser=browser).status_code == 403
    assert not Alarm.objects.exists()


def test_strangers_and_people_without_a_role_see_nothing(strategy: Strategy) -> None:
    assert Client().get(url_of(strategy)).status_code == 302
    assert browser_of("").get(url_of(strategy)).status_code == 403
    assert browser_of().get(reverse("composer", args=[404])).status_code == 404
