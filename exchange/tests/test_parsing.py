import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange import decoding, parsing
from exchange.decoding import Unreadable
from exchange.errors import OutcomeUnknown
from exchange.refusals import EPOCH
from exchange.tests import recordings
from exchange.types import (
    MarginMode,
    Market,
    OrderRequest,
    OrderType,
    PositionMode,
    PositionSide,
    ReportStatus,
    Side,
)

D = Decimal
SWAP, SPOT = "PerpetualFutures", "Spot"


def at(milliseconds: int) -> datetime:
    return EPOCH + timedelta(milliseconds=milliseconds)


def order(market, answer, asked=None):
    return parsing.parse_order(market, decoding.one(answer["data"], "order"), asked)


def orders(market, answer):
    return [parsing.parse_order(market, row) for row in decoding.rows(answer["data"], "orders")]


def minted_at(order_id: str) -> datetime:
    """Return the moment that BingX's snowflake ids carry."""
    return at((int(order_id) >> 22) + 1288834974657)


ASKED = OrderRequest(
    market=Market.USDTM,
    symbol="BTC-USDT",
    side=Side.BUY,
    position_side=PositionSide.LONG,
    order_type=OrderType.MARKET,
    quantity=D("0.01"),
    client_order_id="p1abc",
    signed_at=at(1700000000000),
)

# Each recorded answer to something that the client asks, and how it is read.
READERS = {
    "/openApi/swap/v2/quote/contracts": lambda data: parsing.parse_instruments(Market.USDTM, data),
    "/openApi/cswap/v1/market/contracts": lambda data: parsing.parse_instruments(Market.COINM, data),
    "/openApi/spot/v1/common/symbols": lambda data: parsing.parse_instruments(Market.SPOT, data),
    "/openApi/swap/v1/ticker/price": lambda data: parsing.parse_price(data["symbol"], data),
    "/openApi/spot/v1/ticker/24hr": lambda data: parsing.parse_price(data[0]["symbol"], data),
    "/openApi/swap/v3/quote/klines": parsing.parse_klines,
    "/openApi/swap/v1/market/markPriceKlines": parsing.parse_klines,
    "/openApi/spot/v2/quote/klines": parsing.parse_klines,
    "/openApi/spot/v1/market/kline": parsing.parse_klines,
    "/openApi/swap/v2/trade/order": lambda data: order(Market.USDTM, {"data": data}),
    "/openApi/cswap/v1/trade/orderDetail": lambda data: order(Market.COINM, {"data": data}),
    "/openApi/spot/v1/trade/order": lambda data: order(Market.SPOT, {"data": data}),
    "/openApi/spot/v1/trade/query": lambda data: order(Market.SPOT, {"data": data}),
    "/openApi/spot/v1/trade/cancel": lambda data: order(Market.SPOT, {"data": data}),
    "/openApi/swap/v2/trade/openOrders": lambda data: orders(Market.USDTM, {"data": data}),
    "/openApi/swap/v2/trade/allOrders": lambda data: orders(Market.USDTM, {"data": data}),
    "/openApi/swap/v1/trade/fullOrder": lambda data: orders(Market.USDTM, {"data": data}),
    "/openApi/spot/v1/trade/openOrders": lambda data: orders(Market.SPOT, {"data": data}),
    "/openApi/spot/v1/trade/historyOrders": lambda data: orders(Market.SPOT, {"data": data}),
    "/openApi/cswap/v1/trade/allFillOrders": lambda data: [parsing.parse_coinm_fill(row) for row in data],
    "/openApi/spot/v1/trade/myTrades": lambda data: [parsing.parse_spot_fill(row) for row in data["fills"]],
    "/openApi/swap/v2/trade/allFillOrders": lambda data: [parsing.parse_fill_time(row) for row in data["fill_orders"]],
    "/openApi/swap/v2/user/positions": lambda data: parsing.parse_positions(Market.USDTM, data),
    "/openApi/cswap/v1/user/positions": lambda data: parsing.parse_positions(Market.COINM, data),
    "/openApi/swap/v3/user/balance": lambda data: parsing.parse_balances(Market.USDTM, data),
    "/openApi/spot/v1/account/balance": lambda data: parsing.parse_balances(Market.SPOT, data),
    "/openApi/swap/v2/trade/leverage": parsing.parse_leverage,
    "/openApi/swap/v2/trade/marginType": parsing.parse_margin_mode,
    "/openApi/cswap/v1/trade/marginType": parsing.parse_margin_mode,
    "/openApi/swap/v1/positionSide/dual": parsing.parse_position_mode,
    "/openApi/account/v1/apiKey/query": lambda data: parsing.parse_permissions({"data": data}),
}
# Echoes of changes: the client reads their code only.
ECHOES = {("POST", "/openApi/swap/v2/trade/leverage"), ("POST", "/openApi/swap/v2/trade/marginType")}


def recorded_answers() -> list[tuple[str, str, str, dict]]:
    index = recordings.read("bingx-net/INDEX.json")["rest"]
    found = [(e["file"], e["method"], e["path"], recordings.bingx_net(e["file"][10:-5])) for e in index]
    for case in recordings.ccxt_cases():
        method, path = case["endpoint"].split()
        found.append((f"ccxt {case['ccxtMethod']} {case['description'][:40]}", method, path, case["response"]))
    return [row for row in found if row[2] in READERS and row[1:3] not in ECHOES]


RECORDED = recorded_answers()


def test_every_reader_meets_a_recorded_answer():
    assert {row[2] for row in RECORDED} == set(READERS)
    assert len(RECORDED) == 58


@pytest.mark.parametrize(("name", "method", "path", "answer"), RECORDED, ids=[row[0] for row in RECORDED])
def test_a_recorded_answer_is_read(name, method, path, answer):
    body = decoding.load(json.dumps(answer, default=float).encode())
    assert str(body["code"]) == "0"
    assert READERS[path](body["data"])


# Orders


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("NEW", ReportStatus.ACCEPTED),
        ("PENDING", ReportStatus.ACCEPTED),
        ("Pending", ReportStatus.ACCEPTED),
        ("WORKING", ReportStatus.ACCEPTED),
        ("PARTIALLY_FILLED", ReportStatus.PARTIALLY_FILLED),
        ("FILLED", ReportStatus.FILLED),
        ("Filled", ReportStatus.FILLED),
        ("CANCELED", ReportStatus.CANCELED),
        ("CANCELLED", ReportStatus.CANCELED),
        ("EXPIRED", ReportStatus.EXPIRED),
        ("FAILED", ReportStatus.REJECTED),
        ("", ReportStatus.ACCEPTED),
        (None, ReportStatus.ACCEPTED),
    ],
)
def test_both_spellings_and_any_case_of_a_status_are_known(word, expected):
    assert parsing.parse_status({"status": word}) is expected


@pytest.mark.parametrize("word", ["TRIGGERED", "RUNNING", "CLOSED", "Unknown", "终止", "{word}"])
def test_an_unknown_status_is_still_open_and_never_final(word):
    assert parsing.parse_status({"status": word}) is ReportStatus.ACCEPTED


def test_an_open_order_that_has_filled_something_is_partially_filled():
    assert parsing.parse_status({"status": "PENDING", "executedQty": "0.1"}) is ReportStatus.PARTIALLY_FILLED
    assert parsing.parse_status({"status": "CANCELLED", "executedQty": "0.1"}) is ReportStatus.CANCELED


def test_a_filled_order_is_read_whole():
    report = order(Market.USDTM, recordings.ccxt("fetchOrder", "swap order"))
    assert (report.symbol, report.side, report.position_side) == ("LTC-USDT", Side.SELL, PositionSide.LONG)
    assert (report.status, report.order_type) == (ReportStatus.FILLED, "MARKET")
    assert (report.quantity, report.filled_quantity, report.avg_price) == (D("0.1"), D("0.1"), D("83.71"))
    assert report.fee == D("0.004186")
    assert report.exchange_order_id == "1770683446830788608"
    assert report.client_order_id == "b39b0316-1f99-4099-8f4b-bac0f46731f8"
    assert report.updated_at == at(1710998806000)
    assert report.trigger_price is None


def test_a_waiting_stop_has_a_trigger_and_no_price_or_fee():
    report = order(Market.USDTM, recordings.ccxt("fetchOrder", "swap stopLoss order"))
    assert (report.status, report.trigger_price) == (ReportStatus.ACCEPTED, D("20.00"))
    assert (report.avg_price, report.fee, report.filled_quantity) == (None, None, 0)


def test_a_coin_m_order_has_mixed_case_and_an_empty_quantity_beside_the_real_one():
    report = order(Market.COINM, recordings.ccxt("fetchOrder", "inverse swap order"))
    assert (report.position_side, report.quantity, report.avg_price) == (PositionSide.LONG, 1, D("150.000"))
    assert report.fee == D("0.00005475")


def test_a_spot_order_takes_its_price_from_the_money_and_its_quantity_from_what_was_filled():
    [report] = orders(Market.SPOT, recordings.ccxt("fetchClosedOrders", "Spot"))
    assert (report.quantity, report.filled_quantity, report.position_side) == (
        D("0.0679"),
        D("0.0679"),
        PositionSide.BOTH,
    )
    assert report.avg_price == D("4.9954709") / D("0.0679")
    assert report.fee == D("0.0000679")


def test_a_wrapped_and_a_bare_echo_say_the_same():
    bare = recordings.ccxt("createOrder", "with stopLoss (unified)")
    wrapped = {"code": 0, "data": {"order": bare["data"]}}
    assert order(Market.USDTM, bare) == order(Market.USDTM, wrapped)
    assert order(Market.USDTM, bare).quantity == D("0.01")


def test_the_echo_of_2023_is_completed_from_the_request():
    report = order(Market.USDTM, recordings.bingx_net(f"{SWAP}/Trading/PlaceOrder"), ASKED)
    assert (report.client_order_id, report.quantity, report.filled_quantity) == ("p1abc", D("0.01"), 0)
    assert report.status is ReportStatus.ACCEPTED


def test_an_echo_of_another_client_id_proves_nothing():
    answer = recordings.bingx_net(f"{SWAP}/Trading/PlaceOrder")
    answer["data"]["order"]["clientOrderID"] = "someone-else"
    with pytest.raises(OutcomeUnknown):
        order(Market.USDTM, answer, ASKED)


@pytest.mark.parametrize(
    "change", [{"side": "HOLD"}, {"positionSide": "UP"}, {"orderId": None}, {"orderId": ""}, {"orderId": D("1.7e18")}]
)
def test_an_order_without_a_side_a_leg_or_an_exact_id_is_unreadable(change):
    row = recordings.bingx_net(f"{SWAP}/Trading/GetOrder")["data"]["order"] | change
    with pytest.raises(Unreadable):
        parsing.parse_order(Market.USDTM, row)


def test_a_null_list_under_its_name_is_empty_and_a_missing_one_is_unreadable():
    assert decoding.rows({"orders": None}, "orders") == []
    for nothing in (None, {}, {"order": []}, "", 0, [1]):
        with pytest.raises(Unreadable):
            decoding.rows(nothing, "orders")


# Fills


def test_a_fill_is_timed_by_its_offset_and_not_by_the_z_that_lies():
    cases = [c for c in recordings.ccxt_cases() if c["endpoint"].endswith("swap/v2/trade/allFillOrders")]
    [real] = [c for c in cases if "CONT" in c["description"]]
    row = real["response"]["data"]["fill_orders"][0]
    assert (row["filledTm"], row["filledTime"]) == ("2024-01-06T21:19:45Z", "2024-01-06T21:19:45.000+0800")
    assert parsing.parse_fill_time(row) == datetime(2024, 1, 6, 13, 19, 45, tzinfo=UTC)
    assert parsing.parse_fill_time({"filledTm": row["filledTm"]}) == datetime(2024, 1, 6, 13, 19, 45, tzinfo=UTC)
    assert abs(parsing.parse_fill_time(row) - minted_at(row["orderId"])) < timedelta(seconds=1)


def test_the_fill_in_the_documents_happened_soon_after_its_order_was_made():
    [row] = recordings.bingx_net(f"{SWAP}/Trading/GetUserTrades")["data"]["fill_orders"]
    assert timedelta(0) < parsing.parse_fill_time(row) - minted_at(row["orderId"]) < timedelta(minutes=1)


@pytest.mark.parametrize("said", ["", "yesterday", "2024-01-06T21:19:45", 1704575985000])
def test_a_fill_time_without_an_offset_is_unreadable(said):
    with pytest.raises(Unreadable):
        parsing.parse_fill_time({"filledTime": said})


def test_a_usdt_m_fill_of_the_history_is_read_whole():
    # The shape is the one that docs-v3 describes for fillHistory; no real answer of it is recorded.
    row = {
        "symbol": "ETH-USDT",
        "qty": "0.002",
        "quoteQty": "5.3783",
        "role": "taker",
        "commission": "-0.002689",
        "commissionAsset": "VST",
        "price": "2689.17",
        "orderId": "2106065676096507904",
        "tradeId": "362625236",
        "filledTime": "2026-10-03T00:56:01.000+0800",
        "filledTm": "2026-10-03T00:56:01Z",
        "side": "sell",
        "positionSide": "both",
    }
    fill = parsing.parse_usdtm_fill(row)
    assert (fill.exchange_trade_id, fill.exchange_order_id) == ("362625236", "2106065676096507904")
    assert (fill.side, fill.price, fill.quantity) == (Side.SELL, D("2689.17"), D("0.002"))
    assert (fill.fee, fill.fee_asset) == (D("0.002689"), "VST")
    assert fill.filled_at == datetime(2026, 10, 2, 16, 56, 1, tzinfo=UTC)
    assert parsing.parse_usdtm_fill(row | {"commission": "0.001"}).fee == D("-0.001"), "a rebate is negative"
    with pytest.raises(Unreadable):
        parsing.parse_usdtm_fill({**row, "tradeId": None})


def test_a_coin_m_fill_counts_contracts_and_pays_in_the_coin():
    [row] = recordings.ccxt("fetchMyTrades", "Inverse swap trade (10 USD")["data"]
    fill = parsing.parse_coinm_fill(row)
    assert (fill.quantity, fill.price, fill.fee, fill.fee_asset) == (2, D("182.652"), D("0.00005475"), "SOL")
    assert fill.filled_at == at(1722146730000)


def test_spot_fills_keep_every_digit_of_a_fee_written_with_an_exponent():
    answer = decoding.load(json.dumps(recordings.bingx_net(f"{SPOT}/Trading/GetUserTrades"), default=float).encode())
    fills = [parsing.parse_spot_fill(row) for row in answer["data"]["fills"]]
    assert [fill.fee for fill in fills] == [D("0.000046483255"), D("1.2493E-7")]
    assert [fill.side for fill in fills] == [Side.BUY, Side.BUY]


# Positions and wallets


def test_a_hedged_short_is_a_sold_quantity():
    [position] = parsing.parse_positions(Market.USDTM, recordings.bingx_net(f"{SWAP}/Trading/GetPositions")["data"])
    assert (position.position_side, position.side, position.quantity) == (PositionSide.SHORT, Side.SELL, D("0.20"))
    assert (position.leverage, position.margin_mode) == (5, MarginMode.ISOLATED)
    assert position.liquidation_price == D("294.16914617776246")
    assert position.unrealised_pnl == D("-0.0653")
    assert position.mark_price is None


def test_numbers_and_texts_read_alike():
    [position] = parsing.parse_positions(Market.USDTM, recordings.ccxt("fetchPositions", "linear")["data"])
    assert (position.leverage, position.mark_price, position.liquidation_price) == (5, D("95.62"), None)
    assert position.position_side is PositionSide.LONG


@pytest.mark.parametrize(
    ("leg", "amount", "one_way", "expected"),
    [
        ("BOTH", "0.1", True, (PositionSide.BOTH, Side.BUY)),
        ("BOTH", "-0.1", True, (PositionSide.BOTH, Side.SELL)),
        ("SHORT", "0.1", True, (PositionSide.BOTH, Side.SELL)),
        ("LONG", "0.1", "true", (PositionSide.BOTH, Side.BUY)),
        ("Short", "-0.1", False, (PositionSide.SHORT, Side.SELL)),
        ("LONG", "0.1", None, (PositionSide.LONG, Side.BUY)),
    ],
)
def test_the_direction_of_a_position_is_found_in_both_modes(leg, amount, one_way, expected):
    row = recordings.bingx_net(f"{SWAP}/Trading/GetPositions")["data"][0]
    row |= {"positionSide": leg, "positionAmt": amount, "onlyOnePosition": one_way}
    position = parsing.parse_position(Market.USDTM, row)
    assert (position.position_side, position.side) == expected
    assert position.quantity == D("0.1")


def test_a_long_with_a_negative_amount_is_unreadable_and_a_flat_row_is_no_position():
    row = recordings.bingx_net(f"{SWAP}/Trading/GetPositions")["data"][0]
    with pytest.raises(Unreadable):
        parsing.parse_position(Market.USDTM, row | {"positionSide": "LONG", "positionAmt": "-1"})
    assert parsing.parse_positions(Market.USDTM, [row | {"positionAmt": "0.00"}]) == []
    assert parsing.parse_positions(Market.USDTM, []) == []


def test_no_list_of_positions_is_never_taken_for_none_held():
    for nothing in (None, {}, ""):
        with pytest.raises(Unreadable):
            parsing.parse_positions(Market.USDTM, nothing)


def test_an_unused_asset_has_zeros_and_old_and_new_spellings_agree():
    used, unused = parsing.parse_balances(Market.USDTM, recordings.bingx_net(f"{SWAP}/Account/GetBalances2")["data"])
    assert (used.asset, used.balance, used.available) == ("USDT", D("300.0000"), D("300.0000"))
    assert (unused.asset, unused.balance, unused.equity) == ("USDC", 0, 0)
    row = {"asset": "VST", "balance": "1", "equity": "2", "availableMargin": "1", "unrealisedProfit": "1"}
    assert parsing.parse_balances(Market.USDTM, {"balance": row})[0].unrealised_pnl == 1


def test_a_spot_balance_adds_what_is_locked():
    usdt = parsing.parse_balances(Market.SPOT, recordings.bingx_net(f"{SPOT}/Account/GetBalances")["data"])[0]
    assert usdt.balance == D("566773.193402631") + D("244.18616265388994")
    assert usdt.available == D("566773.193402631")


def test_modes_and_leverage():
    assert parsing.parse_margin_mode([{"marginType": "ISOLATED"}]) is MarginMode.ISOLATED
    with pytest.raises(Unreadable):
        parsing.parse_margin_mode({"marginType": "SEPARATE_ISOLATED"})
    for said, mode in (("false", PositionMode.ONE_WAY), (False, PositionMode.ONE_WAY), ("true", PositionMode.HEDGE)):
        assert parsing.parse_position_mode({"dualSidePosition": said}) is mode
    with pytest.raises(Unreadable):
        parsing.parse_position_mode({"dualSidePosition": "perhaps"})
    leverage = parsing.parse_leverage({"longLeverage": "20X", "shortLeverage": 10})
    assert (leverage.long_leverage, leverage.short_leverage, leverage.max_long_leverage) == (20, 10, None)


def test_permissions_are_read_bare_and_enveloped():
    assert parsing.parse_permissions({"apiKey": "k", "permissions": [2, 3, 5], "ipAddresses": []}) == {2, 3, 5}
    recorded = recordings.bingx_net(f"{SPOT}/Account/GetApiKeyPermissions")
    assert parsing.parse_permissions(recorded) == {1, 2, 3, 4, 7}
    for unclear in ({}, {"permissions": None}, {"permissions": ["read"]}):
        with pytest.raises(Unreadable):
            parsing.parse_permissions(unclear)


# Instruments and candles


def test_a_usdt_m_contract_has_its_grid_from_numbers_of_decimals():
    bitcoin, ether = parsing.parse_instruments(
        Market.USDTM, recordings.bingx_net(f"{SWAP}/ExchangeData/GetContracts")["data"]
    )
    assert (bitcoin.symbol, bitcoin.base_asset, bitcoin.quote_asset) == ("BTC-USDT", "BTC", "USDT")
    assert (bitcoin.tick_size, bitcoin.step_size) == (D("0.1"), D("0.0001"))
    assert (bitcoin.min_quantity, bitcoin.min_notional, bitcoin.contract_size) == (D("0.0001"), 2, 1)
    assert (bitcoin.max_long_leverage, bitcoin.is_open_allowed, bitcoin.is_close_allowed) == (125, True, True)
    assert ether.step_size == D("0.01")


@pytest.mark.parametrize(
    ("change", "may_open", "may_close"),
    [
        ({"status": 25}, False, True),
        ({"status": 5}, False, False),
        ({"status": 0}, False, False),
        ({"status": 77}, False, False),
        ({"apiStateOpen": "false"}, False, True),
        ({"apiStateClose": "false"}, True, False),
    ],
)
def test_a_contract_that_is_not_online_may_not_be_opened(change, may_open, may_close):
    row = recordings.bingx_net(f"{SWAP}/ExchangeData/GetContracts")["data"][0] | change
    [instrument] = parsing.parse_instruments(Market.USDTM, [row])
    assert (instrument.is_open_allowed, instrument.is_close_allowed) == (may_open, may_close)


def test_a_coin_m_contract_is_worth_what_bingx_calls_its_tick():
    data = recordings.ccxt("fetchInverseSwapMarkets")["data"]
    [instrument] = parsing.parse_instruments(Market.COINM, data)
    assert (instrument.tick_size, instrument.step_size, instrument.contract_size) == (D("0.1"), 1, 100)
    assert (instrument.base_asset, instrument.quote_asset, instrument.min_notional) == ("BTC", "USD", 100)


def test_a_spot_pair_s_step_may_be_written_with_an_exponent():
    answer = recordings.bingx_net(f"{SPOT}/ExchangeData/GetSymbols")
    [instrument] = parsing.parse_instruments(Market.SPOT, answer["data"])
    assert (instrument.step_size, instrument.tick_size) == (D("0.00001"), D("0.01"))
    assert (instrument.min_quantity, instrument.min_notional) == (D("0.00001"), 5), "minQty is deprecated"


@pytest.mark.parametrize("market", list(Market))
def test_the_markets_that_ccxt_recorded_are_read(market):
    rows = [m["info"] for m in recordings.read("ccxt-static/markets_bingx.json").values()]
    mine = [row for row in rows if ("contractId" in row) == (market is Market.USDTM) and market is not Market.COINM]
    assert len(parsing.parse_instruments(market, mine)) == len(mine) == {"usdtm": 4, "coinm": 0, "spot": 6}[market]


def test_one_unreadable_instrument_does_not_hide_the_others():
    rows = recordings.bingx_net(f"{SWAP}/ExchangeData/GetContracts")["data"]
    broken = [rows[0] | {"pricePrecision": "many"}, rows[0] | {"symbol": "BTC"}, {}, rows[1]]
    assert [i.symbol for i in parsing.parse_instruments(Market.USDTM, broken)] == ["ETH-USDT"]


def test_a_grid_of_zero_is_no_grid():
    row = recordings.bingx_net(f"{SPOT}/ExchangeData/GetSymbols")["data"]["symbols"][0]
    assert parsing.parse_instruments(Market.SPOT, [row | {"stepSize": 0}, row | {"tickSize": ""}]) == []


def test_candles_come_oldest_first_and_once():
    rows = recordings.bingx_net(f"{SPOT}/ExchangeData/GetKlines")["data"]
    klines = parsing.parse_klines(rows + rows[:2])
    assert [k.open_time for k in klines] == sorted({k.open_time for k in klines})
    assert len(klines) == len(rows) == 5
    assert klines[-1].open_time == at(1702720620000)
    assert klines[-1].close == D("42216.72")


def test_a_bare_candle_and_none_at_all():
    row = {"open": "1", "close": "2", "high": "3", "low": "0.5", "volume": "4", "time": 1700000000000}
    [kline] = parsing.parse_klines(row)
    assert (kline.open, kline.high, kline.low, kline.close, kline.volume) == (1, 3, D("0.5"), 2, 4)
    assert parsing.parse_klines(None) == parsing.parse_klines([]) == []


USUAL = {"open": "1.50", "close": "2", "high": "3", "low": "0.5", "volume": "4", "time": 1700000040000}


@pytest.mark.parametrize(
    "data",
    [
        recordings.bingx_net(f"{SPOT}/ExchangeData/GetKlines")["data"],
        recordings.bingx_net(f"{SWAP}/ExchangeData/GetKlines")["data"],
        [USUAL, USUAL | {"time": 1700000100000}, USUAL | {"close": "7"}],
        [USUAL | {"volume": 12}, USUAL | {"time": "1700000100000"}],
        [USUAL | {"time": 1700000040}],
        USUAL,
        [],
        None,
    ],
)
def test_candles_as_texts_are_the_candles(data):
    texts = parsing.parse_kline_texts(data)
    klines = parsing.parse_klines(data)
    assert [(EPOCH + timedelta(milliseconds=ms), *map(D, numbers)) for ms, *numbers in texts] == [
        (k.open_time, k.open, k.high, k.low, k.close, k.volume) for k in klines
    ]


@pytest.mark.parametrize("odd", [None, [], True, {}])
def test_candles_of_which_one_is_unreadable_are_not_taken_as_texts(odd):
    with pytest.raises(Unreadable):
        parsing.parse_kline_texts([USUAL, USUAL | {"close": odd}])


def test_numbers_read_together_are_those_read_one_by_one():
    assert decoding.plain_numbers(["1.50", D("2"), 3]) == [D("1.50"), 2, 3]
    for odd in (
        ["1 2", "3"],
        ["1", "-2"],
        ["1", None],
        ["1", ""],
        ["", "1"],
        ["1e5", "1"],
        ["1", True],
        ["٣"],
        ["1" * 21],
    ):
        assert decoding.plain_numbers(odd) is None


@pytest.mark.parametrize("value", ["1 2", "-", "", None, "NaN", True, {}])
@pytest.mark.parametrize("name", ["open", "high", "low", "close", "volume"])
def test_a_candle_with_one_broken_number_is_unreadable(name, value):
    row = {"open": "1", "close": "2", "high": "3", "low": "0.5", "volume": "4", "time": 1700000000000}
    with pytest.raises(Unreadable):
        parsing.parse_klines([row | {name: value}])


@pytest.mark.parametrize("row", [[1700000000000, 1, 2], {"time": 1700000000000, "open": "1"}, "x", {"open": "1"}])
def test_a_broken_candle_is_unreadable(row):
    with pytest.raises(Unreadable):
        parsing.parse_klines([row])


def test_a_price_is_that_of_the_symbol_asked_for():
    assert (
        parsing.parse_price("A-USDT", [{"symbol": "B-USDT", "price": "1"}, {"symbol": "A-USDT", "lastPrice": 2}]) == 2
    )
    for answer in (
        [],
        None,
        {"symbol": "B-USDT", "price": "1"},
        {"symbol": "A-USDT", "price": "0"},
        {"symbol": "A-USDT"},
    ):
        with pytest.raises(Unreadable):
            parsing.parse_price("A-USDT", answer)


# Values


@pytest.mark.parametrize(
    "content", [b"", b"<html>", b"[]", b"null", b"1", b'{"a":NaN}', b'{"a":Infinity}', b"\xff\xfe{", b"[" * 100_000]
)
def test_what_is_no_json_object_is_unreadable(content):
    with pytest.raises(Unreadable):
        decoding.load(content)


@pytest.mark.parametrize("number", ["1e999999999", "1" * 100, "1e-999999", "9" * 5000])
def test_a_hostile_number_is_refused_at_once(number):
    with pytest.raises(Unreadable):
        decoding.number(decoding.load(b'{"a":%s}' % number.encode()), "a")
    with pytest.raises(Unreadable):
        decoding.number({"a": number}, "a")


@pytest.mark.parametrize(
    "value", ["1_000", "٣", "1,5", "0x10", " 1 2", "NaN", "Infinity", True, 1.5, [], {}, "--1", "1e"]
)
def test_what_is_no_plain_number_is_unreadable(value):
    with pytest.raises(Unreadable):
        decoding.number({"a": value}, "a")


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value="-1e15", max_value="1e15", places=12))
def test_a_decimal_comes_through_text_and_json_with_every_digit(value):
    text = format(value, "f")
    for row in ({"a": text}, decoding.load(b'{"a":%s}' % text.encode())):
        assert decoding.number(row, "a") == value
        assert str(decoding.number(row, "a")).strip("-") == str(decoding.number({"a": text}, "a")).strip("-")


def test_times_may_be_seconds_milliseconds_text_or_never():
    assert decoding.moment({"t": 1710389137}, "t") == at(1710389137000)
    assert decoding.moment({"t": "1710389137123"}, "t") == at(1710389137123)
    assert decoding.moment({"t": 0}, "t") is decoding.moment({"t": ""}, "t") is decoding.moment({}, "t") is None
    for unclear in ("soon", 1.5, 10**29, True):
        with pytest.raises(Unreadable):
            decoding.moment({"t": unclear}, "t")
