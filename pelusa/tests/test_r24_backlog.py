"""R24: the system was down; of the alarms that queued meanwhile only those that are young enough become orders."""

import random
from datetime import timedelta
from decimal import Decimal as D

import pytest
from django.db.models import F
from django.utils import timezone

from alarms.intake import record_alarm
from alarms.models import Alarm
from alarms.tasks import sweep_alarms
from exchange.models import Account
from operations import tasks
from operations.models import Decision, Lane, Order
from pelusa.testing import DATABASES, PaperExchange, alarm_body, list_instruments, make_account, make_strategy
from pelusa.tests.experiments.rig import SEED, scaled

pytestmark = pytest.mark.django_db(databases=DATABASES, transaction=True)

MAX_AGE = 120
A_DAY = 86_400


@pytest.fixture
def account(paper: PaperExchange) -> Account:
    list_instruments()
    account = make_account()
    make_strategy(account, max_alarm_age=MAX_AGE, leg={"size": D("0.0001"), "pyramiding": 1000})
    return account


def queue(said_ago: float, came_ago: float) -> int:
    """Store an alarm that names the moment `said_ago` and arrived `came_ago`, in seconds; return its number."""
    now = timezone.now()
    stored = record_alarm(alarm_body(at=now - timedelta(seconds=said_ago)), "127.0.0.1").alarm_id
    Alarm.objects.filter(pk=stored).update(received_at=now - timedelta(seconds=came_ago))
    return stored


def run_everything() -> None:
    """Do what the sweeps do when a system comes up."""
    sweep_alarms()
    for lane_id in Lane.objects.values_list("pk", flat=True):
        tasks.run_lane(lane_id)


def test_r24_of_a_backlog_only_what_is_young_enough_is_sent_and_the_rest_says_why(
    account: Account, paper: PaperExchange
) -> None:
    """Ten minutes down; among what queued are messages that name their time themselves, up to a day ago."""
    dice, young, old = random.Random(SEED), set(), set()
    for _ in range(scaled(60)):
        # Nothing within a few seconds of the limit: how long this test takes decides nothing
        came_ago = dice.choice([dice.uniform(5, MAX_AGE - 30), dice.uniform(MAX_AGE + 1, 600)])
        said_ago = dice.choice([came_ago, came_ago, dice.uniform(MAX_AGE + 1, A_DAY)])
        (young if max(came_ago, said_ago) < MAX_AGE else old).add(queue(max(said_ago, came_ago), came_ago))
    assert young
    assert old
    run_everything()
    assert set(Decision.objects.filter(outcome="open").values_list("alarm_id", flat=True)) == young
    late = Decision.objects.exclude(outcome="open")
    assert set(late.values_list("alarm_id", flat=True)) == old
    assert set(late.values_list("reason", flat=True)) == {"alarm_too_old"}
    assert len(paper.ledger()) == len(young)


def test_r24_what_was_decided_in_time_and_waited_too_long_for_its_turn_is_not_sent(
    account: Account, paper: PaperExchange
) -> None:
    for _ in range(5):
        queue(1, 1.5)
    sweep_alarms()
    assert Order.objects.filter(status="created").count() == 5
    Decision.objects.update(alarm_happened_at=F("alarm_happened_at") - timedelta(seconds=MAX_AGE))
    run_everything()
    assert set(Decision.objects.values_list("outcome", flat=True)) == {"denied"}
    assert paper.ledger() == []


@pytest.mark.parametrize("ahead", [-30, 30])
def test_r24_a_sender_whose_clock_is_half_a_minute_off_neither_makes_an_old_alarm_young_nor_stops_a_young_one(
    account: Account, paper: PaperExchange, ahead: int
) -> None:
    queue(5 - ahead, 5)
    queue(MAX_AGE + 5 - ahead, MAX_AGE + 5)
    run_everything()
    assert list(Decision.objects.order_by("id").values_list("outcome", flat=True)) == ["open", "ignored"]
    assert len(paper.ledger()) == 1
