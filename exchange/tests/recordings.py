"""The recorded answers and vectors under `recorded/`; each folder says where it is from."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "recorded"


def read(name: str) -> Any:
    return json.loads((FOLDER / name).read_text(), parse_float=Decimal)


def bingx_net(name: str) -> dict[str, Any]:
    """Return one BingX.Net answer, e.g. `PerpetualFutures/Trading/GetOrder`."""
    return read(f"bingx-net/Endpoints/{name}.json")["response"]


def vendor_docs(name: str) -> dict[str, Any]:
    """Return one of BingX's own published examples, e.g. `StandardPositions`."""
    return read(f"vendor-docs/{name}.json")["response"]


def ccxt_cases() -> list[dict[str, Any]]:
    return read("ccxt-static/response_bingx_2026.json")["cases"]


def ccxt(method: str, description: str = "") -> dict[str, Any]:
    """Return the one ccxt answer of that method whose description begins so."""
    found = [c for c in ccxt_cases() if c["ccxtMethod"] == method and c["description"].startswith(description)]
    assert len(found) == 1, (method, description, len(found))
    return found[0]["response"]
