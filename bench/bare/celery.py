"""The queue: `celery -A bench.bare.celery worker`."""

from celery import Celery
from django.conf import settings

app = Celery("bare", broker=settings.BROKER_URL, include=["bench.bare.pipeline"])
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=1)
