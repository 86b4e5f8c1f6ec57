"""JSON answers are DRF's own, byte for byte."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.utils.translation import gettext_lazy
from rest_framework.exceptions import ErrorDetail
from rest_framework.renderers import JSONRenderer

from alarms.models import Alarm
from pelusa.writing import QuickJSON

CASES: dict[str, Any] = {
    "nothing": None,
    "a page": {"next": None, "results": [{"id": 1, "price": "0.1", "facts": {"a": [1, 2.5, True]}}]},
    "characters": 'ü € 𝄞 \u2028 \u2029 \x00 \x7f \\ " / \ud7ff',
    "times": [datetime(2026, 1, 2, 3, 4, 5, 6, UTC), datetime(2026, 1, 2, 3, tzinfo=UTC), date(2026, 1, 2), time(3)],
    "a length of time": timedelta(seconds=1.5),
    "a decimal": Decimal("1.50"),
    "a choice": Alarm.Status.RECEIVED,
    "a lazy text": gettext_lazy("English"),
    "a complaint": {"field": [ErrorDetail("wrong", "invalid")]},
    "a number as key": {1: "one"},
    "a number beyond 64 bits": 2**70,
    "a tuple and an id": (UUID(int=7), ()),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("media_type", ["application/json", "application/json; indent=2"])
def test_an_answer_is_written_as_the_framework_writes_it(case: str, media_type: str) -> None:
    assert QuickJSON().render(CASES[case], media_type, {}) == JSONRenderer().render(CASES[case], media_type, {})


@pytest.mark.parametrize("data", ["\ud800", object()])
def test_what_the_framework_refuses_is_refused(data: Any) -> None:
    with pytest.raises((TypeError, UnicodeEncodeError)):
        QuickJSON().render(data, "application/json", {})
