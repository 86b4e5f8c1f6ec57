"""Operations, orders, fills and decisions as clients read them, and the close by hand."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from operations.models import Operation, Order
from pelusa.testing import DATABASES
from pelusa.tests.making import (
    AT,
    client_of,
    make_account,
    make_alarm,
    make_decision,
    make_fill,
    make_history,
    make_operation,
    make_order,
    make_strategy,
)

pytestmark = pytest.mark.django_db(databases=DATABASES)

OPERATION = {
    "id", "strategy", "account", "market", "symbol", "position_side", "status", "quantity", "avg_entry_price",
    "avg_exit_price", "realised_pnl", "fees", "opened_at", "closed_at", "orders",
}  # fmt: skip
ORDER = {
    "client_order_id", "exchange_order_id", "role", "side", "order_type", "quantity", "filled_quantity", "avg_price",
    "trigger_price", "status", "reason", "created_at", "submitted_at", "closed_at",
}  # fmt: skip


def rows(path: str, **query: Any) -> list[dict[str, Any]]:
    answer = client_of().get(f"/api/v1/{path}/", query)
    assert answer.status_code == 200, answer.json()
    return list(answer.json()["results"])


def test_an_operation_has_the_agreed_shape_with_its_orders_from_first_to_last() -> None:
    operation = make_operation(make_strategy(), leg="short", fees=Decimal("0.250000000000"))
    first, second = make_order(operation), make_order(operation, role="EXIT", side="SELL", avg_price=None)
    [row] = rows("operations")
    assert row.keys() >= OPERATION
    assert (row["quantity"], row["avg_entry_price"], row["fees"], row["realised_pnl"]) == (
        "0.01",
        "50000.1",
        "0.25",
        "0",
    )
    assert (row["position_side"], row["opened_at"]) == ("SHORT", "2026-11-22T10:00:00Z")
    assert [order["client_order_id"] for order in row["orders"]] == [first.client_order_id, second.client_order_id]
    assert row["orders"][0].keys() >= ORDER
    assert row["orders"][1]["avg_price"] is None


def test_orders_fills_and_decisions_name_what_they_belong_to() -> None:
    [strategy] = make_history()
    [order], [fill], [decision] = rows("orders"), rows("fills"), rows("decisions")
    operation = Operation.objects.get()
    assert order.keys() >= ORDER | {"id", "operation", "decision", "account", "market", "symbol"}
    assert (fill["order"], fill["operation"], fill["fee"]) == (order["id"], operation.pk, "0.25")
    assert (decision["strategy"], decision["operation"]) == (strategy.pk, operation.pk)
    assert decision["detail"] == "An entry of the long leg was ordered: every condition held."


@pytest.mark.parametrize("path", ["operations", "orders", "fills", "decisions"])
def test_a_page_takes_as_many_queries_for_one_row_as_for_many(path: str) -> None:
    client = client_of()
    make_history()
    with CaptureQueriesContext(connection) as few:
        client.get(f"/api/v1/{path}/")
    make_history(strategies=3, alarms=4)
    with CaptureQueriesContext(connection) as many:
        assert len(client.get(f"/api/v1/{path}/").json()["results"]) == 13
    assert len(many) == len(few) <= 6


def test_operations_are_filtered() -> None:
    strategy = make_strategy()
    live = make_operation(strategy)
    flat = make_operation(strategy, status="closed", leg="short", opened_at=AT + timedelta(days=2))
    assert [row["id"] for row in rows("operations", live="true")] == [live.pk]
    assert [row["id"] for row in rows("operations", live="false")] == [flat.pk]
    assert [row["id"] for row in rows("operations", leg="short", status="closed", strategy=strategy.pk)] == [flat.pk]
    assert [row["id"] for row in rows("operations", opened_after="2026-11-23T00:00:00Z")] == [flat.pk]
    assert [row["id"] for row in rows("operations", opened_before="2026-11-23T00:00:00Z")] == [live.pk]
    assert [row["id"] for row in rows("operations", latest="true")] == [flat.pk]


def test_orders_fills_and_decisions_are_filtered() -> None:
    strategy = make_strategy()
    operation = make_operation(strategy)
    entry, leave = (
        make_order(operation),
        make_order(operation, role="EXIT", side="SELL", status="rejected", reason="refused"),
    )
    make_order(make_operation(make_strategy(make_account("other"), name="other"), symbol="ETH-USDT"))
    fill = make_fill(entry)
    decision = make_decision(make_alarm(), strategy, outcome="ignored", reason="gate_shut")
    assert [row["id"] for row in rows("orders", operation=operation.pk)] == [leave.pk, entry.pk]
    assert [row["id"] for row in rows("orders", status="rejected", role="EXIT", account=strategy.account_id)] == [
        leave.pk
    ]
    assert [row["id"] for row in rows("orders", client_order_id=entry.client_order_id)] == [entry.pk]
    assert len(rows("orders", symbol="ETH-USDT")) == 1
    assert [row["id"] for row in rows("fills", operation=operation.pk, symbol="BTC-USDT")] == [fill.pk]
    assert rows("fills", order=leave.pk) == []
    assert [row["id"] for row in rows("decisions", alarm=decision.alarm_id, outcome="ignored")] == [decision.pk]
    assert rows("decisions", reason="entry") == []


def test_a_trader_closes_an_operation_and_sees_the_order() -> None:
    operation = make_operation(make_strategy())
    answer = client_of("trader").post(f"/api/v1/operations/{operation.pk}/close/")
    assert answer.status_code == 200
    order = Order.objects.get()
    assert (answer.json()["status"], answer.json()["orders"][0]["client_order_id"]) == (
        "closing",
        order.client_order_id,
    )
    assert (order.role, order.side, order.status) == ("EXIT", "SELL", "created")


@pytest.mark.parametrize("status", ["closing", "closed", "aborted"])
def test_what_is_closed_already_is_a_conflict_and_orders_nothing(status: str) -> None:
    operation = make_operation(make_strategy(), status=status)
    answer = client_of("trader").post(f"/api/v1/operations/{operation.pk}/close/")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")
    assert not Order.objects.exists()


def test_a_viewer_cannot_close() -> None:
    operation = make_operation(make_strategy())
    answer = client_of("viewer").post(f"/api/v1/operations/{operation.pk}/close/")
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "permission_denied")
    assert client_of("trader").post("/api/v1/operations/999999/close/").status_code == 404
    assert not Order.objects.exists()


@pytest.mark.parametrize("path", ["operations", "orders", "fills", "decisions"])
def test_books_cannot_be_written_by_anybody(path: str) -> None:
    make_history()
    key = rows(path)[0]["id"]
    client = client_of("superuser")
    assert client.post(f"/api/v1/{path}/", {}, format="json").status_code == 405
    for method in (client.put, client.patch, client.delete):
        assert method(f"/api/v1/{path}/{key}/", {}, format="json").status_code == 405
