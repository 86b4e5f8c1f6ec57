"""The way of an alarm: a view, a task, a request."""

import json
import threading

import requests
from django.http import HttpRequest, JsonResponse
from django.urls import path

from bench.bare.celery import app
from bench.bare.models import Alarm
from bench.bare.settings import EXCHANGE_URL

_kept = threading.local()


def receive(request: HttpRequest) -> JsonResponse:
    """Store the alarm and hand it on."""
    said = json.loads(request.body)
    alarm = Alarm(raw=request.body.decode(), ticker=said["Ticker"], strategy=said["Strategy"])
    alarm.save(force_insert=True)
    send_order.delay(alarm.pk)
    return JsonResponse({"id": alarm.pk})


@app.task
def send_order(alarm_id: int) -> None:
    """Send an order for the alarm."""
    if not hasattr(_kept, "session"):
        _kept.session = requests.Session()
        _kept.session.trust_env = False
    _kept.session.post(EXCHANGE_URL, params={"alarm": alarm_id}, timeout=10)


urlpatterns = [path("webhook", receive)]
