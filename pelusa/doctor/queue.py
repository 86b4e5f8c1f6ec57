"""The broker, the worker and beat: is somebody there to do the work, and has he been told when?"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from celery import current_app
from django.db.models import Max
from django.utils import timezone
from django_celery_beat.models import PeriodicTask
from kombu.exceptions import OperationalError

from alarms.models import Alarm
from pelusa.doctor.findings import Finding, advice, danger, ok, unknown
from pelusa.health import BROKER_OPTIONS, ask_broker
from pelusa.monitoring.faults import AWAY, IDLE
from pelusa.monitoring.models import Heartbeat

SUBJECT = "queue"
WORKER_SECONDS = 1.5
# Sweeps route what waits every two seconds
LONGEST_WAIT = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Traces:
    """What the scheduler and the workers left in the databases.

    Beat's last ring; when a worker last showed that it lives, and when work last came to it through the queue.
    """

    rang_at: datetime | None = None
    lives_at: datetime | None = None
    took_at: datetime | None = None
    switched_off: list[str] = field(default_factory=list)
    not_installed: list[str] = field(default_factory=list)
    oldest_waiting: datetime | None = None


def ask_queue() -> list[Finding]:
    """Ask the broker, and through it the workers; no database is touched."""
    try:
        ask_broker()
    except (OperationalError, OSError) as error:
        # The error's text may hold a password
        todo = "Start Redis (`make run` starts an embedded broker), and check CELERY_BROKER_URL."
        sentence = f"The broker does not answer ({type(error).__name__}): no alarm is routed and no stop is kept."
        return [danger(SUBJECT, "broker_away", sentence, todo)]
    return [ok(SUBJECT, "broker_answers", "The broker answers."), _ask_workers()]


def _ask_workers() -> Finding:
    try:
        with current_app.connection_for_write(transport_options=BROKER_OPTIONS) as connection:
            answers = current_app.control.ping(timeout=WORKER_SECONDS, connection=connection)
    except (OperationalError, OSError) as error:
        sentence = f"The workers could not be asked ({type(error).__name__})."
        return unknown(SUBJECT, "workers_unasked", sentence, "Examine again; look at the broker if it stays.")
    if answers:
        return ok(SUBJECT, "worker_answers", f"{len(answers)} workers answer.")
    sentence = "No worker answers: alarms are stored, and nothing trades on them."
    return danger(SUBJECT, "no_worker", sentence, "Start it: `make run`, or `docker compose up -d worker`.")


def read_traces() -> Traces:
    """Read what beat and the workers left; raises `DatabaseError`."""
    ours = set(current_app.conf.beat_schedule)
    stored = dict(PeriodicTask.objects.filter(name__in=ours).values_list("name", "enabled"))
    seen = Heartbeat.objects.order_by().values_list("kind").annotate(Max("beat_at"), Max("worked_at"))
    hearts = {kind: (lives_at, worked_at) for kind, lives_at, worked_at in seen}
    lives_at, took_at = hearts.get(Heartbeat.Kind.WORKER, (None, None))
    waiting = Alarm.objects.filter(status=Alarm.Status.RECEIVED).order_by("id")
    return Traces(
        rang_at=hearts.get(Heartbeat.Kind.BEAT, (None, None))[1],
        lives_at=lives_at,
        took_at=took_at,
        switched_off=sorted(name for name, is_on in stored.items() if not is_on),
        not_installed=sorted(ours - set(stored)),
        oldest_waiting=waiting.values_list("received_at", flat=True).first(),
    )


def judge_traces(traces: Traces, now: datetime | None = None) -> list[Finding]:
    """Say whether beat lives, rings all that it must, and whether alarms are heard."""
    now = now or timezone.now()
    return [
        _judge_beat(traces, now),
        *_judge_worker(traces, now),
        *_judge_schedules(traces),
        *_judge_waiting(traces, now),
    ]


def _judge_beat(traces: Traces, now: datetime) -> Finding:
    seen = traces.rang_at
    todo = "Start exactly one: `make run`, or `docker compose up -d beat`."
    if seen is None:
        return danger(SUBJECT, "no_beat", "Beat never ran here: lost bells and stops are not swept.", todo)
    if now - seen > IDLE:
        sentence = f"Beat rang nothing since {seen:%Y-%m-%d %H:%M:%S} UTC: lost bells and stops are not swept."
        return danger(SUBJECT, "no_beat", sentence, todo)
    return ok(SUBJECT, "beat_runs", f"Beat rang at {seen:%H:%M:%S} UTC.")


def _judge_worker(traces: Traces, now: datetime) -> Iterator[Finding]:
    """Say that a worker lives and takes nothing; that none lives is found by asking through the broker, at once."""
    lives = traces.lives_at is not None and now - traces.lives_at <= AWAY
    if lives and traces.took_at and now - traces.took_at > IDLE:
        sentence = f"A worker lives, but took nothing from the queue since {traces.took_at:%Y-%m-%d %H:%M:%S} UTC."
        yield danger(SUBJECT, "worker_idle", sentence, "Look at its log and at beat's; start it again.")


def _judge_schedules(traces: Traces) -> Iterator[Finding]:
    if traces.switched_off:
        sentence = f"Schedules are switched off: {', '.join(traces.switched_off)}."
        yield danger(SUBJECT, "schedule_off", sentence, "Switch them on in the back office under Schedules.")
    if traces.not_installed and traces.rang_at:
        sentence = f"Schedules are not stored: {', '.join(traces.not_installed)}."
        yield danger(SUBJECT, "schedule_missing", sentence, "Restart beat: it stores those of this version.")


def _judge_waiting(traces: Traces, now: datetime) -> Iterator[Finding]:
    if traces.oldest_waiting and now - traces.oldest_waiting > LONGEST_WAIT:
        sentence = f"An alarm of {traces.oldest_waiting:%Y-%m-%d %H:%M:%S} UTC still waits to be routed."
        yield danger(SUBJECT, "alarms_wait", sentence, "Look at the worker's log; it should have been routed long ago.")
    elif traces.oldest_waiting and now < traces.oldest_waiting:
        sentence = "An alarm was stored in the future: this machine's clock was set back."
        yield advice(SUBJECT, "clock_set_back", sentence, "Let NTP slew the clock instead of setting it.")
