"""Answer 409 where a request is well formed and what is stored forbids it."""

from typing import Any

from django.db import models
from django.db.models import ProtectedError
from django.utils.translation import gettext_lazy as _
from rest_framework import status
from rest_framework.exceptions import APIException


class Conflict(APIException):
    """What is stored does not allow it; the sentence says what to do instead."""

    status_code = status.HTTP_409_CONFLICT
    default_detail = _("What is stored does not allow this.")
    default_code = "conflict"


class KeepsHistory:
    """A viewset whose rows cannot be deleted once history points at them."""

    kept_because = _("It has a history.")

    def perform_destroy(self, instance: models.Model) -> Any:
        try:
            instance.delete()
        except ProtectedError:
            raise Conflict(self.kept_because) from None
