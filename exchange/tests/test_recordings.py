"""Every recorded answer is accounted for: read by a parser, an echo whose code alone is read, or of no use to us."""

import json
import re
from dataclasses import fields
from typing import Any

import pytest

from exchange import decoding, phrasing, statements
from exchange.tests import recordings
from exchange.tests.test_parsing import ECHOES, READERS, RECORDED
from exchange.types import Market

INDEX = recordings.read("bingx-net/INDEX.json")
CASES = recordings.ccxt_cases()

# What the account pays and earns is read beside the orders' parsers
MONEY_READERS = {
    "/openApi/swap/v2/user/income": lambda data: [statements.parse_income(Market.USDTM, row) for row in data],
    "/openApi/swap/v2/user/commissionRate": lambda data: statements.parse_fee_rates(Market.USDTM, data),
    "/openApi/spot/v1/user/commissionRate": lambda data: statements.parse_fee_rates(Market.SPOT, data),
}
ALL_READERS = MONEY_READERS | READERS


def money_answers() -> list[tuple[str, str, str, dict[str, Any]]]:
    found = [(e["file"], e["method"], e["path"], recordings.bingx_net(e["file"][10:-5])) for e in INDEX["rest"]]
    found += [(f"ccxt {c['ccxtMethod']}", *c["endpoint"].split(), c["response"]) for c in CASES]
    return [row for row in found if row[2] in set(MONEY_READERS) - set(READERS)]


ALL_READ = RECORDED + money_answers()

# Endpoints with recorded answers that Pelusa does not ask
NOT_USED = set(
    """
    GET /account/v1/uid
    GET /api/v3/asset/transfer
    GET /api/v3/asset/transferRecord
    GET /api/v3/capital/deposit/hisrec
    GET /api/v3/capital/withdraw/history
    GET /cswap/v1/market/openInterest
    GET /cswap/v1/market/premiumIndex
    GET /fund/v1/account/balance
    GET /spot/v1/market/depth
    GET /spot/v1/market/trades
    GET /spot/v1/oco/openOrderList
    GET /spot/v1/oco/orderList
    GET /spot/v2/quote/bookTicker
    GET /spot/v2/quote/depth
    GET /spot/v2/quote/historicalTrades
    GET /spot/v2/quote/ticker
    GET /spot/v2/quote/trades
    GET /swap/v1/maintMarginRatio
    GET /swap/v1/market/historicalTrades
    GET /swap/v1/positionMargin/history
    GET /swap/v1/trade/assetMode
    GET /swap/v1/trade/multiAssetsRules
    GET /swap/v1/trade/positionHistory
    GET /swap/v1/twap/historyOrders
    GET /swap/v1/twap/openOrders
    GET /swap/v1/twap/orderDetail
    GET /swap/v1/user/marginAssets
    GET /swap/v2/quote/bookTicker
    GET /swap/v2/quote/depth
    GET /swap/v2/quote/fundingRate
    GET /swap/v2/quote/openInterest
    GET /swap/v2/quote/premiumIndex
    GET /swap/v2/quote/ticker
    GET /swap/v2/quote/trades
    GET /swap/v2/trade/forceOrders
    GET /swap/v2/trade/positionHistory
    GET /wallets/v1/capital/config/getall
    GET /wallets/v1/capital/deposit/address
    GET /wallets/v1/capital/innerTransfer/records
    POST /api/asset/v1/transfer
    POST /spot/v1/oco/cancel
    POST /spot/v1/oco/order
    POST /spot/v1/trade/batchOrders
    POST /spot/v1/trade/cancelAllAfter
    POST /spot/v1/trade/cancelOpenOrders
    POST /spot/v1/trade/cancelOrders
    POST /swap/v1/trade/amend
    POST /swap/v1/trade/assetMode
    POST /swap/v1/trade/cancelReplace
    POST /swap/v1/trade/closePosition
    POST /swap/v1/trade/getVst
    POST /swap/v1/twap/cancelOrder
    POST /swap/v1/twap/order
    POST /swap/v2/trade/batchOrders
    POST /swap/v2/trade/cancelAllAfter
    POST /swap/v2/trade/closeAllPositions
    POST /swap/v2/trade/order/test
    POST /swap/v2/trade/positionMargin
    POST /user/auth/userDataStream
    POST /wallets/v1/capital/innerTransfer/apply
    POST /wallets/v1/capital/withdraw/apply
    PUT /user/auth/userDataStream
    DELETE /swap/v2/trade/allOpenOrders
    DELETE /swap/v2/trade/batchOrders
    DELETE /user/auth/userDataStream
    """.strip().splitlines()
)
NOT_USED = {act.strip().replace(" ", " /openApi", 1) for act in NOT_USED}


def used_paths() -> set[str]:
    """Return every path that the client's table of endpoints names."""
    tables = [getattr(routes, field.name) for routes in phrasing.ROUTES.values() for field in fields(routes)]
    words = [
        word for cell in [*tables, *vars(phrasing).values()] for word in (cell if isinstance(cell, tuple) else [cell])
    ]
    return {word for word in words if isinstance(word, str) and word.startswith("/openApi/")}


def test_every_recorded_file_is_here_and_none_beside():
    here = {
        str(path.relative_to(recordings.FOLDER / "bingx-net"))
        for path in (recordings.FOLDER / "bingx-net/Endpoints").rglob("*.json")
    }
    assert here == {entry["file"] for entry in INDEX["rest"]}
    assert (len(here), len(CASES)) == (94, 57)


def test_every_recorded_answer_is_read_or_an_echo_or_of_an_endpoint_that_is_not_used():
    recorded = {f"{entry['method']} {entry['path']}" for entry in INDEX["rest"]} | {case["endpoint"] for case in CASES}
    read = {f"{method} {path}" for _, method, path, _ in ALL_READ}
    echoes = {" ".join(act) for act in ECHOES}
    assert recorded == read | echoes | NOT_USED
    assert len(recorded) == len(read) + len(echoes) + len(NOT_USED), "each is one of the three"


def test_every_recorded_answer_of_a_read_endpoint_meets_its_reader():
    answers = [entry["path"] for entry in INDEX["rest"]] + [case["endpoint"].split()[1] for case in CASES]
    echoes = [each for each in INDEX["rest"] if (each["method"], each["path"]) in ECHOES]
    assert len(ALL_READ) == len([path for path in answers if path in ALL_READERS]) - len(echoes)


def test_what_is_called_not_used_is_asked_for_nowhere():
    assert len(used_paths()) > 35
    assert not {act.split()[1] for act in NOT_USED} & used_paths()


def test_the_recorded_pushes_are_of_websockets_which_pelusa_does_not_open():
    assert len(INDEX["ws"]) == 18
    assert not (recordings.FOLDER / "bingx-net/Subscriptions").exists()


# One meaning, however it is spelled


def as_texts(value: Any) -> Any:
    """Return an answer with every number as text, as some products and some years have it."""
    if isinstance(value, dict):
        return {name: as_texts(each) for name, each in value.items()}
    if isinstance(value, list):
        return [as_texts(each) for each in value]
    return value if isinstance(value, bool | str | None) else str(value)


@pytest.mark.parametrize(("name", "method", "path", "answer"), ALL_READ, ids=[row[0] for row in ALL_READ])
def test_numbers_written_as_text_mean_the_same(name, method, path, answer):
    data = decoding.load(json.dumps(answer, default=float).encode())["data"]
    as_recorded = ALL_READERS[path](data)
    assert as_recorded
    assert ALL_READERS[path](as_texts(data)) == as_recorded


ORDERS = [row for row in RECORDED if re.search(r"trade/(order|orderDetail|query|cancel)$", row[2])]


@pytest.mark.parametrize(("name", "method", "path", "answer"), ORDERS, ids=[row[0] for row in ORDERS])
def test_a_wrapped_order_and_a_bare_one_mean_the_same(name, method, path, answer):
    data = answer["data"]
    other = data.get("order", {"order": data})
    assert READERS[path](other) == READERS[path](data)


def test_both_envelopes_are_among_the_recorded_orders():
    assert {"order" in row[3]["data"] for row in ORDERS} == {True, False}
