"""Read the moments that programs and people write: a day, a time, ISO 8601 or epoch milliseconds. Pure.

Without a zone it is UTC. A day alone is its beginning as a start and its end as an end, so that the days from
2024-01-01 to 2024-01-31 are all of January.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

DAY: Final = timedelta(days=1)
FORMS: Final = _("Must be 2024-01-31, 2024-01-31 23:59:00, ISO 8601, or milliseconds since 1970.")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}.{0,24}", re.ASCII)
# Fewer digits would be seconds, and a chart of January 1970
_MILLISECONDS: Final = re.compile(r"0|[0-9]{12,13}")


def read_start(text: str) -> datetime:
    """Return the moment in UTC. Raises ValueError for what is none, or lies before 1970."""
    if _MILLISECONDS.fullmatch(text):
        return _EPOCH + timedelta(milliseconds=int(text))
    if not _DAY.fullmatch(text) and not _TIME.fullmatch(text):
        raise ValueError(FORMS)
    return _in_utc(text)


def read_end(text: str) -> datetime:
    """Return the moment in UTC before which the last candle opens: of a day alone, the next day's beginning."""
    return read_start(text) + (DAY if _DAY.fullmatch(text) else timedelta(0))


def _in_utc(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
        found = found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ValueError(FORMS) from None
    if not 1970 <= found.year < 2200:
        raise ValueError(_("Must lie between 1970 and 2200."))
    return found


class StartField(serializers.CharField):
    """From when on; inclusive."""

    read = staticmethod(read_start)

    def to_internal_value(self, data: Any) -> Any:
        try:
            return self.read(super().to_internal_value(data))
        except ValueError as error:
            raise serializers.ValidationError(str(error)) from None


class EndField(StartField):
    """Until when; not included, but for a day alone."""

    read = staticmethod(read_end)
