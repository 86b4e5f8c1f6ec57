"""The messages that a strategy waits for, as they are pasted into TradingView's alerts. Pure."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from exchange.rounding import plain
from market.intervals import to_tradingview
from strategies.models import Leg, Strategy

# https://www.tradingview.com/support/solutions/43000531021/
_QUANTITY = "{{strategy.order.contracts}}"
_SAMPLE_QUANTITY = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Template:
    """One alert to make: on a chart of `interval`, with `text` as its message; `order` is what it asks for."""

    order: str
    leg: str
    interval: str
    text: str

    @property
    def is_gate(self) -> bool:
        """Tell whether it opens or shuts a gate and trades nothing."""
        return self.order.startswith("indicator")


def templates_of(strategy: Strategy, legs: Iterable[Leg]) -> list[Template]:
    """Return an alert for everything that the strategy's legs wait for, entries first."""
    return [
        Template(order, leg.name, interval, _text(strategy, leg, order))
        for leg in legs
        for order, interval in _awaited(leg)
    ]


def _awaited(leg: Leg) -> Iterator[tuple[str, str]]:
    yield f"order open {leg.name}", leg.entry_interval
    yield f"order close {leg.name}", leg.close_interval
    if leg.entry_confirmation_interval:
        yield f"indicator open {leg.name}", leg.entry_confirmation_interval
    if leg.close_confirmation_interval:
        yield f"indicator close {leg.name}", leg.close_confirmation_interval


def _text(strategy: Strategy, leg: Leg, order: str) -> str:
    members = {
        "Ticker": "{{ticker}}",
        "Interval": "{{interval}}",
        "Quantity": _QUANTITY,
        "Price_Alert": "{{close}}",
        "Time_Alert": "{{timenow}}",
        "Order": order,
        "Strategy": strategy.alarm_name,
    }
    # Alerts of an indicator have no order to take a quantity from, and only sizing by the alarm reads it
    if leg.sizing != Leg.Sizing.ALARM or order != f"order open {leg.name}":
        del members["Quantity"]
    return json.dumps(members, ensure_ascii=False, indent=1)


def filled_in(template: Template, ticker: str, price: Decimal | None, at: datetime) -> str:
    """Return the message as TradingView would send it at a moment; without a price it names none."""
    members = json.loads(template.text)
    values = {
        "Ticker": ticker,
        "Interval": to_tradingview(template.interval),
        "Quantity": plain(_SAMPLE_QUANTITY),
        "Price_Alert": plain(price) if price else "",
        "Time_Alert": f"{at:%Y-%m-%dT%H:%M:%SZ}",
    }
    return json.dumps(
        {key: values.get(key, value) for key, value in members.items() if values.get(key, value)},
        ensure_ascii=False,
        indent=1,
    )
