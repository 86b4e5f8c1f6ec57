"""The demonstration: real alarms over HTTP to a running Pelusa, and what became of each."""

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import requests
from django.conf import settings
from django.contrib.auth import get_user_model

from alarms.models import Alarm
from exchange.models import Account
from exchange.paper_accounts import open_paper_account
from exchange.types import Market
from market.instruments import refresh
from operations.models import Decision, Fill, Operation, Order
from operations.states import CLOSED
from strategies.models import Leg, Strategy
from strategies.reasons import explain
from strategies.validation import resolve
from strategies.versions import keep_version

PATIENCE = 30.0
USER = "demo"


class DemoFailed(Exception):
    """Something did not go as it should; the message says what."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One delivery: what is posted, and what must become of it."""

    title: str
    body: str
    expect: str
    http_status: int = 200


@dataclass(slots=True)
class Result:
    """What became of a scene."""

    scene: Scene
    http_status: int
    answer: str
    alarm: Alarm | None = None
    decision: Decision | None = None
    order: Order | None = None
    fills: list[Fill] = field(default_factory=list)

    @property
    def outcome(self) -> str:
        """Return one word for what happened: filled, the order's status, the decision's reason, or the answer."""
        if self.order:
            return self.order.status
        return self.decision.reason if self.decision else self.answer


def make_user() -> str:
    """Create the user `demo`, or give it a new password; return the password."""
    password = secrets.token_urlsafe(9)
    user, _ = get_user_model().objects.get_or_create(username=USER, defaults={"is_staff": True, "is_superuser": True})
    user.set_password(password)
    user.save(update_fields=["password"])
    return password


def make_strategies() -> None:
    """Create the paper account and two strategies on it: one without a gate, one with."""
    refresh(Market.USDTM)
    account, _ = Account.objects.get_or_create(name="demo", defaults={"environment": Account.Environment.PAPER})
    open_paper_account(account)
    account.save(update_fields=["api_key", "api_secret"])
    _make_strategy(account, "Demo breakout", "Breakout_v1", "ETHUSDT.P", "0.1", gate="")
    _make_strategy(account, "Demo stochastic with a gate", "Stochastic_v1", "BTCUSDT.P", "0.01", gate="15m")


def _make_strategy(account: Account, name: str, alarm_name: str, ticker: str, size: str, gate: str) -> None:
    if Strategy.objects.filter(name=name).exists():
        return
    strategy = Strategy(name=name, alarm_name=alarm_name, ticker=ticker, account=account, max_alarm_age=300)
    resolve(strategy)
    strategy.save()
    Leg.objects.create(
        strategy=strategy,
        name=Leg.Name.LONG,
        entry_interval="5m",
        close_interval="5m",
        entry_confirmation_interval=gate,
        close_confirmation_interval=gate,
        leverage=5,
        size=size,
    )
    keep_version(strategy, USER)


def scenes(now: datetime) -> Iterator[Scene]:
    """Yield the deliveries in the order in which they are posted, in every dialect that Pelusa reads."""
    at = [now - timedelta(seconds=8 - number) for number in range(8)]
    breakout = (
        '{{"Ticker":"ETHUSDT.P","Interval":"5","Price_Alert":"3000","Time_Alert":"{:%Y-%m-%dT%H:%M:%SZ}",'
        '"Order":"{}","Strategy":"Breakout_v1"}}'
    )
    gate = (
        '{{"Ticker":"BTCUSDT.PS","Temporalidad":"{}","Quantity":"0.01","Entry_Price_Alert":"50000","Exit_Price_Alert":"",'
        '"Time_Alert":"{:%Y-%m-%d %H:%M:%S}","Order":"{}","Strategy":"Stochastic_v1"}}'
    )
    text = (
        "Ticker: BTCUSDT.PS, Temporalidad: 5, Quantity: 0.01, Time Alert: {:%H:%M:%S_%d/%m/%Y}, Order: {},"
        " Strategy: Stochastic_v1"
    )
    entry = gate.format("5", at[4], "order open long")
    yield Scene("entry, no gate", breakout.format(at[0], "open long"), "filled")
    yield Scene("the gate is shut", gate.format("15", at[1], "indicator close long"), "shuts_gate")
    yield Scene("entry at the shut gate", gate.format("5", at[2], "order open long"), "gate_shut|gate_never_opened")
    yield Scene("the gate is opened", gate.format("15", at[3], "indicator open long"), "opens_gate")
    yield Scene("entry at the open gate", entry, "filled")
    yield Scene("the same delivered again", entry, "duplicate")
    yield Scene("close, as plain text", text.format(at[5], "close long"), "filled")
    yield Scene("close", breakout.format(at[6], "Close Long"), "filled")
    yield Scene("unreadable", '{"Ticker":"BTCUSDT.P","Interval":"5","Order":"buy the dip"', "invalid", http_status=422)


def play() -> list[Result]:
    """Post every scene and wait until it has ended; raise `DemoFailed` when one ends as it should not."""
    with requests.Session() as session:
        session.trust_env = False
        return [_play(session, scene) for scene in scenes(datetime.now(UTC))]


def _play(session: requests.Session, scene: Scene) -> Result:
    url = f"http://127.0.0.1:{settings.PORT}/webhook/{settings.WEBHOOK_SECRETS[0]}"
    answer = session.post(url, data=scene.body.encode(), headers={"Content-Type": "text/plain"}, timeout=10)
    said = answer.json()
    result = Result(scene, answer.status_code, said.get("status", ""))
    if answer.status_code != scene.http_status:
        raise DemoFailed(f"{scene.title}: answered {answer.status_code}, expected {scene.http_status}")
    if said["status"] == Alarm.Status.RECEIVED:
        _wait(f"{scene.title}: to be processed", lambda: _look(result, said["id"]))
    else:
        result.alarm = Alarm.objects.filter(pk=said["id"]).first()
    if result.outcome not in scene.expect.split("|"):
        raise DemoFailed(f"{scene.title}: became {result.outcome}, expected {scene.expect}: {_why(result)}")
    return result


def _look(result: Result, alarm_id: int) -> bool:
    """Read how far the alarm has come; return whether it has ended."""
    result.alarm = Alarm.objects.get(pk=alarm_id)
    result.decision = Decision.objects.filter(alarm_id=alarm_id).select_related("operation").first()
    if result.alarm.status == Alarm.Status.RECEIVED:
        return False
    result.order = Order.objects.filter(decision=result.decision).first() if result.decision else None
    if result.order is None:
        return True
    result.fills = list(result.order.fills.all())
    return result.order.status in CLOSED and (result.order.has_all_fills or not result.order.filled_quantity)


def _wait(what: str, is_done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_done():
        if time.monotonic() > deadline:
            raise DemoFailed(f"waited {PATIENCE:.0f} s for {what}")
        time.sleep(0.02)


def check_books() -> None:
    """Raise `DemoFailed` unless every operation of the demo ended flat with a result from its fills."""
    for operation in Operation.objects.filter(account__name="demo"):
        if operation.status != Operation.Status.CLOSED or operation.avg_exit_price is None:
            raise DemoFailed(f"operation {operation.pk} on {operation.symbol} is {operation.status}")


def table(results: list[Result]) -> str:
    """Return what became of each delivery, a line each with milliseconds since it was received."""
    heads = ("what was posted", "HTTP", "alarm", "decision", "order", "fill", "decided", "sent", "filled")
    rows = [heads, *(_row(result) for result in results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("─" * width for width in widths), *lines[1:]])


def sentences(results: list[Result]) -> str:
    """Return, a line each, why it happened or did not."""
    return "\n".join(f"  {result.scene.title}: {_why(result)}" for result in results)


def _row(result: Result) -> tuple[str, ...]:
    order, fill = result.order, result.fills[0] if result.fills else None
    return (
        result.scene.title,
        str(result.http_status),
        f"{result.alarm.pk if result.alarm else '–'} {result.answer}",
        f"{result.decision.outcome} ({result.decision.reason})" if result.decision else "–",
        f"{order.side} {order.quantity:f} {order.status}".replace("000000000 ", " ")
        if order and order.quantity
        else "–",
        f"{fill.quantity.normalize():f} at {fill.price.normalize():f}" if fill else "–",
        _since(result, result.decision.created_at if result.decision else None),
        _since(result, order.submitted_at if order else None),
        _since(result, order.answered_at if order else None),
    )


def _since(result: Result, moment: datetime | None) -> str:
    if moment is None or result.alarm is None:
        return "–"
    return f"{(moment - result.alarm.received_at) / timedelta(milliseconds=1):.0f} ms"


def _why(result: Result) -> str:
    if result.order and result.order.reason:
        return explain(result.order.reason, {"code": result.order.code, "detail": result.order.detail})
    if result.decision:
        return explain(result.decision.reason, result.decision.facts)
    if result.answer == Alarm.Status.DUPLICATE and result.alarm:
        return f"a redelivery of alarm {result.alarm.pk}; it trades nothing"
    return result.alarm.detail if result.alarm else ""
