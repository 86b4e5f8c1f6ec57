"""The OpenAPI description: complete, valid, without warnings, and its pages ask nobody outside."""

import re
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.test import Client

from pelusa.testing import DATABASES
from pelusa.tests.making import client_of

pytestmark = pytest.mark.django_db(databases=DATABASES)


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    import yaml

    path: Path = tmp_path_factory.mktemp("schema") / "schema.yml"
    call_command("spectacular", "--fail-on-warn", "--validate", file=str(path))
    return dict(yaml.safe_load(path.read_text()))


def test_it_is_generated_without_a_warning_and_is_valid(schema: dict[str, Any]) -> None:
    assert schema["openapi"].startswith("3.")
    assert "/api/v1/strategies/{id}/" in schema["paths"]
    assert "/api/v1/operations/{id}/close/" in schema["paths"]


def test_every_operation_tells_of_the_one_error_shape(schema: dict[str, Any]) -> None:
    shape = {"$ref": "#/components/schemas/Error"}
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            refusals = {
                status: each for status, each in operation["responses"].items() if status in ("400", "401", "404")
            }
            assert "401" in refusals, (path, method)
            assert all(each["content"]["application/json"]["schema"] == shape for each in refusals.values())


def test_money_is_text_in_every_shape(schema: dict[str, Any]) -> None:
    money = {"price", "quantity", "filled_quantity", "size", "fee", "fees", "realised_pnl", "tick_size", "avg_price"}
    money |= {"balance", "equity", "available", "used_margin", "frozen", "unrealised_pnl", "mark_price", "margin"}
    for name, component in schema["components"]["schemas"].items():
        for field in money & component.get("properties", {}).keys():
            assert component["properties"][field]["type"] == "string", (name, field)


def test_credentials_are_in_no_answer(schema: dict[str, Any]) -> None:
    schemas = schema["components"]["schemas"]
    assert not {"api_key", "api_secret"} & schemas["Account"]["properties"].keys()
    assert {"api_key", "api_secret"} <= schemas["AccountRequest"]["properties"].keys()


def test_a_page_is_described_with_its_parameters(schema: dict[str, Any]) -> None:
    parameters = {each["name"] for each in schema["paths"]["/api/v1/alarms/"]["get"]["parameters"]}
    assert parameters >= {
        "limit",
        "cursor",
        "latest",
        "ticker",
        "strategy",
        "status",
        "received_after",
        "received_before",
    }


def test_what_is_live_from_the_exchange_is_described_with_what_can_be_asked(schema: dict[str, Any]) -> None:
    asked = {each["name"]: each for each in schema["paths"]["/api/v1/balances/"]["get"]["parameters"]}
    assert asked.keys() == {"account", "type"}
    assert asked["type"]["schema"]["enum"] == ["usdtm", "coinm", "spot", "standard"]
    curve = {each["name"] for each in schema["paths"]["/api/v1/accounts/{id}/equity/"]["get"]["parameters"]}
    assert curve == {"id", "since", "until"}


def test_the_token_is_the_way_in(schema: dict[str, Any]) -> None:
    schemes = schema["components"]["securitySchemes"]
    assert schemes["token"]["name"] == "Authorization"
    assert {"token": []} in schema["paths"]["/api/v1/alarms/"]["get"]["security"]


def test_the_description_is_served_to_users_only() -> None:
    assert client_of(None).get("/api/schema/").status_code == 401
    assert client_of("viewer").get("/api/schema/").status_code == 200


def test_the_page_sends_strangers_to_the_login_and_asks_nobody_outside() -> None:
    answer = Client().get("/api/docs/")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/admin/login/?next=/api/docs/")
    client = Client()
    client.force_login(get_user_model().objects.create_user("reader"))
    page = client.get("/api/docs/")
    assert page.status_code == 200
    assert "/static/drf_spectacular_sidecar/" in page.content.decode()
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", page.content.decode())
