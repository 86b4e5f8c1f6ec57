"""The broker, the worker and beat: is somebody there to do the work, and has he been told when?"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from celery import current_app
from django.db.models import Max
from django.utils import timezone
from django.utils.translation import gettext as _
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
        todo = _("Start Redis (`make run` starts an embedded broker), and check CELERY_BROKER_URL.")
        sentence = _("The broker does not answer (%(error)s): no alarm is routed and no stop is kept.") % {
            "error": type(error).__name__
        }
        return [danger(SUBJECT, "broker_away", sentence, todo)]
    return [ok(SUBJECT, "broker_answers", _("The broker answers.")), _ask_workers()]


def _ask_workers() -> Finding:
    try:
        with current_app.connection_for_write(transport_options=BROKER_OPTIONS) as connection:
            answers = current_app.control.ping(timeout=WORKER_SECONDS, connection=connection)
    except (OperationalError, OSError) as error:
        sentence = _("The workers could not be asked (%(error)s).") % {"error": type(error).__name__}
        return unknown(SUBJECT, "workers_unasked", sentence, _("Examine again; look at the broker if it stays."))
    if answers:
        return ok(SUBJECT, "worker_answers", _("%(answers)s workers answer.") % {"answers": len(answers)})
    sentence = _("No worker answers: alarms are stored, and nothing trades on them.")
    return danger(SUBJECT, "no_worker", sentence, _("Start it: `make run`, or `docker compose up -d worker`."))


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
    todo = _("Start exactly one: `make run`, or `docker compose up -d beat`.")
    if seen is None:
        return danger(SUBJECT, "no_beat", _("Beat never ran here: lost bells and stops are not swept."), todo)
    if now - seen > IDLE:
        sentence = _("Beat rang nothing since %(seen)s UTC: lost bells and stops are not swept.") % {
            "seen": f"{seen:%Y-%m-%d %H:%M:%S}"
        }
        return danger(SUBJECT, "no_beat", sentence, todo)
    return ok(SUBJECT, "beat_runs", _("Beat rang at %(seen)s UTC.") % {"seen": f"{seen:%H:%M:%S}"})


def _judge_worker(traces: Traces, now: datetime) -> Iterator[Finding]:
    """Say that a worker lives and takes nothing; that none lives is found by asking through the broker, at once."""
    lives = traces.lives_at is not None and now - traces.lives_at <= AWAY
    if lives and traces.took_at and now - traces.took_at > IDLE:
        sentence = _("A worker lives, but took nothing from the queue since %(took_at)s UTC.") % {
            "took_at": f"{traces.took_at:%Y-%m-%d %H:%M:%S}"
        }
        yield danger(SUBJECT, "worker_idle", sentence, _("Look at its log and at beat's; start it again."))


def _judge_schedules(traces: Traces) -> Iterator[Finding]:
    if traces.switched_off:
        sentence = _("Schedules are switched off: %(switched_off)s.") % {"switched_off": ", ".join(traces.switched_off)}
        yield danger(SUBJECT, "schedule_off", sentence, _("Switch them on in the back office under Schedules."))
    if traces.not_installed and traces.rang_at:
        sentence = _("Schedules are not stored: %(not_installed)s.") % {
            "not_installed": ", ".join(traces.not_installed)
        }
        yield danger(SUBJECT, "schedule_missing", sentence, _("Restart beat: it stores those of this version."))


def _judge_waiting(traces: Traces, now: datetime) -> Iterator[Finding]:
    if traces.oldest_waiting and now - traces.oldest_waiting > LONGEST_WAIT:
        sentence = _("An alarm of %(oldest_waiting)s UTC still waits to be routed.") % {
            "oldest_waiting": f"{traces.oldest_waiting:%Y-%m-%d %H:%M:%S}"
        }
        yield danger(
            SUBJECT, "alarms_wait", sentence, _("Look at the worker's log; it should have been routed long ago.")
        )
    elif traces.oldest_waiting and now < traces.oldest_waiting:
        sentence = _("An alarm was stored in the future: this machine's clock was set back.")
        yield advice(SUBJECT, "clock_set_back", sentence, _("Let NTP slew the clock instead of setting it."))
