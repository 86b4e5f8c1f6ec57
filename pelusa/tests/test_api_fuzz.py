"""Every operation of the OpenAPI description, asked with what it allows and with what it does not."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import schemathesis
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from pelusa.testing import DATABASES, PaperExchange, list_instruments
from pelusa.tests.making import client_of, make_history

pytestmark = pytest.mark.django_db(databases=DATABASES)
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
ALLOWED, REFUSED = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
EXAMPLES = 3


def described() -> Any:
    schema = schemathesis.openapi.from_dict(SchemaGenerator().get_schema(request=None, public=True))  # type: ignore[no-untyped-call]
    schema.app = WSGIHandler()
    return schema


# 503 is what /health/ready is there to say
OPERATIONS = [
    operation
    for operation in (result.ok() for result in described().get_all_operations())
    if operation.path != "/health/ready"
]


@pytest.fixture(autouse=True)
def _kept_connections() -> Iterator[None]:
    """Keep Django from ending this test's connections with its requests."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture
def token(paper: PaperExchange) -> str:
    """An operator's, in an installation where something has happened."""
    list_instruments()
    make_history(strategies=2, alarms=2)
    return str(client_of("operator")._credentials["HTTP_AUTHORIZATION"])


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_every_operation_answers_as_it_is_described(operation: Any, token: str) -> None:
    ask(operation, ALLOWED, token, CHECKS)
    if operation.body:
        ask(operation, REFUSED, token, [*CHECKS, negative_data_rejection])
    else:
        # Of what a query says, filters heed what they understand; where nothing can be said, nothing can be wrong
        with suppress(Unsatisfiable):
            ask(operation, REFUSED, token, CHECKS)


def ask(operation: Any, mode: GenerationMode, token: str, checks: list[Any]) -> None:
    """Ask a few times, and judge each answer."""

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def run(case: Any) -> None:
        case.validate_response(case.call(headers={"Authorization": token}), checks=checks)

    run()
