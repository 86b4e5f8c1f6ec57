"""A process with the settings of a rig: it makes the books before an experiment and judges them after it.

Each line of input is `[deed, {arguments}]` in JSON; the answer is a line with `{"answer": …}` or `{"error": …}`.
Run by `rig.Witness` with `python -m`.
"""

import io
import json
import os
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import django

PAIRS = ("BTC", "ETH", "SOL", "LTC", "ADA", "XRP", "BNB", "LINK")
SIZES = {"BTC": "0.001", "ETH": "0.01", "ADA": "10", "XRP": "10"}
A_DAY = 86_400


def start_over(lanes: int, legs: list[str], strategies: int, pyramiding: int) -> list[list[str]]:
    """Forget everything and make `lanes` lanes with `strategies` each; return each lane's alarm name and ticker.

    The strategies of a lane share its alarm name.
    """
    from pelusa.testing import list_instruments, make_account

    _empty()
    _paper().start_over()
    list_instruments()
    accounts = [make_account(f"desk {number}") for number in range(-(-lanes // len(PAIRS)))]
    made = []
    for number in range(lanes):
        account, pair = accounts[number // len(PAIRS)], PAIRS[number % len(PAIRS)]
        for each in range(strategies):
            _make_strategy(account, pair, legs, f"Lane_{number}", number=each, pyramiding=pyramiding)
        made.append([f"Lane_{number}", f"{pair}USDT.P"])
    return made


def _make_strategy(account: Any, pair: str, legs: list[str], alarm_name: str, *, number: int, pyramiding: int) -> None:
    from pelusa.testing import make_strategy
    from strategies.models import Leg

    leg: dict[str, Any] = {"size": SIZES.get(pair, "1"), "entry_interval": "5m", "close_interval": "5m"}
    leg |= {"pyramiding": pyramiding}
    first, *others = legs
    strategy = make_strategy(
        account,
        name=f"{alarm_name} of {account.name}, {number}",
        alarm_name=alarm_name,
        ticker=f"{pair}USDT.P",
        symbol=f"{pair}-USDT",
        pair=f"{pair}USDT",
        max_alarm_age=A_DAY,
        leg=leg | {"name": first},
    )
    for name in others:
        Leg.objects.create(strategy=strategy, **leg | {"name": name})


def _empty() -> None:
    """Delete every row of ours, whatever refers to it."""
    from django.apps import apps
    from django.db import connections

    for app in ("alarms", "operations", "strategies", "exchange"):
        alias = "alarms" if app == "alarms" else "default"
        with connections[alias].cursor() as cursor:
            cursor.execute("SET foreign_key_checks = 0")
            for model in apps.get_app_config(app).get_models():
                cursor.execute(f"TRUNCATE TABLE `{model._meta.db_table}`")
            cursor.execute("SET foreign_key_checks = 1")


def is_settled() -> bool:
    """Tell whether nothing waits, nothing is in flight and every fill is booked."""
    from bench.chaos import is_settled as ask

    return ask()


def unsettled() -> list[str]:
    """Say what still waits or is in flight."""
    from alarms.models import Alarm
    from operations.models import Operation, Order
    from operations.states import CLOSED, UNFINISHED

    orders = Order.objects.filter(status__in=UNFINISHED) | Order.objects.filter(
        has_all_fills=False, filled_quantity__gt=0, status__in=CLOSED
    )
    found: list[str] = []
    for order in orders.order_by("lane_id", "id").prefetch_related("events"):
        life = "; ".join(f"{event.at:%H:%M:%S} {event.status} {event.detail}" for event in order.events.all())
        found.append(f"lane {order.lane_id} {order}: {order.status}, {order.settle_misses} misses: {life}")
    waiting = Alarm.objects.filter(status=Alarm.Status.RECEIVED)
    closing = Operation.objects.filter(status=Operation.Status.CLOSING)
    return [*found, *(f"{row} waits" for row in waiting), *(f"{row} is closing" for row in closing)]


def age(seconds: int) -> None:
    """Let time pass for every decision and order, as if what was restored were old."""
    from django.db.models import F

    from operations.models import Decision, Order

    earlier = timedelta(seconds=seconds)
    Decision.objects.update(alarm_received_at=F("alarm_received_at") - earlier)
    Order.objects.update(created_at=F("created_at") - earlier, submitted_at=F("submitted_at") - earlier)


def reconcile() -> str:
    """Do what `manage.py reconcile` does, and return what it says is wrong."""
    from django.core.management import CommandError, call_command

    try:
        call_command("reconcile", stdout=io.StringIO(), stderr=io.StringIO())
    except CommandError as error:
        return str(error)
    return ""


def audit(acknowledged: dict[str, int]) -> dict[str, Any]:
    """Return what the oracle of the crash runs finds."""
    from bench.audit import audit as judge

    found = judge({body.encode(): alarm_id for body, alarm_id in acknowledged.items()}, _paper())
    return vars(found) | {"is_clean": found.is_clean}


def store_unheard(body: str) -> int:
    """Store an alarm as a web process does that dies before it rings; return its number."""
    from django.utils import timezone

    from alarms import intake
    from alarms.messages import read_message

    columns = intake._columns_of(read_message(body.encode()), body.encode(), "127.0.0.1", timezone.now())
    return intake._insert(columns)


def resent() -> int:
    """Return how often an order was sent again because it had never arrived."""
    from operations.models import Order

    return Order.objects.filter(events__detail__startswith="sent again").count()


def lags() -> list[float]:
    """Return the seconds from each alarm's arrival to the first sending of its order."""
    from django.db.models import Min, Q

    from operations.models import Order

    sent = Min("events__at", filter=Q(events__status="submitted"))
    orders = Order.objects.filter(decision__isnull=False).annotate(sent=sent).filter(sent__isnull=False)
    times = orders.values_list("sent", "decision__alarm_received_at")
    return [(sent - received).total_seconds() for sent, received in times]


def alarms() -> list[dict[str, Any]]:
    """Return every alarm, oldest first."""
    from alarms.models import Alarm

    names = ("id", "status", "reason", "raw", "pair", "attempts")
    return list(Alarm.objects.order_by("id").values(*names))


def decisions() -> list[dict[str, Any]]:
    """Return every decision, oldest first."""
    from operations.models import Decision

    return list(Decision.objects.order_by("id").values("id", "alarm_id", "strategy_id", "outcome", "reason"))


def orders() -> list[dict[str, Any]]:
    """Return every order, oldest first, and how often it was claimed for sending."""
    from django.db.models import Count, Q

    from operations.models import Order

    names = ("id", "client_order_id", "role", "status", "reason", "lane_id", "decision_id", "claims")
    claims = Count("events", filter=Q(events__status="submitted", events__detail=""))
    return list(Order.objects.annotate(claims=claims).order_by("id").values(*names))


def lanes() -> list[dict[str, Any]]:
    """Return what holds each lane back."""
    from operations.models import Lane

    return list(Lane.objects.order_by("id").values("id", "symbol", "frozen_reason", "frozen_facts"))


def notices() -> list[str]:
    """Return the kind and the key of every notice that is current."""
    from operations.models import Notice

    current = Notice.objects.filter(current_key__isnull=False).order_by("id")
    return list(current.values_list("current_key", flat=True))


def _paper() -> Any:
    from pelusa.livesystem import PaperExchange

    return PaperExchange(urlsplit(os.environ["BINGX_PAPER_URL"]).port or 80)


_MADE = (start_over, age, reconcile, store_unheard)
_SEEN = (is_settled, unsettled, audit, resent, lags, alarms, decisions, orders, lanes, notices)
DEEDS: dict[str, Callable[..., Any]] = {deed.__name__: deed for deed in (*_MADE, *_SEEN)}


def main() -> None:
    django.setup()
    from django.db import DatabaseError, connections

    for line in sys.stdin:
        name, arguments = json.loads(line)
        try:
            said: dict[str, Any] = {"answer": DEEDS[name](**arguments)}
        except DatabaseError as error:
            connections.close_all()
            said = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(said, default=str), flush=True)


if __name__ == "__main__":
    main()
