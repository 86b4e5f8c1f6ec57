"""Money in JSON: decimal strings in full, never a float and never an exponent."""

import re
from decimal import Decimal
from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

from exchange.rounding import plain

# Python's Decimal would also take "1_000", digits of other alphabets, "NaN" and "1e9999999"
_DECIMAL = re.compile(r"-?[0-9]{1,16}(\.[0-9]{1,12})?")


class PlainDecimalField(serializers.DecimalField):
    """A decimal that is written without trailing zeros and read from a string or a JSON number."""

    default_error_messages = {
        "invalid": _('Must be a number in plain digits, e.g. "0.01": at most 16 before the point and 12 after it.')
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"max_digits": 28, "decimal_places": 12, **options})

    def to_internal_value(self, data: Any) -> Decimal:
        text = _digits(data)
        if not _DECIMAL.fullmatch(text):
            self.fail("invalid")
        value: Decimal = super().to_internal_value(text)
        return value

    def to_representation(self, value: Any) -> str:
        return plain(Decimal(value))


# For a ModelSerializer's `serializer_field_mapping`
PLAIN_DECIMALS = {**serializers.ModelSerializer.serializer_field_mapping, models.DecimalField: PlainDecimalField}


def _digits(data: Any) -> str:
    """Return what was sent as plain digits where that is certain, else a text that is no number."""
    if isinstance(data, str):
        return data.strip()
    if isinstance(data, bool) or not isinstance(data, int | float | Decimal):
        return ""
    number = Decimal(str(data))
    # A hostile exponent must not be written out
    return format(number, "f") if number.is_finite() and -40 < number.adjusted() < 40 else ""
