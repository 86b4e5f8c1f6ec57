"""The story of an alarm, told from what the real machinery left behind."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest

from alarms import routing
from alarms.intake import record_alarm, record_unreadable
from alarms.models import Alarm
from alarms.timeline import Timeline, tell
from exchange.models import Account
from operations import execution, reconcile
from operations.history import Tone
from operations.models import Lane, Order
from pelusa.testing import DATABASES, PaperExchange, alarm_body, list_instruments, make_account, make_strategy
from pelusa.tests.browsing import queries_of

pytestmark = pytest.mark.django_db(databases=DATABASES)


@pytest.fixture
def account(paper: PaperExchange) -> Account:
    list_instruments()
    return make_account()


def story_of(body: bytes, *, deliveries: int = 1) -> Timeline:
    """Let the alarm go the whole way (stored, routed, sent, filled) and return its story."""
    first, *_again = [record_alarm(body, "52.89.214.238") for _ in range(deliveries)]
    alarm = Alarm.objects.get(pk=first.alarm_id)
    routing.route_pair(alarm.pair)
    for lane in Lane.objects.all():
        execution.run_lane(lane)
    for order in Order.objects.filter(has_all_fills=False, exchange_order_id__gt=""):
        reconcile.collect_fills(order)
    alarm.refresh_from_db()
    return tell(alarm)


def kinds(timeline: Timeline) -> list[str]:
    return [step.kind for step in timeline.steps()]


def test_an_entry_is_told_from_its_message_to_its_fill(account: Account) -> None:
    make_strategy(account)
    told = story_of(alarm_body())
    assert kinds(told) == ["received", "understood", "decided", "created", "submitted", "filled", "fill"]
    (answer,) = told.answers
    assert (answer.strategy, answer.decided.tone) == ("Stochastic 5m", Tone.GOOD)
    assert "every condition held" in answer.decided.text
    assert answer.operation.endswith("BTC-USDT long, Open")


def test_every_step_says_how_long_after_the_arrival_it_was(account: Account) -> None:
    make_strategy(account)
    ours = [step for step in story_of(alarm_body()).steps() if step.kind != "fill"]
    assert ours[0].after_ms == 0
    assert all(step.at for step in ours)
    waited = [step.after_ms for step in ours if step.after_ms is not None]
    assert len(waited) == len(ours)
    assert all(earlier <= later for earlier, later in pairwise(waited))


def test_what_was_sent_and_what_came_back_are_shown_as_they_were(account: Account) -> None:
    make_strategy(account)
    steps = {step.kind: step for step in story_of(alarm_body()).steps()}
    order = Order.objects.get()
    assert steps["submitted"].text.startswith("BUY 0.01 BTC-USDT MARKET LONG")
    assert (("our id", order.client_order_id)) in steps["submitted"].facts
    assert order.exchange_order_id in dict(steps["filled"].facts).values()
    assert steps["fill"].title == "Filled 0.01 at 50000"
    assert dict(steps["fill"].facts)["trade"] == order.fills.get().exchange_trade_id


def test_the_message_is_shown_as_it_came_and_what_was_understood_beside_it(account: Account) -> None:
    body = alarm_body(at=datetime.now(UTC), Price_Alert="68196.01")
    received, understood = story_of(body).arrival[:2]
    assert received.raw == body.decode()
    assert ("from", "52.89.214.238") in received.facts
    assert understood.title == "Understood as: order open long"
    assert {("ticker", "BTCUSDT.P"), ("interval", "5m"), ("price", "68196.01")} <= set(understood.facts)


def test_redeliveries_are_linked_and_trade_nothing(account: Account) -> None:
    make_strategy(account)
    told = story_of(alarm_body(), deliveries=3)
    assert kinds(told)[:4] == ["received", "redelivered", "redelivered", "understood"]
    assert Order.objects.count() == 1
    again = Alarm.objects.get(pk=told.redelivery_ids[0])
    assert tell(again).original_id == Alarm.objects.order_by("id")[0].pk
    assert tell(again).answers == ()


def test_each_strategy_answers_for_itself_with_the_values_compared(account: Account) -> None:
    make_strategy(account, name="open gate")
    gated = {"entry_confirmation_interval": "1h", "close_confirmation_interval": "4h"}
    make_strategy(account, name="shut gate", leg=gated)
    answers = {answer.strategy: answer for answer in story_of(alarm_body()).answers}
    assert [order.tone for order in answers["open gate"].orders] == [Tone.GOOD]
    assert answers["shut gate"].orders == ()
    assert "was ever seen" in answers["shut gate"].decided.text
    told = answers["shut gate"].decided.compared[0]
    assert (told.asked, told.was) == ("on 1h", "never seen")


def test_a_refusal_of_the_exchange_is_told_in_its_words(account: Account) -> None:
    make_strategy(account, leg={"size": "900000"})
    (answer,) = story_of(alarm_body()).answers
    (order,) = answer.orders
    last = order.steps[-1]
    assert (order.tone, last.tone, last.kind) == (Tone.BAD, Tone.BAD, "rejected")
    assert "101204" in last.text
    assert "Not enough money" in last.text


def test_a_lost_answer_is_told_as_unknown_and_not_as_a_failure(account: Account, paper: PaperExchange) -> None:
    make_strategy(account)
    paper.control("faults", orders={"gateway_after": 1})
    (answer,) = story_of(alarm_body()).answers
    (order,) = answer.orders
    assert [step.kind for step in order.steps] == ["created", "submitted", "submitted"]
    assert order.tone == Tone.WAITING
    assert order.steps[1].title == "Sent to the exchange"
    assert "stays in flight" in order.steps[2].title


def test_an_unreadable_message_says_what_is_wrong_with_it() -> None:
    receipt = record_unreadable(b"hola", "1.2.3.4", "not_an_object", "The message is no JSON object.")
    received, understood = tell(Alarm.objects.get(pk=receipt.alarm_id)).arrival
    assert received.raw == "hola"
    assert (understood.title, understood.text, understood.tone) == (
        "Not understood",
        "The message is no JSON object.",
        Tone.BAD,
    )


def test_an_alarm_that_waits_says_so(account: Account) -> None:
    alarm = Alarm.objects.get(pk=record_alarm(alarm_body(), "1.2.3.4").alarm_id)
    assert [step.kind for step in tell(alarm).steps()] == ["received", "understood", "waiting"]


def test_an_alarm_that_nobody_waits_for_ends_with_its_sentence(account: Account) -> None:
    last = list(story_of(alarm_body()).steps())[-1]
    assert (last.kind, "Stochastic_v1" in last.text) == ("processed", True)


def test_a_story_costs_the_same_however_many_strategies_answered(account: Account) -> None:
    make_strategy(account)
    story_of(alarm_body())
    alone = Alarm.objects.get()
    for number in range(3):
        make_strategy(account, name=f"copy {number}", alarm_name="Other")
    story_of(alarm_body(Strategy="Other"))
    together = Alarm.objects.exclude(pk=alone.pk).get()
    assert len(tell(together).answers) == 3
    assert queries_of(lambda: tell(together)) == queries_of(lambda: tell(alone)) <= 8
