"""The control addresses `/paper/...`: ours alone, JSON, from this machine and from whom `--control-from` names.

POST /paper/accounts   register a key, or change what it holds, may do and has chosen (`presets`)
POST /paper/incomes    {"key", "incomes": [{"incomeType", "income", "symbol", "asset", "time"}], "credit": false}
POST /paper/prices     {"BTC-USDT": "50000"} pins, null lets go; GET tells the pins
POST /paper/faults     switches (`faults`); GET tells what is on and what was drawn; DELETE switches all off
GET  /paper/ledger     every order with its fills, and the positions, of all or of `?key=`
GET  /paper/health     is it up, and how much is in the books
POST /paper/reset      forget all trading, pins, presets and faults; keys stay, with fresh paper money
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from decimal import Decimal, InvalidOperation
from ipaddress import ip_address

from exchange.paper import presets
from exchange.paper.books import Order, Record
from exchange.paper.venue import KeyTaken, Venue
from exchange.paper.wire import Json, Request, plain

Reply = tuple[int, Json]


def control(venue: Venue, request: Request) -> Reply:
    """Answer a control request with an HTTP status and a JSON value."""
    if not _is_trusted(venue, request.peer):
        return 403, {"error": "control addresses answer to this machine only, and to whom --control-from names"}
    handler = CONTROLS.get((request.method, request.path.rstrip("/")))
    if handler is None:
        return 404, {"error": "no such control address"}
    try:
        return handler(venue, request)
    except (ValueError, TypeError, KeyError, AttributeError, InvalidOperation) as error:
        return 400, {"error": f"{type(error).__name__}: {error}"}


def _is_trusted(venue: Venue, peer: str) -> bool:
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in network for network in venue.control_from)


def _members(request: Request) -> dict[str, Json]:
    """Return the JSON object in the body; an empty body is an empty object."""
    members = json.loads(request.body or b"{}")
    if not isinstance(members, dict):
        raise ValueError("the body must be a JSON object")
    return members


def add_account(venue: Venue, request: Request) -> Reply:
    """Register a key, or change a known one: what it holds, may do and has chosen (see `presets`)."""
    members = _members(request)
    key, secret = str(members.pop("key")), str(members.pop("secret"))
    wanted = presets.read(members)
    try:
        account = venue.register(key, secret)
    except KeyTaken:
        return 409, {"error": "this key exists with another secret"}
    presets.apply(account, wanted)
    venue.ledger.touch(account)
    return 200, {"key": account.key, "uid": account.uid}


def add_incomes(venue: Venue, request: Request) -> Reply:
    """Write incomes that no trade explains (funding, transfers) into the USDT-M books; `credit` pays them too."""
    members = _members(request)
    account = venue.ledger.accounts[str(members["key"])]
    incomes = [presets.read_income(account.key, row, venue.clock_ms()) for row in presets.rows_of(members["incomes"])]
    for income in incomes:
        income.income_id = venue.ledger.new_id()
        venue.ledger.add(income)
        if members.get("credit"):
            account.credit(income.market, income.asset, income.amount)
    venue.ledger.touch(account)
    return 200, {"incomes": len(incomes)}


def set_prices(venue: Venue, request: Request) -> Reply:
    """Pin prices; `null` lets the path move again."""
    wanted = {symbol: None if price is None else Decimal(str(price)) for symbol, price in _members(request).items()}
    for symbol, price in wanted.items():
        venue.pin(symbol, price)
    return get_prices(venue, request)


def get_prices(venue: Venue, request: Request) -> Reply:
    return 200, {symbol: plain(price) for symbol, price in venue.quotes.pins.items()}


def set_faults(venue: Venue, request: Request) -> Reply:
    venue.faults.configure(_members(request))
    return 200, venue.faults.describe()


def get_faults(venue: Venue, request: Request) -> Reply:
    return 200, venue.faults.describe()


def clear_faults(venue: Venue, request: Request) -> Reply:
    venue.faults.clear()
    venue.rates.clear()
    return 200, venue.faults.describe()


def ledger(venue: Venue, request: Request) -> Reply:
    """Every order ever accepted, oldest first, with its fills; of one key when it is named."""
    key = request.params.get("key")
    orders = [each for each in venue.ledger.orders.values() if key in (None, "", each.account)]
    rows: list[Json] = [
        _order(venue, each, place) for place, each in enumerate(sorted(orders, key=lambda each: each.order_id), 1)
    ]
    live = [each for name, held in venue.ledger.live.items() if key in (None, "", name) for each in held.values()]
    return 200, {"orders": rows, "positions": [_plain(each) for each in live]}


def _order(venue: Venue, order: Order, place: int) -> Json:
    fills: list[Json] = [_plain(each) for each in venue.ledger.fills_of_order.get(order.order_id, [])]
    return _plain(order) | {"sequence": place, "fills": fills}


def _plain(record: Record) -> dict[str, Json]:
    """Show a record with text for decimals and ids, so that no reader rounds them."""
    row: dict[str, Json] = {}
    for each in fields(record):
        value = getattr(record, each.name)
        is_id = each.name.endswith("_id") and isinstance(value, int)
        row[each.name] = plain(value) if isinstance(value, Decimal) else str(value) if is_id else value
    return row


def health(venue: Venue, request: Request) -> Reply:
    return 200, {
        "status": "ok",
        "uptime_ms": venue.clock_ms() - venue.started_ms,
        "accounts": len(venue.ledger.accounts),
        "orders": len(venue.ledger.orders),
        "open_orders": sum(len(each) for each in venue.ledger.open_orders.values()),
    }


def reset(venue: Venue, request: Request) -> Reply:
    venue.reset()
    return 200, {"status": "reset"}


CONTROLS: dict[tuple[str, str], Callable[[Venue, Request], Reply]] = {
    ("POST", "/paper/accounts"): add_account,
    ("POST", "/paper/incomes"): add_incomes,
    ("POST", "/paper/prices"): set_prices,
    ("GET", "/paper/prices"): get_prices,
    ("POST", "/paper/faults"): set_faults,
    ("GET", "/paper/faults"): get_faults,
    ("DELETE", "/paper/faults"): clear_faults,
    ("GET", "/paper/ledger"): ledger,
    ("GET", "/paper/health"): health,
    ("POST", "/paper/reset"): reset,
}
