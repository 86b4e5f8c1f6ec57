"""A request that names no filter is not filtered, and so needs no form; one that names any is read as ever."""

from typing import Any

import pytest
from django.forms import MultiWidget
from django.http import QueryDict

from pelusa.pages import NamedFilters
from pelusa.testing import DATABASES
from pelusa.tests.making import client_of, make_alarm
from pelusa.urls import api

pytestmark = pytest.mark.django_db(databases=DATABASES)
FILTERED = {prefix: view for prefix, view, _ in api.registry if view.filter_backends}


def filters_of(view: Any) -> Any:
    return NamedFilters().get_filterset_class(view, view.queryset)


@pytest.mark.parametrize("prefix", FILTERED)
def test_a_filter_that_is_not_named_keeps_every_row(prefix: str) -> None:
    view = FILTERED[prefix]
    filterset = filters_of(view)(QueryDict("limit=5"), view.queryset.all())
    assert filterset.is_valid()
    assert str(filterset.qs.query) == str(view.queryset.query)


@pytest.mark.parametrize("prefix", FILTERED)
def test_every_filter_has_one_name_by_which_a_request_may_call_it(prefix: str) -> None:
    filters = filters_of(FILTERED[prefix])
    fields = filters(QueryDict(), FILTERED[prefix].queryset.all()).form.fields
    assert fields.keys() == filters.base_filters.keys()
    assert not [name for name, field in fields.items() if isinstance(field.widget, MultiWidget)]


@pytest.mark.parametrize(
    ("query", "status"),
    [({}, 200), ({"unheard": "x"}, 200), ({"status": ""}, 200), ({"status": "unheard"}, 400), ({"leg": "long"}, 200)],
)
def test_a_named_filter_is_checked_whatever_it_says(query: dict[str, str], status: int) -> None:
    make_alarm()
    assert client_of().get("/api/v1/alarms/", query).status_code == status


def test_it_is_the_filter_of_every_list() -> None:
    assert len(FILTERED) > 10
    assert [prefix for prefix, view in FILTERED.items() if view.filter_backends != [NamedFilters]] == []
