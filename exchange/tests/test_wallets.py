"""Wallets, income, fee rates and the standard contract: the recorded answers, read by the client over a real wire."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from exchange import parsing, statements
from exchange.bingx import BingX
from exchange.decoding import Unreadable
from exchange.phrasing import income_kind, to_ms
from exchange.tests import recordings
from exchange.tests.scripted_server import Received, ScriptedServer, Step, answer, ok
from exchange.types import IncomeKind, MarginMode, Market, OldProduct, OrderRequest, OrderType, PositionSide, Side
from pelusa.testing import PaperExchange

D = Decimal
DOCS, NET = recordings.vendor_docs, recordings.bingx_net
END = datetime.now(UTC).replace(microsecond=0)
SPAN = {"start": END - timedelta(days=1), "end": END}
SPAN_MS = {"startTime": str(to_ms(SPAN["start"])), "endTime": str(to_ms(END))}


def client_of(server: ScriptedServer) -> BingX:
    return BingX(base_url=server.url, key="a-key", secret="a-secret", read_timeout=2.0)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as scripted:
        yield scripted


CALLS: dict[str, tuple[Callable[[BingX], Any], str, dict[str, str], dict[str, Any]]] = {
    "income": (
        lambda c: c.income(Market.USDTM, **SPAN),
        "/openApi/swap/v2/user/income",
        {"limit": "1000"} | SPAN_MS,
        NET("PerpetualFutures/Account/GetIncomes"),
    ),
    "income of one kind": (
        lambda c: c.income(Market.USDTM, symbol="LTC-USDT", kind=IncomeKind.REALISED_PNL, **SPAN),
        "/openApi/swap/v2/user/income",
        {"symbol": "LTC-USDT", "incomeType": "REALIZED_PNL", "limit": "1000"} | SPAN_MS,
        recordings.ccxt("fetchFundingHistory"),
    ),
    "fees usdtm": (
        lambda c: c.fee_rates(Market.USDTM),
        "/openApi/swap/v2/user/commissionRate",
        {},
        NET("PerpetualFutures/Account/GetTradingFees"),
    ),
    "fees coinm": (
        lambda c: c.fee_rates(Market.COINM),
        "/openApi/cswap/v1/user/commissionRate",
        {},
        DOCS("CoinFeeRates"),
    ),
    "fees spot": (
        lambda c: c.fee_rates(Market.SPOT, "BTC-USDT"),
        "/openApi/spot/v1/user/commissionRate",
        {"symbol": "BTC-USDT"},
        NET("Spot/Account/GetTradingFees"),
    ),
    "coinm balances": (
        lambda c: c.balances(Market.COINM),
        "/openApi/cswap/v1/user/balance",
        {},
        DOCS("CoinBalances"),
    ),
    "standard balances": (
        lambda c: c.standard_balances(),
        "/openApi/contract/v1/balance",
        {},
        DOCS("StandardBalances"),
    ),
    "standard positions": (
        lambda c: c.standard_positions(),
        "/openApi/contract/v1/allPosition",
        {},
        DOCS("StandardPositions"),
    ),
    "standard orders": (
        lambda c: c.standard_orders("BTC-USDT", **SPAN),
        "/openApi/contract/v1/allOrders",
        {"symbol": "BTC-USDT", "limit": "1000"} | SPAN_MS,
        DOCS("StandardOrders"),
    ),
    "prices": (
        lambda c: c.prices(Market.SPOT),
        "/openApi/spot/v1/ticker/24hr",
        {},
        NET("Spot/ExchangeData/GetTickers"),
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_recorded_answer_is_asked_for_and_read(server: ScriptedServer, name: str) -> None:
    call, path, parameters, recorded = CALLS[name]
    server.script = [answer(recorded)]
    assert call(client_of(server))
    [request] = server.received
    assert (request.method, request.path, request.business) == ("GET", path, parameters)
    assert ("signature" in request.parameters) is (name != "prices")


def test_a_recording_was_made_of_the_address_that_reads_it() -> None:
    for name in ("StandardPositions", "StandardOrders", "StandardBalances", "CoinBalances", "CoinFeeRates"):
        path = recordings.read(f"vendor-docs/{name}.json")["path"]
        assert path in {each[1] for each in CALLS.values()}, name


def test_income_keeps_its_sign_its_time_and_its_kind() -> None:
    newest, oldest = recordings.ccxt("fetchFundingHistory")["data"]
    income = statements.parse_income(Market.USDTM, oldest)
    assert (income.kind, income.amount, income.asset) == (IncomeKind.FUNDING_FEE, D("-0.00009521"), "USDT")
    assert (income.symbol, income.note) == ("LTC-USDT", "Funding Fee")
    assert income.happened_at == datetime(2026, 1, 24, 0, 0, 46, tzinfo=UTC)
    assert statements.parse_income(Market.USDTM, newest).exchange_income_id == "1769048666279853387_310_1941328"


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("TRANSFER", IncomeKind.TRANSFER),
        ("REALIZED_PNL", IncomeKind.REALISED_PNL),
        ("REALISED_PNL", IncomeKind.REALISED_PNL),
        ("FUNDING_FEE", IncomeKind.FUNDING_FEE),
        ("TRADING_FEE", IncomeKind.TRADING_FEE),
        ("INSURANCE_CLEAR", IncomeKind.INSURANCE),
        ("TRIAL_FUND", IncomeKind.TRIAL_FUND),
        ("ADL", IncomeKind.ADL),
        ("SYSTEM_DEDUCTION", IncomeKind.DEDUCTION),
        ("GTD_PRICE", IncomeKind.OTHER),
    ],
)
def test_a_kind_of_income_that_we_do_not_know_still_counts(word: str, kind: IncomeKind) -> None:
    row = NET("PerpetualFutures/Account/GetIncomes")["data"][0] | {"incomeType": word}
    assert statements.parse_income(Market.USDTM, row).kind is kind


def test_every_kind_of_income_but_other_can_be_asked_for() -> None:
    words = {income_kind(kind) for kind in IncomeKind if kind is not IncomeKind.OTHER}
    assert {"REALIZED_PNL", "INSURANCE_CLEAR", "SYSTEM_DEDUCTION", "FUNDING_FEE"} <= words
    with pytest.raises(ValueError, match="OTHER"):
        income_kind(IncomeKind.OTHER)


def test_income_of_a_full_page_is_asked_for_in_halves_and_each_row_is_kept_once(server: ScriptedServer) -> None:
    row = NET("PerpetualFutures/Account/GetIncomes")["data"][0]
    start = END - timedelta(days=1)
    stored = [row | {"time": to_ms(start) + 60_000 * number, "tranId": str(number)} for number in range(1400)]

    def respond(request: Received) -> Step:
        since, until = int(request.parameters["startTime"]), int(request.parameters["endTime"])
        return ok([each for each in stored if since <= each["time"] <= until][:1000])

    server.respond = respond
    found = client_of(server).income(Market.USDTM, start=start, end=END)
    assert [each.exchange_income_id for each in found] == [str(number) for number in range(1400)]
    assert len(server.received) == 3


def test_a_null_list_of_income_is_an_empty_one_and_no_list_is_unreadable(server: ScriptedServer) -> None:
    server.script = [ok(None), ok({"what": 1})]
    client = client_of(server)
    assert client.income(Market.USDTM, **SPAN) == []
    with pytest.raises(Unreadable):
        client.income(Market.USDTM, **SPAN)


@pytest.mark.parametrize("market", [Market.COINM, Market.SPOT])
def test_a_product_without_a_list_of_income_is_not_asked(server: ScriptedServer, market: Market) -> None:
    with pytest.raises(ValueError, match="has no income"):
        client_of(server).income(market, **SPAN)
    assert not server.received


@pytest.mark.parametrize(("market", "symbol"), [(Market.SPOT, None), (Market.USDTM, "BTC-USDT")])
def test_only_spot_has_a_rate_for_each_symbol(server: ScriptedServer, market: Market, symbol: str | None) -> None:
    with pytest.raises(ValueError, match="rate for each symbol"):
        client_of(server).fee_rates(market, symbol)
    assert not server.received


def test_fee_rates_are_shares_in_all_three_shapes() -> None:
    swap = statements.parse_fee_rates(Market.USDTM, NET("PerpetualFutures/Account/GetTradingFees")["data"])
    coin = statements.parse_fee_rates(Market.COINM, DOCS("CoinFeeRates")["data"])
    spot = statements.parse_fee_rates(Market.SPOT, NET("Spot/Account/GetTradingFees")["data"])
    assert (swap.maker, swap.taker) == (D("0.0002"), D("0.0005"))
    assert (coin.maker, coin.taker) == (D("0.00013999"), D("0.0004"))
    assert (spot.maker, spot.taker) == (D("0.0001"), D("0.000325"))


def test_a_margin_wallet_is_read_whole() -> None:
    [balance] = parsing.parse_balances(Market.USDTM, recordings.ccxt("fetchBalance", "swap fetch balance")["data"])
    assert (balance.balance, balance.equity, balance.unrealised_pnl) == (D("194.8212"), D("196.7431"), D("1.9219"))
    assert (balance.available, balance.used_margin, balance.frozen) == (D("193.7609"), D("1.0602"), 0)
    assert balance.realised_pnl == D("-109.2504")
    [coins] = parsing.parse_balances(Market.COINM, DOCS("CoinBalances")["data"])
    assert (coins.asset, coins.equity, coins.used_margin) == ("BTC", D("0.14428116"), D("0.00110845"))
    assert coins.realised_pnl is None


def test_both_spellings_say_the_same() -> None:
    [row] = recordings.ccxt("fetchBalance", "swap fetch balance")["data"]
    said = row | {"freezedMargin": "3"}
    renamed = {"realisedProfit": "realizedProfit", "freezedMargin": "frozenMargin"}
    other = {renamed.get(name, name): value for name, value in said.items()}
    assert parsing.parse_balances(Market.USDTM, [other]) == parsing.parse_balances(Market.USDTM, [said])
    assert parsing.parse_balances(Market.USDTM, [other])[0].frozen == 3


@pytest.mark.parametrize("name", ["balance", "equity", "availableMargin"])
def test_an_empty_amount_is_zero_and_a_missing_one_is_unreadable(name: str) -> None:
    [row] = recordings.ccxt("fetchBalance", "swap fetch balance")["data"]
    assert parsing.parse_balances(Market.USDTM, [row | {name: ""}])
    with pytest.raises(Unreadable, match=name):
        parsing.parse_balances(Market.USDTM, [{key: value for key, value in row.items() if key != name}])


@pytest.mark.parametrize("name", ["free", "locked"])
def test_a_spot_row_that_was_never_used_is_zero_and_a_broken_one_unreadable(name: str) -> None:
    row = NET("Spot/Account/GetBalances")["data"]["balances"][0]
    assert parsing.parse_balances(Market.SPOT, {"balances": [row | {"free": "", "locked": ""}]})[0].equity == 0
    assert parsing.parse_balances(Market.SPOT, {"balances": [row]})[0].frozen == D("244.18616265388994")
    with pytest.raises(Unreadable, match=name):
        parsing.parse_balances(Market.SPOT, {"balances": [{k: v for k, v in row.items() if k != name}]})


def test_a_standard_wallet_adds_what_is_open_to_its_equity() -> None:
    [row] = DOCS("StandardBalances")["data"]
    [balance] = statements.parse_standard_balances([row | {"crossUnPnl": "-7.35137903"}])
    assert (balance.market, balance.asset) == (OldProduct.STANDARD, "USDT")
    assert (balance.balance, balance.equity) == (D("122607.35137903"), D(122600))
    assert (balance.available, balance.unrealised_pnl) == (D("23.72469206"), D("-7.35137903"))


@pytest.mark.parametrize("as_text", [False, True])
def test_a_standard_position_reads_alike_from_numbers_and_texts(as_text: bool) -> None:
    [row] = DOCS("StandardPositions")["data"]
    said = {key: str(value) if isinstance(value, Decimal) and as_text else value for key, value in row.items()}
    [position] = statements.parse_standard_positions([said])
    assert (position.symbol, position.position_side, position.side) == ("BTC-USDT", PositionSide.LONG, Side.BUY)
    assert (position.quantity, position.avg_entry_price) == (D("0.00006666"), D("30006.65"))
    assert (position.mark_price, position.unrealised_pnl) == (D("19145.65"), D("-0.7239062"))
    assert (position.margin, position.leverage, position.margin_mode) == (2, 1, MarginMode.ISOLATED)


def test_a_flat_standard_position_is_none_and_no_list_is_unreadable() -> None:
    [row] = DOCS("StandardPositions")["data"]
    assert statements.parse_standard_positions([row | {"positionAmt": 0}]) == []
    with pytest.raises(Unreadable):
        statements.parse_standard_positions(None)


def test_a_standard_order_tells_what_it_opened_and_closed_at() -> None:
    [row] = DOCS("StandardOrders")["data"]
    order = statements.parse_standard_order(row)
    assert (order.symbol, order.exchange_order_id, order.status) == ("BTC-USDT", "1047766884761493500", "CLOSED")
    assert (order.avg_entry_price, order.close_price, order.quantity) == (D("29212.91"), D("19138.3"), D("0.00006846"))
    assert (order.position_side, order.margin, order.leverage) == (PositionSide.SHORT, 2, 1)
    assert order.opened_at < (order.updated_at or order.opened_at)


def test_a_price_that_cannot_be_read_is_left_out_and_hides_no_other() -> None:
    [row] = NET("Spot/ExchangeData/GetTickers")["data"]
    others = [{"symbol": "A-USDT", "lastPrice": "much"}, {"symbol": "B-USDT", "lastPrice": 0}, {"lastPrice": 3}]
    assert parsing.parse_prices([row, *others]) == {"BTC-USDT": D("42215.15")}


def test_the_paper_exchange_tells_what_a_trade_cost_and_holds_nothing_in_standard_contracts(
    paper: PaperExchange,
) -> None:
    paper.control("accounts", key="paper-key", secret="paper-secret")
    client = BingX(base_url=paper.url, key="paper-key", secret="paper-secret")
    now, rules = datetime.now(UTC), (Market.USDTM, "BTC-USDT", Side.BUY, PositionSide.LONG, OrderType.MARKET)
    bought = client.place_order(OrderRequest(*rules, D("0.01"), "w1", now))
    [fee] = client.income(Market.USDTM, start=now - timedelta(minutes=1), end=now + timedelta(minutes=1))
    assert (fee.kind, fee.symbol, fee.asset) == (IncomeKind.TRADING_FEE, "BTC-USDT", "USDT")
    rates = client.fee_rates(Market.USDTM)
    assert bought.avg_price
    assert abs(fee.amount + bought.avg_price * D("0.01") * rates.taker) <= D("0.0001")
    assert [balance.equity for balance in client.standard_balances()] == [0]
    assert client.standard_positions() == []
    assert client.standard_orders("BTC-USDT", start=now - timedelta(days=1), end=now) == []


@pytest.mark.parametrize(("market", "symbol"), [(Market.USDTM, "BTC-USDT"), (Market.SPOT, "ETH-USDT")])
def test_all_prices_of_a_product_are_had_in_one_request(paper: PaperExchange, market: Market, symbol: str) -> None:
    client = BingX(base_url=paper.url)
    prices = client.prices(market)
    assert prices[symbol] == client.price(market, symbol)
    assert len(prices) > 2


def test_no_order_can_be_sent_to_the_standard_contract() -> None:
    assert not {each.value for each in OldProduct} & {each.value for each in Market}
