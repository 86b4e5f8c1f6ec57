"""The queue: `celery -A bench.bare.celery worker`."""

from celery import Celery

from bench.bare.settings import BROKER_URL

app = Celery("bare", broker=BROKER_URL, include=["bench.bare.pipeline"])
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=1)
