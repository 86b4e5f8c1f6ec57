"""From an alarm to decisions: every strategy that it concerns answers, on its own, in arrival order for one ticker.

Rows only. A crash anywhere leaves the alarm RECEIVED; the sweep brings it back and decisions that stand already are
found, not repeated.
"""

from decimal import Decimal

from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    connections,
    transaction,
)
from django.db.models import F, prefetch_related_objects
from django.utils import timezone, translation
from loguru import logger

from alarms.models import Alarm
from exchange.tallies import add
from market.instruments import is_listed
from operations.kept import Kept
from operations.lifecycle import AlarmFacts, carry_out, standing_of, tell_of_ignored_close
from operations.models import Decision
from strategies.gates import Confirmation, Gate
from strategies.models import Strategy
from strategies.reasons import explain
from strategies.rules import (
    FUTURE_TOLERANCE,
    PASSED_BY_EXITS,
    LegRules,
    Signal,
    StrategyRules,
    Verdict,
    decide,
    happened_at,
)

MOST_ATTEMPTS = 5
PERPETUALS = ("usdtm", "coinm")
GATE_REASONS = ("opens_gate", "shuts_gate")
# Why an alarm to close may be ignored as it should: it meant something else, or something earlier
RIGHTLY_IGNORED = PASSED_BY_EXITS | {"other_interval", "nothing_to_close"}


def route_pair(pair: str) -> int:
    """Route the pair's waiting alarms, oldest first, until none is left; return how many.

    Stops at once when another worker is routing this pair: it looks again after each alarm, so it will see ours.
    """
    routed = 0
    while _route_oldest(pair):
        routed += 1
    return routed


def _route_oldest(pair: str) -> bool:
    """Route the oldest waiting alarm of a pair under its row's lock; return False when there is none to take."""
    try:
        with transaction.atomic(using="alarms"):
            alarm = _lock_oldest(pair)
            if alarm is None:
                return False
            _route(alarm)
        return True
    except OperationalError as error:
        if _is_lock_conflict(error):
            return False
        raise
    except (InterfaceError, DatabaseError) as error:
        if not isinstance(error, IntegrityError | DataError):
            raise
        _set_back(pair)
    except Exception:  # noqa: BLE001 - one poisoned alarm must not stop its pair for ever
        _set_back(pair)
    return False


def _set_back(pair: str) -> None:
    logger.exception("routing the oldest alarm of {} broke", pair)
    _count_failure(pair)


def _lock_oldest(pair: str) -> Alarm | None:
    """Return the oldest waiting alarm, locked; raise at once when it is locked by another.

    An insert that has a lower id and is not committed yet counts as locked, so arrival order holds even then. The
    index must be named on MySQL: a walk along the primary key would meet the locks of other pairs.
    """
    if connections["alarms"].vendor != "mysql":
        return Alarm.objects.filter(status=Alarm.Status.RECEIVED, pair=pair).order_by("id").first()
    query = (
        "SELECT * FROM alarms_alarm FORCE INDEX (alarm_waiting_by_pair)"
        " WHERE status = %s AND pair = %s ORDER BY id LIMIT 1 FOR UPDATE NOWAIT"
    )
    return next(iter(Alarm.objects.using("alarms").raw(query, [Alarm.Status.RECEIVED.value, pair])), None)


def _is_lock_conflict(error: OperationalError) -> bool:
    # 3572: MySQL's NOWAIT; 1205: MariaDB's NOWAIT and both servers' lock wait time-out; 1213: a deadlock's victim
    return bool(error.args) and error.args[0] in (3572, 1205, 1213)


def _route(alarm: Alarm) -> None:
    decisions = [_answer(strategy, alarm) for strategy in strategies_for(alarm)]
    if not decisions:
        _finish(alarm, Alarm.Status.IGNORED, *why_nobody(alarm))
        return
    acted = any(
        decision.outcome != Decision.Outcome.IGNORED or decision.reason in GATE_REASONS for decision in decisions
    )
    status = Alarm.Status.PROCESSED if acted else Alarm.Status.IGNORED
    reason = decisions[0].reason if len(decisions) == 1 else "decided"
    _finish(alarm, status, reason, {**decisions[0].facts, "strategies": len(decisions)})


def strategies_for(alarm: Alarm) -> list[Strategy]:
    """Return the strategies with the alarm's name whose instrument its ticker may mean, each compared exactly."""
    if not alarm.strategy:
        return []
    found = _LISTENING.all(alarm.strategy, alarm.pair)
    found = [each for each in found if each.alarm_name == alarm.strategy and _may_mean(alarm, each)]
    prefetch_related_objects(found, "legs")
    return found


_LISTENING = Kept[Strategy](
    lambda name, pair: Strategy.objects.filter(alarm_name=name, pair=pair).order_by("id"), str, str
)


def _may_mean(alarm: Alarm, strategy: Strategy) -> bool:
    return strategy.market in PERPETUALS or not alarm.is_perpetual_only


def _answer(strategy: Strategy, alarm: Alarm) -> Decision:
    """Return what one strategy answers, once; tell a human when what the alarm was to close stays open."""
    decision = _answer_once(strategy, alarm)
    if _was_to_close(alarm, decision):
        tell_of_ignored_close(decision)
    return decision


def _answer_once(strategy: Strategy, alarm: Alarm) -> Decision:
    """Let one strategy decide; what breaks in it is recorded as its answer and never reaches the others.

    Where it answered before a crash, that answer stands: `carry_out` finds it under the lane's lock.
    """
    happened = happened_at(signal_of(alarm))
    facts = AlarmFacts(alarm.pk, alarm.leg, alarm.received_at, _price_of(alarm), alarm.quantity, happened)
    try:
        verdict = decide_on(strategy, alarm)
    except DatabaseError:
        raise
    except Exception as error:  # noqa: BLE001 - the bulkhead between strategies
        logger.exception("alarm {}: strategy {} broke", alarm.pk, strategy.pk)
        verdict = Verdict("ignored", "deciding_broke", {"error": type(error).__name__})
    return carry_out(strategy, facts, verdict)


def _was_to_close(alarm: Alarm, decision: Decision) -> bool:
    """Tell whether an order to close was ignored for a reason that a human should know."""
    is_close = alarm.kind == Alarm.Kind.ORDER and alarm.action == Alarm.Action.CLOSE
    is_ignored = decision.outcome == Decision.Outcome.IGNORED
    return is_close and is_ignored and decision.reason not in RIGHTLY_IGNORED


def decide_on(strategy: Strategy, alarm: Alarm) -> Verdict:
    """Return what the strategy answers to the alarm now; reads its gate and what it holds, and writes nothing."""
    signal = signal_of(alarm)
    rules = rules_of(strategy)
    gate = gate_at(alarm, rules.legs.get(alarm.leg))
    return decide(signal, rules, gate, standing_of(strategy, alarm.leg), timezone.now())


def signal_of(alarm: Alarm) -> Signal:
    """Return the alarm as the rules see it."""
    if alarm.alarm_time is None:
        raise ValueError(f"alarm {alarm.pk} names no time")
    return Signal(alarm.pk, alarm.kind, alarm.action, alarm.leg, alarm.interval, alarm.alarm_time, alarm.received_at)


def rules_of(strategy: Strategy) -> StrategyRules:
    """Return the strategy as the rules see it."""
    legs = {
        leg.name: LegRules(
            entry_interval=leg.entry_interval,
            close_interval=leg.close_interval,
            entry_confirmation_interval=leg.entry_confirmation_interval,
            close_confirmation_interval=leg.close_confirmation_interval,
            pyramiding=leg.pyramiding,
        )
        for leg in strategy.legs.all()
    }
    return StrategyRules(strategy.is_active, strategy.active_from, strategy.active_until, strategy.max_alarm_age, legs)


def gate_at(alarm: Alarm, leg: LegRules | None) -> Gate:
    """Return the leg's gate as it stood when the alarm arrived; what came later does not count."""
    if leg is None or alarm.kind != Alarm.Kind.ORDER or alarm.action != Alarm.Action.OPEN:
        return Gate()
    return Gate(
        opened=_newest_confirmation(alarm, Alarm.Action.OPEN, leg.entry_confirmation_interval),
        shut=_newest_confirmation(alarm, Alarm.Action.CLOSE, leg.close_confirmation_interval),
    )


def _newest_confirmation(alarm: Alarm, action: str, interval: str) -> Confirmation | None:
    if not interval:
        return None
    seen = Alarm.objects.filter(
        strategy=alarm.strategy,
        # MySQL compares text without case, but a prefix byte by byte: 1m is not 1M
        strategy__startswith=alarm.strategy,
        interval__startswith=interval,
        pair=alarm.pair,
        kind=Alarm.Kind.INDICATOR,
        action=action,
        leg=alarm.leg,
        interval=interval,
        id__lt=alarm.pk,
        status__in=[Alarm.Status.PROCESSED, Alarm.Status.IGNORED],
        # One that claims to come from the future would hold the gate for ever
        alarm_time__lte=F("received_at") + FUTURE_TOLERANCE,
    )
    newest = seen.order_by("-alarm_time", "-id").only("id", "alarm_time").first()
    return Confirmation(newest.pk, newest.alarm_time) if newest and newest.alarm_time else None


def _price_of(alarm: Alarm) -> Decimal | None:
    return alarm.price or (alarm.entry_price if alarm.action == Alarm.Action.OPEN else alarm.exit_price)


def why_nobody(alarm: Alarm) -> tuple[str, dict[str, object]]:
    """Return why no strategy answers the alarm, as a machine word and its facts."""
    if not alarm.strategy:
        return "no_strategy_name", {}
    if not is_listed(alarm.pair):
        return "unknown_ticker", {"ticker": alarm.ticker}
    return "no_strategy", {"strategy": alarm.strategy, "ticker": alarm.ticker}


def _finish(alarm: Alarm, status: str, reason: str, facts: dict[str, object]) -> None:
    alarm.status, alarm.reason = status, reason
    # In one language, whoever had it processed again
    with translation.override(None):
        alarm.detail = explain(reason, facts)
    alarm.processed_at = timezone.now()
    alarm.save(update_fields=["status", "reason", "detail", "processed_at"])
    transaction.on_commit(lambda: add("alarms", outcome=status), using="alarms", robust=True)


def _count_failure(pair: str) -> None:
    """Count that processing the pair's oldest alarm broke; set it aside when it broke too often, so others go on."""
    with transaction.atomic(using="alarms"):
        alarm = _lock_oldest(pair)
        if alarm is None:
            return
        alarm.attempts += 1
        alarm.save(update_fields=["attempts"])
        if alarm.attempts >= MOST_ATTEMPTS:
            logger.error("alarm {} broke {} times and was set aside", alarm.pk, alarm.attempts)
            _finish(alarm, Alarm.Status.IGNORED, "quarantined", {"attempts": alarm.attempts})
