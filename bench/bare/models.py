"""One table."""

from django.db import models


class Alarm(models.Model):
    """What is stored of an alarm."""

    received_at = models.DateTimeField(auto_now_add=True)
    raw = models.TextField()
    ticker = models.CharField(max_length=40)
    strategy = models.CharField(max_length=100)

    def __str__(self) -> str:
        return f"alarm {self.pk}"
