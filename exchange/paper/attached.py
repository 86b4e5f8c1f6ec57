"""Take profit and stop loss that travel with an entry and become orders of their own after its fill.

https://bingx-api.github.io/docs-v3/#/en/Swap/Trades%20Endpoints/Place%20order (takeProfit, stopLoss)
"""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal, InvalidOperation

from exchange.paper import refusals
from exchange.paper.books import Order

TYPES = {
    "stop_loss": ("STOP_MARKET", "STOP"),
    "take_profit": ("TAKE_PROFIT_MARKET", "TAKE_PROFIT"),
}


def read_attached(text: str, kind: str) -> dict[str, str]:
    """Return the members of a `takeProfit` or `stopLoss` JSON string.

    Raises Refusal 109400 when it is no JSON object, or names a wrong type or no stop price.
    """
    name = "stopLoss" if kind == "stop_loss" else "takeProfit"
    try:
        members = json.loads(text, parse_float=str, parse_int=str)
        values = {key: str(value) for key, value in members.items()}
        Decimal(values["stopPrice"])
    except (ValueError, AttributeError, KeyError, InvalidOperation):
        raise refusals.bad_parameter(
            f'Mismatch type of {name}, it must be a JSON string with "type" and "stopPrice"'
        ) from None
    if values.get("type", TYPES[kind][0]) not in TYPES[kind]:
        raise refusals.bad_parameter(f"{name}.type must be one of {', '.join(TYPES[kind])}")
    return values


def attached_orders(parent: Order, new_id: Callable[[], int], now_ms: int) -> list[Order]:
    """Return the orders that a filled entry leaves behind."""
    orders = []
    for kind in ("take_profit", "stop_loss"):
        text = getattr(parent, kind)
        if text:
            orders.append(_child(parent, read_attached(text, kind), TYPES[kind][0], new_id(), now_ms))
    return orders


def _child(parent: Order, values: dict[str, str], default_type: str, order_id: int, now_ms: int) -> Order:
    kind = values.get("type") or default_type
    is_market = kind.endswith("_MARKET")
    return Order(
        order_id=order_id,
        account=parent.account,
        market=parent.market,
        symbol=parent.symbol,
        side="SELL" if parent.side == "BUY" else "BUY",
        position_side=parent.position_side,
        type=kind,
        time_ms=now_ms,
        updated_ms=now_ms,
        quantity=parent.executed,
        price=Decimal(0) if is_market else Decimal(values.get("price") or values["stopPrice"]),
        stop_price=Decimal(values["stopPrice"]),
        working_type=values.get("workingType") or "MARK_PRICE",
        reduce_only=parent.position_side == "BOTH",
        leverage=parent.leverage,
        parent_id=parent.order_id,
        is_attached=True,
    )
